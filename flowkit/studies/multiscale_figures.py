"""The figures of multiscale models, as data."""

from flowkit.studies.figure import Figure

MULTISCALE = (
    Figure(
        "multiscale-u1-2d",
        "U(1) in two dimensions from 16x16 to 256x256, beta 1 to 16: multiscale, staple flows",
        "flowkit.studies.multiscale:multiscale_u1_2d",
        "2404.10819",
        "ESS 0.341, 0.297, 0.277 on 16x16 at beta 8, 12, 16",
        480,
        "beta 2 on 16x16 alone, smaller batches, fewer draws",
    ),
    Figure(
        "multiscale-phi4",
        "phi^4, m2 = -4, on 16x16 (lambda = 4.98) and 32x32 (lambda = 4.572): multiscale, weights carried over",
        "flowkit.studies.multiscale_phi4:multiscale_phi4",
        "Gerdes et al., 2207.00283",
        "ESS 0.90 on 32x32 after long training on a GPU",
        510,
        "few training steps, few draws and a short Monte Carlo",
    ),
    Figure(
        "multiscale-su2-2d",
        "SU(2) in two dimensions, 16x16 and 32x32, beta 1.8, 2.2, 2.7, 8: multiscale, staple flows",
        "flowkit.studies.multiscale_sun:multiscale_su2_2d",
        "2404.10819; Boyda et al., 2008.05456",
        "ESS 0.91, 0.80, 0.56 on 16x16 at beta 1.8, 2.2, 2.7 (2008.05456)",
        650,
        "beta 2.2 on 8x8 alone, smaller batches, fewer draws",
    ),
    Figure(
        "multiscale-su3-2d",
        "SU(3) in two dimensions, 16x16 and 32x32, beta 4, 5, 6, 12: multiscale, staple flows",
        "flowkit.studies.multiscale_sun:multiscale_su3_2d",
        "2404.10819; Boyda et al., 2008.05456",
        "ESS 0.88, 0.75, 0.48 on 16x16 at beta 4, 5, 6 (2008.05456)",
        940,
        "beta 6 on 8x8 alone, fewer steps and draws",
    ),
    Figure(
        "multiscale-3d",
        "U(1) and SU(2) in three dimensions, 4x4x4 and 8x8x8: dressed staples, from fields of Markov chains",
        "flowkit.studies.multiscale_dressed:multiscale_3d",
        "2404.10819",
        "four dimensions alone",
        2400,
        "U(1) on 2x2x2 alone, few fields and draws",
    ),
    Figure(
        "multiscale-4d",
        "U(1) and SU(2) on 4x4x4x4: dressed staples, from fields of Markov chains",
        "flowkit.studies.multiscale_dressed:multiscale_4d",
        "2404.10819",
        "KL 4 and 30.6 for U(1) at beta 0.5 and 1",
        2400,
        "U(1) on 2x2x2x2 alone, few fields and draws",
    ),
    Figure(
        "multiscale-cost",
        "U(1) on 16x16, beta 2, 6, 12: seconds per independent configuration, multiscale against heatbath and HMC",
        "flowkit.studies.multiscale_cost:multiscale_cost",
        "2404.10819",
        "heatbath with overrelaxation and HMC on the same machine",
        720,
        "beta 6 alone, 2 seconds for each sampler",
    ),
)

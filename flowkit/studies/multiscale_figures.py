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
        "photon-3d",
        "U(1) in three dimensions, 4^3 and 8^3, beta 3 and 2: free photons, drift and monopoles, ln Z, sectors",
        "flowkit.studies.photon:photon_3d",
        "Own heatbath",
        "plaquettes of heatbath chains, ln Z by integration",
        400,
        "beta 3 on 4^3 alone, few steps and draws, short chains",
    ),
    Figure(
        "photon-4d",
        "U(1) in four dimensions, 4^4 at beta 2 and 1.5, 8^4 and 16^4 at beta 2: free photons, drift and monopoles",
        "flowkit.studies.photon:photon_4d",
        "2404.10819",
        "KL 107.6 and 190 nats on 4^4 at beta 1.5 and 2",
        1800,
        "beta 2 on 4^4 alone, few steps and draws, short chains",
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

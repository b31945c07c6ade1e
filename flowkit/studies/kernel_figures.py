"""Figures of what kernels in C, convolutions and recomputed fields cost, as `flowkit.studies.figures` holds them."""

from flowkit.studies.figure import Figure

KERNELS = (
    Figure(
        "sun-kernels",
        "Speed of the SU(2) and SU(3) kernels over torch, complex64, forward and with gradients",
        "flowkit.studies.sun_kernels:sun_kernels",
        "torch.linalg; Higham, Functions of Matrices (2008)",
        "batched @, eigh, svd, matrix_exp of torch",
        90,
        "a tenth of the batch, three repetitions",
    ),
    Figure(
        "kernel-gains",
        "What each C kernel gains where users meet it: training steps, trajectories, draws",
        "flowkit.studies.kernel_gains:kernel_gains",
        "torch on the same machine",
        "1.3 times, or the kernel is not worth its source",
        240,
        "smaller lattices and batches, two repetitions",
    ),
    Figure(
        "kernels-4d",
        "Heatbath, overrelaxation, force and trajectory of gauge fields on 4^4 and 8^4: ns a link, torch over C",
        "flowkit.studies.kernels_4d:kernels_4d",
        "torch on the same machine",
        "2,650 to 3,480 ns a link for a heatbath of SU(3) through torch",
        330,
        "2^4 and 3^4, three repetitions, short chains",
    ),
    Figure(
        "conv4d",
        "Convolutions on 8^4, kernels of side 3: dense and factorised, and at small batches",
        "flowkit.studies.conv4d:conv4d",
        "torch's conv3d with circular padding, summed over the slices of the fourth axis",
        "Gflop/s at batch 4, 16 and 31 were .07 to .1 of those at 32",
        30,
        "4^4, one small batch, two repetitions",
    ),
    Figure(
        "training-memory",
        "Memory and time of training against depth: fields kept, or recomputed by inversion",
        "flowkit.studies.training_memory:training_memory",
        "Gomez et al., 1707.04585, for networks",
        "nothing for flows of lattice fields",
        400,
        "U(1) on 4x4 alone",
    ),
)

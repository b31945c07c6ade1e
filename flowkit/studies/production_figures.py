"""Figures of files, of runs on disk, of several processes and of scales, as `flowkit.studies.figures` holds them."""

from flowkit.studies.figure import Figure

PRODUCTION = (
    Figure(
        "formats",
        "NERSC and ILDG files of SU(3) on 4^4: damages that are found, and how readings of mutants end",
        "flowkit.studies.formats:formats",
        "NERSC and ILDG formats; QIO",
        "of 300 each: NERSC sum 100 / 0 / 0 %, plaquette 16 / 98 / 99 %, SciDAC checksums 100 / 100 / 100 %",
        500,
        "40 damages and 800 mutants of each kind on 2x2x2x4",
    ),
    Figure(
        "processes",
        "Several processes: one loss curve on 1, 2 and 4 ranks, and chains in two processes against one",
        "flowkit.studies.processes:processes",
        "One process, which is the reference",
        "the same losses to rounding, 1e-12; two processes on two cores sample 1.6 times as fast",
        150,
        "2 ranks and 10 steps",
    ),
    Figure(
        "kill-runs",
        "Processes that train and sample to disk, killed at random times: steps lost, and runs that go on",
        "flowkit.studies.kill_runs:kill_runs",
        "An own limit",
        "at most one chunk lost; runs that go on equal the unbroken one bit for bit",
        1500,
        "30 kills",
    ),
    Figure(
        "analysis",
        "U(1) on 16x16, 100,000 configurations: reading and measuring them, and what writing costs",
        "flowkit.studies.analysis:analysis",
        "An own limit",
        "20 s and 2 GB to read and measure; writing under 5 % of sampling",
        200,
        "2,000 configurations",
    ),
    Figure(
        "zoo",
        "The flows that ship with the package, trained again: ESS on three lattices, means, coverage",
        "flowkit.studies.zoo:zoo",
        "Exact values, and other samplers",
        "the cards of the shipped flows",
        2400,
        "the first flow alone, fewer steps and draws",
    ),
    Figure(
        "t0-potential-su3",
        "SU(3) in four dimensions, beta 6.0, 8^4 and 16^4: t0, w0, static potential, cost of the Wilson flow",
        "flowkit.studies.scale_setting:t0_potential_su3",
        "Francis, Kaczmarek, Laine, Neuhaus and Ohno, 1503.05652",
        "t0 / a^2 and r0 / a in a large volume, by interpolation; 8^4 is a small volume",
        480,
        "one field of 4^4 against plain numpy, and the cost of its flow",
    ),
)

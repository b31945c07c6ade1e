"""The figures of reduced fluctuations."""

from flowkit.studies.figure import Figure

_FLOWS = "2401.10874; 2603.02984"

STEIN = (
    Figure(
        "stein-2d",
        "U(1), SU(2), SU(3) in two dimensions: derivatives and means from reduced fluctuations, and their coverage",
        "flowkit.studies.stein_2d:stein_2d",
        _FLOWS,
        "10 to 60 by trained flows",
        240,
        "6x6, one coupling of U(1) and SU(2), fewer configurations and seeds",
    ),
)

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
    Figure(
        "stein-3d",
        "SU(2) in three dimensions: plaquette correlators from reduced fluctuations, coefficients of 6x4x4",
        "flowkit.studies.stein_correlators:stein_3d",
        _FLOWS,
        "10 to 60 by trained flows",
        120,
        "6x6x6 at one coupling, few configurations",
    ),
    Figure(
        "stein-4d",
        "SU(3) on 8x4^3: plaquette correlators and means from reduced fluctuations",
        "flowkit.studies.stein_correlators:stein_4d",
        _FLOWS,
        "10 to 60 by trained flows",
        300,
        "4x3^3 at one coupling, few configurations",
    ),
    Figure(
        "stein-scalar",
        "phi^4 on 20x20: susceptibility, phi^2 and C(t) from reduced fluctuations",
        "flowkit.studies.stein_correlators:stein_scalar",
        _FLOWS,
        "nothing",
        200,
        "8x8, few configurations",
    ),
)

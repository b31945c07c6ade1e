"""Smaller errors from configurations that exist, by control variates from the Stein operator."""

from flowkit.variance.basis import Basis
from flowkit.variance.coefficients import SteinField
from flowkit.variance.correlators import ReducedCorrelator, correlator
from flowkit.variance.derivatives import derivative, source_of
from flowkit.variance.estimators import mean
from flowkit.variance.fits import default_basis, fit
from flowkit.variance.identity import Identity
from flowkit.variance.loop_seeds import loop_basis
from flowkit.variance.polynomials import polynomial_basis
from flowkit.variance.result import ReducedEstimate
from flowkit.variance.slices import field_slices, plaquette_slices
from flowkit.variance.two_level import two_level

__all__ = [
    "Basis",
    "Identity",
    "ReducedCorrelator",
    "ReducedEstimate",
    "SteinField",
    "correlator",
    "default_basis",
    "derivative",
    "field_slices",
    "fit",
    "loop_basis",
    "mean",
    "plaquette_slices",
    "polynomial_basis",
    "source_of",
    "two_level",
]


def __dir__() -> list[str]:
    return __all__

"""Priors: distributions that are sampled directly and whose density is known."""

from flowkit.priors.base import Prior, Sample
from flowkit.priors.embedded import Embedded, Interleaved
from flowkit.priors.exact_gauge_2d import ExactGauge2D
from flowkit.priors.free_field import FreeField
from flowkit.priors.free_photon import FreePhoton, coupling_of
from flowkit.priors.haar import Haar
from flowkit.priors.lifted import FromLifts
from flowkit.priors.lifted_photon import LiftedPhoton
from flowkit.priors.normal import Normal
from flowkit.priors.symmetrised import Symmetrised

__all__ = [
    "Embedded",
    "ExactGauge2D",
    "FreeField",
    "FreePhoton",
    "FromLifts",
    "Haar",
    "Interleaved",
    "LiftedPhoton",
    "Normal",
    "Prior",
    "Sample",
    "Symmetrised",
    "coupling_of",
]


def __dir__() -> list[str]:
    return __all__

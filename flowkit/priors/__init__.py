"""Priors: distributions that are sampled directly and whose density is known."""

from flowkit.priors.base import Prior, Sample
from flowkit.priors.embedded import Embedded, Interleaved
from flowkit.priors.free_field import FreeField
from flowkit.priors.haar import Haar
from flowkit.priors.normal import Normal

__all__ = ["Embedded", "FreeField", "Haar", "Interleaved", "Normal", "Prior", "Sample"]


def __dir__() -> list[str]:
    return __all__

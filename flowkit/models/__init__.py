"""Ready-made flows."""

from flowkit.models.coupled import with_couplings
from flowkit.models.dressed import dressed_block, dressed_flow
from flowkit.models.gauge import gauge_flow, plaquette_couplings
from flowkit.models.multiscale import multiscale_flow, scalar_multiscale_flow
from flowkit.models.photon import photon_flow
from flowkit.models.scalar import free_field_flow, scalar_flow

__all__ = [
    "dressed_block",
    "dressed_flow",
    "free_field_flow",
    "gauge_flow",
    "multiscale_flow",
    "photon_flow",
    "plaquette_couplings",
    "scalar_flow",
    "scalar_multiscale_flow",
    "with_couplings",
]


def __dir__() -> list[str]:
    return __all__

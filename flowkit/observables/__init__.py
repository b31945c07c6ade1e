"""Observables: real numbers measured on every field of a batch, all dimensionless."""

from flowkit.observables.base import Observable, name_of as name_of
from flowkit.observables.library import (
    charge_squared,
    flux,
    magnetization,
    monopoles,
    phi_squared,
    plaquette,
    polyakov,
    susceptibility,
    topological_charge,
    trace,
    wilson_loop,
)
from flowkit.observables.names import (
    NAMES as NAMES,
    Observables as Observables,
    as_observable as as_observable,
    known as known,
    listed as listed,
    require_defined as require_defined,
)

__all__ = [
    "Observable",
    "charge_squared",
    "flux",
    "magnetization",
    "monopoles",
    "phi_squared",
    "plaquette",
    "polyakov",
    "susceptibility",
    "topological_charge",
    "trace",
    "wilson_loop",
]


def __dir__() -> list[str]:
    return __all__

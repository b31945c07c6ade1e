"""Observables: real numbers measured on every field of a batch, all dimensionless."""

from flowkit.observables.base import Observable, name_of as name_of
from flowkit.observables.gauge_loops import polyakov_correlator, polyakov_loops, wilson_loops
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
from flowkit.observables.of_means import (
    binder_cumulant,
    effective_mass,
    fit_potential,
    second_moment_length,
    static_potential,
)
from flowkit.observables.scale_setting import t0, w0
from flowkit.observables.smoothed import energy_density, flow_history, flowed, smeared
from flowkit.observables.two_point import correlator, magnetization_power, structure_factor, two_point

__all__ = [
    "Observable",
    "binder_cumulant",
    "charge_squared",
    "correlator",
    "effective_mass",
    "energy_density",
    "fit_potential",
    "flow_history",
    "flowed",
    "flux",
    "magnetization",
    "magnetization_power",
    "monopoles",
    "phi_squared",
    "plaquette",
    "polyakov",
    "polyakov_correlator",
    "polyakov_loops",
    "second_moment_length",
    "smeared",
    "static_potential",
    "structure_factor",
    "susceptibility",
    "t0",
    "topological_charge",
    "trace",
    "two_point",
    "w0",
    "wilson_loop",
    "wilson_loops",
]


def __dir__() -> list[str]:
    return __all__

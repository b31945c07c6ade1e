"""Exact results to compare a simulation with."""

from flowkit.exact.expansion import sun_one_plaquette, sun_one_plaquette_log_z
from flowkit.exact.scalars import (
    OneSiteMoments,
    free_log_z,
    free_phi_squared,
    free_propagator,
    free_susceptibility,
    one_site_moments,
)
from flowkit.exact.strong_coupling import plaquette_strong_coupling
from flowkit.exact.sun import sun_decimated, sun_log_z, sun_plaquette, sun_wilson_loop
from flowkit.exact.transfer_matrix import Phi4Exact, phi4_transfer_matrix
from flowkit.exact.u1 import u1_decimated, u1_log_z, u1_plaquette, u1_wilson_loop
from flowkit.exact.u1_topology import u1_charge_distribution, u1_charge_squared, u1_plaquette_in_sector

__all__ = [
    "OneSiteMoments",
    "Phi4Exact",
    "free_log_z",
    "free_phi_squared",
    "free_propagator",
    "free_susceptibility",
    "one_site_moments",
    "phi4_transfer_matrix",
    "plaquette_strong_coupling",
    "sun_decimated",
    "sun_log_z",
    "sun_one_plaquette",
    "sun_one_plaquette_log_z",
    "sun_plaquette",
    "sun_wilson_loop",
    "u1_charge_distribution",
    "u1_charge_squared",
    "u1_decimated",
    "u1_log_z",
    "u1_plaquette",
    "u1_plaquette_in_sector",
    "u1_wilson_loop",
]


def __dir__() -> list[str]:
    return __all__

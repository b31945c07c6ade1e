"""Lattices, spaces of fields, loops of links, and patterns of active links."""

from flowkit.geometry.charge import charge_density_2d, charge_density_4d, clover
from flowkit.geometry.lattice import (
    coordinates,
    format_lattice,
    join_sublattices,
    momentum_squared,
    parity,
    shift,
    site_index,
    split_sublattices,
)
from flowkit.geometry.loops import gauge_transform, line, link, plaquettes, rectangle, staple_list, staples
from flowkit.geometry.patterns import Checkered, Loop, Pattern, Stripes, frozen_plaquettes, link_index, require_single
from flowkit.geometry.space import Space, links, sites
from flowkit.geometry.symmetries import Symmetry, group_images, random_images

__all__ = [
    "Checkered",
    "Loop",
    "Pattern",
    "Space",
    "Stripes",
    "Symmetry",
    "charge_density_2d",
    "charge_density_4d",
    "clover",
    "coordinates",
    "format_lattice",
    "frozen_plaquettes",
    "gauge_transform",
    "group_images",
    "join_sublattices",
    "line",
    "link",
    "link_index",
    "links",
    "momentum_squared",
    "parity",
    "plaquettes",
    "random_images",
    "rectangle",
    "require_single",
    "shift",
    "site_index",
    "sites",
    "split_sublattices",
    "staple_list",
    "staples",
]


def __dir__() -> list[str]:
    return __all__

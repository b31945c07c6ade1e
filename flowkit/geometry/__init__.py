"""Lattices, spaces of fields, loops of links, and patterns of active links."""

from flowkit.geometry.charge import charge_density_2d, charge_density_4d, clover, field_strength
from flowkit.geometry.closed_paths import Loop, link_index
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
from flowkit.geometry.lift import lifts
from flowkit.geometry.loops import gauge_transform, line, link, plaquettes, rectangle, staple_list, staples
from flowkit.geometry.patterns import Pattern, Phase
from flowkit.geometry.roles import (
    LoopRoles,
    active_links,
    frozen_loops,
    links_through,
    loop_roles,
    pattern_table,
    require_single,
)
from flowkit.geometry.schedules import link_updates, require_equal_updates
from flowkit.geometry.space import Space, links, sites
from flowkit.geometry.symmetries import Symmetry, group_images, random_images

__all__ = [
    "Loop",
    "LoopRoles",
    "Pattern",
    "Phase",
    "Space",
    "Symmetry",
    "active_links",
    "charge_density_2d",
    "charge_density_4d",
    "clover",
    "coordinates",
    "field_strength",
    "format_lattice",
    "frozen_loops",
    "gauge_transform",
    "group_images",
    "join_sublattices",
    "lifts",
    "line",
    "link",
    "link_index",
    "link_updates",
    "links",
    "links_through",
    "loop_roles",
    "momentum_squared",
    "parity",
    "pattern_table",
    "plaquettes",
    "random_images",
    "rectangle",
    "require_equal_updates",
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

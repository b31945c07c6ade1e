"""A schedule of patterns in plain numbers, as a panel draws it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.checks import Count, checked
from flowkit.geometry.closed_paths import Loop
from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.patterns import Pattern
from flowkit.geometry.roles import loop_roles
from flowkit.geometry.space import links
from flowkit.groups import U1


class PatternNumbers(NamedTuple):
    """The roles of links and loops under each pattern of a schedule; what `pattern_numbers` makes.

    Attributes
    ----------
    label : str
        The first pattern and the lattice.
    patterns : tuple of str
        The patterns of the schedule.
    loops : tuple of str
        What is shown: the links of each direction, then the loops of four and six links in each orientation.
    roles : array
        float32 ``[patterns, loops, *lattice]``, of the link or loop that starts at each site: 0 frozen, 1 passive,
        2 active.

    Examples
    --------
    >>> import flowkit as fk
    >>> numbers = fk.ensemble.pattern_numbers(fk.Pattern.sparse(0, ndim=2, width=4), (4, 4))
    >>> numbers.roles.shape, numbers.loops[:3]
    ((8, 5, 4, 4), ('links 0', 'links 1', 'plaquettes +0 +1 -0 -1'))
    >>> numbers.roles[0, 2, 0]                                # one row of plaquettes, the first column active
    array([2., 0., 0., 2.], dtype=float32)
    """

    label: str
    patterns: tuple[str, ...]
    loops: tuple[str, ...]
    roles: NDArray[np.float32]


@checked
def pattern_numbers(pattern: Pattern, lattice: Sequence[Count]) -> PatternNumbers:
    """The roles of links and loops under each pattern of the schedule of a pattern.

    Parameters
    ----------
    pattern : Pattern
        Of one direction or of all.
    lattice : sequence of int
        Two or more sides, that the periods of the pattern divide.

    Raises
    ------
    ValueError
        As `Pattern.schedule` and `Pattern.sites`, and for a line of sites.

    Examples
    --------
    >>> import flowkit as fk
    >>> numbers = fk.ensemble.pattern_numbers(fk.Pattern.diagonal(3), (6, 6, 6))
    >>> len(numbers.patterns), len(numbers.loops)             # three directions of links, 3 + 6 + 12 + 4 loops
    (6, 28)
    """
    if len(lattice) < 2:
        raise ValueError(f"Roles of loops need two dimensions or more; got the lattice {format_lattice(lattice)}.")
    space, schedule = links(lattice, U1()), pattern.schedule()
    shapes = {"plaquettes": Loop.rectangle(), "rectangles": Loop.rectangle(r=2)}
    if space.ndim > 2:
        shapes |= {"chairs": Loop.chair(), "crowns": Loop.crown()}
    loops = [(f"{name} {one}", one) for name, shape in shapes.items() for one in shape.orientations(space.ndim)]
    names = [f"links {mu}" for mu in range(space.ndim)] + [name for name, _ in loops]
    roles = torch.stack([_roles(space.lattice, one, [loop for _, loop in loops]) for one in schedule])
    label = f"{pattern} on {format_lattice(space.lattice)}"
    return PatternNumbers(label, tuple(map(str, schedule)), tuple(names), roles.numpy())


def _roles(lattice: tuple[int, ...], pattern: Pattern, loops: Sequence[Loop]) -> Tensor:
    space = links(lattice, U1())
    found = torch.zeros(space.ndim + len(loops), space.volume)
    found[: space.ndim].view(-1)[pattern.links(space)] = 2
    for row, loop in zip(found[space.ndim :], loops, strict=True):
        active, passive, _ = loop_roles(space, pattern, loop)
        row[active], row[passive] = 2, 1
    return found.view(-1, *lattice)

"""A schedule of patterns in plain numbers, as a panel draws it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.checks import Bytes, Count, Natural, checked
from flowkit.geometry.closed_paths import Loop
from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.patterns import Pattern, Phase
from flowkit.geometry.roles import loop_roles, require_single
from flowkit.geometry.space import Space, links
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
    pattern : Pattern
        The first one.
    refused : str
        Why a coupling through every plaquette of an active link would refuse the pattern; empty where it takes it.
    left_out : tuple of str
        Kinds of loops that would have taken too much memory.

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
    pattern: Pattern
    refused: str = ""
    left_out: tuple[str, ...] = ()


@checked
def pattern_numbers(
    pattern: Pattern, lattice: Sequence[Count] | None = None, *, max_bytes: Bytes = 4 * 2**20
) -> PatternNumbers:
    """The roles of links and loops under each pattern of the schedule of a pattern.

    Parameters
    ----------
    pattern : Pattern
        Of one direction or of all.
    lattice : sequence of int, optional
        Two or more sides, that the periods of the pattern divide; by default whole periods of at least 4 sites.
    max_bytes : int
        Memory of the float32 numbers; kinds of loops are left out where it does not suffice, crowns first, then chairs.

    Raises
    ------
    ValueError
        As `Pattern.schedule` and `Pattern.sites`, for a line of sites, and where links and plaquettes alone take more
        memory.

    Examples
    --------
    >>> import flowkit as fk
    >>> numbers = fk.ensemble.pattern_numbers(fk.Pattern.diagonal(3), (6, 6, 6))
    >>> len(numbers.patterns), len(numbers.loops)             # three directions of links, 3 + 6 + 12 + 4 loops
    (6, 28)
    """
    if lattice is None:
        lattice = [period * -(-4 // period) for period in pattern.periods]
    if len(lattice) < 2:
        raise ValueError(f"Roles of loops need two dimensions or more; got the lattice {format_lattice(lattice)}.")
    space = links(lattice, U1())
    shapes = {"plaquettes": Loop.rectangle(), "rectangles": Loop.rectangle(r=2)}
    if space.ndim > 2:
        shapes |= {"chairs": Loop.chair(), "crowns": Loop.crown()}
    kinds = {name: shape.orientations(space.ndim) for name, shape in shapes.items()}
    affordable = max_bytes // (4 * space.volume)  # rows of links or loops, of all patterns together
    schedule = pattern.schedule() if affordable > space.ndim else []
    left_out: list[str] = []
    while schedule and kinds and len(schedule) * (space.ndim + sum(map(len, kinds.values()))) > affordable:
        left_out.insert(0, kinds.popitem()[0])
    if not kinds or not schedule:
        raise ValueError(
            f"The roles of plaquettes under the schedule of {pattern} on {format_lattice(lattice)} take more than "
            f"{max_bytes / 2**20:.3g} MiB."
        )
    loops = [(f"{name} {one}", one) for name, several in kinds.items() for one in several]
    names = [f"links {mu}" for mu in range(space.ndim)] + [name for name, _ in loops]
    roles = torch.stack([_roles(space, one, [loop for _, loop in loops]) for one in schedule])
    label, patterns = f"{pattern} on {format_lattice(space.lattice)}", tuple(map(str, schedule))
    return PatternNumbers(
        label, patterns, tuple(names), roles.numpy(), pattern, _refusal(space, pattern), tuple(left_out)
    )


@checked
def changed_pattern(
    pattern: Pattern, ndim: Count, directions: Sequence[Natural], steps: Sequence[int], width: Count
) -> Pattern:
    """A pattern with other directions, and another first phase.

    Parameters
    ----------
    pattern : Pattern
        Its further phases stay, where the number of dimensions does.
    ndim : int
        Missing steps are 1, and directions and steps that `ndim` dimensions do not have are left out; all directions
        stay all of them.
    directions, steps, width
        Of the new pattern. Of several directions, direction mu begins at the phase 2 mu, as in `Pattern.diagonal`.

    Raises
    ------
    ValueError
        As `Pattern`.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.pattern_numbers import changed_pattern
    >>> changed_pattern(fk.Pattern.checkerboard(0, 3), 2, (0, 1), (1, 1), 4) == fk.Pattern.diagonal(2)
    True
    """
    every = ndim != pattern.ndim and sorted(directions) == list(range(pattern.ndim))
    kept = tuple(range(ndim)) if every else tuple(mu for mu in directions if mu < ndim)
    starts = tuple(2 * mu % width for mu in kept) if len(kept) > 1 else (0,)
    first = Phase((*steps[:ndim], *[1] * (ndim - len(steps))), width, starts)
    return Pattern(kept, (first, *(pattern.phases[1:] if pattern.ndim == ndim else ())))


def _refusal(space: Space, pattern: Pattern) -> str:
    """What a coupling through all plaquettes of its active links says of a pattern, where it refuses it."""
    try:
        for loop in Loop.rectangle().through(pattern.directions[0], space.ndim):
            require_single(space, pattern, loop)
    except ValueError as refusal:
        return str(refusal)
    return ""


def _roles(space: Space, pattern: Pattern, loops: Sequence[Loop]) -> Tensor:
    found = torch.zeros(space.ndim + len(loops), space.volume)
    found[: space.ndim].view(-1)[pattern.links(space)] = 2
    for row, loop in zip(found[space.ndim :], loops, strict=True):
        active, passive, _ = loop_roles(space, pattern, loop)
        row[active], row[passive] = 2, 1
    return found.view(-1, *space.lattice)

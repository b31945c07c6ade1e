"""Schedules of patterns: how often they move each link."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry.closed_paths import name_link
from flowkit.geometry.patterns import Pattern
from flowkit.geometry.space import Space


@checked
def link_updates(space: Space, patterns: Sequence[Pattern]) -> Tensor:
    """How often a schedule of patterns moves each link, [ndim, *lattice].

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.links((2, 2), fk.U1())
    >>> fk.geometry.link_updates(space, [fk.Pattern.checkerboard(0, 2), fk.Pattern.checkerboard(1, 2)])
    tensor([[[1, 0],
             [1, 0]],
    <BLANKLINE>
            [[1, 1],
             [0, 0]]])
    """
    counts = torch.zeros(space.ndim * space.volume, dtype=torch.long)
    for pattern in patterns:
        counts[pattern.links(space)] += 1
    return counts.view(space.ndim, *space.lattice)


@checked
def require_equal_updates(space: Space, patterns: Sequence[Pattern]) -> int:
    """How often a schedule of patterns moves every link.

    Raises
    ------
    ValueError
        Where it moves one link more often than another.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.geometry.require_equal_updates(fk.links((8, 8, 8, 8), fk.U1()), fk.Pattern.diagonal(4).schedule())
    1
    """
    counts = link_updates(space, patterns)
    least, most = counts.flatten().aminmax()
    if least < most:
        words = [f"{name_link(space, int((counts.flatten() == n).nonzero()[0]))} {int(n)}" for n in (least, most)]
        raise ValueError(f"A schedule moves every link equally often; got {words[0]} and {words[1]} times.")
    return int(least)

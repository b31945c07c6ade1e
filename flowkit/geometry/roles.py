"""Which loops a pattern of active links leaves as they are, and which it changes.

active    loops that hold one active link: a coupling may read and change them through it
passive   loops that hold more, or that the coupling does not use: they change, and nothing may depend on them
frozen    loops that hold none: the network's context
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry.closed_paths import Loop, link_index, name_link
from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.patterns import Pattern
from flowkit.geometry.space import Space


class LoopRoles(NamedTuple):
    """Flat base sites of the loops of one orientation, by what a pattern of active links does to them.

    Attributes
    ----------
    active, passive, frozen : Tensor
        ``[sites]``.

    Examples
    --------
    >>> import flowkit as fk
    >>> space, pattern = fk.links((2, 4), fk.U1()), fk.Pattern.stripes(0, (1, 4), (0, 0))
    >>> roles = fk.geometry.loop_roles(space, pattern, fk.Loop.rectangle())
    >>> type(roles).__name__, roles.frozen
    ('LoopRoles', tensor([1, 2, 5, 6]))
    """

    active: Tensor
    passive: Tensor
    frozen: Tensor


@checked
def active_links(space: Space, pattern: Pattern, loop: Loop) -> Tensor:
    """How many active links the loop that starts at each site holds, [volume].

    Examples
    --------
    >>> import flowkit as fk
    >>> space, pattern = fk.links((1, 4), fk.U1()), fk.Pattern.stripes(0, (1, 4), (0, 0))
    >>> fk.geometry.active_links(space, pattern, fk.Loop.rectangle())
    tensor([1, 0, 0, 1])
    """
    active = torch.zeros(space.ndim * space.volume, dtype=torch.bool)
    active[pattern.links(space)] = True
    return active[link_index(space, torch.arange(space.volume), loop.steps(space.ndim))].sum(0)


@checked
def frozen_loops(space: Space, pattern: Pattern, loop: Loop) -> Tensor:
    """The flat sites at which loops start that hold no active link.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import frozen_loops
    >>> frozen_loops(fk.links((1, 4), fk.U1()), fk.Pattern.stripes(0, (1, 4), (0, 0)), fk.Loop.rectangle())
    tensor([1, 2])
    """
    return (active_links(space, pattern, loop) == 0).nonzero()[:, 0]


@checked
def loop_roles(space: Space, pattern: Pattern, loop: Loop, through: Sequence[Loop] | None = None) -> LoopRoles:
    """The loops of one orientation that are active, passive and frozen.

    Parameters
    ----------
    space : Space
    pattern : Pattern
    loop : Loop
        Which loops are asked for, one starting at each site.
    through : sequence of Loop, optional
        Active loops of a coupling, as for `GaugeCoupling`. None takes every loop with one active link as active.

    Examples
    --------
    Stripes of width 4, updated through the plaquettes on the +1 side of their links:

    >>> import flowkit as fk
    >>> space, pattern = fk.links((1, 4), fk.U1()), fk.Pattern.stripes(0, (1, 4), (0, 0))
    >>> fk.geometry.loop_roles(space, pattern, fk.Loop.rectangle(), [fk.Loop.rectangle()])
    LoopRoles(active=tensor([0]), passive=tensor([3]), frozen=tensor([1, 2]))
    """
    counts, everywhere = active_links(space, pattern, loop), torch.arange(space.volume)
    active = counts == 1
    if through is not None:
        own = {tuple(row) for one in through for row in links_through(space, pattern, one).T.sort(1).values.tolist()}
        rows = link_index(space, everywhere, loop.steps(space.ndim)).T.sort(1).values.tolist()
        active &= torch.tensor([tuple(links) in own for links in rows])
    return LoopRoles(everywhere[active], everywhere[(counts > 0) & ~active], everywhere[counts == 0])


@checked
def links_through(space: Space, pattern: Pattern, loop: Loop) -> Tensor:
    """Flat indices of the links of a loop through each active link, [len(loop.path), links].

    Parameters
    ----------
    space : Space
    pattern : Pattern
    loop : Loop
        Its first step is along the first direction of the pattern; for the others the loop is turned with them.

    Raises
    ------
    ValueError
        For another first step.

    Examples
    --------
    >>> import flowkit as fk
    >>> space, pattern = fk.links((1, 4), fk.U1()), fk.Pattern.stripes(0, (1, 4), (0, 0))
    >>> fk.geometry.links_through(space, pattern, fk.Loop.rectangle()).T
    tensor([[0, 4, 1, 4]])
    """
    first = pattern.directions[0]
    if loop.path[0] != (first, 1):
        raise ValueError(f"A loop through {pattern} starts with +{first}; got {loop}.")
    turns = [(pattern.sites(space.lattice, mu), loop.turned(mu - first, space.ndim)) for mu in pattern.directions]
    return torch.cat([link_index(space, sites, turned.steps(space.ndim)) for sites, turned in turns], 1)


@checked
def require_single(space: Space, pattern: Pattern, loop: Loop) -> None:
    """Check that a loop through each active link, as for `links_through`, holds no other active link.

    Raises
    ------
    ValueError
        Otherwise; it says which loop holds which active links.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import require_single
    >>> space, stripes = fk.links((4, 4), fk.U1()), fk.Pattern.stripes(0, (1, 2), (0, 0))
    >>> require_single(space, stripes, fk.Loop.rectangle())   # the plaquette holds one link of the stripes
    >>> require_single(space, stripes, fk.Loop.rectangle(t=2))
    Traceback (most recent call last):
    ValueError: The loop +0 +1 +1 -0 -1 -1 through U_0(0, 0) holds more than one active link \
(links of direction 0 where 0 + x1 mod 2 = 0 on 4x4): U_0(0, 0), U_0(0, 2).
    """
    index = links_through(space, pattern, loop)
    held = torch.isin(index, pattern.links(space))
    bad = (held.sum(0) > 1).nonzero()[:, 0].tolist()
    if bad:
        links = index[:, bad[0]]
        turned = loop.turned(int(links[0]) // space.volume - pattern.directions[0], space.ndim)
        names = ", ".join(name_link(space, link) for link in links[held[:, bad[0]]].tolist())
        raise ValueError(
            f"The loop {turned} through {name_link(space, int(links[0]))} holds more than one active link "
            f"({pattern} on {format_lattice(space.lattice)}): {names}."
        )


@checked
def pattern_table(space: Space, pattern: Pattern) -> str:
    """Density of a pattern, and how many loops of four and six links are active, passive and frozen.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(fk.geometry.pattern_table(fk.links((4, 4, 4), fk.U1()), fk.Pattern.checkerboard(0, 3)))
    links of direction 0 where 0 + x1 + x2 mod 2 = 0 on 4x4x4: 32 of 192, density 0.167
                 active  passive   frozen
    plaquettes      128        0       64
    rectangles        0      192      192
    chairs          512      128      128
    crowns            0      128      128
    """
    count = len(pattern.links(space))
    head = f"{pattern} on {format_lattice(space.lattice)}: {count} of {space.ndim * space.volume}"
    lines = [f"{head}, density {pattern.density(space):.3g}", " " * 10 + "".join(f"{w:>9}" for w in LoopRoles._fields)]
    shapes = {"plaquettes": Loop.rectangle(), "rectangles": Loop.rectangle(r=2)}
    if space.ndim > 2:
        shapes |= {"chairs": Loop.chair(), "crowns": Loop.crown()}
    for name, shape in shapes.items():
        counts = [[len(sites) for sites in loop_roles(space, pattern, one)] for one in shape.orientations(space.ndim)]
        lines.append(f"{name:10}" + "".join(f"{sum(column):9}" for column in zip(*counts, strict=True)))
    return "\n".join(lines)

"""Which links a gauge coupling moves, and which loops it may look at.

active    links that move, and the one loop through each that the coupling reads and changes
passive   loops that hold an active link besides: they change, and nothing may depend on them
frozen    loops that hold none: the network's context
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, Parity, checked, shown
from flowkit.geometry.lattice import coordinates, format_lattice, site_index
from flowkit.geometry.space import Space

Step = tuple[int, tuple[int, ...], int]  # direction, offset from the base site, sign


@checked
@dataclass(frozen=True)
class Stripes:
    """The pattern of links of direction mu at the sites with x_nu mod periods[nu] = offsets[nu] for every nu.

    Parameters
    ----------
    mu : int
        Direction of the links that move.
    periods, offsets : tuple of int
        One number for each direction of the lattice.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.Stripes(0, (1, 2), (0, 1)).sites((2, 4))           # the links of direction 0 in columns 1 and 3
    tensor([1, 3, 5, 7])
    """

    mu: Natural
    periods: tuple[Count, ...]
    offsets: tuple[Natural, ...]

    def __post_init__(self) -> None:
        if len(self.periods) != len(self.offsets) or self.mu >= len(self.periods):
            raise ValueError(f"Stripes need a period and an offset for each direction, mu among them; got {self!r}.")

    def sites(self, lattice: Sequence[int]) -> Tensor:
        """Flat indices of the sites whose mu-link moves; ValueError where a period does not divide its side."""
        sides = tuple(lattice)
        if len(self.periods) != len(sides) or any(
            side % period for side, period in zip(sides, self.periods, strict=True)
        ):
            raise ValueError(
                f"A pattern of links along axis {self.mu} that repeats every {format_lattice(self.periods)} sites "
                f"needs a lattice whose sides are multiples of these; got {format_lattice(sides)}."
            )
        x = coordinates(sides)
        hit = torch.ones(x.shape[1], dtype=torch.bool)
        for axis, (period, offset) in enumerate(zip(self.periods, self.offsets, strict=True)):
            hit &= x[axis] % period == offset % period
        return hit.nonzero()[:, 0]


@checked
@dataclass(frozen=True)
class Checkered:
    """The pattern of half of the links of a direction, no two of them in one plaquette.

    Parameters
    ----------
    mu : int
        Direction of the links that move.
    parity : int
        0 or 1, of the sum of the coordinates across mu.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.Checkered(0, 1).sites((2, 4))
    tensor([1, 3, 5, 7])
    """

    mu: Natural
    parity: Parity

    def sites(self, lattice: Sequence[int]) -> Tensor:
        """Flat indices of the sites whose mu-link moves; ValueError where a side across mu is odd."""
        sides = tuple(lattice)
        across = [axis for axis in range(len(sides)) if axis != self.mu]
        if not 0 <= self.mu < len(sides) or any(sides[axis] % 2 for axis in across):
            raise ValueError(f"{self} needs even sides across mu; got {format_lattice(sides)}.")
        return (coordinates(sides)[across].sum(0) % 2 == self.parity).nonzero()[:, 0]


Pattern = Stripes | Checkered


@checked
@dataclass(frozen=True)
class Loop:
    """A rectangle of links that starts with the active link U_mu(x) and holds it with positive sign.

    Parameters
    ----------
    nu : int
        The other direction of its plane.
    r, t : int
        Its sides, in links along mu and along nu.
    below : bool
        Whether it lies on the -nu side of the link, else on the +nu side.

    Examples
    --------
    >>> import flowkit as fk
    >>> for direction, offset, sign in fk.Loop(1).steps(mu=0, ndim=2):    # the plaquette
    ...     print(direction, offset, sign)
    0 (0, 0) 1
    1 (1, 0) 1
    0 (0, 1) -1
    1 (0, 0) -1
    """

    nu: Natural
    r: Count = 1
    t: Count = 1
    below: bool = False

    def steps(self, mu: int, ndim: int) -> list[Step]:
        """The links of the loop in the order of travel, the active one first."""
        if self.nu == mu or not self.nu < ndim:
            raise ValueError(f"A loop needs a plane; got {self} for links of direction {mu}.")

        def at(along: int, across: int) -> tuple[int, ...]:
            offset = [0] * ndim
            offset[mu], offset[self.nu] = along, across
            return tuple(offset)

        far = -self.t if self.below else self.t
        side = [-1 - j for j in range(self.t)] if self.below else list(range(self.t))
        out = -1 if self.below else 1
        steps: list[Step] = [(mu, at(i, 0), 1) for i in range(self.r)]
        steps += [(self.nu, at(self.r, j), out) for j in side]
        steps += [(mu, at(i, far), -1) for i in reversed(range(self.r))]
        steps += [(self.nu, at(0, j), -out) for j in reversed(side)]
        return steps


@checked
def link_index(space: Space, sites: Tensor, steps: Sequence[Step]) -> Tensor:
    """Flat indices, into [component * volume], of the links of a loop based at each site, [len(steps), len(sites)].

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import link_index
    >>> space = fk.links((2, 2), fk.U1())
    >>> link_index(space, torch.tensor([0]), fk.Loop(1).steps(0, 2)).T    # U_0(0), U_1(2), U_0(1), U_1(0)
    tensor([[0, 6, 1, 4]])
    """
    if sites.dtype != torch.long or sites.dim() != 1 or not steps:
        raise ValueError(f"Links of a loop are listed for flat sites, [sites], and steps; got {shown(sites)}, {steps}.")
    x = coordinates(space.lattice)[:, sites]
    rows = []
    for direction, offset, _ in steps:
        there = x + torch.tensor(offset)[:, None]
        rows.append(direction * space.volume + site_index(there, space.lattice))
    return torch.stack(rows)


@checked
def frozen_plaquettes(space: Space, pattern: Pattern) -> dict[tuple[int, int], Tensor]:
    """For each plane the flat base sites of the plaquettes that hold no active link.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import frozen_plaquettes
    >>> frozen_plaquettes(fk.links((1, 4), fk.U1()), fk.Stripes(0, (1, 4), (0, 0)))    # 3 and 0 move
    {(0, 1): tensor([1, 2])}
    """
    active = pattern.mu * space.volume + pattern.sites(space.lattice)
    everywhere = torch.arange(space.volume)
    frozen = {}
    for mu, nu in space.planes:
        index = link_index(space, everywhere, Loop(nu).steps(mu, space.ndim))
        frozen[mu, nu] = everywhere[~torch.isin(index, active).any(0)]
    return frozen


@checked
def require_single(space: Space, pattern: Pattern, loop: Loop) -> None:
    """Check that each active loop holds its own active link once and no other.

    Raises
    ------
    ValueError
        Otherwise.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import require_single
    >>> space, stripes = fk.links((4, 4), fk.U1()), fk.Stripes(0, (1, 2), (0, 0))
    >>> require_single(space, stripes, fk.Loop(1))            # the plaquette holds one link of the stripes
    """
    sites = pattern.sites(space.lattice)
    active = pattern.mu * space.volume + sites
    index = link_index(space, sites, loop.steps(pattern.mu, space.ndim))
    if (torch.isin(index, active).sum(0) != 1).any():
        raise ValueError(f"{loop} of {pattern} on {format_lattice(space.lattice)} holds more than one active link.")

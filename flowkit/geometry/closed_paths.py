"""Closed paths of links in any dimension, and where their links are stored."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, Range, checked, shown
from flowkit.geometry.lattice import coordinates, site_index
from flowkit.geometry.space import Space

Step = tuple[int, tuple[int, ...], int]  # direction, offset from the base site, sign
Move = tuple[Natural, Annotated[int, Range(-1, 1)]]  # direction, sign


@checked
@dataclass(frozen=True)
class Loop:
    """A closed path of links: a sequence of steps along the lattice, each a direction and a sign.

    Parameters
    ----------
    path : tuple of (int, int)
        Direction mu and sign +1 or -1 of each step.

    Raises
    ------
    ValueError
        For a path that does not come back to its start.

    Examples
    --------
    >>> import flowkit as fk
    >>> plaquette = fk.Loop(((0, 1), (1, 1), (0, -1), (1, -1)))
    >>> print(plaquette)
    +0 +1 -0 -1
    >>> plaquette == fk.Loop.rectangle()
    True
    >>> for direction, offset, sign in plaquette.steps(ndim=2):          # U_0(x) U_1(x + 0) U_0(x + 1)^-1 U_1(x)^-1
    ...     print(direction, offset, sign)
    0 (0, 0) 1
    1 (1, 0) 1
    0 (0, 1) -1
    1 (0, 0) -1
    >>> [len(loop.orientations(3)) for loop in (fk.Loop.rectangle(), fk.Loop.chair(), fk.Loop.crown())]
    [3, 12, 4]
    """

    path: tuple[Move, ...]

    def __post_init__(self) -> None:
        end: dict[int, int] = {}
        for mu, sign in self.path:
            end[mu] = end.get(mu, 0) + sign
        if not self.path or any(end.values()) or any(not sign for _, sign in self.path):
            raise ValueError(f"A loop is a closed path of steps (direction, +1 or -1); got {self.path}.")

    @staticmethod
    @checked
    def rectangle(mu: Natural = 0, nu: Natural = 1, r: Count = 1, t: Count = 1, below: bool = False) -> "Loop":
        """The rectangle of r links along mu and t along nu that starts with a link of direction mu.

        Parameters
        ----------
        mu, nu : int
            Its plane.
        r, t : int
            Its sides in links; the default is the plaquette.
        below : bool
            Whether it lies on the -nu side of its first link, else on the +nu side.

        Raises
        ------
        ValueError
            For mu = nu.
        """
        if mu == nu:
            raise ValueError(f"A rectangle needs two directions; got {mu} and {nu}.")
        out: Move = (nu, -1 if below else 1)
        back: Move = (nu, 1 if below else -1)
        return Loop((*[(mu, 1)] * r, *[out] * t, *[(mu, -1)] * r, *[back] * t))

    @staticmethod
    @checked
    def chair(mu: Natural = 0, nu: Natural = 1, rho: Natural = 2) -> "Loop":
        """The bent rectangle of six links: two plaquettes, in the planes (mu, nu) and (mu, rho), with a common link.

        Raises
        ------
        ValueError
            For directions that are not different.
        """
        if len({mu, nu, rho}) < 3:
            raise ValueError(f"A chair needs three directions; got {mu}, {nu} and {rho}.")
        return Loop(((mu, 1), (nu, -1), (rho, 1), (mu, -1), (rho, -1), (nu, 1)))

    @staticmethod
    @checked
    def crown(mu: Natural = 0, nu: Natural = 1, rho: Natural = 2) -> "Loop":
        """The loop of the six links of a cube that touch neither of two opposite corners.

        Raises
        ------
        ValueError
            For directions that are not different.
        """
        if len({mu, nu, rho}) < 3:
            raise ValueError(f"A crown needs three directions; got {mu}, {nu} and {rho}.")
        return Loop(((mu, 1), (nu, 1), (rho, 1), (mu, -1), (nu, -1), (rho, -1)))

    def steps(self, ndim: int) -> list[Step]:
        """The links of the loop in the order of travel: direction, offset of the link from the first site, sign.

        Raises
        ------
        ValueError
            For a loop with directions that a lattice of `ndim` does not have.
        """
        place, found = [0] * self._check(ndim), []
        for mu, sign in self.path:
            place[mu] += min(sign, 0)
            found.append((mu, tuple(place), sign))
            place[mu] += max(sign, 0)
        return found

    def orientations(self, ndim: int) -> tuple["Loop", ...]:
        """The different loops, up to their start and sense, that rotations and reflections of the lattice make of this.

        Raises
        ------
        ValueError
            For a loop with directions that a lattice of `ndim` does not have.
        """
        self._check(ndim)
        used = sorted({mu for mu, _ in self.path})
        found = set()
        for directions in itertools.permutations(range(ndim), len(used)):
            for signs in itertools.product((1, -1), repeat=len(used)):
                image = {mu: (nu, s) for mu, nu, s in zip(used, directions, signs, strict=True)}
                moves = tuple((image[mu][0], image[mu][1] * sign) for mu, sign in self.path)
                found.add(min(_walks(moves), key=_order))
        return tuple(Loop(moves) for moves in sorted(found, key=_order))

    def through(self, mu: int, ndim: int) -> tuple["Loop", ...]:
        """All loops of this shape that start with a link of direction mu, in every orientation.

        Raises
        ------
        ValueError
            For a direction, or a loop with directions, that a lattice of `ndim` does not have.

        Examples
        --------
        >>> import flowkit as fk
        >>> print(*fk.Loop.rectangle().through(0, 2), sep="; ")
        +0 +1 -0 -1; +0 -1 -0 +1
        """
        if not 0 <= mu < ndim:
            raise ValueError(f"Loops start with a link of direction 0 to {ndim - 1}; got {mu}.")
        walks = {walk for loop in self.orientations(ndim) for walk in _walks(loop.path) if walk[0] == (mu, 1)}
        return tuple(Loop(walk) for walk in sorted(walks, key=_order))

    def turned(self, by: int, ndim: int) -> "Loop":
        """The loop with each direction mu replaced by (mu + by) mod ndim."""
        self._check(ndim)
        return Loop(tuple(((mu + by) % ndim, sign) for mu, sign in self.path))

    def _check(self, ndim: int) -> int:
        if max(mu for mu, _ in self.path) >= ndim:
            raise ValueError(f"The loop {self} needs more than {ndim} dimensions.")
        return ndim

    def __str__(self) -> str:
        return " ".join(f"{'+' if sign > 0 else '-'}{mu}" for mu, sign in self.path)


def _order(path: tuple[Move, ...]) -> list[tuple[int, bool]]:
    return [(mu, sign < 0) for mu, sign in path]


def _walks(path: tuple[Move, ...]) -> Iterator[tuple[Move, ...]]:
    """The same loop from each of its sites, in both senses."""
    for moves in (path, tuple((mu, 1 if sign < 0 else -1) for mu, sign in reversed(path))):
        for start in range(len(path)):
            yield (*moves[start:], *moves[:start])


@checked
def link_index(space: Space, sites: Tensor, steps: Sequence[Step]) -> Tensor:
    """Flat indices, into [component * volume], of the links of a path based at each site, [len(steps), len(sites)].

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import link_index
    >>> space = fk.links((2, 2), fk.U1())
    >>> link_index(space, torch.tensor([0]), fk.Loop.rectangle().steps(2)).T    # U_0(0), U_1(2), U_0(1), U_1(0)
    tensor([[0, 6, 1, 4]])
    """
    if sites.dtype != torch.long or sites.dim() != 1 or not steps:
        raise ValueError(f"Links of a path are listed for flat sites, [sites], and steps; got {shown(sites)}, {steps}.")
    x = coordinates(space.lattice)[:, sites]
    rows = []
    for direction, offset, _ in steps:
        there = x + torch.tensor(offset)[:, None]
        rows.append(direction * space.volume + site_index(there, space.lattice))
    return torch.stack(rows)


def name_link(space: Space, link: int) -> str:
    """The link of a flat index into [component * volume], as text."""
    mu, site = divmod(link, space.volume)
    return f"U_{mu}({', '.join(str(int(x)) for x in coordinates(space.lattice)[:, site])})"


def staple_index(space: Space, mu: int, sites: Tensor) -> Tensor:
    """Flat indices of the links of the upper and the lower staple of U_mu in every plane, [planes, 2, 3, len(sites)].

    The staple is a b c^-1 above and a^-1 b c below.
    """
    legs = []
    for nu in range(space.ndim):
        if nu != mu:  # the loops on both sides of the link, without it and backwards
            sides = [Loop.rectangle(mu, nu, below=below).steps(space.ndim)[:0:-1] for below in (False, True)]
            legs.append(torch.stack([link_index(space, sites, steps) for steps in sides]))
    return torch.stack(legs)

"""Sublattices of links that a heatbath draws at once, and the links of their staples."""

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.geometry.closed_paths import Loop, link_index, staple_index
from flowkit.geometry.lattice import coordinates, format_lattice
from flowkit.geometry.patterns import Pattern, Phase
from flowkit.geometry.space import Space
from flowkit.kernels.native import kept_on_cpu


class Sublattice(NamedTuple):
    """Links of one direction that share no loop of the action. Links are numbered mu * volume + site."""

    active: Tensor
    """The links that move together, [active]."""
    legs: Tensor
    """The six links of the upper and the lower staple in every plane, [planes, 2, 3, active]."""
    longer: Tensor | None = None
    """The five links of each staple of the rectangles, [staples, 5, active]; None where the action has none."""
    signs: tuple[tuple[int, ...], ...] = ()
    """The sign of each link of these staples."""

    def to(self, device: torch.device) -> "Sublattice":
        """The same on a device."""
        longer = None if self.longer is None else self.longer.to(device)
        return self._replace(active=self.active.to(device), legs=self.legs.to(device), longer=longer)


@functools.lru_cache(maxsize=8)
@kept_on_cpu()
def sublattices(space: Space) -> tuple[Sublattice, ...]:
    """Every link in exactly one sublattice; direction by direction, 2 colours (3 where a transverse side is odd).

    Links of direction mu share a plaquette where their sites are neighbours in a transverse direction, so a proper
    colouring of transverse neighbours separates them. A cycle of odd length needs a third colour.

    Raises
    ------
    ValueError
        For a side of 1, where a plaquette holds one link twice.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.samplers.sublattices import sublattices
    >>> [len(part.active) for part in sublattices(fk.links((4, 4), fk.U1()))]
    [8, 8, 8, 8]
    """
    if min(space.lattice) < 2:
        raise ValueError(f"Heatbath needs lattice sides >= 2; got {format_lattice(space.lattice)}.")
    x = coordinates(space.lattice)
    parts = []
    for mu in range(space.ndim):
        transverse = [nu for nu in range(space.ndim) if nu != mu]
        odd = any(space.lattice[nu] % 2 for nu in transverse)
        colour = torch.zeros_like(x[0])
        for nu in transverse:
            last_of_odd = (x[nu] == space.lattice[nu] - 1) & (space.lattice[nu] % 2 == 1)
            colour = colour + torch.where(last_of_odd, 2, x[nu] % 2)
        colour = colour % (3 if odd else 2)
        for c in range(3 if odd else 2):
            parts.append(_sublattice(space, mu, (colour == c).nonzero()[:, 0]))
    return tuple(parts)


@functools.lru_cache(maxsize=8)
@kept_on_cpu()
def rectangle_sublattices(space: Space) -> tuple[Sublattice, ...]:
    """Every link in exactly one of four sublattices of its direction whose links share no plaquette and no rectangle.

    Links of direction mu at x and y share one where y - x is a step of 1 along mu, of 1 or 2 across it, or of 1 along
    and 1 across. None of these is 0 modulo 4 in 2 x_mu plus the sum of the other coordinates.

    Raises
    ------
    ValueError
        For a side that is no multiple of 4.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.samplers.sublattices import rectangle_sublattices
    >>> [len(part.active) for part in rectangle_sublattices(fk.links((4, 4), fk.U1()))]
    [4, 4, 4, 4, 4, 4, 4, 4]
    """
    if any(side % 4 for side in space.lattice):
        raise ValueError(
            f"Heatbath of rectangles needs lattice sides that are multiples of 4; got {format_lattice(space.lattice)}."
        )
    parts = []
    for mu in range(space.ndim):
        loops = [loop.steps(space.ndim)[:0:-1] for loop in Loop.rectangle(r=2).through(mu, space.ndim)]
        signs = tuple(tuple(-sign for _, _, sign in steps) for steps in loops)
        steps = tuple(2 if nu == mu else 1 for nu in range(space.ndim))
        for start in range(4):
            sites = Pattern((mu,), (Phase(steps, 4, (start,)),)).sites(space.lattice, mu)
            longer = torch.stack([link_index(space, sites, one) for one in loops])
            parts.append(_sublattice(space, mu, sites)._replace(longer=longer, signs=signs))
    return tuple(parts)


def _sublattice(space: Space, mu: int, sites: Tensor) -> Sublattice:
    return Sublattice(mu * space.volume + sites, staple_index(space, mu, sites))

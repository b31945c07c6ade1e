"""Heatbath and overrelaxation for the Wilson action, on one sublattice of links after the other."""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.wilson import Wilson
from flowkit.geometry.lattice import coordinates, format_lattice, site_index
from flowkit.geometry.space import Space
from flowkit.groups import U1, Group
from flowkit.samplers.base import Info, Sampler, State, back_to_group
from flowkit.samplers.fisher import su2_element, von_mises

SU2 = tuple[Tensor, Tensor]
"""An element [[a, b], [-b*, a*]] of SU(2) as its complex numbers (a, b)."""


class Sublattice(NamedTuple):
    """Links of one direction that share no plaquette. Links are numbered mu * volume + site."""

    active: Tensor
    """The links that move together, [active]."""
    legs: Tensor
    """The six links of the upper and the lower staple in every plane, [planes, 2, 3, active]."""


def sublattices(space: Space) -> list[Sublattice]:
    """Every link in exactly one sublattice; direction by direction, 2 colours (3 where a transverse side is odd).

    Links of direction mu share a plaquette where their sites are neighbours in a transverse direction, so a proper
    colouring of transverse neighbours separates them. A cycle of odd length needs a third colour.

    Raises    ValueError for a side of 1, where a plaquette holds one link twice
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
            parts.append(_sublattice(space, mu, x[:, colour == c]))
    return parts


def _sublattice(space: Space, mu: int, sites: Tensor) -> Sublattice:
    def link(direction: int, forward: tuple[int, ...] = (), back: tuple[int, ...] = ()) -> Tensor:
        moved = sites.clone()
        for axis in forward:
            moved[axis] += 1
        for axis in back:
            moved[axis] -= 1
        return direction * space.volume + site_index(moved, space.lattice)

    legs = []
    for nu in range(space.ndim):
        if nu != mu:
            upper = torch.stack([link(nu), link(mu, (nu,)), link(nu, (mu,))])
            lower = torch.stack([link(nu, (), (nu,)), link(mu, (), (nu,)), link(nu, (mu,), (nu,))])
            legs.append(torch.stack([upper, lower]))
    return Sublattice(link(mu), torch.stack(legs))


class Heatbath(Sampler):
    """One heatbath sweep and `overrelaxation` microcanonical sweeps over all links; every step is accepted.

    With A the sum of the staples of a link V, p(V) ~ exp((beta/N) Re Tr V A^dagger). Heatbath draws V anew:
      U(1)    theta = arg A + von Mises(beta |A|)
      SU(N)   V -> a V for a in each SU(2) subgroup: a w = k u with u in SU(2) and w the part of V A^dagger in the
              subgroup, and a u drawn from exp((2 beta k/N) Re (a u)_11)
    Overrelaxation moves V and keeps S: theta -> 2 arg A - theta, and a = u^-1 u^-1.

    Field     links of any U1 or SUN space with sides >= 2, any dimension
    Raises    TypeError for another action than Wilson; ValueError for a side of 1 or overrelaxation < 0
    See       Creutz, Phys. Rev. D 21 (1980) 2308; Cabibbo and Marinari, Phys. Lett. B 119 (1982) 387
    """

    def __init__(self, action: Action, overrelaxation: int = 1):
        if not isinstance(action, Wilson):
            raise TypeError(f"Heatbath needs a Wilson action; got {action!r}.")
        if not isinstance(overrelaxation, int) or overrelaxation < 0:
            raise ValueError(f"Heatbath needs a whole number of overrelaxation sweeps >= 0; got {overrelaxation!r}.")
        super().__init__(action)
        self.beta, self.overrelaxation = action.beta, overrelaxation
        self.parts = sublattices(action.space)

    def staple_sum(self, links: Tensor, part: Sublattice) -> Tensor:
        """A = sum of the 2 (ndim - 1) staples of the active links.

        links     all links in one axis, [chains, ndim * volume, *matrix]
        Returns   complex, [chains, active, *matrix]
        """
        total: Tensor | None = None
        for plane in part.legs:
            for side, (first, second, third) in enumerate(plane):
                a, b, c = links[:, first], links[:, second], links[:, third]
                if isinstance(self.space.group, U1):
                    angle = a + b - c if side == 0 else -a + b + c
                    staple = torch.polar(torch.ones_like(angle), angle)
                else:
                    staple = a @ (b @ c.mH) if side == 0 else a.mH @ (b @ c)
                total = staple if total is None else total + staple
        assert total is not None  # sublattices() and Wilson leave no space of one dimension
        return total

    def redraw(self, V: Tensor, A: Tensor, rng: torch.Generator) -> Tensor:
        """Heatbath: new links from their exact conditional (SU(N > 2): subgroup by subgroup)."""
        G = self.space.group
        if isinstance(G, U1):
            return G.wrap(A.angle() + von_mises(self.beta * A.abs(), rng))

        return _redraw(V, A, self.beta, rng)

    def reflect(self, V: Tensor, A: Tensor) -> Tensor:
        """Overrelaxation: far from the old link, at the same action."""
        G = self.space.group
        if isinstance(G, U1):
            return G.wrap(2 * A.angle() - V)
        return _over_subgroups(V, A, lambda k, u: _times(_inverse(u), _inverse(u)))

    @torch.no_grad()
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        x = state.x.clone(memory_format=torch.contiguous_format)
        links = x.view(len(x), -1, *self.space.group.matrix_shape)  # what is written here is in x
        if self.parts[0].active.device != x.device:
            self.parts = [Sublattice(*(index.to(x.device) for index in part)) for part in self.parts]
        for sweep in range(1 + self.overrelaxation):
            for part in self.parts:
                V, A = links[:, part.active], self.staple_sum(links, part)
                links[:, part.active] = self.redraw(V, A, rng) if sweep == 0 else self.reflect(V, A)
        x = back_to_group(self.space.group, x)
        S = self.action(x)
        return State(x, S), {"accept": torch.ones_like(S, dtype=torch.bool), "invalid": ~S.isfinite()}

    def describe(self) -> dict[str, Any]:
        return {"sampler": "Heatbath", "action": repr(self.action), "overrelaxation": self.overrelaxation}


def one_plaquette(
    group: Group, beta: float, n: int, rng: torch.Generator, dtype: torch.dtype, sweeps: int = 20
) -> Tensor:
    """n independent elements of density ~ exp((beta/N) Re Tr U); of SU(N > 2) after `sweeps` from Haar measure.

    Raises    ValueError for beta < 0
    """
    if not 0 <= beta < math.inf:
        raise ValueError(f"one_plaquette needs a finite beta >= 0; got {beta!r}.")
    if isinstance(group, U1):
        return group.wrap(von_mises(torch.full((n,), beta, dtype=dtype, device=rng.device), rng))
    V = group.haar((n,), rng, dtype)
    one = group.identity((n,), V)
    for _ in range(1 if group.dimension == 2 else sweeps):
        V = _redraw(V, one, beta, rng)
    return group.project(V)


def _redraw(V: Tensor, A: Tensor, beta: float, rng: torch.Generator) -> Tensor:
    """V anew in each SU(2) subgroup in turn, from exp((beta/N) Re Tr V A^dagger)."""

    def draw(k: Tensor, u: SU2) -> SU2:
        return _times(su2_element(2 * beta / V.shape[-1] * k, rng), _inverse(u))

    return _over_subgroups(V, A, draw)


def _times(x: SU2, y: SU2) -> SU2:
    (a, b), (c, d) = x, y
    return a * c - b * d.conj(), a * d + b * c.conj()


def _inverse(x: SU2) -> SU2:
    a, b = x
    return a.conj(), -b


def _over_subgroups(V: Tensor, A: Tensor, choose: Callable[[Tensor, SU2], SU2]) -> Tensor:
    """V -> a V for a = choose(k, u) in each SU(2) subgroup (rows i < j) in turn, k u the part of V A^dagger there."""
    V, W = V.clone(), V @ A.mH
    pairs = list(combinations(range(V.shape[-1]), 2))
    for i, j in pairs:
        p = (W[..., i, i] + W[..., j, j].conj()) / 2
        q = (W[..., i, j] - W[..., j, i].conj()) / 2
        k = (p.abs().square() + q.abs().square()).sqrt()
        safe = k.clamp(min=torch.finfo(k.dtype).tiny)
        u = torch.where(k > 0, p / safe, 1), torch.where(k > 0, q / safe, 0)  # no direction: any u does
        a, b = choose(k, u)
        for M in (V, W) if (i, j) != pairs[-1] else (V,):  # nobody reads the last W
            upper, lower = M[..., i, :], M[..., j, :]
            M[..., i, :], M[..., j, :] = (
                a[..., None] * upper + b[..., None] * lower,
                a.conj()[..., None] * lower - b.conj()[..., None] * upper,
            )
    return V

"""Dressed staples: loops through a new link in which links that are not drawn yet stand with their mean."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, Positive, checked
from flowkit.geometry.patterns import Loop, link_index
from flowkit.geometry.space import Space
from flowkit.groups import Group
from flowkit.multiscale.contexts import LinkContext, Terms
from flowkit.multiscale.doubling import LinkDoubling, Loops, on_device
from flowkit.multiscale.stages import Stage

Steps = tuple[tuple[int, tuple[int, ...], int], ...]
SIDES = ((1, -1, -1), (-1, -1, 1))
"""The signs of the links of a plaquette above a link and of one below, the link itself left out."""


@checked
@dataclass(frozen=True)
class DressedStaples(LinkContext):
    r"""Complete plaquettes, and incomplete ones whose missing links are replaced by their mean-field expectations.

    For links of U(1) and SU(2), in any number of dimensions.

    Parameters
    ----------
    beta : float
        The coupling of the fine theory, dimensionless.
    spacings : tuple of int
        Of the lattice on which new links are drawn, in units of the finest one, for each direction.
    rounds : int
        R, the number of mean-field iterations; each gives loops of its own. None leave incomplete plaquettes out.
    strengths : tuple of float
        The factors s on beta for which the iteration is made, dimensionless.
    loops : int
        Complete loops of six links are given too where it is 6; 4 for none.

    Notes
    -----
    Known links are :math:`E = V`. Unknown ones begin with :math:`E = 0` and are replaced R times by their mean,

    .. math::
        E = \langle V \rangle_{\exp[\frac{1}{N}\mathrm{Re\,Tr}\, V J^\dagger]}, \quad
        J = s \sum_\rho b_{\nu\rho} (S_\uparrow + S_\downarrow)[E], \quad
        b_{\nu\rho} = \beta \prod_{\sigma \neq \nu, \rho} a_\sigma / (a_\nu a_\rho)

    with the staples S in the plane of nu and rho; a are the spacings. In each plane the loops through a new link are
    the sum of its complete staples and, for each s and each round, the sum of its incomplete ones.

    In the limit of a free field this gives the exact mean of the missing links as R grows. Links that a later stage
    draws do not occur: the context is a function of known links alone.

    Examples
    --------
    >>> import flowkit as fk
    >>> doubling = fk.multiscale.LinkDoubling(fk.links((1, 2, 2), fk.U1()), mu=0, order="hierarchical")
    >>> context = fk.multiscale.DressedStaples(beta=1.0, spacings=(1, 1, 1), rounds=1)
    >>> context.terms(doubling, doubling.stages[0])
    ('complete 0', 'dressed 2 by 1 in 1')
    >>> context.terms(doubling, doubling.stages[-1])
    ('complete 0', 'complete 1')
    """

    beta: Positive
    spacings: tuple[Count, ...]
    rounds: Natural = 2
    strengths: tuple[Positive, ...] = (1.0,)
    loops: Natural = 4

    def __post_init__(self) -> None:
        if not self.strengths or self.loops not in (4, 6):
            raise ValueError(f"DressedStaples needs strengths, and loops of 4 or 6 links; got {self!r}.")

    def strengthened(self, ratio: float) -> "DressedStaples":
        return replace(self, beta=self.beta * ratio)

    def terms(self, doubling: LinkDoubling, stage: Stage) -> Terms:
        plan = self._plan(doubling, stage)
        found = [f"complete {rho}" for rho in plan.planes if plan.complete[rho].any()]
        open_planes = [rho for rho in plan.planes if not plan.complete[rho].all()]
        for s, r, rho in itertools.product(self.strengths, range(1, self.rounds + 1), open_planes):
            found.append(f"dressed {rho} by {s:g} in {r}")
        if self.loops == 6:
            found += [_path_name(steps) for steps, _ in plan.paths]
        return tuple(found)

    def begin(self, doubling: LinkDoubling, coarse: Tensor, first: Tensor) -> Loops:
        shape = [len(coarse), len(doubling.across), *doubling.coarse.lattice, *doubling.coarse.group.matrix_shape]
        fine = doubling.join(coarse, first, coarse.new_zeros(shape))
        E = doubling.coarse.group.ambient(fine.flatten(1, 1 + doubling.fine.ndim)).transpose(0, 1).contiguous()
        # New links are no part of it.
        keep = torch.ones(len(E), dtype=torch.bool)
        keep[doubling.places] = False
        return (E * keep.to(E.device).view(-1, *[1] * (E.dim() - 1)),)

    def given(self, doubling: LinkDoubling, stage: Stage, known: Loops, new: Tensor, terms: Terms) -> Loops:
        G, plan = doubling.coarse.group, self._plan(doubling, stage)
        (E,) = known
        if len(plan.drawn):
            flat = new.flatten(1, 1 + doubling.coarse.ndim)[:, on_device(plan.drawn, new.device)]
            E = E.index_copy(0, on_device(plan.drawn_places, E.device), G.ambient(flat).transpose(0, 1).contiguous())
        wanted, found = set(terms), dict[str, Tensor]()

        def keep(name: str, value: Tensor) -> None:
            if name in wanted:
                found[name] = value

        for rho in plan.planes:
            if plan.complete[rho].any():
                keep(f"complete {rho}", _summed(_sides(G, E, plan.legs[rho]), plan.complete[rho]))
        if len(plan.unknown) and any(name.startswith("dressed") for name in wanted):
            for s in self.strengths:
                dressed = E
                for r in range(1, self.rounds + 1):
                    dressed = self._round(doubling, plan, dressed, s)
                    for rho in plan.planes:
                        if not plan.complete[rho].all():
                            sides = _sides(G, dressed, plan.legs[rho])
                            keep(f"dressed {rho} by {s:g} in {r}", _summed(sides, ~plan.complete[rho]))
        for steps, index in plan.paths:
            if (name := _path_name(steps)) in wanted:
                keep(name, G.ambient_product(_gather(E, index), [sign for _, _, sign in steps]))
        count = len(plan.places)
        zero = E.new_zeros(count, *E.shape[1:]) if len(found) < len(wanted) else E
        loops = tuple(found.get(name, zero).transpose(0, 1) for name in terms)
        if stage.links is None:  # in the shape of all new links
            return tuple(loop.reshape(new.shape) for loop in loops)
        return loops

    def _round(self, doubling: LinkDoubling, plan: "Plan", E: Tensor, strength: float) -> Tensor:
        """E with the links that are not known replaced by their means, given E."""
        G = doubling.coarse.group
        total: Tensor | None = None
        for legs, weights in zip(plan.around, plan.weights, strict=True):
            up, down = _sides(G, E, legs)
            one = (up + down) * on_device(weights, E.device).to(E.real.dtype).view(-1, *[1] * (E.dim() - 1))
            total = one if total is None else total + one
        assert total is not None
        return E.index_copy(0, on_device(plan.unknown, E.device), G.mean_element(total * (self.beta * strength)))

    def _plan(self, doubling: LinkDoubling, stage: Stage) -> "Plan":
        number = next(i for i, one in enumerate(doubling.stages) if one is stage)
        return _plan(doubling, number, self.spacings, self.loops)


class Plan(NamedTuple):
    """The geometry of a stage: which links are known, and where loops lie. Fine links are nu * volume + site."""

    drawn: Tensor
    """New links of earlier stages, flat over [nu, *coarse lattice]."""
    drawn_places: Tensor
    """Their places among the fine links."""
    places: Tensor
    """The links of the stage."""
    unknown: Tensor
    """New links of this stage and of later ones."""
    around: list[Tensor]
    """For each of d - 1 planes the legs of both plaquettes of the unknown links, [2, 3, unknown]."""
    weights: list[Tensor]
    """b / beta of these planes, [unknown]."""
    planes: tuple[int, ...]
    """The directions rho of the planes of the links of the stage."""
    legs: dict[int, Tensor]
    """The legs of both plaquettes of the links of the stage, [2, 3, links], by rho."""
    complete: dict[int, Tensor]
    """Whether they are known, [2, links]."""
    paths: list[tuple[Steps, Tensor]]
    """The complete loops of six links without the link itself, and their links, [5, links]."""


@lru_cache(maxsize=4096)
def _plan(doubling: LinkDoubling, number: int, spacings: tuple[int, ...], loops: int) -> Plan:
    fine, stage = doubling.fine, doubling.stages[number]
    if stage.links is None and len(doubling.across) > 1:
        raise ValueError('DressedStaples needs links of one direction at a time; the order is "together".')
    if len(spacings) != fine.ndim:
        raise ValueError(f"DressedStaples needs a spacing for each direction of {fine}; got {spacings}.")
    every = torch.arange(len(doubling.places))
    links = [every if one.links is None else one.links for one in doubling.stages]
    drawn, later = torch.cat([every[:0], *links[:number]]), torch.cat(links[number:])
    unknown = doubling.places[later]
    lost = torch.zeros(fine.ndim * fine.volume, dtype=torch.bool)
    lost[unknown] = True
    places, nu = doubling.places[links[number]], stage.nu
    planes = tuple(rho for rho in range(fine.ndim) if rho != nu)
    legs = {rho: _legs(fine, places % fine.volume, nu, rho) for rho in planes}
    complete = {rho: ~lost[legs[rho]].any(1) for rho in planes}
    around, weights = [], []
    for r in range(1, fine.ndim):
        table, weight = torch.zeros(2, 3, len(unknown), dtype=torch.long), torch.zeros(len(unknown))
        for mine in range(fine.ndim):
            which, rho = unknown // fine.volume == mine, (mine + r) % fine.ndim
            table[:, :, which] = _legs(fine, unknown[which] % fine.volume, mine, rho)
            weight[which] = math.prod(spacings) / (spacings[mine] * spacings[rho]) ** 2
        around.append(table)
        weights.append(weight)
    paths = []
    for steps in six_links(nu, fine.ndim) if loops == 6 else ():
        index = link_index(fine, places % fine.volume, steps)
        if not lost[index].any():
            paths.append((steps, index))
    return Plan(drawn, doubling.places[drawn], places, unknown, around, weights, planes, legs, complete, paths)


def _legs(space: Space, sites: Tensor, nu: int, rho: int) -> Tensor:
    """The links of both plaquettes of U_nu(x) in a plane in the order of travel, without it: [2, 3, sites]."""
    ways = [Loop(rho, below=below).steps(nu, space.ndim)[1:] for below in (False, True)]
    return torch.stack([link_index(space, sites, steps) for steps in ways])


@lru_cache(maxsize=64)
def six_links(nu: int, ndim: int) -> tuple[Steps, ...]:
    """The paths of five links from x + nu to x that visit no site twice, the loops of six links through U_nu(x).

    Examples
    --------
    >>> from flowkit.multiscale.dressed import six_links
    >>> [len(six_links(0, ndim)) for ndim in (2, 3, 4)]
    [6, 44, 114]
    """
    start = tuple(int(mu == nu) for mu in range(ndim))
    goal, found = (0,) * ndim, list[Steps]()

    def walk(here: tuple[int, ...], steps: Steps, seen: frozenset[tuple[int, ...]]) -> None:
        left = 5 - len(steps)
        if here == goal or sum(map(abs, here)) > left:
            if here == goal and not left:
                found.append(steps)
            return
        for mu, sign in itertools.product(range(ndim), (1, -1)):
            there = tuple(x + sign * (mu == axis) for axis, x in enumerate(here))
            if there not in seen and not (there == goal and left > 1):
                base = here if sign > 0 else there
                walk(there, (*steps, (mu, base, sign)), seen | {there})

    walk(start, (), frozenset({start}))
    return tuple(found)


def _path_name(steps: Steps) -> str:
    return "path " + " ".join(f"{'+' if sign > 0 else '-'}{mu}" for mu, _, sign in steps)


def _gather(E: Tensor, index: Tensor) -> list[Tensor]:
    """The links of each step of a path, [steps, n] -> each [n, batch, *matrix]."""
    return [E.index_select(0, on_device(one, E.device)) for one in index.unbind(0)]


def _sides(group: Group, E: Tensor, legs: Tensor) -> list[Tensor]:
    """R of the plaquettes above and below links."""
    return [group.ambient_product(_gather(E, one), signs) for one, signs in zip(legs, SIDES, strict=True)]


def _summed(sides: Sequence[Tensor], which: Tensor) -> Tensor:
    """The sum of two sides where `which`, [2, n], says so."""
    total: Tensor | None = None
    for side, mask in zip(sides, which, strict=True):
        if mask.any():
            one = side if mask.all() else side * on_device(mask, side.device).view(-1, *[1] * (side.dim() - 1))
            total = one if total is None else total + one
    assert total is not None
    return total

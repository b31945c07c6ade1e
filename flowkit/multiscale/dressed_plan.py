"""The geometry of dressed staples: which links a stage knows, and where the loops through its links lie."""

import itertools
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from flowkit.geometry.closed_paths import Loop, link_index
from flowkit.geometry.space import Space
from flowkit.kernels.native import kept_on_cpu
from flowkit.multiscale.stages import Stage

Steps = tuple[tuple[int, tuple[int, ...], int], ...]


Mark = Tensor | bool
"""Which links something holds for: all, none, or [n] of 0 and 1."""
Rows = tuple[Tensor, ...]
"""For each step of a path the fine links, [n]."""


class NewLinkPlaces(Protocol):
    """Which links of a lattice are new, and the stages in which they are drawn: a doubling, or a block."""

    @property
    def fine(self) -> Space:
        """The lattice."""

    @property
    def places(self) -> Tensor:
        """The link of each new one, [new links]: flat indices over [nu, *lattice]."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The order in which they are drawn; stages hold indices into `places`."""

    @property
    def at_hand(self) -> Tensor | None:
        """The links that a context is given, flat indices; None for all of the lattice in their order."""

    def __hash__(self) -> int:
        """Plans are kept by it."""


class Path(NamedTuple):
    """A loop through the links of a stage, without them."""

    steps: Steps
    rows: Rows
    complete: bool
    """Whether all its links are known, for every link of the stage."""


class Plan(NamedTuple):
    """The geometry of a stage: which links are known, and where loops lie. Fine links are nu * volume + site."""

    drawn: Tensor
    """New links of earlier stages, flat over [nu, *coarse lattice]."""
    drawn_places: Tensor
    """Their places among the fine links, where not all are at hand among those that are; so are all that follow."""
    places: Tensor
    """The links of the stage."""
    unknown: Tensor
    """New links of this stage and of later ones."""
    around: list[tuple[Rows, Rows]]
    """For each of d - 1 planes the legs of both plaquettes of the unknown links."""
    sorts: list[Tensor]
    """nu * ndim + rho of these planes, [unknown]."""
    planes: tuple[int, ...]
    """The directions rho of the planes of the links of the stage."""
    legs: dict[int, tuple[Rows, Rows]]
    """The legs of both plaquettes of the links of the stage, by rho."""
    complete: dict[int, tuple[Mark, Mark]]
    """Whether they are known."""
    missing: dict[int, tuple[Mark, Mark]]
    """Whether they are not."""
    ahead: dict[int, list[list[tuple[Mark, Tensor]]]]
    """Whether a leg is not known, and its place among the unknown links (0 for others), by rho, side and leg."""
    paths: list[Path]
    """The loops of six links through the links of the stage."""


@lru_cache(maxsize=4096)
@kept_on_cpu()
def plan_of(doubling: NewLinkPlaces, number: int, loops: int, device: torch.device) -> Plan:
    """The plan of one stage of a doubling, its tensors on a device.

    Raises
    ------
    ValueError
        For links of several directions in one stage.
    """
    fine, stage = doubling.fine, doubling.stages[number]
    if stage.links is None and len(doubling.places) > fine.volume // 2:
        raise ValueError('DressedStaples needs links of one direction at a time; the order is "together".')

    def row(index: Tensor) -> Tensor:
        return index.to(device) if doubling.at_hand is None else at[index].to(device)

    def rows(index: Tensor) -> Rows:
        return tuple(row(one) for one in index.contiguous().unbind(0))

    def mark(which: Tensor) -> Mark:
        return bool(which[0]) if bool((which == which[0]).all()) else which.to(device)

    at = torch.full((fine.ndim * fine.volume,), -1)
    if doubling.at_hand is not None:
        at[doubling.at_hand] = torch.arange(len(doubling.at_hand))
    every = torch.arange(len(doubling.places))
    links = [every if one.links is None else one.links for one in doubling.stages]
    drawn, later = torch.cat([every[:0], *links[:number]]), torch.cat(links[number:])
    unknown = doubling.places[later]
    among = torch.full((fine.ndim * fine.volume,), -1)
    among[unknown] = torch.arange(len(unknown))
    lost = among >= 0
    places, nu = doubling.places[links[number]], stage.nu
    planes = tuple(rho for rho in range(fine.ndim) if rho != nu)
    legs = {rho: _legs(fine, places % fine.volume, nu, rho) for rho in planes}
    complete = {rho: ~lost[legs[rho]].any(1) for rho in planes}
    ahead = {
        rho: [[(mark(lost[leg]), among[leg].clamp(min=0).to(device)) for leg in side] for side in legs[rho]]
        for rho in planes
    }
    around, sorts = [], []
    for r in range(1, fine.ndim):
        table = torch.zeros(2, 3, len(unknown), dtype=torch.long)
        sort = torch.zeros(len(unknown), dtype=torch.long)
        for mine in range(fine.ndim):
            which, rho = unknown // fine.volume == mine, (mine + r) % fine.ndim
            table[:, :, which] = _legs(fine, unknown[which] % fine.volume, mine, rho)
            sort[which] = mine * fine.ndim + rho
        around.append((rows(table[0]), rows(table[1])))
        sorts.append(sort.to(device))
    paths = list[Path]()
    for steps in six_links(nu, fine.ndim) if loops == 6 else ():
        index = link_index(fine, places % fine.volume, steps)
        paths.append(Path(steps, rows(index), not lost[index].any()))
    return Plan(
        drawn.to(device),
        row(doubling.places[drawn]),
        row(places),
        row(unknown),
        around,
        sorts,
        planes,
        {rho: (rows(index[0]), rows(index[1])) for rho, index in legs.items()},
        {rho: (mark(one[0]), mark(one[1])) for rho, one in complete.items()},
        {rho: (mark(~one[0]), mark(~one[1])) for rho, one in complete.items()},
        ahead,
        paths,
    )


def _legs(space: Space, sites: Tensor, nu: int, rho: int) -> Tensor:
    """The links of both plaquettes of U_nu(x) in a plane in the order of travel, without it: [2, 3, sites]."""
    ways = [Loop.rectangle(nu, rho, below=below).steps(space.ndim)[1:] for below in (False, True)]
    return torch.stack([link_index(space, sites, steps) for steps in ways])


@lru_cache(maxsize=64)
def six_links(nu: int, ndim: int) -> tuple[Steps, ...]:
    """The paths of five links from x + nu to x that visit no site twice, the loops of six links through U_nu(x).

    Examples
    --------
    >>> from flowkit.multiscale.dressed_plan import six_links
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


def path_name(steps: Steps) -> str:
    """The name of a loop among the terms of a context: the directions of its steps behind the link."""
    return "path " + " ".join(f"{'+' if sign > 0 else '-'}{mu}" for mu, _, sign in steps)

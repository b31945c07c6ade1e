"""The order in which the new links of a doubling are drawn, in more than two dimensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from flowkit.geometry.closed_paths import Loop, link_index
from flowkit.geometry.lattice import coordinates
from flowkit.geometry.space import Space

Order = Literal["together", "directions", "colours", "cells", "hierarchical"]
Kind = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Stage:
    """New links that are drawn together, independent of each other given all links known before them.

    Attributes
    ----------
    nu : int
        Their direction.
    links : Tensor or None
        Their indices among all new links, flat over ``[nu, *coarse lattice]``; None for all of them.
    planes : tuple of int
        The directions rho for which both plaquettes of each link in the plane (nu, rho) are known but for the link.
    kind : tuple of int
        What distinguishes the stage from others of its doubling: stages of one kind on lattices of different size
        correspond to each other.
    """

    nu: int
    links: Tensor | None
    planes: tuple[int, ...] = ()
    kind: Kind = ()

    @property
    def loops(self) -> int:
        """Number of plaquettes through each link whose other links are known, two in the plane of mu among them."""
        return 2 + 2 * len(self.planes)


def stages_of(coarse: Space, mu: int, order: Order) -> tuple[Stage, ...]:
    """The stages of a doubling along mu.

    Parameters
    ----------
    coarse : Space
        The coarse links of the doubling.
    mu : int
        The direction of the doubling.
    order : str
        One of these.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.multiscale.stages import stages_of
    >>> space = fk.links((1, 2, 2), fk.U1())
    >>> [(stage.nu, stage.planes, stage.links.tolist()) for stage in stages_of(space, 0, "colours")]
    [(1, (), [0, 2]), (1, (), [1, 3]), (2, (), [4, 5]), (2, (1,), [6, 7])]
    >>> [(stage.kind, stage.links.tolist()) for stage in stages_of(space, 0, "hierarchical")][:3]
    [((1, 1, 1), [0]), ((1, 1, 2), [4]), ((1, 0, 1), [1])]
    """
    across = [nu for nu in range(coarse.ndim) if nu != mu]
    if order == "together" or len(across) == 1:
        return (Stage(across[0], None),)
    place = coordinates(coarse.lattice)
    found: dict[Kind, tuple[Kind, int, list[int]]] = {}
    for k, nu in enumerate(across):
        for site, x in enumerate(place.T.tolist()):
            key, kind = _KEYS[order](coarse.lattice, across, nu, x)
            found.setdefault(key, (kind, nu, []))[2].append(k * coarse.volume + site)
    drawn = torch.zeros(len(across) * coarse.volume, dtype=torch.bool)
    stages = []
    for key in sorted(found):
        kind, nu, flat = found[key]
        links = torch.tensor(flat)
        stages.append(Stage(nu, links, _complete(coarse, across, nu, links, drawn), kind))
        drawn[links] = True
    return tuple(stages)


def _complete(coarse: Space, across: Sequence[int], nu: int, links: Tensor, drawn: Tensor) -> tuple[int, ...]:
    """The directions rho in which all plaquettes of the links lack nothing but the link."""
    everything = torch.zeros(coarse.ndim, coarse.volume, dtype=torch.bool)
    everything[list(across)] = drawn.view(len(across), -1)
    sites, planes = links % coarse.volume, []
    for rho in across:
        if rho != nu:
            pair = [Loop.rectangle(nu, rho, below=below) for below in (False, True)]
            steps = [step for loop in pair for step in loop.steps(coarse.ndim)[1:]]
            if everything.flatten()[link_index(coarse, sites, steps)].all():
                planes.append(rho)
    return tuple(planes)


def _directions(lattice: Sequence[int], across: Sequence[int], nu: int, x: Sequence[int]) -> tuple[Kind, Kind]:
    return (nu,), (nu,)


def _colours(lattice: Sequence[int], across: Sequence[int], nu: int, x: Sequence[int]) -> tuple[Kind, Kind]:
    # Neighbours differ in colour where a side is even.
    colour = sum(x[rho] for rho in across if rho != nu and lattice[rho] % 2 == 0) % 2
    return (nu, colour), (nu, colour)


def _cells(lattice: Sequence[int], across: Sequence[int], nu: int, x: Sequence[int]) -> tuple[Kind, Kind]:
    kind = (*(x[rho] % 2 for rho in across), nu)
    return kind, kind


def _hierarchical(lattice: Sequence[int], across: Sequence[int], nu: int, x: Sequence[int]) -> tuple[Kind, Kind]:
    # The power of two in a coordinate; 0 holds all, of which those of its side are counted.
    powers = [(x[rho] & -x[rho]).bit_length() - 1 if x[rho] else 64 for rho in across]
    kind = (*(min(p, (lattice[rho] - 1).bit_length()) for p, rho in zip(powers, across, strict=True)), nu)
    return (-min(powers), *(-p for p in powers), nu), kind


_KEYS: dict[str, Callable[[Sequence[int], Sequence[int], int, Sequence[int]], tuple[Kind, Kind]]] = {
    "directions": _directions,
    "colours": _colours,
    "cells": _cells,
    "hierarchical": _hierarchical,
}


def nearest(kind: Kind, kinds: Sequence[Kind]) -> int:
    """The place among `kinds` of the one that corresponds to `kind`, of a lattice of another size."""
    most = [max(one) for one in zip(*kinds, strict=True)]
    return kinds.index(tuple(min(k, m) for k, m in zip(kind, most, strict=True)))


@lru_cache(maxsize=2**14)
def on_device(links: Tensor, device: torch.device) -> Tensor:
    """Indices on a device, copied there once."""
    with torch.inference_mode(False):
        return links.to(device)

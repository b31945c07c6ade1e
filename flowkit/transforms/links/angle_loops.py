"""Potentials of Wilson loops of U(1), in angles: all terms of the series, to any order."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.geometry.clusters import Orbit, orbits
from flowkit.geometry.lattice import coordinates, site_index
from flowkit.geometry.space import Space
from flowkit.transforms.links.potential import Coefficients, LoopPotential, at

BLOCK = 2**18
"""Angles of terms that are held at a time: what a cache holds."""


class Terms(NamedTuple):
    """Some cosines of as many plaquettes each: plaquettes and charges, [terms, plaquettes], and orbits, [terms]."""

    places: Tensor
    charges: Tensor
    orbit: Tensor

    def angles(self, theta: Tensor) -> Tensor:
        """sum_P n_P theta_P of each term, [terms, batch], for theta [planes * volume, batch]."""
        total = self.charges[:, :1] * theta[self.places[:, 0]]
        for k in range(1, self.places.shape[1]):
            total = total + self.charges[:, k, None] * theta[self.places[:, k]]
        return total


class AngleLoops(LoopPotential):
    r"""Loops of U(1): :math:`\cos \sum_P n_P \theta_P` summed over each orbit of `flowkit.geometry.clusters`.

    To second order these are cos theta, cos 2 theta and, of a pair of plaquettes at a link, cos(theta_i +- theta_j).
    """

    def __init__(self, space: Space, order: int):
        levels = orbits(space.ndim, order)
        self.orbits = [orbit for some in levels for orbit in some]
        named = [["cos"], *([f"{n}.{k}" for k, _ in enumerate(some, 1)] for n, some in enumerate(levels[1:], 2))]
        self._of = dict(zip([name for some in named for name in some], self.orbits, strict=True))
        self._tables: dict[tuple[torch.device, torch.dtype], list[Terms]] = {}
        super().__init__(space, named)

    def _laplacian_of(self, name: str) -> tuple[dict[str, float], float]:
        return {name: -float(self._of[name].squared_charge)}, 0.0

    def squared_slope(self) -> tuple[dict[str, float], float]:
        # The sines of two plaquettes at a link, of charge q^2 = 4 + 4 + 2 together: a difference of two cosines.
        second = [name for name, order in zip(self.names, self.orders, strict=True) if order == 2]
        found = {}
        for name in second:
            orbit = self._of[name]
            found[name] = (8.0 - orbit.squared_charge) / (2 if len(orbit.clusters[0]) > 1 else 4)
        return found, 2.0

    def flow(self, x: Tensor, c: Coefficients) -> tuple[Tensor, list[Tensor]]:
        angle, value = self._angles(x), torch.stack([k.reshape(-1) for k in c])  # [loops, 1 or batch]
        slope = torch.zeros_like(angle)  # dS~ / dtheta of each plaquette
        loops = angle.new_zeros(len(self.names), len(x))
        for terms in self._terms(x):
            theta = terms.angles(angle)
            loops = loops.index_add(0, terms.orbit, theta.cos())
            g = -value[terms.orbit] * theta.sin()
            for k, places in enumerate(terms.places.unbind(1)):
                slope = slope.index_add(0, places, terms.charges[:, k, None] * g)
        space, force = self.space, [torch.zeros_like(u) for u in x.unbind(1)]
        parts = slope.T.reshape(len(x), len(space.planes), *space.lattice).unbind(1)
        for (mu, nu), g in zip(space.planes, parts, strict=True):
            force[mu] = force[mu] - g + at(g, nu, -1)
            force[nu] = force[nu] + g - at(g, mu, -1)
        return torch.stack(force, 1), list(loops.unbind())

    def along(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        angle, turn = self._angles(x), self._angles(w)
        loops = slopes = angle.new_zeros(len(self.names), len(x))
        for terms in self._terms(x):
            theta = terms.angles(angle)
            loops = loops.index_add(0, terms.orbit, theta.cos())
            slopes = slopes.index_add(0, terms.orbit, -theta.sin() * terms.angles(turn))
        return loops.T, slopes.T

    def _angles(self, x: Tensor) -> Tensor:
        """Those of the plaquettes, [planes * volume, batch], not wrapped."""
        links = x.unbind(1)
        found = [links[mu] + at(links[nu], mu) - at(links[mu], nu) - links[nu] for mu, nu in self.space.planes]
        return torch.stack(found, 1).flatten(1).T.contiguous()

    def _terms(self, x: Tensor) -> Iterator[Terms]:
        """All terms, few enough at a time for so many fields."""
        key = x.device, x.dtype
        if key not in self._tables:
            with torch.device("cpu"), torch.inference_mode(False):  # kept for callers of other surroundings
                self._tables[key] = [
                    Terms(some.places.to(x.device), some.charges.to(x.device, x.dtype), some.orbit.to(x.device))
                    for some in _tabulated(self.space, self.orbits)
                ]
        few = max(1, BLOCK // len(x))
        for some in self._tables[key]:
            yield from (Terms(*part) for part in zip(*(torch.split(column, few) for column in some), strict=True))


def _tabulated(space: Space, orbits: Sequence[Orbit]) -> list[Terms]:
    """The terms of all orbits, those of one plaquette first."""
    plane, sites = {one: k for k, one in enumerate(space.planes)}, coordinates(space.lattice)
    found: dict[int, list[Terms]] = {}
    for number, orbit in enumerate(orbits):
        for cluster in orbit.clusters:
            rows = [
                plane[where] * space.volume + site_index(sites + torch.tensor(x)[:, None], space.lattice)
                for (where, x), _ in cluster
            ]
            charges = torch.tensor([n for _, n in cluster]).expand(space.volume, -1)
            which = torch.full((space.volume,), number)
            found.setdefault(len(cluster), []).append(Terms(torch.stack(rows, 1), charges, which))
    return [Terms(*(torch.cat(column) for column in zip(*some, strict=True))) for _, some in sorted(found.items())]

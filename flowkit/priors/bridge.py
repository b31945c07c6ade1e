r"""Plaquettes of two-dimensional gauge theory whose product is given: a bridge, drawn by rejection.

With :math:`f(P) = e^{(\beta/N)\,\mathrm{Re\,Tr}\,P} / c_0` the law of one plaquette, the product of k of them has

.. math:: w_k = f * \ldots * f = \sum_r d_r \Big(\frac{u_r}{u_0}\Big)^k \chi_r,

which is largest at the identity, since :math:`|\chi_r| \le d_r`. k plaquettes of product D have the density
:math:`\prod f / w_k(D)`. To draw them, a plaquettes are drawn from f, with product X, and accepted with probability
:math:`w_{k-a}(X^{-1} D) / w_{k-a}(1)`; the k - a others have the product :math:`X^{-1} D`. Averaged over D this takes
:math:`w_{k-a}(1)` tries. The last two plaquettes are drawn directly, by `Group.first_of_two`.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.groups import Group
from flowkit.groups.rejection import first_accepted

WIDTH = 1024
"""Plaquettes in a round of rejection, as long as few fields wait."""


class Stage(NamedTuple):
    """How k plaquettes of given product are drawn."""

    rest: int
    """k - a, plaquettes that are left after this stage."""
    cost: float
    """Expected number of plaquettes drawn in this stage and those that follow."""


class Bridge:
    """The last plaquettes of a lattice, whose product is given by the others.

    Parameters
    ----------
    group : Group
        One with `solved_2d`.
    beta : float
        Coupling of S = -(beta/N) sum Re Tr P.
    volume : int
        Plaquettes of the lattice.

    Attributes
    ----------
    size : int
        Number of plaquettes in the bridge.
    peaks : dict
        ln w_k(1) of every size k that occurs.
    """

    def __init__(self, group: Group, beta: float, volume: int):
        self.group, self.beta = group, beta
        one = group.identity((1,), torch.zeros((), dtype=torch.float64))
        self._at_one: dict[int, float] = {}
        self.peaks: dict[int, float] = {}
        log_norm = known(group, "one_plaquette_log_z", group.one_plaquette_log_z(beta))
        for k in _sizes(volume):
            self._at_one[k] = float(group.decimated_log_weight(one, beta, k))
            self.peaks[k] = self._at_one[k] - k * log_norm
            if self.peaks[k] < 1e-6:  # longer bridges save nothing
                break
        tries = {k: math.exp(peak) for k, peak in self.peaks.items()}
        self.stages = {1: Stage(0, 0.0), 2: Stage(1, 2.0)}
        for k in list(tries)[2:]:
            each = (Stage(r, (k - r + 1) * tries[r] + self.stages[r].cost) for r in tries if 2 <= r < k)
            self.stages[k] = min(each, key=lambda stage: stage.cost)
        self.size = min(tries, key=lambda k: volume * tries[k] + self.stages[k].cost)

    def chance(self, D: Tensor, k: int) -> Tensor:
        """w_k(D) / w_k(1), ``[n]``."""
        return (self.group.decimated_log_weight(D, self.beta, k) - self._at_one[k]).exp()

    def draw(self, product: Tensor, rng: torch.Generator) -> Tensor:
        """Plaquettes of given product, ``[n, *matrix] -> [n, size, *matrix]``, in the order of the product."""
        found, D, k = [], product, self.size
        while k > 2:
            P, D = self._stage(D, k, rng)
            found.append(P)
            k = self.stages[k].rest
        if k == 2:
            X = self.group.first_of_two(D, self.beta, rng)
            found.append(X[:, None])
            D = self.group.compose(self.group.inverse(X), D)
        return torch.cat([*found, D[:, None]], 1)

    def _stage(self, D: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, ...]:
        """The plaquettes of one stage, and the product of the others."""
        rest, G = self.stages[k].rest, self.group

        def propose(which: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            P = G.one_plaquette((len(which), k - rest), self.beta, rng, torch.float64)
            left = G.compose(G.inverse(ordered_product(G, P)), D[which])
            return (P, left), self.chance(left, rest)

        return first_accepted(len(D), propose, rng, math.exp(self.peaks[rest]), WIDTH // (k - rest))


def known(group: Group, name: str, value: float | None) -> float:
    """An exact result that a group with `solved_2d` has to know.

    Raises
    ------
    ValueError
        Where it is None.
    """
    if value is None:
        raise ValueError(f"{group.label} has solved_2d = True, and then needs {name} too; it gave None.")
    return value


def _sizes(volume: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, ... up to the volume."""
    powers = [2**j for j in range(volume.bit_length() + 1)]
    sizes = [1, *(size for low, high in pairwise(powers[1:]) for size in (low, (low + high) // 2))]
    return [size for size in sizes if size <= volume]


def ordered_product(group: Group, P: Tensor) -> Tensor:
    """P_0 P_1 ... P_{k-1}, ``[n, k, *matrix] -> [n, *matrix]``, by halving; k >= 1."""
    while P.shape[1] > 1:
        even = P.shape[1] // 2 * 2
        P = torch.cat([group.compose(P[:, 0:even:2], P[:, 1:even:2]), P[:, even:]], 1)
    return P[:, 0]

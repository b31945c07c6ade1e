"""The arithmetic of dressed staples: couplings of coarse lattices, sums of plaquettes, loops through missing links."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from flowkit.groups import Group
from flowkit.kernels.native import kept_on_cpu
from flowkit.multiscale.dressed_plan import Mark, Plan, Rows

SIDES = ((1, -1, -1), (-1, -1, 1))
"""The signs of the links of a plaquette above a link and of one below, the link itself left out."""
POWERS = {"saturated J": 1, "saturated D": 1, "second J": 2, "second D": 2, "third J": 3}
"""Functions of all staples, with their harmonics."""


@lru_cache(maxsize=256)
def couplings(group: Group, beta: float, spacings: tuple[int, ...]) -> list[list[float]]:
    """b of the plane of each two directions, as `DressedStaples` says; 0 for a direction and itself."""
    ndim = len(spacings)

    def mean(b: float) -> float:
        found = group.one_plaquette_mean(b)
        assert found is not None
        return found

    u = mean(beta)
    found = [[0.0] * ndim for _ in range(ndim)]
    for nu, rho in itertools.permutations(range(ndim), 2):
        area, aim = spacings[nu] * spacings[rho], u ** (spacings[nu] * spacings[rho])
        low, high = 0.0, beta
        for _ in range(60 if area > 1 else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if mean(middle) < aim else (low, middle)
        layers = math.prod(1.0 + (a - 1) * u**4.0 for sigma, a in enumerate(spacings) if sigma not in (nu, rho))
        found[nu][rho] = high * layers
    return found


@lru_cache(maxsize=1024)
@kept_on_cpu()
def coupling_table(
    group: Group, beta: float, spacings: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """`couplings`, flat over [nu, rho], on a device."""
    return torch.tensor(couplings(group, beta, spacings), dtype=torch.float64).flatten().to(device, dtype)


def loops_ahead(group: Group, plan: Plan, rho: int, E: Tensor, around: Tensor, weight: float) -> Tensor:
    """The sum of the loops through missing links of the plane of rho, each with its slope."""

    def square(x: Tensor) -> Tensor:
        return group.sphere(x).square().sum(-1)

    own = E.index_select(0, plan.places)
    back, own_square = group.ambient_product([own], [-1]), square(own)
    inner = (..., *[None] * len(group.matrix_shape))
    total = torch.zeros_like(back)
    for legs, ahead, signs in zip(plan.legs[rho], plan.ahead[rho], SIDES, strict=True):
        links = gathered(E, legs)
        squares = [square(x) for x in links]
        for i, (missing, at) in enumerate(ahead):
            if missing is False:
                continue
            # `around` is the adjoint of J_m, and J_m stands where the link stood.
            staples = group.ambient_product([around.index_select(0, at)], [-1])
            others = squares[(i + 1) % 3] * squares[(i + 2) % 3]
            loop = group.ambient_product([staples if j == i else x for j, x in enumerate(links)], signs)
            overlap = (group.sphere(group.ambient_product([loop], [-1])) * group.sphere(own)).sum(-1)
            # Without the part of J_m that is due to V itself.
            rest = square(staples) - 2 * weight * overlap + weight**2 * others * own_square
            loop = weight * (loop - (weight * others)[inner] * back)
            length = (square(loop) + torch.finfo(rest.dtype).tiny ** 0.5).sqrt()
            middle, turn = rest + weight**2 * others, 2**0.5 * length
            high, low = group.log_mean_weight(middle + turn), group.log_mean_weight((middle - turn).clamp(min=0))
            total = total + where(missing, ((high - low) / turn)[inner] * loop)
    return total


def powers_of(group: Group, J: Tensor, D: Tensor) -> dict[str, Tensor]:
    """The functions of POWERS, the one of harmonic n with a modulus and the phase of J or D."""
    whole, part = (group.sphere(x).square().sum(-1) for x in (J, D))
    tiny = torch.finfo(whole.dtype).tiny ** 0.5

    def times(x: Tensor, factor: Tensor) -> Tensor:
        return x * factor.view(*factor.shape, *[1] * len(group.matrix_shape))

    return {
        "saturated J": times(J, whole / (1 + whole)),
        "saturated D": times(D, part / (1 + part)),
        "second J": times(J, (whole + tiny).sqrt() / (1 + whole)),
        "second D": times(D, (part + tiny).sqrt()),
        "third J": times(J, whole / (1 + whole)),
    }


def gathered(E: Tensor, rows: Rows) -> list[Tensor]:
    """The links of each step of a path, each [n, batch, *matrix]."""
    return [E.index_select(0, one) for one in rows]


def both_sides(group: Group, E: Tensor, legs: tuple[Rows, Rows]) -> list[Tensor]:
    """R of the plaquettes above and below links."""
    return [group.ambient_product(gathered(E, one), signs) for one, signs in zip(legs, SIDES, strict=True)]


def some(marks: Sequence[Mark]) -> bool:
    """Whether a mark holds for any link."""
    return any(mark is not False for mark in marks)


def where(mark: Mark, x: Tensor) -> Tensor:
    """x where the mark says so, else 0."""
    return x if isinstance(mark, bool) else x * mark.view(-1, *[1] * (x.dim() - 1))


def summed(sides: Sequence[Tensor], marks: Sequence[Mark]) -> Tensor:
    """The sum of the sides where their marks say so."""
    total = [where(mark, side) for side, mark in zip(sides, marks, strict=True) if mark is not False]
    return sum(total[1:], total[0])

"""One-dimensional densities by which the numbers of a column of an SU(n) matrix are drawn: CDFs and their inverses."""

import math

import torch
from torch import Tensor

from flowkit.kernels.implicit import root


def inside(u: Tensor) -> Tensor:
    """u moved away from 0 and 1, by less than the spacing of random numbers in its precision."""
    eps = torch.finfo(u.dtype).eps
    return u.clamp(eps / 8, 1 - eps / 2)


def side(u: Tensor, n: int) -> Tensor:
    """The number c in [-1, 1] whose CDF is u, for the density (1 - c^2)^{n-2}."""
    t = 2 * u - 1
    if n == 2:
        return t
    if n == 3:  # t = (3 c - c^3) / 2
        return third(t)
    with torch.no_grad():
        low, high = torch.full_like(u, -1), torch.ones_like(u)
        for _ in range(60 if u.dtype == torch.float64 else 30):
            c = (low + high) / 2
            below = side_cdf(c, n)[0] < u
            low, high = torch.where(below, c, low), torch.where(below, high, c)
        c = c + 0 * u  # NaN stays NaN

    def missed(c: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        cdf, density = side_cdf(c, n)
        return cdf - u, density

    return root(missed, c, u)


def side_cdf(c: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The CDF and the normalised density of `side`, at c."""
    terms = [math.comb(n - 2, k) * (-1) ** k / (2 * k + 1) for k in range(n - 1)]
    norm, square, total = 2 * sum(terms), c.square(), torch.zeros_like(c)
    for term in reversed(terms):
        total = total * square + term
    return 0.5 + c * total / norm, (1 - square).clamp(min=0) ** (n - 2) / norm


def tilted_side(u: Tensor, linear: Tensor | None, square: Tensor) -> Tensor:
    """The number c in [-1, 1] whose CDF is u, for the density (1 - c^2) (1 + linear c + square c^2) > 0.

    Newton's method in t = (3 c - c^3) / 2, where the slope of the CDF has no zero. Without a linear term the CDF is
    convex above 1/2, and the method converges. With one, a step that leaves the bracket is replaced by a bisection.
    """
    steps = 5 if u.dtype == torch.float64 else 3
    with torch.no_grad():
        t, low, high = 2 * u - 1, torch.full_like(u, -1), torch.ones_like(u)
        for _ in range(steps + 1 if linear is None else steps + 4):
            cdf, slope = tilted_side_cdf(third(t), linear, square)
            new = t - (cdf - u) / slope
            if linear is None:
                t = new.clamp(-1, 1)
                continue
            low, high = torch.where(cdf < u, t, low), torch.where(cdf < u, high, t)
            t = torch.where((new >= low) & (new <= high), new, (low + high) / 2)
        end = 1 - torch.finfo(u.dtype).eps
        t = t.clamp(-end, end) + 0 * u  # NaN stays NaN

    def missed(t: Tensor, u: Tensor, square: Tensor, *linear: Tensor) -> tuple[Tensor, Tensor]:
        cdf, slope = tilted_side_cdf(third(t), linear[0] if linear else None, square)
        return cdf - u, slope

    return third(root(missed, t, u, square, *(() if linear is None else (linear,))))


def third(t: Tensor) -> Tensor:
    """The solution c in [-1, 1] of (3 c - c^3) / 2 = t."""
    return 2 * (t.asin() / 3).sin()


def tilted_side_cdf(c: Tensor, linear: Tensor | None, square: Tensor) -> tuple[Tensor, Tensor]:
    """The CDF of `tilted_side` at c, and its derivative by t."""
    norm, c2 = 4 / 3 + 4 / 15 * square, c * c
    part, factor = c * (1 - c2 / 3 + square * c2 * (1 / 3 - c2 / 5)), 1 + square * c2
    if linear is not None:
        part, factor = part - linear * (1 - c2).square() / 4, factor + linear * c
    return 0.5 + part / norm, factor / (1.5 * norm)


def side_gain(c: Tensor, law: tuple[Tensor | None, Tensor] | None) -> Tensor | float:
    """The logarithm of the density of `tilted_side` over that of `side`; 0 where there is no law."""
    if law is None:
        return 0.0
    linear, square = law
    factor = 1 + square * c * c
    return torch.log((factor if linear is None else factor + linear * c) / (1 + square / 5))


def tilted(u: Tensor, slope: Tensor) -> Tensor:
    """The number t in [0, 1] whose CDF is u, for the density proportional to exp(slope t)."""
    return torch.log1p(u * slope.expm1()) / slope


def ratio_gain(t: Tensor, slope: Tensor | None) -> Tensor | float:
    """The logarithm of the normalised density of `tilted`; 0 where there is no slope."""
    return 0.0 if slope is None else slope * t - (slope.expm1() / slope).log()

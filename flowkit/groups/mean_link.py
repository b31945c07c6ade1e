"""The mean of an SU(N) link given the sum of its staples, and its mean weight."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from torch import Tensor

from flowkit import exact

DEGREE = 24
"""Of the polynomials that stand for the mean of a plaquette and for ln Z."""


def su2_slope(square: Tensor) -> Tensor:
    """I_2(k) / (k I_1(k)) as a function of k^2: the mean of an SU(2) link over the length of its staples."""
    # I_0 / (k I_1) - 2 / k^2, by its continued fraction where k is small.
    k = square.clamp(min=1.0).sqrt()
    ratio = torch.special.i0e(k) / (k * torch.special.i1e(k)) - 2 / k.square()
    small = torch.ones_like(square)
    for nu in range(9, 1, -1):
        small = 1 / (2 * nu + square * small)
    return torch.where(square < 1, small, ratio)


def su2_log_mean_weight(square: Tensor) -> Tensor:
    """ln 2 I_1(k) / k as a function of k^2."""
    k = square.clamp(min=torch.finfo(square.dtype).eps).sqrt()
    log: Tensor = (2 * torch.special.i1e(k) / k).log() + k
    return log


@functools.lru_cache(maxsize=16)
def _polynomials(n: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Chebyshev coefficients, in 2 t - 1 with t = k / (k + 2 n), of u(k) (1 + k / 2n) / k and of
    ln z(k) (1 + k / 2n) / k^2, where u and z are the mean and the integral of one plaquette of coupling k.
    """

    def of(function: Callable[[int, float], float], power: int) -> tuple[float, ...]:
        def scaled(x: Any) -> Any:
            k = 2 * n * (1 + x) / (1 - x)
            return np.array([function(n, b) for b in k]) * (1 + k / (2 * n)) / k**power

        return tuple(float(c) for c in Chebyshev.interpolate(scaled, DEGREE).coef)

    return of(exact.sun_one_plaquette, 1), of(exact.sun_one_plaquette_log_z, 2)


def _at(coefficients: tuple[float, ...], k: Tensor, n: int) -> Tensor:
    """The polynomial at k over 1 + k / 2n, by Clenshaw's recursion."""
    x = 1 - 4 * n / (k + 2 * n)
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    for c in coefficients[:0:-1]:
        first, second = 2 * x * first - second + c, first
    return (x * first - second + coefficients[0]) / (1 + k / (2 * n))


def sun_mean(loops: Tensor, square: Tensor) -> Tensor:
    r"""The mean of a link of SU(N), N >= 3, given the sum R of the loops through it, approximately.

    With :math:`k^2 = \mathrm{Tr} R R^\dagger / N` and u(k) the mean of a plaquette of coupling k, it is
    :math:`R^\dagger u(k) / k`, exact where R is a multiple of an element. For N = 3 a part of it,
    :math:`k / (12 + k)`, which is what the strong-coupling series has, is due to the adjugate of R:

    .. math:: \langle V \rangle = (u / k - \gamma k) R^\dagger + \gamma\, \mathrm{adj} R, \qquad
              \gamma = \frac{u / k}{12 + k}

    """
    n = loops.shape[-1]
    k = (square + torch.finfo(square.dtype).tiny).sqrt()
    slope = _at(_polynomials(n)[0], k, n)
    if n != 3:
        return loops.mH * slope[..., None, None]
    part = slope / (12 + k)
    a, b, c = loops.unbind(-2)
    adjugate = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], -1)
    return loops.mH * (slope - part * k)[..., None, None] + adjugate * part[..., None, None]


def sun_log_mean_weight(square: Tensor, n: int) -> Tensor:
    """ln <exp(Re Tr(V R) / N)> for R of the given square of its length, exact for multiples of elements."""
    return square * _at(_polynomials(n)[1], (square + torch.finfo(square.dtype).tiny).sqrt(), n)

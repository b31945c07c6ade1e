"""The arithmetic of heat.py through torch, for GPUs and machines without a compiler; names as there.

All integrals are Gauss-Legendre sums over a range [from, to] of angles. With w = sin^2(t/2) the weight is

    f(t) = [s sin^2(t)]^(n/2) exp(-2 kappa w),   s = 1 + 2 kappa / (n + 1)

which is p(t) up to a factor; s keeps it in range at large kappa. It is integrated up to `end`, beyond which it is less
than a rounding error of the whole.
"""

import functools
import math

import numpy as np
import torch
from torch import Tensor

ROUNDS = 4  # of Halley's method: after two the residual is a rounding error in double precision, after three in single
MOST_TURN = 60.0  # of log tan^2(a/2) in one of them


@functools.cache
def rule(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes in [0, 1] and weights, each [points]."""
    points = 36 + 2 * n // 3 if dtype == torch.float64 else 20 + n // 2
    x, weights = np.polynomial.legendre.leggauss(points)
    with torch.inference_mode(False):
        return torch.from_numpy((x + 1) / 2).to(device, dtype), torch.from_numpy(weights / 2).to(device, dtype)


def reach(n: int, dtype: torch.dtype) -> float:
    """2 kappa w at which f ends."""
    return (40.0 if dtype == torch.float64 else 20.0) + 1.2 * n


@functools.cache
def haar_log(n: int) -> float:
    """The logarithm of the integral of sin^n over [0, pi]."""
    return math.log(math.pi) / 2 + math.lgamma((n + 1) / 2) - math.lgamma(n / 2 + 1)


def parts(t: Tensor) -> tuple[Tensor, Tensor]:
    """w = sin^2(t/2) and cos^2(t/2), with all digits at both ends."""
    half = (t / 4).sin().square()
    return 4 * half * (1 - half), (1 - 2 * half).square()


def weight(t: Tensor, kappa: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """f(t) and w."""
    w, v = parts(t)
    power = (4 * (1 + 2 * kappa / (n + 1)) * w * v) ** (n // 2)
    return power * (-2 * kappa * w).exp(), w


def end(kappa: Tensor, n: int) -> Tensor:
    """The angle up to which f is integrated."""
    most = reach(n, kappa.dtype)
    return 2 * (most / (2 * kappa).clamp(min=most)).sqrt().clamp(max=1).asin()


def nodes(start: Tensor, stop: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Angles and weights of the sum over [start, stop], each [points, ...]."""
    x, weights = rule(n, start.dtype, start.device)
    spread = (-1, *[1] * start.dim())
    return start + (stop - start) * x.view(spread), (stop - start) * weights.view(spread)


def moments(start: Tensor, stop: Tensor, kappa: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The integrals of f and of 2 w f."""
    t, weights = nodes(start, stop, n)
    f, w = weight(t, kappa, n)
    f = f * weights
    return f.sum(0), (2 * w * f).sum(0)


def norm(kappa: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """log <exp(kappa (cos a - 1))>, the average with Haar measure, and <1 - cos a> with weight f."""
    total, first = moments(torch.zeros_like(kappa), end(kappa, n), kappa, n)
    scale = (n // 2) * (2 * kappa / (n + 1)).log1p()
    return total.log() - haar_log(n) - scale, first / total


def cdf(a: Tensor, kappa: Tensor, n: int) -> Tensor:
    """F(a)."""
    zero, last = torch.zeros_like(a), end(kappa, n)
    whole = moments(zero, last, kappa, n)[0]
    return (moments(zero, torch.minimum(a.clamp(min=0), last), kappa, n)[0] / whole).clamp(max=1)


def slopes(a: Tensor, u: Tensor, kappa: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """p(a), and dF/dkappa / p(a) = (1/f(a)) int f(t) (cos t - <cos>) dt over [0, a] or, of the other sign, over
    [a, end], whichever is the smaller part of the whole; 0 where p vanishes.
    """
    last = end(kappa, n)
    whole, first = moments(torch.zeros_like(a), last, kappa, n)
    here, _ = weight(a, kappa, n)
    upper = u > 0.5
    start, stop = torch.where(upper, a, 0), torch.where(upper, torch.maximum(last, a), a)
    part, part_first = moments(start, stop, kappa, n)
    change = part * (first / whole) - part_first
    tiny = torch.finfo(a.dtype).tiny
    ratio = torch.where(here <= tiny, 0, torch.where(upper, -change, change) / here.clamp(min=tiny))
    return here / whole, ratio


def angle(u: Tensor, kappa: Tensor, n: int, rounds: int = ROUNDS) -> Tensor:
    """a with F(a) = u, by Halley's method for the log-odds of F as a function of log tan^2(a/2).

    Both tails are straight lines there at kappa = 0, and gently curved elsewhere. Each number is compared with the
    smaller of F and 1 - F, summed over its own range, so that tails have all digits of u and of 1 - u.
    """
    eps, tiny = torch.finfo(u.dtype).eps, torch.finfo(u.dtype).tiny
    last = end(kappa, n)
    x, weights = nodes(torch.zeros_like(last), last, n)
    f = weight(x, kappa, n)[0] * weights
    whole = f.sum(0)
    # Start: the sum up to each node is F there, nearly; linear between nodes, and a power below the first.
    before = (f.cumsum(0) - f / 2) / whole
    k = (before <= u).sum(0, keepdim=True).clamp(1, len(x) - 1)
    low, high, left, right = (t.gather(0, j)[0] for t in (before, x) for j in (k - 1, k))
    a = torch.lerp(left, right, ((u - low) / (high - low).clamp(min=eps)).clamp(0, 1))
    a = torch.where(u < before[0], x[0] * (u / before[0]) ** (1 / (n + 1)), a)
    upper, zero = u > 0.5, torch.zeros_like(u)
    aim = torch.where(upper, 1 - u, u)
    tangent = (a / 2).tan()
    done = aim <= 0
    for _ in range(rounds):
        a = 2 * tangent.atan()
        part = moments(torch.where(upper, torch.minimum(a, last), zero), torch.where(upper, last, a), kappa, n)[0]
        part = (part / whole).clamp(tiny, 1 - eps)
        v = 1 / (1 + tangent.square())
        w, half_sine = 1 - v, tangent * v
        here, _ = weight(a, kappa, n)
        slope = (here * half_sine / (whole * part * (1 - part))).clamp(min=tiny)
        turn = (aim / part).log() - torch.log1p((part - aim) / (1 - part))
        sign = torch.where(upper, -1, 1)
        bend = ((n + 1) * (1 - 2 * w) - 4 * kappa * half_sine.square()) / 2 - sign * slope * (1 - 2 * part)
        step = sign * turn / slope
        step = (step / (1 + step * bend / 2).clamp(min=0.3)).clamp(-MOST_TURN, MOST_TURN)
        tangent = torch.where(done, tangent, tangent * (step / 2).exp())
        done = done | ((part - aim).abs() <= eps * aim)
    a = 2 * tangent.atan()
    return torch.where(u <= 0, 0, torch.where(u >= 1, math.pi, a))

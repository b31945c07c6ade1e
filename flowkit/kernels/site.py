"""One site of a scalar theory given its neighbours, p(x | J) = exp(-a x^2 - g x^4 + J x) / Z(J), and all its integrals.

W(J) = log Z(J) and m(J) = W'(J) are rational functions of J^2, fitted once to quadratures: all zeros of Z are imaginary
(Newman, Commun. Pure Appl. Math. 27 (1974) 143), so that m / J is a Stieltjes function of J^2, numerators and
denominators have positive coefficients, and the fits converge as fast as Pade approximants do. The quantile X(z, J),
F(X | J) = Phi(z) with Phi of a standard normal number, comes from a bicubic table, and to the precision of float64 from
Newton's method on the logarithm of F.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flowkit.kernels.native import kept_on_cpu, once, one_of
from flowkit.kernels.rational import quotient, rational

LOG_DEGREE, DEGREE, DEGREE_FLOAT = 6, 6, 3
"""Of the ratios for W, for m, and for m in the single precision of a trajectory, whose action W decides about."""
WIDEST = 8.0
"""Of |z| in the table of quantiles; behind it, once in 10^15 draws, the last interval goes on."""
SPACING = 1 / 16
NODES = 64
RESOLVED = 3e-5
"""Largest error of the whole of F, by the fit of W or the quadrature: a few roundings of W in float32."""
RESOLVED_TABLE = 1e-4
"""Largest error of the table's X in one cell, in units of the largest |x|: where it is, X jumps between two wells."""


class Site(NamedTuple):
    """Tables of p(x | J) for |J| <= most, which fields of the theory pass with a probability of e^-40 a site."""

    couplings: tuple[float, float, float, int]
    """(h, a, g, ndim) of the theory."""
    a: float
    g: float
    most: float
    lowest: float
    """x below which p(x | J) is less than e^-100."""
    log_z: float
    """W(0)"""
    log_ratio: Tensor
    """(W(J) - W(0)) / J^2, [2, LOG_DEGREE + 1]."""
    ratio: Tensor
    """m(J) / J, [2, DEGREE + 1]."""
    ratio_float: Tensor
    """[2, DEGREE_FLOAT + 1]"""

    def log_partition(self, J: Tensor) -> Tensor:
        """W(J)."""
        t = J * J
        return self.log_z + t * quotient(self.log_ratio, t)

    def mean(self, J: Tensor) -> Tensor:
        """m(J)."""
        return J * quotient(self.ratio, J * J)

    def log_density(self, x: Tensor, J: Tensor) -> Tensor:
        """log p(x | J)."""
        square = x * x
        return J * x - square * (self.a + self.g * square) - self.log_partition(J)

    def below(self, x: Tensor, J: Tensor) -> tuple[Tensor, Tensor]:
        """F(x | J) and dF/dJ, by Gauss and Legendre's rule."""
        nodes, weights = (torch.as_tensor(t, dtype=x.dtype, device=x.device) for t in _legendre())
        half = (x - self.lowest) / 2
        at = self.lowest + half[..., None] * (nodes + 1)
        density = self.log_density(at, J[..., None]).exp() * weights
        F = half * density.sum(-1)
        return F, half * (density * at).sum(-1) - self.mean(J) * F

    def polished(self, x: Tensor, z: Tensor, J: Tensor, steps: int) -> Tensor:
        """X(z, J) from a guess x, by Newton's method with bisection where it leaves the bracket."""
        up = z > 0
        x, z, J = (torch.where(up, -t, t) for t in (x, z, J))  # F < 1/2, as its complement would be rounded
        x = x.clamp(self.lowest, -self.lowest)
        goal = torch.special.log_ndtr(z)
        low, high = torch.full_like(x, self.lowest), torch.full_like(x, -self.lowest)
        for _ in range(steps):
            F = self.below(x, J)[0]
            miss = F.log() - goal
            low, high = torch.where(miss < 0, x, low), torch.where(miss < 0, high, x)
            new = x - miss * F * (-self.log_density(x, J)).exp()
            inside = (new >= low) & (new <= high)
            x = torch.where(inside, new, (low + high) / 2)
        return torch.where(up, -x, x)

    def normal(self, x: Tensor, J: Tensor) -> Tensor:
        """z with X(z, J) = x."""
        up = x > self.mean(J)
        x, J = (torch.where(up, -t, t) for t in (x, J))
        z = torch.special.ndtri(self.below(x, J)[0])
        return torch.where(up, -z, z)

    def quantile(self, z: Tensor, J: Tensor) -> Tensor:
        """X(z, J), differentiable once."""
        return one_of(_Quantile, z, J, self)


class _Quantile(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, J: Tensor, site: Site) -> Tensor:
        x = _interpolated(table(site.couplings, z.dtype, z.device), z, J)
        if x.dtype == torch.float64:
            x = site.polished(x, z, J, 2)
        ctx.save_for_backward(z, J, x)
        ctx.site = site
        return x

    @staticmethod
    @once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        z, J, x = ctx.saved_tensors
        of_z, of_J = slopes(ctx.site, x, z, J)
        return grads[0] * of_z, grads[0] * of_J, None


def slopes(site: Site, x: Tensor, z: Tensor, J: Tensor) -> tuple[Tensor, Tensor]:
    """dX/dz = phi(z) / p(X | J) and dX/dJ = -(dF/dJ) / p(X | J) at x = X(z, J)."""
    log_p = site.log_density(x, J)
    up = x > 0  # dF/dJ = 0 at both ends: from the nearer one
    sign = torch.where(up, -1.0, 1.0).to(x)
    of_J = -site.below(sign * x, sign * J)[1] * (-log_p).exp()
    return (-z * z / 2 - math.log(2 * math.pi) / 2 - log_p).exp(), of_J


@functools.cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights


@functools.lru_cache(maxsize=32)
@kept_on_cpu()
def site(h: float, a: float, g: float, ndim: int) -> Site:
    """The tables for S = sum_x [ -h sum_mu phi_{x+mu} phi_x + a phi^2 + g phi^4 ].

    Raises
    ------
    ValueError
        Where exp(-a x^2 - g x^4) or the theory cannot be normalised, and where the tables do not hold: for a barrier
        a^2 / 4 g of more than about 1.5 between two wells, and for very large fields.
    """
    if not (g > 0 or a > ndim * abs(h)):
        raise ValueError(f"A site given its neighbours needs g > 0 or a > {ndim} |h|; got h={h}, a={a} and g={g}.")

    def reach(linear: float, square: float, height: float) -> float:
        x = 2.0 ** np.arange(-8, 40, 0.02)
        S = square * x**2 + g * x**4 - linear * x
        return float(x[(S - min(0.0, S.min()) < height).nonzero()[0][-1] + 1])

    most = max(2 * ndim * abs(h) * reach(0.0, a - ndim * abs(h), 40.0), 1.0)
    far = reach(most, a, 120.0)
    x = np.linspace(-far, far, 1601)
    J = most * np.cos(np.linspace(0, math.pi / 2, 600))[:-1]
    exponent = np.outer(np.append(J, 0.0), x) - a * x**2 - g * x**4
    top = exponent.max(1)
    p = np.exp(exponent - top[:, None])  # the trapezoidal rule converges as fast as the integrand falls off
    W = np.log(p.sum(1) * (x[1] - x[0])) + top
    mean = (p @ x / p.sum(1))[:-1]
    one = Site(
        (h, a, g, ndim),
        a,
        g,
        most,
        -far,
        float(W[-1]),
        rational((W[:-1] - W[-1]) / J**2, J**2, LOG_DEGREE),
        rational(mean / J, J**2, DEGREE),
        rational(mean / J, J**2, DEGREE_FLOAT),
    )
    if not _resolved(one):
        raise ValueError(
            f"The tables of a site given its neighbours do not hold for h={h}, a={a} and g={g}: its two wells have a "
            "barrier a^2 / 4 g of more than about 1.5, or its fields grow very large, as nearly massless free ones do."
        )
    return one


@functools.lru_cache(maxsize=32)
@kept_on_cpu()
@torch.no_grad()
def table(couplings: tuple[float, float, float, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """X, dX/dz, dX/dJ and d^2X/dz dJ in units of the spacing, for |z| <= WIDEST and 0 <= J <= most, [z, J, 4]."""
    s = site(*couplings)
    J = torch.arange(math.ceil(s.most / SPACING) + 2, dtype=torch.float64, device=device) * SPACING
    return _columns(s, J).to(dtype)


def _columns(s: Site, J: Tensor) -> Tensor:
    """The table for these J."""
    x = s.polished(s.mean(J), torch.zeros_like(J), J, 16).expand(2, -1)  # the medians; then outwards on both sides
    sign = torch.tensor([[1.0], [-1.0]]).to(J)
    found = [x[:1]]
    places = round(WIDEST / SPACING)
    for k in range(places):
        slope = (-((k * SPACING) ** 2) / 2 - math.log(2 * math.pi) / 2 - s.log_density(x, J)).exp()
        z = ((k + 1) * SPACING * sign).expand_as(x)
        x = s.polished(x + sign * SPACING * slope, z, J.expand_as(x), 3)
        found = [x[1:], *found, x[:1]]
    x = torch.cat(found)
    z, J = torch.meshgrid(torch.arange(-places, places + 1).to(J) * SPACING, J, indexing="ij")
    of_z, of_J = slopes(s, x, z, J)
    both = of_z * ((2 * s.a * x + 4 * s.g * x**3 - J) * of_J - x + s.mean(J))
    return torch.stack([x, of_z * SPACING, of_J * SPACING, both * SPACING**2], -1)


def _resolved(s: Site) -> bool:
    """Whether the quadrature finds the whole of p(x | J), and the table its quantiles where they change fastest."""
    J = s.most * torch.linspace(0, 1, 65, dtype=torch.float64) ** 2
    x = s.mean(J)
    if not ((s.below(x, J)[0] + s.below(-x, -J)[0] - 1).abs() < RESOLVED).all():
        return False
    z = torch.arange(0.5, 4 / SPACING, dtype=torch.float64) * SPACING
    J = torch.full_like(z, SPACING / 2)
    x = _interpolated(_columns(s, torch.arange(2).to(J) * SPACING), z, J)
    return bool(((x - s.polished(x, z, J, 16)).abs() < -s.lowest * RESOLVED_TABLE).all())


def _interpolated(values: Tensor, z: Tensor, J: Tensor) -> Tensor:
    sign = torch.where(J < 0, -1.0, 1.0).to(z)
    u, w = (sign * z + WIDEST) / SPACING, (sign * J / SPACING)
    i, k = (t.floor().nan_to_num(0.0).clamp(0, n - 2).long() for t, n in zip((u, w), values.shape, strict=False))
    u, w = u - i, (w - k).clamp(max=1.0)
    flat, at = values.flatten(0, 1), i * values.shape[1] + k
    total = torch.zeros_like(z)
    for di in (0, 1):
        for dk in (0, 1):
            corner = flat[at + di * values.shape[1] + dk]
            bases = [_hermite(t, d) for t, d in ((u, di), (w, dk))]
            (u0, u1), (w0, w1) = bases
            total = total + u0 * (w0 * corner[..., 0] + w1 * corner[..., 2])
            total = total + u1 * (w0 * corner[..., 1] + w1 * corner[..., 3])
    return sign * total


def _hermite(t: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """Cubics with value 1, and with slope 1, at t = end and 0 at the other end."""
    if end:
        return t * t * (3 - 2 * t), t * t * (t - 1)
    return (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2

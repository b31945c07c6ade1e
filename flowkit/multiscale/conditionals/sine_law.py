"""Densities sin^n(a) g(cos a) of an angle in [0, pi] that are known at some angles, by their Fourier series."""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.kernels.implicit import root
from flowkit.kernels.native import kept_on_cpu

STEPS = {torch.float32: 6, torch.float64: 8}
"""Of Newton's method for an angle."""
END = 80.0
"""|ln tan^2 (a / 2)| of angles that are no longer told from 0 and pi."""


class SineLaw(NamedTuple):
    r"""The normalised density of an angle, with g a smooth function.

    The density continues to all angles as an even (n even) or odd (n odd) analytic function of period
    :math:`2 \pi`. Its series of cosines or sines, found at m angles, converges faster than any power of m.

    Attributes
    ----------
    series : Tensor
        Coefficients of cos(k a), k = 0, ..., m - 1, or of sin(k a), k = 1, ..., m, ``[m, links]``.
    odd : bool
        Whether they are those of sines.

    Examples
    --------
    >>> import math, torch
    >>> from flowkit.multiscale.conditionals.sine_law import SineLaw, angles
    >>> a = angles(8, torch.zeros(1))
    >>> law = SineLaw.of(a.sin()[:, None] ** 4, odd=False)                 # of one link, known at 8 angles
    >>> law.angle(torch.tensor([0.5])), law.cdf(torch.tensor([math.pi]))[0]
    (tensor([1.5708]), tensor([1.0000]))
    """

    series: Tensor
    odd: bool

    @classmethod
    def of(cls, density: Tensor, odd: bool) -> "SineLaw":
        """The law of a density at `angles`, ``[m, links]``, not normalised."""
        series = _transform(len(density), odd, density.dtype, density.device) @ density
        return cls(series / _integral(series, odd), odd)

    def cdf(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """The probability of an angle below a, and the density, ``[links]`` each."""
        k = torch.arange(len(self.series), dtype=a.dtype, device=a.device)[:, None] + float(self.odd)
        cos, sin = (k * a).cos(), (k * a).sin()
        if self.odd:
            return (self.series * (1 - cos) / k).sum(0), (self.series * sin).sum(0)
        rise = torch.cat([a[None], sin[1:] / k[1:]])
        return (self.series * rise).sum(0), (self.series * cos).sum(0)

    def _table(self, a: Tensor) -> Tensor:
        """The matrix from the series to the probabilities below given angles, [angles, m]."""
        k = torch.arange(len(self.series), dtype=a.dtype, device=a.device) + float(self.odd)
        if self.odd:
            return (1 - (k * a[:, None]).cos()) / k
        return torch.cat([a[:, None], (k[1:] * a[:, None]).sin() / k[1:]], 1)

    def angle(self, u: Tensor) -> Tensor:
        """The angle below which the probability is u, ``[links]``; differentiable in u and in the density."""
        eps = torch.finfo(u.dtype).eps
        with torch.no_grad():
            # Newton's method for ln F / (1 - F) as a function of t = ln tan^2 (a / 2), which is nearly linear, between
            # the two angles of a table around the root: a narrow density vanishes elsewhere, but for rounding.
            aim = u.log() - torch.log1p(-u)
            nodes = angles(len(self.series), u)
            below = (self._table(nodes) @ self.series).cummax(0).values < u
            place = below.sum(0)
            ends = torch.cat([nodes[:1] * 0 - END, 2 * (nodes / 2).tan().log(), nodes[:1] * 0 + END])
            low, high = ends[place], ends[place + 1]
            t = torch.where(place == 0, high, torch.where(place == len(nodes), low, (low + high) / 2))
            for _ in range(STEPS[u.dtype]):
                a = 2 * torch.atan((t / 2).exp())
                F, f = self.cdf(a)
                F = F.clamp(eps / 8, 1 - eps / 2)
                slope = f.clamp(min=eps) * a.sin() / 2 / (F * (1 - F))
                step = (aim - F.log() + torch.log1p(-F)) / slope.clamp(min=0.2)
                t = (t + step.clamp(-4, 4)).clamp(low, high)
            a = 2 * torch.atan((t / 2).exp())

        def missed(a: Tensor, u: Tensor, series: Tensor) -> tuple[Tensor, Tensor]:
            F, f = SineLaw(series, self.odd).cdf(a)
            return F - u, f

        return root(missed, a, u, self.series)


def angles(m: int, like: Tensor) -> Tensor:
    """The m angles at which a density is to be known, ``[m]``, radians."""
    return (torch.arange(m, dtype=like.dtype, device=like.device) + 0.5) * (math.pi / m)


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def _transform(m: int, odd: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix from m values to the coefficients of the series."""
    a = angles(m, torch.zeros(1, dtype=torch.float64))
    k = torch.arange(m, dtype=torch.float64)[:, None] + float(odd)
    matrix = (k * a).sin() if odd else (k * a).cos()
    matrix[-1 if odd else 0] /= 2
    return (matrix * (2 / m)).to(device, dtype)


def _integral(series: Tensor, odd: bool) -> Tensor:
    if not odd:
        return math.pi * series[0]
    k = torch.arange(1, len(series) + 1, 2, dtype=series.dtype, device=series.device)[:, None]
    return (2 * series[::2] / k).sum(0)

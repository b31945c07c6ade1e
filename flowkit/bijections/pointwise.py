"""Maps of single numbers whose parameters a coupling's network supplies, one set for each number.

Parameters have their own leading axis, [count, *x.shape], or are [count] for one map that all numbers share; all
zero is the identity.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit.groups import U1
from flowkit.kernels.rqs import rqs_forward, rqs_inverse
from flowkit.kernels.tangent import mixture, tangent_forward

_wrap = U1().wrap


class PointwiseMap(ABC):
    """y = f(x; params) for each number, with log|dy/dx|. `count` parameters a number."""

    count: int
    circular = False  # lives on angles in [-pi, pi)

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """(y, log|dy/dx|), both of the shape of x."""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """(x, log|dx/dy|), both of the shape of y."""


def _bins(bins: int) -> int:
    if not isinstance(bins, int) or bins < 2:
        raise ValueError(f"A spline needs bins >= 2; got {bins!r}.")
    return bins


class AffineMap(PointwiseMap):
    """y = e^s x + t, params (s, t)."""

    count = 2

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        s, t = params
        return x * s.exp() + t, s

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        s, t = params
        return (y - t) * (-s).exp(), -s


class IntervalSpline(PointwiseMap):
    """A rational-quadratic spline from [0, 1] to [0, 1], free slopes at both ends; 1906.04032."""

    def __init__(self, bins: int = 8):
        self.bins = _bins(bins)
        self.count = 3 * bins + 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return rqs_forward(x, params, self.bins, False)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return rqs_inverse(y, params, self.bins, False)


class RealSpline(PointwiseMap):
    """y = e^s g(x) + t on the real line: g a rational-quadratic spline on [-reach, reach], continued outside by
    straight lines of the end slopes, so that g is monotone and once differentiable everywhere.
    """

    def __init__(self, bins: int = 8, reach: float = 3.0):
        if not reach > 0:
            raise ValueError(f"RealSpline needs reach > 0; got {reach}.")
        self.bins, self.reach = _bins(bins), float(reach)
        self.count = 3 * bins + 3

    def _ends(self, params: Tensor) -> tuple[Tensor, Tensor]:
        slopes = params[2 * self.bins : 3 * self.bins + 1 : self.bins]
        low, high = F.softplus(slopes + math.log(math.expm1(1 - 1e-3))) + 1e-3
        return low, high

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        spline, s, t = params[:-2], params[-2], params[-1]
        u = x / (2 * self.reach) + 0.5
        inside = u.clamp(0, 1)
        v, logderiv = rqs_forward(inside, spline, self.bins, False)
        low, high = self._ends(spline)
        v = v + torch.where(u < 0, low, high) * (u - inside)
        return (v - 0.5) * (2 * self.reach) * s.exp() + t, logderiv + s

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        spline, s, t = params[:-2], params[-2], params[-1]
        v = (y - t) * (-s).exp() / (2 * self.reach) + 0.5
        inside = v.clamp(0, 1)
        u, logderiv = rqs_inverse(inside, spline, self.bins, False)
        low, high = self._ends(spline)
        u = u + (v - inside) / torch.where(v < 0, low, high)
        return (u - 0.5) * (2 * self.reach), logderiv - s


class CircleSpline(PointwiseMap):
    """A rational-quadratic spline of the circle with a learned bias: angles in [-pi, pi) to angles, smooth across
    +-pi, then turned by the bias; 2002.02428.
    """

    circular = True

    def __init__(self, bins: int = 8):
        self.bins = _bins(bins)
        self.count = 3 * bins + 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        u, logderiv = rqs_forward(x / (2 * math.pi) + 0.5, params[:-1], self.bins, True)
        return _wrap((u - 0.5) * (2 * math.pi) + params[-1]), logderiv

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        v = _wrap(y - params[-1]) / (2 * math.pi) + 0.5
        u, logderiv = rqs_inverse(v, params[:-1], self.bins, True)
        return _wrap((u - 0.5) * (2 * math.pi)), logderiv


class TangentMixture(PointwiseMap):
    """y = mean_k 2 atan(e^{s_k} tan(x/2)) + t, the non-compact projection of 2002.02428, mixed as in 2101.08176.

    Params (s_1, ..., s_K, t). The inverse is by bisection, exact to rounding, and has gradients by the implicit
    function theorem.
    """

    circular = True

    def __init__(self, components: int = 2):
        if not isinstance(components, int) or components < 1:
            raise ValueError(f"TangentMixture needs components >= 1; got {components!r}.")
        self.components = components
        self.count = components + 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return tangent_forward(x, _own(params, x))

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        params = _own(params, y)
        s, target = params[:-1], _wrap(y - params[-1])
        with torch.no_grad():
            low, high = torch.full_like(y, -math.pi), torch.full_like(y, math.pi)
            for _ in range(60 if y.dtype == torch.float64 else 30):
                middle = (low + high) / 2
                below = mixture(middle, s)[0] < target
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            x = (low + high) / 2
        value, slope = mixture(x, s)
        x = x - (value - target) / slope.detach()  # one Newton step: value unchanged, gradients with respect to s and y
        return _wrap(x), -mixture(x, s)[1].log()


def _own(params: Tensor, x: Tensor) -> Tensor:
    """Parameters that all numbers share, with axes of size 1 for those of x; others as they are."""
    return params.view(-1, *[1] * x.dim()) if params.dim() == 1 else params

"""Rational-quadratic splines of an interval, of the real line and of the circle."""

import math
from abc import ABC
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit.bijections.base import Bijection, Bins, TwoWay
from flowkit.checks import Positive, checked
from flowkit.groups.u1 import U1
from flowkit.kernels.rqs import rqs_forward, rqs_inverse

_wrap = U1().wrap


def _spline(inverse: bool) -> Callable[[Tensor, Tensor, int, bool], tuple[Tensor, Tensor]]:
    return rqs_inverse if inverse else rqs_forward


def _mirrored_bins(params: Tensor, bins: int) -> Tensor:
    """Widths, heights and slopes from the other end."""
    widths, heights, slopes = torch.split(params, [bins, bins, bins + 1])
    return torch.cat([widths.flip(0), heights.flip(0), slopes.flip(0)])


class _Binned(Bijection[Tensor], ABC):
    """A spline of so many bins with 3 parameters each and one more."""

    @checked
    def __init__(self, bins: Bins = 8):
        self.bins = bins
        self.count = 3 * bins + 1


class IntervalSpline(_Binned, TwoWay[Tensor]):
    """A rational-quadratic spline from [0, 1] to [0, 1] with free slopes at both ends.

    Parameters
    ----------
    bins : int
        At least 2; the map takes 3 bins + 1 parameters.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios, 1906.04032.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> spline = fk.bijections.IntervalSpline(bins=4)
    >>> y, _ = spline.forward(torch.tensor([0.0, 0.3, 1.0]), torch.zeros(spline.count))
    >>> torch.allclose(y, torch.tensor([0.0, 0.3, 1.0]))      # all zero is the identity
    True
    """

    def _map(self, x: Tensor, given: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        return _spline(inverse)(x, given, self.bins, False)

    def mirrored(self, params: Tensor) -> Tensor:
        return _mirrored_bins(params, self.bins)


class RealSpline(Bijection[Tensor]):
    """y = e^s g(x) + t on the real line, g a rational-quadratic spline on [-reach, reach].

    Outside the interval straight lines with the slopes of its ends continue g, so that it is monotone and has a
    continuous derivative everywhere.

    Parameters
    ----------
    bins : int
        At least 2; the map takes 3 bins + 3 parameters.
    reach : float
        Half the width of the interval, in units of x.

    Raises
    ------
    ValueError
        For fewer than 2 bins, or a reach that is not positive.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios, 1906.04032.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> spline = fk.bijections.RealSpline(bins=4, reach=2.0)
    >>> params = torch.randn(spline.count, generator=torch.Generator().manual_seed(1))
    >>> y, logdet = spline.forward(torch.tensor([10.0, 11.0]), params)
    >>> torch.isclose(y[1] - y[0], logdet[0].exp())           # a straight line beyond x = 2
    tensor(True)
    """

    @checked
    def __init__(self, bins: Bins = 8, reach: Positive = 3.0):
        self.bins, self.reach = bins, reach
        self.count = 3 * bins + 3

    def mirrored(self, params: Tensor) -> Tensor:
        return torch.cat([_mirrored_bins(params[:-2], self.bins), params[-2:-1], -params[-1:]])

    def _ends(self, params: Tensor) -> tuple[Tensor, Tensor]:
        slopes = params[2 * self.bins : 3 * self.bins + 1 : self.bins]
        low, high = F.softplus(slopes + math.log(math.expm1(1 - 1e-3))) + 1e-3
        return low, high

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        spline, s, t = given[:-2], given[-2], given[-1]
        u = x / (2 * self.reach) + 0.5
        inside = u.clamp(0, 1)
        v, logdet = rqs_forward(inside, spline, self.bins, False)
        low, high = self._ends(spline)
        v = v + torch.where(u < 0, low, high) * (u - inside)
        return (v - 0.5) * (2 * self.reach) * s.exp() + t, logdet + s

    def inverse(self, y: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        spline, s, t = given[:-2], given[-2], given[-1]
        v = (y - t) * (-s).exp() / (2 * self.reach) + 0.5
        inside = v.clamp(0, 1)
        u, logdet = rqs_inverse(inside, spline, self.bins, False)
        low, high = self._ends(spline)
        u = u + (v - inside) / torch.where(v < 0, low, high)
        return (u - 0.5) * (2 * self.reach), logdet - s


class CircleSpline(_Binned):
    """A rational-quadratic spline of the circle, smooth across +-pi, then turned by a learned angle.

    Parameters
    ----------
    bins : int
        At least 2; the map takes 3 bins + 1 parameters, the last one the turn in radians.

    References
    ----------
    Rezende et al., 2002.02428.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> spline = fk.bijections.CircleSpline(bins=4)
    >>> params = torch.zeros(spline.count)
    >>> params[-1] = 1.0                                      # no change of shape, a turn by 1
    >>> spline.forward(torch.tensor([3.0]), params)[0]        # 4 - 2 pi
    tensor([-2.2832])
    """

    angles = 1

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        u, logdet = rqs_forward(x / (2 * math.pi) + 0.5, given[:-1], self.bins, True)
        return _wrap((u - 0.5) * (2 * math.pi) + given[-1]), logdet

    def inverse(self, y: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        v = _wrap(y - given[-1]) / (2 * math.pi) + 0.5
        u, logdet = rqs_inverse(v, given[:-1], self.bins, True)
        return _wrap((u - 0.5) * (2 * math.pi)), logdet


class OddCircleSpline(_Binned, TwoWay[Tensor]):
    """An odd map of the circle, a spline of [0, pi] continued by f(-x) = -f(x): densities stay even.

    Charge conjugation of U(1) takes a loop angle to its negative, and an action that is even under it asks for even
    densities of loops.

    Parameters
    ----------
    bins : int
        At least 2, on half the circle; the map takes 3 bins + 1 parameters.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> spline = fk.bijections.OddCircleSpline(bins=4)
    >>> params = torch.randn(spline.count, generator=torch.Generator().manual_seed(1))
    >>> y, _ = spline.forward(torch.tensor([-1.0, 1.0]), params)
    >>> bool(y[0] == -y[1])
    True
    """

    angles, odd = 1, True

    def _map(self, x: Tensor, given: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        half, logdet = _spline(inverse)(x.abs() / math.pi, given, self.bins, False)
        return torch.where(x < 0, -half, half) * math.pi, logdet

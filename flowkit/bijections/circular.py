"""The spectral update of U(1): a circular spline of the angle of the active loop."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijections.pointwise import CircleSpline, IntervalSpline
from flowkit.bijections.updates import LinkUpdate
from flowkit.groups import U1
from flowkit.kernels.rqs import rqs_forward, rqs_inverse

_wrap = U1().wrap


class Circular(LinkUpdate):
    """A spline of the angle of the active loop W of U(1), V' = V + W' - W, all in angles.

    Links and loops are angles [...], parameters [count, ...].

    loop      which loop is active; None takes the learned one, W = V - arg sum_i c_i e^{i S_i}, S_i = -R_i, with
              c_i = 1 + the network's answer for each link. It jumps where the sum passes 0
    bins      of the spline; an even one has them on half the circle
    even      W' is an odd function of W, so that the density is even, as charge conjugation W -> -W asks; otherwise
              any circular spline with a bias
    Raises    ValueError for bins < 2
    See       2404.10819; for circular splines 2002.02428
    """

    def __init__(self, loop: int | None = None, bins: int = 8, even: bool = True):
        self.loop, self.bins, self.even = loop, bins, even
        self._size = (IntervalSpline if even else CircleSpline)(bins).count

    def count(self, n: int, loops: int) -> int:
        if n != 1:
            raise ValueError(f"Circular moves links of U(1); got SU({n}).")
        if self.loop is not None and not 0 <= self.loop < loops:
            raise ValueError(f"The active loop is one of {loops}, counted from 0; got {self.loop}.")
        return self._size + (loops if self.loop is None else 0)

    def _map(self, v: Tensor, rest: Sequence[Tensor], params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if self.loop is None:
            staple = _argument(1 + params[self._size :], [-r for r in rest])
            params = params[: self._size]
        else:
            staple = -rest[self.loop]
        w = _wrap(v - staple)
        if self.even:
            half, logdet = (rqs_inverse if inverse else rqs_forward)(w.abs() / math.pi, params, self.bins, False)
            new = torch.where(w < 0, -half, half) * math.pi
        else:
            spline = CircleSpline(self.bins)
            new, logdet = (spline.inverse if inverse else spline.forward)(w, params)
        return _wrap(staple + new), logdet

    def forward(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(v, rest, params, False)

    def inverse(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(v, rest, params, True)

    def __repr__(self) -> str:
        loop = "learned" if self.loop is None else self.loop
        return f"Circular(loop={loop}, bins={self.bins}, even={self.even})"


def _argument(weights: Tensor, angles: Sequence[Tensor]) -> Tensor:
    """arg sum_i c_i e^{i a_i}, from differences to the first angle, so that it turns with all of them exactly; its
    gradient, infinite where the sum vanishes, is finite there.
    """
    first = angles[0]
    real, imaginary = weights[0], torch.zeros_like(first)
    for c, angle in zip(weights[1:], angles[1:], strict=True):
        difference = angle - first
        real, imaginary = real + c * difference.cos(), imaginary + c * difference.sin()
    tiny = torch.finfo(first.dtype).eps ** 2
    small = real.detach().square() + imaginary.detach().square() < tiny
    return first + torch.atan2(torch.where(small, 0.0, imaginary), torch.where(small, 1.0, real))

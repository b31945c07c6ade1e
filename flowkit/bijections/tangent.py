"""Mixtures of scaled tangents: smooth maps of the circle of few parameters."""

import math
from typing import Annotated

import torch
from torch import Tensor

from flowkit.bijections.base import Bijection
from flowkit.checks import Range, checked
from flowkit.groups.u1 import U1
from flowkit.kernels.implicit import root
from flowkit.kernels.tangent import mixture, tangent_forward

_wrap = U1().wrap


class TangentMixture(Bijection[Tensor]):
    r"""A map of the circle, the mean of K non-compact projections, then a turn.

    .. math:: y = \frac{1}{K} \sum_k 2 \arctan(e^{s_k} \tan(x / 2)) + t

    The inverse is found by bisection, exact to rounding, and has gradients by the implicit function theorem.

    Parameters
    ----------
    components : int
        K, at least 1; the map takes the K + 1 parameters (s_1, ..., s_K, t).

    Raises
    ------
    ValueError
        For K < 1.

    References
    ----------
    Rezende et al., 2002.02428; Albergo et al., 2101.08176, for the mixture.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> f, params = fk.bijections.TangentMixture(2), torch.tensor([0.5, -0.2, 0.0])
    >>> y, logdet = f.forward(torch.tensor([1.0]), params)
    >>> back, _ = f.inverse(y, params)
    >>> torch.allclose(back, torch.tensor([1.0]))
    True
    """

    angles = 1

    @checked
    def __init__(self, components: Annotated[int, Range(1, 1000)] = 2):
        self.components = components
        self.count = components + 1

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        return tangent_forward(x, _own(given, x))

    def inverse(self, y: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        params = _own(given, y)
        s, target = params[:-1], _wrap(y - params[-1])
        with torch.no_grad():
            low, high = torch.full_like(y, -math.pi), torch.full_like(y, math.pi)
            for _ in range(60 if y.dtype == torch.float64 else 30):
                middle = (low + high) / 2
                below = mixture(middle, s)[0] < target
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            x = (low + high) / 2 + 0 * target  # NaN stays NaN
        x = root(_missed, x, s, target)
        return _wrap(x), -mixture(x, s)[1].log()


def _missed(x: Tensor, s: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """What the mixture misses the target by at x, and its slope."""
    value, slope = mixture(x, s)
    return value - target, slope


def _own(params: Tensor, x: Tensor) -> Tensor:
    """Parameters that all numbers share, with axes of size 1 for those of x; others as they are."""
    return params.view(-1, *[1] * x.dim()) if params.dim() == 1 else params

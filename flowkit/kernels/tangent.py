"""Mixtures of tangent maps of the circle, y = mean_k 2 atan(e^{s_k} tan(x / 2)) + t, the components along the leading
axis of s; 2002.02428 and 2101.08176.
"""

import math

import torch
from torch import Tensor

from flowkit.kernels.compilation import compiled


def mixture(x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """The mixture without its shift, in [-pi, pi], and its derivative.

    x         angles, any shape
    s         [components, *x.shape]
    """
    half = x / 2
    cos, sin = half.cos(), half.sin()
    y = (2 * torch.atan2(s.exp() * sin, cos)).mean(0)  # atan2 stays accurate where tan overflows
    slope = (1 / ((-s).exp() * cos**2 + s.exp() * sin**2)).mean(0)
    return y, slope


@compiled
def tangent_forward(x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    """The angle in [-pi, pi) and log dy/dx; params (s_1, ..., s_K, t), [K + 1, *x.shape]."""
    y, slope = mixture(x, params[:-1])
    y = y + params[-1]
    y = y - (2 * math.pi) * torch.round(y / (2 * math.pi)).detach()
    return torch.where(y >= math.pi, y - 2 * math.pi, y), slope.log()

"""The arithmetic of rqs.py through torch, for GPUs and machines without a compiler; names as there.

Written out number by number, bins unrolled, so that torch.compile fuses it into one pass over memory; the gradients are
written by hand for the same reason.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_BIN = 1e-3
MIN_SLOPE = 1e-3
UNIT = math.log(math.expm1(1 - MIN_SLOPE))  # softplus(UNIT) + MIN_SLOPE = 1


class Bin(NamedTuple):
    """The bin that holds a number: its corner, sides, raw and positive end derivatives."""

    x0: Tensor
    y0: Tensor
    w: Tensor
    h: Tensor
    raw0: Tensor
    raw1: Tensor
    d0: Tensor
    d1: Tensor


def _softmax(p: list[Tensor]) -> list[Tensor]:
    """Softmax over a list of tensors."""
    top = p[0]
    for value in p[1:]:
        top = torch.maximum(top, value)
    terms = [torch.exp(value - top) for value in p]
    total = terms[0]
    for value in terms[1:]:
        total = total + value
    return [value / total for value in terms]


def find(z: Tensor, params: Tensor, bins: int, circular: bool, inverse: bool) -> Bin:
    """The bin in which z lies, by x, or by y if `inverse`; the outer bins reach past 0 and 1."""
    p = list(params.unbind(0))
    scale = 1 - MIN_BIN * bins
    widths = [MIN_BIN + scale * value for value in _softmax(p[:bins])]
    heights = [MIN_BIN + scale * value for value in _softmax(p[bins : 2 * bins])]
    slopes = p[2 * bins :] + ([p[2 * bins]] if circular else [])
    w, h, raw0, raw1 = widths[0], heights[0], slopes[0], slopes[1]
    x0, y0 = torch.zeros_like(z), torch.zeros_like(z)
    x, y = w, h
    for k in range(1, bins):
        hit = z >= (y if inverse else x)
        x0, y0 = torch.where(hit, x, x0), torch.where(hit, y, y0)
        w, h = torch.where(hit, widths[k], w), torch.where(hit, heights[k], h)
        raw0, raw1 = torch.where(hit, slopes[k], raw0), torch.where(hit, slopes[k + 1], raw1)
        x, y = x + widths[k], y + heights[k]
    d0, d1 = MIN_SLOPE + F.softplus(raw0 + UNIT), MIN_SLOPE + F.softplus(raw1 + UNIT)
    return Bin(x0, y0, w, h, raw0, raw1, d0, d1)


def table(z: Tensor, params: Tensor, bins: int, circular: bool, inverse: bool) -> Bin:
    """`find` for one spline that all numbers share: params [count], looked up in tables of its knots."""
    scale = 1 - MIN_BIN * bins
    w = MIN_BIN + scale * torch.softmax(params[:bins], 0)
    h = MIN_BIN + scale * torch.softmax(params[bins : 2 * bins], 0)
    raw = torch.cat([params[2 * bins :], params[2 * bins : 2 * bins + 1]]) if circular else params[2 * bins :]
    x, y = w.cumsum(0), h.cumsum(0)
    k = torch.bucketize(z.detach(), (y if inverse else x)[:-1].detach(), right=True)
    x0, y0, width, height, raw0, raw1 = torch.stack([x - w, y - h, w, h, raw[:-1], raw[1:]])[:, k]
    d0, d1 = MIN_SLOPE + F.softplus(raw0 + UNIT), MIN_SLOPE + F.softplus(raw1 + UNIT)
    return Bin(x0, y0, width, height, raw0, raw1, d0, d1)


def _within(t: Tensor, z: Tensor) -> Tensor:
    """t of the bin that holds z, moved into [0, 1] where rounding left it outside, with the gradient of t."""
    outside = (z < 0) | (z > 1)
    return t + torch.where(outside, 0.0, t.clamp(0, 1) - t).detach()


def evaluate(x: Tensor, b: Bin) -> tuple[Tensor, Tensor]:
    """y(x) and log dy/dx in the bin that holds x."""
    s, t = b.h / b.w, _within((x - b.x0) / b.w, x)
    m = t * (1 - t)
    denominator = s + (b.d0 + b.d1 - 2 * s) * m
    y = b.y0 + b.h * (s * t * t + b.d0 * m) / denominator
    slope = b.d1 * t * t + 2 * s * m + b.d0 * (1 - t) * (1 - t)
    return y, 2 * s.log() + slope.log() - 2 * denominator.log()


def solve(y: Tensor, b: Bin) -> tuple[Tensor, Tensor]:
    """x(y) and log dx/dy in the bin that holds y."""
    s, r = b.h / b.w, (y - b.y0) / b.h
    bend = b.d0 + b.d1 - 2 * s
    linear = b.d0 - r * bend
    root = torch.sqrt(torch.clamp(linear * linear + 4 * (s - b.d0 + r * bend) * s * r, min=0))
    t = _within(2 * s * r / (linear + root), y)
    m = t * (1 - t)
    denominator = s + bend * m
    slope = b.d1 * t * t + 2 * s * m + b.d0 * (1 - t) * (1 - t)
    return b.x0 + b.w * t, 2 * denominator.log() - 2 * s.log() - slope.log()


def apply(z: Tensor, params: Tensor, bins: int, circular: bool, inverse: bool) -> tuple[Tensor, Tensor]:
    """See `rqs_forward` and `rqs_inverse`."""
    return (solve if inverse else evaluate)(z, find(z, params, bins, circular, inverse))


def vjp(
    x: Tensor, params: Tensor, gy: Tensor, gl: Tensor, bins: int, circular: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Gradients with respect to the argument and the parameters.

    Of the forward map (y, l)(x) for cotangents (gy, gl). Of the inverse map (x, -l)(y), at x = x(y), for cotangents
    (gy, gl) of its two outputs: with A = gy - gl dl/dx, dL/dy = A / y' and the parameters see (-A / y', -gl).
    """
    b = find(x, params, bins, circular, False)
    w, h, d0, d1 = b.w, b.h, b.d0, b.d1
    s, t = h / w, _within((x - b.x0) / w, x)
    m, u = t * (1 - t), 1 - t
    bend = d0 + d1 - 2 * s
    numerator, denominator = s * t * t + d0 * m, s + bend * m
    slope = d1 * t * t + 2 * s * m + d0 * u * u
    slope_t = 2 * d1 * t + 2 * s * (1 - 2 * t) - 2 * d0 * u
    if inverse:
        l_x = (slope_t / slope - 2 * bend * (1 - 2 * t) / denominator) / w
        back = (gy - gl * l_x) * (denominator / s) ** 2 / slope
        gy, gl = -back, -gl
    # Reverse through y = y0 + h numerator / denominator and l = 2 log s + log slope - 2 log denominator.
    g_num = gy * h / denominator
    g_den = -(g_num * numerator + 2 * gl) / denominator
    g_slope = gl / slope
    g_m = g_slope * 2 * s + g_num * d0 + g_den * bend
    g_t = g_slope * 2 * (d1 * t - d0 * u) + g_num * 2 * s * t + g_m * (1 - 2 * t)
    g_bend = g_den * m
    g_s = 2 * gl / s + g_slope * 2 * m + g_num * t * t + g_den - 2 * g_bend
    g_d0 = (g_slope * u * u + g_num * m + g_bend) * torch.sigmoid(b.raw0 + UNIT)
    g_d1 = (g_slope * t * t + g_bend) * torch.sigmoid(b.raw1 + UNIT)
    g_h = gy * numerator / denominator + g_s / w
    g_x = g_t / w
    g_w = -(g_s * s + g_t * t) / w
    # A bin left of the one that holds x moves its corner; the softmax couples all of them.
    p = list(params.unbind(0))
    scale = 1 - MIN_BIN * bins
    share_w, share_h = _softmax(p[:bins]), _softmax(p[bins : 2 * bins])
    left, total_w, total_h = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
    to_w, to_h, to_d = [], [], [torch.zeros_like(x) for _ in range(bins + 1)]
    for k in range(bins):
        right = left + MIN_BIN + scale * share_w[k]
        reached = x >= left if k else torch.ones_like(x, dtype=torch.bool)
        passed = x >= right if k < bins - 1 else torch.zeros_like(x, dtype=torch.bool)
        here = reached & ~passed
        to_w.append(torch.where(passed, -g_x, torch.where(here, g_w, 0)))
        to_h.append(torch.where(passed, gy, torch.where(here, g_h, 0)))
        total_w, total_h = total_w + share_w[k] * to_w[k], total_h + share_h[k] * to_h[k]
        to_d[k] = to_d[k] + torch.where(here, g_d0, 0)
        to_d[k + 1] = to_d[k + 1] + torch.where(here, g_d1, 0)
        left = right
    if circular:
        to_d[0] = to_d[0] + to_d.pop()
    g_params = [scale * share_w[k] * (to_w[k] - total_w) for k in range(bins)]
    g_params += [scale * share_h[k] * (to_h[k] - total_h) for k in range(bins)]
    return (-gy if inverse else g_x), torch.stack(g_params + to_d)

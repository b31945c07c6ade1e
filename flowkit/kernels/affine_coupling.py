"""A checkerboard coupling y = e^s x + t whose s and t are one convolution of the frozen sites, and its gradients.

s = b_s + sum_tap w_s[tap] u(x + tap),  t = b_t + sum_tap w_t[tap] phi(x + tap),  u = phi or phi^2

A C kernel for the CPU, a pass over memory each for the map and for its gradients; without a compiler `native` says no.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.kernels.native import REALS, call, kept_on_cpu, once, plain, takes, two_of

SLACK = 64  # numbers: more than a vector holds


class Geometry(NamedTuple):
    """How the kernel reads a field: in a copy with a margin of `kernel // 2` periodic copies on all sides."""

    odd: Tensor
    """Places among all kernel^ndim taps of those that lead from active to frozen sites, [taps]."""
    source: Tensor
    """The row (all axes but the last) of the field that each row of the copy repeats, [wide rows]."""
    inner: Tensor
    """Where each row of the field is in the copy, [rows]."""
    taps: Tensor
    """Distances in the copy, [taps]."""
    active: dict[torch.dtype, Tensor]
    """1 at the active sites of the copy and 0 elsewhere and in a slack at its end."""
    margin: int


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def geometry(lattice: tuple[int, ...], kernel: int, moves: int) -> Geometry:
    """The taps of a cubic kernel, in the order of its weights, for active sites of parity `moves`."""
    margin = kernel // 2
    taps = list(itertools.product(range(-margin, margin + 1), repeat=len(lattice)))
    odd = [i for i, tap in enumerate(taps) if sum(tap) % 2]
    wide = [side + 2 * margin for side in lattice]
    strides = [math.prod(wide[axis + 1 :]) for axis in range(len(wide))]
    distances = [sum(step * stride for step, stride in zip(taps[i], strides, strict=True)) for i in odd]
    outer = coordinate_grid(wide[:-1]) - margin  # of each row of the copy, in the field
    source, inside = torch.zeros(outer.shape[1], dtype=torch.long), torch.ones(outer.shape[1], dtype=torch.bool)
    for place, side in zip(outer, lattice[:-1], strict=True):
        source, inside = source * side + place % side, inside & (place >= 0) & (place < side)
    along = torch.arange(wide[-1]) - margin
    active = (outer.sum(0)[:, None] + along) % 2 == moves
    active &= inside[:, None] & (along >= 0) & (along < lattice[-1])
    flat = torch.cat([active.flatten(), torch.zeros(SLACK, dtype=torch.bool)])
    inner = inside.nonzero()[:, 0]  # in the order of the field's rows
    return Geometry(
        torch.tensor(odd, dtype=torch.long),
        source,
        inner,
        torch.tensor(distances, dtype=torch.long),
        {dtype: flat.to(dtype) for dtype in REALS},
        margin,
    )


def coordinate_grid(lattice: list[int]) -> Tensor:
    """Coordinates of every site, [axes, volume]; of one site for no axes, [0, 1]."""
    axes = torch.meshgrid(*[torch.arange(side) for side in lattice], indexing="ij") if lattice else ()
    return torch.stack([axis.flatten() for axis in axes]) if lattice else torch.empty(0, 1, dtype=torch.long)


def native(x: Tensor, weight: Tensor) -> bool:
    """Whether the C kernel serves: one component on a CPU, one precision."""
    return x.shape[1] == 1 and takes("affine_coupling", x, weight)


def affine_coupling(
    x: Tensor, weight: Tensor, where: Geometry, square: bool = False, back: bool = False
) -> tuple[Tensor, Tensor]:
    """(y, sum of s) or, `back`, (x, minus that), [batch, 1, *lattice] and [batch].

    weight    [2, taps + 1], of s and of t, the biases last
    square    u = phi^2 instead of phi
    """
    return two_of(_AffineCoupling, x, weight, where, square, back)


class _AffineCoupling(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, where: Geometry, square: bool, back: bool
    ) -> tuple[Tensor, Tensor]:
        x, weight = plain(x), plain(weight)
        out, logdet = torch.empty_like(x), x.new_empty(len(x))
        tensors = x, weight, *_tables(where, x), out, logdet
        call("affine_coupling", "map", x.dtype, *tensors, *_sizes(x, where), back, square)
        ctx.save_for_backward(out if back else x, weight)
        ctx.where, ctx.square, ctx.back = where, square, back
        return out, logdet

    @staticmethod
    @once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gy, gl = (plain(grad) for grad in grads)
        grad = torch.empty_like(x)
        grad_weight = torch.empty_like(weight, dtype=torch.float64) if ctx.needs_input_grad[1] else None
        tensors = x, weight, *_tables(ctx.where, x), gy, gl, grad, grad_weight
        call("affine_coupling", "gradient", x.dtype, *tensors, *_sizes(x, ctx.where), ctx.back, ctx.square)
        return grad, None if grad_weight is None else grad_weight.to(weight), None, None, None


def _tables(where: Geometry, x: Tensor) -> tuple[Tensor, ...]:
    return where.source, where.inner, where.taps, where.active[x.dtype]


def _sizes(x: Tensor, where: Geometry) -> tuple[int, ...]:
    return len(x), len(where.taps), len(where.inner), len(where.source), x.shape[-1], where.margin

"""The action of scalar fields and its force, S = sum_x [ -h sum_mu phi_{x+mu} phi_x + a phi^2 + g phi^4 ].

On a CPU by a C kernel, one pass over memory; elsewhere, or without a compiler, through torch with the same results.
"""

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels.native import REALS, kept_on_cpu, library, plain, takes


def scalar_action(x: Tensor, h: float, a: float, g: float) -> Tensor:
    """S of each field of [batch, components, *lattice], summed over components, [batch]."""
    if not takes("scalar_action", x):
        return _action_torch(x, h, a, g)
    total: Tensor = _Action.apply(x, h, a, g)  # type: ignore[no-untyped-call]
    return total


def scalar_force(x: Tensor, h: float, a: float, g: float) -> Tensor:
    """-dS/dphi, of the shape of x."""
    if not takes("scalar_action", x) or (torch.is_grad_enabled() and x.requires_grad):
        return _force_torch(x, h, a, g)
    x = plain(x)
    out = torch.empty_like(x)
    _call("force", x, out, 2 * (x.dim() - 3), h, a, g)
    return out


class _Action(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h: float, a: float, g: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.couplings = h, a, g
        out = x.new_empty(x.shape[:2], dtype=torch.float64)
        _call("action", plain(x), out, x.dim() - 3, h, a, g)
        return out.sum(1).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        (grad,) = grads
        return -grad.view(-1, *[1] * (x.dim() - 1)) * scalar_force(x, *ctx.couplings), None, None, None


def _action_torch(x: Tensor, h: float, a: float, g: float) -> Tensor:
    neighbours = torch.roll(x, -1, 2)
    for axis in range(3, x.dim()):
        neighbours = neighbours + torch.roll(x, -1, axis)
    square = x * x
    return (square * (a + g * square) - h * x * neighbours).flatten(1).sum(1)


def _force_torch(x: Tensor, h: float, a: float, g: float) -> Tensor:
    neighbours = torch.roll(x, -1, 2) + torch.roll(x, 1, 2)
    for axis in range(3, x.dim()):
        neighbours = neighbours + torch.roll(x, -1, axis) + torch.roll(x, 1, axis)
    return h * neighbours - x * (2 * a + 4 * g * x * x)


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def outer_rows(lattice: tuple[int, ...], offsets: tuple[tuple[int, ...], ...]) -> Tensor:
    """Flat index of the row (all axes but the last) at each offset from every row, periodic, [offsets, rows]."""
    places = torch.arange(math.prod(lattice[:-1])).view(lattice[:-1])
    axes = tuple(range(len(lattice) - 1))
    shifted = [torch.roll(places, [-step for step in offset], axes) if axes else places for offset in offsets]
    return torch.stack([one.flatten() for one in shifted]) if shifted else torch.empty(0, 1, dtype=torch.long)


def _unit_steps(ndim: int) -> tuple[tuple[int, ...], ...]:
    """Forward along each axis but the last, then backward."""
    return tuple(tuple(sign * (i == axis) for i in range(ndim - 1)) for sign in (1, -1) for axis in range(ndim - 1))


@functools.cache
def _function(name: str, dtype: torch.dtype) -> "ctypes._NamedFuncPointer":
    function: ctypes._NamedFuncPointer = getattr(library("scalar_action"), f"{name}_{REALS[dtype]}")
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 4 + [ctypes.c_double] * 3
    function.restype = None
    return function


def _call(name: str, x: Tensor, out: Tensor, outer: int, h: float, a: float, g: float) -> None:
    lattice = tuple(x.shape[2:])
    around = outer_rows(lattice, _unit_steps(len(lattice)))
    sizes = x.shape[0] * x.shape[1], math.prod(lattice[:-1]), lattice[-1], outer
    _function(name, x.dtype)(x.data_ptr(), around.data_ptr(), out.data_ptr(), *sizes, h, a, g)

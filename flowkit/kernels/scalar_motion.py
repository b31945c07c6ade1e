"""Trajectories of scalar fields with the force of `scalar_action`, and symmetric maps that differ from 1 on a few modes.

On a CPU by a C kernel that keeps a field in the cache from the first drift to the last.
"""

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .native import REALS, library, plain
from .scalar_action import _unit_steps, outer_rows


class FewModes(NamedTuple):
    """C x = x + sum_{k,l} factor[k, l] e_k f_l <e_k f_l, x>, e_k on all axes but the last and f_l on the last one."""

    outer: Tensor
    """e_k, orthonormal, [M, rows], rows all places on the axes but the last."""
    inner: Tensor
    """f_l, orthonormal, [m, side]."""
    factor: Tensor
    """[M, m]"""

    def __call__(self, x: Tensor) -> Tensor:
        """C x of fields [batch, components, *lattice]."""
        rows = x.reshape(*x.shape[:2], self.outer.shape[1], self.inner.shape[1])
        modes = (self.outer @ rows @ self.inner.T) * self.factor
        return torch.add(x, (self.outer.T @ (modes @ self.inner)).view(x.shape))


def native(x: Tensor) -> bool:
    """Whether the C kernel serves."""
    return x.is_cpu and x.dtype in REALS and library("scalar_motion") is not None


def motion(
    x: Tensor,
    v: Tensor,
    drifts: Sequence[float],
    kicks: Sequence[float],
    steps: float | Tensor,
    couplings: tuple[float, float, float],
    modes: FewModes | None = None,
    out: "tuple[Tensor, Tensor] | None" = None,
) -> tuple[Tensor, Tensor]:
    """x += d v and v += k C F(x) in turn, of [batch, components, *lattice]; `couplings` (h, a, g) of the action.

    steps     unit of the drifts and kicks, for all or [batch, 1, ...]
    """
    x, v = plain(x).clone(), plain(v).clone()
    lattice = tuple(x.shape[2:])
    n, fields = lattice[-1], x.shape[0] * x.shape[1]
    wide = 8 if x.dtype == torch.float32 else 4
    around = outer_rows(lattice, _unit_steps(len(lattice)))
    step = torch.as_tensor(steps, dtype=torch.float64).reshape(-1, 1).expand(x.shape[0], x.shape[1]).contiguous()
    numbers = [torch.tensor(list(drifts), dtype=torch.float64), torch.tensor(list(kicks), dtype=torch.float64), step]
    if modes is None:
        tables, sizes = [None] * 4, (0, 0)
    else:
        M, m = modes.factor.shape
        up = lambda k: -(-k // wide) * wide
        inner = torch.nn.functional.pad(modes.inner, (0, up(modes.inner.shape[1] + 2) - modes.inner.shape[1]))
        tables = [modes.outer.T.contiguous(), inner, torch.nn.functional.pad(modes.inner.T, (0, up(m) - m)).contiguous(), torch.nn.functional.pad(modes.factor, (0, up(m) - m)).contiguous()]
        sizes = (M, m)
    shift, ratio = out or (None, None)
    tensors = [x, v, around, *numbers, *tables, shift, ratio]
    pointers = [None if t is None else t.data_ptr() for t in tensors]
    _function(x.dtype)(*pointers, fields, math.prod(lattice[:-1]), n, 2 * (len(lattice) - 1), len(kicks), *sizes, *couplings)
    return x, v


@functools.cache
def _function(dtype: torch.dtype) -> "ctypes._NamedFuncPointer":
    function: ctypes._NamedFuncPointer = getattr(library("scalar_motion"), f"trajectory_{REALS[dtype]}")
    function.argtypes = [ctypes.c_void_p] * 12 + [ctypes.c_int64] * 7 + [ctypes.c_double] * 3
    function.restype = None
    return function

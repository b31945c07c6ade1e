"""The functions of sun_torch.py for N = 2 and 3 on a CPU, in C: su2.c, su3.c and determinant.c."""

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels.native import REALS, library, on_large_pages, plain

LARGEST, LEAST_PIVOT = 16, 0.01  # of the determinants: their size, and their smallest pivot beside the largest entry

_LIBRARY = {2: "su2", 3: "su3"}
# What goes into each kernel, what comes out, and numbers that follow: m matrices, w coordinates, a angles or
# eigenvalues, t complex numbers; i a whole number, r a real one.
_RECORDS = {
    "product": ("mm", "m", "ii"),
    "trace_product": ("mm", "t", ""),
    "exp": ("w", "m", ""),
    "exp_gradient": ("wm", "w", ""),
    "log": ("m", "wam", ""),
    "log_gradient": ("amw", "m", ""),
    "eigh": ("m", "am", ""),
    "eigh_gradient": ("amam", "m", ""),
    "spectrum": ("m", "am", "r"),
    "spectrum_gradient": ("ama", "m", ""),
    "recompose": ("ma", "m", ""),
    "recompose_gradient": ("amam", "ma", ""),
    "project": ("m", "m", ""),
    "project_gradient": ("mmm", "m", ""),
}


def serves(n: int, like: Tensor) -> bool:
    """Whether there is C for N = n on the device of `like`."""
    return like.is_cpu and n in _LIBRARY and library(_LIBRARY[n]) is not None


@functools.cache
def _kernel(name: str, n: int, dtype: torch.dtype) -> tuple[Any, int, list[tuple[tuple[int, ...], torch.dtype, bool]]]:
    """The C function, the number of axes behind the leading ones of its first input, and of each output its shape
    behind them, its dtype, and whether both are those of the first input.
    """
    inputs, outputs, numbers = _RECORDS[name]
    real, many = dtype.to_real(), dtype.to_complex()
    records = {"m": ((n, n), many), "w": ((n * n - 1,), real), "a": ((n,), real), "t": ((), many)}
    kinds = {"i": ctypes.c_int64, "r": getattr(ctypes, f"c_{REALS[real]}")}
    function = getattr(library(_LIBRARY[n]), f"{name}_{REALS[real]}")
    pointers = [ctypes.c_void_p] * len(inputs + outputs)
    function.argtypes = [*pointers, *(kinds[k] for k in numbers), ctypes.c_int64]
    function.restype = None
    return function, len(records[inputs[0]][0]), [(*records[k], k == inputs[0]) for k in outputs]


def run(name: str, n: int, tensors: tuple[Tensor, ...], numbers: tuple[float, ...]) -> Any:
    """The function `name` of sun_torch.py: a tensor, or a tuple of them."""
    inputs = [plain(t) for t in tensors]
    first = inputs[0]
    function, axes, records = _kernel(name, n, first.dtype)
    lead = first.shape[: first.dim() - axes]
    out = [
        on_large_pages(torch.empty_like(first) if same else torch.empty(lead + tail, dtype=dtype))
        for tail, dtype, same in records
    ]
    function(*[t.data_ptr() for t in inputs], *[t.data_ptr() for t in out], *numbers, lead.numel())
    return out[0] if len(out) == 1 else tuple(out)


# ---------------------------------------------------------------- determinants


@functools.cache
def _determinant(name: str, dtype: torch.dtype) -> Any:
    function = getattr(library("determinant"), f"{name}_{REALS[dtype]}")
    function.argtypes, function.restype = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2, None
    return function


def logdet(m: Tensor) -> Tensor | None:
    """log|det m|, or None where elimination without pivots will not do: no C, a large m, a small pivot."""
    n = m.shape[-1]
    if m.device.type != "cpu" or m.dtype not in REALS or not 1 <= n <= LARGEST or library("determinant") is None:
        return None
    m = plain(m)
    out, least = m.new_empty(m.shape[:-2]), ctypes.c_double() if m.dtype == torch.float64 else ctypes.c_float()
    _determinant("logdet", m.dtype)(m.data_ptr(), out.data_ptr(), ctypes.addressof(least), n, out.numel())
    return out if least.value >= LEAST_PIVOT else None


def logdet_gradient(m: Tensor, g: Tensor) -> Tensor:
    """g m^{-T}, for matrices of which `logdet` gave a number."""
    m, g = plain(m), plain(g)
    out = torch.empty_like(m)
    _determinant("logdet_gradient", m.dtype)(m.data_ptr(), g.data_ptr(), out.data_ptr(), m.shape[-1], g.numel())
    return out

"""The functions of sun_torch.py for N = 2 and 3 on a CPU, in C: su2.c and su3.c."""

import functools
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels.native import call, library, on_large_pages, plain

_LIBRARY = {2: "su2", 3: "su3"}
# What goes into each kernel and what comes out: m matrices, w coordinates, a angles or eigenvalues, t complex numbers.
_RECORDS = {
    "product": ("mm", "m"),
    "trace_product": ("mm", "t"),
    "exp": ("w", "m"),
    "exp_gradient": ("wm", "w"),
    "log": ("m", "wam"),
    "log_gradient": ("amw", "m"),
    "eigh": ("m", "am"),
    "eigh_gradient": ("amam", "m"),
    "spectrum": ("m", "am"),
    "spectrum_gradient": ("ama", "m"),
    "recompose": ("ma", "m"),
    "recompose_gradient": ("amam", "ma"),
    "restore": ("m", "m"),
    "project": ("m", "m"),
    "project_gradient": ("mmm", "m"),
}


def serves(n: int, like: Tensor) -> bool:
    """Whether there is C for N = n on the device of `like`."""
    return like.is_cpu and n in _LIBRARY and library(_LIBRARY[n]) is not None


@functools.cache
def _shapes(name: str, n: int, dtype: torch.dtype) -> tuple[int, list[tuple[tuple[int, ...], torch.dtype, bool]]]:
    """The number of axes behind the leading ones of the first input, and of each output its shape behind them, its
    dtype, and whether both are those of the first input.
    """
    inputs, outputs = _RECORDS[name]
    real, many = dtype.to_real(), dtype.to_complex()
    records = {"m": ((n, n), many), "w": ((n * n - 1,), real), "a": ((n,), real), "t": ((), many)}
    return len(records[inputs[0]][0]), [(*records[k], k == inputs[0]) for k in outputs]


def run(name: str, n: int, tensors: tuple[Tensor, ...], numbers: tuple[float, ...]) -> Any:
    """The function `name` of sun_torch.py: a tensor, or a tuple of them."""
    inputs = [plain(t) for t in tensors]
    first = inputs[0]
    axes, records = _shapes(name, n, first.dtype)
    lead = first.shape[: first.dim() - axes]
    out = [
        on_large_pages(torch.empty_like(first) if same else first.new_empty(lead + tail, dtype=dtype))
        for tail, dtype, same in records
    ]
    call(_LIBRARY[n], name, first.dtype, *inputs, *out, *numbers, lead.numel())
    return out[0] if len(out) == 1 else tuple(out)

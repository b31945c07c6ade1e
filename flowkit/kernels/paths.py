"""Path-ordered products of the links of a gauge field, and their gradients, in one go.

On a CPU the kernels of N = 2 and 3 are C that works on one element of the batch for each lane of a vector register and
keeps nothing for the gradient but the links; elsewhere they are torch, with the same results.
"""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels.native import REALS, library, plain
from flowkit.kernels.sun import multiply

__all__ = ["path_products", "products", "put_links"]
_once = torch.autograd.function.once_differentiable
Path = tuple[Tensor, tuple[int, ...]]  # index [steps, M] and the sign of each step


def path_products(x: Tensor, index: Tensor, signs: tuple[int, ...]) -> Tensor:
    """op(x_1) op(x_2) ... op(x_steps) along M paths, op the adjoint where the sign is negative.

    x         complex [batch, links, N, N]
    index     int64 [steps, M], the link of each step of each path
    signs     1 or -1 for each step, the same for all paths
    Returns   [M, batch, N, N], with gradient of first order
    Raises    ValueError for other shapes, dtypes or signs, or links that are not there
    """
    return products(x, [(index, signs)])[0]


def products(x: Tensor, paths: Sequence[Path]) -> tuple[Tensor, ...]:
    """`path_products` of several sets of paths (index, signs), whose gradients are added up in one tensor.

    Raises    ValueError as `path_products`
    """
    _check("path_products takes", x)
    for index, signs in paths:
        _check_index("path_products takes", x, index, 2)
        if len(signs) != len(index) or not len(signs) or any(sign not in (1, -1) for sign in signs):
            raise ValueError(f"path_products takes a sign 1 or -1 for each of {len(index)} steps; got {tuple(signs)}.")
    if not _serves(x):
        return tuple(_product(x, *path) for path in paths)
    if not (x.requires_grad and torch.is_grad_enabled()):
        return _forward(plain(x), paths)
    out: tuple[Tensor, ...] = _Products.apply(x, paths)  # type: ignore[no-untyped-call]
    return out


def put_links(x: Tensor, active: Tensor, v: Tensor) -> Tensor:
    """x with the active links replaced: y[b, active[m]] = v[m, b].

    x         complex [batch, links, N, N]
    active    int64 [M], links that differ from one another
    v         [M, batch, N, N]
    Returns   [batch, links, N, N], with gradient of first order
    Raises    ValueError for other shapes or dtypes, or links that are not there
    """
    _check("put_links takes", x)
    _check_index("put_links takes", x, active, 1)
    if v.shape != (len(active), len(x), *x.shape[2:]) or v.dtype != x.dtype or v.device != x.device:
        shape = [len(active), len(x), *x.shape[2:]]
        raise ValueError(
            f"put_links takes new links {x.dtype} {shape} on {x.device}; got {v.dtype} {list(v.shape)} on {v.device}."
        )
    if not _serves(x):
        _check_range(x, active)
        return x.index_copy(1, active, v.transpose(0, 1))
    if not ((x.requires_grad or v.requires_grad) and torch.is_grad_enabled()):
        return _put(x, active, v)
    out: Tensor = _PutLinks.apply(x, active, v)  # type: ignore[no-untyped-call]
    return out


# ---------------------------------------------------------------- checks and choices


def _check(who: str, x: Tensor) -> None:
    if not x.is_complex() or x.dim() != 4 or not 2 <= x.shape[-1] == x.shape[-2]:
        raise ValueError(f"{who} complex links [batch, links, N, N]; got {x.dtype} of shape {list(x.shape)}.")


def _check_index(who: str, x: Tensor, index: Tensor, axes: int) -> None:
    if index.dtype != torch.int64 or index.dim() != axes or index.device != x.device:
        shape = "[steps, M]" if axes == 2 else "[M]"
        raise ValueError(
            f"{who} an index int64 {shape} on {x.device}; got {index.dtype} of shape {list(index.shape)} on "
            f"{index.device}."
        )


def _check_range(x: Tensor, index: Tensor) -> None:
    """As the C kernels check it. Not on a GPU, which says so itself."""
    if index.is_cpu and index.numel() and not 0 <= int(index.min()) <= int(index.max()) < x.shape[1]:
        raise ValueError(_absent(x))


def _absent(x: Tensor) -> str:
    return f"An index names links that are not among 0 to {x.shape[1] - 1}."


def _serves(x: Tensor) -> bool:
    """Whether there is C for these links."""
    return x.is_cpu and x.shape[-1] in (2, 3) and x.dtype.to_real() in REALS and library("paths") is not None


@functools.cache
def _kernel(name: str, n: int, dtype: torch.dtype, pointers: int, numbers: int) -> Any:
    function = getattr(library("paths"), f"{name}_{n}_{REALS[dtype.to_real()]}")
    function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * numbers
    function.restype = ctypes.c_int
    return function


def _run(name: str, x: Tensor, pointers: Sequence[Tensor | ctypes.Array[ctypes.c_int64]], *numbers: int) -> None:
    """The C function of that name.

    Raises    ValueError for links that are not there, MemoryError
    """
    addresses = [p.data_ptr() if isinstance(p, Tensor) else ctypes.addressof(p) for p in pointers]
    status = _kernel(name, x.shape[-1], x.dtype, len(pointers), len(numbers))(*addresses, *numbers)
    if status == 0:
        raise ValueError(_absent(x))
    if status < 0:
        raise MemoryError("No memory is left for the gradient of products along paths.")


def _signs(signs: tuple[int, ...]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(signs))(*signs)


# ---------------------------------------------------------------- products


def _product(x: Tensor, index: Tensor, signs: tuple[int, ...]) -> Tensor:
    """`path_products` in torch."""
    _check_range(x, index)
    rows = x.transpose(0, 1).index_select(0, index.flatten())
    steps = rows.view(*index.shape, *rows.shape[1:]).unbind(0)
    product, flip = steps[0], signs[0] < 0
    for step, sign in zip(steps[1:], signs[1:], strict=True):
        product, flip = multiply(product, step, flip, sign < 0), False
    return product.mH if flip else product


def _forward(x: Tensor, paths: Sequence[Path]) -> tuple[Tensor, ...]:
    batch, links, n, _ = x.shape
    out = []
    for index, signs in paths:
        steps, count = index.shape
        out.append(x.new_empty(count, batch, n, n))
        _run("products", x, [x, index.contiguous(), _signs(signs), out[-1]], links, steps, count, batch)
    return tuple(out)


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, paths: Sequence[Path]) -> Any:
        ctx.set_materialize_grads(False)
        x = plain(x)
        ctx.save_for_backward(x)
        ctx.paths = paths
        return _forward(x, paths)

    @staticmethod
    @_once
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        (x,) = ctx.saved_tensors
        batch, links = x.shape[:2]
        to_x, seen = torch.empty_like(x), torch.zeros(links, dtype=torch.uint8, device=x.device)
        for (index, signs), g in zip(ctx.paths, gradients, strict=True):
            if g is not None:
                first = torch.empty(index.shape, dtype=torch.uint8, device=x.device)
                tensors = [x, index.contiguous(), _signs(signs), plain(g), to_x, seen, first]
                _run("gradient", x, tensors, links, *index.shape, batch)
        _run("clear", x, [to_x, seen], links, batch)
        return to_x, None


# ---------------------------------------------------------------- links put back


def _put(x: Tensor, active: Tensor, v: Tensor) -> Tensor:
    x, v = plain(x), plain(v)
    y = torch.empty_like(x)
    _run("put", x, [x, active.contiguous(), v, y], x.shape[1], len(active), len(x))
    return y


class _PutLinks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, active: Tensor, v: Tensor) -> Tensor:
        ctx.active = active.contiguous()
        return _put(x, active, v)

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, Tensor]:
        g, active = plain(g), ctx.active
        to_x, to_v = torch.empty_like(g), g.new_empty(len(active), len(g), *g.shape[2:])
        _run("put_gradient", g, [g, active, to_x, to_v], g.shape[1], len(active), len(g))
        return to_x, None, to_v

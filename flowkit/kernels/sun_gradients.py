"""The functions of sun.py as nodes of autograd: each has its gradient written by hand, in C or in torch."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels import sun_native, sun_torch
from flowkit.kernels.native import once, one_of


def _recording(a: Tensor, b: Tensor) -> bool:
    return (a.requires_grad or b.requires_grad) and torch.is_grad_enabled()


def _together(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """a and b with the leading axes of both."""
    if a.shape == b.shape:
        return a, b
    shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]
    return a.expand(shape), b.expand(shape)


def product(a: Tensor, b: Tensor, adjoint_a: bool, adjoint_b: bool) -> Tensor:
    """op(a) op(b), with a graph where one is recorded."""
    if not _recording(a, b):
        return _product(a, b, adjoint_a, adjoint_b)
    return one_of(_Multiply, a, b, adjoint_a, adjoint_b)


def trace(a: Tensor, b: Tensor) -> Tensor:
    """Tr(a b^dagger), with a graph where one is recorded."""
    if not _recording(a, b):
        return _trace(a, b)
    return one_of(_TraceProduct, a, b)


def _product(a: Tensor, b: Tensor, adjoint_a: bool, adjoint_b: bool) -> Tensor:
    out: Tensor = _run("product", *_together(a, b), numbers=(adjoint_a, adjoint_b))
    return out


def _trace(a: Tensor, b: Tensor) -> Tensor:
    out: Tensor = _run("trace_product", *_together(a, b))
    return out


def _reduced(g: Tensor, like: Tensor) -> Tensor:
    """The gradient of a broadcast tensor: summed over the axes along which it was repeated."""
    return g if g.shape == like.shape else g.sum_to_size(like.shape)


def _run(name: str, *tensors: Tensor, numbers: tuple[Any, ...] = ()) -> Any:
    """The function `name` of sun_torch, in C where there is C for these matrices."""
    first = tensors[0]
    n = math.isqrt(first.shape[-1] + 1) if name in ("exp", "exp_gradient") else first.shape[-1]
    if sun_native.serves(n, first):
        return sun_native.run(name, n, tensors, numbers)
    return getattr(sun_torch, name)(*tensors, *numbers)


def restore(x: Tensor) -> Tensor:
    """Matrices that are a small distance d off the group, brought within d^2 of it; differentiable through torch."""
    if torch.is_grad_enabled() and x.requires_grad:
        return sun_torch.restore(x)
    out: Tensor = _run("restore", x)
    return out


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, adjoint_a: bool, adjoint_b: bool) -> Any:
        ctx.save_for_backward(a, b)
        ctx.flags = adjoint_a, adjoint_b
        return _product(a, b, adjoint_a, adjoint_b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        a, b = ctx.saved_tensors
        adjoint_a, adjoint_b = ctx.flags
        to_a = to_b = None
        if ctx.needs_input_grad[0]:  # G op(b)^dagger, or its adjoint
            to_a = product(b, g, adjoint_b, True) if adjoint_a else product(g, b, False, not adjoint_b)
            to_a = _reduced(to_a, a)
        if ctx.needs_input_grad[1]:
            to_b = product(g, a, True, adjoint_a) if adjoint_b else product(a, g, not adjoint_a, False)
            to_b = _reduced(to_b, b)
        return to_a, to_b, None, None


class _TraceProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Any:
        ctx.save_for_backward(a, b)
        return _trace(a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g = gradients[0][..., None, None]
        a, b = ctx.saved_tensors
        to_a = _reduced(g * b, a) if ctx.needs_input_grad[0] else None
        to_b = _reduced(g.conj() * a, b) if ctx.needs_input_grad[1] else None
        return to_a, to_b


_KEPT: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "exp": lambda w, u: (w,),
    "log": lambda u, w, angles, vectors: (angles, vectors),
    "project": lambda m, x: (m, x),
    "eigh": lambda h, values, vectors: (values, vectors),
    "spectrum": lambda u, angles, vectors: (angles, vectors),
}
"""What the gradient of a function reads, of its inputs and outputs."""


class Kernel(torch.autograd.Function):
    """The function `name` of sun_torch and its gradient, which takes what _KEPT says and the gradients that come in."""

    @staticmethod
    def forward(ctx: Any, name: str, numbers: tuple[float, ...], *inputs: Tensor) -> Any:
        out = _run(name, *inputs, numbers=numbers)
        ctx.save_for_backward(*inputs, *_KEPT[name](*inputs, *(out if isinstance(out, tuple) else (out,))))
        ctx.name, ctx.inputs = name, len(inputs)
        if name == "spectrum":
            ctx.mark_non_differentiable(out[1])
        return out[0] if name == "log" else out

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        gradients = gradients[:1] if ctx.name == "spectrum" else gradients
        return None, None, _run(f"{ctx.name}_gradient", *ctx.saved_tensors[ctx.inputs :], *gradients)


class Recompose(torch.autograd.Function):
    """`recompose` of sun.py, whose gradient reaches u although its value is made of the vectors alone."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, angles: Tensor, vectors: Tensor, new: Tensor) -> Any:
        ctx.save_for_backward(angles, vectors, new, u)  # u for `once` alone, which asks what the result depends on
        return _run("recompose", vectors, new)

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_u, to_new = _run("recompose_gradient", *ctx.saved_tensors[:3], *gradients)
        return to_u, None, None, to_new

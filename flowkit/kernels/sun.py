"""Matrices of SU(N): products, exp and log, projection, eigenvalues, and their gradients.

Fields are complex [..., N, N], algebra coordinates w^a real [..., N^2 - 1] in the basis `generators`. On a CPU the
kernels of N = 2 and 3 are C that works on one matrix for each lane of a vector register; elsewhere they are torch, with
the same results. Gradients are of first order (products: of any), written by hand, and finite at equal eigenvalues.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels import sun_native, sun_torch
from flowkit.kernels.algebra import algebra, coordinates, generators
from flowkit.kernels.native import REALS, once

__all__ = [
    "algebra",
    "coordinates",
    "eigh",
    "exp",
    "generators",
    "log",
    "multiply",
    "project",
    "recompose",
    "spectrum",
    "trace_product",
]
SEPARATION = {torch.complex64: 4e-6, torch.complex128: 1e-11}  # of angles that `spectrum` finds equal, radians


def multiply(a: Tensor, b: Tensor, adjoint_a: bool = False, adjoint_b: bool = False) -> Tensor:
    """op(a) op(b), op the adjoint where asked for.

    a, b      complex [..., N, N]; leading axes broadcast as in matmul
    Raises    ValueError for other shapes, or different dtypes or devices
    """
    _check("multiply", a, b)
    # An adjoint that torch has not carried out yet, as a.mH is, becomes a flag.
    if a.is_conj():
        a, adjoint_a = a.mH, not adjoint_a
    if b.is_conj():
        b, adjoint_b = b.mH, not adjoint_b
    if not _recording(a, b):
        return _product(a, b, adjoint_a, adjoint_b)
    out: Tensor = _Multiply.apply(a, b, adjoint_a, adjoint_b)  # type: ignore[no-untyped-call]
    return out


def trace_product(a: Tensor, b: Tensor) -> Tensor:
    """Tr(a b^dagger), complex [...].

    Raises    ValueError for anything but complex [..., N, N] of one dtype on one device
    """
    _check("trace_product", a, b)
    if not _recording(a, b):
        return _trace(a, b)
    out: Tensor = _TraceProduct.apply(a, b)  # type: ignore[no-untyped-call]
    return out


def exp(w: Tensor) -> Tensor:
    """exp(i w^a T_a), real [..., N^2 - 1] -> complex [..., N, N].

    Raises    ValueError for a last axis that is no N^2 - 1, or other numbers than float32 and float64
    """
    n = math.isqrt(w.shape[-1] + 1) if w.dim() else 0
    if w.dtype not in REALS or n < 2 or n * n - 1 != w.shape[-1]:
        raise ValueError(f"exp takes real coordinates [..., N^2 - 1]; got {w.dtype} of shape {list(w.shape)}.")
    out: Tensor = _Kernel.apply("exp", (), w)  # type: ignore[no-untyped-call]
    return out


def log(u: Tensor) -> Tensor:
    """w with exp(w) = u on the principal branch: eigenvalues e^{i angle} with angles as in `spectrum`.

    u         elements of SU(N), [..., N, N]
    Returns   real [..., N^2 - 1]; the gradient, infinite where two eigenvalues meet at the cut, is finite there
    """
    _check("log", u)
    out: Tensor = _Kernel.apply("log", (), u)  # type: ignore[no-untyped-call]
    return out


def project(m: Tensor) -> Tensor:
    """m (m^dagger m)^{-1/2}, the phase of its determinant removed in equal parts from all eigenvalues.

    The phase is taken in (-pi/2, 3 pi/2]: that of a sum of two group elements is 0 or pi, far from the cut, where the
    result jumps. A singular m, whose polar factor is not unique, gives one of the nearest elements; m = 0 gives the
    identity.
    """
    _check("project", m)
    out: Tensor = _Kernel.apply("project", (), m)  # type: ignore[no-untyped-call]
    return out


def eigh(h: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues [..., N] and eigenvectors, the columns of [..., N, N], of Hermitian matrices.

    In the gradient through the vectors, 1 / (l_k - l_j) of equal eigenvalues counts as 0.
    """
    _check("eigh", h)
    values, vectors = _Kernel.apply("eigh", (), h)  # type: ignore[no-untyped-call]
    return values, vectors


def spectrum(u: Tensor) -> tuple[Tensor, Tensor]:
    """Angles and eigenvectors, u = V diag(e^{i angle}) V^dagger, the angles in the Weyl alcove:

    angle_1 <= ... <= angle_N <= angle_1 + 2 pi, with the sum 0.

    u         elements of SU(N), [..., N, N]
    Returns   angles [..., N], radians, whose gradient reaches u; vectors [..., N, N], detached. Angles closer than
              SEPARATION (modulo 2 pi) are set that far apart: differences of maps of them stay meaningful where
              eigenvalues are equal
    """
    _check("spectrum", u)
    angles, vectors = _Kernel.apply("spectrum", (SEPARATION[u.dtype],), u)  # type: ignore[no-untyped-call]
    return angles, vectors


def recompose(u: Tensor, angles: Tensor, vectors: Tensor, new: Tensor) -> Tensor:
    """V diag(e^{i new}) V^dagger for the angles and vectors of `spectrum(u)`.

    The gradient reaches `new`, and u through the rotation of its eigenvectors, which a change of u turns by
    (e^{i new_j} - e^{i new_k}) / (e^{i angle_j} - e^{i angle_k}) in the plane of j and k. The ratio has a limit at
    equal angles where `new` is a Weyl-equivariant function of them; for angles that are equal nonetheless it is 1.
    The gradient does not reach `angles`.

    Raises    ValueError for shapes, dtypes or devices that do not belong together
    """
    _check("recompose", u, vectors)
    if u.shape != vectors.shape or angles.shape != u.shape[:-1] or new.shape != angles.shape:
        shapes = ", ".join(str(list(t.shape)) for t in (u, angles, vectors, new))
        raise ValueError(f"recompose takes [..., N, N], [..., N], [..., N, N], [..., N]; got {shapes}.")
    real = u.dtype.to_real()
    if not angles.dtype == new.dtype == real or not angles.device == new.device == u.device:
        raise ValueError(
            f"recompose takes angles {real} on {u.device} for matrices {u.dtype}; got {angles.dtype} on "
            f"{angles.device} and {new.dtype} on {new.device}."
        )
    out: Tensor = _Recompose.apply(u, angles, vectors, new)  # type: ignore[no-untyped-call]
    return out


# ---------------------------------------------------------------- checks and choices


def _check(who: str, first: Tensor, second: Tensor | None = None) -> None:
    for m in (first,) if second is None else (first, second):
        if m.dtype not in SEPARATION or m.dim() < 2 or not 2 <= m.shape[-1] == m.shape[-2]:
            raise ValueError(f"{who} takes complex matrices [..., N, N]; got {m.dtype} of shape {list(m.shape)}.")
    if second is None:
        return
    if second.dtype != first.dtype or second.shape[-1] != first.shape[-1]:
        raise ValueError(
            f"{who} takes matrices of one dtype and size; got {first.dtype} {list(first.shape)} and {second.dtype} "
            f"{list(second.shape)}."
        )
    if second.device != first.device:
        raise ValueError(f"{who} takes matrices on one device; got {first.device} and {second.device}.")


def _recording(a: Tensor, b: Tensor) -> bool:
    return (a.requires_grad or b.requires_grad) and torch.is_grad_enabled()


def _together(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """a and b with the leading axes of both."""
    if a.shape == b.shape:
        return a, b
    shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]
    return a.expand(shape), b.expand(shape)


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


# ---------------------------------------------------------------- gradients


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
            to_a = multiply(b, g, adjoint_b, True) if adjoint_a else multiply(g, b, False, not adjoint_b)
            to_a = _reduced(to_a, a)
        if ctx.needs_input_grad[1]:
            to_b = multiply(g, a, True, adjoint_a) if adjoint_b else multiply(a, g, not adjoint_a, False)
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


class _Kernel(torch.autograd.Function):
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


class _Recompose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, angles: Tensor, vectors: Tensor, new: Tensor) -> Any:
        ctx.save_for_backward(angles, vectors, new)
        return _run("recompose", vectors, new)

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_u, to_new = _run("recompose_gradient", *ctx.saved_tensors, *gradients)
        return to_u, None, None, to_new

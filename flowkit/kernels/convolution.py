"""Convolutions from listed sites to listed sites, batch last, and their gradients.

out[o, j, b] = bias[o] + sum_{c,t} weight[o, c, t] x[c, index[t, j], b], where index = sites reads zero.

On a CPU by a C kernel that holds a tile of the output in registers; elsewhere, or without a compiler, as a gather and
one matrix product.
"""

import ctypes

import torch
from torch import Tensor

from flowkit.kernels.native import REALS, library


def site_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
    """The convolution, [outputs, wanted sites, batch].

    x         [channels, sites, batch]
    weight    [outputs, channels, taps]
    bias      [outputs] or None
    index     [taps, wanted sites], int64
    Raises    ValueError where the dtypes differ: the C kernel reads all as x's
    """
    _one_dtype(x, weight, bias)
    outputs, channels, taps = weight.shape
    wanted, batch = index.shape[1], x.shape[2]
    kernel = _kernel("forward", x)
    if kernel is None:
        columns = _columns(x, index)
        flat = weight.reshape(outputs, -1)
        product = flat @ columns if bias is None else torch.addmm(bias[:, None], flat, columns)
        return product.view(outputs, wanted, batch)
    x, index = x.contiguous(), index.contiguous()
    if weight.stride(2) != 1:
        weight = weight.contiguous()
    out = x.new_empty(outputs, wanted, batch)
    pointers = [_pointer(t) for t in (x, weight, bias, index, out)]
    strides = weight.stride()[:2]
    sizes = [ctypes.c_int64(n) for n in (channels, taps, outputs, *strides, x.shape[1], wanted, batch)]
    kernel(*pointers, *sizes)
    return out


def site_weight_gradient(x: Tensor, grad: Tensor, index: Tensor) -> Tensor:
    """The gradient with respect to the weight, [outputs, channels, taps], for a gradient [outputs, wanted, batch]."""
    _one_dtype(x, grad)
    taps, wanted = index.shape
    outputs, channels, batch = len(grad), len(x), x.shape[2]
    kernel = _kernel("weight", x)
    if kernel is None:
        return (grad.flatten(1) @ _columns(x, index).T).view(outputs, channels, taps)
    x, grad, index = x.contiguous(), grad.contiguous(), index.contiguous()
    out = x.new_empty(outputs, channels, taps)
    sizes = [ctypes.c_int64(n) for n in (channels, taps, outputs, x.shape[1], wanted, batch)]
    kernel(*[_pointer(t) for t in (x, grad, index, out)], *sizes)
    return out


def _one_dtype(x: Tensor, *others: Tensor | None) -> None:
    bad = [t.dtype for t in others if t is not None and t.dtype != x.dtype]
    if bad:
        raise ValueError(f"A convolution has one dtype; got a field of {x.dtype} and weights of {bad[0]}.")


def _kernel(name: str, x: Tensor) -> "ctypes._NamedFuncPointer | None":
    loaded = library("site_convolution") if x.device.type == "cpu" and x.dtype in REALS else None
    return None if loaded is None else getattr(loaded, f"{name}_{REALS[x.dtype]}")


def _pointer(t: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if t is None else t.data_ptr())


def _columns(x: Tensor, index: Tensor) -> Tensor:
    """[channels, sites, batch] -> [channels * taps, wanted * batch]."""
    padded = torch.cat([x, x.new_zeros(x.shape[0], 1, x.shape[2])], 1)
    return padded.index_select(1, index.flatten()).view(-1, index.shape[1] * x.shape[2])

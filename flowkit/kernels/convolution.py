"""Convolutions from listed sites to listed sites, batch last, and their gradients.

out[o, j, b] = bias[o] + sum_{c,t} weight[o, c, t] x[c, index[t, j], b], where index = sites reads zero.

On a CPU by a C kernel that holds a tile of the output in registers; elsewhere, or without a compiler, as a gather and
one matrix product.
"""

import torch
from torch import Tensor

from flowkit.kernels.native import Strided, call, plain, takes


def site_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
    """The convolution, ``[outputs, wanted sites, batch]``.

    Parameters
    ----------
    x : Tensor
        ``[channels, sites, batch]``.
    weight : Tensor
        ``[outputs, channels, taps]``.
    bias : Tensor, optional
        ``[outputs]``.
    index : Tensor
        ``[taps, wanted sites]``, int64.

    Raises
    ------
    ValueError
        Where the dtypes differ: the C kernel reads all as x's.
    """
    _one_dtype(x, weight, bias)
    outputs, channels, taps = weight.shape
    wanted, batch = index.shape[1], x.shape[2]
    if not takes("site_convolution", x):
        return by_gather(x, weight, bias, index)
    x, index = plain(x), plain(index)
    if weight.stride(2) != 1:
        weight = weight.contiguous()
    out = x.new_empty(outputs, wanted, batch)
    sizes = channels, taps, outputs, *weight.stride()[:2], x.shape[1], wanted, batch
    call("site_convolution", "forward", x.dtype, x, Strided(weight), bias, index, out, *sizes)
    return out


def by_gather(x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
    """`site_convolution` as a gather and one matrix product, in torch."""
    columns, flat = _columns(x, index), weight.flatten(1)
    product = flat @ columns if bias is None else torch.addmm(bias[:, None], flat, columns)
    return product.view(len(weight), index.shape[1], x.shape[2])


def site_weight_gradient(x: Tensor, grad: Tensor, index: Tensor) -> Tensor:
    """The gradient with respect to the weight, [outputs, channels, taps], for a gradient [outputs, wanted, batch]."""
    _one_dtype(x, grad)
    taps, wanted = index.shape
    outputs, channels, batch = len(grad), len(x), x.shape[2]
    if not takes("site_convolution", x):
        return (grad.flatten(1) @ _columns(x, index).T).view(outputs, channels, taps)
    x, grad, index = plain(x), plain(grad), plain(index)
    out = x.new_empty(outputs, channels, taps)
    call("site_convolution", "weight", x.dtype, x, grad, index, out, channels, taps, outputs, x.shape[1], wanted, batch)
    return out


def _one_dtype(x: Tensor, *others: Tensor | None) -> None:
    bad = [t.dtype for t in others if t is not None and t.dtype != x.dtype]
    if bad:
        raise ValueError(f"A convolution has one dtype; got a field of {x.dtype} and weights of {bad[0]}.")


def _columns(x: Tensor, index: Tensor) -> Tensor:
    """[channels, sites, batch] -> [channels * taps, wanted * batch]."""
    padded = torch.cat([x, x.new_zeros(x.shape[0], 1, x.shape[2])], 1)
    return padded.index_select(1, index.flatten()).view(-1, index.shape[1] * x.shape[2])

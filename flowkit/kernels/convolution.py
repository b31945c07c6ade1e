"""Convolutions from listed sites to listed sites, batch last, and their gradients.

out[o, j, b] = bias[o] + sum_{c,t} weight[o, c, t] x[c, index[t, j], b], where index = sites reads zero.

On a CPU by a C kernel that holds a tile of the output in registers; elsewhere, or without a compiler, as a gather and
one matrix product.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit.kernels.native import Strided, call, plain, takes

TILE = 8
"""Outputs that the C kernel computes at once."""
UNITS = 128
"""Vectors of the batch that its gradient of a weight sums at once."""


def site_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
    """The convolution, ``[outputs, wanted sites, batch]``.

    Parameters
    ----------
    x : Tensor
        ``[channels, sites, batch]``.
    weight : Tensor
        ``[outputs, channels, taps]``, or ``[groups, outputs, channels, taps]`` with outputs and channels of one group:
        each group of outputs reads a group of channels of its own.
    bias : Tensor, optional
        ``[outputs]``, of all groups.
    index : Tensor
        ``[taps, wanted sites]``, int64.

    Raises
    ------
    ValueError
        Where the dtypes differ: the C kernel reads all as x's.
    """
    _one_dtype(x, weight, bias)
    if not takes("site_convolution", x):
        return by_gather(x, weight, bias, index)
    weight = weight if weight.dim() == 4 else weight[None]
    groups, outputs, channels, taps = weight.shape
    wanted, batch = index.shape[1], x.shape[2]
    x, index = plain(x), plain(index)
    if weight.stride(3) != 1:
        weight = weight.contiguous()
    out, packed = x.new_empty(groups * outputs, wanted, batch), x.new_empty(groups, outputs + TILE, channels, taps)
    state = index.new_empty(taps)
    sizes = groups, channels, taps, outputs, *weight.stride()[:3], x.shape[1], wanted, batch
    call("site_convolution", "forward", x.dtype, x, Strided(weight), bias, index, packed, state, out, *sizes)
    return out


def by_gather(x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
    """`site_convolution` as a gather and one matrix product, in torch."""
    columns, shape = _columns(x, index), (-1, index.shape[1], x.shape[2])
    if weight.dim() == 4:
        product = weight.flatten(2) @ columns.view(len(weight), -1, columns.shape[1])
        return (product.flatten(0, 1) if bias is None else product.flatten(0, 1) + bias[:, None]).view(shape)
    flat = weight.flatten(1)
    return (flat @ columns if bias is None else torch.addmm(bias[:, None], flat, columns)).view(shape)


def by_slices(x: Tensor, weight: Tensor, bias: Tensor | None, lattice: Sequence[int]) -> Tensor:
    """The convolution of all sites of a lattice by torch's of up to three dimensions; in four the sum of those of three
    for the slices that the taps of the first axis read.
    """
    inner, slices = lattice[-3:], math.prod(lattice[:-3])
    side = round(weight.shape[2] ** (1 / len(lattice)))
    field = x.reshape(len(x), slices, *inner, -1).movedim(-1, 0).transpose(1, 2).flatten(0, 1)
    for axis, size in enumerate(inner):
        around = torch.arange(-(side // 2), size + side // 2, device=x.device) % size
        field = field.index_select(2 + axis, around)
    shaped = weight.reshape(*weight.shape[:2], -1, *[side] * len(inner))
    batch, reach = x.shape[2], weight.shape[2] // side ** len(inner) // 2
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(inner) - 1]
    total = x.new_zeros(batch, slices, len(weight), *inner)
    for t in range(shaped.shape[2]):
        total = total + convolve(field, shaped[:, :, t]).view(total.shape).roll(reach - t, 1)
    out = total.transpose(1, 2).movedim(0, -1).reshape(len(weight), x.shape[1], batch)
    return out if bias is None else out + bias[:, None, None]


def site_weight_gradient(x: Tensor, grad: Tensor, index: Tensor, groups: int = 1) -> Tensor:
    """The gradient with respect to the weight, [groups, outputs, channels, taps], for a gradient [groups * outputs,
    wanted, batch].
    """
    _one_dtype(x, grad)
    taps, wanted = index.shape
    outputs, channels, batch = len(grad) // groups, len(x) // groups, x.shape[2]
    if not takes("site_convolution", x):
        columns = _columns(x, index).view(groups, channels * taps, -1)
        return (grad.reshape(groups, outputs, -1) @ columns.mT).view(groups, outputs, channels, taps)
    x, grad, index = plain(x), plain(grad), plain(index)
    out, packed = x.new_empty(groups, outputs, channels, taps), x.new_empty(outputs + TILE, UNITS * 16)
    sizes = groups, channels, taps, outputs, x.shape[1], wanted, batch
    call("site_convolution", "weight", x.dtype, x, grad, index, packed, index.new_empty(taps), out, *sizes)
    return out


def _one_dtype(x: Tensor, *others: Tensor | None) -> None:
    bad = [t.dtype for t in others if t is not None and t.dtype != x.dtype]
    if bad:
        raise ValueError(f"A convolution has one dtype; got a field of {x.dtype} and weights of {bad[0]}.")


def _columns(x: Tensor, index: Tensor) -> Tensor:
    """[channels, sites, batch] -> [channels * taps, wanted * batch]."""
    padded = torch.cat([x, x.new_zeros(x.shape[0], 1, x.shape[2])], 1)
    return padded.index_select(1, index.flatten()).view(-1, index.shape[1] * x.shape[2])

"""Periodic convolutions from chosen sites to chosen sites of a lattice, in any dimension.

A coupling needs its network on the active sites alone, and feeds it from frozen sites alone. So a convolution here
reads listed sites and writes listed sites, with the batch as the last axis, so that every read is a whole row. Each
layer computes just the sites that the layers after it read.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.kernels.convolution import by_gather, site_convolution, site_weight_gradient
from flowkit.kernels.native import differentiated

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
}


def stencil(kernel: int, ndim: int) -> Tensor:
    """Offsets of a cubic kernel, [taps, ndim]."""
    reach = range(-(kernel // 2), kernel // 2 + 1)
    return torch.tensor(list(itertools.product(reach, repeat=ndim)))


def neighbours(sites: Tensor, lattice: Sequence[int], kernel: int) -> Tensor:
    """Flat indices of the sites under each tap of the kernel, [taps, len(sites)]."""
    index, rest = torch.zeros(1, len(sites), dtype=torch.long), sites
    strides = [math.prod(lattice[axis + 1 :]) for axis in range(len(lattice))]
    offsets = stencil(kernel, len(lattice))
    for axis, (size, stride) in enumerate(zip(lattice, strides, strict=True)):
        coordinate = rest // stride % size
        index = index + (coordinate + offsets[:, axis : axis + 1]) % size * stride
    return index


class _Gather(torch.autograd.Function):
    """out[:, j] = bias + W sum over taps t of x[:, index[t, j]], with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, index, inverse)
        return site_convolution(x, weight, bias, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        x, weight, index, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            to_x, to_w = differentiated(lambda x, w: by_gather(x, w, None, index), (x, weight), (grad,))
            return to_x, to_w, grad.sum((1, 2)) if ctx.needs_input_grad[2] else None, None, None
        grad_x = grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_x = site_convolution(grad, weight.transpose(0, 1), None, inverse)
        if ctx.needs_input_grad[1]:
            grad_w = site_weight_gradient(x, grad, index)
        if ctx.needs_input_grad[2]:
            grad_b = grad.sum((1, 2))
        return grad_x, grad_w, grad_b, None, None


class SiteConv(nn.Module):
    """A periodic convolution that reads the sites `inputs` (zero elsewhere) and writes the sites `outputs`.

    Field     [channels, len(inputs), batch] -> [channels, len(outputs), batch]
    Raises    ValueError for an even kernel
    """

    index: Tensor
    inverse: Tensor

    def __init__(
        self,
        lattice: Sequence[int],
        channels: tuple[int, int],
        kernel: int,
        inputs: Tensor,
        outputs: Tensor,
        bias: bool = True,
    ):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"A convolution needs an odd kernel; got {kernel}.")
        taps = kernel ** len(lattice)
        place = torch.full((math.prod(lattice),), len(inputs))
        place[inputs] = torch.arange(len(inputs))
        index = place[neighbours(outputs, lattice, kernel)]
        inverse = torch.full((taps, len(inputs) + 1), len(outputs))
        inverse.scatter_(1, index, torch.arange(len(outputs)).expand(taps, -1))
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("inverse", inverse[:, :-1].contiguous(), persistent=False)
        self.pointwise = kernel == 1 and torch.equal(inputs, outputs)
        bound = 1 / math.sqrt(channels[0] * taps)
        self.weight = nn.Parameter(torch.empty(channels[1], channels[0], taps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels[1]).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pointwise:  # nothing to gather: one product
            flat, weight = x.flatten(1), self.weight[:, :, 0]
            product = weight @ flat if self.bias is None else torch.addmm(self.bias[:, None], weight, flat)
            return product.view(-1, *x.shape[1:])
        out: Tensor = _Gather.apply(x, self.weight, self.bias, self.index, self.inverse)  # type: ignore[no-untyped-call]
        return out


class ConvNet(nn.Module):
    """Convolutions with activations between them, each on the sites that the next one reads.

    sources   for each input tensor its number of channels and its sites; their first convolutions are summed
    outputs   the sites that are wanted
    hidden    channels of the hidden layers; () makes one linear convolution
    kernel    side of every kernel, or one for each layer: (5, 1, 1) looks once and then thinks at each site
    odd       no biases and an odd activation, so that net(-x) = -net(x)
    Field     a list of [channels, len(sites), batch] -> [out_channels, len(outputs), batch]
    Raises    ValueError for an unknown activation, or an even one where `odd` is asked
    """

    def __init__(
        self,
        lattice: Sequence[int],
        sources: Sequence[tuple[int, Tensor]],
        outputs: Tensor,
        out_channels: int,
        hidden: Sequence[int] = (8, 8),
        kernel: int | Sequence[int] = 3,
        activation: str = "silu",
        odd: bool = False,
    ):
        super().__init__()
        kernels = [kernel] * (len(hidden) + 1) if isinstance(kernel, int) else list(kernel)
        if any(side < 1 or side % 2 == 0 for side in kernels):
            raise ValueError(f"A convolution needs an odd kernel; got {kernel}.")
        if len(kernels) != len(hidden) + 1:
            raise ValueError(f"A network of {len(hidden)} hidden layers needs {len(hidden) + 1} kernels; got {kernel}.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"An activation is one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
        if odd and activation != "tanh":
            raise ValueError(f"An odd network needs the activation 'tanh'; got {activation!r}.")
        sizes = [*hidden, out_channels]
        wanted = [outputs]
        for side in reversed(kernels[1:]):
            wanted.insert(0, torch.unique(neighbours(wanted[0], lattice, side)))
        self.first = nn.ModuleList(
            SiteConv(lattice, (channels, sizes[0]), kernels[0], sites, wanted[0], bias=not odd and i == 0)
            for i, (channels, sites) in enumerate(sources)
        )
        self.rest = nn.ModuleList(
            SiteConv(lattice, (sizes[i], sizes[i + 1]), kernels[i + 1], wanted[i], wanted[i + 1], bias=not odd)
            for i in range(len(hidden))
        )
        self.activation = ACTIVATIONS[activation]()
        self.last_reads = wanted[-2] if hidden else None

    def shrink(self, factor: float) -> "ConvNet":
        """Scale the weights and biases of the last layer, so that training starts near zero output."""
        with torch.no_grad():
            for layer in [self.rest[-1]] if len(self.rest) else self.first:
                for parameter in layer.parameters():
                    parameter.mul_(factor)
        return self

    def features(self, inputs: Sequence[Tensor]) -> Tensor:
        """What the last layer reads, [hidden[-1], len(self.last_reads), batch]; needs a hidden layer."""
        h = self.first[0](inputs[0])
        for conv, x in zip(self.first[1:], inputs[1:], strict=True):
            h = h + conv(x)
        for conv in self.rest[:-1]:
            h = conv(self.activation(h))
        out: Tensor = self.activation(h)
        return out

    def head(self, features: Tensor) -> Tensor:
        """The last layer, [out_channels, len(outputs), batch]."""
        out: Tensor = self.rest[-1](features)
        return out

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        if len(self.rest):
            return self.head(self.features(inputs))
        out: Tensor = self.first[0](inputs[0])
        for conv, x in zip(self.first[1:], inputs[1:], strict=True):
            out = out + conv(x)
        return out

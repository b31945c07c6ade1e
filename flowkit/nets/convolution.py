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

from flowkit.checks import MOST, Count, Kernel, Width, checked, shown
from flowkit.kernels.autocast import FullPrecision
from flowkit.kernels.convolution import by_gather, site_convolution, site_weight_gradient
from flowkit.kernels.native import differentiated
from flowkit.nets.activations import activation_of


def neighbours(sites: Tensor, lattice: Sequence[int], kernel: int) -> Tensor:
    """Flat indices of the sites under each tap of a cubic kernel, [taps, len(sites)]."""
    index = torch.zeros(1, len(sites), dtype=torch.long)
    strides = [math.prod(lattice[axis + 1 :]) for axis in range(len(lattice))]
    reach = range(-(kernel // 2), kernel // 2 + 1)
    offsets = torch.tensor(list(itertools.product(reach, repeat=len(lattice))))
    for axis, (size, stride) in enumerate(zip(lattice, strides, strict=True)):
        coordinate = sites // stride % size
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
        to_x, to_w, to_b = ctx.needs_input_grad[:3]
        groups = len(weight) if weight.dim() == 4 else 1
        grad_x = site_convolution(grad, weight.transpose(-3, -2), None, inverse) if to_x else None
        grad_w = site_weight_gradient(x, grad, index, groups).view_as(weight) if to_w else None
        return grad_x, grad_w, grad.sum((1, 2)) if to_b else None, None, None


def check_sites(lattice: Sequence[int], *sites: Tensor) -> None:
    """Raise ValueError for what are no flat indices of sites of a lattice."""
    volume = math.prod(lattice)
    for one in sites:
        if (
            one.dim() != 1
            or one.dtype != torch.long
            or (len(one) and not 0 <= int(one.min()) <= int(one.max()) < volume)
        ):
            raise ValueError(f"Sites are flat indices below {volume}, whole numbers [sites]; got {shown(one)}.")


class SiteConv(FullPrecision, nn.Module):
    r"""A periodic convolution from listed sites of a lattice to listed sites.

    Sites that are not among the inputs count as zero, and nothing is computed at sites that are not among the outputs.
    Called with ``[channels, len(inputs), batch]`` it returns ``[channels, len(outputs), batch]``.

    Parameters
    ----------
    lattice : sequence of int
        Sides, in any dimension.
    channels : tuple of int
        In and out.
    kernel : int
        Side of the cubic kernel, odd.
    inputs, outputs : Tensor
        Flat indices of the sites that are read and written.
    bias : bool
        Whether a number is added to each channel.

    Raises
    ------
    ValueError
        For an even kernel.

    Notes
    -----
    .. math:: y_o(x) = b_o + \sum_{c,\,t} w_{oct}\, u_c(x + t), \qquad t_\mu = -\tfrac{k-1}{2} \ldots \tfrac{k-1}{2}

    Examples
    --------
    Sums of three neighbours on a ring of five sites, at two of them:

    >>> import torch
    >>> from flowkit.nets import SiteConv
    >>> conv = SiteConv((5,), (1, 1), 3, torch.arange(5), torch.tensor([0, 2]), bias=False)
    >>> _ = torch.nn.init.ones_(conv.weight)
    >>> x = torch.arange(5.0).view(1, 5, 1)
    >>> conv(x).detach().flatten()          # 4 + 0 + 1 and 1 + 2 + 3
    tensor([5., 6.])
    """

    index: Tensor
    inverse: Tensor

    @checked
    def __init__(
        self,
        lattice: Sequence[Count],
        channels: tuple[Width, Width],
        kernel: Kernel,
        inputs: Tensor,
        outputs: Tensor,
        bias: bool = True,
    ):
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"A convolution needs an odd kernel; got {kernel}.")
        check_sites(lattice, inputs, outputs)
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


class ConvNet(FullPrecision, nn.Module):
    """A convolutional network of a coupling: it reads the frozen sites and writes parameters at the active ones.

    Each layer computes only those sites that the next one reads. Called with a list of tensors
    ``[channels, len(sites), batch]`` it returns ``[out_channels, len(outputs), batch]``.

    Parameters
    ----------
    lattice : sequence of int
        Sides, in any dimension.
    sources : sequence of (int, Tensor)
        For each input its number of channels and the flat indices of its sites; their first convolutions are summed.
    outputs : Tensor
        Flat indices of the sites that are wanted.
    out_channels : int
        Numbers at each of them.
    hidden : sequence of int
        Channels of the hidden layers; () makes one linear convolution.
    kernel : int or sequence of int
        Side of every kernel, or one for each layer. (5, 1, 1) reads sites at distances up to 2 in the first layer, and
        the later layers act on each site alone.
    activation : str
        "silu", "tanh", "leaky_relu" or "gelu".

    Raises
    ------
    ValueError
        For an unknown activation, or kernels that do not fit the layers.

    Examples
    --------
    Parameters at the odd sites of a 4x4 lattice from the fields at the even ones, for two fields:

    >>> import torch
    >>> from flowkit.geometry.lattice import parity
    >>> from flowkit.nets import ConvNet
    >>> even, odd = (torch.where(parity((4, 4)) == p)[0] for p in (0, 1))
    >>> net = ConvNet((4, 4), [(1, even)], odd, out_channels=3, hidden=(8,), kernel=(3, 1))
    >>> net([torch.zeros(1, 8, 2)]).shape
    torch.Size([3, 8, 2])
    """

    @checked
    def __init__(
        self,
        lattice: Sequence[Count],
        sources: Sequence[tuple[Width, Tensor]],
        outputs: Tensor,
        out_channels: Count,
        hidden: Sequence[Width] = (8, 8),
        kernel: Kernel | Sequence[Kernel] = 3,
        activation: str = "silu",
    ):
        super().__init__()
        check_sites(lattice, outputs, *(sites for _, sites in sources))
        if not sources or math.prod((out_channels, len(outputs))) > MOST:
            raise ValueError(f"A network needs sources and finite outputs; got {len(sources)} and {out_channels}.")
        kernels = [kernel] * (len(hidden) + 1) if isinstance(kernel, int) else list(kernel)
        if len(kernels) != len(hidden) + 1:
            raise ValueError(f"A network of {len(hidden)} hidden layers needs {len(hidden) + 1} kernels; got {kernel}.")
        sizes, wanted = [*hidden, out_channels], [outputs]
        for side in reversed(kernels[1:]):
            wanted.insert(0, torch.unique(neighbours(wanted[0], lattice, side)))
        self.first = nn.ModuleList(
            SiteConv(lattice, (channels, sizes[0]), kernels[0], sites, wanted[0], bias=i == 0)
            for i, (channels, sites) in enumerate(sources)
        )
        self.rest = nn.ModuleList(
            SiteConv(lattice, (sizes[i], sizes[i + 1]), kernels[i + 1], wanted[i], wanted[i + 1])
            for i in range(len(hidden))
        )
        self.activation = activation_of(activation)

    def shrink(self, factor: float) -> "ConvNet":
        """Scale the weights and biases of the last layer, so that training starts near zero output."""
        with torch.no_grad():
            for layer in [self.rest[-1]] if len(self.rest) else self.first:
                for parameter in layer.parameters():
                    parameter.mul_(factor)
        return self

    def _read(self, inputs: Sequence[Tensor]) -> Tensor:
        out: Tensor = self.first[0](inputs[0])
        for conv, x in zip(self.first[1:], inputs[1:], strict=True):
            out = out + conv(x)
        return out

    def _go_on(self, h: Tensor) -> Tensor:
        for conv in self.rest:
            h = conv(self.activation(h))
        return h

    def mirrored(self, inputs: Sequence[Tensor]) -> Tensor:
        """Outputs for the inputs and for their mirror images, one batch after the other: the first layer, which is
        linear, works once.
        """
        out = self._read(inputs)
        bias = self.first[0].bias
        assert isinstance(bias, Tensor)
        return self._go_on(torch.cat([out, out.lerp(bias[:, None, None], 2.0)], -1))  # the other is 2 b - out

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        return self._go_on(self._read(inputs))

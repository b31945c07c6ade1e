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

from flowkit.checks import Count, Kernel, Width, checked, shown
from flowkit.kernels.autocast import FullPrecision
from flowkit.kernels.convolution import by_gather, by_slices, site_convolution, site_weight_gradient
from flowkit.kernels.native import differentiated, takes

METHODS = ("listed", "product", "slices")
MANY = 1024
"""Products of channels from which on, in fewer than three dimensions, torch's convolution beats a matrix product."""


def neighbours(sites: Tensor, lattice: Sequence[int], kernel: int | Sequence[int]) -> Tensor:
    """Flat indices of the sites under each tap of a kernel, of one side or of one for each axis, [taps, len(sites)]."""
    sides = [kernel] * len(lattice) if isinstance(kernel, int) else kernel
    index = torch.zeros(1, len(sites), dtype=torch.long)
    strides = [math.prod(lattice[axis + 1 :]) for axis in range(len(lattice))]
    offsets = torch.tensor(list(itertools.product(*(range(-(side // 2), side // 2 + 1) for side in sides))))
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


def check_kernel(kernel: int) -> None:
    """Raise ValueError for an even kernel, which has no site in its middle."""
    if kernel % 2 == 0:
        raise ValueError(f"A convolution needs an odd kernel; got {kernel}.")


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


def connected(
    inputs: Tensor, outputs: Tensor, lattice: Sequence[int], kernel: int | Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Which input each output reads at each tap, ``[taps, outputs]``, and which output reads each input, ``[taps,
    inputs]``; what is not there has the number behind the last.
    """
    place = torch.full((math.prod(lattice),), len(inputs))
    place[inputs] = torch.arange(len(inputs))
    index = place[neighbours(outputs, lattice, kernel)]
    inverse = torch.full((len(index), len(inputs) + 1), len(outputs))
    inverse.scatter_(1, index, torch.arange(len(outputs)).expand(len(index), -1))
    return index, inverse[:, :-1].contiguous()


def on_sites(x: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor, inverse: Tensor) -> Tensor:
    """The convolution of listed sites, differentiable."""
    out: Tensor = _Gather.apply(x, weight, bias, index, inverse)  # type: ignore[no-untyped-call]
    return out


def said(module: nn.Module) -> str:
    """Parameters and operations of a network, in words."""
    parameters = sum(p.numel() for p in module.parameters())
    return f"{parameters:,} parameters, {module.operations:,} operations a field"


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
    inputs, outputs : Tensor, optional
        Flat indices of the sites that are read and written; by default all, in order.
    bias : bool
        Whether a number is added to each channel.
    method : str, optional
        "listed", site by site, by a C kernel on a CPU; "product", all taps gathered for one matrix product; "slices",
        for all sites, torch's convolution of up to three dimensions, and in four the sum of those of three. None takes
        the fastest: see Notes.

    Raises
    ------
    ValueError
        For an even kernel, an unknown method, or slices of some sites alone.

    Notes
    -----
    .. math:: y_o(x) = b_o + \sum_{c,\,t} w_{oct}\, u_c(x + t), \qquad t_\mu = -\tfrac{k-1}{2} \ldots \tfrac{k-1}{2}

    On a CPU with a compiler "listed" was the fastest of the three at each size measured, in one to four dimensions
    (decision 0060). Elsewhere slices are taken for all sites in three and four dimensions, and for many channels in
    fewer, where they were faster than the matrix product; that product otherwise.

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
        inputs: Tensor | None = None,
        outputs: Tensor | None = None,
        bias: bool = True,
        method: str | None = None,
    ):
        super().__init__()
        sites = torch.arange(math.prod(lattice))
        inputs, outputs = (sites if one is None else one for one in (inputs, outputs))
        check_kernel(kernel)
        check_sites(lattice, inputs, outputs)
        if method is not None and method not in METHODS:
            raise ValueError(f"A convolution is computed by {', '.join(METHODS)} or None; got {method!r}.")
        if method == "slices" and len(lattice) > 4:
            raise ValueError(f"A convolution by slices is one in up to four dimensions; got {len(lattice)}.")
        taps, whole = kernel ** len(lattice), torch.equal(inputs, sites) and torch.equal(outputs, sites)
        if method == "slices" and not whole:
            raise ValueError(f"A convolution by slices is one of all {len(sites)} sites; got some.")
        large = len(lattice) in (3, 4) or (len(lattice) < 3 and math.prod(channels) >= MANY)
        self._without = "slices" if whole and large else "product"  # the C kernel
        self.lattice, self.channels, self.kernel, self.method = tuple(lattice), channels, kernel, method
        self.sites = len(inputs), len(outputs)
        index, inverse = connected(inputs, outputs, lattice, kernel)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("inverse", inverse, persistent=False)
        self.operations = 2 * channels[0] * channels[1] * int((index < len(inputs)).sum())
        self.pointwise = kernel == 1 and torch.equal(inputs, outputs)
        bound = 1 / math.sqrt(channels[0] * taps)
        self.weight = nn.Parameter(torch.empty(channels[1], channels[0], taps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels[1]).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pointwise:  # nothing to gather: one product
            flat, weight = x.flatten(1), self.weight[:, :, 0]
            product = weight @ flat if self.bias is None else torch.addmm(self.bias[:, None], weight, flat)
            return product.view(-1, *x.shape[1:])
        method = self.method or ("listed" if takes("site_convolution", x) else self._without)
        if method == "slices":
            return by_slices(x, self.weight, self.bias, self.lattice)
        if method == "product":
            return by_gather(x, self.weight, self.bias, self.index)
        return on_sites(x, self.weight, self.bias, self.index, self.inverse)

    def shrink(self, factor: float) -> "SiteConv":
        """Scale the output by a factor."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(factor)
        return self

    def extra_repr(self) -> str:
        taps = " x ".join([str(self.kernel)] * len(self.lattice))
        sites = f"{self.sites[0]} to {self.sites[1]} sites"
        return f"{self.channels[0]} to {self.channels[1]} channels, {sites}, {taps} taps, {said(self)}"

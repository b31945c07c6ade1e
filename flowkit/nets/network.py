"""The network of a coupling: convolutions from listed sites to listed sites, layer by layer."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.checks import MOST, Count, Kernel, Width, checked
from flowkit.kernels.autocast import FullPrecision
from flowkit.nets.activations import activation_of
from flowkit.nets.convolution import SiteConv, check_sites, neighbours, said
from flowkit.nets.factorised import FactorisedConv, convolution


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
    factorised : str, optional
        "cp" or "tucker": convolutions that read further than their own site work axis by axis, see `FactorisedConv`.
    rank : int, optional
        Of these; by default the larger number of channels of each.

    Raises
    ------
    ValueError
        For an unknown activation or factorisation, or kernels that do not fit the layers.

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
        factorised: str | None = None,
        rank: Count | None = None,
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
            convolution(lattice, (channels, sizes[0]), kernels[0], sites, wanted[0], i == 0, factorised, rank)
            for i, (channels, sites) in enumerate(sources)
        )
        self.rest = nn.ModuleList(
            convolution(lattice, sizes[i : i + 2], kernels[i + 1], wanted[i], wanted[i + 1], True, factorised, rank)
            for i in range(len(hidden))
        )
        self.activation = activation_of(activation)

    def shrink(self, factor: float) -> "ConvNet":
        """Scale the weights and biases of the last layer, so that training starts near zero output."""
        for layer in self._layers()[-1:] if len(self.rest) else self._layers():
            layer.shrink(factor)
        return self

    def _layers(self) -> list[SiteConv | FactorisedConv]:
        return [one for one in (*self.first, *self.rest) if isinstance(one, (SiteConv, FactorisedConv))]

    @property
    def operations(self) -> int:
        """Additions and multiplications of the convolutions, forward, for one field."""
        return sum(layer.operations for layer in self._layers())

    def extra_repr(self) -> str:
        return said(self)

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
        bias = self._layers()[0].bias
        assert isinstance(bias, Tensor)
        return self._go_on(torch.cat([out, out.lerp(bias[:, None, None], 2.0)], -1))  # the other is 2 b - out

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        return self._go_on(self._read(inputs))

"""Networks of couplings that are odd: parameters that turn into those of the mirrored map when the frozen sites do."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijections.base import Bijection
from flowkit.geometry.space import Space
from flowkit.nets import ConvNet


class OddNet(nn.Module):
    r"""Parameters p of a map f at the active sites with :math:`p(-x_{\rm frozen}) = M p(x_{\rm frozen})`, where M p are
    those of the mirrored map, :math:`f(x; M p) = -f(-x; p)`. A coupling that uses them is odd.

    Numbers that are even under M come from the squares of what the last layer of an odd network reads, those that are
    odd from that last layer.

    Parameters
    ----------
    map : Bijection
        f, one that knows `Bijection.mirrored`.
    lattice : sequence of int
        Sides.
    frozen, active : Tensor
        Flat indices of the sites that are read, and of those that move.
    components : int
        Of the field.
    hidden, kernel
        Of the network, as `ConvNet`.
    start : float
        Factor on the initial weights of the last layers.

    Raises
    ------
    ValueError
        For a map whose mirror image is not known.
    """

    basis: Tensor

    def __init__(
        self,
        map: Bijection[Tensor],
        lattice: Sequence[int],
        frozen: Tensor,
        active: Tensor,
        components: int,
        hidden: Sequence[int],
        kernel: int | Sequence[int],
        start: float,
    ):
        super().__init__()
        self.count, self.components = map.count, components
        even, odd = mirror_basis(map)
        self.register_buffer("basis", torch.cat([even, odd], 1), persistent=False)
        source = [(components, frozen)]
        self.odd = ConvNet(lattice, source, active, odd.shape[1] * components, hidden, kernel, "tanh", odd=True)
        reads = self.odd.last_reads
        squares, last = source if reads is None else [(hidden[-1], reads)], kernel
        last = kernel if isinstance(kernel, int) else kernel[-1]
        self.even = ConvNet(lattice, squares, active, even.shape[1] * components, (), last)
        self.deep, self.plain = bool(hidden), torch.equal(self.basis, torch.eye(map.count))
        self.odd.shrink(start)
        self.even.shrink(start)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """``[components, frozen sites, batch]`` as a list -> ``[count * components, active sites, batch]``."""
        h = self.odd.features(inputs) if self.deep else inputs[0]
        odd = self.odd.head(h) if self.deep else self.odd([h])
        out = torch.cat([self.even([h * h]), odd])
        if self.plain:
            return out
        mixed: Tensor = self.basis @ out.view(self.count, -1)
        return mixed.view(out.shape)


def site_net(
    map: Bijection[Tensor],
    space: Space,
    frozen: Tensor,
    active: Tensor,
    hidden: Sequence[int],
    kernel: int | Sequence[int],
    activation: str = "silu",
    z2: bool = False,
    start: float = 0.1,
) -> ConvNet | OddNet:
    """The network that gives the parameters of a map at the active sites from the frozen ones, odd where `z2` asks."""
    if z2:
        return OddNet(map, space.lattice, frozen, active, space.components, hidden, kernel, start)
    outputs = map.count * space.components
    net = ConvNet(space.lattice, [(space.components, frozen)], active, outputs, hidden, kernel, activation)
    return net.shrink(start)


def mirror_basis(map: Bijection[Tensor]) -> tuple[Tensor, Tensor]:
    """The parameters of a map that its mirror image has too, and those that it has with the other sign: two bases,
    ``[count, even]`` and ``[count, odd]``.
    """
    one = torch.eye(map.count)
    mirror = map.mirrored(one)
    parts = []
    for sign in (1, -1):
        columns = one + sign * mirror
        # Each pair of parameters that are exchanged gives the same column twice, up to the sign: the first one stays.
        first = columns.abs().argmax(0) == torch.arange(map.count)
        kept = columns[:, first & columns.any(0)]
        parts.append(kept / kept.abs().amax(0))
    return parts[0], parts[1]

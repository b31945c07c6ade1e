"""Networks of couplings that are odd: parameters that turn into those of the mirrored map when the frozen sites do."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijections.base import Bijection
from flowkit.geometry.space import Space
from flowkit.nets import ConvNet
from flowkit.nets.activations import activation_of
from flowkit.nets.convolution import neighbours
from flowkit.nets.factorised import convolution


class OddNet(nn.Module):
    r"""Parameters p of a map f at the active sites with :math:`p(-x_{\rm frozen}) = M p(x_{\rm frozen})`, where M p are
    those of the mirrored map, :math:`f(x; M p) = -f(-x; p)`. A coupling that uses them is odd.

    Numbers that are even and odd under M come from the even and odd part of what the last layer of a network h reads,

    .. math:: p_{\rm even} = W_e [h(x) + h(-x)] + b, \qquad p_{\rm odd} = W_o [h(x) - h(-x)]

    Without hidden layers they come from the squares of the frozen sites and from the sites themselves.

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
    hidden, kernel, activation, factorised, rank
        Of the network, as `ConvNet`.
    start : float
        Factor on the initial weights of the last layers.

    Raises
    ------
    ValueError
        For a map whose mirror image is not known.

    References
    ----------
    Without hidden layers, for affine maps: 2302.08408.
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
        activation: str,
        start: float,
        factorised: str | None = None,
        rank: int | None = None,
    ):
        super().__init__()
        self.count = map.count
        even, odd = mirror_basis(map)
        self.register_buffer("basis", torch.cat([even, odd], 1), persistent=False)
        self.plain = torch.equal(self.basis, torch.eye(map.count))
        kernels = [kernel] * (len(hidden) + 1) if isinstance(kernel, int) else list(kernel)
        self.body, reads, width = None, frozen, components
        if hidden:
            reads, width = torch.unique(neighbours(active, lattice, kernels[-1])), hidden[-1]
            source = [(components, frozen)]
            self.body = ConvNet(lattice, source, reads, width, hidden[:-1], kernels[:-1], activation, factorised, rank)
            self.activation = activation_of(activation)
        ends = [(width, basis.shape[1] * components) for basis in (odd, even)]
        self.odd = convolution(lattice, ends[0], kernels[-1], reads, active, False, factorised, rank)
        self.even = convolution(lattice, ends[1], kernels[-1], reads, active, True, factorised, rank)
        self.even.shrink(start / 2 if hidden else start)  # of the sum of two features, not of their mean
        self.odd.shrink(start / 2 if hidden else start)
        if hidden and self.even.bias is not None:
            with torch.no_grad():
                self.even.bias.mul_(2)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """``[components, frozen sites, batch]`` as a list -> ``[count * components, active sites, batch]``."""
        if self.body is None:
            odd, even = inputs[0], inputs[0] ** 2
        else:
            h, mirrored = self.activation(self.body.mirrored(inputs)).chunk(2, -1)
            odd, even = h - mirrored, h + mirrored
        out = torch.cat([self.even(even), self.odd(odd)])
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
    factorised: str | None = None,
    rank: int | None = None,
) -> ConvNet | OddNet:
    """The network that gives the parameters of a map at the active sites from the frozen ones, odd where `z2` asks."""
    if z2:
        return OddNet(
            map, space.lattice, frozen, active, space.components, hidden, kernel, activation, start, factorised, rank
        )
    outputs = map.count * space.components
    net = ConvNet(
        space.lattice, [(space.components, frozen)], active, outputs, hidden, kernel, activation, factorised, rank
    )
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

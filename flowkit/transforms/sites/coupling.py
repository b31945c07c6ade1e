"""Checkerboard couplings of scalar fields."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit.bijections.affine import AffineMap
from flowkit.bijections.base import Bijection
from flowkit.checks import Count, Kernel, Parity, Start, Width, checked
from flowkit.geometry.lattice import parity
from flowkit.geometry.space import Space
from flowkit.kernels import affine_coupling
from flowkit.nets import SiteConv
from flowkit.transforms.base import TwoWay
from flowkit.transforms.sites.odd_net import OddNet, site_net


class CheckerboardCoupling(TwoWay):
    r"""The sites of one parity move, each by a map whose parameters a network computes from the other sites.

    .. math:: y_\mathrm{active} = f(x_\mathrm{active};\, \mathrm{net}(x_\mathrm{frozen})), \qquad
              y_\mathrm{frozen} = x_\mathrm{frozen}

    The network is a periodic convolution. Everything is computed on the active sites alone.

    Parameters
    ----------
    space : Space
        Sites with even sides, fields ``[batch, components, *lattice]``.
    moves : int
        Parity of the sites that move, 0 or 1.
    map : Bijection, optional
        Of one number: `AffineMap` by default, or `RealSpline`.
    hidden, kernel, activation, factorised, rank
        Of the network; see `flowkit.nets.ConvNet`.
    final : str
        "linear", or "tanh" to bound the parameters by 1.
    z2 : bool
        Makes the map odd, f(-x; -frozen) = -f(x; frozen): parameters that the mirror image of the map has with the
        other sign, such as a shift, come from an odd network, the others from the squares of its last features, or of
        the frozen sites where there is no hidden layer.
    start : float
        Factor on the last layer's initial weights; 0 starts at the identity.

    Raises
    ------
    ValueError
        For links, odd sides, an unknown parity or final, or z2 with a map whose mirror image is not known.

    Notes
    -----
    Without hidden layers an affine coupling of one component is the map of 2302.08408, `kernel` its footprint; on a CPU
    a C kernel of its own computes it and its gradients.

    References
    ----------
    Dinh et al., 1605.08803; Albergo et al., 1904.12072 and 2101.08176.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> coupling = fk.CheckerboardCoupling(fk.sites((4, 4)), moves=0)
    >>> x = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    >>> y, logdet = coupling(x)
    >>> (y != x)[0, 0, 0].tolist()                            # every other site of a row
    [True, False, True, False]
    """

    active: Tensor
    frozen: Tensor

    @checked
    def __init__(
        self,
        space: Space,
        moves: Parity,
        map: Bijection[Tensor] | None = None,
        hidden: Sequence[Width] = (8, 8),
        kernel: Kernel | Sequence[Kernel] = 3,
        activation: str = "silu",
        final: str = "linear",
        z2: bool = False,
        start: Start = 0.1,
        factorised: str | None = None,
        rank: Count | None = None,
    ):
        super().__init__(space)
        map = map or AffineMap()
        if space.kind != "sites" or map.angles:
            raise ValueError(f"CheckerboardCoupling needs sites and a map of real numbers; got {space}.")
        if final not in ("linear", "tanh"):
            raise ValueError(f"CheckerboardCoupling ends in 'linear' or 'tanh'; got {final!r}.")
        self.moves, self.map, self.final, self.z2, self.start = moves, map, final, z2, start
        self.hidden, self.kernel, self.activation = tuple(hidden), kernel, activation
        self.factorised, self.rank = factorised, rank
        sublattice = parity(space.lattice)
        active, frozen = (sublattice == moves).nonzero()[:, 0], (sublattice != moves).nonzero()[:, 0]
        self.register_buffer("active", active, persistent=False)
        self.register_buffer("frozen", frozen, persistent=False)
        self.net = site_net(map, space, frozen, active, hidden, kernel, activation, z2, start, factorised, rank)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, components, *lattice] -> active and frozen parts, each [components, sites, batch]."""
        flat = self.space.check(x).flatten(2).permute(1, 2, 0)
        return flat.index_select(1, self.active), flat.index_select(1, self.frozen)

    def _join(self, active: Tensor, x: Tensor) -> Tensor:
        y = x.flatten(2).index_copy(2, self.active, active.permute(2, 0, 1))
        return y.view_as(x)

    def _params(self, frozen: Tensor) -> Tensor:
        """[count, components, active sites, batch]."""
        out: Tensor = self.net([frozen]).unflatten(0, (self.map.count, self.space.components))
        return out.tanh() if self.final == "tanh" else out

    def _fused(self, x: Tensor, back: bool) -> tuple[Tensor, Tensor] | None:
        """The map or its inverse by the kernel for affine couplings without hidden layers, where it serves."""
        if self.hidden or self.factorised or self.final != "linear" or not isinstance(self.map, AffineMap):
            return None
        conv, squares = (self.net.odd, self.net.even) if isinstance(self.net, OddNet) else (self.net.first[0], None)
        assert isinstance(conv, SiteConv)
        if not affine_coupling.native(self.space.check(x), conv.weight):
            return None
        side = self.kernel if isinstance(self.kernel, int) else self.kernel[0]
        where = affine_coupling.geometry(self.space.lattice, side, self.moves)
        weight: Tensor = conv.weight
        if squares is None:
            assert conv.bias is not None
            bias: Tensor = conv.bias
        else:
            assert isinstance(squares, SiteConv)
            assert squares.bias is not None
            weight, bias = torch.cat([squares.weight, weight]), F.pad(squares.bias, (0, 1))
        weight = torch.cat([weight[:, 0].index_select(1, where.odd), bias[:, None]], 1)
        return affine_coupling.affine_coupling(x, weight, where, self.z2, back)

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if (fused := self._fused(x, inverse)) is not None:
            return fused
        active, frozen = self._split(x)
        move = self.map.inverse if inverse else self.map.forward
        y, logderiv = move(active, self._params(frozen))
        return self._join(y, x), logderiv.sum((0, 1))

"""Checkerboard couplings of scalar fields."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.lattice import parity
from flowkit.nets import ConvNet
from flowkit.space import Space, sites
from flowkit.transforms.base import Transform
from flowkit.transforms.pointwise import AffineMap, PointwiseMap


class CheckerboardCoupling(Transform):
    """y_active = f(x_active; net(x_frozen)), y_frozen = x_frozen: the sites of one parity move, conditioned on the
    others by a periodic convolutional network. Everything is computed on the active sites alone.

    Field     sites, [batch, components, *lattice], even sides
    moves     parity of the sites that move, 0 or 1
    map       the map of one number, AffineMap() by default, or RealSpline(bins)
    final     "linear", or "tanh" to bound the parameters by 1, as 2101.08176 does
    z2        f(-x; -frozen) = -f(x; frozen), for AffineMap: an odd network for the shift, and the log-scale from the
              squares of its last features
    start     factor on the last layer's initial weights: 0 starts at the identity
    Raises    ValueError for links, odd sides, an unknown parity or final, or z2 with another map
    See       RealNVP, 1605.08803; 1904.12072
    """

    active: Tensor
    frozen: Tensor

    def __init__(
        self,
        space: Space,
        moves: int,
        map: PointwiseMap | None = None,
        hidden: Sequence[int] = (8, 8),
        kernel: int | Sequence[int] = 3,
        activation: str = "silu",
        final: str = "linear",
        z2: bool = False,
        start: float = 0.1,
    ):
        super().__init__(space)
        map = map or AffineMap()
        if space.kind != "sites" or map.circular:
            raise ValueError(f"CheckerboardCoupling needs sites and a map of real numbers; got {space}.")
        if moves not in (0, 1):
            raise ValueError(f"CheckerboardCoupling moves the sites of parity 0 or 1; got {moves!r}.")
        if final not in ("linear", "tanh"):
            raise ValueError(f"CheckerboardCoupling ends in 'linear' or 'tanh'; got {final!r}.")
        if z2 and (not isinstance(map, AffineMap) or not hidden):
            raise ValueError("A Z2-equivariant coupling needs an AffineMap and a hidden layer.")
        self.moves, self.map, self.final, self.z2, self.start = moves, map, final, z2, start
        self.hidden, self.kernel, self.activation = tuple(hidden), kernel, "tanh" if z2 else activation
        sublattice = parity(space.lattice)
        active, frozen = (sublattice == moves).nonzero()[:, 0], (sublattice != moves).nonzero()[:, 0]
        self.register_buffer("active", active, persistent=False)
        self.register_buffer("frozen", frozen, persistent=False)
        components = space.components
        outputs = components if z2 else map.count * components
        source = [(components, frozen)]
        self.net = ConvNet(space.lattice, source, active, outputs, hidden, kernel, self.activation, odd=z2).shrink(
            start
        )
        self.scale = None
        if z2:
            assert self.net.last_reads is not None
            kernels = kernel if isinstance(kernel, int) else kernel[-1]
            squares = [(self.hidden[-1], self.net.last_reads)]
            self.scale = ConvNet(space.lattice, squares, active, components, (), kernels).shrink(start)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, components, *lattice] -> active and frozen parts, each [components, sites, batch]."""
        flat = self.space.check(x).flatten(2).permute(1, 2, 0)
        return flat.index_select(1, self.active), flat.index_select(1, self.frozen)

    def _join(self, active: Tensor, x: Tensor) -> Tensor:
        y = x.flatten(2).index_copy(2, self.active, active.permute(2, 0, 1))
        return y.view_as(x)

    def _params(self, frozen: Tensor) -> Tensor:
        """[count, components, active sites, batch]."""
        if self.scale is not None:
            h = self.net.features([frozen])
            out = torch.stack([self.scale([h * h]), self.net.head(h)])
        else:
            out = self.net([frozen]).unflatten(0, (self.map.count, self.space.components))
        return out.tanh() if self.final == "tanh" else out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        active, frozen = self._split(x)
        y, logderiv = self.map.forward(active, self._params(frozen))
        return self._join(y, x), logderiv.sum((0, 1))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        active, frozen = self._split(y)
        x, logderiv = self.map.inverse(active, self._params(frozen))
        return self._join(x, y), logderiv.sum((0, 1))

    def rebuild(self, space: Space) -> "CheckerboardCoupling":
        return CheckerboardCoupling(
            space,
            self.moves,
            self.map,
            self.hidden,
            self.kernel,
            self.activation,
            self.final,
            self.z2,
            self.start,
        )

    @classmethod
    def example(cls) -> "CheckerboardCoupling":
        return CheckerboardCoupling(sites((4, 6)), moves=1, start=1.0)

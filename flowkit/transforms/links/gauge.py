"""Gauge-equivariant couplings for U(1) links, in any dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijections.pointwise import CircleSpline, PointwiseMap
from flowkit.geometry.patterns import Loop, Pattern, Step, Stripes, frozen_plaquettes, link_index, require_single
from flowkit.geometry.space import Space
from flowkit.groups import U1
from flowkit.nets import ConvNet
from flowkit.transforms.base import Transform
from flowkit.transforms.chain import Chain


class GaugeCoupling(Transform):
    """W -> W' = f(W; frozen loops), V' = W' W^-1 V for each active link V and a loop W through it; with several loops
    the same link is updated by each in turn. Equivariant under gauge transformations, since W is invariant for U(1)
    and all context is. Angles: theta_V' = theta_V + theta_W' - theta_W, so logdet = sum log f'.

    The network sees cosine and sine of the frozen plaquettes, and, at the active link, of the loops that are left
    when V is cancelled between two loops through it (`local`): no update of V changes those, so that one network
    evaluation serves all updates in turn.

    Field     links of U(1), [batch, mu, *lattice]
    pattern   which links move
    loops     the active loops, in the order of the updates
    map       the map of one angle, CircleSpline(8) by default, or TangentMixture(2)
    context   "plaquettes", "local" or "both"
    around    further loops through the active link whose differences the local context holds
    start     factor on the last layer's initial weights: 0 starts at the identity
    Raises    ValueError for another space, an active loop with two active links, an unknown context, or a pattern
              without frozen plaquettes where the network needs them
    See       Kanwar et al., 2003.06413; Rezende et al., 2002.02428 for the maps
    """

    active: Tensor
    loop_index: Tensor
    loop_sign: Tensor

    def __init__(
        self,
        space: Space,
        pattern: Pattern,
        loops: Sequence[Loop],
        map: PointwiseMap | None = None,
        hidden: Sequence[int] = (8, 8),
        kernel: int | Sequence[int] = 3,
        activation: str = "silu",
        context: str = "both",
        around: Sequence[Loop] = (),
        start: float = 0.1,
    ):
        super().__init__(space)
        map = map or CircleSpline(8)
        if space.kind != "links" or not isinstance(space.group, U1) or not map.circular:
            raise ValueError(f"GaugeCoupling needs links of U1 and a map of angles; got {space}.")
        if context not in ("plaquettes", "local", "both"):
            raise ValueError(f"The context is 'plaquettes', 'local' or 'both'; got {context!r}.")
        if not loops:
            raise ValueError("GaugeCoupling needs at least one active loop; got none.")
        for loop in (*loops, *around):
            require_single(space, pattern, loop)
        self.pattern, self.loops, self.map, self.context = pattern, tuple(loops), map, context
        self.hidden, self.kernel, self.activation, self.start = tuple(hidden), kernel, activation, start
        mu, sites = pattern.mu, pattern.sites(space.lattice)
        self.register_buffer("active", mu * space.volume + sites, persistent=False)
        # All loops of the layer in one table, so that one gather reads them: the active ones, those around the
        # active link (the local context), the frozen plaquettes.
        table = [(sites, loop.steps(mu, space.ndim)) for loop in self.loops]
        self.extra = tuple(around)
        around = self._around() if context != "plaquettes" else []
        self.around = len(around) if len(around) > 1 else 0
        table += [(sites, loop.steps(mu, space.ndim)) for loop in around[: self.around]]
        frozen = frozen_plaquettes(space, pattern) if context != "local" else {}
        planes = [(base, Loop(b).steps(a, space.ndim)) for (a, b), base in frozen.items() if len(base)]
        self._register_table(table + planes)
        sources = [(2 * (self.around - 1), sites)] if self.around else []
        sources += [(2, base) for base, _ in planes]
        if not sources:
            raise ValueError(f"{pattern} leaves no frozen loop for the context {context!r}.")
        outputs = map.count * len(self.loops)
        self.net = ConvNet(space.lattice, sources, sites, outputs, hidden, kernel, activation).shrink(start)

    def _around(self) -> list[Loop]:
        """Loops through the active link whose differences are the local context: the active shapes on both sides,
        and the plaquettes of every plane.
        """
        shapes = [Loop(loop.nu, loop.r, loop.t, below) for loop in self.loops for below in (False, True)]
        plain = [Loop(nu, below=b) for nu in range(self.space.ndim) if nu != self.pattern.mu for b in (False, True)]
        candidates = list(dict.fromkeys([*shapes, *self.extra, *plain]))
        return [loop for loop in candidates if self._is_single(loop)]

    def _is_single(self, loop: Loop) -> bool:
        try:
            require_single(self.space, self.pattern, loop)
        except ValueError:
            return False
        return True

    def _register_table(self, table: Sequence[tuple[Tensor, Sequence[Step]]]) -> None:
        """Loops as columns of link indices and signs, short ones padded with sign 0."""
        longest = max(len(steps) for _, steps in table)
        indices, signs = [], []
        for base, steps in table:
            fill = longest - len(steps)
            index = link_index(self.space, base, steps)
            indices.append(torch.cat([index, index[:1].expand(fill, -1)]))
            sign = torch.tensor([float(sign) for _, _, sign in steps] + [0.0] * fill)
            signs.append(sign[:, None].expand(-1, len(base)))
        self.sizes = [len(base) for base, _ in table]
        self.register_buffer("loop_index", torch.cat(indices, 1), persistent=False)
        self.register_buffer("loop_sign", torch.cat(signs, 1)[..., None].contiguous(), persistent=False)

    def _angles(self, theta: Tensor) -> list[Tensor]:
        """The angle of every loop of the table, not wrapped, each [base sites, batch]; theta [links, batch]."""
        rows = theta.index_select(0, self.loop_index.flatten()).view(*self.loop_index.shape, theta.shape[1])
        return list(torch.split((rows * self.loop_sign).sum(0), self.sizes))

    def _params(self, angles: list[Tensor]) -> Tensor:
        """[loops, map.count, active sites, batch]."""
        inputs = []
        around, planes = angles[: self.around], angles[self.around :]
        if around:
            left = torch.stack(around[1:]) - around[0]
            inputs.append(torch.cat([left.cos(), left.sin()]))
        inputs += [torch.stack([angle.cos(), angle.sin()]) for angle in planes]
        out: Tensor = self.net(inputs).unflatten(0, (len(self.loops), self.map.count))
        return out

    def _update(self, x: Tensor, forward: bool) -> tuple[Tensor, Tensor]:
        wrap = U1().wrap
        theta = self.space.check(x).flatten(1).T.contiguous()
        angles = self._angles(theta)
        count = len(self.loops)
        params = self._params(angles[count:])
        moved = logdet = None
        for k in range(count) if forward else reversed(range(count)):
            before = wrap(angles[k] if moved is None else angles[k] + moved)
            after, logderiv = (self.map.forward if forward else self.map.inverse)(before, params[k])
            moved = after - before if moved is None else moved + (after - before)
            logdet = logderiv.sum(0) if logdet is None else logdet + logderiv.sum(0)
        assert moved is not None
        assert logdet is not None
        link = wrap(theta.index_select(0, self.active) + moved)
        y = x.flatten(1).index_copy(1, self.active, link.T)
        return y.view_as(x), logdet

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._update(x, True)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._update(y, False)

    def rebuild(self, space: Space) -> "GaugeCoupling":
        return GaugeCoupling(
            space,
            self.pattern,
            self.loops,
            self.map,
            self.hidden,
            self.kernel,
            self.activation,
            self.context,
            self.extra,
            self.start,
        )


def plaquette_couplings(space: Space, sweeps: int = 1, bins: int = 8, hidden: Sequence[int] = (8, 8)) -> Chain:
    """Plaquette couplings of U(1) in two dimensions, which make sense on any lattice with sides of multiples of 4.

    A sweep has eight couplings and moves every link once, a quarter of a direction at a time: each link through the
    plaquette on one side of it, by a circular spline that a network sets from the frozen plaquettes around and from the
    flux through the two plaquettes at the link. It looks once, at distances up to 1, and then thinks at each link.

    bins      of the splines
    hidden    channels of the networks' hidden layers
    Raises    ValueError for another space, sweeps < 1, or sides that 4 does not divide
    See       Kanwar et al., 2003.06413; 2112.01586
    """
    if space.kind != "links" or not isinstance(space.group, U1) or space.ndim != 2 or sweeps < 1:
        raise ValueError(f"plaquette_couplings needs links of U1 in two dimensions and sweeps >= 1; got {space}.")
    kernels = (3, *[1] * len(hidden))
    layers = []
    for k in range(8 * sweeps):
        mu, place = k % 2, k // 2 % 4
        stripes = Stripes(mu, (1, 4), (0, place)) if mu == 0 else Stripes(mu, (4, 1), (place, 0))
        layers.append(GaugeCoupling(space, stripes, [Loop(1 - mu)], CircleSpline(bins), hidden, kernels))
    return Chain(*layers)

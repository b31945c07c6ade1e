"""Gauge-equivariant couplings for SU(N) links, in any dimension."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijections.updates import LinkUpdate, Spectral
from flowkit.geometry.patterns import Loop, Pattern, frozen_plaquettes, link_index, require_single
from flowkit.geometry.space import Space
from flowkit.groups import SUN
from flowkit.kernels.paths import products, put_links
from flowkit.kernels.sun import multiply, trace_product
from flowkit.nets import ConvNet
from flowkit.transforms.base import Transform


class MatrixCoupling(Transform):
    """Each active link V goes through a sequence of updates, V -> V' -> V'' ..., all given the loops W_i = V R_i
    through it, whose other links are frozen. Gauge-equivariant, since each update commutes with conjugation of the
    W_i, and the network that supplies its parameters sees traces of closed frozen loops alone.

    The network sees, at the active link, the loops R_i R_j^dagger that are left when V is cancelled between two loops
    through it (`local`), as Re and Im of (1/N) Tr (R_i R_j^dagger)^k, k <= N/2, which fix the eigenvalues; and the
    frozen plaquettes around it (`plaquettes`). One evaluation serves all updates.

    Field     links of SU(N), [batch, mu, *lattice, N, N]
    pattern   which links move
    loops     the loops through each active link, of which the updates choose or learn theirs
    updates   what moves it, in order
    hidden, kernel, activation  of the network, a ConvNet
    context   "local", "plaquettes" or "both"
    start     factor on the last layer's initial weights: 0 starts at the identity
    Raises    ValueError for another space, no loops or updates, a loop with two active links, an unknown context, or a
              pattern that leaves nothing for the context
    See       2008.05456, 2305.02402, 2502.00263
    """

    active: Tensor
    path_index: Tensor

    def __init__(
        self,
        space: Space,
        pattern: Pattern,
        loops: Sequence[Loop],
        updates: Sequence[LinkUpdate] = (Spectral(),),
        hidden: Sequence[int] = (16, 16),
        kernel: int | Sequence[int] = 1,
        activation: str = "silu",
        context: str = "local",
        start: float = 0.1,
    ):
        super().__init__(space)
        if space.kind != "links" or not isinstance(space.group, SUN):
            raise ValueError(f"MatrixCoupling needs links of SU(N); got {space}.")
        if context not in ("plaquettes", "local", "both"):
            raise ValueError(f"The context is 'plaquettes', 'local' or 'both'; got {context!r}.")
        if not loops or not updates:
            raise ValueError(f"MatrixCoupling needs loops and updates; got {len(loops)} and {len(updates)}.")
        for loop in loops:
            require_single(space, pattern, loop)
        self.pattern, self.loops, self.updates, self.context = pattern, tuple(loops), tuple(updates), context
        self.hidden, self.kernel, self.activation, self.start = tuple(hidden), kernel, activation, start
        n, mu, sites = space.group.n, pattern.mu, pattern.sites(space.lattice)
        self.register_buffer("active", mu * space.volume + sites, persistent=False)
        # Paths as columns of link indices: the active links, the R_i, the frozen plaquettes of each plane.
        frozen = {} if context == "local" else frozen_plaquettes(space, pattern)
        planes = [(base, Loop(b).steps(a, space.ndim)) for (a, b), base in frozen.items() if len(base)]
        self._signs: list[tuple[int, ...]] = [(1,)]
        indices = [self.active[None]]
        for base, steps in [*((sites, loop.steps(mu, space.ndim)[1:]) for loop in loops), *planes]:
            indices.append(link_index(space, base, steps))
            self._signs.append(tuple(sign for *_, sign in steps))
        self._shapes = [index.shape for index in indices]
        self.register_buffer("path_index", torch.cat([index.flatten() for index in indices]), persistent=False)
        self.parts = 2 if n > 2 else 1  # traces of SU(2) are real
        self.powers = max(1, n // 2)
        pairs = 0 if context == "plaquettes" else len(loops) * (len(loops) - 1) // 2
        sources = [(self.parts * self.powers * pairs, sites)] if pairs else []
        sources += [(self.parts, base) for base, _ in planes]
        if not sources:
            raise ValueError(f"{pattern} leaves no frozen loop for the context {context!r}.")
        self.counts = [update.count(n, len(loops)) for update in updates]
        self.net = ConvNet(space.lattice, sources, sites, sum(self.counts), hidden, kernel, activation).shrink(start)

    def _products(self, x: Tensor) -> tuple[Tensor, ...]:
        """The products along the paths, each [base sites, batch, N, N]; x [batch, links, N, N]."""
        parts = torch.split(self.path_index, [shape.numel() for shape in self._shapes])
        indices = [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return products(x, list(zip(indices, self._signs, strict=True)))

    def _features(self, rest: Sequence[Tensor], frozen: Sequence[Tensor]) -> list[Tensor]:
        """The network's inputs, [channels, sites, batch]."""
        n = self.space.group.dimension
        inputs = []
        if self.context != "plaquettes":
            traces = []
            for left, right in itertools.combinations(rest, 2):
                traces.append(trace_product(left, right))
                power = left  # (left right^dagger)^{k-1} left
                for _ in range(self.powers - 1):
                    power = multiply(multiply(power, right, adjoint_b=True), left)
                    traces.append(trace_product(power, right))
            if traces:
                inputs.append(self._real(torch.stack(traces)) / n)
        inputs += [self._real(p.diagonal(dim1=-2, dim2=-1).sum(-1)[None]) / n for p in frozen]
        return inputs

    def _real(self, traces: Tensor) -> Tensor:
        return torch.cat([traces.real, traces.imag]) if self.parts == 2 else traces.real

    def _update(self, x: Tensor, forward: bool) -> tuple[Tensor, Tensor]:
        flat = self.space.check(x).flatten(1, 1 + self.space.ndim)
        v, *others = self._products(flat)
        rest, frozen = others[: len(self.loops)], others[len(self.loops) :]
        params = torch.split(self.net(self._features(rest, frozen)), self.counts)
        total = None
        steps = list(zip(self.updates, params, strict=True))
        for update, own in steps if forward else reversed(steps):
            v, logdet = (update.forward if forward else update.inverse)(v, rest, own)
            total = logdet if total is None else total + logdet
        assert total is not None
        return put_links(flat, self.active, v).view_as(x), total.sum(0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._update(x, True)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._update(y, False)

    def extra_repr(self) -> str:
        loops = ", ".join(map(str, self.loops))
        return f"{self.pattern}, loops [{loops}], updates {list(self.updates)}, context {self.context!r}"

    def rebuild(self, space: Space) -> "MatrixCoupling":
        return MatrixCoupling(
            space,
            self.pattern,
            self.loops,
            self.updates,
            self.hidden,
            self.kernel,
            self.activation,
            self.context,
            self.start,
        )

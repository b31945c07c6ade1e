"""Gauge-equivariant couplings of links, for any group with eigenangles and in any dimension."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijections.base import Bijection, LinkContext, move_links
from flowkit.bijections.eigenangles import EigenangleSpline
from flowkit.checks import Kernel, Start, Width, checked
from flowkit.geometry.patterns import Loop, Pattern, frozen_plaquettes, link_index, require_single
from flowkit.geometry.space import Space
from flowkit.groups.base import Path
from flowkit.nets import ConvNet
from flowkit.transforms.base import TwoWay

CONTEXTS = ("plaquettes", "local", "both")


class GaugeCoupling(TwoWay):
    r"""Each active link V goes through a sequence of updates, given the loops through it whose other links are frozen.

    The loops are W_i = V R_i. Under a gauge transformation all of them are conjugated by the same element, each update
    commutes with that, and the network that supplies its parameters sees invariants of frozen loops alone: the coupling
    is gauge-equivariant. One evaluation of the network serves all updates.

    Parameters
    ----------
    space : Space
        Links, fields ``[batch, mu, *lattice, *matrix]``.
    pattern : Pattern
        Which links move: `Stripes` or `Checkered`.
    loops : sequence of Loop
        The loops through each active link. The updates choose their active one among them, or learn it; the network
        sees the differences of all.
    updates : sequence of Bijection, optional
        Maps of a link given a `LinkContext`, in order: `EigenangleSpline` with a loop of its own or a learned one,
        `Residual` for SU(N). Default: one `EigenangleSpline` of a learned loop.
    hidden, kernel, activation
        Of the network; see `flowkit.nets.ConvNet`.
    context : str
        What the network sees. "local": at the active link, the invariants of the loops R_i R_j^-1 that are left when V
        cancels between two loops through it. "plaquettes": those of the frozen plaquettes around it. "both".
    start : float
        Factor on the last layer's initial weights; 0 starts at the identity.

    Raises
    ------
    ValueError
        For a space of sites, no loops or updates, updates of another group, a loop with two active links, an unknown
        context, or a pattern that leaves no frozen loop for the context.

    References
    ----------
    Kanwar et al., 2003.06413; Boyda et al., 2008.05456; 2305.02402; 2502.00263.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.SUN(2))
    >>> loops = [fk.Loop(1), fk.Loop(1, below=True)]          # the plaquettes on both sides of a link of direction 0
    >>> coupling = fk.GaugeCoupling(space, fk.Stripes(0, (1, 2), (0, 0)), loops)
    >>> x = space.haar(3, torch.Generator().manual_seed(1))
    >>> y, logdet = coupling(x)
    >>> (y != x).flatten(4).any(-1)[0].sum((1, 2))            # half of the links of direction 0 move
    tensor([8, 0])
    """

    active: Tensor
    path_index: Tensor

    @checked
    def __init__(
        self,
        space: Space,
        pattern: Pattern,
        loops: Sequence[Loop],
        updates: Sequence[Bijection[LinkContext]] | None = None,
        hidden: Sequence[Width] = (16, 16),
        kernel: Kernel | Sequence[Kernel] = 1,
        activation: str = "silu",
        context: str = "local",
        start: Start = 0.1,
    ):
        super().__init__(space)
        group = space.group
        if space.kind != "links":
            raise ValueError(f"GaugeCoupling needs links; got {space}.")
        if context not in CONTEXTS:
            raise ValueError(f"The context is 'plaquettes', 'local' or 'both'; got {context!r}.")
        updates = [EigenangleSpline(group)] if updates is None else updates
        if not loops or not updates:
            raise ValueError(f"GaugeCoupling needs loops and updates; got {len(loops)} and {len(updates)}.")
        for update in updates:
            if getattr(update, "group", None) != group:
                raise ValueError(f"GaugeCoupling needs updates of links of {group}; got {update!r}.")
        for loop in loops:
            require_single(space, pattern, loop)
        self.pattern, self.loops, self.updates, self.context = pattern, tuple(loops), tuple(updates), context
        self.hidden, self.kernel, self.activation, self.start = tuple(hidden), kernel, activation, start
        mu, sites = pattern.mu, pattern.sites(space.lattice)
        self.register_buffer("active", mu * space.volume + sites, persistent=False)
        # Paths: the active links, the R_i, the frozen plaquettes of each plane. All are read at once.
        frozen = {} if context == "local" else frozen_plaquettes(space, pattern)
        planes = [(base, Loop(b).steps(a, space.ndim)) for (a, b), base in frozen.items() if len(base)]
        indices = [self.active]
        self._paths: list[Path] = [(len(sites), (1,))]
        for base, steps in [*((sites, loop.steps(mu, space.ndim)[1:]) for loop in loops), *planes]:
            indices.append(link_index(space, base, steps).flatten())
            self._paths.append((len(base), tuple(sign for *_, sign in steps)))
        self.register_buffer("path_index", torch.cat(indices), persistent=False)
        # Every pair of loops through a link; where elements commute the differences to the first one say as much.
        pairs = list(itertools.combinations(range(len(loops)), 2)) if context != "plaquettes" else []
        self._pairs = [(i, j) for i, j in pairs if not group.abelian or i == 0]
        self.harmonics = max(1, group.angles // 2)  # traces of so many powers fix the eigenvalues
        sources = [(group.invariant_count(self.harmonics) * len(self._pairs), sites)] if self._pairs else []
        sources += [(group.invariant_count(), base) for base, _ in planes]
        if not sources:
            raise ValueError(f"{pattern} leaves no frozen loop for the context {context!r}.")
        self.counts = [update.count_with(len(loops)) for update in updates]
        self.net = ConvNet(space.lattice, sources, sites, sum(self.counts), hidden, kernel, activation).shrink(start)

    def _products(self, flat: Tensor) -> tuple[Tensor, ...]:
        """The active links, the R_i and the frozen plaquettes, each [base sites, batch, *matrix]."""
        return self.space.group.path_products(flat, self.path_index, self._paths)

    def _features(self, rest: Sequence[Tensor], frozen: Sequence[Tensor]) -> list[Tensor]:
        """The network's inputs, [channels, sites, batch]."""
        invariants = self.space.group.invariants
        local = [invariants([(rest[i], rest[j]) for i, j in self._pairs], self.harmonics)] if self._pairs else []
        return local + [invariants([loop]) for loop in frozen]

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        flat = self.space.check(x).flatten(1, 1 + self.space.ndim)
        v, *others = self._products(flat)
        rest, frozen = others[: len(self.loops)], others[len(self.loops) :]
        params = self.net(self._features(rest, frozen))
        v, parts = move_links(self.updates, v, rest, params, inverse)
        logdets = [part.sum(0) for part in parts]
        return flat.index_copy(1, self.active, v.transpose(0, 1)).view_as(x), sum(logdets[1:], logdets[0])

    def extra_repr(self) -> str:
        loops = ", ".join(map(str, self.loops))
        return f"{self.pattern}, loops [{loops}], updates {list(self.updates)}, context {self.context!r}"

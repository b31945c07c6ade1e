"""Gauge-equivariant couplings of links, for any group with eigenangles and in any dimension."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.bijections.base import Bijection, LinkContext, move_links
from flowkit.bijections.eigenangles import EigenangleSpline
from flowkit.checks import Count, Kernel, Start, Width, checked
from flowkit.geometry.closed_paths import Loop, link_index
from flowkit.geometry.patterns import Pattern
from flowkit.geometry.roles import frozen_loops, links_through, require_single
from flowkit.geometry.space import Space
from flowkit.groups.base import Path
from flowkit.nets import ConvNet
from flowkit.transforms.base import TwoWay


class GaugeCoupling(TwoWay):
    r"""Each active link V goes through a sequence of updates, given the loops through it whose other links are frozen.

    The loops are W_i = V R_i. Under a gauge transformation all of them are conjugated by the same element, each update
    commutes with that, and the network that supplies its parameters sees invariants of frozen loops alone: the coupling
    is gauge-equivariant. One evaluation of the network serves all updates. Links of different directions have networks
    of their own.

    Parameters
    ----------
    space : Space
        Links, fields ``[batch, mu, *lattice, *matrix]``.
    pattern : Pattern
        Which links move.
    loops : sequence of Loop
        The loops through each active link: their first step is along the first direction of the pattern, and for the
        others they are turned with them. The updates choose their active one among them, or learn it.
    updates : sequence of Bijection, optional
        Maps of a link given a `LinkContext`, in order: `EigenangleSpline` with a loop of its own or a learned one,
        `Residual` for SU(N). Default: one `EigenangleSpline` of a learned loop.
    hidden, kernel, activation, factorised, rank
        Of the network; see `flowkit.nets.ConvNet`.
    local : bool
        Whether the network sees, at the active link, the invariants of the loops R_i R_j^-1 that are left when V
        cancels between two loops through it.
    frozen : sequence of Loop
        Further loops whose invariants the network sees, at all sites where they hold no active link, such as
        ``Loop.rectangle().orientations(ndim)`` for all frozen plaquettes.
    start : float
        Factor on the last layer's initial weights; 0 starts at the identity.

    Raises
    ------
    ValueError
        For a space of sites, no loops or updates, updates of another group, a loop with two active links, or a pattern
        that leaves the network no frozen loop.

    References
    ----------
    Kanwar et al., 2003.06413; Boyda et al., 2008.05456; 2305.02402; 2502.00263.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.SUN(2))
    >>> loops = fk.Loop.rectangle().through(0, ndim=2)        # the plaquettes on both sides of a link of direction 0
    >>> coupling = fk.GaugeCoupling(space, fk.Pattern.checkerboard(0, ndim=2), loops)
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
        local: bool = True,
        frozen: Sequence[Loop] = (),
        start: Start = 0.1,
        factorised: str | None = None,
        rank: Count | None = None,
    ):
        super().__init__(space)
        group = space.group
        if space.kind != "links":
            raise ValueError(f"GaugeCoupling needs links; got {space}.")
        updates = [EigenangleSpline(group)] if updates is None else updates
        if not loops or not updates:
            raise ValueError(f"GaugeCoupling needs loops and updates; got {len(loops)} and {len(updates)}.")
        for update in updates:
            if getattr(update, "group", None) != group:
                raise ValueError(f"GaugeCoupling needs updates of links of {group}; got {update!r}.")
        for loop in loops:
            require_single(space, pattern, loop)
        self.pattern, self.loops, self.updates = pattern, tuple(loops), tuple(updates)
        self.local, self.frozen = local, tuple(frozen)
        self.hidden, self.kernel, self.activation, self.start = tuple(hidden), kernel, activation, start
        self.factorised, self.rank = factorised, rank
        self.register_buffer("active", pattern.links(space), persistent=False)
        # Paths: the active links, the R_i, the frozen loops of each shape. All are read at once.
        bases = [(frozen_loops(space, pattern, loop), loop.steps(space.ndim)) for loop in frozen]
        bases = [(sites, steps) for sites, steps in bases if len(sites)]
        self._paths: list[Path] = [(len(self.active), (1,))]
        self._paths += [(len(self.active), tuple(sign for _, sign in loop.path[1:])) for loop in loops]
        self._paths += [(len(sites), tuple(sign for *_, sign in steps)) for sites, steps in bases]
        indices = [self.active, *(links_through(space, pattern, loop)[1:].flatten() for loop in loops)]
        indices += [link_index(space, sites, steps).flatten() for sites, steps in bases]
        self.register_buffer("path_index", torch.cat(indices), persistent=False)
        # Every pair of loops through a link; where elements commute the differences to the first one say as much.
        pairs = list(itertools.combinations(range(len(loops)), 2)) if local else []
        self._pairs = [(i, j) for i, j in pairs if not group.abelian or i == 0]
        self.harmonics = max(1, group.angles // 2)  # traces of so many powers fix the eigenvalues
        seen = group.invariant_count(self.harmonics) * len(self._pairs)
        around = [(group.invariant_count(), sites) for sites, _ in bases]
        if not seen and not around:
            raise ValueError(f"The pattern of {pattern} leaves no frozen loop for the network.")
        self.counts = [update.count_with(len(loops)) for update in updates]
        places = [pattern.sites(space.lattice, mu) for mu in pattern.directions]
        self._places = [len(sites) for sites in places]
        self.nets = nn.ModuleList(
            ConvNet(
                space.lattice,
                [(seen, at), *around] if seen else around,
                at,
                sum(self.counts),
                hidden,
                kernel,
                activation,
                factorised,
                rank,
            ).shrink(start)
            for at in places
        )

    def _products(self, flat: Tensor) -> tuple[Tensor, ...]:
        """The active links, the R_i and the frozen loops, each [base sites, batch, *matrix]."""
        return self.space.group.path_products(flat, self.path_index, self._paths)

    def _features(self, rest: Sequence[Tensor], frozen: Sequence[Tensor]) -> list[Tensor]:
        """The inputs of the networks, [channels, sites, batch]; those at the active links, if any, first."""
        invariants = self.space.group.invariants
        local = [invariants([(rest[i], rest[j]) for i, j in self._pairs], self.harmonics)] if self._pairs else []
        return local + [invariants([loop]) for loop in frozen]

    def _answers(self, features: Sequence[Tensor]) -> Tensor:
        """The answers of the networks at the active links, [sum of counts, links, batch]."""
        first = len(features) - len(self._paths) + 1 + len(self.loops)
        own = [torch.split(one, self._places, 1) for one in features[:first]]
        answers = [net([*(one[k] for one in own), *features[first:]]) for k, net in enumerate(self.nets)]
        return torch.cat(answers, 1)

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        flat = self.space.check(x).flatten(1, 1 + self.space.ndim)
        v, *others = self._products(flat)
        rest, frozen = others[: len(self.loops)], others[len(self.loops) :]
        params = self._answers(self._features(rest, frozen))
        v, parts = move_links(self.updates, v, rest, params, inverse)
        logdets = [part.sum(0) for part in parts]
        return flat.index_copy(1, self.active, v.transpose(0, 1)).view_as(x), sum(logdets[1:], logdets[0])

    def extra_repr(self) -> str:
        loops = ", ".join(map(str, self.loops))
        frozen = ", ".join(map(str, self.frozen))
        seen = f"local={self.local}, frozen loops [{frozen}]"
        return f"{self.pattern}, loops [{loops}], updates {list(self.updates)}, {seen}"

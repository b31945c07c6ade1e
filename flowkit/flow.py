"""A flow: a prior and a transform. A Flow is itself a Prior."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Action, Pullback
from flowkit.geometry.patterns import Checkered, Loop, Stripes
from flowkit.geometry.space import Space
from flowkit.groups import SUN, U1
from flowkit.priors import Draw, FreeField, Haar, Prior
from flowkit.transforms import (
    Chain,
    CheckerboardCoupling,
    CircleSpline,
    DistributionConverter,
    GaugeCoupling,
    MatrixCoupling,
    RealSpline,
    Spectral,
    Transform,
)


class Flow(Prior):
    r"""A prior and a transform, x = f(z) with z ~ r: a trainable distribution q.

    .. math:: \log q(x) = \log r(z) - \log\left|\det \frac{df}{dz}\right|

    A flow is itself a Prior: it may be the prior of another flow.

    Parameters
    ----------
    prior : Prior
        r, any prior, another flow too.
    transform : Transform
        f, forward from the prior to the theory.

    Raises
    ------
    TypeError
        For other ingredients.
    ValueError
        Where prior and transform live on different spaces.

    Notes
    -----
    A transform with Markov kernels makes the flow `stochastic`: what draws come with is then the joint density of the
    path that led to them. Weights, ESS, importance sampling and independence Metropolis need no more. `log_prob`,
    `score` and `pullback` need the density of a field itself, and raise ValueError.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> flow = fk.Flow(fk.Normal(space), fk.CheckerboardCoupling(space, 0))
    >>> with torch.no_grad():
    ...     x, logq = flow.draw(3, torch.Generator().manual_seed(1))
    ...     x.shape, torch.allclose(flow.log_prob(x), logq)
    (torch.Size([3, 1, 4, 4]), True)
    """

    def __init__(self, prior: Prior, transform: Transform):
        if not isinstance(prior, Prior) or not isinstance(transform, Transform):
            names = f"{type(prior).__name__} and {type(transform).__name__}"
            raise TypeError(f"A flow needs a prior, then a transform; got {names}.")
        if prior.space != transform.space:
            raise ValueError(f"A flow needs prior and transform of one space; got {prior.space} and {transform.space}.")
        super().__init__(prior.space)
        self.prior, self.transform = prior, transform
        self.normalised, self.up_to_constant = prior.normalised, prior.up_to_constant

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of real numbers that the prior draws with."""
        return self.prior.dtype

    @property
    def device(self) -> torch.device:
        """The device that the prior draws on."""
        return self.prior.device

    @property
    def stochastic(self) -> bool:
        """Whether a step of it, or of its prior, is a Markov kernel: its density is then that of a path."""
        return self.transform.stochastic or self.prior.stochastic

    def draw(self, n: int, rng: torch.Generator) -> Draw:
        """n independent fields, ``[n, *space.shape]``, and log q, ``[n]``; of paths, where the flow is `stochastic`."""
        return self.transform.sample(self.prior, n, rng)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n independent fields, ``[n, *space.shape]``."""
        return self.draw(n, rng).x

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x), ``[batch]``.

        Raises
        ------
        ValueError
            For fields of another shape, dtype or device, and where the flow is `stochastic`.
        """
        self._require_density("log_prob")
        z, logdet = self.transform.inverse(self._mine(x))
        return self.prior.log_prob(z) + logdet

    def score(self, x: Tensor) -> Tensor:
        """d log q(x) / dparams at fixed x, [batch, params], where the transform knows it and the prior is fixed.

        Raises    ValueError otherwise
        """
        self._require_density("score")
        own = getattr(self.transform, "score", None)
        if own is None or any(p.requires_grad for p in self.prior.parameters()):
            kinds = f"{type(self.prior).__name__} and {type(self.transform).__name__}"
            raise ValueError(f"A score needs a transform that has one and a prior that does not learn; got {kinds}.")
        score: Tensor = own(self._mine(x), self.prior)
        return score

    def _require_density(self, what: str) -> None:
        """Raise ValueError where the flow has the joint density of a path alone."""
        if self.stochastic:
            raise ValueError(
                f"This flow has a Markov kernel among its steps, and so the joint density of a path alone; {what} "
                "needs the density of a field. importance_sample and IndependenceMetropolis do without."
            )

    def on(self, space: Space) -> "Flow":
        """The same flow on another lattice, with a copy of its weights."""
        return Flow(self.prior.on(space), self.transform.on(space))

    def pullback(self, action: Action) -> Pullback:
        r"""The action in the coordinates of the prior, :math:`S(f(z)) - \log|\det df/dz|`.

        Raises
        ------
        ValueError
            Where the flow is `stochastic`, or lives on another space.
        """
        self._require_density("pullback")
        return action.pullback(self.transform)

    def describe(self) -> dict[str, Any]:
        """The flow as plain data, for provenance."""
        return {
            "space": self.space.describe(),
            "prior": type(self.prior).__name__,
            "transform": str(self.transform),
            "parameters": sum(p.numel() for p in self.parameters()),
        }


def gauge_flow(space: Space, bins: int = 8, hidden: Sequence[int] = (16, 16), updates: int | None = None) -> Flow:
    """A gauge-equivariant flow for U(1) or SU(N) links that starts at Haar measure.

    In two dimensions the couplings go from coarse to fine: each splits rectangles of plaquettes in two by moving one
    link of their common side, given the loops on both sides of it; loops of r x t plaquettes are the active loops.
    That is the order in which the theory factorises. Odd factors of a side are peeled off first, one after another.
    In more dimensions half of the links of one direction move at a time, no two of them in one plaquette, each updated
    in turn through its plaquettes (U(1)) or through learned sums of its staples (SU(N)), conditioned on frozen loops.

    bins      of the splines
    hidden    channels of the networks' hidden layers
    updates   SU(N): spectral updates of a link in each coupling, every one with an active loop of its own; None takes 2
              for SU(2), whose first one is nearly the exact answer, and 4 beyond
    Raises    ValueError for a space that is not links of U1 or SUN in two or more dimensions, for a side of 1, or for
              odd sides in more than two dimensions
    """
    if space.kind != "links" or not isinstance(space.group, U1 | SUN) or space.ndim < 2:
        raise ValueError(f"gauge_flow builds flows for links of U1 or SUN in two or more dimensions; got {space}.")
    if min(space.lattice) < 2 or (space.ndim > 2 and any(side % 2 for side in space.lattice)):
        raise ValueError(f"gauge_flow needs sides of at least 2, and even ones beyond two dimensions; got {space}.")
    if updates is not None and (updates < 1 or not isinstance(space.group, SUN)):
        raise ValueError(f"gauge_flow takes updates >= 1, for SU(N) alone; got {updates} for {space.group}.")
    spectral = [Spectral(bins=bins) for _ in range(updates or (2 if space.group == SUN(2) else 4))]
    layers: list[Transform] = []
    if space.ndim == 2:
        for stripes, over, under in _splits(space.lattice):
            if isinstance(space.group, SUN):
                layers.append(MatrixCoupling(space, stripes, [over, under], spectral, hidden))
            else:
                layers.append(
                    GaugeCoupling(
                        space, stripes, [over], CircleSpline(bins), hidden, 1, context="local", around=[under]
                    )
                )
        return Flow(Haar(space), Chain(*layers))
    for mu in range(space.ndim):
        loops = [Loop(nu, below=below) for nu in range(space.ndim) if nu != mu for below in (False, True)]
        for parity in (0, 1):
            pattern = Checkered(mu, parity)
            if isinstance(space.group, SUN):
                layers.append(
                    MatrixCoupling(space, pattern, loops, spectral, hidden, (3, *[1] * len(hidden)), "silu", "both")
                )
            else:
                layers.append(GaugeCoupling(space, pattern, loops, CircleSpline(bins), hidden))
    return Flow(Haar(space), Chain(*layers))


def _splits(lattice: Sequence[int]) -> list[tuple[Stripes, Loop, Loop]]:
    """The cuts of rectangles in two, coarse to fine, until each is one plaquette: which links move, and the loops over
    and under them.
    """
    splits = []
    blocks = list(lattice)

    def cut(nu: int, period: int, place: int) -> None:
        """Cut each rectangle of `period` plaquettes along nu at `place`."""
        mu = 1 - nu
        periods, offsets = [0, 0], [0, 0]
        periods[mu], periods[nu], offsets[nu] = blocks[mu], period, place
        stripes = Stripes(mu, (periods[0], periods[1]), (offsets[0], offsets[1]))
        splits.append((stripes, Loop(nu, blocks[mu], blocks[nu]), Loop(nu, blocks[mu], place, below=True)))

    for nu in (1, 0):
        side = blocks[nu]
        blocks[nu] = side & -side  # the largest power of two in the side
        for place in range(side - blocks[nu], 0, -blocks[nu]):
            cut(nu, side, place)
    while max(blocks) > 1:
        nu = 0 if blocks[0] > blocks[1] else 1
        blocks[nu] //= 2
        cut(nu, 2 * blocks[nu], blocks[nu])
    return splits


def scalar_flow(space: Space, layers: int = 4, bins: int = 6, hidden: Sequence[int] = (24,)) -> Flow:
    """A flow for scalar fields: a free field of learned mass, checkerboard couplings that move each parity in turn by
    splines of the real line, and a symmetric distribution converter. A coupling's network looks once, at the frozen
    sites within two steps, and then thinks at each active site.

    layers    number of couplings
    bins      of their splines
    hidden    channels of the networks' hidden layers
    Raises    ValueError for links or odd lattice sides
    """
    kernels = (5, *[1] * len(hidden))
    couplings: list[Transform] = [
        CheckerboardCoupling(space, k % 2, RealSpline(bins), hidden, kernels) for k in range(layers)
    ]
    converter = DistributionConverter(space, 16, symmetric=True)
    return Flow(FreeField(space, 1.0, learned=True), Chain(*couplings, converter))

"""A model of a new link: a prior, then updates of the link on learned active loops, for any group."""

import itertools
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from flowkit.bijections.base import Bijection, LinkContext, move_links
from flowkit.bijections.eigenangles import EigenangleSpline
from flowkit.bijections.splines import OddCircleSpline
from flowkit.checks import Range, Width, checked
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops
from flowkit.nets import PointwiseNet
from flowkit.tasks.randomness import Rng


class StapleConditional(LinkConditional):
    r"""A prior for each new link, then updates of it on learned active loops, for any group.

    A pointwise network gives the parameters of the updates and the weights of their active loops. Its inputs are
    invariants of the closed loops that remain when V cancels between two loops through it; in two dimensions there is
    one such pair, and R_1 R_2^-1 is the coarse plaquette. The network is zero at the start: the model then is its
    prior. It is equivariant where its prior is.

    Parameters
    ----------
    prior : LinkConditional
        Of the link; its group is that of the model.
    updates : sequence of Bijection, optional
        In order; by default one spline on the learned loop.
    loops : int
        Number of loops through each link; `Stage.loops` tells it, 2 unless a doubling is ordered.
    harmonics : int
        Of the invariants.
    hidden : sequence of int
        Channels of the network's hidden layers; () makes the parameters linear in the invariants.
    activation : str
        Between them.
    windings : int
        The updates also see the longer loops :math:`(R_i R_j^{-1})^k R_i`, k = 1 ... windings, of each ordered pair. In
        two dimensions these wind around the coarse plaquette. With one winding the traces of SU(3) determine the
        eigenvectors of the coarse plaquette, which matter for a prior in the frame of the staples.

    Raises
    ------
    ValueError
        For no updates, harmonics < 1, windings < 0, updates of another group, or fewer than two loops.

    Notes
    -----
    .. math::
        V_k &= W_k' W_k^\dagger V_{k-1}, \quad W_k = V_{k-1}\, P[\sum_i c_{ki} S_i]^\dagger, \quad S_i = R_i^{-1} \\
        \log q(V | R) &= \log q_{\rm prior}(V_0 | R) - \sum_k \log|\det \partial V_k / \partial V_{k-1}|

    where the learned map :math:`W \to W'` commutes with conjugation. The invariants of a pair i < j are, for
    n = 1 ... harmonics,

    ======  ======================================================================================
    U(1)    cos n(R_i - R_j), and sin n(R_i - R_j) where an update is not odd
    SU(N)   the real part and, for N >= 3, the imaginary part of (1/N) Tr (R_i R_j^dagger)^n
    ======  ======================================================================================

    `score` needs one backward pass through the updates, and the prior's own score unless the prior is frozen.

    References
    ----------
    arXiv:2404.10819; learned active loops: arXiv:2502.00263.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> group, rng = fk.U1(), torch.Generator().manual_seed(1)
    >>> prior = fk.multiscale.HeatbathConditional(group, strength=2.0)
    >>> model = fk.multiscale.StapleConditional(prior, [fk.bijections.EigenangleSpline(group, bins=4)])
    >>> v, loops = group.haar((5,), rng), (group.haar((5,), rng), group.haar((5,), rng))
    >>> bool(torch.allclose(model.log_prob(v, loops), prior.log_prob(v, loops), atol=1e-5))
    True
    """

    @checked
    def __init__(
        self,
        prior: LinkConditional,
        updates: Sequence[Bijection[LinkContext]] | None = None,
        loops: Annotated[int, Range(2, 1000)] = 2,
        harmonics: Annotated[int, Range(1, 1000)] = 4,
        hidden: Sequence[Width] = (),
        activation: str = "tanh",
        windings: Annotated[int, Range(0, 1000)] = 0,
    ):
        super().__init__()
        self.group = prior.group
        if updates is None:
            updates = (EigenangleSpline(self.group, spline=OddCircleSpline() if self.group.angles == 1 else None),)
        if not updates:
            raise ValueError("StapleConditional needs updates, or None for the usual one; got ().")
        for update in updates:
            if getattr(update, "group", None) != self.group:
                raise ValueError(f"{update!r} does not move links of {self.group}, the prior's group.")
        self.prior, self.updates, self.loops, self.harmonics = prior, tuple(updates), loops, harmonics
        self.odd = not all(update.odd for update in updates)  # whether the network sees what is odd
        self.windings = windings
        seen = loops + loops * (loops - 1) * windings
        self.counts = [update.count_with(seen) for update in self.updates]
        channels = self.group.invariant_count(harmonics, self.odd) * (loops * (loops - 1) // 2)
        self.net = PointwiseNet([channels, *hidden, sum(self.counts)], activation)

    def _features(self, loops: Loops) -> Tensor:
        """The invariants f_n of all pairs of loops, [channels, ...]."""
        if len(loops) != self.loops:
            raise ValueError(f"StapleConditional is made for {self.loops} loops through each link; got {len(loops)}.")
        return self.group.invariants(list(itertools.combinations(loops, 2)), self.harmonics, self.odd)

    def _longer(self, loops: Loops) -> Loops:
        """All loops that the updates see."""
        found, G = list(loops), self.group
        for one, other in itertools.permutations(loops, 2):
            around = G.compose(one, G.inverse(other))
            for _ in range(self.windings):
                one = G.compose(around, one)
                found.append(one)
        return tuple(found)

    def _run(self, v: Tensor, loops: Loops, params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """The updates after the prior, given the parameters of all."""
        v, logdets = move_links(self.updates, v, self._longer(loops), params, inverse)
        return v, sum(logdets[1:], logdets[0])

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        v, before = self.prior(u, loops)
        v, logdet = self._run(v, loops, self.net(self._features(loops)), False)
        return v, before + logdet

    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        v, logdet = self._run(v, loops, self.net(self._features(loops)), True)
        u, before = self.prior.inverse(v, loops)
        return u, logdet + before

    def sample_and_log_prob(self, loops: Loops, rng: Rng = None) -> tuple[Tensor, Tensor]:
        v, logq = self.prior.sample_and_log_prob(loops, rng)
        v, logdet = self._run(v, loops, self.net(self._features(loops)), False)
        return v, logq - logdet

    def log_prob(self, v: Tensor, loops: Loops) -> Tensor:
        v, logdet = self._run(v, loops, self.net(self._features(loops)), True)
        return self.prior.log_prob(v, loops) + logdet

    @property
    def scored(self) -> bool:
        frozen = not any(p.requires_grad for p in self.prior.parameters())
        return super().scored and (frozen or self.prior.scored)

    def strengthen(self, ratio: float) -> None:
        self.prior.strengthen(ratio)

    @torch.no_grad()
    def score(self, v: Tensor, loops: Loops) -> Tensor:
        # Links do not depend on each other: the gradient of the sum of log q by the parameters of all links holds the
        # slopes of each one, and the chain rule of the network is applied field by field.
        features = self._features(loops)
        params = self.net(features)
        with torch.enable_grad():
            params = params.detach().requires_grad_()
            start, logdet = self._run(v.detach(), loops, params, True)
            total = (self.prior.log_prob(start, loops) + logdet).sum()
            (slopes,) = torch.autograd.grad(total, params)
        rows = [self.net.rows(features, slopes)]
        if any(p.requires_grad for p in self.prior.parameters()):
            rows.insert(0, self.prior.score(start.detach(), loops))
        return torch.cat(rows, 1)

    def extra_repr(self) -> str:
        return f"updates={list(self.updates)}, loops={self.loops}, harmonics={self.harmonics}, windings={self.windings}"

"""The staple-conditional flow: a prior for each new link, then updates on learned active loops, for any group."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijections.base import Bijection, LinkContext
from flowkit.bijections.eigenangles import EigenangleSpline
from flowkit.bijections.splines import OddCircleSpline
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops
from flowkit.nets import PointwiseNet


class StapleFlow(LinkConditional):
    """V_0 ~ prior(V_0 | R), then V_k = W_k' W_k^dagger V_{k-1}, W_k = V_{k-1} P[sum_i c_ki S_i]^dagger, S_i = R_i^-1:

        log q(V | R) = log prior(V_0 | R) - sum_k log|det dV_k / dV_{k-1}|

    with a learned map W -> W' that commutes with conjugation: a spline of the eigenangles, or any other map of links. A
    pointwise network gives the c_ki and the parameters of the maps for each link, from the closed loops that are left
    when V cancels between two of its loops, as invariants f_n, n = 1 ... harmonics, of all pairs i < j:

        U(1)    cos n(R_i - R_j), and sin n(R_i - R_j) where an update is not even
        SU(N)   Re and, for N >= 3, Im of (1/N) Tr (R_i R_j^dagger)^n

    The updates see the loops R_i and, for each ordered pair of them, the longer ones (R_i R_j^dagger)^k R_i,
    k = 1 ... windings. In two dimensions these go around the coarse plaquette; with 1 of them the traces of SU(3) tell
    the eigenvectors of the coarse plaquette apart, to which a prior in the frame of the staples refers.

    In two dimensions there is one pair, and R_i R_j^dagger is the coarse plaquette. The network is zero at start, and
    the flow then is its prior. Equivariant as its prior is.

    `score` needs one pass backwards through the updates, and the prior's own score unless the prior is frozen.

    prior      of the link: its group is the flow's
    updates    in order; None takes one spline on the learned loop
    loops      number of loops through each link; `Stage.loops` tells, 2 unless a doubling is ordered
    harmonics  of the invariants
    windings   of the longer loops among those that the updates see
    hidden     channels of the network's hidden layers; () makes the parameters linear in the f_n
    activation between them
    Raises     ValueError for no updates, harmonics < 1, windings < 0, updates of another group, or fewer than two loops
    See        2404.10819; 2502.00263 for learned active loops
    """

    def __init__(
        self,
        prior: LinkConditional,
        updates: Sequence[Bijection[LinkContext]] | None = None,
        loops: int = 2,
        harmonics: int = 4,
        hidden: Sequence[int] = (),
        activation: str = "tanh",
        windings: int = 0,
    ):
        super().__init__()
        self.group = prior.group
        if updates is None:
            updates = (EigenangleSpline(self.group, spline=OddCircleSpline() if self.group.angles == 1 else None),)
        if not updates or loops < 2 or harmonics < 1 or windings < 0:
            raise ValueError(
                "StapleFlow needs updates, two or more loops, harmonics >= 1 and windings >= 0; "
                f"got {len(updates)}, {loops}, {harmonics} and {windings}."
            )
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

    def _features(self, rest: Loops) -> Tensor:
        """The invariants f_n of all pairs of loops, [channels, ...]."""
        if len(rest) != self.loops:
            raise ValueError(f"This StapleFlow is made for {self.loops} loops through each link; got {len(rest)}.")
        return self.group.invariants(list(itertools.combinations(rest, 2)), self.harmonics, self.odd)

    def _longer(self, rest: Loops) -> Loops:
        """All loops that the updates see."""
        found, G = list(rest), self.group
        for one, other in itertools.permutations(rest, 2):
            around = G.compose(one, G.inverse(other))
            for _ in range(self.windings):
                one = G.compose(around, one)
                found.append(one)
        return tuple(found)

    def _forward(self, v: Tensor, rest: Loops, params: Tensor) -> tuple[Tensor, Tensor]:
        rest, total = self._longer(rest), torch.zeros_like(params[0])
        for update, own in zip(self.updates, torch.split(params, self.counts), strict=True):
            v, logdet = update.forward(v, LinkContext(rest, own))
            total = total + logdet
        return v, total

    def _inverse(self, v: Tensor, rest: Loops, params: Tensor) -> tuple[Tensor, Tensor]:
        rest, total = self._longer(rest), torch.zeros_like(params[0])
        for update, own in reversed(list(zip(self.updates, torch.split(params, self.counts), strict=True))):
            v, logdet = update.inverse(v, LinkContext(rest, own))
            total = total + logdet
        return v, total

    def from_base(self, u: Tensor, rest: Loops) -> tuple[Tensor, Tensor]:
        v, logq = self.prior.from_base(u, rest)
        v, logdet = self._forward(v, rest, self.net(self._features(rest)))
        return v, logq - logdet

    def to_base(self, v: Tensor, rest: Loops) -> tuple[Tensor, Tensor]:
        v, logdet = self._inverse(v, rest, self.net(self._features(rest)))
        u, logq = self.prior.to_base(v, rest)
        return u, logq + logdet

    def sample_and_log_prob(self, rest: Loops, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        v, logq = self.prior.sample_and_log_prob(rest, rng)
        v, logdet = self._forward(v, rest, self.net(self._features(rest)))
        return v, logq - logdet

    def log_prob(self, v: Tensor, rest: Loops) -> Tensor:
        v, logdet = self._inverse(v, rest, self.net(self._features(rest)))
        return self.prior.log_prob(v, rest) + logdet

    @property
    def scored(self) -> bool:
        frozen = not any(p.requires_grad for p in self.prior.parameters())
        return super().scored and (frozen or self.prior.scored)

    def strengthen(self, ratio: float) -> None:
        self.prior.strengthen(ratio)

    @torch.no_grad()
    def score(self, v: Tensor, rest: Loops) -> Tensor:
        """As LinkConditional.score, for the parameters that require a gradient. Links know nothing of each other: one
        gradient of the sum of log q gives the slope of each along its own parameters, and the network's chain rule is
        taken field by field.
        """
        features = self._features(rest)
        params = self.net(features)
        with torch.enable_grad():
            params = params.detach().requires_grad_()
            start, logdet = self._inverse(v.detach(), rest, params)
            total = (self.prior.log_prob(start, rest) + logdet).sum()
            (slopes,) = torch.autograd.grad(total, params)
        rows = [self.net.rows(features, slopes)]
        if any(p.requires_grad for p in self.prior.parameters()):
            rows.insert(0, self.prior.score(start.detach(), rest))
        return torch.cat(rows, 1)

    def extra_repr(self) -> str:
        return f"updates={list(self.updates)}, loops={self.loops}, harmonics={self.harmonics}, windings={self.windings}"

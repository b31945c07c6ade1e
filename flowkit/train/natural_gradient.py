"""Training by natural gradient, for models that know their score."""

from typing import Any, Protocol, cast

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.flow import Flow
from flowkit.priors import Prior
from flowkit.train.trainer import Report, TrainingStep

INSTEAD = "Leave step= out: Adam, the usual step of a Trainer, needs none."


class Scored(Protocol):
    """A prior that knows s = d log q(x) / dparams, [batch, params], for the parameters that require a gradient."""

    def score(self, x: Tensor) -> Tensor:
        """The score of each field, parameters in the order of `parameters()`, each flattened."""


class NaturalGradientStep(TrainingStep):
    """d = (F + ridge)^-1 <s log w>, F = <s s^T>, s the centred scores of the draws: the least-squares fit of log w.

    It is the natural gradient of the reverse KL and the Gauss-Newton step of the variance of log w. Where the family
    (nearly) contains the target, the residual of the fit vanishes with the distance, and its noise with it: the
    convergence is geometric.

    Annealing: each step aims at exp(-t S) with the largest t <= 1 whose predicted change, KL = d^T F d / 2, is at most
    `kl`, and never falls back; for the Wilson action t beta is the coupling of the moment. Where even the present t
    asks for more, the step is shortened to that size. What is reported (loss, log w) is against the target, t = 1.

    kl        largest predicted change of a step, in nats
    ridge     on the diagonal of F, relative to it and, a hundredth of it, to its mean
    lr        part of d that is taken, times the schedule's factor
    progress  t, [], float64
    predicted KL of the last step, [], float64: it tells how far there was to go
    Raises    ValueError for kl, ridge or lr that are not positive, or lr > 1, and by Trainer for a flow without score
    See       Amari, Neural Computation 10 (1998) 251
    """

    progress: Tensor
    predicted: Tensor

    def __init__(self, kl: float = 4.0, ridge: float = 1e-6, lr: float = 1.0):
        if not kl > 0 or not ridge > 0 or not 0 < lr <= 1:
            raise ValueError(f"NaturalGradientStep needs kl > 0, ridge > 0 and lr in (0, 1]; got {kl}, {ridge}, {lr}.")
        self.kl, self.ridge, self.lr = kl, ridge, lr

    @torch.no_grad()
    def prepare(self, flow: Prior) -> None:
        knows = flow.transform if isinstance(flow, Flow) else flow
        if not callable(getattr(knows, "score", None)):
            raise ValueError(
                f"A natural gradient needs a model with a score; {type(flow).__name__} has none. {INSTEAD}"
            )
        self._take_parameters(flow)
        try:  # a part of the flow may have none, which one field tells
            cast(Scored, flow).score(flow.space.cold(1, like=torch.empty(0, dtype=flow.dtype, device=flow.device)))
        except ValueError as error:
            raise ValueError(f"A natural gradient needs a model with a score. {error} {INSTEAD}") from error
        self.progress = torch.zeros((), dtype=torch.float64, device=flow.device)
        self.predicted = torch.full_like(self.progress, torch.inf)

    @torch.no_grad()
    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        x, logq = flow.draw(batch, rng)
        S = action(x)
        # Sums of many terms that cancel: in double precision whatever the flow computes in.
        s = cast(Scored, flow).score(x).double()
        s = s - s.mean(0)
        targets = -torch.stack([logq.double(), S.double()], 1)  # log w = first + t second
        slopes = s.T @ (targets - targets.mean(0)) / batch
        fisher = s.T @ s / batch
        diagonal = fisher.diagonal()
        damped = fisher + torch.diag(self.ridge * (diagonal + diagonal.mean() / 100))
        moves = torch.linalg.solve_ex(damped, slopes).result
        self.progress = self._next(moves.T @ fisher @ moves / 2)
        move = moves[:, 0] + self.progress * moves[:, 1]
        self.predicted = move @ fisher @ move / 2
        move = move * (self.learning_rate(lr_factor) * (self.kl / self.predicted).sqrt().clamp(max=1))
        finite = move.isfinite().all()
        sizes = [p.numel() for p in self.parameters]
        for p, change in zip(self.parameters, torch.split(move, sizes), strict=True):
            p.copy_(torch.where(finite, p + change.view_as(p), p))
        logw = -S - logq
        gradient = torch.split(slopes[:, 0] + slopes[:, 1], sizes)  # of the reverse KL, up to its sign
        return Report(-logw.mean(), logw, torch.stack([g.norm() for g in gradient]).to(logw.dtype))

    def _next(self, form: Tensor) -> Tensor:
        """The largest t in [progress, 1] with (1, t) form (1, t)^T <= kl, or the present one."""
        a, b, c = form[1, 1], 2 * form[0, 1], form[0, 0] - self.kl
        root = ((b * b - 4 * a * c).clamp(min=0).sqrt() - b) / (2 * a)
        # 0 / 0 where the action does not vary over the draws: any t is as good.
        t = torch.maximum(root.nan_to_num(1.0).clamp(max=1), self.progress)
        return torch.where(form.isfinite().all(), t, self.progress)

    def learning_rate(self, lr_factor: float) -> float:
        return self.lr * lr_factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"progress": self.progress.clone(), "predicted": self.predicted.clone()}, {}

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        if set(tensors) != {"progress", "predicted"}:
            raise ValueError(f"NaturalGradientStep keeps progress and predicted; got {', '.join(sorted(tensors))}")
        self.progress, self.predicted = (
            tensors[name].clone().to(self.progress.device) for name in ("progress", "predicted")
        )

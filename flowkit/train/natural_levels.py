"""Training of multiscale models level by level, each level by natural gradient on its own scores."""

import math
from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.priors import Prior
from flowkit.train.levels import LevelStep
from flowkit.train.trainer import Report

FIRST, LEAST, MOST = 0.1, 3e-3, 1e4  # damping
WORSE, SLACK = 20.0, 1e-6  # KL of a link above WORSE times the last one (nats, plus SLACK) takes a step back


class NaturalLevelStep(LevelStep):
    """The levels of LevelStep, each fitted by d = (F + damping diag F)^-1 <s (log w - <log w>_A)>, F = <s s^T>.

    s are the scores of single links, less their mean over the draws that share an A: a least-squares fit of log w, up
    to its normaliser, on the scores. Neither the other levels nor the other links of a field add noise, so that a batch
    of some thousand links determines a hundred parameters. Where the family contains the exact conditional, the
    convergence is geometric.

    The size of a step is that of Levenberg and Marquardt: where the KL of a link has grown to more than 20 times what
    it was, the weights go back and the damping grows; otherwise it shrinks. In the last 40 % of a level's steps the
    part of d that is taken falls as 1/t, which averages what is left of the noise.

    A part `wide` of all A is Haar: where hardly a plaquette is, the parameters, smooth functions of A, are held too.

    kl        largest predicted change of a step, nats a link
    wide      part of all A, in [0, 1)
    steps, draws, order, shares, pool, fields  as in LevelStep
    Raises    ValueError for options out of these ranges, a model of new links without score, and as LevelStep
    See       Amari, Neural Computation 10 (1998) 251; Marquardt, SIAM J. 11 (1963) 431
    """

    saved: Tensor
    last: Tensor
    damping: Tensor

    def __init__(self, steps: int, kl: float = 0.1, wide: float = 0.125, draws: int = 8, **options: Any):
        if not kl > 0 or not 0 <= wide < 1:
            raise ValueError(f"NaturalLevelStep needs kl > 0 and wide in [0, 1); got {kl} and {wide}.")
        super().__init__(steps, lr=1.0, kl=0.0, draws=draws, **options)
        self.largest, self.wide = kl, wide

    def prepare(self, flow: Prior) -> None:
        super().prepare(flow)
        for model in self.models:
            if not model.scored:
                raise ValueError(f"A natural gradient needs a model with a score; {type(model).__name__} has none.")
        self._restart(0)

    def _own(self, level: int) -> list[Tensor]:
        return [p for p in self.models[level].parameters() if p.requires_grad]

    def _restart(self, level: int) -> None:
        """What is known about the present level: nothing."""
        self.saved = torch.cat([p.detach().flatten() for p in self._own(level)])
        self.last = torch.full((), torch.inf, dtype=torch.float64, device=self.saved.device)
        self.damping = torch.full_like(self.last, FIRST)

    @torch.no_grad()
    def _improve(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        level, now, count = self._place()
        if now == 0:
            self._restart(level)
        self._factor = 1.0 if now < 0.6 * count else 2 / (2 + now - 0.6 * count)
        n = batch // self.draws
        wide = self.group.haar((int(n * self.wide),), rng, flow.dtype).to(self.pool)
        index = torch.randint(len(self.pool), (n - len(wide),), generator=rng, device=rng.device)
        links, rest, logw = self._draw(level, torch.cat([self.pool[index], wide]), rng)
        single = tuple(r.unsqueeze(1) for r in rest)  # each link a field of its own
        s = self.models[level].score(links.unsqueeze(1), single).double().view(self.draws, n, -1)
        s = (s - s.mean(0)).flatten(0, 1)
        excess = logw.double()
        kl = (torch.logsumexp(excess, 0) - math.log(self.draws) - excess.mean(0)).mean()
        slopes = s.T @ (excess - excess.mean(0)).flatten() / len(s)
        fisher = s.T @ s / len(s)
        diagonal = fisher.diagonal()
        damped = fisher + torch.diag(self.damping * (diagonal + diagonal.mean() / 100))
        move = torch.linalg.solve_ex(damped, slopes).result
        predicted = move @ fisher @ move / 2
        move = move * (self.learning_rate(lr_factor) * (self.largest / predicted).sqrt().clamp(max=1))
        better = (kl <= WORSE * self.last + SLACK) & move.isfinite().all()
        parameters = self._own(level)
        old = torch.cat([p.flatten() for p in parameters])
        new = torch.where(better, old + move.to(old), self.saved)
        self.saved = torch.where(better, old, self.saved)
        self.last = torch.where(better, kl, self.last)
        self.damping = torch.where(better, self.damping / 2, self.damping * 8).clamp(LEAST, MOST)
        sizes = [p.numel() for p in parameters]
        for p, values in zip(parameters, torch.split(new, sizes), strict=True):
            p.copy_(values.view_as(p))
        norms = torch.zeros(len(self.parameters), dtype=logw.dtype, device=logw.device)
        places = [k for k, p in enumerate(self.parameters) if any(p is own for own in parameters)]
        norms[places] = torch.stack([part.norm() for part in torch.split(slopes, sizes)]).to(norms)
        return Report(kl.to(logw.dtype), logw.flatten(), norms)

    def learning_rate(self, lr_factor: float) -> float:
        return lr_factor * self._factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, meta = super().state()
        own = {"saved": self.saved.clone(), "last": self.last.clone(), "damping": self.damping.clone()}
        return {**tensors, **own}, meta

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        names = ("saved", "last", "damping")
        if any(name not in tensors for name in names):
            raise ValueError(f"NaturalLevelStep keeps {', '.join(names)}; got {', '.join(sorted(tensors))}")
        super().load_state({name: t for name, t in tensors.items() if name not in names}, meta)
        self.saved, self.last, self.damping = (tensors[name].clone().to(self.pool.device) for name in names)

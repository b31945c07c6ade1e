"""Maximum likelihood of the links that one model describes, by Fisher scoring."""

from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.multiscale import LinkConditional
from flowkit.tasks.ranks import ranks, summed
from flowkit.train.natural_gradient import flat, write

BLOCK = 2**16
"""Links whose scores are held at a time."""
PRIOR_LINKS = 20.0
"""Links that the prior of the parameters weighs as much as."""


class Links(NamedTuple):
    """Links and the loops through them, each a field of its own: [links, 1, *matrix]."""

    v: Tensor
    loops: tuple[Tensor, ...]

    def part(self, which: slice) -> "Links":
        return Links(self.v[which], tuple(r[which] for r in self.loops))


def fisher_scoring(
    model: LinkConditional,
    data: Links,
    rng: torch.Generator,
    iterations: int,
    max_kl: float,
    ridge: float,
    factor: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Fit a model to links in place, as `MaximumLikelihoodStep` says: -<log q> for a link and its slope, at the end."""
    own = [p for p in model.parameters() if p.requires_grad]
    count = sum(p.numel() for p in own)
    start = data.part(slice(None, None, max(1, min(8, len(data.v) // (100 * count)))))
    for turn in range(iterations):
        seen = start if turn < iterations - 3 else data
        loss, slope = _slope(model, seen)
        fisher = _fisher(model, data, rng, count)
        old = flat(own)
        if turn == 0:  # where a model already has the law of few links, its own F vanishes
            diagonal = fisher.diagonal() + fisher.diagonal().mean() / 100
        prior = (ridge + PRIOR_LINKS / len(seen.v)) * diagonal
        move = torch.linalg.solve_ex(fisher + torch.diag(prior), slope - prior * old).result
        predicted = move @ fisher @ move / 2
        new = old + move * (factor * (max_kl / predicted).sqrt().clamp(max=1))
        write(own, torch.where(new.isfinite().all(), new, old))
    return loss, slope


def _slope(model: LinkConditional, data: Links) -> tuple[Tensor, Tensor]:
    """-<log q>, [], and <s>, [params], in double precision; each rank takes its share of the links."""
    total, log = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    total, log = total.to(data.v.device), log.to(data.v.device)
    mine = data.part(slice(ranks().rank, None, ranks().world))
    for start in range(0, len(mine.v), BLOCK):
        part = mine.part(slice(start, start + BLOCK))
        log = log - model.log_prob(part.v, part.loops).double().sum()
        total = total + model.score(part.v, part.loops).double().sum(0)
    log, total = summed([log, total])
    return log / len(data.v), total / len(data.v)


def _fisher(model: LinkConditional, data: Links, rng: torch.Generator, params: int) -> Tensor:
    """<s s^T> of links drawn by the model, [params, params], in double precision."""
    few = data.part(slice(None, None, max(1, len(data.v) // max(8192, 200 * params))))
    v, _ = model.sample_and_log_prob(few.loops, rng)  # all of them on every rank, from one stream
    mine = Links(v, few.loops).part(slice(ranks().rank, None, ranks().world))
    s = model.score(mine.v, mine.loops).double()
    return summed([s.T @ s])[0] / len(v)

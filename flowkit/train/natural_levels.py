"""Improving the model of one level by natural gradient on the scores of single links."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from flowkit.checks import Positive, Range, checked
from flowkit.multiscale import LinkConditional
from flowkit.priors import Prior
from flowkit.train.level_methods import LevelFit, LevelMethod
from flowkit.train.natural_gradient import FisherFit, flat, write
from flowkit.train.state import check_range, check_tensors
from flowkit.train.step import Report


class LevelNaturalGradient(LevelMethod):
    r"""Natural gradient on the scores of single links, damped as by Levenberg and Marquardt.

    Parameters
    ----------
    max_kl_per_link : float
        Largest change of a step that the quadratic model predicts, in nats for a link, positive.
    wide : float
        Part of all A that is drawn from Haar measure, in [0, 1). Haar-distributed A constrain the model also where
        plaquettes of the theory are rare.

    Raises
    ------
    ValueError
        For an option outside its range; by `Trainer` for a model of new links without score.

    Notes
    -----
    The step is a least-squares fit of log w, up to its normaliser, by the scores s of single links, both less their
    mean over the links that share an A:

    .. math:: d = (F + \lambda\, \mathrm{diag} F)^{-1} \langle s (\log w - \langle \log w \rangle_A) \rangle,
              \qquad F = \langle s s^T \rangle

    Neither other levels nor the other links of a field add noise: a batch of some thousand links determines a hundred
    parameters. Where the family contains the exact conditional, the convergence is geometric.

    Where the KL of a link has grown to more than 20 times its last value, the weights go back and the damping
    :math:`\lambda` grows eightfold; otherwise it is halved [2]_. In the last 40 % of a level's steps the part of d that
    is taken falls as 1/t, which averages the remaining noise.

    References
    ----------
    .. [1] S. Amari, Neural Computation 10 (1998) 251.
    .. [2] D. W. Marquardt, SIAM J. 11 (1963) 431.

    Examples
    --------
    >>> from flowkit.train import LevelNaturalGradient, LevelStep
    >>> LevelStep(100, LevelNaturalGradient(max_kl_per_link=0.05)).method.max_kl_per_link
    0.05
    """

    damping_first, damping_least, damping_most = 0.1, 3e-3, 1e4
    worse, slack = 20.0, 1e-6
    """A KL above worse times the last one, plus slack (in nats), takes a step back."""

    @checked
    def __init__(self, max_kl_per_link: Positive = 0.1, wide: Annotated[float, Range(0, 1, "[)")] = 0.125):
        self.max_kl_per_link, self.wide, self._factor = max_kl_per_link, wide, 1.0

    def prepare(self, flow: Prior, models: Sequence[LinkConditional]) -> None:
        if without := [type(model).__name__ for model in models if not model.scored]:
            raise ValueError(f"A natural gradient needs a model with a score; {without[0]} has none.")
        self._all = [p for p in flow.parameters() if p.requires_grad]
        self._owned = [self._own(model) for model in models]
        self._restart(self._owned[0])

    @staticmethod
    def _own(model: LinkConditional) -> list[Tensor]:
        return [p for p in model.parameters() if p.requires_grad]

    def _restart(self, parameters: list[Tensor]) -> None:
        """Forget the last weights, KL and damping: they were those of another level."""
        self.saved = flat(parameters)
        self.last = torch.full((), torch.inf, dtype=torch.float64, device=self.saved.device)
        self.damping = torch.full_like(self.last, self.damping_first)

    @torch.no_grad()
    def improve(self, fit: LevelFit, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        parameters = self._own(fit.model)
        if fit.now == 0:
            self._restart(parameters)
        self._factor = 1.0 if fit.now < 0.6 * fit.count else 2 / (2 + fit.now - 0.6 * fit.count)
        n = batch // fit.draws
        wide = fit.group.haar((int(n * self.wide),), rng, fit.pool.real.dtype).to(fit.pool)
        links, loops, logw = fit.sample(torch.cat([fit.some(n - len(wide), rng), wide]), rng)
        # Each link is a field of its own, and has a score of its own.
        s = fit.model.score(links.unsqueeze(1), tuple(r.unsqueeze(1) for r in loops)).double().view(fit.draws, n, -1)
        excess = logw.double()
        kl = (torch.logsumexp(excess, 0) - math.log(fit.draws) - excess.mean(0)).mean()
        solved = FisherFit.of((s - s.mean(0)).flatten(0, 1), (excess - excess.mean(0)).flatten(), self.damping)
        _, move = solved.limited(solved.moves, self.max_kl_per_link, self.learning_rate(lr_factor))
        old = flat(parameters)
        new = old + move
        better = (kl <= self.worse * self.last + self.slack) & new.isfinite().all()
        write(parameters, torch.where(better, new, self.saved))
        self.saved, self.last = torch.where(better, old, self.saved), torch.where(better, kl, self.last)
        damping = torch.where(better, self.damping / 2, self.damping * 8)
        self.damping = damping.clamp(self.damping_least, self.damping_most)
        norm = {id(p): one for p, one in zip(parameters, solved.norms(parameters), strict=True)}
        norms = torch.stack([norm.get(id(p), torch.zeros_like(kl)) for p in self._all])
        return Report(kl.to(logw.dtype), logw.flatten(), norms.to(logw.dtype))

    def learning_rate(self, lr_factor: float) -> float:
        return lr_factor * self._factor

    def state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name).clone() for name in ("saved", "last", "damping")}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        for name, value in tensors.items():
            setattr(self, name, value.clone().to(self.saved.device))

    def check_state(self, tensors: dict[str, Tensor], level: int) -> None:
        who = type(self).__name__
        # The first step of a level forgets the weights of the level before.
        check_tensors(who, tensors, {**self.state(), "saved": flat(self._owned[level])}, free=("last",))
        check_range(who, "damping", tensors["damping"], self.damping_least, self.damping_most)
        if bool(tensors["last"].isnan()):
            raise ValueError(f"last of {who} is NaN")

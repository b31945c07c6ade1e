"""How the model of one level is improved, and the usual way: by gradient."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit.checks import Rate, Share, checked
from flowkit.groups import Group
from flowkit.multiscale import LinkConditional
from flowkit.multiscale.doubling import Loops
from flowkit.priors import Prior
from flowkit.train.gradient_step import GradientStep
from flowkit.train.losses import Loss
from flowkit.train.schedules import Cosine
from flowkit.train.step import Report


@dataclass(frozen=True)
class LevelFit:
    """The data of one training step of one level, which a `LevelMethod` reads.

    Parameters
    ----------
    model : LinkConditional
        The model of the level's new links.
    effective : callable
        f of group elements, ``[n, *matrix] -> [n]``: minus the effective action of a plaquette of this scale.
    group : Group
        The group of the links.
    pool : Tensor
        Products A of plaquettes, ``[pool, *matrix]``.
    draws : int
        Links that share an A.
    now, count : int
        Steps of this level so far, and in all.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.train import LevelFit
    >>> group, rng = fk.U1(), torch.Generator().manual_seed(1)
    >>> model = fk.multiscale.ClassFunctionConditional(4)
    >>> fit = LevelFit(model, lambda x: 2 * group.trace(x), group, torch.zeros(100), draws=8, now=0, count=10)
    >>> links, loops, logw = fit.sample(fit.some(5, rng), rng)
    >>> tuple(links.shape), tuple(logw.shape)
    ((40,), (8, 5))
    """

    model: LinkConditional
    effective: Callable[[Tensor], Tensor]
    group: Group
    pool: Tensor
    draws: int
    now: int
    count: int

    def some(self, n: int, rng: torch.Generator) -> Tensor:
        """n elements of the pool, ``[n, *matrix]``."""
        return self.pool[torch.randint(len(self.pool), (n,), generator=rng, device=rng.device)]

    def sample(self, A: Tensor, rng: torch.Generator) -> tuple[Tensor, Loops, Tensor]:
        """For each A ``[n, *matrix]``: `draws` links ``[draws * n, *matrix]``, their loops, log w ``[draws, n]``."""
        G, n = self.group, len(A)
        A = A.repeat(self.draws, *[1] * (A.dim() - 1))
        loops = (A, G.identity((len(A),), A))
        V, logq = self.model.sample_and_log_prob(loops, rng)
        logw = self.effective(G.compose(V, A)) + self.effective(V) - logq
        return V, loops, logw.view(self.draws, n)


class LevelMethod(ABC):
    """One way to improve the model of a level; the `method` of a `LevelStep`.

    A level step asks it for one update after another, each on a `LevelFit`: the present model, the function that its
    links are to follow, and the products A of plaquettes.

    Examples
    --------
    >>> from flowkit.train import LevelGradient, LevelMethod, LevelStep
    >>> method = LevelStep(100).method
    >>> isinstance(method, LevelMethod), method.learning_rate(lr_factor=0.5)
    (True, 0.005)
    """

    @abstractmethod
    def prepare(self, flow: Prior, models: Sequence[LinkConditional]) -> None:
        """Store the parameters to be trained, of the flow and of the models from fine to coarse."""

    @abstractmethod
    def improve(self, fit: LevelFit, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        """One update of the model of `fit`; at ``fit.now == 0`` a new level begins."""

    @abstractmethod
    def learning_rate(self, lr_factor: float) -> float:
        """The learning rate of the last update."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs."""

    @abstractmethod
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned, as `check_state` has found it right."""

    @abstractmethod
    def check_state(self, tensors: dict[str, Tensor], level: int) -> None:
        """Raise ValueError for what cannot be the state after a step of this level, counted from fine to coarse."""


class LevelGradient(LevelMethod):
    r"""Adam on the reverse KL of single links, then on the variance of their log-weights.

    Parameters
    ----------
    lr : float
        Learning rate; it falls to zero within each level, after a linear rise over a tenth of its steps.
    kl_fraction : float
        Part of a level's steps, in [0, 1], that minimise the reverse KL; the other steps minimise the variance. Use 0
        for a model that starts near its target, such as `HeatAngleConditional`.

    Raises
    ------
    ValueError
        For an option outside its range.

    Notes
    -----
    The loss is in nats for a link, estimated on `draws` links V for each A:

    .. math:: \langle \ln Z(A) - \log w \rangle \quad\text{and}\quad
              \tfrac12 \langle \mathrm{Var}(\log w \mid A) \rangle.

    ln Z(A) is estimated from the same links, so that this KL comes out low by about one part in `draws`.

    Examples
    --------
    >>> from flowkit.train import LevelGradient, LevelStep
    >>> LevelStep(4000, LevelGradient(lr=1e-2, kl_fraction=0.0)).method.lr
    0.01
    """

    @checked
    def __init__(self, lr: Rate = 1e-2, kl_fraction: Share = 0.35):
        self.lr, self.kl_fraction, self._factor = lr, kl_fraction, 1.0
        self._adam = GradientStep(lr=lr)

    def prepare(self, flow: Prior, models: Sequence[LinkConditional]) -> None:
        self._adam.prepare(flow)

    def improve(self, fit: LevelFit, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        if fit.now == 0:
            self._adam.forget()
        self._factor = Cosine(warmup=fit.count // 10).factor(fit.now, fit.count, math.nan)
        _, _, logw = fit.sample(fit.some(batch // fit.draws, rng), rng)
        if fit.now >= self.kl_fraction * fit.count:
            value = logw.var(0).mean() / 2
        else:
            value = (torch.logsumexp(logw.detach(), 0) - math.log(fit.draws) - logw).mean()
        return self._adam.descend(Loss(value, logw.detach().flatten()), lr_factor * self._factor)

    def learning_rate(self, lr_factor: float) -> float:
        return self._adam.learning_rate(lr_factor * self._factor)

    def state(self) -> dict[str, Tensor]:
        return self._adam.state()[0]

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        self._adam.load_state(tensors, {})

    def check_state(self, tensors: dict[str, Tensor], level: int) -> None:
        self._adam.check_state(tensors, {})

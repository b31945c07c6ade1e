"""Training of multiscale models in two dimensions one scale after the other, the finest first."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor

from flowkit.actions import Action, Wilson
from flowkit.checks import LARGEST, Count, Positive, Range, checked
from flowkit.multiscale import LinkConditional, levels
from flowkit.priors import Prior
from flowkit.samplers.heatbath import one_plaquette
from flowkit.tasks.randomness import lasting
from flowkit.train.level_methods import LevelFit, LevelGradient, LevelMethod
from flowkit.train.state import check_plain, check_tensors
from flowkit.train.step import Report, TrainingStep

ORDERS = {1: 16, 2: 12, 3: 5}
"""Order of the characters for U(1), SU(2), SU(3), by the dimension of the group's matrices; 3 beyond."""


def _models_of(flow: Prior) -> list[LinkConditional]:
    """The model of the new links of each level, from fine to coarse.

    Raises
    ------
    ValueError
        For a flow whose levels cannot be trained one by one.
    """
    models = [level.models[0] for level in reversed(levels(flow))]
    if not models or flow.space.ndim != 2:
        raise ValueError(f"LevelStep trains a multiscale model of links in 2D; got {type(flow).__name__}.")
    new = {p for model in models for p in model.parameters()}
    if any(p.requires_grad for p in flow.parameters() if p not in new):
        raise ValueError("LevelStep trains new links alone; freeze the coarsest prior with requires_grad_(False).")
    if len(set(models)) != len(models):
        raise ValueError(f"LevelStep needs a model for each of {len(models)} doublings, none shared.")
    return models


class LevelStep(TrainingStep):
    r"""Trains a multiscale model of links level by level, from fine to coarse, on single plaquettes.

    Parameters
    ----------
    steps : int
        Steps of the whole plan, divided among the levels by `shares`. A run that goes on beyond them begins again at
        the finest level.
    method : LevelMethod, optional
        How a level is improved: `LevelGradient` (also the default) or `LevelNaturalGradient`.
    draws : int
        Links V that share an A, at least 2; the trainer's batch is a multiple of it.
    order : int, optional
        Order of the characters in the fit of the effective action. By default 16 for U(1), 12 for SU(2), 5 for SU(3), 3
        beyond.
    shares : sequence of float, optional
        Share of the steps of each level, from fine to coarse, positive. By default :math:`2^{-j/2}`.
    pool : int
        Number of products A that are kept, at least 64.
    fields : int
        Number of whole fields that are drawn after each level for ESS, KL and acceptance, at least 2. Coarser levels
        are untrained then.

    Raises
    ------
    ValueError
        For an option outside its range; by `Trainer` for a model or an action that cannot be trained in this way.

    Notes
    -----
    Level j = 0, 1, ... counts from fine to coarse. Its new links V stand between two plaquettes of that scale, and
    given :math:`A = R_\mathrm{right}^{-1} R_\mathrm{left}` they are independent with density

    .. math:: q(V \mid A) \propto e^{f_j(V A) + f_j(V)}, \qquad f_0 = \frac{\beta}{N} \mathrm{Re\,Tr}.

    A is a product of :math:`2^{j+1}` plaquettes of the action, independent but for the torus. Once level j is
    trained, its log-weights estimate the effective action of the next scale,

    .. math:: f_{j+1}(A) = \ln \int dV\, e^{f_j(V A) + f_j(V)},

    by least squares on characters of A: a learned renormalisation step. (In the exact one each character coefficient
    :math:`u_r` is squared [1]_.) Its bias is Var(log w | A) / (2 `draws`).

    References
    ----------
    .. [1] A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.links((4, 4), fk.U1())
    >>> method = fk.train.LevelStep(24, fk.train.LevelNaturalGradient(), pool=1024)
    >>> trainer = fk.Trainer(fk.multiscale_flow(space, terms=4), fk.Wilson(space, beta=1.0), method=method, batch=512)
    >>> level = trainer.fit(24, progress=False).history["level"]
    >>> [int((level == j).sum()) for j in range(4)]
    [9, 7, 5, 3]
    """

    @checked
    def __init__(
        self,
        steps: Count,
        method: LevelMethod | None = None,
        *,
        draws: Annotated[int, Range(2, LARGEST)] = 8,
        order: Count | None = None,
        shares: Sequence[Positive] | None = None,
        pool: Annotated[int, Range(64, LARGEST)] = 16384,
        fields: Annotated[int, Range(2, LARGEST)] = 64,
    ):
        if shares is not None and not shares:
            raise ValueError("LevelStep needs a share for each level, or None; got ().")
        self.steps, self.draws, self.order, self.shares = steps, draws, order, shares
        self.method, self.pool_size, self.fields = method or LevelGradient(), pool, fields
        self.done, self.beta = 0, float("nan")

    def prepare(self, flow: Prior) -> None:
        self.models = _models_of(flow)
        if not all(any(p.requires_grad for p in model.parameters()) for model in self.models):
            raise ValueError("LevelStep needs parameters in the model of every doubling.")
        self._take_parameters(flow)
        self.method.prepare(flow, self.models)
        count = len(self.models)
        shares = list(self.shares or (2 ** (-j / 2) for j in range(count)))
        if len(shares) != count or self.steps < count:
            raise ValueError(f"LevelStep needs a positive share and a step for each of {count} levels.")
        edges = [sum(shares[: j + 1]) / sum(shares) for j in range(count)]
        self.ends = [max(j + 1, min(self.steps - count + j + 1, round(self.steps * e))) for j, e in enumerate(edges)]
        self.group = flow.space.group
        self.characters = self.group.characters(self.order or ORDERS.get(self.group.dimension, 3))
        self.coefficients = torch.zeros(count, len(self.characters.reps), dtype=flow.dtype, device=flow.device)
        self.pool = self.group.identity((self.pool_size,), flow.anchor)

    def effective(self, level: int, x: Tensor) -> Tensor:
        """f_level(x) of group elements, ``[..., *matrix] -> [...]``: minus the learned effective action of a plaquette
        of that scale, up to a constant.
        """
        if level == 0:
            return self.beta * self.group.trace(x)
        return self.characters(x) @ self.coefficients[level].to(x.real.dtype)

    @property
    def annealed(self) -> float:
        return min(1.0, self.done / self.steps)

    def _fit(self) -> tuple[int, LevelFit]:
        """The present level, and its fit."""
        now, level = self.done % self.steps, self._level(self.done)
        first = self.ends[level - 1] if level else 0
        effective, count = partial(self.effective, level), self.ends[level] - first
        return level, LevelFit(self.models[level], effective, self.group, self.pool, self.draws, now - first, count)

    def _level(self, done: int) -> int:
        """The level of the step that follows `done` steps."""
        return next(j for j, end in enumerate(self.ends) if done % self.steps < end)

    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        rng = lasting(rng, "LevelStep.step")
        level, fit = self._fit()
        if not isinstance(action, Wilson) or batch % self.draws:
            raise ValueError(f"LevelStep needs a Wilson action and a batch in {self.draws}s; got {action!r}, {batch}.")
        if fit.now == 0:
            if level == 0:
                self.beta = action.beta
                self.pool = one_plaquette(self.group, self.beta, self.pool_size, rng, flow.dtype)
            self.pool = self.group.compose(self._shuffled(rng), self._shuffled(rng))
            level, fit = self._fit()
        if action.beta != self.beta:
            raise ValueError(f"LevelStep trains towards one beta; got {action.beta} after {self.beta}.")
        report = self.method.improve(fit, batch, lr_factor, rng)
        self.done += 1
        logw = self._finish(flow, action, level, fit, rng) if fit.now == fit.count - 1 else None
        return Report(report.loss, logw, report.norms, float(level))

    def _shuffled(self, rng: torch.Generator) -> Tensor:
        return self.pool[torch.randperm(len(self.pool), generator=rng, device=rng.device)]

    @torch.no_grad()
    def _finish(self, flow: Prior, action: Action, level: int, fit: LevelFit, rng: torch.Generator) -> Tensor:
        """Learn f_{level + 1}; log w of whole fields, ``[fields]``."""
        if level + 1 < len(self.models):
            haar = self.group.haar((len(self.pool) // 4,), rng, flow.dtype).to(self.pool)
            A = torch.cat([self.pool, haar])
            y = torch.cat([torch.logsumexp(fit.sample(part, rng)[2], 0) for part in torch.split(A, 2048)]).double()
            weight = torch.ones_like(y)
            weight[len(self.pool) :] = 0.1**0.5  # matrices from Haar measure determine f where plaquettes are rare
            rows = self.characters(A).double() * weight[:, None]
            ridge = 1e-9 * len(y) * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
            self.coefficients[level + 1] = torch.linalg.solve_ex(rows.T @ rows + ridge, rows.T @ (y * weight)).result
        x, logq = flow.sample_and_log_prob(self.fields, rng)
        return -action(x) - logq

    def learning_rate(self, lr_factor: float) -> float:
        return self.method.learning_rate(lr_factor)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        own = {name: tensor.clone() for name, tensor in self._own().items()}
        return {**self.method.state(), **own}, {"plan": self._plan(), "done": self.done, "beta": self.beta}

    def _plan(self) -> str:
        return f"{self.steps} steps by {type(self.method).__name__}"

    def _own(self) -> dict[str, Tensor]:
        return {"pool": self.pool, "coefficients": self.coefficients}

    def check_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        check_plain("LevelStep", meta, {"plan": "", "done": 0, "beta": 0.0})
        done, own = meta["done"], self._own()
        if meta["plan"] != self._plan():
            raise ValueError(f"LevelStep has a plan of {self._plan()}; got the state of one of {meta['plan']:.200}")
        if done < 0 or (done > 0 and not math.isfinite(meta["beta"])):
            raise ValueError(f"LevelStep has made done >= 0 steps at a finite beta; got {done} and {meta['beta']}")
        check_tensors("LevelStep", {name: tensors[name] for name in own if name in tensors}, own)
        rest = {name: tensor for name, tensor in tensors.items() if name not in own}
        self.method.check_state(rest, self._level(max(0, done - 1)))

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        self.check_state(tensors, meta)
        own = self._own()
        self.method.load_state({name: t for name, t in tensors.items() if name not in own})
        self.pool, self.coefficients = (tensors[name].clone().to(one) for name, one in own.items())
        self.done, self.beta = meta["done"], meta["beta"]

"""Training of multiscale models in two dimensions one scale after the other, the finest first."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Action, Wilson
from flowkit.multiscale import LinkConditional, Multiscale
from flowkit.multiscale.doubling import Loops
from flowkit.priors import Prior
from flowkit.samplers.heatbath import one_plaquette
from flowkit.train.losses import Loss
from flowkit.train.schedules import Cosine
from flowkit.train.trainer import GradientStep, Report

ORDERS = {1: 16, 2: 12, 3: 5}  # U(1), SU(2), SU(3); 3 beyond


class LevelStep(GradientStep):
    """Fits the new links of scale j to exp[f_j(P_left) + f_j(P_right)], then learns f_{j+1}, j = 0, 1, ... from fine.

    f_0 = (beta/N) Re Tr. The links of a scale are independent given A = R_right^-1 R_left, a product of 2^{j+1}
    plaquettes of the action, independent but for the torus: no lattice is needed. The fit's log-weights
    estimate f_{j+1}(A) = ln int dV exp[f_j(V A) + f_j(V)], by least squares on characters of A: a learned
    renormalisation step (exactly, each character coefficient u_r is squared).

    Loss      reverse KL for the first part `kl` of a level's steps, then half the variance of log w among draws that
              share their A; in nats a link. ln Z(A) comes from those draws alone, so that this KL is low by about one
              part in `draws`, and f_{j+1} by Var(log w | A) / (2 draws). ESS, KL and acceptance are those of whole
              fields, drawn after each level; coarser levels are then untrained
    Runs that go on beyond `steps` begin again at the finest level.

    steps     of the whole plan, divided among the levels by `shares`, from fine to coarse (None: 1 / sqrt(2)^j)
    kl        part of a level's steps, in [0, 1]; 0 where the model starts near its target, as heat angles do
    draws     that share an A; the trainer's batch is a multiple of it
    order     of the characters; None takes 16 for U(1), 12 for SU(2), 5 for SU(3), 3 beyond
    pool      number of A; fields is that of whole fields drawn after a level
    Raises    ValueError for options out of these ranges, other models or actions
    See       Migdal, Sov. Phys. JETP 42 (1975) 413
    """

    def __init__(
        self,
        steps: int,
        lr: float = 1e-2,
        kl: float = 0.35,
        draws: int = 8,
        order: int | None = None,
        shares: Sequence[float] | None = None,
        pool: int = 16384,
        fields: int = 64,
    ):
        super().__init__(self._level_loss, lr)
        if steps < 1 or not 0 <= kl <= 1 or draws < 2 or pool < 64 or fields < 2 or (order is not None and order < 1):
            raise ValueError(
                "LevelStep needs steps >= 1, kl in [0, 1], draws >= 2, order >= 1, pool >= 64 and fields >= 2; "
                f"got {steps}, {kl}, {draws}, {order}, {pool} and {fields}."
            )
        self.steps, self.kl, self.draws, self.order, self.shares = steps, kl, draws, order, shares
        self.pool_size, self.fields = pool, fields
        self.done, self.beta, self._factor = 0, float("nan"), 1.0

    def prepare(self, flow: Prior) -> None:
        if not isinstance(flow, Multiscale) or flow.space.ndim != 2:
            raise ValueError(f"LevelStep trains a Multiscale in two dimensions; got {type(flow).__name__}.")
        if any(p.requires_grad for p in flow.coarsest.parameters()):
            raise ValueError("LevelStep trains new links alone; freeze the coarsest prior with requires_grad_(False).")
        if len(flow.conditionals) != len(flow.doublings):
            raise ValueError(f"LevelStep needs a model for each of {len(flow.doublings)} doublings, none shared.")
        self.models: list[LinkConditional] = [models[0] for _, models in reversed(flow.levels)]
        if not all(any(p.requires_grad for p in model.parameters()) for model in self.models):
            raise ValueError("LevelStep needs parameters in the model of every doubling.")
        super().prepare(flow)
        count = len(self.models)
        shares = list(self.shares or (2 ** (-j / 2) for j in range(count)))
        if len(shares) != count or min(shares) <= 0 or self.steps < count:
            raise ValueError(f"LevelStep needs a positive share and a step for each of {count} levels.")
        edges = [sum(shares[: j + 1]) / sum(shares) for j in range(count)]
        self.ends = [max(j + 1, min(self.steps - count + j + 1, round(self.steps * e))) for j, e in enumerate(edges)]
        group, like = flow.space.group, flow.anchor
        self.group = group
        self.characters = group.characters(self.order or ORDERS.get(group.dimension, 3))
        zeros = torch.zeros(count, len(self.characters.reps), dtype=flow.dtype, device=flow.device)
        self.coefficients = zeros
        self.pool = group.identity((self.pool_size,), like)

    def effective(self, level: int, x: Tensor) -> Tensor:
        """f_level(x) of group elements, [...]: the learned effective action of a plaquette of that scale, times -1."""
        if level == 0:
            return self.beta * self.group.trace(x)
        return self.characters(x) @ self.coefficients[level].to(x.real.dtype)

    def _place(self) -> tuple[int, int, int]:
        """The level, its steps so far and in all."""
        now = self.done % self.steps
        level = next(j for j, end in enumerate(self.ends) if now < end)
        first = self.ends[level - 1] if level else 0
        return level, now - first, self.ends[level] - first

    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        level, now, count = self._place()
        if not isinstance(action, Wilson) or batch % self.draws:
            raise ValueError(f"LevelStep needs a Wilson action and a batch in {self.draws}s; got {action!r}, {batch}.")
        if now == 0:
            self.optimizer.state.clear()
            if level == 0:
                self.beta = action.beta
                self.pool = one_plaquette(self.group, self.beta, self.pool_size, rng, flow.dtype)
            self.pool = self.group.compose(self._shuffled(rng), self._shuffled(rng))
        if action.beta != self.beta:
            raise ValueError(f"LevelStep trains towards one beta; got {action.beta} after {self.beta}.")
        report = self._improve(flow, action, batch, lr_factor, rng)
        self.done += 1
        logw = self._finish(flow, action, level, rng) if now == count - 1 else None
        return Report(report.loss, logw, report.norms, float(level))

    def _improve(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        """One update of the present level."""
        _, now, count = self._place()
        self._factor = Cosine(warmup=count // 10).factor(now, count, float("nan"))
        return super().step(flow, action, batch, lr_factor, rng)

    def _shuffled(self, rng: torch.Generator) -> Tensor:
        return self.pool[torch.randperm(len(self.pool), generator=rng, device=rng.device)]

    def _draw(self, level: int, A: Tensor, rng: torch.Generator) -> tuple[Tensor, Loops, Tensor]:
        """`draws` links for each A, draw after draw; their loops; log w, [draws, n]."""
        G, n = self.group, len(A)
        A = A.repeat(self.draws, *[1] * (A.dim() - 1))
        rest = (A, G.identity((len(A),), A))
        V, logq = self.models[level].draw(rest, rng)
        logw = self.effective(level, G.compose(V, A)) + self.effective(level, V) - logq
        return V, rest, logw.view(self.draws, n)

    def _logw(self, level: int, A: Tensor, rng: torch.Generator) -> Tensor:
        """log w of `draws` links for each A, [draws, n]."""
        return self._draw(level, A, rng)[2]

    def _level_loss(self, flow: Prior, action: Action, batch: int, rng: torch.Generator) -> Loss:
        level, now, count = self._place()
        index = torch.randint(len(self.pool), (batch // self.draws,), generator=rng, device=rng.device)
        logw = self._logw(level, self.pool[index], rng)
        if now >= self.kl * count:
            return Loss(logw.var(0).mean() / 2, logw.detach().flatten())
        ln_z = torch.logsumexp(logw.detach(), 0) - math.log(self.draws)
        return Loss((ln_z - logw).mean(), logw.detach().flatten())

    @torch.no_grad()
    def _finish(self, flow: Prior, action: Action, level: int, rng: torch.Generator) -> Tensor:
        """f_{level + 1}, then log w of whole fields."""
        if level + 1 < len(self.models):
            haar = self.group.haar((len(self.pool) // 4,), rng, flow.dtype).to(self.pool)
            A = torch.cat([self.pool, haar])
            y = torch.cat([torch.logsumexp(self._logw(level, part, rng), 0) for part in torch.split(A, 2048)]).double()
            weight = torch.ones_like(y)
            weight[len(self.pool) :] = 0.1**0.5  # Haar matrices hold f where hardly a plaquette is
            rows = self.characters(A).double() * weight[:, None]
            ridge = 1e-9 * len(y) * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
            self.coefficients[level + 1] = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ (y * weight))
        x, logq = flow.draw(self.fields, rng)
        return -action(x) - logq

    def learning_rate(self, lr_factor: float) -> float:
        return self.lr * lr_factor * self._factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, _ = super().state()
        own = {"pool": self.pool.clone(), "coefficients": self.coefficients.clone()}
        return {**tensors, **own}, {"done": self.done, "beta": self.beta, "steps": self.steps}

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        own = {"pool": self.pool, "coefficients": self.coefficients}
        if meta.get("steps") != self.steps or any(name not in tensors for name in own):
            raise ValueError(f"LevelStep of {self.steps} steps got the state of one of {meta.get('steps')}")
        super().load_state({name: t for name, t in tensors.items() if name not in own}, {})
        self.pool, self.coefficients = (tensors[name].clone().to(one) for name, one in own.items())
        self.done, self.beta = int(meta["done"]), float(meta["beta"])

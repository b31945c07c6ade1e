"""Gauge flows in three and four dimensions: couplings on top of a trivializing flow."""

import math
import time
from typing import Any, NamedTuple

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, importance_sample
from flowkit.flow import Flow
from flowkit.geometry import links
from flowkit.groups import SUN, U1, Group
from flowkit.models import gauge_flow
from flowkit.observables import plaquette
from flowkit.priors import Haar, Prior
from flowkit.stats import log_z
from flowkit.studies.multiscale_dressed import compared, heatbath_plaquette, thermodynamic
from flowkit.studies.rows import Row, ess_row, finite
from flowkit.train import Constant, ContinuityStep, Cosine, Trainer
from flowkit.transforms import TrivializingFlow


class Case(NamedTuple):
    """A theory, what is aimed at, and how a trivializing flow towards it begins."""

    group: Group
    lattice: tuple[int, ...]
    beta: float
    goal: float | None
    start: float
    """The beta whose series the trivializing flow starts from."""
    order: int = 3
    fields: int = 1024
    """Fields of a fit."""
    draws: int = 2048

    @property
    def action(self) -> Wilson:
        """The theory itself."""
        return Wilson(links(self.lattice, self.group), self.beta)

    @property
    def label(self) -> str:
        """Its name in the rows."""
        return f"{self.group.label} on {'x'.join(map(str, self.lattice))}, beta {self.beta:g}"


CASES = (
    Case(U1(), (4, 4, 4), 1.0, 0.5, 0.7),
    Case(U1(), (4, 4, 4), 2.0, 0.5, 0.7),
    Case(SUN(2), (4, 4, 4), 2.0, 0.5, 1.5),
    Case(U1(), (4, 4, 4, 4), 0.5, 0.5, 0.5, fields=192, draws=512),
    Case(U1(), (4, 4, 4, 4), 0.9, None, 0.6, fields=192, draws=512),
    Case(SUN(2), (4, 4, 4, 4), 1.0, None, 1.0, fields=128, draws=512),
    Case(SUN(3), (4, 4, 4, 4), 1.0, 0.5, 1.0, order=2, fields=64, draws=256),
)


def gauge_3d_4d(
    quick: bool = False,
    *,
    cases: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6),
    minutes: float = 8.0,
    part: float = 0.6,
    fits: int = 4,
    batch: int = 64,
    sweeps: int = 16,
    seed: int = 1,
) -> list[Row]:
    """For each theory: ESS, KL per site, ln Z beside its thermodynamic integral and the plaquette beside heatbath.

    A trivializing flow is fitted to the continuity equation, `fits` times or until the given part of the minutes is
    over, and couplings on top of it are trained by gradients of the reverse KL of `batch` samples for the rest. The ESS
    of the trivializing flow alone stands beside that of both, and KL, ln Z and plaquette are those of the better one.
    """
    chosen = [CASES[k] for k in cases]
    if quick:
        chosen = [CASES[3]._replace(lattice=(2, 2, 2, 2), goal=None, order=1, fields=64)]
        minutes, fits, batch, sweeps = min(minutes, 0.05), 2, 32, 8
    rows: list[Row] = []
    for case in chosen:
        action = case.action
        torch.manual_seed(seed)
        start = time.process_time()
        base = trivializing(case, 60 * minutes * part, fits, seed)
        seconds = time.process_time() - start
        flow = gauge_flow(action.space, prior=base.requires_grad_(False))
        # Near the theory the gradient of the reverse KL is noise: a low rate.
        steps = descend(flow, action, 60 * minutes - seconds, batch, lr=3e-4, seed=seed)
        spent = time.process_time() - start
        rows.append({"label": f"{case.label}, seconds of training", "value": spent})
        count = sum(p.numel() for p in flow.parameters())
        rows.append({"label": f"{case.label}, parameters", "value": count})
        rows.append({"label": f"{case.label}, steps of the couplings", "value": steps})
        alone = weighted(base, action, case.draws, seed)
        rows.append(ess_row(f"{case.label}, ESS of the trivializing flow, {seconds:.0f} s", alone.ess(), case.goal))
        both = weighted(flow, action, case.draws, seed)
        rows.append(ess_row(f"{case.label}, ESS with couplings", both.ess(), case.goal))
        rows += _beside(case, max(alone, both, key=lambda found: found.ess().value), sweeps, seed)
    return rows


def trivializing(case: Case, seconds: float, fits: int, seed: int) -> Flow:
    """A trivializing flow from Haar measure, fitted to the continuity equation so many times, or for so many seconds.

    The first fit begins at the series, whose fields are not yet those of the path; after the third little changes.
    """
    start = time.process_time()
    transform = TrivializingFlow(case.action.space, case.order, degree=2, steps=4, beta=case.start, path=True)
    flow = Flow(Haar(case.action.space), transform)
    trainer = Trainer(flow, case.action, batch=case.fields, method=ContinuityStep(ridge=1e-5), seed=seed)
    for done in range(1, fits + 1):
        trainer.fit(1, progress=False)
        if (time.process_time() - start) * (done + 1) / done > seconds:
            break
    return flow


def descend(
    flow: Flow,
    action: Wilson,
    seconds: float,
    batch: int,
    *,
    lr: float = 2e-3,
    decay: bool = True,
    seed: int = 1,
) -> int:
    """Train by plain gradients of the reverse KL for about so many seconds of the processor; returns the steps.

    The rate rises in 20 steps, and falls along a cosine where `decay`.
    """
    schedule = Cosine(warmup=20, final=0.01) if decay else Constant(warmup=20)
    options: dict[str, Any] = {"batch": batch, "lr": lr, "loss": "reverse_kl", "clip": 1.0, "amsgrad": True}
    trainer, start = Trainer(flow, action, schedule=schedule, seed=seed, **options), time.process_time()
    trainer.fit(2, progress=False)  # the first step compiles
    before = time.process_time()
    trainer.fit(3, progress=False)
    now = time.process_time()
    trainer.fit(max(4, int((seconds - (now - start)) * 3 / (now - before))), progress=False)
    return trainer.step


def weighted(flow: Prior, action: Wilson, draws: int, seed: int) -> Ensemble:
    """Draws with their weights and plaquettes, by other random numbers than those of training."""
    with torch.no_grad():
        return importance_sample(flow, action, draws, rng=1000 + seed, chunk=128, observe=(plaquette,), keep=False)


def _beside(case: Case, found: Ensemble, sweeps: int, seed: int) -> list[Row]:
    """KL per site, ln Z beside its integral, and the plaquette beside heatbath from both starts."""
    action, logw = case.action, found.series["logw"].flatten().double().numpy()
    ln_z, volume = log_z(logw), action.space.volume
    kl = ln_z.value - float(logw.mean())
    error = math.hypot(ln_z.error, float(logw.std()) / math.sqrt(len(logw)))
    rows: list[Row] = [
        {"label": f"{case.label}, KL per site, nats", "value": kl / volume, "error": finite(error / volume)}
    ]
    rows.append(compared(f"{case.label}, ln Z", ln_z, *thermodynamic(action, sweeps, seed), "its integral"))
    mean = found.mean(plaquette)
    for hot, name in ((True, "hot"), (False, "cold")):
        other, beside = heatbath_plaquette(action, 4 * sweeps, seed + 1, hot), f"heatbath from a {name} start"
        rows.append(compared(f"{case.label}, plaquette", mean, other.value, other.error, beside))
    return rows

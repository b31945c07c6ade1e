"""Multiscale models of phi^4 at m2 = -4: 16x16, then the same weights on 32x32."""

import math
import time

import torch

from flowkit.actions import Phi4
from flowkit.ensemble import importance_sample, run
from flowkit.geometry import sites
from flowkit.models import scalar_multiscale_flow
from flowkit.observables import phi_squared, susceptibility
from flowkit.priors import Prior
from flowkit.samplers import HMC, IndependenceMetropolis
from flowkit.stats import Estimate
from flowkit.studies.rows import Row, ess_row, finite, seconds_row
from flowkit.train import Cosine, Trainer

OBSERVED = (phi_squared, susceptibility)
# Independent Monte Carlo at 32x32, lambda = 4.572: value and error.
KNOWN = {"phi_squared": (0.25653, 0.00015), "susceptibility": (25.34, 0.27)}


def multiscale_phi4(
    quick: bool = False,
    *,
    steps: int = 900,
    batch: int = 128,
    more_steps: int = 1400,
    more_batch: int = 64,
    draws: int = 16384,
    trajectories: int = 64000,
    seed: int = 1,
) -> list[Row]:
    """Seconds of training, those of 16x16 counted at 32x32 too; ESS, acceptance of independence Metropolis, <phi^2> and
    chi beside HMC (16x16) and known Monte Carlo values (32x32).
    """
    if quick:
        steps, batch, more_steps, draws, trajectories = 300, 64, 30, 2048, 16384
    torch.manual_seed(seed)
    small = Phi4(sites((16, 16)), m2=-4.0, lam=4.98)
    large = Phi4(sites((32, 32)), m2=-4.0, lam=4.572)
    model: Prior = scalar_multiscale_flow(small.space)
    seconds = _train(model, small, steps, batch, 8e-3, seed)
    chains = run(HMC(small), trajectories // 64, chains=64, thermalise=200, rng=seed, observe=OBSERVED, keep=False)
    means = {o.name: chains.mean(o) for o in OBSERVED}
    rows = _rows(model, small, seconds, 0.7, None, {n: (m.value, m.error) for n, m in means.items()}, draws, seed)
    model = model.on(large.space)
    seconds += _train(model, large, more_steps, more_batch, 8e-3, seed)
    return rows + _rows(model, large, seconds, 0.3, "0.90", KNOWN, draws, seed)


def _train(model: Prior, action: Phi4, steps: int, batch: int, lr: float, seed: int) -> float:
    start = time.perf_counter()
    Trainer(model, action, batch=batch, lr=lr, schedule=Cosine(warmup=30), seed=seed).fit(steps, progress=False)
    return time.perf_counter() - start


def _rows(
    model: Prior,
    action: Phi4,
    seconds: float,
    goal: float,
    published: str | None,
    known: dict[str, tuple[float, float]],
    draws: int,
    seed: int,
) -> list[Row]:
    who = "x".join(map(str, action.space.lattice))
    with torch.no_grad():
        ensemble = importance_sample(model, action, draws, rng=seed, chunk=256, observe=OBSERVED, keep=False)
    sampler = IndependenceMetropolis(model, action, chunk=32)
    accepted = run(sampler, max(20, draws // 64), chains=64, thermalise=10, rng=seed, keep=False).series["accept"]
    rows = [
        seconds_row(f"{who}, training, seconds", seconds, 900),
        ess_row(f"{who}, ESS of {draws} draws", ensemble.ess(), goal, published),
        {"label": f"{who}, acceptance", "value": float(accepted.double().mean())},
    ]
    return rows + [_beside(f"{who}, {o.name}", ensemble.mean(o), *known[o.name]) for o in OBSERVED]


def _beside(label: str, mean: Estimate, value: float, error: float) -> Row:
    """A mean beside a Monte Carlo value, without a goal where that has no error."""
    row: Row = {"label": label, "value": mean.value, "error": finite(mean.error)}
    if not math.isfinite(error):
        return row
    reached = abs(mean.value - value) <= 3 * math.hypot(mean.error, error)
    goal = f"{value:.5g} +- {error:.2g} within 3 combined errors"
    return {**row, "goal": goal, "reached": reached}

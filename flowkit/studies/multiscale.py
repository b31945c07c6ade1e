"""Multiscale models in two dimensions: U(1)."""

import sys
import time

import torch
from torch import Tensor

from flowkit import exact
from flowkit.actions import Wilson
from flowkit.ensemble import importance_sample, run
from flowkit.geometry import links
from flowkit.groups import U1
from flowkit.models import multiscale_flow
from flowkit.observables import charge_squared, plaquette, topological_charge, wilson_loop
from flowkit.samplers import IndependenceMetropolis
from flowkit.stats import log_z
from flowkit.studies.rows import Row, ess_row, exact_row, seconds_row
from flowkit.studies.staple_flows import staple_flow_rows
from flowkit.train import NaturalGradientStep, Trainer

# beta: the ESS of a multiscale model with flows on 16x16, 2404.10819.
PUBLISHED = {8.0: "0.341", 12.0: "0.297", 16.0: "0.277"}
GOALS = {16: 0.9999, 64: 0.999, 256: 0.95}


def multiscale_u1_2d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0),
    lattice: tuple[int, ...] = (16, 16),
    sides: tuple[int, ...] = (16, 64, 256),
    steps: int = 60,
    batch: int = 2048,
    draws: int = 16384,
    seed: int = 1,
) -> list[Row]:
    """For each beta: seconds of training by natural gradient, then the same weights on larger and larger lattices, with
    observables, ln Z and P(Q) beside their exact values, and independence Metropolis. Fewer draws on larger lattices.
    Beside them the staple-conditional flow on `lattice`.
    """
    if quick:
        betas, sides, batch, draws = betas[1:2], sides[:1], batch // 4, draws // 4
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        for beta in betas:
            start = time.perf_counter()
            trainer = train(Wilson(links(lattice, U1()), beta), steps, batch, seed)
            rows.append(seconds_row(f"beta {beta:g}, training, seconds", time.perf_counter() - start, 20))
            for side in sides:
                n = max(512, draws * sides[0] ** 2 // side**2)
                rows += _on(trainer, side, n, beta, seed)
            published = PUBLISHED.get(beta) if lattice == (16, 16) else None
            rows += staple_flow_rows(1, beta, lattice=lattice, quick=quick, goal=0.99, published=published, seed=seed)
        if peak := _peak_gib():
            rows.append({"label": "largest memory, GiB", "value": peak, "goal": "<= 4", "reached": peak <= 4})
        return rows
    finally:
        torch.set_default_dtype(before)


def train(action: Wilson, steps: int, batch: int, seed: int) -> Trainer:
    """The default multiscale model, trained until the predicted step at the target is below 1e-4 nats."""
    method = NaturalGradientStep()

    def enough(trainer: Trainer) -> None:
        if float(method.progress) == 1 and float(method.predicted) < 1e-4:
            trainer.stop()

    trainer = Trainer(multiscale_flow(action.space), action, batch=batch, method=method, seed=seed, callbacks=[enough])
    return trainer.fit(steps, progress=False)


def _on(trainer: Trainer, side: int, n: int, beta: float, seed: int) -> list[Row]:
    """The trained weights on side x side."""
    space = links((side, side), U1())
    action, model = Wilson(space, beta), trainer.flow.on(space)
    who = f"beta {beta:g}, {side}x{side}"
    small = side == trainer.flow.space.lattice[0]
    observed = (plaquette, wilson_loop(2, 2), topological_charge, charge_squared)
    chunk = max(8, min(1024, 2**18 // space.volume))  # all that a chunk needs stays within 100 MiB
    start = time.perf_counter()
    with torch.no_grad():
        ensemble = importance_sample(model, action, n, rng=seed, chunk=chunk, observe=observed, keep=False)
    seconds = time.perf_counter() - start
    published = PUBLISHED.get(beta) if small else None
    rows = [ess_row(f"{who}, ESS of {n} draws", ensemble.ess(), GOALS.get(side), published)]
    rows.append({"label": f"{who}, draws per second", "value": n / seconds})
    logw = ensemble.series["logw"].flatten()
    rows.append(exact_row(f"{who}, ln Z", log_z(logw.numpy()), exact.u1_log_z(beta, space.volume)))
    rows += [exact_row(f"{who}, {o.name}", ensemble.mean(o)) for o in (plaquette, wilson_loop(2, 2), charge_squared)]
    if small:
        rows.append(_charges(who, ensemble.history(topological_charge).flatten(), logw, beta, space.volume))
        sampler = IndependenceMetropolis(model, action, chunk=32)
        chains = run(sampler, n // 32, chains=32, rng=seed, observe=(charge_squared, topological_charge), keep=False)
        tau = chains.mean(topological_charge)
        row: Row = {"label": f"{who}, tau_int of Q", "value": tau.tau_int, "goal": "<= 0.55"}
        rows.append({**row, "error": tau.tau_int_error, "reached": tau.tau_int <= 0.55})
    return rows


def _charges(who: str, charge: Tensor, logw: Tensor, beta: float, volume: int) -> Row:
    """The largest deviation of P(Q) from the exact one, in standard errors, where at least 10 draws are expected."""
    charges = range(-int(charge.abs().max()) - 1, int(charge.abs().max()) + 2)
    expected = torch.from_numpy(exact.u1_charge_distribution(beta, volume, charges))
    w = torch.softmax(logw, 0)
    found = torch.stack([w[charge == q].sum() for q in charges])
    errors = (expected * (1 - expected) / len(charge)).sqrt()
    pulls = ((found - expected) / errors)[expected * len(charge) >= 10].abs()
    label = f"{who}, P(Q) of {len(pulls)} charges, largest deviation in errors"
    return {"label": label, "value": float(pulls.max()), "goal": "<= 4", "reached": float(pulls.max()) <= 4}


def _peak_gib() -> float | None:
    """The largest resident memory of this process so far, or None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

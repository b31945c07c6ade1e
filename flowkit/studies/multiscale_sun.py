"""Multiscale models in two dimensions: SU(2) and SU(3)."""

import time

import torch

from flowkit import exact
from flowkit.actions import Wilson
from flowkit.ensemble import importance_sample
from flowkit.geometry import links
from flowkit.groups import SUN
from flowkit.models import multiscale_flow
from flowkit.observables import plaquette, wilson_loop
from flowkit.priors import Prior
from flowkit.stats import log_z
from flowkit.studies.multiscale import train
from flowkit.studies.rows import Row, ess_row, exact_row, seconds_row
from flowkit.studies.staple_flows import staple_flow_rows, su3_coarsest
from flowkit.train import LevelGradient, LevelStep, Trainer

# N, beta: the ESS aimed at on 16x16, and the published one of a flow, 2008.05456.
GOALS: dict[int, dict[float, tuple[float, str | None]]] = {
    2: {1.8: (0.999, "0.91"), 2.2: (0.998, "0.80"), 2.7: (0.995, "0.56"), 8.0: (0.985, None)},
    3: {4.0: (0.99, "0.88"), 5.0: (0.98, "0.75"), 6.0: (0.97, "0.48"), 12.0: (0.80, None)},
}


def multiscale_su2_2d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (1.8, 2.2, 2.7, 8.0),
    side: int = 16,
    steps: int = 60,
    batch: int = 1024,
    draws: int = 16384,
    seed: int = 1,
) -> list[Row]:
    """For each beta: seconds of training by natural gradient, in double precision from Haar measure; the weights on
    side x side and on twice the sides, with observables and ln Z beside their exact values; seconds for 1,000 draws.
    Beside them the staple-conditional flow on side x side.
    """
    if quick:
        betas, side, batch, draws = betas[1:2], side // 2, batch // 2, draws // 8
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        for beta in betas:
            action = Wilson(links((side, side), SUN(2)), beta)
            start = time.perf_counter()
            model = train(action, steps, batch, seed).flow
            seconds = time.perf_counter() - start
            rows.append(seconds_row(f"SU(2), beta {beta:g}, training, seconds", seconds, 120))
            rows += _on(model, action, draws, seed)
            larger = Wilson(links((2 * side, 2 * side), SUN(2)), beta)
            rows += _on(model.on(larger.space), larger, draws // 4, seed)
            rows.append(_speed(model, seed))
            rows += _staple_flow(action, quick, seed)
        return rows
    finally:
        torch.set_default_dtype(before)


def multiscale_su3_2d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (4.0, 5.0, 6.0, 12.0),
    side: int = 16,
    steps: int = 4000,
    batch: int = 1024,
    lr: float = 1e-2,
    draws: int = 16384,
    seed: int = 1,
) -> list[Row]:
    """For each beta: seconds of training level by level, in single precision from the heat law; the weights on
    side x side and on twice the sides, with observables and ln Z beside their exact values; seconds for 1,000 draws.
    Beside them the staple-conditional flow on side x side.
    """
    if quick:
        betas, side, steps, draws = betas[2:3], side // 2, steps // 50, draws // 8
    rows: list[Row] = []
    for beta in betas:
        torch.manual_seed(seed)
        action = Wilson(links((side, side), SUN(3)), beta)
        coarsest = su3_coarsest(action.space.lattice, beta)
        model = multiscale_flow(action.space, coarsest=coarsest, strength=beta)
        method = LevelStep(steps, LevelGradient(lr, kl_fraction=0.0))
        trainer = Trainer(model, action, batch=batch, method=method, seed=seed)
        start = time.perf_counter()
        trainer.fit(steps, progress=False)
        rows.append(seconds_row(f"SU(3), beta {beta:g}, training, seconds", time.perf_counter() - start, 300))
        rows += _on(model, action, draws, seed)
        larger = Wilson(links((2 * side, 2 * side), SUN(3)), beta)
        rows += _on(model.on(larger.space), larger, draws // 4, seed)
        rows.append(_speed(model, seed, 0.5))
        rows += _staple_flow(action, quick, seed)
    return rows


def _staple_flow(action: Wilson, quick: bool, seed: int) -> list[Row]:
    """The rows of the staple-conditional flow, which is to pass what was published."""
    (N, beta), lattice = (action.space.group.dimension, action.beta), action.space.lattice
    _, published = GOALS[N].get(beta, (None, None)) if lattice == (16, 16) else (None, None)
    goal = None if published is None else float(published)
    return staple_flow_rows(N, beta, lattice=lattice, quick=quick, goal=goal, published=published, seed=seed)


def _on(model: Prior, action: Wilson, n: int, seed: int) -> list[Row]:
    """ESS, ln Z, plaquette and W(2x2) of n draws."""
    space, N = action.space, action.space.group.dimension
    who = f"SU({N}), beta {action.beta:g}, {'x'.join(map(str, space.lattice))}"
    observed = (plaquette, wilson_loop(2, 2))
    with torch.no_grad():
        ensemble = importance_sample(model, action, n, rng=seed, chunk=256, observe=observed, keep=False)
    goal, published = GOALS[N].get(action.beta, (None, None)) if space.lattice == (16, 16) else (None, None)
    logw = ensemble.series["logw"].flatten().numpy()
    rows = [ess_row(f"{who}, ESS of {n} draws", ensemble.ess(), goal, published)]
    rows.append(exact_row(f"{who}, ln Z", log_z(logw), exact.sun_log_z(N, action.beta, space.volume)))
    return rows + [exact_row(f"{who}, {o.name}", ensemble.mean(o)) for o in observed]


def _speed(model: Prior, seed: int, most: float | None = None) -> Row:
    """Seconds for 1,000 fields, the shortest of three runs, and what was aimed at."""
    rng, times = torch.Generator().manual_seed(seed), []
    with torch.no_grad():
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(2):
                model.sample_and_log_prob(500, rng)
            times.append(time.perf_counter() - start)
    lattice = "x".join(map(str, model.space.lattice))
    row: Row = {"label": f"{model.space.group.name} on {lattice}, 1,000 draws, seconds", "value": min(times)}
    return row if most is None else {**row, "goal": f"<= {most:g}", "reached": min(times) <= most}

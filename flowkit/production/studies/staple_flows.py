"""Staple-conditional flows in two dimensions: U(1), SU(2) and SU(3) on 16x16."""

import time

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import draw
from flowkit.groups import SUN, U1, Group
from flowkit.lattice import format_lattice
from flowkit.multiscale import HeatAngleConditional, HeatbathConditional, StapleFlow, multiscale_flow
from flowkit.natural_level_step import NaturalLevelStep
from flowkit.observables import plaquette
from flowkit.priors import Haar
from flowkit.production.studies.rows import Row, ess_row, exact_row, seconds_row
from flowkit.space import links
from flowkit.train import Trainer
from flowkit.transforms import Circular, LinkUpdate, Residual, Spectral

# N (1 for U(1)), beta: the ESS of published flows on 16x16, 2404.10819 for U(1), 2008.05456 for SU(N).
PUBLISHED: dict[int, dict[float, str]] = {
    1: {8.0: "0.341", 12.0: "0.297", 16.0: "0.277"},
    2: {1.8: "0.91", 2.2: "0.80", 2.7: "0.56"},
    3: {4.0: "0.88", 5.0: "0.75", 6.0: "0.48"},
}
UPDATES: dict[int, tuple[LinkUpdate, ...]] = {
    1: (Circular(),),
    2: (Residual(), Spectral()),
    3: (Residual(), Spectral(), Residual()),
}
STEPS = {1: 400, 2: 240, 3: 160}
BATCH = {1: 8192, 2: 8192, 3: 4096}
SECONDS = {1: 180.0, 2: 120.0, 3: 300.0}


def staple_flow_rows(
    n: int,
    beta: float,
    *,
    lattice: tuple[int, ...] = (16, 16),
    steps: int | None = None,
    batch: int | None = None,
    draws: int = 8192,
    goal: float | None = None,
    seed: int = 1,
) -> list[Row]:
    """Seconds of training, ESS and plaquette of a staple-conditional flow on `lattice`, in double precision.

    The heatbath-like prior of each new link, beta / 2^level to begin with, then updates on learned active loops: one
    even circular spline for U(1); residual and spectral ones for SU(N), where the prior of N >= 3 stands still and the
    coarsest plaquettes, of area 16, are Haar. Level by level with a natural gradient.

    n         of SU(n); 1 for U(1)
    steps, batch  of training; None takes those that fit the time aimed at
    goal      for the ESS
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(seed)
        group: Group = U1() if n == 1 else SUN(n)
        action = Wilson(links(lattice, group), beta)
        coarsest = Haar(links([side // 4 for side in lattice], group)) if n > 2 else None

        def model(level: int) -> StapleFlow:
            if n < 3:
                return StapleFlow(HeatbathConditional(group, strength=beta / 2**level), UPDATES[n])
            prior = HeatAngleConditional(n, strength=beta / 2**level, splines=False)
            return StapleFlow(prior.requires_grad_(False), UPDATES[3], harmonics=2)

        flow = multiscale_flow(action.space, coarsest=coarsest, links=model)
        kind = min(n, 3)
        step = NaturalLevelStep(steps or STEPS[kind])
        trainer = Trainer(flow, action, batch=batch or BATCH[kind], step=step, seed=seed)
        start = time.perf_counter()
        trainer.fit(step.steps, progress=False)
        seconds = time.perf_counter() - start
        ensemble = draw(flow, action, draws, chunk=512, rng=seed, observe=(plaquette,), keep=False)
        who = f"{group.name}, beta {beta:g}, {format_lattice(lattice)}, staple-conditional flow"
        published = PUBLISHED[kind].get(beta) if lattice == (16, 16) else None
        return [
            seconds_row(f"{who}, training, seconds", seconds, SECONDS[kind]),
            ess_row(f"{who}, ESS of {draws} draws", ensemble.ess(), goal, published),
            exact_row(f"{who}, {plaquette.name}", ensemble.mean(plaquette)),
        ]
    finally:
        torch.set_default_dtype(before)


def staple_flows_u1_2d(
    quick: bool = False, *, betas: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0), seed: int = 1
) -> list[Row]:
    """U(1): von Mises of learned strength and an even circular spline on the learned active loop."""
    return _rows(1, quick, betas, dict.fromkeys(betas, 0.99), seed)


def staple_flows_su2_2d(
    quick: bool = False, *, betas: tuple[float, ...] = (1.8, 2.2, 2.7, 8.0), seed: int = 1
) -> list[Row]:
    """SU(2): the heatbath law of learned strength, then residual and spectral updates on learned active loops."""
    return _rows(2, quick, betas, {}, seed)


def staple_flows_su3_2d(quick: bool = False, *, betas: tuple[float, ...] = (4.0, 5.0, 6.0), seed: int = 1) -> list[Row]:
    """SU(3): the heat law of fixed strength, then residual and spectral updates on learned active loops."""
    return _rows(3, quick, betas, {}, seed)


def _rows(n: int, quick: bool, betas: tuple[float, ...], goals: dict[float, float], seed: int) -> list[Row]:
    rows: list[Row] = []
    for beta in betas[:1] if quick else betas:
        steps, batch, draws = (24, 512, 1024) if quick else (None, None, 8192)
        rows += staple_flow_rows(n, beta, steps=steps, batch=batch, draws=draws, goal=goals.get(beta), seed=seed)
    return rows

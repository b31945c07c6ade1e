"""Staple-conditional flows in two dimensions, U(1), SU(2) and SU(3): rows beside those of the default models."""

import time

import torch

from flowkit.actions import Wilson
from flowkit.bijections import Bijection, EigenangleSpline, LinkContext, OddCircleSpline, Residual
from flowkit.ensemble import importance_sample
from flowkit.geometry import format_lattice, links
from flowkit.groups import SUN, U1, Group
from flowkit.models import multiscale_flow
from flowkit.multiscale import HeatAngleConditional, HeatbathConditional, StapleConditional
from flowkit.observables import plaquette
from flowkit.priors import Haar
from flowkit.studies.rows import Row, ess_row, exact_row, seconds_row
from flowkit.train import LevelGradient, LevelNaturalGradient, LevelStep, Trainer

UPDATES: dict[int, tuple[Bijection[LinkContext], ...]] = {
    1: (EigenangleSpline(U1(), spline=OddCircleSpline()),),
    2: (Residual(2), EigenangleSpline(SUN(2))),
    3: (Residual(3), EigenangleSpline(SUN(3))),
}
STEPS = {1: 400, 2: 240, 3: 1500}
BATCH = {1: 8192, 2: 8192, 3: 1024}
SECONDS = {1: 180.0, 2: 120.0, 3: 300.0}


def su3_coarsest(lattice: tuple[int, ...], beta: float) -> Haar:
    """Haar for SU(3): coarsest plaquettes have area 16, 32 at beta above 6, and u_3^area is below 1e-5."""
    return Haar(links([side // (8 if beta > 6 and not mu else 4) for mu, side in enumerate(lattice)], SUN(3)))


def staple_flow_rows(
    n: int,
    beta: float,
    *,
    lattice: tuple[int, ...] = (16, 16),
    quick: bool = False,
    draws: int = 8192,
    goal: float | None = None,
    published: str | None = None,
    seed: int = 1,
) -> list[Row]:
    """Seconds of training, ESS and plaquette of a staple-conditional flow on `lattice`.

    The heatbath-like prior of each new link, beta / 2^level to begin with, then updates on learned active loops, level
    by level. U(1): one even circular spline; SU(2): a residual and a spectral update; both by a natural gradient in
    double precision. SU(3): as SU(2) with loops that wind twice around the coarse plaquette, by Adam on the variance of
    log w among draws that share their staples, in single precision.

    n         of SU(n), 3 at most; 1 for U(1)
    quick     a few small steps and few draws
    goal, published  for the ESS
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if n < 3 else torch.float32)
    try:
        torch.manual_seed(seed)
        group: Group = U1() if n == 1 else SUN(n)
        action = Wilson(links(lattice, group), beta)

        def model(level: int) -> StapleConditional:
            strength = beta / 2**level
            if n < 3:
                return StapleConditional(HeatbathConditional(group, strength=strength), UPDATES[n])
            prior = HeatAngleConditional(n, strength=strength, splines=False)
            return StapleConditional(prior, UPDATES[n], harmonics=3, windings=2, hidden=(16,))

        steps, batch = (24, 512) if quick else (STEPS[n], BATCH[n])
        method = LevelStep(steps, LevelNaturalGradient() if n < 3 else LevelGradient(kl_fraction=0.0))
        flow = multiscale_flow(action.space, coarsest=su3_coarsest(lattice, beta) if n == 3 else None, links=model)
        trainer = Trainer(flow, action, batch=batch, method=method, seed=seed)
        start = time.perf_counter()
        trainer.fit(steps, progress=False)
        seconds = time.perf_counter() - start
        draws = draws // 8 if quick else draws
        ensemble = importance_sample(flow, action, draws, chunk=512, rng=seed, observe=(plaquette,), keep=False)
        name = "" if n == 1 else f"SU({n}), "
        who = f"{name}beta {beta:g}, {format_lattice(lattice)}, staple-conditional flow"
        return [
            seconds_row(f"{who}, training, seconds", seconds, SECONDS[n]),
            ess_row(f"{who}, ESS of {draws} draws", ensemble.ess(), goal, published),
            exact_row(f"{who}, {plaquette.name}", ensemble.mean(plaquette)),
        ]
    finally:
        torch.set_default_dtype(before)

"""Trivializing gradient flows of few Wilson loops in two dimensions: SU(3), SU(2) and U(1)."""

import math
import time
from typing import NamedTuple

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import importance_sample
from flowkit.flow import Flow
from flowkit.geometry import format_lattice, links
from flowkit.groups import SUN, U1, Group
from flowkit.observables import plaquette
from flowkit.priors import Haar
from flowkit.stats import Estimate
from flowkit.studies.rows import Row, ess_row, exact_row, finite, seconds_row
from flowkit.train import NaturalGradientStep, Trainer
from flowkit.transforms import TrivializingFlow


class Case(NamedTuple):
    """A theory on 8x8, the natural-gradient steps of its training, the seconds aimed at, and the draws."""

    n: int
    beta: float
    steps: int
    seconds: float
    draws: int


CASES = (Case(3, 6.0, 6, 180.0, 2048), Case(2, 2.7, 6, 120.0, 4096), Case(1, 1.0, 10, 60.0, 8192))


def gradient_flow_su3(
    quick: bool = False,
    *,
    batch: int = 256,
    integrator: int = 8,
    goal: float = 0.8,
    seed: int = 1,
) -> list[Row]:
    """ESS, plaquette and errors of the integrator for SU(3) beta 6, SU(2) beta 2.7 and U(1) beta 1 on 8x8, and on 16x16
    with the same weights, in double precision.

    Each flow starts at two terms of Luescher's series and learns its 17 coefficients (16 for U(1), 13 for SU(2)) by a
    natural gradient.

    batch       draws of a training step
    integrator  Runge-Kutta steps of the flow
    goal        for the ESS of SU(3) on 8x8
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        for case in CASES:
            few = case._replace(steps=2, draws=128) if quick else case
            rows += _rows(few, 48 if quick else batch, 4 if quick else integrator, goal, quick, seed)
        return rows
    finally:
        torch.set_default_dtype(before)


def _rows(case: Case, batch: int, integrator: int, goal: float, quick: bool, seed: int) -> list[Row]:
    group: Group = U1() if case.n == 1 else SUN(case.n)
    action = Wilson(links((8, 8), group), case.beta)
    transform = TrivializingFlow(action.space, steps=integrator, beta=case.beta)
    flow = Flow(Haar(action.space), transform)
    trainer = Trainer(flow, action, batch=batch, method=NaturalGradientStep(ridge=1e-4), seed=seed)
    start = time.perf_counter()
    trainer.fit(case.steps, progress=False)
    seconds = time.perf_counter() - start
    count = sum(p.numel() for p in flow.parameters())
    who = f"{group.name}, beta {case.beta:g}"
    rows: list[Row] = [
        {"label": f"{who}, parameters", "value": count, "goal": "<= 20", "reached": count <= 20},
        seconds_row(f"{who}, training, seconds", seconds, case.seconds),
    ]
    for side in (8,) if quick else (8, 16):
        bigger = action.on(action.space.on((side, side)))
        moved = flow.on(bigger.space)
        draws = case.draws * 64 // side**2
        start = time.perf_counter()
        ensemble = importance_sample(
            moved, bigger, draws, chunk=min(256, draws), rng=seed + 1, observe=(plaquette,), keep=False
        )
        seconds = time.perf_counter() - start
        where = f"{who}, {format_lattice(bigger.space.lattice)}"
        aim = goal if (case.n, side) == (3, 8) else None
        rows.append(ess_row(f"{where}, ESS of {draws} draws", ensemble.ess(), aim))
        rows.append({"label": f"{where}, milliseconds a draw", "value": 1e3 * seconds / draws})
        rows.append(exact_row(f"{where}, {plaquette.name}", ensemble.mean(plaquette)))
        rows += _integrator(where, moved, ensemble.ess(), 8 if quick else 64, seed)
    return rows


@torch.no_grad()
def _integrator(where: str, flow: Flow, ess: Estimate, count: int, seed: int) -> list[Row]:
    """How far the steps are from reversible, and the spread of the error of log w beside that of log w."""
    transform = flow.transform
    assert isinstance(transform, TrivializingFlow)
    z = flow.prior.sample(count, torch.Generator(flow.device).manual_seed(seed + 2))
    group = flow.space.group
    back, _ = transform.inverse(transform(z)[0])
    miss = float(group.tangent(group.compose(back, group.inverse(z))).abs().max())
    error = transform.defect(z)
    spread, whole = float(error.std()), math.sqrt(max(-math.log(ess.value), 0.0))  # ESS = exp(-variance) of a normal
    return [
        {
            "label": f"{where}, largest miss of a round trip",
            "value": miss,
            "goal": "<= 1e-10",
            "reached": miss <= 1e-10,
        },
        {
            "label": f"{where}, spread of the integrator's error of log w",
            "value": spread,
            "error": finite(spread / math.sqrt(2 * len(z))),
            "goal": f"<= 0.05 of that of log w, {whole:.3g}",
            "reached": spread <= 0.05 * whole,
        },
    ]

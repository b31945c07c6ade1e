"""Annealed importance sampling of SU(3) in four dimensions and U(1) in three: the variance of the weights by sweeps."""

import math
import time
from typing import NamedTuple

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, importance_sample
from flowkit.flow import Flow
from flowkit.geometry import links
from flowkit.groups import SUN, U1, Group
from flowkit.kernels import without
from flowkit.observables import plaquette
from flowkit.priors import Haar, Prior
from flowkit.samplers import AnnealedHeatbath, Heatbath, annealed_flow, annealing_path
from flowkit.stats import log_z
from flowkit.studies.multiscale_dressed import (
    Effort,
    compared,
    heatbath_fields,
    heatbath_plaquette,
    thermodynamic,
    train,
)
from flowkit.studies.rows import Row, ess_row, finite
from flowkit.transforms import Chain


class Case(NamedTuple):
    """A theory, the sweeps from Haar measure, those from a model and the coupling of the model."""

    group: Group
    lattice: tuple[int, ...]
    beta: float
    sweeps: tuple[int, ...]
    over: int
    """Sweeps of overrelaxation after each one of heatbath."""
    plain: int
    """Sweeps of one kernel for each coupling, for comparison."""
    model: float | None = None
    from_model: tuple[int, ...] = ()
    goal: tuple[float, float] | None = None
    """ESS, and seconds a draw."""
    published: str | None = None


CASES = (
    Case(SUN(3), (4, 4, 4, 4), 4.0, (200, 400, 850), 0, 400, None, (), (0.5, 0.2), "ESS .179(22) at .69 s a draw"),
    Case(SUN(3), (4, 4, 4, 4), 5.7, (1500, 6000), 1, 750, 2.0, (1500,)),
    Case(U1(), (4, 4, 4), 1.0, (10, 20, 40), 0, 40, 0.5, (10, 20), None, "ESS .17 / .62 at 50 / 200 sweeps"),
)


def annealing_4d(
    quick: bool = False, *, draws: int = 192, fields: int = 1024, sweeps: int = 24, seed: int = 1
) -> list[Row]:
    """For each theory and number of sweeps: variance of log w, ESS, KL and CPU seconds a draw, from Haar measure and
    from a multiscale model of a smaller coupling; ln Z beside its thermodynamic integral, plaquette beside heatbath.

    The models have seen `fields` fields of Markov chains on 4^4, and more on smaller lattices.
    """
    cases: tuple[Case, ...] = CASES
    if quick:
        short = CASES[0]._replace(lattice=(2, 2, 2, 2), beta=2.0, sweeps=(8, 16), plain=16, goal=None, published=None)
        cases, draws, fields, sweeps = (short._replace(model=1.0, from_model=(8,)),), 128, 256, 8
    rows: list[Row] = [_gain(cases[0], seed)]
    for case in cases:
        action = Wilson(links(case.lattice, case.group), case.beta)
        name = f"{case.group.label} on {'x'.join(map(str, case.lattice))}, beta {case.beta:g}"
        prior = Haar(action.space)
        plain = [action.at(beta=case.beta * k / case.plain) for k in range(1, case.plain)] + [action]
        flow = annealed_flow(prior, plain, Heatbath(action, case.over).of_action)
        who = f"{name}, Haar, a kernel for each of {case.plain} couplings"
        rows += _numbers(who, action, flow, draws // 2, seed)[0]
        best = None
        for n in case.sweeps:
            last = n == case.sweeps[-1]
            path = annealing_path(action, n, pieces=16, overrelaxation=case.over, rng=seed)
            flow = Flow(prior, AnnealedHeatbath(action, path, case.over))
            goal = case.goal if last else None
            found, best = _numbers(f"{name}, Haar, {n} sweeps", action, flow, draws, seed + 1, goal, case.published)
            rows += found
        assert best is not None
        rows += _beside(name, action, best, sweeps, seed)
        if case.model is not None:
            # Small lattices need more fields for as many links.
            many = fields * max(1, 1024 // (action.space.volume * action.space.ndim))
            effort = Effort(many, 1, many, 2, draws, sweeps, seed)
            below = Wilson(action.space, case.model)
            model = train(below, heatbath_fields(below, many, seed), effort)
            rows += _numbers(f"{name}, a model of beta {case.model:g}, its own ESS", below, model, draws, seed + 2)[0]
            for n in case.from_model:
                path = annealing_path(action, n, first=case.model, pieces=16, overrelaxation=case.over, rng=seed)
                step = AnnealedHeatbath(action, path, case.over)
                flow = Flow(model.prior, Chain(model.transform, step))
                who = f"{name}, a model of beta {case.model:g}, {n} sweeps"
                rows += _numbers(who, action, flow, draws, seed + 3)[0]
    return rows


def _gain(case: Case, seed: int, sweeps: int = 8, chains: int = 16) -> Row:
    """What the kernel gains: CPU seconds of the same sweeps through torch over those in C, in turn."""
    action = Wilson(links(case.lattice, case.group), case.beta / 10)
    step = AnnealedHeatbath(action, [action.beta * k / sweeps for k in range(sweeps)] + [action.beta], case.over)
    seconds = []
    for off in ((), (case.group.wilson_kernel or "",)):
        with without(*off), torch.no_grad():
            x, rng = action.space.haar(chains, seed), torch.Generator().manual_seed(seed)
            step.push(x, rng)
            start = time.process_time()
            step.push(x, rng)
            seconds.append(time.process_time() - start)
    label = f"{case.group.label} on {'x'.join(map(str, case.lattice))}: CPU time through torch over that in C"
    return {
        "label": label,
        "value": seconds[1] / seconds[0],
        "goal": ">= 1.3",
        "reached": seconds[1] > 1.3 * seconds[0],
    }


def _numbers(
    who: str,
    action: Wilson,
    flow: Prior,
    draws: int,
    seed: int,
    goal: tuple[float, float] | None = None,
    published: str | None = None,
) -> tuple[list[Row], Ensemble]:
    """Variance of log w, ESS, KL and CPU seconds of one draw."""
    start = time.process_time()
    with torch.no_grad():
        ensemble = importance_sample(flow, action, draws, rng=seed, chunk=64, observe=(plaquette,), keep=False)
    seconds = (time.process_time() - start) / draws
    logw = ensemble.series["logw"].flatten().double().numpy()
    ln_z = log_z(logw)
    rows: list[Row] = [{"label": f"{who}: var log w", "value": float(logw.var())}]
    rows.append(ess_row(f"{who}: ESS of {draws} draws", ensemble.ess(), goal and goal[0], published))
    error = math.hypot(ln_z.error, float(logw.std()) / math.sqrt(draws))
    rows.append({"label": f"{who}: KL", "value": ln_z.value - float(logw.mean()), "error": finite(error)})
    cost: Row = {"label": f"{who}: CPU seconds a draw", "value": seconds}
    rows.append(cost if goal is None else {**cost, "goal": f"<= {goal[1]:g}", "reached": seconds <= goal[1]})
    return rows, ensemble


def _beside(name: str, action: Wilson, ensemble: Ensemble, sweeps: int, seed: int) -> list[Row]:
    """ln Z beside the integral of the plaquette over beta, and the plaquette beside heatbath."""
    mine = log_z(ensemble.series["logw"].flatten().double().numpy())
    other, error = thermodynamic(action, sweeps, seed, nodes=24)
    rows = [compared(f"{name}, ln Z by annealing", mine, other, error, "its integral")]
    mean = ensemble.mean(plaquette)
    for start, hot in (("hot", True), ("cold", False)):
        one = heatbath_plaquette(action, 8 * sweeps, seed + 1, hot)
        beside = f"heatbath from a {start} start"
        rows.append(compared(f"{name}, plaquette by annealing", mean, one.value, one.error, beside))
    return rows

"""SU(2) and SU(3) in two dimensions: the default gauge flow, and learned against plaquette active loops."""

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from flowkit.actions import Wilson
from flowkit.bijections import EigenangleSpline
from flowkit.ensemble import importance_sample
from flowkit.flow import Flow
from flowkit.geometry import Loop, Pattern, Space, links
from flowkit.groups import SUN
from flowkit.models import gauge_flow
from flowkit.observables import plaquette, wilson_loop
from flowkit.priors import Haar, Prior
from flowkit.stats import Estimate
from flowkit.studies.rows import Row, ess_row, exact_row, finite, seconds_row
from flowkit.train import Cosine, Trainer
from flowkit.transforms import Chain, GaugeCoupling, Transform

# N, beta, side: the ESS aimed at, and the published one, 2008.05456.
GOALS: dict[int, dict[float, dict[int, tuple[float, str | None]]]] = {
    2: {
        1.8: {8: (0.95, None), 16: (0.91, "0.91")},
        2.2: {8: (0.90, None), 16: (0.80, "0.80")},
        2.7: {8: (0.80, None), 16: (0.56, "0.56")},
    },
    3: {
        4.0: {8: (0.90, None), 16: (0.88, "0.88")},
        5.0: {8: (0.80, None), 16: (0.75, "0.75")},
        6.0: {8: (0.65, None), 16: (0.48, "0.48")},
    },
}


def su2_2d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (1.8, 2.2, 2.7),
    sides: tuple[int, ...] = (4, 8, 16),
    steps: int = 1000,
    batch: int = 512,
    updates: int = 2,
    draws: int = 32768,
    seed: int = 1,
) -> list[Row]:
    """SU(2) on square lattices: seconds of training, ESS, plaquette and W(2x2) beside their exact values."""
    return _two_dimensions(2, quick, betas, sides, steps, batch, updates, draws, seed)


def su3_2d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (4.0, 5.0, 6.0),
    sides: tuple[int, ...] = (4, 8, 16),
    steps: int = 1200,
    batch: int = 512,
    updates: int = 4,
    draws: int = 32768,
    seed: int = 1,
) -> list[Row]:
    """SU(3) on square lattices: seconds of training, ESS, plaquette and W(2x2) beside their exact values."""
    return _two_dimensions(3, quick, betas, sides, steps, batch, updates, draws, seed)


def _two_dimensions(
    n: int,
    quick: bool,
    betas: tuple[float, ...],
    sides: tuple[int, ...],
    steps: int,
    batch: int,
    updates: int,
    draws: int,
    seed: int,
) -> list[Row]:
    """For each beta a flow is trained on the smallest lattice; on each larger one it starts from the weights of the one
    before, and trains for a fraction of the steps, batch and rate.
    """
    if any(larger % smaller or larger // smaller & (larger // smaller - 1) for smaller, larger in pairwise(sides)):
        raise ValueError(f"Each side is a power of two times the one before; got {sides}.")
    if quick:
        sides, steps, draws = sides[:1], steps // 40, 4096
    observed = (plaquette, wilson_loop(2, 2))
    rows: list[Row] = []
    for beta in betas:
        torch.manual_seed(seed)
        before, seconds = None, 0.0
        for side in sides:
            action = Wilson(links((side, side), SUN(n)), beta)
            flow = gauge_flow(action.space, updates=updates)
            if before is not None:
                _take_finest(flow, before)
            shrink = side // sides[0]
            trainer = Trainer(
                flow,
                action,
                loss="reverse_kl",
                batch=batch // shrink,
                lr=1e-2 / shrink,
                schedule=Cosine(warmup=20),
                seed=seed,
            )
            start = time.perf_counter()
            trainer.fit(max(1, steps // shrink), progress=False)
            seconds += time.perf_counter() - start
            goal, published = GOALS[n].get(beta, {}).get(side, (None, None))
            who = f"SU({n}) {side}x{side}, beta {beta:g}"
            rows.append(seconds_row(f"{who}, training so far, seconds", seconds, 1800))
            ensemble = importance_sample(flow, action, draws, chunk=512, rng=seed, observe=observed, keep=False)
            rows.append(ess_row(f"{who}, ESS", ensemble.ess(), goal, published))
            rows += [exact_row(f"{who}, {o.name}", ensemble.mean(o)) for o in observed]
            before = flow
    return rows


def _take_finest(flow: Flow, smaller: Flow) -> None:
    """Start from the weights of a smaller lattice: the layers go from coarse to fine, the finest of both are alike."""
    mine, theirs = flow.transform, smaller.transform
    assert isinstance(mine, Chain)
    assert isinstance(theirs, Chain)
    for layer, source in zip(reversed(mine.steps), reversed(theirs.steps), strict=False):
        layer.load_state_dict(source.state_dict())


def active_loops(
    quick: bool = False,
    *,
    steps_2d: int = 400,
    steps_4d: int = 300,
    batch_2d: int = 256,
    batch_4d: int = 32,
    draws: int = 16384,
    seed: int = 1,
) -> list[Row]:
    """Learned active loops beside plaquettes, in flows that are otherwise the same: ESS after equal steps, and after as
    many seconds as the slower of the two took.

    SU(3) in 2D, 4x4, beta = 6: the links and order of `gauge_flow`. SU(2) in 4D, 4^4, beta = 0.5: half of the links of
    a direction at a time. Two updates a link in both.
    """
    if quick:
        steps_2d, steps_4d, draws = 20, 4, 1024
    plane = links((4, 4), SUN(3))
    space = links((4, 4, 4, 4), SUN(2))
    rows = _compared("SU(3) 4x4, beta 6", plane, 6.0, _plane_layers, 2, steps_2d, batch_2d, draws, seed)
    return rows + _compared("SU(2) 4^4, beta 0.5", space, 0.5, _hyper_layers, 2, steps_4d, batch_4d, draws, seed)


Layers = Callable[[Space, Sequence[EigenangleSpline]], list[Transform]]


def _plane_layers(space: Space, updates: Sequence[EigenangleSpline]) -> list[Transform]:
    default = gauge_flow(space).transform
    assert isinstance(default, Chain)
    couplings = [step for step in default.steps if isinstance(step, GaugeCoupling)]
    return [GaugeCoupling(space, c.pattern, c.loops, updates) for c in couplings]


def _hyper_layers(space: Space, updates: Sequence[EigenangleSpline]) -> list[Transform]:
    layers: list[Transform] = []
    for pattern in Pattern.checkerboard(0, space.ndim).schedule():
        loops = Loop.rectangle().through(pattern.directions[0], space.ndim)
        layers.append(GaugeCoupling(space, pattern, loops, updates))
    return layers


def _compared(
    who: str, space: Space, beta: float, layers: Layers, count: int, steps: int, batch: int, draws: int, seed: int
) -> list[Row]:
    action = Wilson(space, beta)
    kinds = {
        "plaquettes": [EigenangleSpline(space.group, k) for k in range(count)],
        "learned loops": [EigenangleSpline(space.group) for _ in range(count)],
    }
    rows: list[Row] = []
    trainers, seconds, equal_steps = {}, {}, {}
    warm = Flow(Haar(space), Chain(*layers(space, [EigenangleSpline(space.group)])))
    Trainer(warm, action, loss="reverse_kl", batch=2, seed=seed).fit(1, progress=False)  # compiles the kernels
    for kind, updates in kinds.items():
        torch.manual_seed(seed)
        flow = Flow(Haar(space), Chain(*layers(space, updates)))
        schedule = Cosine(warmup=20, final=0.1, steps=steps)
        trainers[kind] = Trainer(flow, action, loss="reverse_kl", batch=batch, lr=5e-3, schedule=schedule, seed=seed)
        start = time.perf_counter()
        trainers[kind].fit(steps, progress=False)
        seconds[kind] = time.perf_counter() - start
        label = f"{who}, {kind}, {steps} steps in {seconds[kind]:.0f} s"
        equal_steps[kind] = _measured(rows, label, flow, action, draws, seed)
    fast, slow = sorted(seconds, key=lambda kind: seconds[kind])
    more = round(steps * (seconds[slow] / seconds[fast] - 1))
    if more:
        trainers[fast].fit(more, progress=False)
    label = f"{who}, {fast}, equal time, {steps + more} steps"
    equal_time = {**equal_steps, fast: _measured(rows, label, trainers[fast].flow, action, draws, seed)}
    for what, found in (("steps", equal_steps), ("time", equal_time)):
        (learned, above), (plain, below) = found["learned loops"], found["plaquettes"]
        gain = above.mean - below.mean
        error = math.hypot(above.error, below.error)
        label = f"{who}, KL of plaquettes minus learned loops, equal layers and {what}"
        rows.append(
            {"label": label, "value": gain, "error": error, "goal": "> 0 by 3 errors", "reached": gain > 3 * error}
        )
        ratio = learned.value / plain.value
        error = ratio * math.hypot(learned.error / learned.value, plain.error / plain.value)
        label = f"{who}, ESS of learned loops over plaquettes, equal layers and {what}"
        rows.append({"label": label, "value": ratio, "error": finite(error), "goal": "> 1", "reached": ratio > 1})
    return rows


class _Mean(NamedTuple):
    mean: float
    error: float


def _measured(
    rows: list[Row], label: str, flow: Prior, action: Wilson, draws: int, seed: int
) -> tuple[Estimate, _Mean]:
    """The ESS and the mean log-weight of independent draws, and rows for both."""
    ensemble = importance_sample(flow, action, draws, chunk=256, rng=seed, keep=False)
    ess, logw = ensemble.ess(), ensemble.series["logw"].double()
    mean = _Mean(float(logw.mean()), float(logw.std()) / math.sqrt(logw.numel()))
    rows.append(ess_row(f"{label}: ESS", ess, None))
    rows.append({"label": f"{label}: KL - ln Z", "value": -mean.mean, "error": mean.error})
    return ess, mean

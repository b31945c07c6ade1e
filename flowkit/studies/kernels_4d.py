"""What updates of gauge fields cost in four dimensions, in C and through torch: nanoseconds of one core a link."""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

import flowkit as fk
from flowkit.studies.rows import Row

Work = Callable[[], object]
BETA = {"U1": 0.8, "SU2": 2.0, "SU3": 5.0}
"""Where chains of some tens of sweeps are long."""
GOAL_NS = 300
SWEEPS, STEPS = 4, 10


class Timed(NamedTuple):
    """Work on all links of some chains, and what is asked of it."""

    label: str
    work: Work
    updates: int
    """Of each link."""
    most: float | None = None
    """Nanoseconds a link and update."""
    gain: float | None = None
    """Least time through torch over that with the kernel."""


def kernels_4d(
    quick: bool = False,
    *,
    side: int = 4,
    chains: int = 16,
    large: int = 8,
    repeats: int = 9,
    sweeps: int = 400,
    slow: int = 300,
    seed: int = 1,
) -> list[Row]:
    """Heatbath, overrelaxation, force and trajectory of U(1), SU(2) and SU(3), in single and double precision.

    For several chains on side^4 and one on large^4. Processor time, with the kernel and without it in turn. The mean
    plaquette of chains with the kernel, started hot and cold, is compared with that of chains through torch.

    repeats   turns of each measurement, of which the median counts
    sweeps    stored of each chain with the kernel
    slow      stored of each chain through torch
    """
    if quick:
        side, chains, large, repeats, sweeps, slow = 2, 4, 3, 3, 60, 30
    rows: list[Row] = []
    for group in (fk.U1(), fk.SUN(2), fk.SUN(3)):
        for extent, count in ((side, chains), (large, 1)):
            action = fk.Wilson(fk.links((extent,) * 4, group), BETA[group.name])
            for dtype in (torch.float32, torch.float64):
                for timed in _works(action, count, dtype, seed):
                    rows += _measured(timed, action, count, repeats, str(dtype).removeprefix("torch."))
        small = fk.Wilson(fk.links((side,) * 4, group), BETA[group.name])
        rows += _plaquettes(small, chains, sweeps, slow, seed)
    return rows


def _works(action: fk.Wilson, chains: int, dtype: torch.dtype, seed: int) -> list[Timed]:
    rng = torch.Generator().manual_seed(seed)
    name = action.space.group.name
    sampler = fk.Heatbath(action)
    x = sampler.start(chains, rng, dtype=dtype)
    for _ in range(5):
        x = sampler.step(sampler.init(x), rng)[0].x

    def steps(sampler: fk.Sampler) -> Work:
        state = sampler.init(x)
        return lambda: sampler.step(state, rng)

    return [
        Timed("heatbath", steps(fk.Heatbath(action, 0)), 1, GOAL_NS if name == "SU3" else None, 5.0),
        Timed(f"heatbath + {SWEEPS} overrelaxations", steps(fk.Heatbath(action, SWEEPS)), 1 + SWEEPS, None, 5.0),
        Timed("force", lambda: action.force(x), 1, None, None if name == "U1" else 2.0),
        Timed(f"HMC step, of {STEPS}", steps(fk.HMC(action, steps=STEPS)), STEPS, None, 2.0),
    ]


def _measured(timed: Timed, action: fk.Wilson, chains: int, repeats: int, dtype: str) -> list[Row]:
    """Nanoseconds a link and update with the kernel, and their ratio to those through torch."""
    space, kernel = action.space, action.space.group.wilson_kernel
    assert kernel is not None
    links = chains * space.components * space.volume * timed.updates
    ours, ratios = [], []
    for turn in range(-1, repeats):
        seconds = _seconds(timed.work)
        with fk.kernels.without(kernel):
            slow = _seconds(timed.work)
        if turn >= 0:  # the first one compiles and makes tables
            ours.append(1e9 * seconds / links)
            ratios.append(slow / seconds)
    fields = f"{chains} x " * (chains > 1) + f"{space.lattice[0]}^4"
    label = f"{space.group.label} {dtype}, {fields}, {timed.label}"
    cost: Row = {"label": f"{label}, ns a link", "value": statistics.median(ours)}
    if timed.most is not None:
        cost |= {"goal": f"<= {timed.most:g}", "reached": cost["value"] <= timed.most}
    gain: Row = {"label": f"{label}, torch over kernel", "value": statistics.median(ratios)}
    gain["error"] = 1.25 * statistics.stdev(ratios) / math.sqrt(len(ratios))  # of a median
    if timed.gain is not None:
        gain |= {"goal": f">= {timed.gain:g}", "reached": gain["value"] >= timed.gain}
    return [cost, gain]


def _seconds(work: Work, least: float = 0.05) -> float:
    """Processor time of one call, of as many as take some time."""
    begin, count = time.process_time(), 0
    while count < 2 or time.process_time() - begin < least:
        work()
        count += 1
    return (time.process_time() - begin) / count


def _plaquettes(action: fk.Wilson, chains: int, sweeps: int, slow: int, seed: int) -> list[Row]:
    """Means of the plaquette with the kernel, hot and cold, in errors from that through torch."""
    sampler, kernel = fk.Heatbath(action), action.space.group.wilson_kernel
    assert kernel is not None
    rng = torch.Generator().manual_seed(seed)

    def mean(n: int, hot: bool) -> fk.stats.Estimate:
        start = sampler.start(chains, rng, hot=hot)
        warm, seen = max(20, n // 10), [fk.plaquette]
        run = fk.run(sampler, n, chains=chains, thermalise=warm, keep=False, rng=rng, start=start, observe=seen)
        return run.mean("plaquette")

    with fk.kernels.without(kernel):
        reference = mean(slow, True)
    rows: list[Row] = []
    for start, hot in (("hot", True), ("cold", False)):
        found = mean(sweeps, hot)
        pull = (found.value - reference.value) / math.hypot(found.error, reference.error)
        label = f"{action.space.group.label}, plaquette, {start} start, kernel against torch, errors apart"
        value = pull if math.isfinite(pull) else found.note or reference.note
        rows.append({"label": label, "value": value, "goal": "|.| <= 3", "reached": abs(pull) <= 3})
    return rows

"""What an independent configuration of phi^4 costs under HMC and HMC in other variables, also at tuned lengths."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from flowkit.ensemble import Comparison, Cost, compare
from flowkit.geometry import Space
from flowkit.observables import Observable, magnetization, phi_squared
from flowkit.samplers import HMC
from flowkit.studies.fhmc_phi4 import SHORTEST, TARGET, pilot, scaled_modes, theory
from flowkit.studies.rows import Row, finite
from flowkit.transforms import Transform

LENGTHS = {
    "HMC": (10.0, 15.0, 20.0, 30.0),
    "zero mode": (3.0, 6.0, 10.0, 15.0),
    "exact conditional": (5.0, 8.0, 12.0, 18.0),
    "exact conditional and zero mode": (3.0, 5.0, 8.0, 12.0),
    "exact conditional and low modes": (2.0, 3.0, 5.0, 8.0),
}
"""Lengths that are tried on 40x40, around the best of short runs."""
EVERY = {"length 1": 10, "best length": 4}
"""Trajectories from one measurement to the next, a small part of tau_int for all samplers."""


def _lowest(space: Space, x: Tensor) -> Tensor:
    side = space.lattice[-1]
    wave = torch.cos(2 * math.pi / side * torch.arange(side, device=x.device)).to(x.dtype)
    return (x * wave).flatten(1).mean(1)


LOWEST = Observable("lowest_mode", "Re φ(p) of the lowest p ≠ 0", _lowest, kind="sites")
OBSERVED = (magnetization, LOWEST, phi_squared)
"""The dearest of them counts: a sampler that moves one mode well and others badly gains nothing by it."""


def cost_phi4(
    quick: bool = False,
    *,
    side: int = 40,
    configurations: int = 100_000,
    chains: int = 64,
    names: tuple[str, ...] = tuple(LENGTHS)[1:],
    seconds: tuple[float, float, float] = (60.0, 8.0, 45.0),
    seed: int = 1,
) -> list[Row]:
    """CPU seconds per independent configuration, 2 tau_int times those of a trajectory of one chain, in the worst of
    the magnetisation, the lowest mode with p != 0 and phi^2. HMC in other variables bears the run that its gains are
    fitted to and the tables of its map, divided by `configurations`; to thermalise plain HMC costs nothing here.
    Samplers run in turns, trajectories of all of them in one call of a C kernel. From other variables fields are made
    where they are measured, every EVERY trajectories: who needs them more often pays for more maps.

    names     of the other variables, out of LENGTHS: the zero mode scaled, the sites of one parity from their exact
              conditional distribution, so that HMC moves the others alone, or both, also with all modes of a
              wavelength of SHORTEST and more scaled to unit variance. HMC is compared with the last of them at length
              1, and at the best length with the one that was best among the lengths tried
    seconds   for each sampler: at length 1, for each length that is tried, and at the best of them
    """
    if quick:
        side, chains, seconds = 12, 16, (0.2, 0.05, 0.2)
        names = ("zero mode", "exact conditional and low modes")
    action = theory(side)
    begin = time.process_time()
    fields = pilot(action, chains, 20 if quick else 300, seed)
    spent = time.process_time() - begin
    maps: dict[str, Transform] = {}
    preparation: dict[str, float] = {}
    start = {"HMC": fields[-1]}
    for name in names:
        begin = time.process_time()
        most = 0 if "zero mode" in name else side // SHORTEST if "low modes" in name else None
        frequency = 0.5 if "zero mode" in name else 1.0
        maps[name] = scaled_modes(action, fields, most, "exact conditional" in name, frequency)
        with torch.no_grad():
            start[name] = maps[name].inverse(fields[-1])[0]
            maps[name](start[name])  # which makes the tables
        preparation[name] = time.process_time() - begin + (0.0 if most is None else spent)
    samplers = {"HMC": HMC(action, target=TARGET)}
    samplers |= {name: HMC(action.pullback(transform), target=TARGET) for name, transform in maps.items()}

    each = dict.fromkeys(EVERY, 1) if quick else EVERY

    def run(tried: Mapping[str, HMC], starts: Mapping[str, Tensor], budget: float, every: int, seed: int) -> Comparison:
        return compare(
            tried,
            OBSERVED,
            seconds=budget,
            training={name: preparation[name] for name in tried if name in preparation},
            configurations=configurations,
            thermalise=10 if quick else 60,
            every=every,
            rng=seed,
            start=starts,
            max_bad=1.0,  # a trajectory that diverges is rejected
            clock=time.process_time,
        )

    rows: list[Row] = [{"label": f"{side}x{side}, {n}, preparation, seconds", "value": preparation[n]} for n in names]
    label = f"{side}x{side}, {{}}, measured every {{}}"
    first = run(samplers, start, seconds[0], each["length 1"], seed)
    rows += _rows(label.format("length 1", each["length 1"]), first, samplers, names[-1], quick)
    best: dict[str, HMC] = {}
    least: dict[str, Cost] = {}
    for name, sampler in samplers.items():
        tried = {f"{length:g}": _of_length(sampler, length) for length in LENGTHS[name][: 1 if quick else None]}
        costs = run(tried, dict.fromkeys(tried, start[name]), seconds[1], each["best length"], seed + 1)
        found = {one: _worst(costs, one) for one in tried}
        length = min(found, key=lambda one, found=found: _order(found[one]))  # type: ignore[misc]
        best[name], least[name] = tried[length], found[length]
    chosen = min(names, key=lambda name: _order(least[name]))
    last = run(best, start, seconds[2], each["best length"], seed + 2)  # not the numbers that they were chosen by
    return rows + _rows(label.format("best length", each["best length"]), last, best, chosen, quick)


def _order(cost: Cost) -> tuple[bool, float]:
    """A bound is no estimate: one whose chain was too short is taken only where all were."""
    return bool(cost.bound), cost.with_training


def _of_length(sampler: HMC, length: float) -> HMC:
    """With a step size of its own for each trajectory: at lengths that are tuned no mode may come back to itself."""
    step = sampler.step_size
    return HMC(sampler.action, length, step_size=step, target=0.8, randomise=0.2)


def _worst(costs: Comparison, name: str) -> Cost:
    """The dearest observable; a bound where any of them is one, for that one may be dearer than it looks."""
    own = [c for c in costs.costs if c.sampler == name]
    bound = next((c.bound for c in own if c.bound), "")
    worst = max(own, key=lambda c: c.tau_int)
    return worst if worst.bound or not bound else replace(worst, bound=bound)


def _rows(label: str, costs: Comparison, samplers: Mapping[str, HMC], chosen: str, quick: bool) -> list[Row]:
    """tau and seconds of each sampler in its worst observable; those of HMC over those of another, chosen before."""
    worst = {name: _worst(costs, name) for name in samplers}
    rows: list[Row] = []
    for name, c in worst.items():
        bound = ", at least" if c.bound else ""
        how = f"length {samplers[name].length:g}, {c.forces} forces, acceptance {c.acceptance:.2f}"
        rows += [
            {"label": f"{label}, {name}, tau_int of {c.observable} ({how}){bound}", "value": c.tau_int}
            | {"error": finite(c.tau_int_error)},
            {"label": f"{label}, {name}, seconds per independent configuration{bound}", "value": c.with_training}
            | {"error": finite(c.seconds_each_error)},
        ]
    best, plain = worst[chosen], worst["HMC"]
    gain = plain.seconds_each / best.with_training
    own = 0.0 if plain.bound else plain.tau_int_error / plain.tau_int  # a bound has no error
    error = gain * math.hypot(own, best.seconds_each_error / best.with_training)
    bound = {(False, False): "", (True, False): ", at least"}.get((bool(plain.bound), bool(best.bound)), ", not known")
    row: Row = {"label": f"{label}, seconds of HMC over those of FHMC ({chosen}){bound}", "value": gain}
    goal = {} if quick else {"goal": "> 1 by two errors", "reached": gain - 2 * error > 1 and not best.bound}
    return [*rows, row | {"error": finite(error)} | goal]

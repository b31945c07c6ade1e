"""What an independent configuration of phi^4 costs under HMC and HMC in other variables, also at tuned lengths."""

import copy
import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from flowkit.comparison import compare
from flowkit.costs import Comparison, Cost
from flowkit.flow import Flow
from flowkit.observables import Observable, magnetization, phi_squared
from flowkit.priors import Normal
from flowkit.production.studies.fhmc_phi4 import (
    TARGET,
    couplings,
    four_configurations,
    one_configuration,
    pilot,
    theory,
    train,
)
from flowkit.production.studies.rows import Row, finite
from flowkit.samplers import HMC
from flowkit.space import Space
from flowkit.transforms import Chain, LowModes, Transform

LENGTHS = {
    "HMC": (10.0, 15.0, 20.0, 30.0),
    "zero mode": (1.0, 1.5, 2.0, 3.0),
    "Fourier modes": (1.5, 3.0, 5.0),
    "Fourier modes and coupling": (1.5, 3.0),
    "one configuration": (5.0, 10.0),
    "four configurations": (5.0, 10.0),
}
"""Lengths that are tried on 40x40: from short runs for HMC, the zero mode and Fourier modes, guesses else."""


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
    kernel: int = 3,
    steps: int = 600,
    names: tuple[str, ...] = ("zero mode", "Fourier modes", "Fourier modes and coupling", "four configurations"),
    seconds: tuple[float, float, float] = (45.0, 4.0, 14.0),
    seed: int = 1,
) -> list[Row]:
    """CPU seconds per independent configuration, 2 tau_int times those of a trajectory of one chain, in the worst of
    the magnetisation, the lowest mode with p != 0 and phi^2. HMC in other variables bears its pilot run and training,
    divided by `configurations`; to thermalise plain HMC costs nothing here. Samplers run in turns.

    names     of the other variables, out of LENGTHS
    seconds   for each sampler: at length 1, for each length that is tried, and at the best of them
    """
    if quick:
        side, chains, steps, seconds = 12, 16, 20, (0.2, 0.05, 0.2)
        names = ("zero mode", "Fourier modes and coupling")
    action = theory(side)
    begin = time.process_time()
    modes, fields = pilot(action, chains, seed, 30 if quick else 100)
    spent = time.process_time() - begin
    maps: dict[str, Transform] = {"zero mode": LowModes(action.space).fit(fields), "Fourier modes": modes}
    training = dict.fromkeys(maps, spent)
    own = copy.deepcopy(modes)  # trained with the coupling, while "Fourier modes" keep the gains of the pilot run
    flows = {
        "Fourier modes and coupling": Flow(Normal(action.space), Chain(own, *couplings(action.space, kernel))),
        "one configuration": one_configuration(side, kernel, 2048),
        "four configurations": four_configurations(side, 1, kernel, 2048),
    }
    for name, flow in flows.items():
        if name not in names:
            continue
        begin = time.process_time()
        train(flow, action, steps, 32, seed)
        maps[name], training[name] = flow.transform, spent + time.process_time() - begin
    samplers = {"HMC": HMC(action, target=TARGET)}
    samplers |= {name: HMC(action.pullback(maps[name]), target=TARGET) for name in names}
    with torch.no_grad():
        start = {"HMC": fields} | {name: maps[name].inverse(fields)[0] for name in names}

    def run(tried: Mapping[str, HMC], starts: Mapping[str, Tensor], budget: float) -> Comparison:
        return compare(
            tried,
            OBSERVED,
            seconds=budget,
            training={name: training[name] for name in tried if name in training},
            configurations=configurations,
            thermalise=10 if quick else 60,
            rng=seed,
            start=starts,
            max_bad=1.0,  # a trajectory that diverges is rejected
            clock=time.process_time,
        )

    rows: list[Row] = [{"label": f"{side}x{side}, {n}, preparation, seconds", "value": training[n]} for n in names]
    rows += _rows(f"{side}x{side}, length 1", run(samplers, start, seconds[0]), samplers, quick)
    best: dict[str, HMC] = {}
    for name, sampler in samplers.items():
        tried = {f"{length:g}": _of_length(sampler, length) for length in LENGTHS[name][: 1 if quick else None]}
        costs = run(tried, dict.fromkeys(tried, start[name]), seconds[1])
        # A bound is no estimate: a length whose chain was too short is taken only where all were.
        found = {one: _worst(costs, one) for one in tried}
        best[name] = tried[min(tried, key=lambda one, found=found: (bool(found[one].bound), found[one].with_training))]  # type: ignore[misc]
    return rows + _rows(f"{side}x{side}, best length", run(best, start, seconds[2]), best, quick)


def _of_length(sampler: HMC, length: float) -> HMC:
    """With a step size of its own for each trajectory: at lengths that are tuned no mode may come back to itself."""
    step = sampler.step_size
    return HMC(sampler.action, length, step_size=step, target=0.8, randomise=0.2)


def _worst(costs: Comparison, name: str) -> Cost:
    return max((c for c in costs.costs if c.sampler == name), key=lambda c: c.tau_int)


def _rows(label: str, costs: Comparison, samplers: Mapping[str, HMC], quick: bool) -> list[Row]:
    """tau and seconds of each sampler in its worst observable; those of HMC over the least of all others."""
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
    others = [c for name, c in worst.items() if name != "HMC"]
    known = [c for c in others if not c.bound]
    best, plain = min(known or others, key=lambda c: c.with_training), worst["HMC"]
    gain = plain.seconds_each / best.with_training
    own = 0.0 if plain.bound else plain.tau_int_error / plain.tau_int  # a bound has no error
    error = gain * math.hypot(own, best.seconds_each_error / best.with_training)
    bound = {(False, False): "", (True, False): ", at least"}.get((bool(plain.bound), bool(best.bound)), ", not known")
    row: Row = {"label": f"{label}, seconds of HMC over those of the best FHMC ({best.sampler}){bound}", "value": gain}
    goal = {} if quick else {"goal": "> 1", "reached": gain - error > 1 and not best.bound}
    return [*rows, row | {"error": finite(error)} | goal]

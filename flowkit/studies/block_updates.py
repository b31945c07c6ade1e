"""Updates of blocks of links by dressed staples: acceptance at two volumes, and their cost beside heatbath."""

import math
import time
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.actions import Wilson
from flowkit.ensemble import run
from flowkit.geometry import links
from flowkit.groups import SUN, U1, Group
from flowkit.models import dressed_block
from flowkit.observables import flowed, plaquette, topological_charge, wilson_loop
from flowkit.samplers import BlockUpdate, Cycle, Heatbath, Sampler, thermalised
from flowkit.studies.rows import Row, finite
from flowkit.train import fit_block

CLOSE = 0.02
"""Relative difference of acceptances that counts as none."""
CHARGE = flowed(topological_charge, t=1.0, step=0.1)
"""Of SU(3) in four dimensions."""


class Case(NamedTuple):
    """A theory on two volumes, and how its blocks are drawn."""

    group: Group
    small: tuple[int, ...]
    large: tuple[int, ...]
    beta: float
    order: str
    fitted: int
    """Fields that the coefficients are fitted to."""
    steps: int
    chains: int


CASES = (
    Case(U1(), (8, 8, 8), (16, 16, 16), 2.0, "cells", 16, 200, 4),
    Case(SUN(3), (8, 8, 8, 8), (16, 16, 16, 16), 5.7, "colours", 4, 200, 1),
)


def block_updates(quick: bool = False, *, proposals: int = 65536, seed: int = 1) -> list[Row]:
    """For each theory: the acceptance of blocks of 2^d sites on two volumes, and on the one whose chains are followed
    tau_int of the plaquette, of the 2x2 Wilson loop and for SU(3) of the charge after the Wilson flow, and CPU seconds
    for an independent configuration without measurements: blocks alone, blocks and heatbath in turn, and heatbath with
    overrelaxation.
    """
    cases: tuple[Case, ...] = CASES
    if quick:
        cases, proposals = (Case(U1(), (4, 4, 4), (6, 6, 6), 2.0, "colours", 0, 60, 16),), 1024
    rows: list[Row] = []
    for case in cases:
        small, large = (Wilson(links(lattice, case.group), case.beta) for lattice in (case.small, case.large))
        model = dressed_block(small.space, case.beta, order=case.order)  # type: ignore[arg-type]
        if case.fitted:
            fit_block(model, _thermal(small, case.fitted, seed), rng=seed)
        name = f"{case.group.label}, beta {case.beta:g}"
        found = [_acceptance(action, model, proposals, seed) for action in (small, large)]
        for action, (mean, error) in zip((small, large), found, strict=True):
            label = f"{name}, {_sides(action)}, blocks of {len(model.block.places)} links: acceptance"
            rows.append({"label": label, "value": mean, "error": error})
        (a, da), (b, db) = found
        ratio, error = b / a, b / a * math.hypot(da / a, db / b)
        equal: Row = {
            "label": f"{name}: acceptance on {_sides(large)} over that on {_sides(small)}",
            "value": ratio,
            "error": error,
        }
        if error <= CLOSE / 2:  # else too few proposals for a verdict
            equal |= {"goal": f"1 within {CLOSE:g}", "reached": abs(ratio - 1) <= CLOSE}
        rows.append(equal)
        followed = large if case.group.abelian else small
        blocks, heatbath = BlockUpdate(followed, model), Heatbath(followed)
        x = _thermal(followed, case.chains, seed + 1)
        for who, sampler, steps in (
            ("blocks", blocks, case.steps),
            ("blocks and heatbath in turn", Cycle(blocks, heatbath), case.steps),
            ("heatbath and overrelaxation", heatbath, 4 * case.steps),
        ):
            rows += _cost(f"{name}, {_sides(followed)}, {who}", sampler, x, steps, seed)
    return rows


def _sides(action: Wilson) -> str:
    return "x".join(map(str, action.space.lattice))


def _thermal(action: Wilson, n: int, seed: int) -> Tensor:
    """n fields of chains of heatbath from a cold start."""
    sampler, rng = Heatbath(action), torch.Generator().manual_seed(seed)
    return thermalised(sampler, sampler.init(sampler.start(n, rng, hot=False)), rng, 100).x


def _acceptance(action: Wilson, model: object, proposals: int, seed: int) -> tuple[float, float]:
    """The mean over steps from different fields, and its error."""
    sampler = BlockUpdate(action, model)  # type: ignore[arg-type]
    blocks = sampler.corners.shape[1]
    rng, heatbath = torch.Generator().manual_seed(seed + 5), Heatbath(action)
    chains = max(1, min(8, proposals // (8 * blocks)))
    state = sampler.init(_thermal(action, chains, seed + 6))
    rates = []
    for _ in range(max(2, proposals // (chains * blocks))):
        rates.append(sampler.step(state, rng)[1]["accept"].mean())
        state = thermalised(heatbath, state, rng, 2)
    mean = float(torch.stack(rates).mean())
    return mean, math.sqrt(mean * (1 - mean) / (len(rates) * chains * blocks))


def _cost(who: str, sampler: Sampler, x: Tensor, steps: int, seed: int) -> list[Row]:
    """tau_int and CPU seconds for an independent configuration of one chain."""
    four = sampler.space.ndim == 4
    observe = (plaquette, wilson_loop(2, 2), *([CHARGE] if four else []))
    rng, few = torch.Generator().manual_seed(seed), max(1, steps // 10)
    start = time.process_time()
    x = thermalised(sampler, sampler.init(x), rng, few).x
    seconds = (time.process_time() - start) / (few * len(x))
    ensemble = run(sampler, steps, start=x, thermalise=0, rng=seed, observe=observe, keep=False)
    rows: list[Row] = [{"label": f"{who}: CPU seconds a step", "value": seconds}]
    for observable in observe:
        mean = ensemble.mean(observable)
        rows.append({"label": f"{who}: {observable.name}", "value": mean.value, "error": finite(mean.error)})
        if math.isfinite(mean.tau_int):
            tau: Row = {"label": f"{who}: tau_int of {observable.name}, steps", "value": mean.tau_int}
            rows.append({**tau, "error": finite(mean.tau_int_error)})
            cost = {"label": f"{who}: CPU seconds for an independent {observable.name}"}
            rows.append({**cost, "value": 2 * mean.tau_int * seconds})
        else:
            rows.append({"label": f"{who}: tau_int of {observable.name}, steps", "value": mean.note.split(";")[0]})
    return rows

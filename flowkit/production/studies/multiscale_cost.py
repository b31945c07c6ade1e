"""Seconds per independent configuration: a multiscale model, training included, beside heatbath and HMC."""

import math
import time

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import run
from flowkit.groups import U1
from flowkit.observables import charge_squared, plaquette
from flowkit.production.studies.multiscale import train
from flowkit.production.studies.rows import Row, finite
from flowkit.samplers import HMC, Heatbath, IndependenceMetropolis, Sampler
from flowkit.space import links

OBSERVED = (plaquette, charge_squared)


def multiscale_cost(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (2.0, 6.0, 12.0),
    side: int = 16,
    configurations: int = 100_000,
    chains: int = 64,
    steps: int = 2000,
    overrelaxation: int = 3,
    seed: int = 1,
) -> list[Row]:
    """2D U(1): 2 tau_int times the seconds of a step of one chain, for the plaquette and for Q^2. The multiscale model,
    as the proposal of independence Metropolis, bears the seconds of its training divided by `configurations`; what the
    others take to thermalise is left out. All in double precision on one machine, chains in one batch.

    A chain whose Q^2 moves too rarely for an estimate has no more independent values of it than changes: its row then
    gives the seconds for each change, a lower bound, and says so. Where another tau_int is longer than the run allows
    for, each chain counts as one value.
    """
    if quick:
        betas, steps = betas[1:2], steps // 8
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        for beta in betas:
            action = Wilson(links((side, side), U1()), beta)
            start = time.perf_counter()
            model = train(action, 60, 2048, seed).flow
            training = time.perf_counter() - start
            samplers: dict[str, Sampler] = {
                "multiscale": IndependenceMetropolis(model, action, chunk=32),
                f"heatbath + {overrelaxation} overrelaxation": Heatbath(action, overrelaxation),
                "HMC": HMC(action, length=1.0),
            }
            costs: dict[str, dict[str, tuple[float, bool]]] = {}
            for name, sampler in samplers.items():
                extra = training / configurations if name == "multiscale" else 0.0
                more, costs[name] = _costs(f"beta {beta:g}, {name}", sampler, chains, steps, extra, seed)
                rows += more
            rows.append({"label": f"beta {beta:g}, multiscale, training, seconds", "value": training})
            for other in list(samplers)[1:]:
                for o in OBSERVED:
                    (cost, bound), (mine, _) = costs[other][o.name], costs["multiscale"][o.name]
                    label = f"beta {beta:g}, {o.name}: {other} over multiscale{', at least' if bound else ''}"
                    rows.append({"label": label, "value": cost / mine})
        return rows
    finally:
        torch.set_default_dtype(before)


def _costs(
    who: str, sampler: Sampler, chains: int, steps: int, extra: float, seed: int
) -> tuple[list[Row], dict[str, tuple[float, bool]]]:
    """Rows, and seconds per independent configuration of each observable and whether they are a bound alone."""
    warm = run(sampler, 1, thermalise=max(20, steps // 4), chains=chains, rng=seed)
    assert warm.x is not None
    start = time.perf_counter()
    chain = run(sampler, steps, start=warm.x[-1], chains=chains, rng=seed + 1, observe=OBSERVED, keep=False)
    seconds = (time.perf_counter() - start) / (steps * chains)
    rows: list[Row] = []
    costs: dict[str, tuple[float, bool]] = {}
    for o in OBSERVED:
        mean, label = chain.mean(o), f"{who}, {o.name}, seconds per independent configuration"
        if not math.isfinite(mean.tau_int) or (o is charge_squared and mean.note):
            history = chain.history(o)
            changes = int((history[1:].round() != history[:-1].round()).sum()) if o is charge_squared else chains
            costs[o.name] = extra + seconds * steps * chains / max(1, changes), True
            rows.append({"label": f"{label}, at least ({changes} changes or chains)", "value": costs[o.name][0]})
            continue
        costs[o.name] = extra + 2 * mean.tau_int * seconds, False
        note = f" [{mean.note}]" if mean.note else ""
        rows.append(
            {"label": label + note, "value": costs[o.name][0], "error": finite(2 * mean.tau_int_error * seconds)}
        )
    return rows, costs

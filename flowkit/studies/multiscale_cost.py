"""Seconds per independent configuration: a multiscale model, training included, beside heatbath and HMC."""

import time

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import Cost, compare
from flowkit.geometry import links
from flowkit.groups import U1
from flowkit.observables import charge_squared, plaquette
from flowkit.samplers import HMC, Heatbath, IndependenceMetropolis, Sampler
from flowkit.studies.multiscale import train
from flowkit.studies.rows import Row, finite

OBSERVED = (plaquette, charge_squared)


def multiscale_cost(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (2.0, 6.0, 12.0),
    side: int = 16,
    configurations: int = 100_000,
    chains: int = 64,
    seconds: float = 60.0,
    thermalise: int = 500,
    overrelaxation: int = 3,
    seed: int = 1,
) -> list[Row]:
    """2D U(1): 2 tau_int times the seconds of a step of one chain, for the plaquette and for Q^2. The multiscale model,
    as the proposal of independence Metropolis, bears the seconds of its training divided by `configurations`; what the
    others take to thermalise is left out. All in double precision on one machine, chains in one batch, in turns of a
    few steps until each has had so many `seconds`.

    A chain whose Q^2 moves too rarely for an estimate has no more independent values of it than changes and chains: its
    row then gives a lower bound, and says so.
    """
    if quick:
        betas, seconds, thermalise = betas[1:2], 2.0, 50
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
            found = compare(
                samplers,
                OBSERVED,
                seconds=seconds,
                training={"multiscale": training},
                configurations=configurations,
                chains=chains,
                thermalise=thermalise,
                rng=seed,
            )
            rows += [_row(f"beta {beta:g}", cost) for cost in found.costs]
            rows.append({"label": f"beta {beta:g}, multiscale, training, seconds", "value": training})
            for other in list(samplers)[1:]:
                for o in OBSERVED:
                    ratio = found.ratio(other, "multiscale", o, training=True)
                    label = ", ".join(filter(None, [f"beta {beta:g}, {o.name}: {other} over multiscale", ratio.bound]))
                    rows.append({"label": label, "value": ratio.value, "error": finite(ratio.error)})
        return rows
    finally:
        torch.set_default_dtype(before)


def _row(theory: str, cost: Cost) -> Row:
    label = f"{theory}, {cost.sampler}, {cost.observable}, seconds per independent configuration"
    note = f" [{why}]" if (why := cost.bound or cost.estimate.note) else ""
    return {
        "label": f"{label}{', at least' if cost.bound else ''}{note}",
        "value": cost.with_training,
        "error": finite(cost.seconds_each_error),
    }

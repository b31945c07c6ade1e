"""HMC through the map of the photon drift: U(1) in three and four dimensions, flux sectors and monopoles per second."""

import time

import torch

from flowkit.actions import Wilson
from flowkit.ensemble import Comparison, compare
from flowkit.geometry import format_lattice, links
from flowkit.groups import U1
from flowkit.observables import flux, monopoles, plaquette
from flowkit.samplers import HMC, Heatbath, IndependenceMetropolis, Sampler
from flowkit.studies.photon import with_gas
from flowkit.studies.rows import Row, finite
from flowkit.transforms import PhotonDrift

PLAIN = "plain HMC"
OBSERVED = (plaquette, monopoles, flux(0, 1))


def fthmc_3d_4d(
    quick: bool = False,
    *,
    lattices: tuple[int, ...] = (444, 888, 4444),
    betas: tuple[float, ...] = (2.0, 2.0, 1.5),
    seconds: float = 20.0,
    chains: int = 16,
    thermalise: int = 100,
    seed: int = 1,
) -> list[Row]:
    """Four ways through the sectors of one theory, from ordered links: tau_int and seconds of an independent value.

    plain HMC          trajectories of length 1
    through the map    the same for the action pulled back by `PhotonDrift` at its closed form: nearly Villain's action
    heatbath           a sweep, and one of overrelaxation
    photon flow        independence Metropolis, with monopoles and fluxes in each proposal

    lattices  sides of each lattice as digits
    seconds   of each sampler, by the clock of the processor
    """
    if quick:
        lattices, betas, seconds, thermalise = lattices[:1], betas[:1], 1.0, 20
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        for sides, beta in zip(lattices, betas, strict=True):
            space = links(tuple(map(int, str(sides))), U1())
            action = Wilson(space, beta)
            samplers: dict[str, Sampler] = {
                PLAIN: HMC(action, length=1.0),
                "HMC through the map": HMC(action.pullback(PhotonDrift(space, beta)), length=1.0),
                "heatbath": Heatbath(action, overrelaxation=1),
                "photon flow": IndependenceMetropolis(with_gas(space, beta), action, chunk=32),
            }
            cold = space.cold(chains, like=torch.zeros(()))
            found = compare(
                samplers,
                OBSERVED,
                seconds=seconds,
                chains=chains,
                thermalise=thermalise,
                rng=seed,
                start={name: cold for name in samplers if name != "photon flow"},
                clock=time.process_time,
            )
            rows += _rows(f"{format_lattice(space.lattice)}, beta {beta:g}", found, list(samplers))
        return rows
    finally:
        torch.set_default_dtype(before)


def _rows(theory: str, found: Comparison, names: list[str]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        accepted = found.cost(name, plaquette).acceptance
        rows.append({"label": f"{theory}, {name}, acceptance", "value": accepted})
        for one in OBSERVED:
            cost, label = found.cost(name, one), f"{theory}, {name}, {one.name}"
            mean, more = cost.estimate, ", at least" if cost.bound else ""
            rows.append({"label": label, "value": mean.value, "error": finite(mean.error)})
            error = None if cost.bound else finite(cost.tau_int_error)
            rows.append({"label": f"{label}, tau_int{more}, steps", "value": cost.tau_int, "error": error})
            each = None if cost.bound else finite(cost.seconds_each_error)
            each_row = {"label": f"{label}, seconds of an independent value{more}", "value": cost.seconds_each}
            rows.append({**each_row, "error": each})
            if name == PLAIN:
                continue
            ratio = found.ratio(PLAIN, name, one)
            gain: Row = {
                "label": ", ".join(filter(None, [f"{label}, per second over plain HMC", ratio.bound])),
                "value": ratio.value,
                "error": finite(ratio.error),
            }
            settled = ratio.bound in ("", "at least") or (ratio.bound == "at most" and ratio.value < 1)
            if name == "HMC through the map" and settled:
                gain |= {"goal": "> 1", "reached": ratio.value > 1}
            rows.append(gain)
    return [{**row, "value": row["value"] if _known(row["value"]) else "no change seen"} for row in rows]


def _known(value: float) -> bool:
    return abs(value) < float("inf")

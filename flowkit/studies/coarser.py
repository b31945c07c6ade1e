"""Field-transformation HMC for phi^4 in the variables of coarser theories, and of half of the sites."""

import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch
from torch import Tensor

from flowkit.actions import Phi4Hopping
from flowkit.flow import Flow
from flowkit.priors import Normal
from flowkit.studies.fhmc_phi4 import (
    LONG,
    SHORTEST,
    Measured,
    couplings,
    four_configurations,
    fourier_modes,
    gaussian,
    larger_spacing,
    measure,
    metropolis,
    one_configuration,
    pilot,
    scaled_modes,
    theory,
    train,
)
from flowkit.studies.rows import Row
from flowkit.studies.trivializing import chi_row, ratio_row, tau_row
from flowkit.transforms import Chain

COARSER = (
    "Gaussian",
    "larger spacing",
    "one configuration",
    "four configurations",
    "four configurations twice",
    "Fourier modes and coupling",
    "exact conditional and low modes",
)
"""Maps of `coarser_phi4`; all but the last are trained."""
PUBLISHED = {"HMC": 570, "Gaussian": 420, "four configurations": 269, "four configurations twice": 164.5}
"""tau of the magnetisation on 40x40."""
SHORTER = {"four configurations twice": 30.0}
"""Chains of this map end at so many tau: a trajectory of it takes long."""
GOALS = {"four configurations twice": (3.5, "3.47"), COARSER[-1]: (6.0, None)}
"""tau_HMC / tau_FHMC on 40x40, and what was published."""


def coarser_phi4(
    quick: bool = False,
    *,
    sides: tuple[int, ...] = (20, 40),
    kernel: int = 5,
    chains: int = 64,
    trajectories: int = 60_000,
    steps: int = 1000,
    pool: int = 4096,
    draws: int = 1024,
    names: tuple[str, ...] = COARSER,
    every: bool = False,
    processes: int = 2,
    seed: int = 1,
) -> list[Row]:
    """tau_int of the magnetisation, in trajectories of length 1 at 85 % acceptance, of HMC and of HMC in the variables
    of coarser theories; acceptance of independence Metropolis beside it. On 40x40, published ratios.

    names        of the maps, out of COARSER
    every        whether all of them are measured on every lattice; else on 40x40 those with a published tau and the
                 last, on others all but the one that halves the side twice
    processes    that measure at once, a map each
    """
    if quick:
        sides, chains, trajectories, steps, pool, draws, processes = (12,), 16, 200, 40, 64, 256, 1
    jobs = [(side, name) for side in sides for name in ("HMC", *(n for n in names if every or n in _usual(side)))]
    measured = partial(
        _measured,
        quick=quick,
        kernel=kernel,
        chains=chains,
        trajectories=trajectories,
        steps=steps,
        pool=pool,
        draws=draws,
        seed=seed,
    )
    if processes == 1:
        runs = [measured(*job) for job in jobs]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
            # The longest come last, and are begun first.
            waiting = [workers.submit(measured, *job) for job in reversed(jobs)]
            runs = [one.result() for one in reversed(waiting)]
    rows: list[Row] = []
    for (side, name), (run, accepted) in zip(jobs, runs, strict=True):
        label = f"{side}x{side}, {name}"
        rows.append(tau_row(label, run, PUBLISHED.get(name) if side == 40 else None))
        if name == "HMC":
            plain = run
            continue
        rows += [{"label": f"{label}, Metropolis acceptance", "value": accepted}, chi_row(label, side, run)]
        if name in GOALS:
            goal, published = GOALS[name] if side == 40 else (None, None)
            rows.append(ratio_row(f"{label}: HMC over FHMC", plain, run, goal, published))
    return rows


def best_map_phi4(
    quick: bool = False,
    *,
    sides: tuple[int, ...] = (20, 40),
    chains: int = 64,
    trajectories: int = 60_000,
    seed: int = 1,
) -> list[Row]:
    """tau_int of the magnetisation, in trajectories of length 1 at 85 % acceptance, of HMC and of HMC of half of the
    sites: the others come from their exact conditional distribution. The modes with |k| <= 3 side / 20 are scaled so
    that one trajectory is a quarter of their period, where a normal mode forgets all.
    """
    if quick:
        sides, chains, trajectories = (12,), 16, 200
    rows: list[Row] = []
    for side in sides:
        action = theory(side)
        fields = pilot(action, chains, 20 if quick else 300, seed)
        best = scaled_modes(action, fields, 3 * side // 20, conditional=True, frequency=math.pi / 2)
        plain = measure(action, None, fields[-1], trajectories, seed)
        mapped = measure(action, best, fields[-1], trajectories, seed)
        for name, run in (("HMC", plain), ("half of the sites", mapped)):
            label = f"{side}x{side}, {name}"
            rows += [tau_row(label, run, PUBLISHED.get(name) if side == 40 else None), chi_row(label, side, run)]
        goal, published = (6.0, "3.47 (four configurations twice)") if side == 40 else (None, None)
        rows += [
            ratio_row(f"{side}x{side}, HMC over half of the sites", plain, mapped, goal, published),
            {
                "label": f"{side}x{side}, processor time of a trajectory over HMC's, measured after each",
                "value": mapped.seconds / plain.seconds,
            },
        ]
    return rows


def _usual(side: int) -> tuple[str, ...]:
    if side == 40:
        return tuple(name for name in COARSER if name in PUBLISHED or name == COARSER[-1])
    return tuple(name for name in COARSER if name != "four configurations twice")


def _measured(
    side: int,
    name: str,
    *,
    quick: bool,
    kernel: int,
    chains: int,
    trajectories: int,
    steps: int,
    pool: int,
    draws: int,
    seed: int,
) -> tuple[Measured, float]:
    """HMC of the theory, or through one of the maps, and the acceptance of that as a proposal."""
    torch.manual_seed(seed)  # the weights that networks start with, whatever was measured before
    action = theory(side)
    fields = pilot(action, chains, 20 if quick else 300, seed)
    if name == "HMC":
        return measure(action, None, fields[-1], trajectories, seed), math.nan
    flow = _map(name, action, fields, kernel, pool)
    if name != COARSER[-1]:
        train(flow, action, steps, 64 if side < 40 else 32, seed)
    run = measure(action, flow.transform, fields[-1], trajectories, seed, SHORTER.get(name, LONG))
    return run, metropolis(flow, action, draws, seed).value


def _map(name: str, action: Phi4Hopping, fields: Tensor, kernel: int, pool: int) -> Flow:
    """One of COARSER."""
    side = action.space.lattice[0]
    match name:
        case "Gaussian":
            return gaussian(action.space, kernel)
        case "larger spacing":
            return larger_spacing(action, kernel, pool)
        case "one configuration":
            return one_configuration(side, kernel, pool)
        case "four configurations":
            return four_configurations(side, 1, kernel, pool)
        case "four configurations twice":
            return four_configurations(side, 2, kernel, pool)
        case "Fourier modes and coupling":
            return Flow(Normal(action.space), Chain(fourier_modes(fields), *couplings(action.space, kernel)))
        case "exact conditional and low modes":
            return Flow(
                Normal(action.space), scaled_modes(action, fields, side // SHORTEST, conditional=True, frequency=1.0)
            )
    raise ValueError(f"coarser_phi4 knows {', '.join(COARSER)}; got {name!r}.")

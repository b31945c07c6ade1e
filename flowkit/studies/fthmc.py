"""HMC in the coordinates of a flow: U(1) in two dimensions at beta = 6, where plain HMC hardly changes Q."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from flowkit import exact
from flowkit.actions import Action, Wilson
from flowkit.ensemble import Ensemble, run
from flowkit.flow import Flow
from flowkit.geometry import Space, format_lattice, links
from flowkit.groups import U1
from flowkit.models import multiscale_flow, plaquette_couplings
from flowkit.multiscale import ClassFunctionConditional, smoothed
from flowkit.observables import charge_squared, plaquette, topological_charge
from flowkit.samplers import HMC, thermalised
from flowkit.stats import ratio
from flowkit.studies.rows import Row, exact_row, finite, seconds_row
from flowkit.train import Cosine, NaturalGradientStep, Trainer
from flowkit.transforms import Transform

BETA, BASE = 6.0, 3.0
"""The theory, and the one that the couplings begin with: there HMC tunnels on its own."""
CELLS = 1024
MOST_SECONDS = 300.0
GOAL = 20.0


class Tunnelling(NamedTuple):
    """Changes of Q for each trajectory of one chain, and what a trajectory costs."""

    rate: float
    error: float
    forces: int
    seconds: float

    def over(self, other: "Tunnelling", cost: Callable[["Tunnelling"], float]) -> tuple[float, float]:
        """The ratio of two rates at equal cost, and its error."""
        if not self.rate or not other.rate:  # nothing seen of one of them
            return (math.inf if self.rate else 0.0), math.nan
        value = self.rate / cost(self) / (other.rate / cost(other))
        return value, value * math.hypot(self.error / self.rate, other.error / other.rate)


def train_multiscale(
    space: Space, beta: float, seed: int, batch: int = 2048, cells: int = CELLS, most: int = 30
) -> Flow:
    """The multiscale model of U(1) for Wilson's action, by natural gradient until the steps are small. Its tables are
    finer than by default: they are smoothed later, and what training adapts to their kinks is then an error.
    """
    method = NaturalGradientStep()

    def enough(trainer: Trainer) -> None:
        if method.progress == 1 and method.predicted < 1e-5 / cells:
            trainer.stop()

    model = multiscale_flow(space, links=lambda _: ClassFunctionConditional(16, cells))
    trainer = Trainer(model, Wilson(space, beta), batch=batch, method=method, seed=seed, callbacks=[enough])
    trainer.fit(most, progress=False)
    assert isinstance(model, Flow)  # in two dimensions
    return model.requires_grad_(False)


def train_couplings(space: Space, base: Flow, seed: int, steps: int, batch: int = 256) -> Transform:
    """Plaquette couplings from the theory that `base` draws to that of beta = 6, by reverse KL in single precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        torch.manual_seed(seed)
        flow = Flow(base.on(space).float().requires_grad_(False), plaquette_couplings(space))
        schedule = Cosine(warmup=min(20, steps // 4))
        trainer = Trainer(
            flow, Wilson(space, BETA), batch=batch, loss="reverse_kl", lr=5e-3, schedule=schedule, seed=seed
        )
        trainer.fit(steps, progress=False)
        return flow.transform.double().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def walk(
    action: Action, n: int, chains: int, thermalise: int, seed: int, steps: int = 8
) -> tuple[Ensemble, Tunnelling]:
    """Trajectories of length 1: from the ordered field, the step tuned to an acceptance of 0.85 in the last half of the
    thermalisation; or, where nothing is to be thermalised, from Haar measure in the number of steps given.
    """
    hmc = HMC(action, length=1.0, steps=steps, target=0.85, randomise=0.0)
    rng = torch.Generator().manual_seed(seed)
    state = hmc.init(hmc.start(chains, rng, hot=thermalise == 0, dtype=torch.float64))
    # Tuned in the second half alone: what an ordered field asks for is not what follows.
    for _ in range(thermalise - thermalise // 2):
        state, _ = hmc.step(state, rng)
    if thermalise >= 100:
        state = thermalised(hmc, state, rng, thermalise // 2)
    observe = (plaquette, topological_charge, charge_squared)
    ensemble = run(hmc, n, chains=chains, rng=rng, observe=observe, keep=False, start=state.x)
    charge = ensemble.history(topological_charge).round()
    changes = (charge[1:] != charge[:-1]).double().mean(0)
    seconds = float(ensemble.provenance["seconds"]) / (n * chains)
    error = float(changes.std()) / math.sqrt(chains)
    return ensemble, Tunnelling(float(changes.mean()), error, hmc.forces, seconds)


def walk_rows(
    who: str, ensemble: Ensemble, moved: Tunnelling, plain: Tunnelling | None = None, goal: float | None = None
) -> list[Row]:
    """Acceptance, tunnelling by three measures, tau_int(Q^2), <Q^2> and the plaquette."""
    q2, mean = ensemble.mean(charge_squared), ensemble.mean(plaquette)
    rate, forces, seconds = moved.rate, moved.forces, moved.seconds
    accepted = float(ensemble.series["accept"].mean())
    accept: Row = {"label": f"{who}, acceptance", "value": accepted}
    if plain is not None:  # a single step cannot be made longer
        goal_of, most = ("0.8 to 0.9", 0.9) if forces > 1 else (">= 0.8", 1.0)
        accept |= {"goal": goal_of, "reached": 0.8 <= accepted <= most}
    rows: list[Row] = [
        accept,
        {"label": f"{who}, forces of a trajectory", "value": forces},
        {"label": f"{who}, changes of Q per trajectory", "value": rate, "error": moved.error},
        {"label": f"{who}, changes of Q per force", "value": rate / forces, "error": moved.error / forces},
        {"label": f"{who}, changes of Q per second", "value": rate / seconds, "error": moved.error / seconds},
        {"label": f"{who}, tau_int(Q^2), trajectories", **_known(q2.tau_int, q2.tau_int_error, "chains too short")},
    ]
    if plain is None:
        return [*rows, {"label": f"{who}, <Q^2>", "value": q2.value, "error": finite(q2.error)}]
    for name, cost in (("force", lambda t: t.forces), ("second", lambda t: t.seconds)):
        value, error = moved.over(plain, cost)
        row: Row = {"label": f"{who}, changes of Q per {name}, over plain HMC", **_known(value, error)}
        if goal is not None and name == "force":
            row |= {"goal": f">= {goal:g}", "reached": math.isfinite(error) and value >= goal}
        rows.append(row)
    return [*rows, exact_row(f"{who}, <Q^2>", q2), exact_row(f"{who}, plaquette", mean)]


def _known(value: float, error: float, why: str = "too few changes seen") -> Row:
    """Value and error of a row; words where too little was seen for a number."""
    return {"value": value, "error": finite(error)} if math.isfinite(value) else {"value": why}


def force_cost(action: Action, base: Action, batch: int = 256, repeats: int = 5) -> float:
    """Seconds of one force over those of another, fields and batch the same."""
    z = action.space.haar(batch, torch.Generator().manual_seed(1), torch.float64)
    times = []
    for one in (action, base):
        one.force(z)
        start = time.process_time()
        for _ in range(repeats):
            one.force(z)
        times.append(time.process_time() - start)
    return times[0] / times[1]


def fthmc_u1(
    quick: bool = False, *, sides: tuple[int, ...] = (8, 16, 32), steps: int = 3000, n: int = 1000, seed: int = 1
) -> list[Row]:
    """HMC for z, x = f(z), with two maps f trained on 8x8 and used on every lattice, beside plain HMC.

    plaquette couplings   from the theory of beta = 3 to that of beta = 6: eight local couplings, reverse KL. S'(z) is
                          nearly the action of beta = 3, where HMC tunnels
    multiscale            from Haar measure, by class functions of continuous slope, natural gradient. S'(z) is nearly
                          flat, and a trajectory of length 1 in one step leaves little of where it began

    steps     of the training of the couplings
    n         trajectories of each chain through the couplings; a quarter as many through the multiscale model, eight
              times as many of plain HMC (twice as many on 32x32)
    """
    if quick:
        sides, steps, n = sides[:1], 20, 16
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return _rows(quick, sides, steps, n, seed)
    finally:
        torch.set_default_dtype(before)


def _rows(quick: bool, sides: tuple[int, ...], steps: int, n: int, seed: int) -> list[Row]:
    space = links((8, 8), U1())
    batch, cells = (512, 256) if quick else (2048, CELLS)
    begun = time.perf_counter()
    base = train_multiscale(space, BASE, seed, batch, 256)
    couplings = train_couplings(space, base, seed, steps, 64 if quick else 256)
    first = time.perf_counter() - begun
    model = train_multiscale(space, BETA, seed, batch, cells)
    second = time.perf_counter() - begun - first
    rows = [
        seconds_row("plaquette couplings, training on 8x8, seconds", first, MOST_SECONDS),
        seconds_row("multiscale, training on 8x8, seconds", second, MOST_SECONDS),
    ]
    for side in sides:
        here = links((side, side), U1())
        action = Wilson(here, BETA)
        who = format_lattice(here.lattice)
        chains = 16 if quick else max(16, 64 * 64 // here.volume)
        plain_run, plain = walk(action, 8 * n * 64 // max(64, here.volume // 4), 4 * chains, max(20, n // 4), seed + 1)
        rows += walk_rows(f"{who}, plain HMC", plain_run, plain)
        rows += frozen_rows(who, plain_run, action)
        maps = {"multiscale": smoothed(model.on(here)).pullback(action)}
        if side < 32:  # a chain there would take as long as all the rest
            maps = {"plaquette couplings": action.pullback(couplings.on(here)), **maps}
        if side > 8 and not quick:
            again = train_multiscale(here, BETA, seed, max(512, batch * 64 // here.volume), cells)
            maps["multiscale, trained here"] = smoothed(again).pullback(action)
        for name, pulled in maps.items():
            if name == "plaquette couplings":
                ensemble, moved = walk(pulled, n, chains, max(20, n // 2), seed + 2)
            else:  # nearly flat: Haar measure is its equilibrium, and one step is accepted
                ensemble, moved = walk(pulled, max(16, n // 4), chains, 0, seed + 2, steps=1)
            rows += walk_rows(f"{who}, {name}", ensemble, moved, plain, GOAL if name == "multiscale" else None)
            cost = force_cost(pulled, action)
            rows.append({"label": f"{who}, {name}, seconds of a force over plain HMC", "value": cost})
    return rows


def frozen_rows(who: str, ensemble: Ensemble, action: Wilson) -> list[Row]:
    """The plaquette of the configurations of Q = 0 alone, as a chain that never left would measure it."""
    kept = (ensemble.history(topological_charge).round() == 0).double()
    stuck = ratio(ensemble.history(plaquette) * kept, kept)
    volume = action.space.volume
    return [
        exact_row(
            f"{who}, plain HMC, plaquette inside Q = 0", stuck, exact.u1_plaquette_in_sector(action.beta, volume, 0)
        )
    ]

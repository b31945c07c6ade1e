"""Correlators in three and four dimensions, and of scalars, from reduced fluctuations."""

import math
import statistics

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, run
from flowkit.geometry import links
from flowkit.groups import SUN
from flowkit.observables import magnetization, phi_squared, plaquette, wilson_loop
from flowkit.samplers import HMC, Heatbath
from flowkit.studies.fhmc_phi4 import theory
from flowkit.studies.rows import Row, finite
from flowkit.studies.stein_2d import PULL, reduced_rows
from flowkit.variance import (
    ReducedCorrelator,
    SteinField,
    correlator,
    derivative,
    field_slices,
    fit,
    loop_basis,
    mean,
    plaquette_slices,
    polynomial_basis,
    two_level,
)


def stein_3d(quick: bool = False, *, n: int = 30, chains: int = 20, large: int = 25, seed: int = 1) -> list[Row]:
    """C(t) of the spatial plaquette of SU(2) on 8x6x6, and on 8x14x14, with coefficients from 20 x 10 configurations of
    6x4x4.
    """
    rows: list[Row] = []
    cases = ((3.0, 80.0),) if quick else ((3.0, 80.0), (6.0, 200.0))
    for beta, goal in cases:
        small = Wilson(links((6, 4, 4), SUN(2)), beta)
        field = fit(_heatbath(small, 10, 20, seed), plaquette_slices(small.space))
        lattices = (((8, 6, 6), n, chains), ((8, 14, 14), large, 8))
        for lattice, steps, count in (((6, 6, 6), 25, 8),) if quick else lattices:
            action = Wilson(links(lattice, SUN(2)), beta)
            ensemble = _heatbath(action, steps, count, seed + 1)
            found = correlator(ensemble, plaquette_slices(action.space), field.on(action.space))
            name = f"SU(2), beta {beta:g}, {'x'.join(map(str, lattice))}"
            rows += correlator_rows(name, found, 1, None if quick else goal)
            if lattice == (8, 6, 6):
                rows += _two_level(name, ensemble, field.on(action.space), found, seed + 2)
    return rows


def _two_level(name: str, ensemble: Ensemble, field: SteinField, one: ReducedCorrelator, seed: int) -> list[Row]:
    """The gain of two-level averages over that of one level, at even t."""
    found = two_level(ensemble, plaquette_slices(field.basis.space), field, inner=4, rng=seed)
    ratios = [found[key].gain / one[key].gain for key in found]  # type: ignore[attr-defined]
    row: Row = {"label": f"{name}: median gain of two levels over one, t even", "value": statistics.median(ratios)}
    return [{**row, "goal": ">= 2", "reached": row["value"] >= 2}]


def stein_4d(quick: bool = False, *, n: int = 25, chains: int = 8, seed: int = 1) -> list[Row]:
    """C(t >= 2) of the spatial plaquette of SU(3) on 8x4^3 with coefficients from another run, and means."""
    rows: list[Row] = []
    for beta, goal in ((5.7, 5.0),) if quick else ((5.7, 5.0), (6.2, 20.0)):
        lattice, steps, count = ((4, 3, 3, 3), 25, 4) if quick else ((8, 4, 4, 4), n, chains)
        action = Wilson(links(lattice, SUN(3)), beta)
        name = f"SU(3), beta {beta:g}, {'x'.join(map(str, lattice))}"
        ensemble = _heatbath(action, steps, count, seed)
        training = _heatbath(action, max(4, steps // 4), 4, seed + 1)
        slices = plaquette_slices(action.space)
        field = fit(training, slices)
        found = correlator(ensemble, slices, field, contact=False)
        rows += correlator_rows(name, found, 2, None if quick else goal)
        generation, reduction = found.at(0).seconds
        costs: Row = {"label": f"{name}: seconds of a reduction over those of a generation"}
        if quick:
            continue
        rows.append({**costs, "value": reduction / generation, "goal": "<= 1", "reached": reduction <= generation})
        rows += reduced_rows(f"{name}: <P>", mean(ensemble, plaquette, loop_basis(action.space)))
        rows += reduced_rows(f"{name}: <W(2x2)>", mean(ensemble, wilson_loop(2, 2), loop_basis(action.space)))
    return rows


def stein_scalar(quick: bool = False, *, side: int = 20, n: int = 500, chains: int = 16, seed: int = 1) -> list[Row]:
    """phi^4 on 20x20 of the ladder L / xi = 4: chi = V d<phi>/dh from a source, <phi^2>, and C(t)."""
    side, n = (8, 60) if quick else (side, n)
    action = theory(side)
    ensemble = run(HMC(action, length=3.0), n, chains=chains, thermalise=100, every=2, rng=seed)
    odd = polynomial_basis(action.space, degree=5, parity="odd", reach=2)
    even = polynomial_basis(action.space, degree=6, parity="even", reach=2)
    slices = polynomial_basis(
        action.space, degree=3, parity="odd", slices=True, moves="all", times=min(5, side // 2 - 1)
    )
    name = f"phi^4, {side}x{side}"
    rows = reduced_rows(f"{name}: chi", derivative(ensemble, magnetization, magnetization, odd))
    rows += reduced_rows(f"{name}: <phi^2>", mean(ensemble, phi_squared, even))
    found = correlator(ensemble[: max(30, n // 10)], field_slices(action.space), slices)
    return rows + correlator_rows(f"{name}: two-sided", found, 0, None)


def _heatbath(action: Wilson, n: int, chains: int, seed: int) -> Ensemble:
    return run(Heatbath(action), n, chains=chains, thermalise=30, every=2, rng=seed)


def correlator_rows(name: str, found: ReducedCorrelator, first: int, goal: float | None) -> list[Row]:
    """The gain at each t and their median, rho, and the distance from the plain correlator."""
    numbers = [(int(key[2:-1]), found.at(k)) for k, key in enumerate(found)]
    kept = [(t, one) for t, one in numbers if t >= first]
    rows: list[Row] = [
        {"label": f"{name}: gain at t = {t}", "value": one.gain, "error": finite(one.gain_error)}
        for t, one in kept
        if math.isfinite(one.gain)
    ]
    gains = [one.gain for _, one in kept if math.isfinite(one.gain)]
    if not gains:
        return [*rows, {"label": f"{name}: gain", "value": found.at(0).note or "no error of the plain correlator"}]
    row: Row = {"label": f"{name}: median gain for t >= {first}", "value": statistics.median(gains)}
    rows.append(row if goal is None else {**row, "goal": f">= {goal:g}", "reached": row["value"] >= goal})
    seconds = [one.gain_per_second for _, one in kept if math.isfinite(one.gain_per_second)]
    if seconds:
        rows.append({"label": f"{name}: median gain for a second", "value": statistics.median(seconds)})
    rows.append({"label": f"{name}: rho held out", "value": found.at(0).rho})
    worst = max((one.difference.pull(0.0) for _, one in kept), key=abs)
    distance: Row = {"label": f"{name}: largest difference from plain, errors", "value": worst}
    return [*rows, {**distance, "goal": "within 3.5", "reached": abs(worst) <= PULL + 0.5}]

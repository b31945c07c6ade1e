"""Derivatives and means in two dimensions from reduced fluctuations, against exact values."""

import math

import numpy as np

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, run
from flowkit.geometry import Loop, links
from flowkit.groups import SUN, U1, Group
from flowkit.observables import plaquette, wilson_loop
from flowkit.samplers import Heatbath
from flowkit.studies.rows import Row, finite
from flowkit.variance import ReducedEstimate, derivative, loop_basis, mean

CASES: tuple[tuple[Group, tuple[float, ...], float], ...] = (
    (U1(), (1.0, 2.0, 4.0), 25),
    (SUN(2), (1.0, 4.0, 8.0), 100),
    (SUN(3), (2.0, 6.0), 500),
)
"""Group, couplings, and the gain of the derivative that is aimed at."""
PULL = 3.0


def stein_2d(
    quick: bool = False, *, side: int = 8, n: int = 250, chains: int = 8, seeds: int = 500, seed: int = 1
) -> list[Row]:
    """d<P>/dbeta and <P> of every theory, <W(2x2)> with its own loops, and the coverage of the derivative."""
    cases = CASES
    if quick:
        cases, side, n, seeds = tuple((group, betas[:1], goal) for group, betas, goal in CASES[:2]), 6, 40, 12
    rows: list[Row] = []
    for group, betas, goal in cases:
        for beta in betas:
            action = Wilson(links((side, side), group), beta)
            ensemble = _chains(action, n, chains, seed)
            name = f"{group.label}, beta {beta:g}, {side}x{side}"
            rows += reduced_rows(f"{name}: d<P>/dbeta", derivative(ensemble, plaquette, "beta"), goal)
            rows += reduced_rows(f"{name}: <P>", mean(ensemble, plaquette))
            basis = loop_basis(action.space, order=2, loops=[Loop.rectangle(r=2, t=2)])
            rows += reduced_rows(f"{name}: <W(2x2)>", mean(ensemble, wilson_loop(2, 2), basis))
    return rows + _coverage(seeds, seed)


def _chains(action: Wilson, n: int, chains: int, seed: int) -> Ensemble:
    return run(Heatbath(action, 2), n, chains=chains, thermalise=100, every=2, rng=seed)


def reduced_rows(label: str, found: ReducedEstimate, goal: float | None = None) -> list[Row]:
    """The gain, for a configuration and a second, rho, and pulls from the exact value and from the plain one."""
    row: Row = {"label": f"{label}: gain for a configuration", "value": found.gain, "error": finite(found.gain_error)}
    rows = [row if goal is None else {**row, "goal": f">= {goal:g}", "reached": found.gain >= goal}]
    if math.isfinite(found.gain_per_second):
        rows.append({"label": f"{label}: gain for a second", "value": found.gain_per_second})
    rows.append({"label": f"{label}: rho held out", "value": found.rho})
    pulls = {"difference from plain": found.difference.pull(0.0)}
    if found.exact is not None:
        pulls = {"reduced from exact": found.pull(), **pulls}
    for name, pull in pulls.items():
        rows.append(
            {"label": f"{label}: {name}, errors", "value": pull, "goal": "within 3", "reached": abs(pull) <= PULL}
        )
    return rows


def _coverage(seeds: int, seed: int) -> list[Row]:
    """Independent repetitions of 200 configurations, cross-fitted: SU(2) at beta 4 on 6x6."""
    action = Wilson(links((6, 6), SUN(2)), 4.0)
    basis = loop_basis(action.space, order=2)
    together = 25
    pulls = []
    for first in range(0, seeds, together):
        count = min(together, seeds - first)
        ensemble = _chains(action, 25, 8 * count, seed + 1 + first)
        assert ensemble.x is not None
        for k in range(count):
            part = slice(8 * k, 8 * k + 8)
            series = {name: one[:, part] for name, one in ensemble.series.items()}
            own = Ensemble(action.space, ensemble.x[:, part], series, action=action, provenance={"n": 25})
            pulls.append(derivative(own, plaquette, "beta", basis).pull())
    found = np.array(pulls)
    inside, error = float((np.abs(found) < 1).mean()), math.sqrt(0.683 * 0.317 / len(found))
    return [
        {
            "label": f"SU(2), beta 4, 6x6: coverage of d<P>/dbeta, {len(found)} seeds of 200 configurations",
            "value": inside,
            "error": error,
            "goal": "0.683 ± 0.03",
            "reached": abs(inside - 0.683) <= max(0.03, 2 * error),
        },
        {"label": "standard deviation of its pulls", "value": float(found.std(ddof=1))},
    ]

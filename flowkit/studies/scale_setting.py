"""t0, w0 and the static potential of SU(3) at beta = 6.0, and what the Wilson flow costs."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import flowkit as fk
from flowkit.stats import Estimate
from flowkit.studies import plain_gauge as plain
from flowkit.studies.rows import Row, finite

BETA = 6.0
TIMES = tuple(0.25 * k for k in range(17))
LOOPS = {8: (4, 4), 16: (6, 4)}
"""Largest R and T of Wilson loops by the side of the lattice."""
WITHIN = 0.02
"""Of the literature's interpolations, which are accurate to 1 %, and of our volume and excited states."""


def interpolated(beta: float, c1: float, c2: float, c3: float, c4: float) -> float:
    """A scale in lattice spacings by the interpolation of Francis et al., 1503.05652, for 5.7 <= beta <= 6.9."""
    b0, b1 = 11 / (4 * math.pi) ** 2, 102 / (4 * math.pi) ** 4
    two_loop = beta / (12 * b0) + b1 / (2 * b0**2) * math.log(6 * b0 / beta)
    return math.exp(two_loop * (1 + c1 / beta + c2 / beta**2) / (1 + c3 / beta + c4 / beta**2))


def t0_of_the_literature(beta: float) -> float:
    """t0 / a^2 in a large volume."""
    return interpolated(beta, -9.945, 24.191, -5.334, 1.452) ** 2


def r0_of_the_literature(beta: float) -> float:
    """r0 / a in a large volume."""
    return interpolated(beta, -8.17273, 14.9600, -3.95983, -5.30334)


def t0_potential_su3(
    quick: bool = False, *, fields: tuple[int, ...] = (40, 12), sweeps: int = 10, seed: int = 1
) -> list[Row]:
    """Heatbath with four sweeps of overrelaxation on 8^4, where t0 is not reached, and on 16^4."""
    if quick:
        return [*_against_plain(4, 0.1, seed), *_cost(4, 0.1, seed)]
    rows = [*_against_plain(8, 0.5, seed), *_cost(8, 1.0, seed)]
    for side, n in zip(LOOPS, fields, strict=True):
        rows += _scales(side, n, sweeps, seed)
    return rows


# ------------------------------------------------------------ the same field by plain numpy


def _field(side: int, seed: int) -> tuple[fk.Space, Tensor]:
    action = fk.Wilson(fk.links((side,) * 4, fk.SUN(3)), beta=BETA)
    x = fk.run(fk.Heatbath(action), 1, chains=1, thermalise=30, rng=seed).x
    assert x is not None  # the run kept it
    return action.space, action.space.group.project(x[0].to(torch.complex128))


def _against_plain(side: int, t: float, seed: int) -> list[Row]:
    space, x = _field(side, seed)
    u = x[0].numpy()
    v = fk.smearing.wilson_flow(space, x, t, step=0.01)
    pairs = {
        f"{side}^4: t^2 E at t = {t:g}": (
            t * t * float(fk.observables.energy_density("clover")(space, v)),
            t * t * plain.energy(plain.wilson_flow(u, t, 0.02)),
            1e-6,
        ),
        f"{side}^4: W(2, 3)": (
            float(fk.observables.wilson_loops(space, x, r=2, t=3, time=3)[0, 1, 2]),
            plain.wilson_loop(u, 2, 3, 3),
            1e-12,
        ),
    }
    return [
        {
            "label": f"{label}, one field, minus that of plain numpy",
            "value": here - there,
            "goal": f"within {bound:g}",
            "reached": abs(here - there) <= bound,
        }
        for label, (here, there, bound) in pairs.items()
    ]


# ------------------------------------------------------------ seconds


def _seconds(call: Callable[[], Any], turns: int) -> float:
    """The least seconds of the processor of several turns."""
    found = []
    for _ in range(turns):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def _cost(side: int, t: float, seed: int) -> list[Row]:
    """Each of the three slopes of a step takes 13 products of matrices for each link, and each move one."""
    space, x = _field(side, seed)
    spent = _seconds(lambda: fk.smearing.wilson_flow(space, x, t, step=0.02), 3)
    products = math.ceil(t / 0.02) * 42
    bound = products * _seconds(lambda: space.group.compose(x, x), 20)
    ratio = spent / bound
    return [
        {"label": f"{side}^4: flow to t = {t:g} in steps of 0.02, double precision, seconds", "value": spent},
        {"label": f"{side}^4: {products} products of all links in C, seconds", "value": bound},
        {"label": f"{side}^4: flow over products", "value": ratio, "goal": "<= 3", "reached": ratio <= 3},
    ]


# ------------------------------------------------------------ scales


def _energies(space: fk.Space, x: Tensor) -> Tensor:
    return fk.observables.flow_history(space, x, [fk.observables.energy_density("clover")], TIMES, tolerance=1e-3)[:, 0]


def _loops(space: fk.Space, x: Tensor) -> Tensor:
    """W(R, T) of HYP links along time and APE links across it, [batch, R T]; each direction is the time once."""
    r, t = LOOPS[space.lattice[0]]
    total = torch.zeros(len(x), r, t, dtype=x.real.dtype)
    fat = fk.smearing.hyp(space, x)
    for mu in range(4):
        across = fk.smearing.ape(space, x, steps=12, directions=[nu for nu in range(4) if nu != mu])
        mixed = torch.stack([fat[:, nu] if nu == mu else across[:, nu] for nu in range(4)], 1)
        total += fk.observables.wilson_loops(space, mixed, r=r, t=t, time=mu) / 4
    return total.flatten(1)


def _potential(side: int, t: int, w: Any) -> Any:
    return fk.observables.static_potential(w.reshape(LOOPS[side]))[:, t - 1]


def _sommer(side: int, t: int, w: Any) -> Any:
    """r0 from the fit of A - B / R + sigma R to R >= 2, where HYP links change little."""
    _, b, sigma = fk.observables.fit_potential(_potential(side, t, w)[1:], first=2)
    return ((1.65 - b) / sigma) ** 0.5


def _scales(side: int, n: int, sweeps: int, seed: int) -> list[Row]:
    small = side == min(LOOPS)
    action = fk.Wilson(fk.links((side,) * 4, fk.SUN(3)), beta=BETA)
    sampler = fk.Heatbath(action, overrelaxation=4)
    flow = fk.Observable("flow", "E(t)", _energies, kind="links", components=len(TIMES))
    loops = fk.Observable("loops", "W(R, T)", _loops, kind="links", components=math.prod(LOOPS[side]))
    observed = [fk.plaquette, flow, loops]
    ensemble = fk.run(sampler, n, chains=1, thermalise=100, every=sweeps, rng=seed, observe=observed, keep=False)
    rows = [_row(f"{side}^4: plaquette", ensemble.mean(fk.plaquette))]
    for t in (1.0, 4.0):
        found = ensemble.derived(lambda e, t=t: t * t * e[TIMES.index(t)], [flow])
        rows.append(_row(f"{side}^4: t^2 E at t = {t:g} a^2", found))
    if not small:
        found = ensemble.derived(partial(fk.observables.t0, TIMES), [flow])
        rows.append(_row(f"{side}^4: t0 / a^2", found, t0_of_the_literature(BETA), goal=True))
        rows.append(_row(f"{side}^4: w0 / a", ensemble.derived(partial(fk.observables.w0, TIMES), [flow])))
    for r in range(1, LOOPS[side][0] + 1):
        found = ensemble.derived(lambda w, r=r: _potential(side, 2, w)[r - 1], [loops])
        rows.append(_row(f"{side}^4: V({r}) a, T = 2, HYP links", found))
    for t in (2, 3):
        found = ensemble.derived(partial(_sommer, side, t), [loops])
        rows.append(_row(f"{side}^4: r0 / a, T = {t}", found, r0_of_the_literature(BETA), goal=t == 3 and not small))
    return rows


def _row(label: str, found: Estimate, published: float | None = None, goal: bool = False) -> Row:
    row: Row = {"label": label, "value": found.value, "error": finite(found.error), "published": published}
    if published is None or not goal:
        return row
    near = abs(found.value - published) <= 3 * found.error + WITHIN * published
    return {**row, "goal": f"{published:.4g} within 3 errors and {WITHIN:.0%}", "reached": near}

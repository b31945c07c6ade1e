"""Field-transformation HMC for phi^4: learned trivializing maps, and the rows that studies of it share."""

import math

from flowkit.flow import Flow
from flowkit.priors import Normal
from flowkit.studies.fhmc_phi4 import (
    KNOWN_CHI,
    Measured,
    couplings,
    fourier_modes,
    gaussian,
    measure,
    pilot,
    splines,
    theory,
    train,
)
from flowkit.studies.rows import Row, finite
from flowkit.transforms import Chain

NOTES = {0.586: (21.7, 3.68), 0.6: (27.9, 3.69), 0.65: (71.0, 12.1), 0.7: (720.0, 148.0)}
"""tau of HMC and of FHMC on 8x8 in the notes on trivializing maps; their convention for tau is not stated."""


def trivializing_phi4(
    quick: bool = False,
    *,
    sides: tuple[int, ...] = (6, 8, 10, 12, 14, 16, 18, 20),
    kernels: tuple[int, ...] = (1, 3, 5, 7),
    kernel: int = 5,
    chains: int = 64,
    trajectories: int = 60_000,
    steps: int = 600,
    seed: int = 1,
) -> list[Row]:
    """tau_int of the magnetisation, in trajectories of length 1 at 85 % acceptance, of HMC and of HMC in the variables
    of one affine coupling: on 8x8 from beta .586 to .7, where spline couplings of Fourier modes stand beside it, for
    growing footprints, with weights reused on a larger volume, and along the ladder L/xi = 4. sides=40,80 are slow.
    """
    if quick:
        sides, kernels, chains, trajectories, steps = (6,), (1, 3), 16, 100, 40
    rows: list[Row] = []
    for beta, (hmc, fhmc) in list(NOTES.items())[: 1 if quick else None]:
        action = theory(8, beta)
        fields = pilot(action, chains, 20 if quick else 300, seed)
        modes = fourier_modes(fields)
        library = Flow(Normal(action.space), Chain(modes, *couplings(action.space, 7)))
        if not quick:  # splines that are not trained need tiny steps
            library = splines(action.space, modes)
        train(library, action, steps // 2, 64, seed)
        plain = measure(action, None, fields[-1], trajectories, seed)
        mapped = measure(action, library.transform, fields[-1], trajectories, seed)
        simple = gaussian(action.space, 7)
        train(simple, action, steps, 128, seed)
        paper = measure(action, simple.transform, fields[-1], trajectories, seed)
        who, ratio = f"8x8, beta {beta:g}", hmc / fhmc
        rows += [tau_row(f"{who}, HMC", plain, hmc), tau_row(f"{who}, one affine coupling", paper, fhmc)]
        rows += [tau_row(f"{who}, couplings of Fourier modes", mapped, None)]
        rows += [
            ratio_row(f"{who}, HMC over one coupling", plain, paper, ratio, f"{ratio:.3g}"),
            ratio_row(f"{who}, HMC over couplings of Fourier modes", plain, mapped, None, None),
        ]
    side = 8 if quick else 16
    action = theory(side)
    fields = pilot(action, chains, 20 if quick else 300, seed)
    plain = measure(action, None, fields[-1], trajectories, seed)
    for k in kernels:
        flow = gaussian(action.space, k)
        train(flow, action, steps, 128, seed)
        mapped = measure(action, flow.transform, fields[-1], trajectories, seed)
        label = f"{side}x{side}, xi = {side / 4:g}, footprint {k}"
        rows += [tau_row(label, mapped, None)]
        rows += [{"label": f"{label}, processor time of a step over HMC's", "value": _step(mapped) / _step(plain)}]
    beta = action.parameters["beta"]
    larger = theory(2 * side, beta)
    fields = pilot(larger, chains, 20 if quick else 300, seed)
    plain = measure(larger, None, fields[-1], trajectories, seed)
    reused = measure(larger, flow.on(larger.space).transform, fields[-1], trajectories, seed)
    label = f"weights of {side}x{side} on {2 * side}x{2 * side}, same beta: HMC over FHMC"
    rows.append(ratio_row(label, plain, reused, None, None))
    for side in sides:
        action = theory(side)
        fields = pilot(action, chains, 20 if quick else 300, seed)
        modes = fourier_modes(fields)
        flow = gaussian(action.space, kernel)
        train(flow, action, steps, 128 if side < 40 else 32, seed)
        for name, transform in (("HMC", None), ("FHMC", flow.transform), ("HMC of Fourier modes", modes)):
            mapped = measure(action, transform, fields[-1], trajectories, seed)
            rows += [tau_row(f"{side}x{side}, {name}", mapped, None), chi_row(f"{side}x{side}, {name}", side, mapped)]
    return rows


def tau_row(label: str, run: Measured, published: float | None) -> Row:
    """tau with what was published, in units of its own."""
    how = f"{run.steps} steps, acceptance {run.accept:.2f}{_left_out(run)}"
    text = f"{label}, tau_M ({how}){', at least' if run.bound else ''}"
    return {"label": text, "value": run.tau, "error": finite(run.tau_error), "published": published}


def ratio_row(label: str, plain: Measured, mapped: Measured, goal: float | None, published: str | None) -> Row:
    """tau_HMC / tau_FHMC, reached from the goal on, but not by a tau_FHMC that is a bound."""
    value, error = _ratio(plain, mapped)
    known = {(False, False): "", (True, False): ", at least", (False, True): ", at most"}
    text = f"{label}, ratio of tau_M{_left_out(mapped)}{known.get((plain.bound, mapped.bound), ', not known')}"
    row: Row = {"label": text, "value": value, "error": finite(error), "published": published}
    return row if goal is None else {**row, "goal": f">= {goal:.3g}", "reached": value >= goal and not mapped.bound}


def chi_row(label: str, side: int, run: Measured) -> Row:
    """The susceptibility, beside independent Monte Carlo where it is known."""
    row: Row = {"label": f"{label}, chi", "value": run.chi.value, "error": finite(run.chi.error)}
    if side not in KNOWN_CHI:
        return row
    value, error = KNOWN_CHI[side]
    reached = abs(run.chi.value - value) <= 3 * math.hypot(run.chi.error, error)
    return {**row, "goal": f"{value} ± {error} within 3 errors", "reached": reached}


def _ratio(plain: Measured, mapped: Measured) -> tuple[float, float]:
    value = plain.tau / mapped.tau
    return value, value * math.hypot(plain.tau_error / plain.tau, mapped.tau_error / mapped.tau)


def _left_out(run: Measured) -> str:
    """What a reader must know of a tau of the other chains alone."""
    return f", {run.stuck} chains that never moved left out" if run.stuck else ""


def _step(run: Measured) -> float:
    return run.seconds / run.steps

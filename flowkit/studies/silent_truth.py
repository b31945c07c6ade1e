"""Among results without a note, errors cover; and healthy runs have no note: over a thousand seeds a theory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flowkit import exact
from flowkit.actions import Phi4, Wilson
from flowkit.ensemble import Ensemble, run
from flowkit.flow import Flow
from flowkit.geometry import links, sites
from flowkit.groups import SUN, U1
from flowkit.observables import Observable, magnetization, phi_squared, plaquette
from flowkit.priors import FreeField
from flowkit.samplers import HMC, Heatbath, IndependenceMetropolis, Sampler
from flowkit.studies.rows import Row
from flowkit.transforms import Affine

ONE_ERROR = math.erf(math.sqrt(0.5))
FEW = 100
"""Silent results of a case below which no coverage is judged."""
BATCH = 4000
"""Chains that run at once."""


@dataclass(frozen=True)
class Case:
    """A sampler of a theory with an exact value, and how each of its runs is made."""

    label: str
    make: Callable[[], Sampler]
    observable: Observable
    healthy: bool
    steps: int = 400
    chains: int = 16
    thermalise: int = 100
    hot: bool = True
    goal: float | None = None


def _u1(beta: float, side: int) -> Wilson:
    return Wilson(links((side, side), U1()), beta)


def _free(m2: float = 1.0) -> Phi4:
    return Phi4(sites((4, 4)), m2=m2, lam=0.0)


def _broken() -> Phi4:
    return Phi4(sites((4, 4)), m2=-4.0, lam=1.0)


def _from_free(action: Phi4, m2: float, shift: float = 0.0) -> IndependenceMetropolis:
    """Independence Metropolis whose flow is a free field of another mass, moved by a constant."""
    move = Affine(action.space)
    with torch.no_grad():
        for name, value in move.named_parameters():
            value.fill_(shift if name == "shift" else 0.0)
    return IndependenceMetropolis(Flow(FreeField(action.space, m2=m2), move).double(), action)


def cases() -> tuple[Case, ...]:
    """Healthy runs first, then those with something wrong."""
    symmetric = Phi4(sites((4, 4)), m2=-1.0, lam=1.0)
    phi4 = exact.phi4_transfer_matrix((4, 4), m2=-1.0, lam=1.0).phi_squared
    su2, su3 = Wilson(links((4, 4), SUN(2)), 2.2), Wilson(links((4, 4), SUN(3)), 6.0)
    resonant = math.pi / math.sqrt(2)  # half a period of the zero mode, whose frequency is sqrt(2 m2)
    return (
        Case("HMC, U(1) 4x4, beta 2", lambda: HMC(_u1(2, 4)), plaquette, True),
        Case("heatbath, U(1) 4x4, beta 2", lambda: Heatbath(_u1(2, 4)), plaquette, True),
        Case("heatbath, SU(2) 4x4, beta 2.2", lambda: Heatbath(su2), plaquette, True, steps=200),
        Case("HMC, free field", lambda: HMC(_free()), phi_squared, True),
        Case("HMC, phi^4 4x4", lambda: HMC(symmetric), phi_squared, True, goal=phi4),
        Case("Metropolis, a wider free field", lambda: _from_free(_free(), 0.8), phi_squared, True),
        Case("one chain, heatbath, U(1)", lambda: Heatbath(_u1(2, 4)), plaquette, True, steps=2000, chains=1),
        Case("two chains, HMC, free field", lambda: HMC(_free()), phi_squared, True, steps=1500, chains=2),
        Case("frozen: HMC, U(1) 8x8, beta 6", lambda: HMC(_u1(6, 8)), plaquette, False),
        Case("frozen: HMC, U(1) 8x8, beta 7", lambda: HMC(_u1(7, 8)), plaquette, False),
        Case("frozen: heatbath, U(1) 8x8, beta 7, cold", lambda: Heatbath(_u1(7, 8)), plaquette, False, hot=False),
        Case("hot start: HMC, U(1) 8x8, beta 2", lambda: HMC(_u1(2, 8)), plaquette, False, 120, 64, 0),
        Case("cold start: heatbath, SU(3) 4x4", lambda: Heatbath(su3), plaquette, False, 60, 16, 0, hot=False),
        Case("a mode that stays: HMC of fixed length", lambda: HMC(_free(), resonant, 20, randomise=0.0),
             phi_squared, False, thermalise=0),
        Case("slow: HMC of short trajectories", lambda: HMC(_free(), 0.15, 2), phi_squared, False),
        Case("short: HMC, U(1), 30 steps of 4 chains", lambda: HMC(_u1(2, 4)), plaquette, False, 30, 4),
        Case("one of two wells: a flow, phi^4", lambda: _from_free(_broken(), 7.0, 1.36), magnetization, False,
             goal=0.0),
        Case("two wells: HMC, phi^4", lambda: HMC(_broken()), magnetization, False, goal=0.0),
        Case("heavy tail: a narrower free field", lambda: _from_free(_free(), 1.6), phi_squared, False),
        Case("heavier tail: a narrower free field", lambda: _from_free(_free(), 2.2), phi_squared, False),
    )  # fmt: skip


def pieces(ensemble: Ensemble, chains: int) -> Sequence[Ensemble]:
    """An ensemble cut into independent ones of so many chains."""
    found = []
    for first in range(0, ensemble.chains, chains):
        some = slice(first, first + chains)
        series = {name: values[:, some].contiguous() for name, values in ensemble.series.items()}
        tested = ensemble.provenance.get("schwinger_dyson", [])[some]
        about = {**ensemble.provenance, "chains": chains, "schwinger_dyson": tested}
        found.append(Ensemble(ensemble.space, None, series, action=ensemble.action, provenance=about))
    return found


def results(case: Case, seeds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pulls, NaN without an error, and whether the result has a note, of so many independent runs."""
    pulls: list[float] = []
    noted: list[bool] = []
    while len(pulls) < seeds:
        rng = torch.Generator().manual_seed(seed * 1000 + len(pulls))
        sampler = case.make()
        many = min(seeds - len(pulls), max(1, BATCH // case.chains))
        start = sampler.start(many * case.chains, rng, hot=case.hot, dtype=torch.float64)
        ensemble = run(
            sampler, case.steps, thermalise=case.thermalise, rng=rng, start=start, keep=False, observe=[case.observable]
        )
        for one in pieces(ensemble, case.chains):
            mean = one.mean(case.observable.name)
            pulls.append(mean.pull(case.goal))
            noted.append(bool(mean.note))
    return np.array(pulls), np.array(noted)


def rows(case: Case, pulls: np.ndarray, noted: np.ndarray) -> list[Row]:
    """Share of noted runs; coverage and share beyond three errors among the others."""
    share = float(noted.mean())
    found: list[Row] = [{"label": f"{case.label}: share with a note", "value": share}]
    if case.healthy:
        found[0] |= {"goal": "< 0.03", "reached": share < 0.03}
    silent = np.abs(pulls[~noted])
    if len(silent) >= FEW:
        inside, beyond = float((silent <= 1).mean()), float((silent > 3).mean())
        error = math.sqrt(ONE_ERROR * (1 - ONE_ERROR) / len(silent))
        what = f"of {len(silent)} without a note"
        found.append({
            "label": f"{case.label}: within one error, {what}", "value": inside, "error": error,
            "goal": f"{ONE_ERROR:.3f} ± 0.03", "reached": abs(inside - ONE_ERROR) <= 0.03,
        })  # fmt: skip
        found.append({
            "label": f"{case.label}: beyond three errors, {what}", "value": beyond, "goal": "<= 0.01",
            "reached": beyond <= 0.01,
        })  # fmt: skip
    return found


def silent_truth(quick: bool = False, *, seeds: int = 1000, seed: int = 1, only: str = "") -> list[Row]:
    """The figure `silent-truth`: what the notes of means are worth.

    Each case is run with many seeds: independent sets of chains, which share a batch and a step size.

    Parameters
    ----------
    quick : bool
        60 seeds of each case.
    seeds : int
        Runs of each case.
    seed : int
        Of all of them.
    only : str
        Part of the label of the cases to run; all by default.
    """
    found = []
    for k, case in enumerate(cases()):
        if only in case.label:
            found += rows(case, *results(case, 60 if quick else seeds, seed * 100 + k))
    return found

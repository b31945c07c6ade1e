"""HMC and heatbath against exact values, and the coverage of their error bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binom, norm

from flowkit import exact, observables, stats
from flowkit.actions import Action, Phi4, Wilson
from flowkit.ensemble import Ensemble, run
from flowkit.geometry import links, sites
from flowkit.groups import SUN, U1, Group
from flowkit.observables import Observable
from flowkit.priors import FreeField
from flowkit.samplers import HMC, Heatbath, IndependenceMetropolis, Sampler
from flowkit.stats import Estimate
from flowkit.studies.hops import Hops
from flowkit.studies.rows import Row, finite

COUPLINGS: dict[Group, tuple[float, ...]] = {
    U1(): (1, 2, 4, 6, 8, 12, 16),
    SUN(2): (1, 1.8, 2.2, 2.7, 8),
    SUN(3): (1, 4, 6, 12),
}
QUICK: dict[Group, tuple[float, ...]] = {U1(): (2, 8), SUN(2): (2.2,), SUN(3): (6,)}
# 4D SU(3) on 4^4: no exact value is known, so these are independent Monte Carlo results with their errors.
FOUR_DIMENSIONS = {1.0: (0.060213, 0.000074), 2.0: (0.128804, 0.000090)}
NAMES = ("HMC", "heatbath")
FROZEN = 4.0
"""U(1) from this beta on: Q moves too rarely under HMC and heatbath to average <Q^2> in minutes."""
RARE = 0.01
"""Below this <Q^2> a run of the study sees too few charged fields for a Gaussian error."""


def measure(
    sampler: Sampler,
    observe: Sequence[Observable],
    *,
    chains: int,
    steps: int,
    thermalise: int,
    seed: int,
    hot: bool = True,
) -> Ensemble:
    """A run in float64 from a hot or cold start that keeps the observables alone."""
    rng = torch.Generator().manual_seed(seed)
    start = sampler.start(chains, rng, hot=hot, dtype=torch.float64)
    return run(sampler, steps, thermalise=thermalise, rng=rng, observe=observe, keep=False, start=start)


# ---------------------------------------------------------------- comparisons


@dataclass
class Comparison:
    """An estimate and the value it should have, with that value's own error (0 where it is exact)."""

    label: str
    estimate: Estimate
    goal: float
    goal_error: float = 0.0

    @property
    def pull(self) -> float:
        """Distance in standard errors; NaN where the run gives no error."""
        return (self.estimate.value - self.goal) / math.hypot(self.estimate.error, self.goal_error)

    def row(self, threshold: float) -> Row:
        """One row of the figure."""
        published = f"{self.goal} ± {self.goal_error} (Monte Carlo)" if self.goal_error else None
        note = f" [{self.estimate.note}]" if self.estimate.note else ""
        return {
            "label": self.label + note,
            "value": self.estimate.value,
            "error": finite(self.estimate.error),
            "goal": self.goal,
            "published": published,
            "reached": abs(self.pull) <= threshold,
        }


def threshold(comparisons: int) -> float:
    """The distance, in errors, that the farthest of so many exceeds as rarely as one exceeds 3 (Bonferroni)."""
    return float(norm.isf(norm.sf(3.0) / comparisons))


def sampler_named(name: str, action: Action) -> Sampler:
    """The baselines as the study uses them: HMC of length 2 with leapfrog, heatbath with one overrelaxation sweep."""
    return HMC(action, length=2.0, steps=20) if name == "HMC" else Heatbath(action, overrelaxation=1)


def two_dimensions(
    name: str, group: Group, beta: float, side: int, *, chains: int, steps: int, thermalise: int, seed: int
) -> list[Comparison]:
    """Plaquette, W(2x2), and for U(1) <Q^2>, on side x side; at large beta the plaquette of two sectors as well."""
    action = Wilson(links((side, side), group), float(beta))
    measured = [observables.plaquette, observables.wilson_loop(2, 2)]
    u1 = group.winding
    frozen = u1 and beta >= FROZEN
    sampler = sampler_named(name, action)
    if u1:
        measured.append(observables.charge_squared)
    if frozen:
        sampler, name = Hops(sampler), f"{name} with hops"
    ensemble = measure(sampler, measured, chains=chains, steps=steps, thermalise=thermalise, seed=seed, hot=not frozen)
    where = f"{name}, {group.name} {side}x{side}, beta {beta:g}"
    results = []
    for o in measured:
        estimate = ensemble.mean(o)
        assert estimate.exact is not None  # all three are known on these lattices
        if o.name != "charge_squared" or estimate.exact >= RARE:
            results.append(Comparison(f"{where}: {o.name}", estimate, estimate.exact))
    if frozen:
        charge_squared = ensemble.history("charge_squared").numpy()
        for charge in (0, 1):
            inside = (np.abs(charge_squared - charge) < 0.5).astype(np.float64)
            if inside.mean() > RARE:
                value = stats.ratio(ensemble.history("plaquette").numpy() * inside, inside)
                goal = exact.u1_plaquette_in_sector(beta, side * side, charge)
                results.append(Comparison(f"{where}: plaquette where |Q| = {charge}", value, goal))
    return results


def four_dimensions(name: str, beta: float, *, chains: int, steps: int, thermalise: int, seed: int) -> Comparison:
    """The plaquette of SU(3) on 4^4."""
    action = Wilson(links((4, 4, 4, 4), SUN(3)), beta)
    sampler: Sampler = HMC(action, length=1.5, steps=4) if name == "HMC" else Heatbath(action, overrelaxation=0)
    ensemble = measure(sampler, [observables.plaquette], chains=chains, steps=steps, thermalise=thermalise, seed=seed)
    value, error = FOUR_DIMENSIONS[beta]
    label = f"{name}, SU3 4x4x4x4, beta {beta:g}: plaquette"
    return Comparison(label, ensemble.mean("plaquette"), value, error)


def coverage(name: str, seeds: int, steps: int, seed: int) -> Row:
    """How often the exact value lies within one error of a single chain, over `seeds` independent chains.

    HMC and independence Metropolis measure <phi^2> of the free field (the latter with a proposal wider than the
    target, whose weights are bounded), heatbath the U(1) plaquette.
    """
    sampler: Sampler
    if name == "heatbath":
        sampler, measured = Heatbath(Wilson(links((4, 4), U1()), beta=2.0), 0), observables.plaquette
    else:
        free = Phi4(sites((4, 4)), m2=1.0, lam=0.0)
        measured = observables.phi_squared
        if name == "HMC":
            sampler = HMC(free, length=1.0, steps=7)  # random lengths: no mode comes back to itself
        else:
            sampler = IndependenceMetropolis(FreeField(free.space, m2=0.8).double(), free)
    goal = sampler.action.exact(measured.name)
    ensemble = measure(sampler, [measured], chains=seeds, steps=steps, thermalise=30, seed=seed)
    inside = [stats.estimate(chain).within(goal, 1.0) for chain in ensemble.history(measured).numpy().T]
    share, expected = float(np.mean(inside)), math.erf(math.sqrt(0.5))
    error = math.sqrt(expected * (1 - expected) / seeds)
    return {
        "label": f"coverage of one error, {name}: {measured.name}, {seeds} chains of {steps} steps",
        "value": share,
        "error": error,
        "goal": f"{expected:.3f} ± {3 * error:.3f}",
        "reached": abs(share - expected) <= 3 * error,
    }


def verdicts(comparisons: Sequence[Comparison]) -> list[Row]:
    """What all comparisons say together: the farthest, how many are beyond 3 errors, and chi^2 of the plaquettes."""
    pulls = np.array([c.pull for c in comparisons])
    farthest, limit = float(np.max(np.abs(np.nan_to_num(pulls, nan=np.inf)))), threshold(len(pulls))
    rare = 2 * norm.sf(3.0)
    beyond, allowed = int((~(np.abs(pulls) <= 3)).sum()), int(binom.isf(rare, len(pulls), rare))
    # One number of each run, so that they are independent.
    squares = np.array([c.pull**2 for c in comparisons if c.label.endswith(": plaquette")])
    chi2, spread = float(squares.mean()), math.sqrt(2 / len(squares))
    return [
        {
            "label": f"farthest of {len(pulls)} comparisons, in errors",
            "value": farthest if math.isfinite(farthest) else "no error",
            "goal": f"<= {limit:.2f}, as rare as 3 errors in one comparison",
            "reached": farthest <= limit,
        },
        {
            "label": f"comparisons beyond 3 errors, of {len(pulls)}",
            "value": beyond,
            "goal": f"<= {allowed}",
            "reached": beyond <= allowed,
        },
        {
            "label": f"chi^2 per plaquette, {len(squares)} runs",
            "value": chi2 if math.isfinite(chi2) else "no error",
            "error": spread,
            "goal": f"1 ± {3 * spread:.2f}",
            "reached": abs(chi2 - 1) <= 3 * spread,
        },
    ]


def baselines(quick: bool = False, *, seed: int = 1, effort: float = 1.0) -> list[Row]:
    """The figure `baselines`: every exact value of U(1), SU(2) and SU(3) on 4x4 and 8x8, SU(3) on 4^4, coverage.

    A comparison is reached where it lies within the distance that the farthest of all of them exceeds as rarely as a
    single one exceeds 3 errors. From beta 4 on, U(1) runs with instanton hops, and says so; without them its
    topological charge is frozen.

    Parameters
    ----------
    quick : bool
        4x4 and a few couplings alone, shorter runs, 200 seeds for the coverage.
    seed : int
        Of all runs.
    effort : float
        Factor on the length of all runs.

    Raises
    ------
    ValueError
        For effort <= 0.
    """
    if not 0 < effort < math.inf:
        raise ValueError(f"baselines needs effort > 0; got {effort!r}.")

    def length(full: int, short: int) -> int:
        return max(20, round((short if quick else full) * effort))

    seed *= 10_000  # two seeds of the study share no run's seed
    comparisons = []
    for group, betas in (QUICK if quick else COUPLINGS).items():
        u1 = group.winding
        # Heatbath decorrelates faster in its steps, and needs fewer.
        steps = {"HMC": length(800, 150), "heatbath": length(400, 80)} if u1 else dict.fromkeys(NAMES, length(200, 60))
        for beta in betas:
            for side in (4,) if quick else (4, 8):
                for name in NAMES:
                    seed += 1
                    comparisons += two_dimensions(
                        name, group, beta, side, seed=seed, steps=steps[name],
                        chains=32 if u1 else 96 // side, thermalise=length(100, 60) if u1 else length(60, 40),
                    )  # fmt: skip
    for beta in (2.0,) if quick else FOUR_DIMENSIONS:
        for name in ("heatbath",) if quick else NAMES:
            seed += 1
            sweeps = length(40, 20) if name == "HMC" else length(250, 30)
            comparisons.append(four_dimensions(name, beta, chains=4, steps=sweeps, thermalise=15, seed=seed))
    limit = threshold(len(comparisons))
    rows = [c.row(limit) for c in comparisons]
    covered = [
        coverage(name, 200 if quick else 1000, length(1000, 200), seed) for name in (*NAMES, "independence Metropolis")
    ]
    return [*rows, *verdicts(comparisons), *covered]

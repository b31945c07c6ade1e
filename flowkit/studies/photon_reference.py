"""What chains say of U(1) at weak coupling: means, and ln Z by integration."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, importance_sample, run, sectors
from flowkit.geometry import Space
from flowkit.models import photon_flow
from flowkit.observables import monopoles, plaquette
from flowkit.priors import Haar
from flowkit.samplers import Heatbath, annealed_flow
from flowkit.stats import Estimate, log_z
from flowkit.studies.rows import Row, finite

HIGH = 16.0
"""The coupling where the integration of ln Z begins: the flow of that coupling has an ESS of nearly 1."""
ANNEALING = 240
"""Couplings through which hot starts are brought to the theory, five sweeps each: after 24 fluxes still stood."""


@dataclass(frozen=True)
class Effort:
    """How long to train, draw and run chains."""

    steps: int
    batch: int
    draws: int
    chains: int
    sweeps: int
    nodes: int
    stages: int
    trajectories: int
    seed: int


def chains(action: Wilson, hot: bool, effort: Effort, seed: int | None = None) -> Ensemble:
    """Heatbath chains from cold starts, or from Haar measure through a range of couplings.

    Chains that meet the theory hot freeze in sectors of flux. Chains at many couplings need a `seed` for each: equal
    random numbers would make their errors add up.
    """
    seed = effort.seed + hot if seed is None else seed
    many = max(8, effort.chains * 256 // max(256, action.space.volume))
    start = action.space.cold(many, like=torch.zeros(()))
    if hot:
        path = [action.at(beta=action.beta * k / ANNEALING) for k in range(1, ANNEALING + 1)]
        start = annealed_flow(Haar(action.space), path, Heatbath, steps=5).sample(many, seed)
    observe = (plaquette, monopoles)
    return run(Heatbath(action), effort.sweeps, chains=many, rng=seed, start=start, observe=observe, keep=False)


@dataclass
class Reference:
    r"""ln Z by heatbath chains, from the flow of a high coupling down.

    .. math:: \ln Z(\beta) = \ln Z(16) - \int_\beta^{16} d\beta' \, \Big\langle \sum_P \cos \theta_P \Big\rangle

    The integral over ln beta is that of Gauss and Legendre, from each coupling to the next lower one.
    """

    space: Space
    effort: Effort
    known: list[tuple[float, float, float]] = field(default_factory=list)

    def log_z(self, beta: float) -> Estimate:
        """ln Z at a coupling that is lower than those asked for before."""
        if not self.known:
            action = Wilson(self.space, HIGH)
            start = importance_sample(photon_flow(self.space, HIGH), action, self.effort.draws // 4, rng=2, keep=False)
            first = log_z(start.series["logw"].numpy())
            self.known.append((HIGH, first.value, first.error**2))
        above, value, variance = self.known[-1]
        if above == beta:
            return Estimate(value, math.sqrt(variance), 0.5, 0.0, self.effort.nodes)
        plaquettes = len(self.space.planes) * self.space.volume
        value -= plaquettes * (above - beta)  # the rest varies little with ln beta
        roots, weights = np.polynomial.legendre.leggauss(self.effort.nodes)
        half = math.log(above / beta) / 2
        for i, (root, weight) in enumerate(zip(roots, weights, strict=True)):
            at = beta * math.exp(half * (1 + root))
            seed = 1000 * self.effort.seed + 100 * len(self.known) + i
            mean = chains(Wilson(self.space, at), False, self.effort, seed).mean(plaquette)
            factor = half * weight * at * plaquettes
            value, variance = value + factor * (1 - mean.value), variance + (factor * mean.error) ** 2
        self.known.append((beta, value, variance))
        return Estimate(value, math.sqrt(variance), 0.5, 0.0, self.effort.nodes)


def compared_rows(label: str, found: Estimate, beside: list[tuple[str, Estimate]]) -> list[Row]:
    """A number of the flow beside each of other methods that should agree with it within three errors of both."""
    row: Row = {"label": label, "value": found.value, "error": finite(found.error)}
    if not beside:
        return [row]
    rows = []
    for name, one in beside:
        goal: Row = {"goal": f"{one.value:.6g} ({name}), too little seen for an error"}
        if math.isfinite(one.error) and found.error > 0:
            near = abs(found.value - one.value) <= 3 * math.hypot(found.error, one.error)
            goal = {"goal": f"{one.value:.6g} ± {one.error:.2g} ({name}), within 3 errors", "reached": near}
        rows.append({**row, "label": f"{label}, beside {name}", **goal})
    return rows


def sector_rows(who: str, draws: Ensemble, most: int = 4) -> list[Row]:
    """The shares of the weight and of the draws that fields with so many monopoles hold, where they hold most."""
    shares = sorted(sectors(draws), key=lambda one: -one.weight.value)[:most]
    rows: list[Row] = []
    for k, weight, drawn in sorted(shares):
        label = f"{who}, share of the weight with {k} monopoles ({drawn.value:.2g} of the draws)"
        rows.append({"label": label, "value": weight.value, "error": finite(weight.error)})
    return rows

"""U(1) links at weak coupling in three and four dimensions: photon flows, ln Z and monopole sectors."""

import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, importance_sample, run
from flowkit.flow import Flow
from flowkit.geometry import Space, format_lattice, links
from flowkit.groups import U1
from flowkit.models import photon_flow
from flowkit.observables import monopoles, plaquette
from flowkit.priors import Haar
from flowkit.samplers import Heatbath, annealed_flow
from flowkit.stats import Estimate, log_z
from flowkit.studies.rows import Row, ess_row, finite
from flowkit.train import Cosine, Trainer

HIGH = 16.0
"""The coupling where the integration of ln Z begins: the flow of that coupling has an ESS of nearly 1."""
ANNEALING = 24
"""Couplings through which hot starts are brought to the theory, five sweeps each."""
MOST_FIELD_NUMBERS = 2**19
"""Links in one chunk of draws."""
LARGEST = 4096
"""Sites of the largest lattice with chains; ln Z is integrated on an eighth of it."""


@dataclass(frozen=True)
class Effort:
    """How long to train, draw and run chains."""

    steps: int
    batch: int
    draws: int
    chains: int
    sweeps: int
    nodes: int
    seed: int


def photon_3d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (3.0, 2.0),
    sides: tuple[int, ...] = (4, 8),
    steps: int = 100,
    batch: int = 256,
    draws: int = 8192,
    chains: int = 64,
    sweeps: int = 400,
    nodes: int = 3,
    seed: int = 1,
) -> list[Row]:
    """Numbers trained on the smallest lattice, on all of them: ESS, ln Z, plaquette, monopoles and sectors."""
    effort = Effort(steps, batch, draws, chains, sweeps, nodes, seed)
    goals = {(4, 3.0): 0.99, (4, 2.0): 0.9, (8, 3.0): 0.85, (8, 2.0): 0.4}
    return _study(3, betas, dict.fromkeys(betas, sides), goals, {}, effort, quick)


def photon_4d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (2.0, 1.5),
    steps: int = 60,
    batch: int = 64,
    draws: int = 4096,
    large: tuple[int, ...] = (8, 16),
    chains: int = 32,
    sweeps: int = 400,
    nodes: int = 3,
    seed: int = 1,
) -> list[Row]:
    """The same on 4^4, and with its numbers on larger lattices at the first coupling. Fewer draws on these."""
    effort = Effort(steps, batch, draws, chains, sweeps, nodes, seed)
    goals = {(4, 2.0): 0.98, (4, 1.5): 0.9, (8, 2.0): 0.75}
    sides = {beta: (4, *large) if beta == betas[0] else (4,) for beta in betas}
    published = {2.0: "190 nats of KL (multiscale), 302 (flow)", 1.5: "107.6 nats of KL (multiscale), 139 (flow)"}
    return _study(4, betas, sides, goals, published, effort, quick)


def _study(
    ndim: int,
    betas: tuple[float, ...],
    sides: dict[float, tuple[int, ...]],
    goals: dict[tuple[int, float], float],
    published: dict[float, str],
    effort: Effort,
    quick: bool,
) -> list[Row]:
    if quick:
        betas, sides = betas[:1], {betas[0]: sides[betas[0]][:1]}
        effort = Effort(10, 32, 512, 16, 200, 2, effort.seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        references: dict[int, Reference] = {}
        for beta in betas:
            small = links((sides[beta][0],) * ndim, U1())
            trained, seconds = _trained(small, beta, effort)
            rows.append(
                {"label": f"beta {beta:g}, training on {format_lattice(small.lattice)}, seconds", "value": seconds}
            )
            for side in sides[beta]:
                space = small.on((side,) * ndim)
                n = max(64, min(effort.draws, 4 * effort.draws * small.volume // space.volume))
                known = published.get(beta) if side == small.lattice[0] else None
                reference = (
                    references.setdefault(side, Reference(space, effort)) if space.volume <= LARGEST // 8 else None
                )
                rows += _rows(trained.on(space), beta, n, goals.get((side, beta)), known, reference, effort)
        return rows
    finally:
        torch.set_default_dtype(before)


def _trained(space: Space, beta: float, effort: Effort) -> tuple[Flow, float]:
    """A photon flow whose drift was trained without monopoles, and the seconds that took."""
    flow, bare = photon_flow(space, beta), photon_flow(space, beta, monopoles=False)
    start = time.perf_counter()
    trainer = Trainer(
        bare,
        Wilson(space, beta),
        loss="reverse_kl",
        batch=effort.batch,
        lr=2e-3,
        schedule=Cosine(warmup=5, final=0.05),
        seed=effort.seed,
    )
    trainer.fit(effort.steps, progress=False)
    return Flow(flow.prior, bare.transform), time.perf_counter() - start


def _rows(
    flow: Flow,
    beta: float,
    n: int,
    goal: float | None,
    published: str | None,
    reference: "Reference | None",
    effort: Effort,
) -> list[Row]:
    """What the weights of n draws say, and what chains say of the same."""
    space = flow.space
    action, who = Wilson(space, beta), f"beta {beta:g}, {format_lattice(space.lattice)}"
    chunk = max(1, min(1024, MOST_FIELD_NUMBERS // space.dof))
    start = time.perf_counter()
    draws = importance_sample(flow, action, n, rng=effort.seed, chunk=chunk, observe=(plaquette, monopoles), keep=False)
    milliseconds = 1e3 * (time.perf_counter() - start) / n
    logw = draws.series["logw"].flatten()
    z = log_z(logw.numpy())
    rows = [
        ess_row(f"{who}, ESS of {n} draws", draws.ess(), goal),
        {"label": f"{who}, KL, nats", "value": z.value - float(logw.mean()), "published": published},
        {"label": f"{who}, milliseconds a draw", "value": milliseconds},
    ]
    integrated = None if reference is None else reference.log_z(beta)
    rows.append(_compared(f"{who}, ln Z", z, [] if integrated is None else [("by integration", integrated)]))
    beside_chains = space.volume <= LARGEST
    cold, hot = (chains(action, heat, effort) if beside_chains else None for heat in (False, True))
    for observable in (plaquette, monopoles):
        both = (("heatbath, cold", cold), ("hot", hot))
        beside = [(name, one.mean(observable)) for name, one in both if one is not None]
        rows.append(_compared(f"{who}, {observable.name}", draws.mean(observable), beside))
    return rows + sector_rows(who, draws, logw)


def sector_rows(who: str, draws: Ensemble, logw: Tensor, most: int = 4) -> list[Row]:
    """The share of the weight that fields with so many monopoles hold, beside their share of the draws."""
    count, w = draws.history(monopoles).flatten().round(), torch.softmax(logw, 0)
    rows = []
    for k in sorted(set(count.tolist()))[:most]:
        inside = count == k
        share = float(w[inside].sum())
        error = float((w * (inside.double() - share)).square().sum().sqrt())
        label = f"{who}, share of the weight with {k:g} monopoles ({float(inside.double().mean()):.2g} of the draws)"
        rows.append({"label": label, "value": share, "error": finite(error)})
    return rows


def chains(action: Wilson, hot: bool, effort: Effort) -> Ensemble:
    """Heatbath chains from cold starts, or from Haar measure through a range of couplings.

    Chains that meet the theory hot freeze in sectors of flux.
    """
    many = max(8, effort.chains * 256 // max(256, action.space.volume))
    start = action.space.cold(many, like=torch.zeros(()))
    if hot:
        path = [action.at(beta=action.beta * k / ANNEALING) for k in range(1, ANNEALING + 1)]
        start = annealed_flow(Haar(action.space), path, Heatbath, steps=5).sample(many, effort.seed)
    sweeps = max(100, effort.sweeps * 256 // max(256, action.space.volume))
    observe = (plaquette, monopoles)
    return run(Heatbath(action), sweeps, chains=many, rng=effort.seed + hot, start=start, observe=observe, keep=False)


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
        plaquettes = len(self.space.planes) * self.space.volume
        value -= plaquettes * (above - beta)  # the rest varies little with ln beta
        roots, weights = np.polynomial.legendre.leggauss(self.effort.nodes)
        half = math.log(above / beta) / 2
        for root, weight in zip(roots, weights, strict=True):
            at = beta * math.exp(half * (1 + root))
            mean = chains(Wilson(self.space, at), False, self.effort).mean(plaquette)
            factor = half * weight * at * plaquettes
            value, variance = value + factor * (1 - mean.value), variance + (factor * mean.error) ** 2
        self.known.append((beta, value, variance))
        return Estimate(value, math.sqrt(variance), 0.5, 0.0, self.effort.nodes)


def _compared(label: str, found: Estimate, beside: list[tuple[str, Estimate]]) -> Row:
    """A number of the flow, and those of other methods that should agree with it within three errors of both."""
    row: Row = {"label": label, "value": found.value, "error": finite(found.error)}
    if not beside:
        return row
    gaps = [abs(found.value - one.value) <= 3 * math.hypot(found.error, one.error) for _, one in beside]
    texts = [f"{one.value:.6g} ± {one.error:.2g} ({name})" for name, one in beside]
    return {**row, "goal": f"{', '.join(texts)}, within 3 errors", "reached": all(gaps)}

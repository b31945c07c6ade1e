"""Multiscale models of links in three and four dimensions: dressed staples, trained by maximum likelihood."""

import math
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flowkit.actions import Wilson
from flowkit.ensemble import importance_sample, run
from flowkit.flow import Flow
from flowkit.geometry import links, random_images
from flowkit.groups import SUN, U1, Group
from flowkit.models import dressed_flow
from flowkit.observables import monopoles, plaquette
from flowkit.priors import Haar, Prior
from flowkit.samplers import AnnealedHeatbath, Heatbath, annealing_path
from flowkit.stats import Estimate, log_z
from flowkit.studies.photon_reference import sector_rows
from flowkit.studies.rows import Row, ess_row, finite
from flowkit.train import MaximumLikelihoodStep, NaturalGradientStep, Trainer


class Case(NamedTuple):
    """A theory, what is aimed at, and what was published."""

    group: Group
    lattice: tuple[int, ...]
    beta: float
    goal: float | None = None
    published: str | None = None
    larger: tuple[tuple[int, ...], float] | None = None
    """A larger lattice that the same weights serve, and the ESS aimed at there."""
    incomplete: bool = False
    """Whether loops of six links with missing links are given on coarse lattices."""


class Effort(NamedTuple):
    """How much is spent on a case."""

    fields: int
    images: int
    batch: int
    natural: int
    draws: int
    sweeps: int
    seed: int


CASES_3D = (
    Case(U1(), (4, 4, 4), 1.0, 0.95, larger=((8, 8, 8), 0.5)),
    Case(U1(), (4, 4, 4), 2.0, 0.9, incomplete=True),
    Case(SUN(2), (4, 4, 4), 2.0, 0.9, larger=((8, 8, 8), 0.3)),
    Case(SUN(2), (4, 4, 4), 4.0, 0.4, incomplete=True),
)
CASES_4D = (
    Case(U1(), (4, 4, 4, 4), 0.5, 0.8, "KL 4"),
    Case(U1(), (4, 4, 4, 4), 1.0, None, "KL 30.6"),
    Case(SUN(2), (4, 4, 4, 4), 1.0, 0.85),
)
PATHS = 256
"""Fields that are annealed from Haar measure."""


def multiscale_3d(
    quick: bool = False,
    *,
    fields: int = 8192,
    images: int = 2,
    batch: int = 8192,
    natural: int = 4,
    draws: int = 8192,
    sweeps: int = 24,
    seed: int = 1,
) -> list[Row]:
    """For each theory: seconds of heatbath and of training, ESS, KL, ln Z beside its thermodynamic integral and beside
    annealing from Haar measure, the plaquette beside heatbath from a hot and from a cold start; the same weights on
    larger lattices.

    The weights have seen `fields` fields of Markov chains.
    """
    effort = Effort(fields, images, batch, natural, draws, sweeps, seed)
    return _study(CASES_3D, effort, quick)


def multiscale_4d(
    quick: bool = False,
    *,
    fields: int = 2048,
    images: int = 2,
    batch: int = 4096,
    natural: int = 3,
    draws: int = 4096,
    sweeps: int = 16,
    seed: int = 1,
) -> list[Row]:
    """For each theory: seconds of heatbath and of training, ESS, KL, ln Z beside its thermodynamic integral and beside
    annealing from Haar measure, the plaquette beside heatbath from a hot and from a cold start.

    The weights have seen `fields` fields of Markov chains.
    """
    effort = Effort(fields, images, batch, natural, draws, sweeps, seed)
    return _study(CASES_4D, effort, quick)


def _study(cases: tuple[Case, ...], effort: Effort, quick: bool) -> list[Row]:
    if quick:
        cases = tuple(
            case._replace(lattice=tuple(2 for _ in case.lattice), goal=None, published=None, larger=None)
            for case in cases[:1]
        )
        effort = effort._replace(fields=1024, images=1, batch=1024, natural=1, draws=2048, sweeps=10)
    return [row for case in cases for row in rows_of(case, effort)]


def rows_of(case: Case, effort: Effort) -> list[Row]:
    """The rows of one case."""
    action = Wilson(links(case.lattice, case.group), case.beta)
    start = time.perf_counter()
    x = heatbath_fields(action, effort.fields, effort.seed)
    chains = time.perf_counter() - start
    model = train(action, x, effort, case.incomplete)
    who = name_of(action)
    rows: list[Row] = [{"label": f"{who}, heatbath of {len(x)} fields, seconds", "value": chains}]
    rows.append({"label": f"{who}, training, seconds", "value": time.perf_counter() - start - chains})
    rows.append({"label": f"{who}, parameters", "value": sum(p.numel() for p in model.parameters())})
    rows += _on(model, action, case.goal, case.published, effort)
    if case.larger is not None:
        lattice, goal = case.larger
        big = Wilson(action.space.on(lattice), case.beta)
        rows += _on(model.on(big.space), big, goal, None, effort._replace(draws=effort.draws // 4))
    return rows


def heatbath_fields(action: Wilson, n: int, seed: int) -> Tensor:
    """n fields of Markov chains, sixteen of each chain, ``[n, *space.shape]``."""
    chains = run(Heatbath(action), 16, chains=n // 16, thermalise=60, every=4, rng=seed, dtype=torch.float32)
    assert chains.x is not None
    return chains.x.reshape(-1, *action.space.shape)


def train(action: Wilson, x: Tensor, effort: Effort, incomplete: bool = False) -> Flow:
    """A model of dressed staples, by maximum likelihood on images of the fields and natural gradient afterwards."""
    # In four dimensions few parameters are worth more than what the finer order and powers gain.
    small = action.space.ndim > 3
    model = dressed_flow(
        action.space,
        action.beta,
        order="cells" if small else "hierarchical",
        powers=not small,
        incomplete=incomplete,
    )
    return fit(model, action, x, effort)


def fit(model: Flow, action: Wilson, x: Tensor, effort: Effort) -> Flow:
    """The model, trained by maximum likelihood on images of the fields and natural gradient afterwards."""
    torch.manual_seed(effort.seed)
    space, rng = action.space, torch.Generator().manual_seed(effort.seed)
    method = MaximumLikelihoodStep(torch.cat([random_images(space, x, rng) for _ in range(effort.images)]))
    Trainer(model, action, batch=1024, method=method, seed=effort.seed).fit(method.steps, progress=False)
    for step in range(effort.natural):
        with torch.no_grad():
            probe, logq = model.sample_and_log_prob(1024, effort.seed + step)
        if float((action(probe) + logq).var()) > 1:  # too far for a quadratic model
            break
        # Damped: log w is known to the noise of the batch alone.
        gradient = NaturalGradientStep(max_kl=1.0, ridge=1e-3, lr=(1.0, 1.0, 0.7, 0.5)[min(step, 3)])
        Trainer(model, action, batch=effort.batch, method=gradient, seed=10 + step).fit(1, progress=False)
    return model


def name_of(action: Wilson) -> str:
    """What rows call a theory."""
    return f"{action.space.group.label} on {'x'.join(map(str, action.space.lattice))}, beta {action.beta:g}"


def _on(
    model: Prior,
    action: Wilson,
    goal: float | None,
    published: str | None,
    effort: Effort,
) -> list[Row]:
    """ESS, KL, ln Z and plaquette of draws, each beside heatbath; sectors of monopoles for U(1)."""
    who, n = name_of(action), effort.draws
    sectors = action.space.group == U1()
    observe = (plaquette, monopoles) if sectors else (plaquette,)
    start = time.perf_counter()
    with torch.no_grad():
        ensemble = importance_sample(model, action, n, rng=effort.seed, chunk=512, observe=observe, keep=False)
    seconds = time.perf_counter() - start
    logw = ensemble.series["logw"].flatten().double().numpy()
    ln_z, ess = log_z(logw), ensemble.ess()
    rows = [ess_row(f"{who}, ESS of {n} draws", ess, goal)]
    kl: Row = {"label": f"{who}, KL", "value": ln_z.value - float(logw.mean()), "published": published}
    rows.append({**kl, "error": finite(math.hypot(ln_z.error, float(logw.std()) / math.sqrt(n)))})
    rows.append({"label": f"{who}, seconds for 1,000 draws", "value": 1000 * seconds / n})
    for name, other_z in (("its integral", thermodynamic), ("annealing", annealed)):
        rows.append(compared(f"{who}, ln Z", ln_z, *other_z(action, effort.sweeps, effort.seed), name))
    mine = ensemble.mean(plaquette)
    for name, hot in (("hot", True), ("cold", False)):
        other = heatbath_plaquette(action, 4 * effort.sweeps, effort.seed + 1, hot)
        rows.append(compared(f"{who}, plaquette", mine, other.value, other.error, f"heatbath from a {name} start"))
    return rows + sector_rows(who, ensemble) if sectors else rows


def heatbath_plaquette(action: Wilson, sweeps: int, seed: int, hot: bool) -> Estimate:
    """The plaquette of independent chains, from the means of each."""
    sampler, chains = Heatbath(action), max(32, 2**15 // action.space.volume // action.space.ndim)
    start = sampler.start(chains, seed, hot=hot, dtype=torch.float32)
    series = run(sampler, sweeps, start=start, thermalise=2 * sweeps, rng=seed, observe=(plaquette,), keep=False)
    means = series.history(plaquette).double().mean(0)
    return Estimate(float(means.mean()), float(means.std()) / math.sqrt(len(means)), 0.5, 0.0, len(means))


def thermodynamic(action: Wilson, sweeps: int, seed: int, nodes: int = 12) -> tuple[float, float]:
    """ln Z and its error: the integral of the mean of -S/b from b = 0 to beta, on Gauss-Legendre nodes, by heatbath."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    total, square, count = 0.0, 0.0, action.space.volume * len(action.space.planes)
    for i, (node, weight) in enumerate(zip((x + 1) / 2, weights / 2, strict=True)):
        # Each node has random numbers of its own, so that their errors are independent.
        mean = heatbath_plaquette(Wilson(action.space, float(action.beta * node)), sweeps, 1000 * seed + i, True)
        scale = action.beta * float(weight) * count
        total, square = total + scale * mean.value, square + (scale * mean.error) ** 2
    return total, math.sqrt(square)


def annealed(action: Wilson, sweeps: int, seed: int) -> tuple[float, float]:
    """ln Z and its error by annealed importance sampling from Haar measure, in 8 `sweeps` sweeps of heatbath."""
    path = annealing_path(action, 8 * sweeps, rng=seed)
    flow = Flow(Haar(action.space), AnnealedHeatbath(action, path))
    found = log_z(importance_sample(flow, action, PATHS, rng=seed, chunk=64, keep=False).series["logw"].flatten())
    return found.value, found.error


def compared(label: str, mine: Estimate, other: float, error: float, what: str) -> Row:
    """A number beside an independent one, within three errors of both; no verdict where an error is unknown."""
    both = math.hypot(mine.error, error)
    row: Row = {"label": f"{label} beside {what}", "value": mine.value, "error": finite(mine.error)}
    if not math.isfinite(both):
        return {**row, "goal": f"{other:.6g}, too little seen for an error"}
    goal = f"{other:.7g} ± {error:.2g}, within 3 errors of both"
    return {**row, "goal": goal, "reached": abs(mine.value - other) <= 3 * both}

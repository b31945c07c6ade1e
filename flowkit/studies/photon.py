"""U(1) links at weak coupling in three and four dimensions: photon flows, ln Z and monopole sectors."""

import time
from dataclasses import replace

import torch

from flowkit.actions import Action, Wilson
from flowkit.ensemble import importance_sample
from flowkit.geometry import Space, format_lattice, links
from flowkit.groups import U1
from flowkit.models import photon_flow
from flowkit.observables import monopoles, plaquette
from flowkit.priors import FromLifts, Prior
from flowkit.samplers import Heatbath, annealed_flow, annealed_photons
from flowkit.stats import log_z
from flowkit.studies.photon_reference import Effort, Reference, chains, compared_rows, sector_rows
from flowkit.studies.rows import Row, ess_row
from flowkit.train import Cosine, Trainer

MOST_FIELD_NUMBERS = 2**16
"""Links in one chunk of draws."""
PAIRS = {(4, 2.0): (0.16, 0.78), (8, 2.0): (0.46, 0.27), (4, 3.0): (1.4, 1.0), (8, 3.0): (1.4, 1.0)}
"""Core and tension of the pairs of monopoles in three dimensions by side and beta, from the mean weights of pairs."""
LARGEST = 4096
"""Sites of the largest lattice with chains and annealed draws; ln Z is integrated on an eighth of it."""


def photon_3d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (3.0, 2.0),
    sides: tuple[int, ...] = (4, 8),
    steps: int = 60,
    batch: int = 256,
    draws: int = 8192,
    stages: int = 8,
    trajectories: int = 2,
    chains: int = 256,
    sweeps: int = 100,
    nodes: int = 3,
    seed: int = 1,
) -> list[Row]:
    """Free photons twice on each lattice: ESS, ln Z, plaquette, monopoles and sectors.

    learned drift  twelve numbers, trained on the smallest lattice without monopoles
    annealed       the drift in closed form, with HMC between its stages at fixed fluxes and monopoles; no training

    stages, trajectories  of the annealed one
    """
    effort = Effort(steps, batch, draws, chains, sweeps, nodes, stages, trajectories, seed)
    goals = {(4, 3.0): 0.99, (4, 2.0): 0.9, (8, 3.0): 0.85, (8, 2.0): 0.4}
    return _study(3, dict.fromkeys(betas, sides), goals, {}, {}, effort, quick)


def photon_4d(
    quick: bool = False,
    *,
    betas: tuple[float, ...] = (2.0, 1.5),
    steps: int = 60,
    batch: int = 64,
    draws: int = 4096,
    large: tuple[int, ...] = (8, 16),
    carried: float = 1.1,
    carrying: int = 200,
    stages: int = 6,
    trajectories: int = 2,
    chains: int = 96,
    sweeps: int = 100,
    nodes: int = 3,
    seed: int = 1,
) -> list[Row]:
    """The same on 4^4, and on larger lattices at the first coupling. Fewer draws on these.

    carried   a smaller coupling, to which the links of the last annealed flow are brought by heatbath sweeps; 0: none
    carrying  couplings on that way, a sweep each
    """
    effort = Effort(steps, batch, draws, chains, sweeps, nodes, stages, trajectories, seed)
    goals = {(4, 2.0): 0.98, (4, 1.5): 0.9, (8, 2.0): 0.75, (4, 1.1): 0.45}
    sides = {beta: (4, *large) if beta == betas[0] else (4,) for beta in betas}
    published = {2.0: "190 nats of KL (multiscale), 302 (flow)", 1.5: "107.6 nats of KL (multiscale), 139 (flow)"}
    return _study(4, sides, goals, published, {carried: carrying} if carried else {}, effort, quick)


def _study(
    ndim: int,
    sides: dict[float, tuple[int, ...]],
    goals: dict[tuple[int, float], float],
    published: dict[float, str],
    carried: dict[float, int],
    effort: Effort,
    quick: bool,
) -> list[Row]:
    if quick:
        first = next(iter(sides))
        sides, carried = {first: sides[first][:1]}, {}
        effort = replace(effort, steps=10, batch=32, draws=512, chains=64, sweeps=50, nodes=2, trajectories=1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        rows: list[Row] = []
        references: dict[int, Reference] = {}
        for beta, lattices in sides.items():
            small = links((lattices[0],) * ndim, U1())
            trained, seconds = _trained(small, beta, effort)
            rows.append(
                {"label": f"beta {beta:g}, training on {format_lattice(small.lattice)}, seconds", "value": seconds}
            )
            for side in lattices:
                space = small.on((side,) * ndim)
                n = max(32, effort.draws * small.volume // space.volume)
                reference = None
                if space.volume <= LARGEST // 8:
                    reference = references.setdefault(side, Reference(space, effort))
                known = published.get(beta) if side == small.lattice[0] else None
                told = effort, goals.get((side, beta)), known, reference
                small_enough = space.volume <= LARGEST
                drift = with_gas(space, beta)
                drift.load_state_dict(trained.state_dict())
                rows += _rows("learned drift", drift, beta, n, *told, beside=not small_enough)
                if small_enough:
                    rows += _rows("annealed", annealed(space, beta, effort), beta, n, *told, beside=True)
        for end, many in carried.items():
            action = Wilson(small, beta)
            path = [action.at(beta=beta + (end - beta) * k / many) for k in range(1, many + 1)]
            flow = annealed_flow(annealed(small, beta, effort), path, overrelaxed)
            who = f"from beta {beta:g} by {many} sweeps"
            goal, reference = goals.get((small.lattice[0], end)), references[small.lattice[0]]
            rows += _rows(who, flow, end, effort.draws // 4, effort, goal, None, reference, beside=True)
        return rows
    finally:
        torch.set_default_dtype(before)


def _trained(space: Space, beta: float, effort: Effort) -> tuple[FromLifts, float]:
    """A photon flow whose drift was trained without monopoles, and the seconds that took."""
    flow, bare = with_gas(space, beta), photon_flow(space, beta, monopoles=False)
    start = time.perf_counter()
    trainer = Trainer(
        bare,
        Wilson(space, beta),
        loss="reverse_kl",
        batch=effort.batch,
        lr=3e-3,
        schedule=Cosine(warmup=5, final=0.05),
        seed=effort.seed,
    )
    trainer.fit(effort.steps, progress=False)
    flow.load_state_dict(bare.state_dict())
    return flow, time.perf_counter() - start


def annealed(space: Space, beta: float, effort: Effort) -> FromLifts:
    """The drift in closed form, and trajectories within the sectors between its stages."""
    return annealed_photons(with_gas(space, beta, effort.stages), beta, effort.trajectories)


def with_gas(space: Space, beta: float, stages: int = 2) -> FromLifts:
    """A photon flow with what is known of its pairs of monopoles."""
    core, tension = PAIRS.get((space.lattice[0], beta), (0.0, 0.0)) if space.ndim == 3 else (0.0, 0.0)
    return photon_flow(space, beta, stages=stages, core=core, tension=tension)


def overrelaxed(action: Action) -> Heatbath:
    """A heatbath sweep with one of overrelaxation."""
    return Heatbath(action, overrelaxation=1)


def _rows(
    how: str,
    flow: Prior,
    beta: float,
    n: int,
    effort: Effort,
    goal: float | None = None,
    published: str | None = None,
    reference: Reference | None = None,
    beside: bool = False,
) -> list[Row]:
    """What the weights of n draws say, and beside it what chains say of the same."""
    space = flow.space
    action, who = Wilson(space, beta), f"beta {beta:g}, {format_lattice(space.lattice)}, {how}"
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
    integrated = [] if reference is None else [("integration", reference.log_z(beta))]
    rows += compared_rows(f"{who}, ln Z", z, integrated)
    if not beside:
        return rows + sector_rows(who, draws)
    starts = (("heatbath, cold", False), ("heatbath, hot", True)) if space.volume <= LARGEST else ()
    ensembles = [(name, chains(action, hot, effort)) for name, hot in starts]
    for observable in (plaquette, monopoles):
        others = [(name, one.mean(observable)) for name, one in ensembles]
        rows += compared_rows(f"{who}, {observable.name}", draws.mean(observable), others)
    return rows + sector_rows(who, draws)

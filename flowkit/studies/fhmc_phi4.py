"""What the studies of field-transformation HMC for phi^4 share: theories, maps, a pilot run, measurements.

S = sum_x [ -beta sum_mu phi phi_{+mu} + phi^2 + (phi^2 - 1)^2 / 2 ] on L x L, along the line L/xi = 4.
"""

import math
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flowkit import stats
from flowkit.actions import Phi4Hopping, ScalarAction
from flowkit.ensemble import Columns, run
from flowkit.flow import Flow
from flowkit.geometry import Space, sites
from flowkit.models import scalar_flow
from flowkit.observables import magnetization, susceptibility
from flowkit.priors import Embedded, Interleaved, Normal, Prior
from flowkit.samplers import HMC, MarkovPrior
from flowkit.stats import Estimate
from flowkit.train import Cosine, Trainer, losses
from flowkit.transforms import (
    Chain,
    CheckerboardCoupling,
    FourierModes,
    LowModes,
    OnSublattices,
    Prolongation,
    SiteConditional,
    Transform,
)

LADDER = {
    6: 0.537, 8: 0.576, 10: 0.601, 12: 0.616, 14: 0.626, 16: 0.634, 18: 0.641, 20: 0.645, 40: 0.667, 80: 0.677,
}  # fmt: skip
"""beta at L/xi = 4 and lambda = 1/2."""
KNOWN_CHI = {20: (33.03, 0.27), 40: (115.1, 1.9), 80: (392.0, 10.0)}
"""Independent Monte Carlo, with errors."""
SHORTEST = 10
"""Wavelength in lattice units from which on low modes are scaled to unit variance; xi is 10 on 40x40."""
TARGET = 0.85
"""Acceptance that the step is tuned to, at trajectories of length 1, for plain HMC and in all coordinates."""


def theory(side: int, beta: float | None = None) -> Phi4Hopping:
    """The theory on side x side, on the line of constant physics where no beta is given."""
    return Phi4Hopping(sites((side, side)), beta=LADDER[side] if beta is None else beta, lam=0.5)


def couplings(space: Space, kernel: int) -> list[Transform]:
    """The affine coupling of 2302.08408: both parities once, no hidden layer, Z2-equivariant; `kernel` is the
    footprint.
    """
    return [CheckerboardCoupling(space, p, hidden=(), kernel=kernel, z2=True) for p in (0, 1)]


def gaussian(space: Space, kernel: int) -> Flow:
    """That coupling on independent normal numbers."""
    return Flow(Normal(space), Chain(*couplings(space, kernel)))


def larger_spacing(action: Phi4Hopping, kernel: int, pool: int) -> Flow:
    """That coupling on the theory with as many degrees of freedom at half the correlation length, in a volume of twice
    as many correlation lengths.
    """
    coarse = action.at(beta=LADDER[action.space.lattice[0] // 2])
    return Flow(MarkovPrior(HMC(coarse), pool=pool), Chain(*couplings(action.space, kernel)))


def one_configuration(side: int, kernel: int, pool: int) -> Flow:
    """One configuration of the coarse theory on half of the sides, prolonged, and normal numbers for what it lacks."""
    space = theory(side).space
    prior = Embedded(MarkovPrior(HMC(theory(side // 2)), pool=pool))
    return Flow(prior, Chain(Prolongation(space), *couplings(space, kernel)))


def four_configurations(side: int, levels: int, kernel: int, pool: int) -> Flow:
    """4^levels configurations of the coarse theory on side / 2^levels, put together level by level: of four fields the
    first is prolonged, the others, scaled, are its details, and a coupling follows.
    """
    prior: Prior = MarkovPrior(HMC(theory(side >> levels)), pool=pool)
    transform: Transform | None = None
    for level in reversed(range(levels)):
        space = theory(side >> level).space
        steps: list[Transform] = [Prolongation(space), *couplings(space, kernel)]
        if transform is not None:
            steps.insert(0, OnSublattices(transform))
        prior, transform = Interleaved(prior), Chain(*steps)
    assert transform is not None
    return Flow(prior, transform)


def splines(space: Space, modes: FourierModes) -> Flow:
    """Fourier modes, spline couplings of each parity in turn, and a spline of each site: the default scalar flow."""
    steps = scalar_flow(space, hidden=(16,)).transform
    return Flow(Normal(space), Chain(modes, steps))


def train(flow: Flow, action: Phi4Hopping, steps: int, batch: int, seed: int) -> None:
    """Train by reverse KL, up to a constant where the prior is another theory."""
    schedule = Cosine(warmup=20)
    trainer = Trainer(flow, action, batch=batch, loss="reverse_kl", lr=1e-2, schedule=schedule, seed=seed)
    trainer.fit(steps, progress=False)


@torch.no_grad()
def metropolis(flow: Flow, action: Phi4Hopping, draws: int, seed: int) -> Estimate:
    """Acceptance of independence Metropolis with draws of the flow as proposals, as if they were independent."""
    rng = torch.Generator().manual_seed(seed)
    logw = torch.cat([losses.reverse_kl(flow, action, 256, rng).logw for _ in range(-(-draws // 256))])
    return stats.acceptance_from_logw(logw.numpy())


def pilot(action: Phi4Hopping, chains: int, steps: int, seed: int) -> Tensor:
    """Fields in equilibrium, [20, chains, *space.shape], five trajectories apart, by plain HMC of a useful length."""
    sampler = HMC(action, 10.0, target=TARGET, randomise=0.2)
    fields = run(sampler, 20, chains=chains, thermalise=steps, every=5, rng=seed).x
    assert fields is not None
    return fields


def fourier_modes(fields: Tensor) -> FourierModes:
    """Modes whose gains are fitted to fields [n, chains, components, *lattice]."""
    return FourierModes(sites(fields.shape[3:]), m2=0.1).fit(fields.flatten(0, 1))


@torch.no_grad()
def scaled_modes(action: ScalarAction, fields: Tensor, most: int | None, conditional: bool, frequency: float) -> Chain:
    """The modes with |k| <= most, none where that is None, scaled by gains that are fitted to fields [n, chains,
    *space.shape] in equilibrium. With `conditional` the sites of one parity come from their exact conditional
    distribution, and the modes are those of the others. Nothing is trained.
    """
    x, steps = fields.flatten(0, 1), list[Transform]()
    if conditional:
        steps.append(SiteConditional(action))
        x = steps[0].inverse(x)[0]
    if most is not None:
        steps.insert(0, LowModes(action.space, most, parity=0 if conditional else None).fit(x, frequency))
    return Chain(*steps)


FAR = 30.0
"""|z| that no draw of a prior here comes near."""
LONG = 60.0
"""Chains end at so many tau of the magnetisation."""


class Measured(NamedTuple):
    """One sampler on one theory; tau in trajectories of length 1, 1/2 for independent data, and a lower bound where the
    chains are too short for it.
    """

    tau: float
    tau_error: float
    chi: Estimate
    accept: float
    seconds: float
    """Of processor time, for one trajectory of one chain."""
    steps: int
    bound: bool
    stuck: int
    """Chains that no trajectory of a short run moved, replaced by others."""


@torch.no_grad()
def measure(
    action: Phi4Hopping, transform: Transform | None, start: Tensor, most: int, seed: int, long: float = LONG
) -> Measured:
    """tau_int of the magnetisation under HMC of the theory or, with a transform f, of S(f(z)) - log|det df/dz|. Chains
    end at `long` tau, at the latest after `most` trajectories.

    start     fields of the theory in equilibrium, [chains, *space.shape]; those that the inverse takes further out than
              training ever went, or that no trajectory of a short run leaves, are replaced by others
    """
    theory = action if transform is None else action.pullback(transform)

    def coordinates(x: Tensor) -> Tensor:
        if transform is None:
            return x
        z = transform.inverse(x)[0]
        far = z.flatten(1).abs().amax(1).nan_to_num(math.inf)
        near = z[far < max(FAR, float(far.median()))]
        return near.repeat(-(-len(x) // len(near)), *[1] * (x.dim() - 1))[: len(x)]

    # Through a map a trajectory may diverge; it is rejected, and a few of them must not end a study.
    warm = run(HMC(theory, target=TARGET), 60, start=coordinates(start), thermalise=60, rng=seed, max_bad=1.0)
    assert warm.x is not None
    sampler = HMC(theory, steps=warm.provenance["sampler"]["steps"])
    moved = warm.series["accept"].sum(0) > 0
    if not moved.any():
        raise RuntimeError(f"HMC needs a chain that moves; got {len(moved)} that no trajectory of a short run moved.")
    last = coordinates(warm.x[-1][moved])
    z, observed = last.repeat(-(-len(start) // len(last)), *[1] * (last.dim() - 1)), (magnetization, susceptibility)
    z = z[: len(start)]
    look = 100

    def long_enough(columns: Columns) -> bool:
        nonlocal look
        if columns.filled < look:
            return False
        look += look // 4
        rho = stats.autocorrelation(columns[magnetization.name])
        return rho.complete and columns.filled >= long * rho.tau_int

    begin = time.process_time()
    chain = run(sampler, most, start=z, rng=seed + 1, observe=observed, keep=False, max_bad=1.0, each=long_enough)
    history: np.ndarray = chain.history(magnetization).numpy()
    seconds = (time.process_time() - begin) / history.size
    rho = stats.autocorrelation(history)
    return Measured(
        rho.tau_int,
        rho.tau_int_error,
        chain.mean(susceptibility),
        float(chain.series["accept"].mean()),
        seconds,
        sampler.steps,
        not rho.complete,
        int((~moved).sum()),
    )

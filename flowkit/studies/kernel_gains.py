"""What each C kernel gains where users meet it: seconds of the same work through torch over those with the kernel."""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

import flowkit as fk
from flowkit.studies.rows import Row

GOAL = 1.3
"""A kernel that gains less on every path is not worth its source."""
Work = Callable[[], object]


class Path(NamedTuple):
    """Something users do, and the kernels whose gain it shows."""

    label: str
    kernels: tuple[tuple[str, ...], ...]
    """C sources; those of one tuple are switched off together."""
    make: Callable[[bool], Work]
    """The work, smaller where that is True."""


def kernel_gains(
    quick: bool = False, *, repeats: int = 9, seconds: float = 0.4, names: tuple[str, ...] = (), seed: int = 1
) -> list[Row]:
    """For each kernel and each path: seconds without the kernel over seconds with it, the median of turns in which both
    ran one after the other, so that what else the machine does slows both. Processor time, all other kernels on.

    repeats   turns
    seconds   of the work of one turn with the kernel, about
    names     of kernels; none means all
    """
    rows: list[Row] = []
    for path in PATHS:
        wanted = [off for off in path.kernels if not names or set(off) & set(names)]
        if not wanted:
            continue
        torch.manual_seed(seed)
        work = path.make(quick)
        for off in wanted:
            ratios = _turns(work, off, 2 if quick else repeats, 0.0 if quick else seconds)
            value = statistics.median(ratios)
            row: Row = {"label": f"{', '.join(off)}: {path.label}, torch over kernel", "value": value}
            row |= {"error": 1.25 * statistics.stdev(ratios) / math.sqrt(len(ratios))}  # of a median
            rows.append({**row, "goal": f">= {GOAL:g}", "reached": value >= GOAL})
    return rows


def _turns(work: Work, off: tuple[str, ...], repeats: int, seconds: float) -> list[float]:
    """Seconds without the kernels `off` over seconds with them, of each turn."""
    _timed(work, 1), _timed(work, 1, off)  # compiles and makes tables
    count = max(1, round(seconds / _timed(work, 2) * 2))
    return [_timed(work, count, off) / _timed(work, count) for _ in range(repeats)]


def _timed(work: Work, count: int, off: tuple[str, ...] = ()) -> float:
    with fk.kernels.without(*off):
        begin = time.process_time()
        for _ in range(count):
            work()
        return time.process_time() - begin


def _training(flow: fk.Flow, action: fk.Action, batch: int) -> Work:
    trainer = fk.Trainer(flow, action, batch=batch, seed=1)
    return lambda: trainer.fit(1, progress=False)


def _chain(action: fk.Action, chains: int, steps: int = 10, start: torch.Tensor | None = None) -> Work:
    """Trajectories of HMC, from the ordered field where no start is given."""
    hmc, rng = fk.HMC(action, steps=steps), torch.Generator().manual_seed(1)
    state = hmc.init(hmc.start(chains, rng) if start is None else start)

    def work() -> None:
        nonlocal state
        with torch.no_grad():
            state, _ = hmc.step(state, rng)

    return work


def _draws(flow: fk.Prior, n: int) -> Work:
    rng = torch.Generator().manual_seed(1)

    def work() -> None:
        with torch.no_grad():
            flow.sample(n, rng)

    return work


def _gauge(quick: bool, group: fk.Group, beta: float) -> Work:
    space = fk.links((4, 4) if quick else (8, 8), group)
    return _training(fk.gauge_flow(space), fk.Wilson(space, beta), 16 if quick else 256)


def _phi4(quick: bool) -> fk.Phi4Hopping:
    return fk.Phi4Hopping(fk.sites((8, 8) if quick else (40, 40)), beta=0.667, lam=0.5)


def _scalar(quick: bool) -> Work:
    space = fk.sites((4, 4) if quick else (8, 8))
    return _training(fk.scalar_flow(space), fk.Phi4(space, m2=-4.0, lam=8.0), 16 if quick else 256)


def _affine(quick: bool) -> Work:
    action = _phi4(quick)
    couplings = [fk.CheckerboardCoupling(action.space, p, hidden=(), kernel=3, z2=True) for p in (0, 1)]
    return _chain(action.pullback(fk.Chain(*couplings).requires_grad_(False)), 4 if quick else 64)


def _conditional(quick: bool) -> Work:
    action = _phi4(quick)
    return _chain(action.pullback(fk.transforms.SiteConditional(action)), 4 if quick else 64)


def _conditional_fields(quick: bool) -> Work:
    """The fields of the theory, as they are measured."""
    action = _phi4(quick)
    f, z = fk.transforms.SiteConditional(action), torch.randn(4 if quick else 64, *action.space.shape)
    return lambda: f(z)


def _multiscale(quick: bool) -> Work:
    return _draws(fk.multiscale_flow(fk.links((4, 4) if quick else (16, 16), fk.SUN(3))), 4 if quick else 200)


def _smooth(quick: bool) -> Work:
    space = fk.links((8, 8), fk.U1())
    rng = torch.Generator().manual_seed(1)
    rough = fk.multiscale_flow(space).requires_grad_(False)
    assert isinstance(rough, fk.Flow)  # in two dimensions
    model = fk.multiscale.smoothed(rough)
    action = model.pullback(fk.Wilson(space, 6.0))
    return _chain(action, 4 if quick else 64, 1, space.haar(4 if quick else 64, rng))


def _conv3(quick: bool) -> Work:
    """The network of 2101.08176: two hidden layers of 3x3 kernels."""
    space = fk.sites((4, 4) if quick else (8, 8))
    layers = [fk.CheckerboardCoupling(space, k % 2, hidden=(8, 8), kernel=3) for k in range(8)]
    return _training(
        fk.Flow(fk.Normal(space), fk.Chain(*layers)), fk.Phi4(space, m2=-4.0, lam=8.0), 16 if quick else 256
    )


def _heatbath(quick: bool, group: fk.Group, beta: float) -> Work:
    """A sweep of heatbath and one of overrelaxation."""
    space = fk.links((2, 2, 2, 2) if quick else (4, 4, 4, 4), group)
    sampler, rng = fk.Heatbath(fk.Wilson(space, beta)), torch.Generator().manual_seed(1)
    state = sampler.init(sampler.start(4 if quick else 16, rng))

    def work() -> None:
        nonlocal state
        state, _ = sampler.step(state, rng)

    return work


def _gauge_4d(quick: bool) -> Work:
    space = fk.links((2, 2, 2, 2) if quick else (4, 4, 4, 4), fk.SUN(2))
    return _training(fk.gauge_flow(space), fk.Wilson(space, 2.0), 4 if quick else 32)


PATHS = (
    Path(
        "training step of gauge_flow, SU(2), 8x8, batch 256",
        (("su2",), ("rqs",)),
        lambda quick: _gauge(quick, fk.SUN(2), 2.2),
    ),
    Path(
        "training step of gauge_flow, SU(3), 8x8, batch 256",
        (("su3",), ("rqs",)),
        lambda quick: _gauge(quick, fk.SUN(3), 5.0),
    ),
    Path("training step of gauge_flow, SU(2), 4^4, batch 32", (("site_convolution",),), _gauge_4d),
    Path("training step of gauge_flow, U(1), 8x8, batch 256", (("rqs",),), lambda quick: _gauge(quick, fk.U1(), 2.0)),
    Path("training step of scalar_flow, 8x8, batch 256", (("rqs",), ("site_convolution",)), _scalar),
    Path("training step of couplings with 3x3 kernels, 8x8, batch 256", (("site_convolution",),), _conv3),
    Path("heatbath of U(1), 4^4, 16 chains", (("wilson_u1",),), lambda quick: _heatbath(quick, fk.U1(), 1.0)),
    Path("heatbath of SU(2), 4^4, 16 chains", (("wilson_su2",),), lambda quick: _heatbath(quick, fk.SUN(2), 2.3)),
    Path("heatbath of SU(3), 4^4, 16 chains", (("wilson_su3",),), lambda quick: _heatbath(quick, fk.SUN(3), 5.7)),
    Path(
        "HMC of phi^4, 40x40, 64 chains",
        (("scalar_motion",),),
        lambda quick: _chain(_phi4(quick), 4 if quick else 64),
    ),
    Path("HMC of phi^4 through an affine coupling, 40x40, 64 chains", (("affine_coupling",),), _affine),
    Path(
        "HMC of phi^4 with half of the sites integrated out, 40x40, 64 chains",
        (("scalar_motion",), ("site_conditional",)),
        _conditional,
    ),
    Path("fields of SiteConditional, 40x40, 64 chains", (("site_conditional",),), _conditional_fields),
    Path("draws of multiscale_flow, SU(3), 16x16", (("heat",), ("su3",)), _multiscale),
    Path("HMC of U(1), 8x8, through a smooth multiscale flow, 64 chains", (("class_link",),), _smooth),
)

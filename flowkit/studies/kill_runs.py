"""Processes that train and sample to disk are killed at random times: what is lost, and what goes on."""

import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Phi4, Wilson
from flowkit.ensemble import Ensemble, EnsembleError, resume, run
from flowkit.flow import Flow
from flowkit.geometry import links, sites
from flowkit.groups import SUN, U1
from flowkit.models import scalar_flow
from flowkit.priors import Normal
from flowkit.samplers import HMC, Cycle, Heatbath, IndependenceMetropolis, Sampler
from flowkit.storage import CheckpointError, Store
from flowkit.studies.rows import Row
from flowkit.train import Trainer
from flowkit.transforms import Affine

CHUNK, STEPS = 5, 40
"""Steps in one commit, and in a whole run."""
SETTINGS: dict[str, Any] = {"chains": 4, "thermalise": 10, "rng": 1}
TRAINING = "training"


def _phi4() -> Phi4:
    return Phi4(sites((4, 4)), m2=1.0, lam=0.5)


def _in_turn() -> Cycle:
    action = Wilson(links((4, 4), U1()), 2.0)
    return Cycle(HMC(action), Heatbath(action))


def _through_a_map() -> HMC:
    action = _phi4()
    return HMC(Flow(Normal(action.space, sigma=0.7), Affine(action.space)).pullback(action))


SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "HMC": lambda: HMC(_phi4()),
    "HMC through a map": _through_a_map,
    "heatbath, SU(2)": lambda: Heatbath(Wilson(links((4, 4), SUN(2)), 2.0)),
    "HMC and heatbath in turn": _in_turn,
    "independence Metropolis, 7 proposals at once": lambda: IndependenceMetropolis(
        Normal(_phi4().space, sigma=0.7), _phi4(), 7
    ),
}


def _trainer() -> Trainer:
    torch.manual_seed(1)
    action = _phi4()
    return Trainer(scalar_flow(action.space), action, batch=32, seed=1)


def _train(folder: Path, tell: Callable[[int], None]) -> None:
    trainer = _trainer()
    if Store(folder).has_commit():
        trainer.load(folder)
    trainer.callbacks = [lambda one: tell(one.step)]
    trainer.fit(STEPS - trainer.step, checkpoint=folder, every=CHUNK, progress=False)


def _sample(kind: str, folder: Path, tell: Callable[[int], None]) -> None:
    sampler = SAMPLERS[kind]()
    if Store(folder).has_commit():
        resume(folder, sampler, each=lambda columns: tell(columns.filled))
    else:
        run(sampler, STEPS, to=folder, chunk=CHUNK, each=lambda columns: tell(columns.filled), **SETTINGS)


def work(kind: str, folder: str, log: str) -> None:
    """Train or sample in a folder, from where it stands to the end, and tell in a file how many steps were made."""
    torch.set_num_threads(1)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(step: int) -> None:
        os.write(handle, step.to_bytes(8, "little"))

    if kind == TRAINING:
        _train(Path(folder), tell)
    else:
        _sample(kind, Path(folder), tell)


def _found(kind: str, folder: Path) -> tuple[int, dict[str, Tensor]]:
    """Steps in a folder, and the numbers that must be those of an unbroken run."""
    if kind == TRAINING:
        trainer = _trainer().load(folder)
        return trainer.step, dict(trainer.flow.state_dict())
    ensemble = Ensemble.load(folder)
    assert ensemble.x is not None
    return len(ensemble), {"x": ensemble.x, **ensemble.series}


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def _kills(kind: str, kills: int, seed: int) -> list[Row]:
    """Kill processes of one kind; a run that comes to its end is compared, and another one begins."""
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["flowkit.studies.kill_runs"])
    rng, hit, lost, whole, different, damaged = random.Random(seed), 0, 0, 0, 0, 0  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        begun = time.perf_counter()
        work(kind, str(root / "unbroken"), str(root / "log"))
        unbroken = _found(kind, root / "unbroken")[1]
        longest = time.perf_counter() - begun + 0.5  # with the start of a process
        folder, log = root / "0", root / "log"
        while hit < kills or not whole:
            log.unlink(missing_ok=True)
            process = context.Process(target=work, args=(kind, str(folder), str(log)))
            process.start()
            process.join(rng.uniform(0, longest) if hit < kills else None)
            hit += process.is_alive()
            process.kill()
            process.join()
            reached = int.from_bytes(log.read_bytes()[-8:], "little") if log.exists() else 0
            try:
                steps, numbers = _found(kind, folder) if reached or Store(folder).has_commit() else (0, {})
            except (CheckpointError, EnsembleError):
                steps, numbers, damaged = 0, {}, damaged + (reached > (CHUNK if kind == TRAINING else 0))
            lost = max(lost, reached - steps)
            if steps == STEPS:
                whole, different = whole + 1, different + (not _equal(numbers, unbroken))
                folder = root / str(whole)
    return [
        {
            "label": f"{kind}: most steps lost in {hit} kills",
            "value": lost,
            "goal": f"<= {CHUNK}",
            "reached": lost <= CHUNK,
        },
        {"label": f"{kind}: reads that failed", "value": damaged, "goal": 0, "reached": damaged == 0},
        {
            "label": f"{kind}: of {whole} runs that ended, different ones",
            "value": different,
            "goal": 0,
            "reached": different == 0 and whole > 0,
        },
    ]


def kill_runs(kills: int = 1000, seed: int = 1, quick: bool = False) -> list[Row]:
    """Kill processes that train, and that sample to disk with each sampler, at random times.

    Parameters
    ----------
    kills : int
        Of all kinds together.
    seed : int
        Of the times.
    quick : bool
        30 kills.
    """
    kinds = [TRAINING, *SAMPLERS]
    each = -(-(30 if quick else kills) // len(kinds))
    return [row for k, kind in enumerate(kinds) for row in _kills(kind, each, seed + k)]

"""One loss curve on 1, 2 and 4 ranks, and what a second process adds to the rate of sampling."""

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

import flowkit as fk
from flowkit.studies.rows import Row

SAME = 1e-12
"""Relative difference of losses that counts as rounding in double precision."""
FASTER = 1.6
METHODS = {"adam": "Adam, path gradients", "natural": "natural gradient", "likelihood": "Fisher scoring"}


def processes(ranks: tuple[int, ...] = (2, 4), steps: int = 50, n: int = 2000, quick: bool = False) -> list[Row]:
    """Training of U(1) flows in double precision on several ranks; chains in two processes."""
    ranks, steps, n = (ranks[:1], 10, 60) if quick else (ranks, steps, n)
    alone = losses(1, steps)
    rows: list[Row] = []
    for world in ranks:
        together = losses(world, steps)
        for method, label in METHODS.items():
            pairs = zip(alone[method], together[method], strict=True)
            worst = max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)
            rows.append(
                {
                    "label": f"{label}: largest difference of {len(alone[method])} losses on {world} ranks and on one",
                    "value": worst,
                    "goal": f"<= {SAME:g}",
                    "reached": worst <= SAME,
                }
            )
    heatbath = fk.Heatbath(fk.Wilson(fk.links((4,) * 4, fk.SUN(3)), beta=5.7))
    rows += rates("Heatbath of SU(3) on 4^4, 32 chains", heatbath, n, FASTER)
    if quick:
        return rows
    hmc = fk.HMC(fk.Wilson(fk.links((16, 16), fk.U1()), beta=4.0), steps=10)
    return [*rows, *rates("HMC of U(1) on 16x16, 32 chains", hmc, 5 * n, None)]


def train(method: str, steps: int) -> list[float]:
    """The losses of one training, on all ranks that have joined."""
    torch.manual_seed(1)
    space = fk.links((8, 8), fk.U1())
    action = fk.Wilson(space, beta=2.0)
    if method == "adam":
        trainer = fk.Trainer(fk.gauge_flow(space), action, batch=32, seed=1)
    elif method == "natural":
        flow = fk.multiscale_flow(space, terms=4)
        trainer = fk.Trainer(flow, action, batch=512, method=fk.NaturalGradientStep(), seed=1)
    else:
        cube = fk.Wilson(fk.links((2, 2, 2), fk.U1()), beta=1.0)
        x = fk.run(fk.Heatbath(cube), 1, chains=256, thermalise=20, rng=1).x
        assert x is not None
        fit = fk.train.MaximumLikelihoodStep(x[0])
        trainer = fk.Trainer(fk.multiscale_flow(cube.space, strength=1.0), cube, batch=64, method=fit, seed=1)
    found: list[float] = trainer.fit(steps, progress=False).history["loss"].tolist()
    return found


def losses(world: int, steps: int) -> dict[str, list[float]]:
    """The losses of each method on so many ranks, each a process with one thread."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        free.close()
        command = [sys.executable, "-m", "flowkit.studies.processes", str(steps), f"{folder}/losses.json"]
        settings = {**os.environ, **shared, "OMP_NUM_THREADS": "1"}
        started = [
            subprocess.Popen(command, env={**settings, "RANK": str(rank), "LOCAL_RANK": str(rank)})  # noqa: S603
            for rank in range(world)
        ]
        codes = [one.wait() for one in started]
        if any(codes):
            raise RuntimeError(f"One of {world} ranks failed; what it printed says why.")
        found: dict[str, list[float]] = json.loads(Path(f"{folder}/losses.json").read_text())
        return found


class Timed(NamedTuple):
    """A run, its wall time, and the processor time of all its processes, in seconds."""

    ensemble: fk.Ensemble
    wall: float
    processor: float


def timed(sampler: fk.Sampler, processes: int | None, steps: int) -> Timed:
    """A run of 32 chains; in processes they stand in two groups."""
    groups: dict[str, Any] = {} if processes is None else {"processes": processes, "groups": 2}
    start, used = time.perf_counter(), _used()
    ensemble = fk.run(sampler, steps, chains=32, thermalise=20, rng=1, keep=False, observe=[fk.plaquette], **groups)
    return Timed(ensemble, time.perf_counter() - start, _used() - used)


def rates(label: str, sampler: fk.Sampler, n: int, goal: float | None) -> list[Row]:
    """Two processes against one with one thread and all chains in one batch, less what a run of one step takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (short, one), (begin, two) = ((timed(sampler, count, 1), timed(sampler, count, n)) for count in (None, 2))
        here = timed(sampler, 1, 1).ensemble
    finally:
        torch.set_num_threads(threads)
    mine, theirs = one.wall - short.wall, two.wall - begin.wall
    row: Row = {"label": f"{label}: configurations a second, two processes over one"}
    if mine > 0 and theirs > 0:
        row |= {"value": mine / theirs}
        row |= {} if goal is None else {"goal": f">= {goal:g}", "reached": mine / theirs >= goal}
    else:  # a quick run on a machine with other work
        row |= {"value": "the time to start varied by more than the steps took"}
    rows = [row]
    own = one.processor - short.processor
    if own > 0:
        more = (two.processor - begin.processor) / own - 1
        rows.append({"label": f"{label}: processor time of two processes beyond that of one, share", "value": more})
    same = all(torch.equal(values, begin.ensemble.series[name]) for name, values in here.series.items())
    equal: Row = {"label": f"{label}: series of two processes and of one, bit for bit", "goal": "equal"}
    equal |= {"value": "equal" if same else "different", "reached": same}
    start: Row = {"label": f"{label}: seconds to start two processes", "value": begin.wall - short.wall}
    return [*rows, equal, start]


def _used() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, kinds))


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    with fk.train.joined() as here:
        found = {method: train(method, int(sys.argv[1])) for method in METHODS}
        if here.rank == 0:
            Path(sys.argv[2]).write_text(json.dumps(found))

"""One loss curve on 1, 2 and 4 ranks, and what a second process adds to the rate of sampling."""

import json
import math
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import flowkit as fk
from flowkit.studies.rows import Row

SAME = 1e-12
"""Relative difference of losses that counts as rounding in double precision."""
FASTER = 1.6
METHODS = {"adam": "Adam, path gradients", "natural": "natural gradient", "likelihood": "Fisher scoring"}


def processes(ranks: tuple[int, ...] = (2, 4), steps: int = 50, n: int = 400, quick: bool = False) -> list[Row]:
    """Training of U(1) flows in double precision on several ranks; chains of U(1) on 16x16 in two processes."""
    ranks, steps, n = (ranks[:1], 10, 40) if quick else (ranks, steps, n)
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
    return [*rows, *rates(n)]


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


def rates(n: int) -> list[Row]:
    """Two processes against one, 32 chains in two groups, from spawning to the ensemble, less the time to spawn."""
    action = fk.Wilson(fk.links((16, 16), fk.U1()), beta=4.0)
    settings: dict[str, Any] = {"chains": 32, "groups": 2, "thermalise": 64, "rng": 1, "keep": False}

    def seconds(processes: int, steps: int) -> tuple[float, float]:
        """Wall time, and processor time of all processes."""
        start, used = time.perf_counter(), _used()
        fk.run(fk.HMC(action, steps=10), steps, processes=processes, observe=[fk.plaquette], **settings)
        return time.perf_counter() - start, _used() - used

    (one, own), (two, both) = (_less(seconds(p, n), seconds(p, 1)) for p in (1, 2))
    here, there = fk.run(fk.HMC(action), 4, processes=1, **settings), fk.run(fk.HMC(action), 4, processes=2, **settings)
    same = all(torch.equal(values, there.series[name]) for name, values in here.series.items())
    faster = one / two if two > 0 else math.inf
    extra = both / own - 1
    return [
        {
            "label": "HMC of U(1) on 16x16, 32 chains: configurations a second, two processes over one",
            "value": faster,
            "goal": f">= {FASTER:g}",
            "reached": faster >= FASTER,
        },
        {"label": "The same: processor time of two processes over that of one, less one", "value": extra},
        {
            "label": "The same: series of two processes equal those of one bit for bit",
            "value": "yes" if same else "no",
            "goal": "yes",
            "reached": same,
        },
        {"label": "Seconds to start two processes", "value": _start()},
    ]


def _less(long: tuple[float, float], short: tuple[float, float]) -> tuple[float, float]:
    return long[0] - short[0], long[1] - short[1]


def _used() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, kinds))


def _start() -> float:
    """Seconds until two new processes have imported what a run needs."""
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_import, range(2))
    return time.perf_counter() - start


def _import(_: int) -> str:
    return fk.run.__name__


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    with fk.train.joined() as here:
        found = {method: train(method, int(sys.argv[1])) for method in METHODS}
        if here.rank == 0:
            Path(sys.argv[2]).write_text(json.dumps(found))

"""What reading and measuring a large ensemble takes, and what writing it costs while it is sampled."""

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, Recording
from flowkit.geometry import links
from flowkit.groups import U1
from flowkit.observables import plaquette, topological_charge, wilson_loop
from flowkit.samplers import HMC
from flowkit.studies.rows import Row, seconds_row

CHAINS, BETA = 100, 2.0
EVERY = 10
"""Trajectories from one stored configuration to the next."""
GIGABYTES, SECONDS, SHARE = 2.0, 20.0, 0.05


def _action(side: int) -> Wilson:
    return Wilson(links((side, side), U1()), BETA)


def read_and_measure(path: str, side: int) -> None:
    """Load an ensemble, measure three observables with their errors, and print seconds, memory and pulls as JSON."""
    begun = time.perf_counter()
    ensemble = Ensemble.load(path, action=_action(side))
    means = ensemble.mean([plaquette, topological_charge, wilson_loop(2, 2)])
    seconds = time.perf_counter() - begun
    unit = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    pulls = {name: one.pull() for name, one in means.items() if one.exact is not None and math.isfinite(one.error)}
    print(json.dumps({"seconds": seconds, "memory": memory, "pulls": pulls}))


def analysis(configurations: int = 100_000, side: int = 16, quick: bool = False) -> list[Row]:
    """Sample U(1) in two dimensions to disk, then read and measure all configurations in a process of its own.

    Parameters
    ----------
    configurations : int
        Of all chains together.
    side : int
        Of the lattice.
    quick : bool
        A fiftieth of the configurations.
    """
    steps = max(20, configurations // CHAINS // (50 if quick else 1))
    with tempfile.TemporaryDirectory() as name:
        path = str(Path(name) / "ensemble.zarr")
        begun = time.perf_counter()
        recording = Recording(HMC(_action(side)), steps, chains=CHAINS, every=EVERY, thermalise=100, rng=1, to=path)
        for _ in recording:
            pass
        recording.ensemble()
        sampled = time.perf_counter() - begun
        assert recording.writer is not None
        share = recording.writer.spent / (sampled - recording.writer.spent)
        call = f"from flowkit.studies.analysis import read_and_measure; read_and_measure({path!r}, {side})"
        done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)  # noqa: S603
        found = json.loads(done.stdout.splitlines()[-1])
    what = f"{steps * CHAINS:,} configurations of {side}x{side}"
    rows: list[Row] = [
        seconds_row(f"{what}: seconds to read and measure", found["seconds"], SECONDS),
        {
            "label": "GiB that this takes",
            "value": found["memory"],
            "goal": f"<= {GIGABYTES:g}",
            "reached": found["memory"] <= GIGABYTES,
        },
        {
            "label": f"seconds of writing over those of sampling, one trajectory in {EVERY} stored",
            "value": share,
            "goal": f"<= {SHARE:g}",
            "reached": share <= SHARE,
        },
    ]
    for observable, pull in found["pulls"].items():
        rows.append(
            {
                "label": f"{observable}: errors from the exact value",
                "value": pull,
                "goal": "<= 3",
                "reached": abs(pull) <= 3,
            }
        )
    return rows

"""What tests run on several ranks: `python in_ranks.py NAME FOLDER`, started by torchrun or as torchrun would."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import torch

import flowkit as fk
from flowkit.tasks.ranks import exchanged, joined

BATCH = 16


def trainer(kind: str) -> fk.Trainer:
    """A small training in double precision, the same wherever it is made."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    space = fk.links((4, 4), fk.U1())
    action = fk.Wilson(space, beta=1.0)
    if kind in ("path_gradient", "ess"):
        flow = fk.gauge_flow(space, hidden=(4,))
        return fk.Trainer(flow, action, batch=BATCH, loss=kind, seed=3)
    if kind == "sites":
        sites = fk.sites((4, 4))
        flow = fk.scalar_multiscale_flow(sites)
        return fk.Trainer(flow, fk.Phi4(sites, m2=1.0, lam=0.5), batch=BATCH, loss="reverse_kl", seed=3)
    flow = fk.multiscale_flow(space, terms=4)
    if kind == "natural":
        return fk.Trainer(flow, action, batch=256, method=fk.NaturalGradientStep(), seed=3)
    if kind == "level":
        return fk.Trainer(flow, action, batch=256, method=fk.train.LevelStep(10), seed=3)
    cube = fk.Wilson(fk.links((2, 2, 2), fk.U1()), beta=1.0)
    x = fk.run(fk.Heatbath(cube), 4, chains=16, thermalise=10, rng=1).x.flatten(0, 1)
    method = fk.train.MaximumLikelihoodStep(x)
    return fk.Trainer(fk.multiscale_flow(cube.space, strength=1.0), cube, batch=64, method=method, seed=3)


KINDS = ("path_gradient", "ess", "sites", "natural", "likelihood")
STEPS = 8


def curves() -> dict[str, dict[str, list[float]]]:
    """The histories of all methods."""
    found = {}
    for kind in KINDS:
        one = trainer(kind).fit(STEPS, progress=False)
        found[kind] = {name: one.history[name].tolist() for name in ("loss", "grad_norm", "ess")}
    return found


def chains() -> fk.Ensemble:
    sampler = fk.HMC(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5), steps=4)
    return fk.run(sampler, 5, chains=8, thermalise=3, rng=1, processes=1, observe=[fk.phi_squared])


def compare(folder: Path) -> None:
    """Histories, chains, a checkpoint, and a pause and a stop of one rank alone."""
    with joined() as ranks:
        mine = curves()
        assert len(set(exchanged(repr(mine)))) == 1, "the ranks differ"
        torch.set_default_dtype(torch.float32)
        ensemble = chains()
        refused = ""
        try:
            trainer("level").fit(1, progress=False)
        except ValueError as error:
            refused = str(error)
        one = trainer("path_gradient")
        one.fit(4, progress=False, checkpoint=folder / "checkpoint")
        again = trainer("path_gradient").load(folder / "checkpoint")

        def act(work: fk.Trainer) -> None:
            if ranks.rank == 0 and work.step == 6:
                work.pause()
                threading.Timer(0.3, work.resume).start()
            if ranks.rank == 1 and work.step == STEPS:
                work.stop()

        again.callbacks.append(act)
        again.fit(1000, progress=False)
        stopped = exchanged((again.step, again.status))
        if ranks.rank == 0:
            ensemble.save(folder / "chains.zarr")
            found = {"curves": mine, "refused": refused, "stopped": stopped, "loss": again.history["loss"].tolist()}
            (folder / "found.json").write_text(json.dumps(found))


def dies(folder: Path) -> None:
    """Rank 1 is killed at step 5, once; the run that is started again goes on from the checkpoint of step 4."""
    path = folder / "checkpoint"
    with joined(patience=30) as ranks:
        one = trainer("path_gradient").load(path, missing_ok=True)
        (folder / f"began-{ranks.rank}-{one.step}").touch()

        def kill(work: fk.Trainer) -> None:
            if ranks.rank == 1 and work.step == 5 and not (folder / "killed").exists():
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)

        one.callbacks.append(kill)
        one.fit(STEPS - one.step, progress=False, checkpoint=path, every=2)
        if ranks.rank == 0:
            (folder / "found.json").write_text(json.dumps(one.history["loss"].tolist()))


if __name__ == "__main__":
    {"compare": compare, "dies": dies}[sys.argv[1]](Path(sys.argv[2]))

"""Chains in a thread: the same as `run` bit for bit, held and ended at once, and readable while they grow."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.ensemble import EnsembleError

SPACE = fk.links((4, 4), fk.U1())
ACTION = fk.Wilson(SPACE, 2.0)
OBSERVED = (fk.plaquette, fk.topological_charge)


def same(a, b):
    assert set(a.series) == set(b.series)
    assert all(torch.equal(a.series[name], b.series[name]) for name in a.series)
    assert torch.equal(a.x, b.x)
    clock = ("date", "seconds")
    assert {k: v for k, v in a.provenance.items() if k not in clock} == {
        k: v for k, v in b.provenance.items() if k not in clock
    }


SAMPLERS = {
    "hmc": lambda: fk.HMC(ACTION, length=1.0, steps=4),
    "heatbath": lambda: fk.Heatbath(ACTION),
    "metropolis": lambda: fk.IndependenceMetropolis(fk.Haar(SPACE), ACTION, chunk=3),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_gives_what_run_gives(name):
    settings = {"chains": 3, "thermalise": 20, "every": 2, "observe": OBSERVED, "rng": 7}
    sampler = SAMPLERS[name]()
    job = fk.start(sampler, 30, **settings).wait(60)
    assert (job.status, job.step, job.warm, job.error) == ("finished", 30, 20, None)
    reference = fk.run(SAMPLERS[name](), 30, **settings)
    same(job.ensemble, reference)
    tuned = reference.provenance["sampler"]
    assert job.sampler.describe() == tuned
    if name == "hmc":  # a copy was tuned
        assert (sampler.steps, tuned["steps"]) == (4, 5)
        assert job.history["forces"][-1] == 30 * 2 * tuned["forces_per_trajectory"]
        # The hook is gone: the copy steps on its own.
        again = fk.HMC(ACTION, length=1.0, steps=tuned["steps"])
        same(fk.run(job.sampler, 3, chains=2, rng=1), fk.run(again, 3, chains=2, rng=1))


class Turnstile:
    """Callback that lets a run go on one stored step at a time."""

    def __init__(self):
        self.at, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, job):
        self.at.release()
        assert self.go.acquire(timeout=30)


def test_history_and_series_grow_while_it_runs():
    gate = Turnstile()
    job = fk.start(SAMPLERS["hmc"](), 3, chains=2, observe=OBSERVED, rng=1, callbacks=[gate])
    kept = []
    for i in range(1, 4):
        assert gate.at.acquire(timeout=30)
        assert (job.step, job.total, job.status) == (i, 3, "running")
        values = job.values("topological_charge")
        assert values.shape == (i, 2)
        kept.append(values)
        assert job.history["step"].tolist() == list(range(1, i + 1))
        with pytest.raises(EnsembleError, match=f"this one is running at stored step {i} of 3"):
            _ = job.ensemble
        gate.go.release()
    ensemble = job.wait(30).ensemble
    for values in kept:
        np.testing.assert_array_equal(values, ensemble.series["topological_charge"][: len(values)])
    assert set(job.series) == set(ensemble.series)
    seconds = job.history["seconds"]
    assert np.all(np.diff(seconds) > 0)
    assert ensemble.provenance["seconds"] == seconds[-1]
    np.testing.assert_allclose(job.history["accept"], ensemble.series["accept"].mean(1))


def test_a_stopped_run_is_the_beginning_of_the_whole_one():
    settings = {"chains": 2, "thermalise": 3, "observe": OBSERVED, "rng": 5}
    job = fk.start(
        SAMPLERS["hmc"](), 10**6, keep=False, callbacks=[lambda j: j.stop() if j.step == 7 else None], **settings
    )
    assert job.wait(60).status == "stopped"
    assert len(job.ensemble) == 7
    whole = fk.run(SAMPLERS["hmc"](), 12, **settings)
    for name, values in job.ensemble.series.items():
        assert torch.equal(values, whole.series[name][:7])
    again = fk.start(SAMPLERS["hmc"](), 9, callbacks=[lambda j: j.stop() if j.step == 7 else None], **settings).wait(60)
    assert torch.equal(again.ensemble.x, whole.x[:7])
    same(again.ensemble, fk.run(SAMPLERS["hmc"](), 7, **settings))


class Clock:
    """A clock that a test moves by hand; `read` tells that it was read."""

    def __init__(self):
        self.now, self.read = 0.0, threading.Semaphore(0)

    def __call__(self):
        self.read.release()
        return self.now


@pytest.fixture
def clock(monkeypatch):
    hand = Clock()
    monkeypatch.setattr(time, "perf_counter", hand)
    return hand


def pause_of(job, gate, clock, seconds):
    """Pause a run that stands at its gate, until so many seconds have passed; then let it come to the gate again."""
    job.pause()
    clock.read = threading.Semaphore(0)
    gate.go.release()
    assert clock.read.acquire(timeout=30), "the run does not look at its clock as it pauses"
    assert job.status == "paused"
    assert not gate.at.acquire(blocking=False), "a paused run went on"
    clock.now += seconds
    job.resume()
    assert gate.at.acquire(timeout=30)
    gate.go.release()
    assert job.wait(30).status == "finished"


def test_pause_holds_and_its_time_is_not_counted(clock):
    gate = Turnstile()
    job = fk.start(SAMPLERS["hmc"](), 2, chains=2, rng=1, callbacks=[gate])
    assert gate.at.acquire(timeout=30)
    clock.now += 3
    pause_of(job, gate, clock, 100)
    assert list(job.history["seconds"]) == [0, 3]


class Gated(fk.HMC):
    gate: Turnstile

    def step(self, state, rng):
        self.gate(self)
        return super().step(state, rng)


def test_a_pause_before_anything_is_stored_is_not_counted(clock):
    sampler = Gated(ACTION, steps=4)
    sampler.gate = Turnstile()
    job = fk.start(sampler, 1, chains=2, every=2, thermalise=0, rng=1)
    assert sampler.gate.at.acquire(timeout=30)
    assert job.step == 0
    clock.now += 3
    pause_of(job, sampler.gate, clock, 100)
    assert list(job.history["seconds"]) == [3]


def test_stop_ends_a_long_thermalisation_and_start_runs_anew():
    job = fk.ensemble.Job(SAMPLERS["hmc"](), 4, chains=2, thermalise=10**9, rng=1)
    assert job.status == "idle"
    job.start()
    while job.warm < 3:
        time.sleep(0.01)
    job.pause()
    with pytest.raises(RuntimeError, match=r"This run is paused at stored step 0 of 4; stop it or wait"):
        job.start()
    job.stop()
    assert job.wait(30).status == "stopped"
    with pytest.raises(EnsembleError, match="this one is stopped at stored step 0 of 4"):
        _ = job.ensemble
    job.settings["thermalise"] = 2
    assert job.start().wait(30).status == "finished"
    first = job.ensemble
    same(job.start().wait(30).ensemble, first)


def test_failures_are_told():
    def breaks(job):
        raise ZeroDivisionError("no physics here")

    with pytest.warns(UserWarning, match="callback breaks failed"):
        job = fk.start(SAMPLERS["hmc"](), 3, chains=2, rng=1, callbacks=[breaks]).wait(30)
    assert job.status == "finished"
    assert job.error == "The callback breaks failed and was dropped: no physics here"

    infinite = fk.observables.Observable("odd", "odd", lambda space, x: x.flatten(1)[:, 0] / 0)
    job = fk.start(SAMPLERS["hmc"](), 3, chains=2, rng=1, observe=[infinite])
    with pytest.raises(EnsembleError, match="odd has 2 NaN or infinite of 2"):
        job.wait(30)
    assert (job.status, job.step) == ("failed", 0)


def test_refusals():
    for bad in ({"n": 0}, {"n": 5, "chains": 0}, {"n": 5, "every": 1.5}, {"n": 5, "thermalise": -1}):
        with pytest.raises(ValueError, match="a whole number >="):
            fk.start(SAMPLERS["hmc"](), **bad)
    for name in ("progress", "each", "thermalize"):
        with pytest.raises(TypeError, match=f"settings of run, without progress and each; got '{name}'"):
            fk.start(SAMPLERS["hmc"](), 5, **{name: 1})
    job = fk.ensemble.Job(SAMPLERS["hmc"](), 5)
    assert repr(job) == f"Job({SAMPLERS['hmc']()!r}, n=5)"
    with pytest.raises(EnsembleError, match="has the series none yet; got 'Q'"):
        job.values("Q")


def test_a_script_that_does_not_wait_ends_cleanly():
    script = (
        "import flowkit as fk, time\n"
        "space = fk.links((4, 4), fk.U1())\n"
        "job = fk.start(fk.HMC(fk.Wilson(space, beta=1.0)), 10**7, chains=2, rng=1, keep=False)\n"
        "time.sleep(1)\n"
    )
    end = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert end.returncode == 0, end.stderr
    assert "wait() would have let it finish" in end.stdout

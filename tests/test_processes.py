"""Chains in several processes are those of one; what cannot be sent to them, and what dies in them, is told."""

import os
import sys
import threading
import types

import pytest
import torch

import flowkit as fk
from flowkit.ensemble import EnsembleError
from flowkit.ensemble.processes import groups_of
from flowkit.ensemble.runs import RunInterrupted
from flowkit.ensemble.workers import bytes_of, run_group
from flowkit.tasks.randomness import stream

SPACE = fk.links((4, 4), fk.U1())
ACTION = fk.Wilson(SPACE, beta=1.0)
PARENT = os.getpid()


def dying(space, x):
    """Ends a process that was started for a run: those import this file with a parent of another number."""
    if os.getppid() == int(os.environ.get("FLOWKIT_TEST_PARENT", "-1")):
        os._exit(9)
    return x.flatten(1).sum(1)


class Interrupted(fk.Heatbath):
    """Interrupted at a step of the group that starts with `marked` chains."""

    def __init__(self, marked, at):
        super().__init__(ACTION)
        self.marked, self.at, self.calls = marked, at, 0

    def step(self, state, rng):
        self.calls += 1
        if len(state.x) == self.marked and self.calls > self.at:
            raise KeyboardInterrupt
        return super().step(state, rng)


class Fails(fk.Heatbath):
    """Fails at its fourth step."""

    def __init__(self, error, calls=0):
        super().__init__(ACTION)
        self.error, self.calls = error, calls

    def step(self, state, rng):
        self.calls += 1
        if self.calls > 3:
            raise self.error
        return super().step(state, rng)


def same(a: fk.Ensemble, b: fk.Ensemble) -> bool:
    series = set(a.series) == set(b.series) and all(torch.equal(a.series[name], b.series[name]) for name in a.series)
    return series and torch.equal(a.x, b.x)


def test_two_processes_give_what_one_gives():
    settings = {"chains": 8, "thermalise": None, "observe": [fk.plaquette], "rng": 3}
    flow = fk.gauge_flow(SPACE, hidden=(4,))
    sampler = fk.IndependenceMetropolis(flow, ACTION, chunk=3)
    torch.set_default_dtype(torch.float64)
    try:
        here = fk.run(sampler, 6, processes=1, **settings)
        there = fk.run(sampler, 6, processes=2, **settings)
    finally:
        torch.set_default_dtype(torch.float32)
    assert same(here, there)
    assert (there.chains, len(there), there.provenance["seed"], there.provenance["groups"]) == (8, 6, 3, 4)
    assert there.action is ACTION
    assert len(there.provenance["schwinger_dyson"]) == 8 if "schwinger_dyson" in there.provenance else True


def test_a_group_is_a_run_with_its_own_stream():
    sampler = fk.Heatbath(ACTION)
    ensemble = fk.run(sampler, 5, chains=6, thermalise=2, rng=1, processes=1, groups=3)
    for k in range(3):
        alone = fk.run(sampler, 5, chains=2, thermalise=2, rng=stream(1, "chains", k))
        assert torch.equal(ensemble.x[:, 2 * k : 2 * k + 2], alone.x)
    assert same(
        fk.run(sampler, 5, chains=6, thermalise=2, rng=1, groups=1), fk.run(sampler, 5, chains=6, thermalise=2, rng=1)
    )
    start = SPACE.haar(6, 1)
    from_start = fk.run(sampler, 5, start=start, thermalise=0, rng=1, processes=1, groups=2)
    first = fk.run(sampler, 5, start=start[:3], thermalise=0, rng=stream(1, "chains", 0))
    assert torch.equal(from_start.x[:, :3], first.x)


def test_each_group_writes_a_folder_that_goes_on_by_itself(tmp_path):
    settings = {"chains": 4, "groups": 2, "thermalise": 3, "rng": 1, "processes": 1}
    sampler = fk.Heatbath(ACTION)
    short, unbroken = fk.run(sampler, 4, to=tmp_path / "run", **settings), fk.run(sampler, 9, **settings)
    assert torch.equal(short.x, unbroken.x[:4])
    folders = sorted((tmp_path / "run").iterdir())
    assert [one.name for one in folders] == ["group-000", "group-001"]
    longer = fk.ensemble.join([fk.resume(one, sampler, n=9) for one in folders], along="chains")
    assert torch.equal(longer.x, unbroken.x)


def test_seeds_of_runs_in_groups():
    def one(rng):
        return fk.run(fk.Heatbath(ACTION), 2, chains=4, thermalise=0, rng=rng, processes=1)

    fresh = one(None)
    assert same(fresh, one(fresh.provenance["seed"]))
    generator = torch.Generator().manual_seed(1)
    drawn = one(generator)
    assert not same(drawn, one(generator))  # the generator has gone on
    assert same(drawn, one(torch.Generator().manual_seed(1)))


def test_the_error_of_groups_is_that_of_chains():
    """64 chains in 4 groups: an exact value, and an error that covers it."""
    settings = {"chains": 64, "rng": 1, "processes": 1, "keep": False, "observe": [fk.plaquette]}
    mean = fk.run(fk.Heatbath(ACTION), 120, **settings).mean(fk.plaquette)
    assert mean.within(sigmas=3)
    assert not mean.note


def test_groups():
    sizes = [one.stop - one.start for one in groups_of(10, 4, 1)]
    assert sizes == [2, 3, 2, 3]
    assert [len(groups_of(chains, None, 1)) for chains in (1, 2, 4, 16, 64, 65, 512)] == [1, 2, 4, 4, 4, 5, 32]
    with pytest.raises(ValueError, match=r"^5 processes need at least 5 groups of chains; got 4 groups of 16 chains\."):
        fk.run(fk.Heatbath(ACTION), 2, processes=5)
    with pytest.raises(ValueError, match=r"^5 groups need at least 5 chains; got 4\."):
        fk.run(fk.Heatbath(ACTION), 2, chains=4, groups=5)
    with pytest.raises(ValueError, match=r"^run calls each= in the process that steps its chains"):
        fk.run(fk.Heatbath(ACTION), 2, processes=2, each=print)


def test_what_cannot_be_sent_is_named(monkeypatch):
    def refused(observable, message):
        with pytest.raises(TypeError, match=message):
            fk.run(fk.Heatbath(ACTION), 2, processes=2, observe=[observable])

    refused(
        fk.Observable("w", "w", lambda space, x: x.flatten(1).sum(1)), r"other processes; w cannot be pickled: .*lam"
    )
    main = types.ModuleType("__main__")
    main.__spec__ = None
    main.typed = types.FunctionType(dying.__code__, {"__name__": "__main__"}, "typed")
    main.typed.__module__, main.typed.__qualname__ = "__main__", "typed"
    monkeypatch.setitem(sys.modules, "__main__", main)
    observable = fk.Observable("typed", "typed", dying)
    object.__setattr__(observable, "function", main.typed)
    with pytest.raises(TypeError, match=r"cannot import what a notebook or a prompt defines; typed needs such"):
        bytes_of({"sampler": fk.Heatbath(ACTION), "observe": (observable,)})


def test_what_a_run_refuses_is_refused_before_a_process_starts():
    with pytest.raises(ValueError, match=r"^The observable phi\^?2|is measured on sites"):
        fk.run(fk.Heatbath(ACTION), 2, processes=2, observe=[fk.phi_squared])


def test_the_death_of_a_process_ends_the_run(monkeypatch):
    monkeypatch.setenv("FLOWKIT_TEST_PARENT", str(PARENT))
    with pytest.raises(EnsembleError, match=r"^A process of this run died: it was killed, ran out of memory, or could"):
        fk.run(fk.Heatbath(ACTION), 2, processes=2, thermalise=0, observe=[fk.Observable("dying", "dying", dying)])


def test_a_group_that_fails_leaves_what_was_stored():
    sampler = Fails(ArithmeticError("no root"))
    with pytest.raises(EnsembleError, match=r"^ArithmeticError: no root\. What other groups of chains stored") as found:
        fk.run(sampler, 9, processes=1, thermalise=0, rng=1)
    assert found.value.ensemble.provenance["ended"] == "failed at stored step 3 of 9, 4 chains"


def test_an_interrupt_keeps_what_was_stored():
    with pytest.warns(RunInterrupted, match=r"^This run was interrupted at stored step 3 of 9, 4 chains; its ensemble"):
        ensemble = fk.run(Fails(KeyboardInterrupt()), 9, processes=1, thermalise=0, rng=1)
    assert (ensemble.chains, len(ensemble)) == (4, 3)
    with pytest.raises(KeyboardInterrupt):
        fk.run(Fails(KeyboardInterrupt(), calls=3), 9, processes=1, thermalise=0)


def test_an_interrupt_in_the_last_group_keeps_the_groups_that_are_whole(tmp_path):
    settings = {"chains": 7, "groups": 3, "processes": 1, "thermalise": 0, "rng": 1}  # of 2, 2 and 3 chains
    whole = fk.run(fk.Heatbath(ACTION), 20, **settings)
    with pytest.warns(RunInterrupted, match=r"at stored step 20 of 20, 4 chains, without group 2 of 2 steps; its ens"):
        ensemble = fk.run(Interrupted(3, at=2), 20, to=tmp_path / "run", **settings)
    assert torch.equal(ensemble.x, whole.x[:, :4])
    assert ensemble.provenance["groups_left_out"] == {"2": 2}
    with pytest.warns(RunInterrupted, match=r"at stored step 18 of 20, 7 chains; its ensemble"):
        ensemble = fk.run(Interrupted(3, at=18), 20, **settings)
    assert torch.equal(ensemble.x, whole.x[:18])


def test_a_group_that_waits_does_not_begin_after_a_stop():
    stop = threading.Event()
    stop.set()
    assert run_group(stop, 3, sampler=None).failed == "interrupted"

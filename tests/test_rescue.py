"""What a run has stored is there whatever ends it, and what it would fail of at its end is said before it begins."""

import math
import pickle

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.ensemble import EnsembleError
from flowkit.ensemble.columns import Columns
from flowkit.ensemble.runs import RunInterrupted, all_or_nothing

SPACE = fk.sites((4,))
ACTION = fk.Phi4(SPACE, m2=1.0, lam=0.5)
SETTINGS = {"chains": 2, "rng": 1, "thermalise": 0}


def failing(at, fail):
    """An observable that is the mean of phi, and does `fail` in row number `at` of a run of two chains."""
    calls = [-1]  # a run tries its observables on cold fields before the first row

    def measure(space, x):
        calls[0] += len(x) == 2  # and on batches of other sizes
        value = x.flatten(1).mean(1)
        return fail(value) if calls[0] == at else value

    return fk.Observable("once", "once", measure)


def raises(error):
    def fail(value):
        raise error

    return fail


FAILURES = {
    "NaN": (lambda value: value * math.nan, "once has 2 NaN or infinite of 2"),
    "an error": (raises(ZeroDivisionError("no physics")), "ZeroDivisionError: no physics"),
    "memory": (raises(MemoryError()), "MemoryError"),
}


@pytest.mark.parametrize("at", [2, 50, 100])
@pytest.mark.parametrize("name", FAILURES)
def test_a_run_that_fails_keeps_what_it_stored(tmp_path, name, at):
    fail, why = FAILURES[name]
    reference = fk.run(fk.HMC(ACTION), 100, **SETTINGS)
    with pytest.raises(EnsembleError, match=rf"{why}.* at stored step {at - 1} of 100; error.ensemble holds") as caught:
        fk.run(fk.HMC(ACTION), 100, observe=[failing(at, fail)], **SETTINGS)
    job = fk.start(fk.HMC(ACTION), 100, observe=[failing(at, fail)], **SETTINGS)
    with pytest.raises(EnsembleError, match=why):
        job.wait(60)
    assert (job.status, job.step) == ("failed", at - 1)
    for kept in (caught.value.ensemble, job.ensemble):
        assert kept.provenance["ended"] == f"failed at stored step {at - 1} of 100"
        assert torch.equal(kept.series["S"], reference.series["S"][: at - 1])
        kept.save(tmp_path / "e")
        assert torch.equal(fk.Ensemble.load(tmp_path / "e").x, reference.x[: at - 1])


def test_a_failure_before_anything_is_stored_is_the_error_itself():
    with pytest.raises(ZeroDivisionError, match="no physics"):
        fk.run(fk.HMC(ACTION), 10, observe=[failing(1, raises(ZeroDivisionError("no physics")))], **SETTINGS)
    job = fk.start(fk.HMC(ACTION), 10, observe=[failing(1, raises(ZeroDivisionError("no physics")))], **SETTINGS)
    with pytest.raises(EnsembleError, match="no physics"):
        job.wait(60)
    with pytest.raises(EnsembleError, match="this one is failed at stored step 0 of 10"):
        _ = job.ensemble


@pytest.mark.parametrize("bad", [0, 5, 15])
def test_rows_of_a_block_before_the_first_bad_one_are_stored(bad):
    """Sixteen rows come off a GPU at once."""
    columns = Columns(40, 2, (fk.magnetization,), SPACE, block=16)
    columns.x = torch.empty(40, 2, 1, 4)
    x = torch.arange(40.0).view(40, 1, 1, 1).expand(40, 2, 1, 4).clone()
    x[16 + bad] = torch.nan
    for row in x[:31]:
        columns.store(row, {"S": torch.zeros(2)})
    with pytest.raises(EnsembleError, match="magnetization has 2 NaN"):
        columns.store(x[31], {"S": torch.zeros(2)})
    assert columns.filled == 16 + bad
    assert columns["magnetization"][:, 0].tolist() == list(range(16 + bad))
    assert torch.equal(columns.configurations(), x[: 16 + bad])


@pytest.mark.parametrize("keep", [True, False])
def test_an_interrupted_run_returns_what_it_stored_and_says_so(keep):
    reference = fk.run(fk.HMC(ACTION), 100, **SETTINGS)
    observe = [failing(41, raises(KeyboardInterrupt()))]
    with pytest.warns(RunInterrupted, match="was interrupted at stored step 40 of 100; its ensemble holds the steps"):
        ensemble = fk.run(fk.HMC(ACTION), 100, observe=observe, keep=keep, **SETTINGS)
    assert ensemble.provenance["ended"] == "interrupted at stored step 40 of 100"
    assert ensemble.provenance["n"] == 40
    assert torch.equal(ensemble.series["S"], reference.series["S"][:40])
    assert "ended" not in reference.provenance


def test_an_interrupt_before_anything_is_stored_is_one():
    with pytest.raises(KeyboardInterrupt):
        fk.run(fk.HMC(ACTION), 100, observe=[failing(1, raises(KeyboardInterrupt()))], **SETTINGS)


def test_work_that_needs_whole_runs_is_interrupted_as_a_whole():
    with pytest.raises(KeyboardInterrupt), all_or_nothing():
        fk.run(fk.HMC(ACTION), 100, observe=[failing(41, raises(KeyboardInterrupt()))], **SETTINGS)


# -- before the first step -------------------------------------------------------------------------------------


class Described(fk.HMC):
    more: object = None

    def describe(self):
        return {**super().describe(), "more": self.more}


@pytest.mark.parametrize("bad", [{1, 2}, math.nan, math.inf, object, {"a": [torch.tensor([math.nan])]}, {3: 4}])
def test_provenance_that_could_not_be_saved_is_refused_before_the_first_step(monkeypatch, bad):
    steps = []
    monkeypatch.setattr(Described, "more", bad)
    monkeypatch.setattr(Described, "step", lambda *arguments: steps.append(1))
    with pytest.raises(EnsembleError, match=r"Provenance is plain finite data, and describe\(\) of Described gives"):
        fk.run(Described(ACTION), 10, **SETTINGS)
    assert steps == []


@pytest.mark.parametrize("good", [np.float32(0.5), np.int64(3), np.bool_(True), torch.tensor(0.5), np.ones(2), (1, 2)])
def test_numbers_of_numpy_and_torch_are_provenance(tmp_path, monkeypatch, good):
    monkeypatch.setattr(Described, "more", good)
    ensemble = fk.run(Described(ACTION), 10, **SETTINGS)
    ensemble.save(tmp_path / "e")
    back = fk.Ensemble.load(tmp_path / "e").provenance["sampler"]["more"]
    assert back == (list(good) if np.ndim(good) else good.item())
    assert type(back) in (float, int, bool, list)


def test_what_tuning_makes_of_a_description_does_not_lose_the_run(tmp_path, monkeypatch):
    described = iter([{"a": 1}, {"a": {1, 2}}])
    monkeypatch.setattr(Described, "describe", lambda self: next(described))
    ensemble = fk.run(Described(ACTION), 10, **SETTINGS)
    assert ensemble.provenance["sampler"] == {"a": "{1, 2}"}
    ensemble.save(tmp_path / "e")


BUDGETS = {
    "run": lambda bad: fk.run(fk.HMC(ACTION), 10, max_bad=bad, **SETTINGS),
    "start": lambda bad: fk.start(fk.HMC(ACTION), 10, max_bad=bad, **SETTINGS),
    "importance_sample": lambda bad: fk.importance_sample(fk.Normal(SPACE), ACTION, 10, max_bad=bad),
    "compare": lambda bad: fk.compare({"a": fk.HMC(ACTION)}, [fk.phi_squared], seconds=0.1, max_bad=bad),
}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1, "0.1", None, True])
@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_of_invalid_steps_is_a_share(name, bad):
    with pytest.raises(ValueError, match=r"needs max_bad, a number in \[0, 1\]; got"):
        BUDGETS[name](bad)


def test_a_budget_of_memory_that_is_no_number_allows_nothing():
    with pytest.raises(ValueError, match="run needs max_bytes, a whole number >= 0; got nan"):
        fk.run(fk.HMC(ACTION), 10, max_bytes=math.nan, **SETTINGS)


def test_complex_series_are_refused_and_not_cut():
    series = {"S": torch.zeros(3, 2), "loop": torch.ones(3, 2) * 1j}
    with pytest.raises(EnsembleError, match="Series are real numbers; loop is complex64: store its real and its"):
        fk.Ensemble(SPACE, None, series)
    with pytest.raises(EnsembleError, match="loop is complex128"):
        Columns(3, 2, (), SPACE).store(torch.zeros(2, 1, 4), {"loop": torch.zeros(2, dtype=torch.complex128)})


# -- other processes -------------------------------------------------------------------------------------------


OBSERVABLES = [value for value in vars(fk.observables).values() if isinstance(value, fk.Observable)]


@pytest.mark.parametrize("observable", [*OBSERVABLES, fk.wilson_loop(1, 2), fk.observables.polyakov(1)], ids=str)
def test_observables_can_be_sent_to_another_process(observable):
    there = pickle.loads(pickle.dumps(observable))
    links = fk.links((2, 4, 2) if observable.name == "monopoles" else (2, 4), fk.U1())
    space = links if observable.kind == "links" else SPACE
    x = space.cold(3, like=torch.zeros(1))
    assert torch.equal(there(space, x), observable(space, x))

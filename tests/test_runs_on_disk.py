"""Runs that are written while they go on: nothing but a chunk is lost, and what goes on equals what never stopped."""

import itertools
import json
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.ensemble import EnsembleError, writing
from flowkit.ensemble.standing import numbers_of
from flowkit.storage import Store
from flowkit.storage.disk import Disk
from flowkit.studies.figures import FIGURES
from flowkit.testing.examples import concrete, example

U1 = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
PHI4 = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)
SETTINGS = {"chains": 3, "thermalise": 6, "rng": 1}


def same(a, b):
    """Bit for bit, but for the clock."""

    def about(one):
        return {name: value for name, value in one.provenance.items() if name not in ("date", "seconds", "ended")}

    assert list(a.series) == list(b.series)
    assert all(torch.equal(a.series[name], b.series[name]) for name in a.series)
    assert (a.x is None) == (b.x is None)
    assert a.x is None or torch.equal(a.x, b.x)
    assert about(a) == about(b)


def interrupted(sampler, at, path, n=20, **settings):
    """A run that Ctrl-C ends after so many stored steps."""

    def stop(columns):
        if columns.filled == at:
            raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fk.ensemble.runs.RunInterrupted)
        return fk.run(sampler, n, to=path, chunk=4, each=stop, **{**SETTINGS, **settings})


SAMPLERS = {
    "HMC": lambda: fk.HMC(PHI4),
    "heatbath": lambda: fk.Heatbath(U1),
    "cycle": lambda: fk.samplers.Cycle(fk.HMC(U1), fk.Heatbath(U1)),
    "Metropolis in chunks": lambda: fk.IndependenceMetropolis(fk.Normal(PHI4.space, sigma=0.7), PHI4, chunk=7),
    "pullback": lambda: fk.HMC(fk.Flow(fk.Normal(PHI4.space), fk.transforms.Affine(PHI4.space)).pullback(PHI4)),
}


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_a_run_that_goes_on_is_the_unbroken_one(tmp_path, make):
    unbroken = fk.run(make(), 20, **SETTINGS)
    at = {"in a chunk": 6, "at its end": 8}
    for name, steps in at.items():
        part = interrupted(make(), steps, tmp_path / name)
        assert len(part) == len(fk.Ensemble.load(tmp_path / name)) == steps
        assert part.provenance["ended"] == f"interrupted at stored step {steps} of 20"
        same(part, fk.run(make(), steps, **SETTINGS))
        same(fk.resume(tmp_path / name, make()), unbroken)
        same(fk.Ensemble.load(tmp_path / name), unbroken)
    same(fk.resume(tmp_path / "in a chunk", make(), n=31), fk.run(make(), 31, **SETTINGS))


def test_every_sampler_has_a_state_that_is_saved(tmp_path):
    """What the contracts give as examples of samplers: bit for bit after an interrupt in the thermalised chain."""
    found = concrete(fk.Sampler)
    assert len(found) >= 5
    for k, sampler in enumerate(map(example, found)):
        kept = {"thermalise": 2, "chains": 2, "rng": 1, "keep": True}
        folder = tmp_path / str(k)
        interrupted(sampler, 2, folder, n=4, **kept)
        same(fk.resume(folder, sampler), fk.run(sampler, 4, **kept))


def test_every_and_own_observables_go_on(tmp_path):
    observe = [
        fk.plaquette,
        fk.Observable("c", "c", lambda space, x: torch.exp(1j * x).flatten(1)[:, :2], components=2, complex=True),
    ]
    settings = {"every": 3, "observe": observe, "keep": False}
    interrupted(fk.HMC(U1), 5, tmp_path / "e", **settings)
    with pytest.raises(EnsembleError, match=r"measured 'c', which flowkit does not know; give it by observe="):
        fk.resume(tmp_path / "e", fk.HMC(U1))
    longer = fk.resume(tmp_path / "e", fk.HMC(U1), observe=observe)
    same(longer, fk.run(fk.HMC(U1), 20, **SETTINGS, **settings))
    assert longer.history("c").shape == (20, 3, 2)


def test_only_configurations_of_a_few_chunks_lie_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("flowkit.ensemble.writing.WAITING", 1)
    seen = []
    settings = {**SETTINGS, "observe": [fk.phi_squared], "max_bytes": 20 * 3 * 64 - 1}
    ensemble = fk.run(fk.HMC(PHI4), 20, to=tmp_path / "e", chunk=2, each=lambda c: seen.append(len(c.x)), **settings)
    assert max(seen) <= 6
    assert ensemble.x is None  # more than max_bytes: they stay on disk
    assert torch.equal(fk.Ensemble.load(tmp_path / "e").x, fk.run(fk.HMC(PHI4), 20, **SETTINGS).x)


def test_the_commits_of_a_run_share_their_chunks(tmp_path):
    fk.run(fk.HMC(PHI4), 40, to=tmp_path / "e", chunk=10, **SETTINGS)
    first, second = sorted((tmp_path / "e" / ".flowkit").glob("commit-*"))
    assert (first / "field" / "c.0.1.0.0.0").samefile(second / "field" / "c.0.1.0.0.0")
    assert not (first / "field" / "c.0.3.0.0.0").exists()
    assert (second / "field" / "c.0.3.0.0.0").exists()


def test_what_cannot_go_on_is_said(tmp_path):
    path = tmp_path / "e"
    run = fk.run(fk.HMC(PHI4, steps=5), 6, to=path, chunk=4, **SETTINGS)
    assert fk.resume(path, fk.HMC(PHI4, steps=5)).provenance == run.provenance
    with pytest.raises(EnsembleError, match=r"e holds an ensemble; run\(\) needs a folder of its own, and resume\(\)"):
        fk.run(fk.HMC(PHI4), 6, to=path, **SETTINGS)
    with pytest.raises(ValueError, match="has 6 stored steps already; n is their number in all, got 5"):
        fk.resume(path, fk.HMC(PHI4, steps=5), n=5)
    with pytest.raises(EnsembleError, match="is a run of another sampler: steps 5 there, 7 here"):
        fk.resume(path, fk.HMC(PHI4, steps=7), n=9)
    with pytest.raises(EnsembleError, match=r"is a run of another sampler: action .*m2=1.0.* there, .*m2=2.0.* here"):
        fk.resume(path, fk.HMC(fk.Phi4(PHI4.space, m2=2.0, lam=0.5), steps=5), n=9)
    flow = fk.Flow(fk.Normal(PHI4.space), fk.transforms.Affine(PHI4.space))
    fk.run(fk.IndependenceMetropolis(flow, PHI4), 2, to=tmp_path / "flow", **SETTINGS)
    with torch.no_grad():
        next(flow.parameters()).add_(0.1)
    with pytest.raises(EnsembleError, match="with other weights of the flow"):
        fk.resume(tmp_path / "flow", fk.IndependenceMetropolis(flow, PHI4), n=4)
    run.save(tmp_path / "saved")
    with pytest.raises(EnsembleError, match=r"it was written by save\(\) and has no sampler state; run\("):
        fk.resume(tmp_path / "saved", fk.HMC(PHI4), n=9)
    with pytest.raises(EnsembleError, match="none does not exist"):
        fk.resume(tmp_path / "none", fk.HMC(PHI4))


def test_one_run_at_a_time_and_nothing_is_saved_over_it(tmp_path):
    def other(columns):
        if columns.filled == 5:
            with pytest.raises(EnsembleError, match="is used for a run by this process"):
                fk.resume(tmp_path / "e", fk.HMC(PHI4), n=99)
            with pytest.raises(EnsembleError, match="is used for a run by this process"):
                fk.Ensemble.load(tmp_path / "e").save(tmp_path / "e")

    assert len(fk.run(fk.HMC(PHI4), 8, to=tmp_path / "e", chunk=2, each=other, **SETTINGS)) == 8


def test_a_full_disk_ends_the_run_with_the_last_commit_whole(tmp_path, monkeypatch):
    write = Disk.write

    def full(self, path, data):
        if "c.0.2" in path.name:
            raise OSError(28, "No space left on device", str(path))
        write(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "write", full)
        with pytest.raises(EnsembleError, match=r"No space left on device.*commit-\d+ is its last commit") as caught:
            fk.run(fk.HMC(PHI4), 20, to=tmp_path / "e", chunk=4, **SETTINGS)
    assert len(fk.Ensemble.load(tmp_path / "e")) == 8
    assert len(caught.value.ensemble) == 12
    same(fk.resume(tmp_path / "e", fk.HMC(PHI4)), fk.run(fk.HMC(PHI4), 20, **SETTINGS))


def test_a_job_writes_too(tmp_path):
    job = fk.start(fk.HMC(PHI4), 20, to=tmp_path / "e", chunk=4, **SETTINGS)
    same(job.wait().ensemble, fk.run(fk.HMC(PHI4), 20, **SETTINGS))
    same(fk.resume(tmp_path / "e", fk.HMC(PHI4), n=24), fk.run(fk.HMC(PHI4), 24, **SETTINGS))


def test_other_programs_read_a_run_and_its_arrays_have_names(tmp_path):
    xarray, zarr = pytest.importorskip("xarray"), pytest.importorskip("zarr")
    loops = fk.Observable("W", "W", lambda space, x: x[:, 0, 0, :2], components=2)
    phase = fk.Observable("p", "p", lambda space, x: torch.exp(1j * x).flatten(1).mean(1), complex=True)
    run = fk.run(fk.Heatbath(U1), 10, to=tmp_path / "e", chunk=4, observe=[loops, phase], **SETTINGS)
    run.save(tmp_path / "saved")
    for path in (tmp_path / "e", tmp_path / "saved"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = xarray.open_zarr(path, chunks=None)
            group = zarr.open(path, mode="r")
        assert dict(data.sizes) == {"chain": 3, "step": 10, "W_component": 2, "mu": 2, "x": 4, "y": 4}
        assert data.field.dims == ("chain", "step", "mu", "x", "y")
        assert data.field.attrs["units"] == "rad"
        np.testing.assert_array_equal(data.field.values.swapaxes(0, 1), run.x.numpy())
        np.testing.assert_array_equal(data.W.values.swapaxes(0, 1), run.history("W").numpy())
        np.testing.assert_array_equal(data.p.values.T, run.history("p").numpy())
        np.testing.assert_array_equal(group["S"][:].T, run.series["S"].numpy())
        assert data.attrs["provenance"]["sampler"]["sampler"] == "Heatbath"
        assert {p.name for p in path.iterdir() if not p.name.startswith(".")} == {"zarr.json", *data.data_vars}
        assert data.drop_attrs().equals(run.to_xarray().drop_attrs())
    assert data.identical(run.to_xarray())
    chunk = (tmp_path / "e" / "S" / "c.0.1").read_bytes()[:-4]  # the last four bytes are the crc32c
    np.testing.assert_array_equal(np.frombuffer(chunk, "<f8").reshape(3, 4).T, run.series["S"][4:8].numpy())


def test_without_xarray_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install 'lattice-flowkit\[xarray\]'"):
        fk.run(fk.Heatbath(U1), 2, chains=2, thermalise=0, rng=1).to_xarray()


def test_saving_twice_takes_the_room_of_one(tmp_path):
    def room(path):
        seen = {(one.stat().st_ino): one.stat().st_blocks for one in path.rglob("*") if one.is_file()}
        return sum(seen.values())

    run = fk.run(fk.Heatbath(fk.Wilson(fk.links((16, 16), fk.U1()), beta=2.0)), 100, chains=4, thermalise=0, rng=1)
    run.save(tmp_path / "e")
    once = room(tmp_path / "e")
    run.save(tmp_path / "e")
    assert room(tmp_path / "e") < 1.2 * once
    same(fk.Ensemble.load(tmp_path / "e"), run)
    same(fk.Ensemble.load(tmp_path / "e", "commit-000001"), run)


CHAIN = """
import sys, flowkit as fk
action = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)
fk.run(fk.HMC(action), 100_000, to=sys.argv[1], chunk=10, chains=3, thermalise=6, rng=1)
"""


def test_a_killed_process_loses_at_most_one_chunk(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", CHAIN, str(tmp_path / "e")])
    try:
        until = time.monotonic() + 60
        while len(list((tmp_path / "e").glob("S/c.*"))) < 4:
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    there = fk.Ensemble.load(tmp_path / "e")
    assert len(there) % 10 == 0
    same(there, fk.run(fk.HMC(PHI4), len(there), **SETTINGS))
    same(fk.resume(tmp_path / "e", fk.HMC(PHI4), n=len(there) + 7), fk.run(fk.HMC(PHI4), len(there) + 7, **SETTINGS))


UNASKED = """
import sys, time, flowkit as fk
action = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)

def tell(columns):
    time.sleep(0.02)
    print(columns.filled, flush=True)

fk.run(fk.HMC(action), 100_000, to=sys.argv[1], chains=3, thermalise=6, rng=1, each=tell)
"""


def test_a_killed_process_without_chunk_loses_the_steps_of_a_short_time(tmp_path):
    """Two seconds cover the wait for a commit, which is one second where a commit takes a 20th of it, and the commit.

    A machine that is busy makes commits slow, and then the wait 20 times their time.
    """
    path, told = tmp_path / "e", []
    process = subprocess.Popen([sys.executable, "-c", UNASKED, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        while len(told) < 2 or told[-1][1] - told[0][1] < 5:
            told.append((int(process.stdout.readline()), time.monotonic()))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    there = len(fk.Ensemble.load(path))
    longest = max(later[1] - earlier[1] for earlier, later in itertools.pairwise(told[20:]))  # with the commit in it
    kept = next(at for step, at in told if step >= there)
    assert there > 16  # more than the first commit, long before a chunk of 1563 steps is full
    assert told[-1][1] - kept < max(writing.SHORTEST, writing.SHARE * longest) + 2 * longest
    same(fk.resume(path, fk.HMC(PHI4), n=there + 3), fk.run(fk.HMC(PHI4), there + 3, **SETTINGS))


def test_a_run_that_goes_on_commits_as_it_was_begun(tmp_path):
    def commits(path):
        return int(fk.ensemble.files.store_of(path).names()[0].removeprefix("commit-"))

    begun = fk.run(fk.HMC(PHI4), 2, to=tmp_path / "clock", **SETTINGS)
    before, started = commits(tmp_path / "clock"), time.monotonic()
    same(fk.resume(tmp_path / "clock", fk.HMC(PHI4), n=60), fk.run(fk.HMC(PHI4), 60, **SETTINGS))
    assert commits(tmp_path / "clock") - before <= 2 + (time.monotonic() - started) / writing.SHORTEST
    assert len(list((tmp_path / "clock" / "S").glob("c.*"))) == 4  # chunks have 16 steps at least
    assert len(begun) == 2
    fk.run(fk.HMC(PHI4), 2, to=tmp_path / "asked", chunk=1, **SETTINGS)
    before = commits(tmp_path / "asked")
    fk.resume(tmp_path / "asked", fk.HMC(PHI4), n=7)
    assert commits(tmp_path / "asked") - before >= 5


def test_what_a_run_goes_on_from_is_not_saved_over(tmp_path):
    run = fk.run(fk.HMC(PHI4), 4, to=tmp_path / "e", **SETTINGS)
    with pytest.raises(
        EnsembleError, match=r"e holds a run, which resume\(\) continues; save\(\) needs another folder"
    ):
        run.save(tmp_path / "e")
    same(fk.resume(tmp_path / "e", fk.HMC(PHI4), n=6), fk.run(fk.HMC(PHI4), 6, **SETTINGS))


def test_a_run_at_its_end_is_that_of_the_sampler_given(tmp_path):
    fk.run(fk.Heatbath(U1), 4, to=tmp_path / "e", **SETTINGS)
    with pytest.raises(EnsembleError, match="is a run of another sampler: sampler Heatbath there, HMC here"):
        fk.resume(tmp_path / "e", fk.HMC(U1))


def test_the_folders_of_a_run_in_groups_are_named(tmp_path):
    fk.run(fk.Heatbath(U1), 2, to=tmp_path / "e", processes=1, groups=2, **{**SETTINGS, "chains": 4})
    for read in (fk.Ensemble.load, lambda path: fk.resume(path, fk.Heatbath(U1))):
        with pytest.raises(
            EnsembleError, match=r"e holds a run in groups: group-000 to group-001\. Load or resume each"
        ):
            read(tmp_path / "e")


def test_a_damaged_pointer_is_that_of_a_commit(tmp_path):
    run = fk.run(fk.Heatbath(U1), 2, to=tmp_path / "e", **SETTINGS)
    run.save(tmp_path / "saved")
    for path in (tmp_path / "e", tmp_path / "saved"):
        (path / ".flowkit" / "LAST").write_bytes(b"damaged")
        assert Store(path).has_commit()
        with pytest.raises(EnsembleError, match="holds an ensemble; run"):
            fk.run(fk.Heatbath(U1), 2, to=path, **SETTINGS)
    assert not Store(tmp_path / "none").has_commit()


def test_settings_that_a_thermalisation_tunes_are_plain_numbers():
    cycle = fk.samplers.Cycle(fk.HMC(U1, steps=4), fk.Heatbath(U1))
    found = numbers_of(cycle)
    assert found["samplers"][0]["steps"] == 4
    assert json.loads(json.dumps(found)) == found


@pytest.mark.slow
def test_thirty_kills_of_trainings_and_runs_lose_at_most_one_chunk():
    rows = FIGURES["kill-runs"].run(quick=True).rows
    assert len(rows) == 3 * 6
    assert all(row.reached for row in rows), [row for row in rows if not row.reached]

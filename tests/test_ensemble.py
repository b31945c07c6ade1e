"""Runs, their means, and saving them: NaN is never stored, damage is never read, exact values stand beside."""

import json
import math
import random
import resource
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import zarr

import flowkit as fk
from flowkit.actions import Action, Phi4
from flowkit.ensemble import Ensemble, EnsembleError, files as files_of, importance_sample, run
from flowkit.geometry.space import links, sites
from flowkit.observables import Observable
from flowkit.priors import Normal
from flowkit.samplers import IndependenceMetropolis
from flowkit.storage.disk import Disk
from flowkit.tasks.randomness import stream
from flowkit.testing import example

SPACE = sites((3, 2))


class Gauss(Action):
    """S = sum x² / 2: every site is N(0, 1)."""

    def __call__(self, x):
        return x.square().flatten(1).sum(1) / 2

    def exact(self, name):
        return {"phi_squared": 1.0, "S": SPACE.dof / 2}.get(name)


class State(NamedTuple):
    x: torch.Tensor
    S: torch.Tensor


class Toy:
    """x' = a x + sqrt(1 - a²) noise, exact for Gauss; `poison` makes S of chain 0 NaN in one step of so many."""

    def __init__(self, a=0.5, poison=0):
        self.space, self.action, self.a, self.poison, self.steps = SPACE, Gauss(SPACE), a, poison, 0

    def init(self, x):
        return State(x, self.action(x))

    def step(self, state, rng):
        self.steps += 1
        x = self.a * state.x + math.sqrt(1 - self.a**2) * torch.randn(state.x.shape, generator=rng)
        S = self.action(x)
        if self.poison and self.steps % self.poison == 0:
            x, S = x.clone(), S.clone()
            x[0], S[0] = math.nan, math.nan
        return State(x, S), {"accept": torch.ones(len(x), dtype=torch.bool)}

    def describe(self):
        return {"sampler": "Toy", "a": self.a}


@pytest.fixture(scope="module")
def toy():
    return run(Toy(), 2000, chains=8, thermalise=20, rng=1, observe=(fk.magnetization,))


def test_a_run_gives_chains_series_and_provenance(toy):
    assert toy.x.shape == (2000, 8, 1, 3, 2)
    assert set(toy.series) == {"S", "accept", "magnetization"}
    assert (len(toy), toy.chains) == (2000, 8)
    torch.testing.assert_close(toy.series["S"], Gauss(SPACE)(toy.x.flatten(0, 1)).double().view(2000, 8))
    torch.testing.assert_close(toy.history(fk.magnetization), toy.x.mean((2, 3, 4)).double())
    p = toy.provenance
    assert (p["seed"], p["n"], p["chains"], p["every"], p["thermalise"], p["invalid"]) == (1, 2000, 8, 1, 20, 0)
    assert p["sampler"] == {"sampler": "Toy", "a": 0.5}
    assert p["action"] == repr(Gauss(SPACE))
    assert p["flowkit"] == fk.__version__
    assert p["torch"] == torch.__version__
    assert (
        repr(toy) == "Ensemble(2000 stored steps x 8 chains of Sites 1 component(s) on 3x2; S, accept, magnetization)"
    )


def test_means_have_errors_and_the_exact_value_beside_them(toy):
    second = toy.mean(fk.phi_squared)
    assert second.exact == 1.0
    assert second.within()
    assert second.error < 0.01
    assert "exact 1" in str(second)
    assert toy.mean("S").within()
    first = toy.mean(fk.magnetization)
    assert first.exact is None
    assert first.within(0.0)
    assert abs(first.tau_int - 1.5) < 3 * first.tau_int_error  # (1 + a) / (2 (1 - a))


def test_every_thins_and_the_unit_of_tau_is_named():
    e = run(Toy(0.9), 2000, chains=4, every=10, rng=2)
    m = e.mean(fk.magnetization)
    assert m.every == 10
    assert "x 10 steps" in str(m)
    a = 0.9**10
    assert abs(m.tau_int - (1 + a) / (2 * (1 - a))) < 3 * m.tau_int_error


def test_the_same_seed_gives_the_same_run_and_the_seed_of_a_fresh_one_is_recorded():
    first = run(Toy(), 50, chains=3, rng=7)
    assert torch.equal(first.x, run(Toy(), 50, chains=3, rng=stream(7, "chains")).x)
    fresh = run(Toy(), 50, chains=3)
    assert not torch.equal(first.x, fresh.x)
    assert torch.equal(fresh.x, run(Toy(), 50, chains=3, rng=fresh.provenance["seed"]).x)


def test_a_run_starts_where_it_is_told_and_keeps_the_dtype():
    start = torch.full((5, *SPACE.shape), 3.0, dtype=torch.float64)
    e = run(Toy(1.0), 4, start=start, rng=1)
    assert e.chains == 5
    assert e.x.dtype == torch.float64
    assert torch.equal(e.x, start.expand(4, *start.shape))


def cubic(z):
    return z + z**3 / 3, z.square().log1p().flatten(1).sum(1)


def halved(z):
    return z / 2, torch.full((len(z),), -SPACE.dof * math.log(2.0), dtype=z.dtype)


def test_chains_in_the_coordinates_of_a_pullback_give_an_ensemble_of_the_theory():
    """Through two maps one inside the other: fields, S, log w and the exact values are the theory's own."""
    theory = Gauss(SPACE)
    pulled = theory.pullback(cubic).pullback(halved)
    assert pulled.theory is theory
    assert theory.theory is theory
    start = torch.zeros(64, *SPACE.shape, dtype=torch.float64)
    e = run(fk.HMC(pulled, 1.0, steps=4), 400, thermalise=20, start=start, rng=1, observe=(fk.phi_squared,))
    assert e.action is theory
    assert (theory(e.x.flatten(0, 1)) - e.series["S"].flatten()).abs().max() < 1e-12
    assert torch.allclose(e.history("phi_squared").flatten(), fk.phi_squared(SPACE, e.x.flatten(0, 1)))
    for name in ("phi_squared", "S"):
        assert e.mean(name).exact == theory.exact(name)
        assert e.mean(name).within(sigmas=3)
    assert e.logw_under(Normal(SPACE)).std() < 1e-6  # the theory is this prior, and S is that of f(z)
    blind = run(fk.HMC(theory, 1.0, steps=4), 400, thermalise=20, start=start, rng=1)
    assert not torch.equal(blind.x, e.x)


def test_a_proposal_in_the_coordinates_of_a_pullback_has_the_log_density_of_the_theorys_field():
    e = run(IndependenceMetropolis(Normal(SPACE, sigma=2.0), Gauss(SPACE).pullback(halved)), 50, chains=4, rng=2)
    assert torch.allclose(e.series["logq"], Normal(SPACE).log_prob(e.x.flatten(0, 1)).double().view(50, 4), atol=1e-5)
    assert e.series["logw"].std() < 1e-5
    assert e.series["accept"].mean() == 1


def test_without_configurations_only_what_was_observed_is_known():
    e = run(Toy(), 100, chains=2, rng=1, keep=False, observe=(fk.phi_squared,))
    assert e.x is None
    assert e.mean(fk.phi_squared).n == 200
    with pytest.raises(EnsembleError, match=r"S, accept, phi_squared, magnetization and kept no .*'susceptibility'"):
        e.mean(fk.susceptibility)
    with pytest.raises(EnsembleError, match="got 'nothing'"):
        e.history("nothing")
    assert "no configurations" in repr(e)


def test_memory_is_asked_for_before_the_run():
    with pytest.raises(EnsembleError, match=r"100000000 x 16 configurations need .* GiB.*keep=False"):
        run(Toy(), 10**8, rng=1)
    with pytest.raises(EnsembleError, match="max_bytes"):
        importance_sample(Normal(SPACE), Gauss(SPACE), 1000, rng=1, max_bytes=1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "run needs n, a whole number >= 1; got 0"),
        ({"chains": 0}, "run needs chains, a whole number >= 1; got 0"),
        ({"every": 1.5}, r"run needs every, a whole number >= 1; got 1\.5"),
        ({"thermalise": -1}, "run needs thermalise, a whole number >= 0 or None; got -1"),
        ({"observe": (fk.phi_squared, fk.phi_squared)}, "phi_squared"),
        ({"observe": (Observable("S", "S", lambda s, x: x.flatten(1).sum(1)),)}, "names of their own"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(Toy(), **{"n": 10, "rng": 1, **options})
    with pytest.raises(TypeError, match="unexpected keyword"):
        run(Toy(), 10, chain=3)
    with pytest.raises(TypeError, match=r"rng is a torch.Generator, a seed or None; got float"):
        run(Toy(), 10, rng=1.5)


# -- NaN -------------------------------------------------------------------------------------------------------


def test_nan_is_never_stored_but_counted():
    e = run(Toy(poison=50), 1000, chains=4, rng=3)
    assert e.x.isfinite().all()
    assert all(values.isfinite().all() for values in e.series.values())
    assert e.provenance["invalid"] == 20
    assert "20 invalid proposals" in repr(e)
    assert e.mean(fk.phi_squared).within()


def test_past_the_budget_the_run_ends_with_a_sentence():
    with pytest.raises(EnsembleError, match=r"ended at stored step \d+ of 1000: \d+ updates .* more than 1 % of 4000"):
        run(Toy(poison=2), 1000, chains=4, rng=3)
    assert run(Toy(poison=2), 100, chains=4, rng=3, max_bad=0.5).provenance["invalid"] == 50


def test_an_observable_that_gives_nan_is_named():
    log = Observable("log", "log", lambda space, x: x.flatten(1).sum(1).log())
    with pytest.raises(EnsembleError, match=r"log has .* NaN"):
        run(Toy(), 10, rng=1, observe=(log,))
    with pytest.raises(EnsembleError, match=r"log has .* NaN"):
        run(Toy(), 10, rng=1).mean(log)


def test_infinite_proposals_of_a_sampler_do_not_reach_the_ensemble():
    class Walled(Gauss):
        def __call__(self, x):
            return torch.where((x > 3).flatten(1).any(1), math.inf, super().__call__(x))

    sampler = IndependenceMetropolis(Normal(SPACE), Walled(SPACE))
    e = run(sampler, 500, chains=4, rng=1, max_bad=0.1)
    assert (e.x <= 3).all()
    assert e.provenance["invalid"] > 0
    assert e.provenance["left_out"] == ["logw_proposed"]


# -- flows -----------------------------------------------------------------------------------------------------


def test_weighted_draws_are_reweighted():
    wide = Normal(SPACE, sigma=1.2)
    e = importance_sample(wide, Gauss(SPACE), 20_000, rng=4, chunk=3000, observe=(fk.magnetization, fk.phi_squared))
    assert e.x.shape == (20_000, 1, *SPACE.shape)
    assert e.weighted
    torch.testing.assert_close(e.series["logw"], -e.series["S"] - e.series["logq"])
    x = e.x.flatten(0, 1)  # every number of a row belongs to the row's field
    torch.testing.assert_close(e.series["S"][:, 0], Gauss(SPACE)(x).double())
    torch.testing.assert_close(e.series["logq"][:, 0], wide.log_prob(x).double())
    for obs in (fk.magnetization, fk.phi_squared):
        torch.testing.assert_close(e.series[obs.name][:, 0], obs(SPACE, x).double())
    second = e.mean(fk.phi_squared)
    assert second.within()
    assert second.error < 0.01
    assert abs(e.x.square().mean() - 1.0) > 0.3  # unweighted it would be wrong
    assert e.mean(fk.magnetization).within(0.0)
    assert e.ess().within((math.sqrt(2 * 1.2**2 - 1) / 1.2**2) ** SPACE.dof)
    assert "weighted draws" in repr(e)


def test_draws_without_a_weight_are_left_out_counted_and_bounded():
    class Broken(Gauss):
        def __call__(self, x):
            return torch.where(x[:, 0, 0, 0] > 2.5, math.nan, super().__call__(x))

    e = importance_sample(Normal(SPACE), Broken(SPACE), 5000, rng=5)
    assert len(e) == 5000
    assert 10 < e.provenance["invalid"] < 50
    assert (e.x[:, 0, 0, 0, 0] <= 2.5).all()
    with pytest.raises(EnsembleError, match=r"Normal gave \d+ draws without a finite weight, more than 0.01 % of 5000"):
        importance_sample(Normal(SPACE), Broken(SPACE), 5000, rng=5, max_bad=1e-4)


def test_independence_metropolis_knows_the_ess_of_its_flow_and_the_tail_check_warns():
    flow, action = Normal(SPACE, sigma=0.75), Gauss(SPACE)
    e = run(IndependenceMetropolis(flow, action), 1000, chains=8, rng=6)
    exact = (0.75**2 / math.sqrt(2 * 0.75**2 - 1)) ** -SPACE.dof
    assert 0 < exact < e.ess().value < 1  # a narrow flow shows too high an ESS
    torch.testing.assert_close(e.logw_under(flow), e.series["logw"], rtol=1e-5, atol=1e-5)
    truth = run(Toy(0.0), 1000, chains=4, rng=7)
    check = fk.stats.tail_check(importance_sample(flow, action, 4000, rng=8).series["logw"], truth.logw_under(flow))
    assert check.alarm
    wide = Normal(SPACE, sigma=1.1)
    chains = run(IndependenceMetropolis(wide, action), 1000, chains=8, rng=6, keep=False)
    assert chains.ess().within((math.sqrt(2 * 1.1**2 - 1) / 1.1**2) ** SPACE.dof)  # of the proposals, not of the chain
    assert not fk.stats.tail_check(
        importance_sample(wide, action, 4000, rng=8).series["logw"], truth.logw_under(wide)
    ).alarm


def test_what_a_flow_needs_is_said():
    with pytest.raises(ValueError, match="lives on"):
        importance_sample(Normal(sites((2, 2))), Gauss(SPACE), 10)
    free = example(fk.FreeField)
    free.normalised = False
    with pytest.raises(ValueError, match="not normalised"):
        importance_sample(free, Phi4(free.space, m2=1.0, lam=0.0), 10)
    e = run(Toy(), 20, rng=1, keep=False)
    with pytest.raises(EnsembleError, match="property of a flow's draws"):
        e.ess()
    with pytest.raises(EnsembleError, match="kept none"):
        e.logw_under(Normal(SPACE))
    with pytest.raises(ValueError, match="The flow lives on"):
        run(Toy(), 20, rng=1).logw_under(Normal(sites((2, 2))))


@pytest.mark.parametrize(
    ("x", "series", "message"),
    [
        (None, {}, "needs the series S"),
        (None, {"S": torch.zeros(3)}, r"S is \[3\]"),
        (None, {"S": torch.zeros(3, 2), "a": torch.zeros(2, 3)}, r"a is \[2, 3\]"),
        (None, {"S": torch.zeros(0, 2)}, r"S is \[0, 2\]"),
        (None, {"S": torch.full((3, 2), math.nan)}, "S has 6 NaN"),
        (torch.zeros(3, 1, *SPACE.shape), {"S": torch.zeros(3, 2)}, r"got \[3, 1, 1, 3, 2\]"),
        (torch.zeros(3, 2, 1, 2, 3), {"S": torch.zeros(3, 2)}, r"holds fields \[batch, 1, 3, 2\]"),
        (torch.full((3, 2, *SPACE.shape), math.inf), {"S": torch.zeros(3, 2)}, "x has 36 NaN or infinite"),
    ],
)
def test_ensembles_that_do_not_fit_are_refused(x, series, message):
    with pytest.raises(EnsembleError, match=message):
        Ensemble(SPACE, x, series)
    with pytest.raises(EnsembleError, match="needs the series logw"):
        Ensemble(SPACE, None, {"S": torch.zeros(3, 1)}, weighted=True)


# -- saving ----------------------------------------------------------------------------------------------------


def check_same(a, b):
    assert a.space == b.space
    assert a.weighted == b.weighted
    assert a.provenance == b.provenance
    assert list(a.series) == list(b.series)
    assert all(torch.equal(a.series[name], b.series[name]) for name in a.series)
    assert (a.x is None) == (b.x is None)
    if a.x is not None:
        assert a.x.dtype == b.x.dtype
        assert torch.equal(a.x, b.x)


def fields_of(space, dtype=torch.float64):
    x = space.haar(6, torch.Generator().manual_seed(1), dtype).unflatten(0, (3, 2))
    return Ensemble(space, x, {"S": torch.ones(3, 2, dtype=torch.float64)}, provenance={"every": 2})


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2), fk.SUN(3)], ids=lambda g: g.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gauge_fields_come_back_bit_for_bit(tmp_path, group, dtype):
    e = fields_of(links((4, 2), group), dtype)
    e.save(tmp_path / "e.zarr")
    check_same(e, Ensemble.load(tmp_path / "e.zarr"))


def test_runs_come_back_with_their_exact_values(tmp_path, toy):
    assert toy.save(tmp_path / "e.zarr") == "commit-000001"
    back = Ensemble.load(tmp_path / "e.zarr", action=Gauss(SPACE))
    check_same(toy, back)
    assert back.mean(fk.phi_squared) == toy.mean(fk.phi_squared)
    assert Ensemble.load(tmp_path / "e.zarr").mean(fk.phi_squared).exact is None
    with pytest.raises(EnsembleError, match=r"e.zarr holds an ensemble of Gauss.*; Phi4.* was given"):
        Ensemble.load(tmp_path / "e.zarr", action=Phi4(SPACE, m2=1.0, lam=0.0))
    weighted = importance_sample(Normal(SPACE), Gauss(SPACE), 50, rng=1, keep=False)
    weighted.save(tmp_path / "e.zarr")
    check_same(weighted, Ensemble.load(tmp_path / "e.zarr"))
    check_same(toy, Ensemble.load(tmp_path / "e.zarr", "commit-000001"))


def test_many_chunks_and_zeros_are_written_and_other_tools_read_them(tmp_path, monkeypatch):
    monkeypatch.setattr("flowkit.storage.zarr_files.CHUNK", 60)
    x = torch.zeros(7, 2, *SPACE.shape)  # zarr would leave out chunks of zeros if it were not told
    e = Ensemble(SPACE, x, {"S": torch.zeros(7, 2, dtype=torch.float64), "q": torch.arange(14.0).double().view(7, 2)})
    commit = e.save(tmp_path / "e.zarr")
    check_same(e, Ensemble.load(tmp_path / "e.zarr"))
    assert commit == "commit-000001"
    assert len(list((tmp_path / "e.zarr" / "field").glob("c.*"))) == 7
    group = zarr.open_group(tmp_path / "e.zarr", mode="r")
    np.testing.assert_array_equal(group["q"], np.arange(14.0).reshape(7, 2).T)
    assert group.attrs["series"] == {"S": ["S"], "q": ["q"]}
    assert group.attrs["space"]["lattice"] == [3, 2]


def test_provenance_is_plain_json(tmp_path):
    e = Ensemble(SPACE, None, {"S": torch.zeros(3, 1)}, provenance={"f": lambda: 1})
    with pytest.raises(EnsembleError, match="plain finite JSON"):
        e.save(tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_a_full_disk_keeps_the_ensemble_before(tmp_path, monkeypatch):
    first, second = fields_of(links((4, 2), fk.U1())), fields_of(links((2, 4), fk.U1()))
    first.save(tmp_path / "e")
    write, left = Disk.write, [0]

    def full(self, path, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device", str(path))
        write(self, path, data)

    monkeypatch.setattr(Disk, "write", full)
    failures = 0
    for left[0] in range(20):
        try:
            second.save(tmp_path / "e")
            break
        except EnsembleError as error:
            failures += 1
            text = str(error)
        assert "No space left on device" in text
        assert "commit-000001 is its last commit" in text
        check_same(first, Ensemble.load(tmp_path / "e"))
    assert failures >= 5
    check_same(second, Ensemble.load(tmp_path / "e"))


# -- damage and hostile input ----------------------------------------------------------------------------------


def refuses(path, needle):
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EnsembleError, match=needle) as caught:
        Ensemble.load(path)
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024
    assert str(caught.value).endswith(".")


@pytest.fixture
def saved(tmp_path):
    e = fields_of(links((4, 2), fk.U1()))
    e.save(tmp_path / "e")
    e.save(tmp_path / "e")
    return tmp_path / "e"


def test_every_damaged_file_is_named_and_so_is_the_whole_commit(saved):
    files = [file for file in (saved / ".flowkit" / "commit-000002").rglob("*") if file.is_file()]
    assert len(files) == 6  # manifest, three of metadata, two chunks
    for file in files:
        whole = file.read_bytes()
        for at in random.Random(0).sample(range(8 * len(whole)), 10):
            broken = bytearray(whole)
            broken[at // 8] ^= 1 << at % 8
            file.write_bytes(broken)
            refuses(saved, f"{file.name} is damaged.*commit-000001 is whole and can be opened by its name")
        for broken in (b"", whole[:-1]):
            file.write_bytes(broken)
            refuses(saved, f"{file.name} is damaged.*commit-000001 is whole")
        file.unlink()
        refuses(saved, "commit-000001 is whole")
        file.write_bytes(whole)
    check_same(Ensemble.load(saved), Ensemble.load(saved, "commit-000001"))


def rewritten(saved, change):
    """Commit the last commit again after `change`: every hash is right, what it holds may be anything."""
    store = files_of.store_of(saved)
    last = store.open()
    files = {name: last.read(name) for name in last.files}
    change(files)
    store.commit(files)


def edit(name, act):
    def change(files):
        data = json.loads(files[name])
        act(data)
        files[name] = json.dumps(data).encode()

    return change


def attribute(key, value):
    return edit("zarr.json", lambda data: data["attributes"].update({key: value}))


def of_array(act):
    """Change the metadata of the field, its own and the group's in the same way."""

    def change(files):
        edit("field/zarr.json", act)(files)
        edit("zarr.json", lambda group: act(group["consolidated_metadata"]["metadata"]["field"]))(files)

    return change


def in_group(act):
    """Change it in the group alone, where others believe it before its own."""
    return edit("zarr.json", lambda group: act(group["consolidated_metadata"]["metadata"]["field"]))


HOSTILE = {
    "chunk gone": lambda f: f.pop("field/c.0.0.0.0.0"),
    "chunk elsewhere": lambda f: f.update({"field/c.0.9.0.0.0": f.pop("field/c.0.0.0.0.0")}),
    "chunk short": lambda f: f.update({"field/c.0.0.0.0.0": f["field/c.0.0.0.0.0"][:-8]}),
    "chunk flipped": lambda f: f.update({"field/c.0.0.0.0.0": b"\x01" + f["field/c.0.0.0.0.0"][1:]}),
    "no series": lambda f: [f.pop(name) for name in list(f) if name.startswith("S/")],
    "no group": lambda f: f.pop("zarr.json"),
    "group is a list": lambda f: f.update({"zarr.json": b"[]"}),
    "group is no JSON": lambda f: f.update({"zarr.json": b"{" * 1000}),
    "group is deep": lambda f: f.update({"zarr.json": b'{"a":' * 100_000}),
    "header of 2 MiB": lambda f: f.update({"field/zarr.json": f["field/zarr.json"] + b" " * 2**21}),
    "giant shape": of_array(lambda d: d.update(shape=[2, 2**50, 2, 4, 2])),
    "giant chunk": of_array(lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[2, 2**50, 2, 4, 2])),
    "negative shape": of_array(lambda d: d.update(shape=[2, -3, 2, 4, 2])),
    "tiny chunks": of_array(lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[1, 1, 1, 1, 1])),
    "flat shape": of_array(lambda d: d.update(shape=[96])),
    "other dtype": of_array(lambda d: d.update(data_type="int64")),
    "unknown dtype": of_array(lambda d: d.update(data_type="evil")),
    "other codec": of_array(lambda d: d["codecs"].append({"name": "zstd", "configuration": {}})),
    "unknown codec": of_array(lambda d: d["codecs"].append({"name": "pickle"})),
    "no codecs": of_array(lambda d: d.pop("codecs")),
    "x is a group": lambda f: f.update({"field/zarr.json": f["zarr.json"]}),
    "format": attribute("format", "other"),
    "space of another size": attribute("space", {"kind": "links", "lattice": [4, 4], "group": "U1", "components": 2}),
    "space of another group": attribute("space", {"kind": "links", "lattice": [4, 2], "group": "SU3", "components": 2}),
    "space unknown": attribute("space", {"kind": "knots", "lattice": [4, 2], "group": "U1", "components": 2}),
    "space group unknown": attribute(
        "space", {"kind": "links", "lattice": [4, 2], "group": "__import__", "components": 2}
    ),
    "space negative": attribute("space", {"kind": "links", "lattice": [-4, 2], "group": "U1", "components": 2}),
    "space is text": attribute("space", "links"),
    "space of no group": attribute("space", {"kind": "links", "lattice": [4, 2], "group": 3, "components": 2}),
    "series unnamed": attribute("series", {}),
    "series of one name": attribute("series", {"S": ["S", "S"]}),
    "series too many": attribute("series", {"S": ["S", "T"]}),
    "series of another array": attribute("series", {"T": ["S"]}),
    "series of numbers": attribute("series", {"S": [1]}),
    "series is a list": attribute("series", ["S"]),
    "series without S": attribute("series", {"S": ["T"]}),
    "weighted without weights": attribute("weighted", True),
    "weighted is text": attribute("weighted", "no"),
    "provenance is text": attribute("provenance", "me"),
    "every is text": attribute("provenance", {"every": "x"}),
    "every is 0": attribute("provenance", {"every": 0}),
    "invalid is a list": attribute("provenance", {"invalid": ["<script>"]}),
    "a key more": attribute("virus", 1),
    "a file more": lambda f: f.update({"y/zarr.json": b"{}"}),
    "a codec that inflates, in the group": in_group(
        lambda meta: meta["codecs"].append({"name": "gzip", "configuration": {"level": 1}})
    ),
    "a fill value, in the group": in_group(lambda meta: meta.update(fill_value=42.0)),
    "an array more, in the group": edit("zarr.json", lambda d: d["consolidated_metadata"]["metadata"].update(virus={})),
    "no metadata in the group": edit("zarr.json", lambda d: d.pop("consolidated_metadata")),
    "a group key more": edit("zarr.json", lambda d: d.update(extension={})),
    **{
        f"{key} of an array": of_array(lambda d, key=key, value=value: d.update({key: value}))
        for key, value in {
            "fill_value": 42.0,
            "attributes": {"x": 1},
            "storage_transformers": [{"name": "sharding"}],
            "dimension_names": ["chain", "step", "a", "a", "b"],
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}],
            "chunk_grid": {"name": "rectilinear", "configuration": {}},
            "shape": [2, True, 2, 4, 2],
            "extension": {},
            "zarr_format": 2,
        }.items()
    },
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_content_with_right_hashes_is_refused(saved, change):
    rewritten(saved, change)
    refuses(saved, "holds no readable ensemble")


def test_larger_arrays_than_were_asked_for_are_refused_before_they_are_read(saved):
    need = fields_of(links((4, 2), fk.U1())).x.nbytes
    assert len(Ensemble.load(saved, max_bytes=need))
    with pytest.raises(EnsembleError, match=r"field \[2, 3, .*\] takes .* GiB, and max_bytes allows"):
        Ensemble.load(saved, max_bytes=need - 1)


def test_nan_in_a_file_is_refused(saved):
    def change(files):
        import google_crc32c

        data = bytearray(files["field/c.0.0.0.0.0"][:-4])
        data[:8] = np.array([math.nan]).tobytes()
        files["field/c.0.0.0.0.0"] = bytes(data) + google_crc32c.value(bytes(data)).to_bytes(4, "little")

    rewritten(saved, change)
    refuses(saved, "x has 1 NaN or infinite of 96")


def test_no_ensemble_at_all_is_said(tmp_path):
    refuses(tmp_path, "holds no commit")
    refuses(tmp_path / "none", "none does not exist")
    Path(tmp_path / "file").write_text("x")
    refuses(tmp_path / "file", "holds no commit")
    with pytest.raises(EnsembleError, match="called commit-000001"):
        Ensemble.load(tmp_path, "../../etc")

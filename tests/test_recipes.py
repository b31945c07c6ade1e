"""Recipes: what ships runs, what cannot work is refused in a sentence, and a run that ends early goes on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from typer.testing import CliRunner

import flowkit as fk
from flowkit.ensemble.recording import Recording
from flowkit.production import folder as files, recipe as recipes
from flowkit.production.cli import app
from flowkit.production.execute import execute
from flowkit.production.export import recipe_of
from flowkit.production.parts import action_of, flow_of, sampler_of, trainer_of
from flowkit.production.recipe import Recipe, RecipeError, parsed, read, shipped, value_of, written
from flowkit.production.rehearsal import prepare
from flowkit.storage.store import Store

CPU = torch.device("cpu")
NAMES = list(shipped())


def base(**changes):
    """A small recipe as plain data."""
    data = {
        "theory": {"action": "wilson", "group": "u1", "lattice": [4, 4], "beta": 1.0},
        "flow": {"model": "gauge", "bins": 4, "hidden": [4]},
        "training": {"steps": 4, "batch": 16},
        "sampler": {"kind": "metropolis", "n": 40, "chains": 4, "thermalise": 2},
        "observables": ["plaquette", "charge_squared"],
        "outputs": {"report": False},
    }
    recipes.merge(data, changes)
    return {key: value for key, value in data.items() if value is not None}


def run(recipe, folder):
    lines = []
    return execute(recipe, folder, "cpu", lines.append), "\n".join(lines)


def call(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


# -- what ships


def test_every_notebook_has_a_recipe_and_every_recipe_a_title():
    lessons = {path.stem for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb")}
    whole = [read(name) for name in NAMES]
    assert {one.notebook for one in whole} - {""} == lessons
    assert all(one.title for one in whole)
    groups = {getattr(one.theory, "group", "scalar") for one in whole}
    assert {"u1", "su2", "su3", "scalar"} <= groups
    assert {one.sampler.kind for one in whole} == {"metropolis", "importance", "hmc", "flow_hmc", "heatbath"}
    assert {len(one.theory.lattice) for one in whole} == {1, 2, 3, 4}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_runs_in_its_quick_form(name, tmp_path):
    """With a few steps and fields; the quick forms themselves run with -m slow."""
    few = {"sampler.n": "12", "outputs.report": "false"}
    one = read(name, quick=True)
    if one.training is not None:
        small = {"maximum_likelihood": {"fields": "64", "iterations": "2"}, "levels": {"pool": "64"}}
        changes = small.get(one.training.method, {}) | ({} if one.training.steps is None else {"steps": "4"})
        few |= {f"training.{key}": value for key, value in changes.items()}
    if "thermalise" in type(one.sampler).model_fields:
        few["sampler.thermalise"] = "4"
    ended, said = run(read(name, True, few), tmp_path / "run")
    assert ended
    assert all(one in said for one in read(name).observables)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_form_runs_whole(name, tmp_path):
    ended, _ = run(read(name, quick=True), tmp_path / "run")
    assert ended
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_again(name, tmp_path):
    one = read(name, quick=True)
    path = tmp_path / "mine.toml"
    path.write_text(one.toml(), encoding="utf-8")
    assert read(str(path)).plain() == one.plain()


def test_the_wheel_carries_the_recipes():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert Path(fk.__file__).parent / "production" / "recipes" == recipes.SHIPPED
    assert wheel["packages"] == ["flowkit"]
    assert not any("recipes" in pattern or "toml" in pattern for pattern in wheel["exclude"])


# -- what is refused


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"theory": {"action": "wilsn"}}, r"theory.action is one of wilson, .*; got 'wilsn'\. Did you mean wilson\?"),
        ({"theory": {"group": "so3"}}, r"theory.group is u1, or su2 to su64; got 'so3'\."),
        ({"theory": {"lattice": [4, 0]}}, r"theory.lattice is a sequence, each a whole number >= 1; got \[4, 0\]\."),
        ({"theory": {"beta": -1.0}}, r"theory.beta is a finite number >= 0; got -1.0\."),
        ({"theory": {"bta": 1.0}}, r"theory has the keys action, .*; got 'bta'\. Did you mean beta\?"),
        ({"theory": 3}, r"theory.action is one of .*; got 3\."),
        ({"theory": {"m2": 1.0}}, r"theory has the keys action, group, lattice, beta; got 'm2'\."),
        ({"training": {"steps": None}}, r"training.steps is a whole number >= 0; got None\."),
        ({"training": {"schedule": {"kind": "cos"}}}, r"schedule.kind is one of .*; got 'cos'\. Did you mean cosine"),
        ({"training": {"anneal": {"coupling": "beta"}}}, r"training.anneal.start is missing: a finite number\."),
        ({"sampler": {"chains": True}}, r"sampler.chains is a whole number >= 1; got True\."),
        ({"observables": []}, r"observables is a list of 1 to 64 names; got \[\]\."),
        ({"observables": ["plaquete"]}, r"observables\[0\] is a name among plaquette, .*; got 'plaquete'\."),
        ({"outputs": {"report": 1}}, r"outputs.report is True or False; got 1\."),
        ({"seed": -1}, r"seed is a whole number >= 0 of at most 64 bits; got -1\."),
        ({"colour": 1}, r"mine has the keys title, .*; got 'colour'\."),
    ],
)
def test_a_wrong_value_is_refused_by_key_value_and_what_is_allowed(changes, sentence):
    with pytest.raises(RecipeError, match=sentence):
        parsed(base(**changes) if changes.get("theory") != 3 else {**base(), "theory": 3}, "mine")


SU2 = {"theory": {"group": "su2"}, "observables": ["plaquette"]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"observables": ["phi_squared"]}, "observables: The observable phi_squared is measured on sites"),
        ({"theory": {"lattice": [4, 4, 4]}}, "observables: charge_squared cannot be measured on Links U1 on 4x4x4"),
        ({"observables": ["wilson_loop_5x1"]}, "observables: .*sides 1 to those of the lattice.*got 5x1"),
        ({"theory": {"lattice": [1, 4]}}, "flow: gauge_flow needs sides of at least 2"),
        ({"flow": {"updates": 2}}, r"flow: gauge_flow takes updates for SU\(N\) alone; got 2"),
        ({"training": {"loss": "kl"}}, "training: A loss is one of reverse_kl, path_gradient, ess; got 'kl'"),
        ({"training": {"anneal": {"coupling": "m2", "start": 1, "steps": 2}}}, r"training: Anneal names a coupling"),
        (
            {
                "sampler": None,
            },
            "sampler is missing",
        ),
        ({"flow": None, "training": None}, "sampler: metropolis needs a table flow"),
        ({"flow": None}, "sampler: metropolis needs a table flow"),
    ],
)
def test_what_cannot_work_is_refused_before_training(changes, sentence):
    if changes.get("sampler", 0) is None:
        data = {key: value for key, value in base().items() if key != "sampler"}
    else:
        data = base(**changes)
    with pytest.raises(RecipeError, match=sentence):
        prepare(parsed(data, "mine"), CPU)


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"sampler": {"kind": "heatbath", "n": 5}}, "sampler: heatbath samples without a flow"),
        (
            {"theory": {"action": "phi4", "lattice": [4, 4], "m2": 1.0, "lam": 0.5}, "observables": ["phi_squared"]},
            "flow: gauge_flow builds flows for links",
        ),
        ({"flow": {"model": "photon"}}, "flow: .*beta"),
        ({"flow": {"model": "free_field"}}, "flow: free_field needs m2, which Wilson"),
        ({"training": {"method": "natural_gradient", "steps": 5}}, "training: A natural gradient needs a model with a"),
        ({"training": {"method": "levels", "steps": 5}}, "training: LevelStep trains a multiscale model of links"),
        ({"sampler": {"kind": "hmc", "n": 5, "integrator": "euler"}, "flow": None, "training": None}, "sampler: HMC k"),
        (
            {
                "theory": {"action": "iwasaki", "group": "su3", "lattice": [6, 6], "beta": 1.0},
                "sampler": {"kind": "heatbath", "n": 5},
                "flow": None,
                "training": None,
                "observables": ["plaquette"],
            },
            "sampler: .*4",
        ),
        (
            {"flow": {"model": "photon", "beta": 2.0}, "sampler": {"kind": "flow_hmc", "n": 5}, "training": None},
            "sampler: flow_hmc needs a flow whose map is known; FromLifts has none",
        ),
        (
            {"sampler": {"kind": "importance", "n": 10**9}},
            "outputs: configurations = true keeps 1000000000 x 1 f",
        ),
        ({"sampler": {"kind": "importance", "n": 5, "chunk": 2**30}}, "sampler: .* fields of .* at once take about"),
    ],
)
def test_tables_that_do_not_fit_are_refused_before_training(tables, sentence):
    data = {key: value for key, value in {**base(), **tables}.items() if value is not None}
    with pytest.raises(RecipeError, match=sentence):
        prepare(parsed(data, "mine"), CPU)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("theory = [", "is no recipe: "),
        ("a = 1\na = 2", "is no recipe: "),
        ("\xff", "is no recipe: "),
        ("x = " + "[" * 5000, "is no recipe: "),
        ("#" * 2**21, "a recipe is at most 1 MiB"),
        ("", "theory is missing: a table whose action is one of wilson, "),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, sentence):
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError, match=sentence):
        read(str(path))


def test_changes_name_a_key_in_full_or_in_short(tmp_path):
    one = read("u1", changes={"beta": "3", "lattice": "4,4", "training.schedule.kind": "constant", "seed": "7"})
    assert (one.theory.beta, one.theory.lattice, one.training.schedule.kind, one.seed) == (3.0, (4, 4), "constant", 7)
    with pytest.raises(RecipeError, match=r"training.steps and sampler.steps; got 'steps'\. Name one of them\."):
        read("u1-fthmc", changes={"steps": "3"})
    with pytest.raises(RecipeError, match=r"seed.x needs a table seed; got 1"):
        parsed(base(seed=1), "mine", changes={"seed.x": "2"})
    with pytest.raises(RecipeError, match=r"takes a file, or the name of a recipe.*Did you mean phi4"):
        read("phi44")


# -- whatever comes

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from([10**9, 2**63, -(2**70), 1e308, -0.0, 1e-300]),
    st.floats(allow_nan=True),
    st.text(max_size=6),
    st.lists(st.integers(-2, 5), max_size=5),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.sampled_from(["u1", "su2", "hmc", "gauge", "phi4", "adam", "plaquette", "flux_99", "wilson_loop_9x9", [[1]]]),
)
PATHS = sorted({key for name in NAMES for key in files.flat(read(name, quick=True).plain())} | {"flow", "theory.x"})


def put(data, path, value):
    *where, last = path.split(".")
    for part in where:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            return
    data[last] = value


def attempt(work):
    """What the work gives, or None where it is refused in a sentence that names a key or a table."""
    try:
        return work()
    except RecipeError as error:
        said = str(error)
    assert re.match(r"\S+: |\S+ has the keys ", said)
    assert said.endswith((".", "?"))
    assert "\n" not in said
    return None


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(NAMES), st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3))
def test_any_value_gives_a_recipe_or_a_sentence(name, changes):
    data = json.loads(json.dumps(read(name, quick=True).plain()))
    for path, value in changes:
        put(data, path, value)
    one = attempt(lambda: parsed(data, name))
    if isinstance(one, Recipe):
        assert parsed(tomllib.loads(one.toml()), name).plain() == one.plain()


SMALL = st.one_of(st.integers(-1, 4), st.floats(-2, 8), st.lists(st.integers(0, 4), max_size=4), st.text(max_size=3))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["u1", "phi4", "u1-fthmc", "u1-heatbath", "matrix-su3", "u1-multiscale"]), st.data())
def test_any_recipe_is_prepared_or_refused_in_a_sentence(name, data):
    plain = json.loads(json.dumps(read(name, quick=True, changes={"theory.lattice": "[4]"}).plain()))
    recipes.merge(plain, {"theory": {"lattice": [4] if name == "matrix-su3" else [4, 4]}})
    if "training" in plain:
        plain["training"]["batch"] = 16
    for path in data.draw(st.lists(st.sampled_from(sorted(files.flat(plain))), min_size=1, max_size=2)):
        put(plain, path, data.draw(SMALL))
    attempt(lambda: prepare(parsed(plain, name), CPU))


@given(st.text(max_size=20))
def test_any_text_is_a_value(text):
    assert value_of(text) is not None


@given(st.dictionaries(st.text(max_size=6), st.one_of(st.text(max_size=6), st.integers(), st.lists(st.booleans()))))
def test_what_is_written_is_toml(data):
    assert tomllib.loads(written(data)) == data


# -- runs that end early


def test_an_interrupt_keeps_what_was_drawn_and_the_rest_comes_later(tmp_path, monkeypatch):
    one = parsed(base(flow=None, training=None, sampler={"kind": "heatbath"}), "mine")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(one, whole)[0]
    usual, stored = Recording.__next__, []

    def interrupted(self):
        point = usual(self)
        stored.append(point.stored)
        if sum(stored) > 15:
            raise KeyboardInterrupt
        return point

    monkeypatch.setattr(Recording, "__next__", interrupted)
    ended, said = run(one, broken)
    assert not ended
    assert "Sampling was interrupted at stored step 16 of 40; what was drawn is saved in" in said
    kept = fk.Ensemble.load(broken / "ensemble.zarr")
    monkeypatch.setattr(Recording, "__next__", usual)
    assert run(one, broken)[0]
    first, second = (fk.Ensemble.load(path / "ensemble.zarr").x for path in (whole, broken))
    assert len(kept) == 16
    assert first.equal(second)
    assert first[:16].equal(kept.x)
    more = call("resume", broken, "--n=60")
    assert more.exit_code == 0, more.output
    assert run(parsed(base(flow=None, training=None, sampler={"kind": "heatbath", "n": 60}), "mine"), broken)[0]
    longer = fk.Ensemble.load(broken / "ensemble.zarr").x
    assert len(longer) == 60
    assert longer[:40].equal(first)
    fewer = call("resume", broken, "--n=50")
    assert fewer.exit_code == 2
    assert "has 60 stored steps; --n is their number in all, got 50." in fewer.stderr
    assert read(str(broken / "recipe.toml")).sampler.n == 60


def test_a_number_of_steps_that_is_refused_leaves_the_run_as_it_was(tmp_path):
    own = {"kind": "heatbath", "n": 40, "processes": 1}
    assert run(parsed({**base(flow=None, training=None), "sampler": own}, "mine"), tmp_path / "run")[0]
    before = (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")
    refused = call("resume", tmp_path / "run", "--n=100000000", "--device=cpu")
    assert refused.exit_code == 2
    assert "Take fewer, or configurations = false." in refused.stderr
    assert (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8") == before
    assert call("resume", tmp_path / "run", "--device=cpu").exit_code == 0


def test_a_run_that_asks_for_more_than_it_has_may_ask_for_less(tmp_path):
    one = parsed(base(flow=None, training=None, sampler={"kind": "heatbath"}), "mine")
    assert run(one, tmp_path / "run")[0]
    file = tmp_path / "run" / "recipe.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("n = 40", "n = 100000000"), encoding="utf-8")
    assert call("resume", tmp_path / "run", "--n=40", "--device=cpu").exit_code == 0
    assert read(str(file)).sampler.n == 40


def test_chains_on_disk_may_be_larger_than_memory():
    data = base(flow=None, training=None, sampler={"kind": "heatbath", "n": 10**8})
    assert prepare(parsed(data, "mine"), CPU).recipe.sampler.n == 10**8
    data["sampler"]["processes"] = 2
    with pytest.raises(RecipeError, match="are kept in memory"):
        prepare(parsed(data, "mine"), CPU)


def test_a_report_needs_no_memory_for_configurations(tmp_path, monkeypatch):
    one = parsed(base(flow=None, training=None, sampler={"kind": "heatbath"}), "mine")
    assert run(one, tmp_path / "run")[0]
    monkeypatch.setattr(fk.Ensemble.load.__func__, "__kwdefaults__", {"max_bytes": 4 * 40 * 8, "keep": True})
    with pytest.raises(fk.ensemble.EnsembleError, match="max_bytes allows"):
        fk.Ensemble.load(tmp_path / "run" / "ensemble.zarr")
    ensemble = files.load(tmp_path / "run", None)
    assert ensemble.x is None
    assert len(ensemble) == 40


def test_an_interrupt_keeps_independent_draws(tmp_path, monkeypatch):
    data = base(training=None)
    data["sampler"] = {"kind": "importance", "n": 100, "chunk": 8}
    one, usual, calls = parsed(data, "mine"), fk.importance_sample, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:  # one of the rehearsal, and two parts
            raise KeyboardInterrupt
        return usual(*arguments, **options)

    monkeypatch.setattr(fk, "importance_sample", interrupted)
    ended, said = run(one, tmp_path / "run")
    assert not ended
    assert "interrupted at draw 16 of 100" in said
    monkeypatch.setattr(fk, "importance_sample", usual)
    assert run(one, tmp_path / "run")[0]
    assert len(fk.Ensemble.load(tmp_path / "run" / "ensemble.zarr")) == 100


KILLED = "from flowkit.production.cli import app; app()"


@pytest.mark.parametrize("after", ["checkpoint", "ensemble.zarr"])
def test_a_killed_run_resumes_and_equals_the_unbroken_one(tmp_path, after):
    """kill -9 in the middle of the training, and of the sampling."""
    steps, n = (4000, 20) if after == "checkpoint" else (8, 120)
    data = base(training={"steps": steps}, sampler={"n": n}, outputs={"checkpoints": 400 if steps > 20 else 2})
    path = tmp_path / "mine.toml"
    path.write_text(written(data), encoding="utf-8")
    folder, whole = tmp_path / "run", tmp_path / "whole"
    command = [sys.executable, "-c", KILLED, "run", str(path), "--device=cpu"]
    child = subprocess.Popen([*command, f"--out={folder}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        begun = time.monotonic()
        while not Store(folder / after).has_commit():
            assert child.poll() is None, child.stdout.read().decode()
            assert time.monotonic() - begun < 120
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    if steps < 20:
        assert 0 < len(fk.Ensemble.load(folder / "ensemble.zarr")) < n
    shorter = tomllib.loads(path.read_text(encoding="utf-8"))
    if steps > 20:  # the end of a long training, in both folders
        at = fk.storage.checkpoint.load(folder / "checkpoint")[1]["step"]
        assert 0 < at < steps
        recipe = (folder / "recipe.toml").read_text(encoding="utf-8")
        shorter["training"]["steps"] = at + 20
        (folder / "recipe.toml").write_text(recipe.replace(f"steps = {steps}", f"steps = {at + 20}"), encoding="utf-8")
    assert call("resume", folder, "--device=cpu").exit_code == 0
    assert run(parsed(shorter, "mine"), whole)[0]
    first, second = (fk.Ensemble.load(one / "ensemble.zarr") for one in (folder, whole))
    assert first.x.equal(second.x)
    assert all(first.series[name].equal(second.series[name]) for name in first.series)


# -- the folder, its page, and comparisons


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three runs: the same theory twice, and another coupling. The first has an ugly title."""
    place = tmp_path_factory.mktemp("runs")
    for name, seed, beta in (("one", 1, 1.0), ("two", 2, 1.0), ("other", 1, 2.0)):
        data = base(seed=seed, theory={"beta": beta}, sampler={"n": 400}, outputs={"report": name == "one"})
        data["sampler"] = {"kind": "heatbath", "n": 400, "chains": 16, "thermalise": 20}
        data["title"] = "<script>alert(1)</script>"
        assert run(parsed({k: v for k, v in data.items() if k not in ("flow", "training")}, "mine"), place / name)[0]
    return place


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.attributes = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += attributes


def test_the_page_opens_without_a_network_and_escapes_what_came_from_a_file(finished):
    pytest.importorskip("matplotlib", reason='plots need the extra "lab"')
    text = (finished / "one" / "report.html").read_text(encoding="utf-8")
    page = Tags()
    page.feed(text)
    assert "script" not in page.seen
    assert page.seen.count("svg") == 1
    links = [v for n, v in page.attributes if n in ("src", "href", "xlink:href") and not v.startswith("#")]
    assert links == []
    assert re.findall(r"url\((?!#)", text) == []
    assert len(text) < 500_000
    for words in ("plaquette", "charge_squared", "Autocorrelation", "lattice = [4, 4]", fk.__version__):
        assert words in text


WITHOUT_FRONT_END = """
import pathlib, sys
usual = pathlib.Path.is_file
pathlib.Path.is_file = lambda self: "static" not in self.parts and usual(self)
from flowkit.production.cli import app
app(["report", sys.argv[1]])
"""


def test_the_page_is_drawn_without_the_front_end(finished, tmp_path):
    pytest.importorskip("matplotlib", reason='plots need the extra "lab"')
    shutil.copytree(finished / "two", tmp_path / "two")
    done = subprocess.run([sys.executable, "-c", WITHOUT_FRONT_END, tmp_path / "two"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "<svg" in (tmp_path / "two" / "report.html").read_text(encoding="utf-8")


def test_a_run_says_what_it_ran_with(finished):
    about = json.loads((finished / "one" / "run.json").read_text())
    assert (about["seed"], about["flowkit"], about["device"]) == (1, fk.__version__, "cpu")
    assert about["machine"]["torch"] == torch.__version__
    result = json.loads((finished / "one" / "result.json").read_text())
    ensemble = fk.Ensemble.load(finished / "one" / "ensemble.zarr")
    assert result["observables"]["plaquette"]["value"] == ensemble.mean("plaquette").value


def test_history_is_a_table_of_the_training(tmp_path):
    assert run(parsed(base(), "mine"), tmp_path / "run")[0]
    columns = files.read_history(tmp_path / "run")
    assert list(columns["step"]) == [0, 1, 2, 3]
    assert np.isfinite(columns["loss"]).all()


def test_compare_shows_keys_and_differences_in_standard_errors(finished):
    same = call("compare", finished / "one", finished / "two")
    assert same.exit_code == 0
    assert re.search(r"^seed +1 +2$", same.stdout, re.MULTILINE)
    value = float(re.search(r"^plaquette .* ([+-][\d.]+)$", same.stdout, re.MULTILINE)[1])
    means = [fk.Ensemble.load(finished / name / "ensemble.zarr").mean("plaquette") for name in ("one", "two")]
    spread = (means[0].error ** 2 + means[1].error ** 2) ** 0.5
    assert value == pytest.approx((means[0].value - means[1].value) / spread, abs=0.051)
    assert abs(value) < 4
    other = call("compare", finished / "one", finished / "other").stdout
    assert re.search(r"^theory.beta +1.0 +2.0$", other, re.MULTILINE)
    assert float(re.search(r"^plaquette .* ([+-][\d.]+)$", other, re.MULTILINE)[1]) < -20
    assert "The recipes are the same." in call("compare", finished / "one", finished / "one").stdout


def test_report_is_made_anew(finished, tmp_path):
    shutil.copytree(finished / "two", tmp_path / "two")
    (tmp_path / "two" / "result.json").write_text("{")
    refused = call("compare", tmp_path / "two", finished / "one")
    assert refused.exit_code == 2
    assert "result.json could not be read" in refused.stderr
    assert call("report", tmp_path / "two").exit_code == 0
    assert (tmp_path / "two" / "report.html").is_file()
    assert call("compare", tmp_path / "two", finished / "two").exit_code == 0


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("recipe.toml", "x", "recipe.toml is no recipe"),
        ("recipe.toml", None, "is no folder of flowkit run: it holds no recipe.toml."),
        ("result.json", '{"observables": {"plaquette": {"value": "x"}}}', "is damaged: it holds no means."),
        ("result.json", "[" * 100_000, "could not be read"),
        ("result.json", None, "has no result yet; flowkit resume"),
    ],
)
def test_a_damaged_folder_is_told_in_a_sentence(finished, tmp_path, file, text, sentence):
    shutil.copytree(finished / "two", tmp_path / "two")
    (tmp_path / "two" / file).unlink() if text is None else (tmp_path / "two" / file).write_text(text)
    refused = call("compare", tmp_path / "two", finished / "one")
    assert refused.exit_code == 2
    assert sentence in refused.stderr


# -- from objects back to a recipe


@pytest.mark.parametrize("name", [name for name in NAMES if read(name).training is not None])
def test_a_trainer_exports_its_recipe(name):
    one = read(name, quick=True)
    action = action_of(one)
    trainer = trainer_of(one, flow_of(one, action), action)
    trainer.total = one.training.steps or trainer.method.steps  # where `fit` would end
    again = recipe_of(trainer, observe=one.observables)
    found = {key for key, *_ in files.differences(one, again) if not key.startswith("sampler.")}
    # Fields are not in a recipe, and a coupling that was the theory's is written out.
    known = {"maximum_likelihood": {"training.steps", "training.fields", "flow.beta"}}
    assert found - {"outputs.configurations"} <= known.get(one.training.method, set())


@pytest.mark.parametrize("name", [name for name in NAMES if read(name).sampler.kind in ("hmc", "heatbath")])
def test_a_job_exports_its_recipe(name):
    one = read(name, quick=True)
    sampler, own = sampler_of(one, None, action_of(one)), one.sampler
    chains = {"start": sampler.space.cold(own.chains, like=torch.empty(0))} if own.start == "cold" else {}
    chains = chains or {"chains": own.chains}
    more = {"every": own.every, "thermalise": own.thermalise, "rng": one.seed, "observe": one.observables}
    again = recipe_of(fk.ensemble.Job(sampler, own.n, **chains, **more))
    found = {key for key, *_ in files.differences(one, again)}
    assert found <= {"sampler.steps", "outputs.configurations"}  # 10 steps are the default of HMC


def test_the_seed_of_a_job_is_the_one_it_recorded():
    sampler = fk.Heatbath(fk.Wilson(fk.links((2, 2), fk.U1()), beta=1.0))
    job = fk.ensemble.Job(sampler, 2, chains=2, thermalise=1)
    with pytest.raises(RecipeError, match="rng=None, is known once it ran"):
        recipe_of(job)
    recorded = job.start().wait().ensemble.provenance["seed"]
    assert recipe_of(job).seed == recorded
    again = fk.run(sampler, 2, chains=2, thermalise=1, rng=recorded)
    assert again.x.equal(job.ensemble.x)
    with pytest.raises(RecipeError, match="draws from a generator"):
        recipe_of(fk.ensemble.Job(sampler, 2, rng=torch.Generator().manual_seed(3)))


def test_what_no_recipe_can_name_is_refused():
    action = fk.Phi4(fk.sites((4,)), m2=1.0, lam=0.0)
    trainer = fk.Trainer(fk.Flow(fk.Normal(action.space), fk.transforms.Affine(action.space)), action)
    with pytest.raises(RecipeError, match=r"A recipe names the flows gauge_flow, .*; this Flow is none of theirs"):
        recipe_of(trainer)
    job = fk.ensemble.Job(fk.HMC(action + action), 5)
    with pytest.raises(RecipeError, match=r"A recipe names the actions wilson, .*; got "):
        recipe_of(job)
    flow = fk.scalar_flow(action.space)
    with pytest.raises(RecipeError, match="needs trainer="):
        recipe_of(fk.ensemble.Job(fk.IndependenceMetropolis(flow, action), 5))
    hot = torch.ones(2, 1, 4)
    with pytest.raises(RecipeError, match="at cold fields; this job has others"):
        recipe_of(fk.ensemble.Job(fk.HMC(action), 5, start=hot))
    assert isinstance(recipe_of(fk.Trainer(flow, action)), Recipe)

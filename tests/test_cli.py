"""The command line: what it lists, prints, refuses and leaves alone."""

import inspect
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import flowkit
from flowkit.production import reproduce
from flowkit.production.cli import app
from flowkit.studies.figure import Figure, plus_minus
from flowkit.studies.figures import FIGURES
from flowkit.tasks import lessons
from flowkit.tasks.machine import pick_device

runner = CliRunner()


def study(quick: bool = False, seed: int = 1, scale: float = 0.5, name: str = "a", on: bool = False, sides=(4, 6)):
    """A figure that reports its own settings."""
    print("progress of the study")
    value = (1 if quick else 2) * scale
    return [
        {"label": "reached", "value": value, "error": 0.0123, "goal": ">= 0.5", "published": 0.4, "reached": True},
        {"label": "settings", "value": f"{seed} {name} {on} {sides}", "reached": None},
    ]


def failing(quick: bool = False):
    return [{"label": "missed", "value": 1.0, "error": 0.1, "goal": 2.0, "reached": False}]


def not_finite(quick: bool = False):
    return [{"label": "broken", "value": float("nan")}]


def interrupted(quick: bool = False):
    raise KeyboardInterrupt


@pytest.fixture
def fake(monkeypatch):
    """Figures of this file in place of the real ones."""
    made = {
        name: Figure(name.replace("_", "-"), f"Title of {name}", f"{__name__}:{name}", "A. Author", "0.4", 1, "half")
        for name in ("study", "failing", "not_finite", "interrupted")
    }
    for name in list(FIGURES):
        monkeypatch.delitem(FIGURES, name)
    for figure in made.values():
        monkeypatch.setitem(FIGURES, figure.name, figure)


def call(*arguments: str):
    return runner.invoke(app, list(arguments))


# ---------------------------------------------------------------- flowkit kernel


def kernel_json(prefix, name="lattice-flowkit"):
    return json.loads((prefix / "share" / "jupyter" / "kernels" / name / "kernel.json").read_text())


def test_a_kernel_starts_this_python_with_its_threads(tmp_path):
    """Jupyter finds it by name and starts it; a second installation changes nothing."""
    pytest.importorskip("ipykernel")
    from jupyter_client.kernelspec import KernelSpecManager

    first = call("kernel", "install", "--prefix", str(tmp_path), "--threads", "2", "--device", "cpu")
    assert first.exit_code == 0, first.output
    folder = tmp_path / "share" / "jupyter" / "kernels"
    device, wrote = first.stdout.splitlines()
    assert re.fullmatch(r"CPU: .+, \d+ cores?", device)
    assert wrote == f"Wrote the kernel lattice-flowkit in {folder / 'lattice-flowkit'}"
    manager = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
    assert list(manager.find_kernel_specs()) == ["lattice-flowkit"]
    spec = manager.get_kernel_spec("lattice-flowkit")
    assert spec.argv[0] == sys.executable
    assert spec.env == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": ""}
    assert spec.display_name == "lattice-flowkit (CPU)"
    again = call("kernel", "install", "--prefix", str(tmp_path), "--threads", "2", "--device", "cpu")
    assert again.stdout.splitlines()[1].startswith("Kept the kernel")
    changed = call("kernel", "install", "--prefix", str(tmp_path), "--threads", "1", "--device", "cpu")
    assert changed.stdout.splitlines()[1].startswith("Wrote the kernel")
    assert kernel_json(tmp_path)["env"]["OMP_NUM_THREADS"] == "1"


def test_a_kernel_finds_the_gpu_where_there_is_one(tmp_path, monkeypatch):
    pytest.importorskip("ipykernel")
    card = SimpleNamespace(name="A card", total_memory=80 * 2**30)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: card.name)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: card)
    done = call("kernel", "install", "--prefix", str(tmp_path), "--name", "mine")
    assert done.stdout.splitlines()[0] == "CUDA: A card, 80 GiB"
    spec = kernel_json(tmp_path, "mine")
    assert spec["display_name"] == "mine (CUDA)"
    assert "CUDA_VISIBLE_DEVICES" not in spec["env"]
    assert 1 <= int(spec["env"]["OMP_NUM_THREADS"]) <= 4


def test_a_kernel_is_refused_in_a_sentence(tmp_path):
    pytest.importorskip("ipykernel")
    place = ("kernel", "install", "--prefix", str(tmp_path))
    for words, message in (
        (("--name", "a b"), "A kernel's name is of a-z, 0-9, '-', '_' and, not in front, '.'; got 'a b'."),
        (("--threads", "0"), "A kernel needs at least one thread; got 0."),
        (("--user",), f"A kernel goes to the user's folder or to a prefix; got --user and --prefix {tmp_path}."),
    ):
        refused = call(*place, *words)
        assert refused.exit_code == 2
        assert refused.stderr.strip() == message
    assert list(tmp_path.iterdir()) == []
    folder = tmp_path / "share" / "jupyter" / "kernels" / "lattice-flowkit"
    folder.mkdir(parents=True)
    for argv, starts in (([], "nothing"), (["other-python"], "other-python")):
        (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "y"}))
        refused = call(*place)
        assert refused.exit_code == 2
        assert f"starts {starts}. Choose another --name" in refused.stderr
        assert kernel_json(tmp_path)["argv"] == argv


def test_version_and_help():
    assert call("--version").stdout == f"flowkit {flowkit.__version__}\n"
    for command in ("run", "resume", "report", "compare", "lab", "kernel", "reproduce"):
        assert call(command, "--help").exit_code == 0


def test_reproduce_lists_every_figure():
    shown = call("reproduce").stdout
    listed = json.loads(call("reproduce", "--json").stdout)["figures"]
    assert [f["name"] for f in listed] == list(FIGURES)
    assert max(map(len, shown.splitlines())) <= 100
    assert re.match(r"name +run time on two cores\n", shown)
    whole = " ".join(shown.split())  # titles are wrapped
    for figure in FIGURES.values():
        assert re.search(rf"^{figure.name} +about {figure.about_seconds} s$", shown, re.MULTILINE)
        assert f"{figure.title} published: {figure.published} ({figure.citation})" in whole


def test_an_unknown_key_is_answered_by_the_list_that_help_speaks_of(fake):
    for arguments, keys in (
        (("reproduce", "study"), "seed, scale, name, on, sides"),
        (("run", "u1"), "theory.action, theory.group, theory.lattice, theory.beta, flow.model, flow.bins"),
    ):
        words = re.sub(r"[^\w=.,-]+", " ", call(arguments[0], "--help").stdout)  # without the frame, which wraps them
        assert "An unknown KEY, as in --set keys=, is answered by the list of all." in words
        refused = call(*arguments, "--set", "keys=")
        assert refused.exit_code == 2
        assert re.search(rf"has the (settings|keys) .*{re.escape(keys)}.*; got 'keys'\.", refused.stderr)


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_study_has_quick_and_defaults(name):
    """A listed figure can be run: its study exists and every setting has a default of a plain type."""
    function = FIGURES[name].function()
    assert "quick" in inspect.signature(function).parameters
    for key, default in FIGURES[name].defaults().items():
        assert isinstance(default, (bool, int, float, str, tuple)), key


def test_json_is_one_object(fake):
    result = call(
        "reproduce", "study", "--json", "--quick", "--set", "seed=7", "--set", "on=true", "--set", "sides=8,12"
    )
    assert result.exit_code == 0
    record = json.loads(result.stdout)  # the study's own printing went to stderr
    assert "progress of the study" in result.stderr
    assert record["name"] == "study"
    assert record["quick"] is True
    assert record["flowkit"] == flowkit.__version__
    assert record["seconds"] >= 0
    assert record["machine"]["cores"] >= 1
    assert record["settings"] == {"seed": 7, "scale": 0.5, "name": "a", "on": True, "sides": [8, 12]}
    assert record["rows"][0] == {
        "label": "reached",
        "value": 0.5,
        "error": 0.0123,
        "goal": ">= 0.5",
        "published": 0.4,
        "reached": True,
    }
    assert record["rows"][1]["value"] == "7 a True (8, 12)"


def test_report_says_all(fake):
    shown = call("reproduce", "study").stdout
    for words in ("Title of study", "1.000 ± 0.012", ">= 0.5", "0.4", "yes", "A. Author", "torch"):
        assert words in shown
    assert re.search(r"\d\.\d s on ", shown)
    assert "quick run" not in shown
    assert "A quick run: half. It proves nothing." in call("reproduce", "study", "--quick").stdout


def test_strict_turns_a_missed_goal_into_a_status(fake):
    assert call("reproduce", "failing").exit_code == 0
    assert call("reproduce", "failing", "--strict").exit_code == 1
    assert call("reproduce", "study", "--strict").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["stud"], "The figures are study, failing, not-finite, interrupted; got 'stud'. Did you mean study?"),
        (["study", "--set", "sead=1"], "seed, scale, name, on, sides; got 'sead'. Did you mean seed?"),
        (["study", "--set", "quick=1"], "study has the settings seed, scale, name, on, sides; got 'quick'."),
        (["study", "--set", "seed=one"], "study takes seed as int; got 'one'."),
        (["study", "--set", "on=perhaps"], "study takes on as bool; got 'perhaps'."),
        (["study", "--set", "sides=4,x"], "study takes sides as list of int, such as 1,2; got '4,x'."),
        (["study", "--set", "seed"], "--set takes KEY=VALUE; got 'seed'."),
        (["study", "--set", "seed=1", "--set", "seed=2"], "--set gives seed twice."),
        (["study", "--out", "no/such/folder.json"], "a file in a folder that exists; got no/such/folder.json."),
        (["not-finite"], f"{__name__}:not_finite must return rows of a figure; in"),
    ],
)  # fmt: skip
def test_reproduce_refuses_in_a_sentence(fake, arguments, sentence):
    result = call("reproduce", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stdout == ""


def test_python_callers_are_refused_too():
    with pytest.raises(ValueError, match="the settings seed, scale, name, on, sides; got 'sead'"):
        Figure("study", "", f"{__name__}:study", "", "", 1, "").run(sead=1)


def test_out_writes_the_record_or_leaves_the_old_file(fake, tmp_path, monkeypatch):
    file = tmp_path / "record.json"
    assert call("reproduce", "study", "--out", str(file)).exit_code == 0
    before = file.read_text()
    assert json.loads(before)["name"] == "study"

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reproduce.os, "fsync", full)
    result = call("reproduce", "study", "--quick", "--out", str(file))
    assert result.exit_code == 1
    assert "No space left on device. The record is printed above." in result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["quick"] is True
    assert file.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_interrupt_says_what_is_saved(fake):
    result = call("reproduce", "interrupted")
    assert result.exit_code == 130
    assert re.search(r"Stopped after \d+ s. Nothing of interrupted was saved.", result.stderr)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.697774, 0.00123, "0.6978 ± 0.0012"),
        (12.0, 3.0, "12.0 ± 3.0"),
        (1234.0, 20.0, "1234 ± 20"),
        (0.5, None, "0.5"),
        (0.5, 0.0, "0.5"),
        ("yes", None, "yes"),
    ],
)
def test_value_and_error(value, error, text):
    assert plus_minus(value, error) == text


@pytest.fixture
def jupyter(monkeypatch):
    """JupyterLab that only records how it was called."""
    labapp = pytest.importorskip("jupyterlab.labapp")
    calls: list[list[str]] = []
    monkeypatch.setattr(labapp, "main", calls.append)
    return calls


def outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "installed"
    (source / "data").mkdir(parents=True)
    (source / "00.ipynb").write_text("zero")
    (source / "data" / "weights.json").write_text("{}")
    monkeypatch.setattr(lessons, "__file__", str(tmp_path / "package" / "tasks" / "lessons.py"))
    (tmp_path / "package").mkdir()
    source.rename(tmp_path / "package" / "_notebooks")


def test_lab_copies_and_never_overwrites(jupyter, tmp_path, monkeypatch):
    outside(tmp_path, monkeypatch)
    assert call("lab").exit_code == 0
    folder = tmp_path / "flowkit-notebooks"
    assert (folder / "00.ipynb").read_text() == "zero"
    assert (folder / "data" / "weights.json").read_text() == "{}"
    (folder / "00.ipynb").write_text("mine")
    (folder / "data" / "weights.json").unlink()
    result = call("lab")
    assert "Kept your 00.ipynb" in result.stdout
    assert (folder / "00.ipynb").read_text() == "mine"
    assert (folder / "data" / "weights.json").exists()
    assert jupyter[0] == ["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}"]
    assert not any("token" in word or "password" in word for words in jupyter for word in words)


def test_lab_passes_options_on(jupyter, tmp_path, monkeypatch):
    outside(tmp_path, monkeypatch)
    assert call("lab", "elsewhere", "--no-browser").exit_code == 0
    assert (tmp_path / "elsewhere" / "00.ipynb").exists()
    assert jupyter[0][-1] == "--no-browser"
    assert call("lab", "--no-browser").exit_code == 0
    assert jupyter[1][1:] == [f"--ServerApp.root_dir={tmp_path / 'flowkit-notebooks'}", "--no-browser"]


def test_lab_opens_a_checkout_in_place(jupyter, monkeypatch):
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    assert call("lab").exit_code == 0
    assert jupyter[0][1] == f"--ServerApp.root_dir={root / 'notebooks'}"


def test_lab_finds_the_notebooks_of_this_installation(jupyter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("lab").exit_code == 0
    shipped = {p.name for p in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb")}
    assert {p.name for p in (tmp_path / "flowkit-notebooks").glob("*.ipynb")} == shipped


def test_lab_without_notebooks_or_jupyterlab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lessons, "__file__", str(tmp_path / "package" / "tasks" / "lessons.py"))
    result = call("lab")
    assert result.exit_code == 2
    assert "The notebooks are missing from this installation" in result.stderr
    monkeypatch.setitem(__import__("sys").modules, "jupyterlab.labapp", None)
    result = call("lab")
    assert result.exit_code == 2
    assert "flowkit lab needs JupyterLab" in result.stderr
    assert "pip install 'lattice-flowkit[lab]'" in result.stderr


def test_figures_are_cited_and_named_well():
    for name, figure in FIGURES.items():
        assert name == figure.name == name.lower()
        assert figure.citation
        assert figure.quick
        assert figure.about_seconds > 0
    assert reproduce.find("u1-8x8") is FIGURES["u1-8x8"]


TINY = [f"--set={text}" for text in ("lattice=4,4", "steps=4", "batch=8", "chains=2", "n=200")]


@pytest.mark.parametrize("theory", ["u1", "phi4"])
def test_run_ends_with_a_table_and_is_not_repeated(tmp_path, theory):
    folder = tmp_path / "run"
    first = call("run", theory, "--quick", f"--out={folder}", *TINY)
    assert first.exit_code == 0, first.output
    for words in (
        "value",
        "tau_int",
        "exact",
        "acceptance",
        "ESS",
        "200 stored steps x 2 chains",
        str(folder),
        "A quick run, with the changes of the table quick. It proves nothing.",
    ):
        assert words in first.stdout
    data = {"recipe.toml", "run.json", "checkpoint", "history.csv", "ensemble.zarr", "result.json"}
    assert {p.name for p in folder.iterdir()} - {"run.lock"} == data | {"report.html"}
    again = call("run", theory, "--quick", f"--out={folder}", *TINY)
    assert again.exit_code == 0, again.output
    start = first.stdout.index("tau_int")
    assert again.stdout.endswith(first.stdout[start:])


def test_run_stopped_and_continued_equals_the_unbroken_one(tmp_path, monkeypatch):
    from flowkit.train import Trainer

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert call("run", "u1", f"--out={whole}", *TINY).exit_code == 0
    one_step = Trainer._one

    def stop_after_two(self):
        one_step(self)
        if self.step == 2:
            self.stop()

    monkeypatch.setattr(Trainer, "_one", stop_after_two)
    stopped = call("run", "u1", f"--out={broken}", *TINY)
    assert stopped.exit_code == 130
    assert "Stopped at step 2 of 4, saved in" in stopped.stdout
    monkeypatch.setattr(Trainer, "_one", one_step)
    continued = call("run", "u1", f"--out={broken}", *TINY)
    assert continued.exit_code == 0, continued.output
    assert "Continues at step 2 of 4." in continued.stdout
    one, two = (flowkit.Ensemble.load(folder / "ensemble.zarr").x for folder in (whole, broken))
    assert one is not None
    assert two is not None
    assert one.equal(two)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "betta=2"], "outputs.report, quick; got 'betta'. Did you mean theory.beta?"),
        (["--set", "steps=many"], "u1: training.steps is a whole number >= 0; got 'many'."),
        (["--set", "training.steps=-1"], "u1: training.steps is a whole number >= 0; got -1."),
        (["--set", "beta=nan"], "u1: theory.beta is a finite number >= 0; got nan."),
        (["--set", "beta=-1"], "u1: theory.beta is a finite number >= 0; got -1."),
        (["--set", "lattice=1,6"], "1x6"),
        (["--set", "lattice=4,4,4"], "charge_squared cannot be measured on Links U1 on 4x4x4: The clover charge"),
        (["--set", "lattice=4,x"], "u1: theory.lattice is a sequence, each a whole number >= 1; got '4,x'."),
        (["--device", "cuda"], "The device cuda was asked for; torch finds no CUDA GPU on this machine."),
    ],
)
def test_run_refuses_in_a_sentence_and_writes_nothing(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = call("run", "u1", f"--out={tmp_path / 'run'}", *arguments)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert not list(tmp_path.iterdir())


def test_run_keeps_to_its_own_folder(tmp_path):
    folder = tmp_path / "run"
    assert call("run", "u1", f"--out={folder}", *TINY).exit_code == 0
    other = call("run", "u1", f"--out={folder}", "--seed=2", *TINY)
    assert other.exit_code == 2
    assert (
        f"{folder} holds a run with other settings (seed 1 there, 2 here); --out names another folder" in other.stderr
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    taken = call("run", "u1", f"--out={tmp_path / 'mine'}", *TINY)
    assert taken.exit_code == 2
    assert "holds other files; --out names a folder for this run alone." in taken.stderr
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("there", "asked", "given"), [(True, "auto", "cuda"), (False, "auto", "cpu"), (True, "cpu", "cpu")]
)
def test_device_auto_takes_a_gpu_where_there_is_one(monkeypatch, there, asked, given):
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert pick_device(asked).type == given


def test_unknown_device():
    with pytest.raises(ValueError, match="A device is auto, cpu or cuda; got 'tpu'"):
        pick_device("tpu")

"""Every notebook runs at quick size, prints what it has stored, asserts physics, and keeps the shape of a lesson.

After a change, `python tests/test_notebooks.py notebooks/NAME.ipynb ...` runs notebooks at quick size and stores the
outputs.
"""

import ast
import os
import re
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PACKAGE = Path(find_spec("flowkit").origin).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
CELLS, LINES, SECONDS = 25, 12, 240
# One thread and no compiler: short runs, the same on every machine.
QUICK = {"FLOWKIT_QUICK": "1", "FLOWKIT_COMPILE": "0", "OMP_NUM_THREADS": "1"}

lab = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("nbval", "anywidget", "matplotlib")),
    reason="notebooks need nbval and the extra lab",
)


def environment():
    """The kernels import the very flowkit that is under test, installed or not; nbval finds its plugin."""
    path = os.pathsep.join([str(PACKAGE.parent), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **QUICK, "PYTHONPATH": path}


def read(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    return book, [cell for cell in book.cells if cell.cell_type == "code"]


def named(path):
    return path.stem


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"00_start", "01_phi4", "02_u1"}


@lab
@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_runs_and_prints_what_it_has_stored(path):
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=120"]
    options += ["-q", "-x", "-p", "no:cacheprovider", "-p", "nbval_stderr"]
    options += [f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval.cfg'}"]
    command = [sys.executable, "-m", "pytest", *options, str(path)]
    start = time.monotonic()
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=SECONDS)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    cells = len(read(path)[1])
    assert re.search(rf"\b{cells} passed", run.stdout), f"every cell counts: {run.stdout[-500:]}"
    for said in re.findall(r"stderr of Cell .*", run.stdout):
        assert not re.search(r"Traceback|\w+(?:Deprecation|Future)Warning", said), said
        warnings.warn(f"{path.name}, {said}", stacklevel=1)
    print(f"{path.name}: {time.monotonic() - start:.0f} s")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_is_a_lesson(path):
    book, code = read(path)
    prose = [cell for cell in book.cells if cell.cell_type == "markdown"]
    assert len(book.cells) <= CELLS
    for cell in book.cells:
        assert len(cell.source.splitlines()) <= LINES, f"{LINES} lines a cell: {cell.source[:200]}"
    assert book.cells[0].source.startswith("# "), "a notebook opens with its title"
    assert "The question." in book.cells[0].source
    words, tokens = (sum(len(re.findall(r"\w+", cell.source)) for cell in part) for part in (prose, code))
    assert words >= 0.7 * tokens, f"as much prose as code; got {words} words and {tokens} names"
    assert 'os.environ.get("FLOWKIT_QUICK")' in code[0].source, "the first cell sets the size"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_ends_with_physics_and_a_picture(path):
    last = read(path)[1][-1]
    tree = ast.parse(last.source)
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 2
    assert "sigmas" in last.source, "a mean is compared in its own errors"
    assert ast.unparse(tree.body[-1]) == "panel.snapshot()"
    assert any("image/png" in output.get("data", {}) for output in last.outputs), "the picture is stored"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_stored_outputs_show_without_a_kernel(path):
    book, code = read(path)
    assert "widgets" not in book.metadata
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", output.text
            assert WIDGET not in output.get("data", {}), "a stored widget shows as an error once its kernel is gone"
            text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            assert not re.search(r" at 0x[0-9a-f]+", text), f"not the same in two runs: {text}"
    assert not re.search(r"(?<![\w.:/])/(?:home|root|tmp|usr|Users|opt)/", nbformat.writes(book))
    assert path.stat().st_size < 600_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_axes_have_units(path):
    for cell in read(path)[1]:
        for label in re.findall(r"[xy]label\s*=\s*f?\"([^\"]*)\"", cell.source):
            assert "dimensionless" not in label, f"{label!r}: a number without a unit needs no word for it"
            for word, unit in (("time", "steps"), ("angle", "radians")):
                assert word not in label or label.endswith(f"({unit})"), f"{label!r} lacks its unit"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_links_between_notebooks_lead_somewhere(path):
    for cell in read(path)[0].cells:
        for target in re.findall(r"\]\(([\w./-]+\.ipynb)\)", cell.source):
            assert (path.parent / target).is_file(), target


def store(path):
    """Run a notebook at quick size and store its outputs, without widgets."""
    from nbclient import NotebookClient

    os.environ.update(environment())
    book, code = read(path)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(book, timeout=120, kernel_name="python3", store_widget_state=False, resources=where).execute()
    for cell in code:
        cell.metadata.pop("execution", None)  # times of day
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)
    book.metadata = {"kernelspec": book.metadata.kernelspec, "language_info": {"name": "python"}}
    nbformat.write(book, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        store(Path(name).resolve())

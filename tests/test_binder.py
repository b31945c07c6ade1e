"""Binder: its files say what the project needs, and the first notebook fits a public Binder's 1 GB."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
PACKAGE = Path(find_spec("flowkit").origin).parent
MEGABYTES, SECONDS = 700, 60
# Runs a notebook in a kernel and prints what the kernel used: it is the largest process that was waited for.
MEASURE = """import json, resource, sys, time, nbformat
from nbclient import NotebookClient
start, path = time.monotonic(), sys.argv[1]
NotebookClient(nbformat.read(path, as_version=4), timeout=300, kernel_name="python3").execute()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, time.monotonic() - start]))
"""


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_environment_has_the_cpu_build_of_a_torch_that_the_project_accepts():
    text = (BINDER / "environment.yml").read_text(encoding="utf-8")
    (needed,) = [one for one in project()["dependencies"] if one.startswith("torch")]
    assert f"pytorch-cpu{needed.removeprefix('torch')}" in text
    assert re.search(r"channels:\n  - conda-forge\n  - nodefaults\n", text)
    (python,) = re.findall(r"- python=(\d+\.\d+)", text)
    assert tuple(map(int, python.split("."))) >= (3, 11)


def test_the_scripts_are_executable_shell():
    for name, line in (("postBuild", 'pip install --no-cache-dir ".[lab]"'), ("start", 'exec "$@"')):
        script = BINDER / name
        assert os.access(script, os.X_OK), f"{name} is not executable."
        assert line in script.read_text(encoding="utf-8")
        if shutil.which("bash"):
            subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize(
    "size", [pytest.param({"FLOWKIT_QUICK": "1"}, id="quick"), pytest.param({}, id="full", marks=pytest.mark.slow)]
)
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
def test_the_first_notebook_is_small_and_short(size):
    if any(find_spec(name) is None for name in ("nbclient", "anywidget", "matplotlib")):
        pytest.skip("notebooks need the extras lab and test")
    environment = {name: value for name, value in os.environ.items() if name != "FLOWKIT_QUICK"}
    environment |= {"OMP_NUM_THREADS": "1", **size}  # as binder/start has it
    environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", MEASURE, str(ROOT / "notebooks/00_start.ipynb")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stderr[-2000:]
    megabytes, cpu, wall = json.loads(run.stdout.splitlines()[-1])
    print(f"notebook 00: {megabytes:.0f} MB, {cpu:.1f} s of one core, {wall:.1f} s by the clock")
    assert megabytes < MEGABYTES
    assert cpu < SECONDS  # the clock of a busy machine says less

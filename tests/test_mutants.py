"""The suite's teeth: each mutant of the physics code, one small change to one file, makes a test of its selection fail.

`python tests/test_mutants.py WORDS` runs those whose file or text holds one of the words, and prints what came.
"""

import ast
import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from mutants import MUTANTS

ROOT = Path(__file__).parent.parent
KILLED = 0.95
SECONDS = 300
PASSED, BROKEN, NOTHING = 0, 3, 5  # exit codes of pytest; 3 is an error of its own
HEAVY = ["torch", "scipy.stats", "pytest", "hypothesis", "pyerrors", "plotly.graph_objects", "ipywidgets"]

Mutant = tuple[str, str, str, str]


def begin(root: Path) -> None:
    """A copy of the package and its tests."""
    for name in ("flowkit", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copy2(ROOT / "pyproject.toml", root)


def call_pytest(root: str, arguments: list[str]) -> None:
    """In a process of its own, which has imported nothing of the package so far."""
    os.chdir(root)
    sys.path[:] = [root, *(entry for entry in sys.path if entry and Path(entry) not in (ROOT, ROOT / "tests"))]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # of other packages, which take seconds to import
    torch.set_num_threads(1)
    with Path("log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        code = int(pytest.main(["-q", "-p", "no:cacheprovider", *arguments]))
    os._exit(code)


def outcome(root: Path, arguments: list[str], seconds: float = SECONDS) -> int | None:
    """Exit code of pytest, None where it did not end in time. Heavy libraries are imported once, and forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    process = context.Process(target=call_pytest, args=(str(root), arguments))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def selected(tests: str) -> list[str]:
    return [f"tests/test_{name}" for name in tests.split()]


def write(file: Path, text: str) -> None:
    """The text of a module, and no stale bytecode of it."""
    file.write_text(text, encoding="utf-8")
    for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        stale.unlink()


def misfit(mutant: Mutant) -> str:
    """What is wrong with an entry of the list, or nothing."""
    file, old, new, tests = mutant
    path, change = ROOT / "flowkit" / file, f"{old!r} -> {new!r}"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(old) != 1:
        return f"{file} holds the text of a mutant {text.count(old)} times, not once: {change}."
    try:
        ast.parse(text.replace(old, new))  # or every test would fail, and prove nothing
    except SyntaxError as error:
        return f"{file}, {change} is no Python: {error}."
    names = [name.partition("::") for name in tests.split()]
    sources = {name: (ROOT / "tests" / f"test_{name}").read_text(encoding="utf-8") for name, *_ in names}
    gone = [
        f"{name}::{test}" for name, _, test in names if test and f"def {test.partition('[')[0]}(" not in sources[name]
    ]
    return f"{file}, {change} names tests that do not exist: {', '.join(gone)}." if gone else ""


def survives(root: Path, mutant: Mutant) -> bool:
    """Whether the tests pass all the same."""
    file, old, new, tests = mutant
    path = root / "flowkit" / file
    text = path.read_text(encoding="utf-8")
    write(path, text.replace(old, new))
    try:
        code = outcome(root, ["-x", *selected(tests)])
    finally:
        write(path, text)
    assert code not in (BROKEN, NOTHING), f"No test of {file}, {old!r} -> {new!r} was run: {tests}."
    return code == PASSED


def survivors(root: Path, mutants: Sequence[Mutant]) -> list[str]:
    """The mutants that are left, each as one line."""
    begin(root)
    every = sorted({test for *_, tests in mutants for test in selected(tests)})
    code = outcome(root, every, 10 * SECONDS)
    assert code == PASSED, f"Without a mutant the tests end with {code}: {(root / 'log').read_text()[-3000:]}"
    left = []
    for mutant in mutants:
        start, (file, old, new, _) = time.monotonic(), mutant
        alive = survives(root, mutant)
        line = f"{file}: {old!r} -> {new!r}"
        print(f"{'SURVIVES' if alive else 'killed'} {time.monotonic() - start:5.1f} s  {line}", flush=True)
        left += [line] * alive
    print(f"{len(mutants) - len(left)} of {len(mutants)} mutants are killed.", flush=True)
    return left


def test_the_list_fits_the_package():
    wrong = [sentence for mutant in MUTANTS if (sentence := misfit(mutant))]
    assert not wrong, "The list of mutants does not fit the package:\n" + "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_mutants_are_killed(tmp_path):
    left = survivors(tmp_path, MUTANTS)
    share = 1 - len(left) / len(MUTANTS)
    assert share >= KILLED, f"{100 * share:.1f} % of the mutants are killed; {len(left)} survive:\n" + "\n".join(left)


if __name__ == "__main__":
    words = sys.argv[1:] or [""]
    with tempfile.TemporaryDirectory() as folder:
        survivors(Path(folder), [m for m in MUTANTS if any(word in part for word in words for part in m[:3])])

"""A cell of a notebook that is run again says that what it began before still goes on, and how to end that."""

import subprocess
import sys

import pytest

import flowkit as fk
from flowkit.tasks import background, running

ACTION = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
AGAIN = r"A (run|trainer) that this cell has begun before still goes on beside the new one; it is running at"


def run():
    return fk.start(fk.Heatbath(ACTION), 10**6, chains=2, keep=False, rng=1)


def train():
    flow = fk.gauge_flow(ACTION.space)
    return fk.Trainer(flow, ACTION, batch=4).start(10**6)


@pytest.fixture
def cell(monkeypatch):
    now = [("a", 1)]
    monkeypatch.setattr(background, "_cell", lambda: now[0])
    yield lambda name, count: now.__setitem__(0, (name, count))
    for work in running():
        work.stop()
        work.wait(30)


@pytest.mark.parametrize("begin", [run, train])
def test_a_cell_that_is_run_again_is_told_and_can_stop_its_first_run(cell, begin):
    first = begin()
    cell("a", 2)
    with pytest.warns(RuntimeWarning, match=AGAIN + r".*fk\.tasks\.running\(\)\[0\]\.stop\(\) ends it"):
        second = begin()
    assert running() == [first, second]
    running()[0].stop()
    assert first.wait(30).status == "stopped"
    assert running() == [second]


@pytest.mark.filterwarnings("error")
def test_runs_of_one_cell_and_of_several_go_on_side_by_side_without_a_word(cell):
    first = run(), run()
    cell("b", 2)
    second = run()
    assert running() == [*first, second]
    second.stop()
    second.wait(30)
    cell("b", 3)
    assert run().status == "running"


@pytest.mark.filterwarnings("error")
def test_outside_of_a_notebook_nothing_is_said():
    assert background._cell() is None
    jobs = [run() for _ in range(2)]
    for job in jobs:
        job.stop()
        assert job.wait(30).status == "stopped"


NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def cell(text):
    shell.run_cell(text, store_history=True)
cell("import flowkit as fk; action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)")
for _ in range(2):
    cell("job = fk.start(fk.Heatbath(action), 10**6, keep=False)")
cell("print([work.stop() for work in fk.tasks.running()])")
"""


def test_ipython_shows_it():
    pytest.importorskip("IPython")
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, timeout=120)
    assert done.stderr.count("that this cell has begun before still goes on") == 1
    assert "[None, None]" in done.stdout

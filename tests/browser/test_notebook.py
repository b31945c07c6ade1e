"""A notebook of the course in a real JupyterLab: Run All, and the panel is live while the cells below it run."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# A notebook, and the number of training steps at full size: long enough to be seen while it goes on.
NAME, STEPS = "00_start.ipynb", 1_000


@pytest.fixture
def notebook(lab, open_notebook):
    """The notebook as a reader opens it, but for its stored outputs, so that all that shows is new."""
    book = nbformat.read(NOTEBOOKS / NAME, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(book, lab.notebooks / NAME)
    return open_notebook(NAME)


def test_run_all_trains_live_and_ends_with_physics(lab, notebook, screenshots):
    notebook.run_all()
    notebook.wait_for("d.state === 'running' && +d.rows > 20", seconds=90)
    seen = int(notebook.data("rows"))
    notebook.wait_for(f"+d.rows > {seen}")
    notebook.page.locator(".fk-live").screenshot(path=screenshots / "notebook_training.png")

    notebook.wait_ran(180)
    notebook.wait_for(f"d.state === 'finished' && +d.n === {STEPS}")
    notebook.kernel_reaches("[trainer.status, trainer.total]", ["finished", STEPS])

    # Run All stops at the first cell that fails: the last one, which asserts, has run and shows its picture.
    notebook.command("docmanager:save")
    book = nbformat.read(lab.notebooks / NAME, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [output for cell in code for output in cell.outputs if output.output_type == "error"] == []
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "assert" in code[-1].source
    assert "image/png" in code[-1].outputs[-1].data
    notebook.page.locator(".jp-CodeCell").last.scroll_into_view_if_needed()
    notebook.page.locator(".jp-CodeCell .jp-OutputArea img").last.wait_for()
    notebook.page.screenshot(path=screenshots / "notebook_end.png")

"""The notebooks as pages, and the recording of their full-size runs.

`python docs/lessons.py NAME ...` runs notebooks/NAME.ipynb at full size and stores it in docs/records/NAME.ipynb. A
page shows that run while the notebook's code is still the same, and the quick run that the notebook stores otherwise;
it says which.
"""

import os
import re
import sys
import time
from pathlib import Path

import nbformat

DOCS = Path(__file__).parent
NOTEBOOKS = DOCS.parent / "notebooks"
PAGES = DOCS / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def code(book: nbformat.NotebookNode) -> list[str]:
    """The sources of the cells that run."""
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def page(path: Path) -> nbformat.NotebookNode:
    """One notebook as it is shown, with a line under its title that says which run it shows."""
    book = nbformat.read(path, as_version=4)
    record = DOCS / "records" / path.name
    said = "Shown is its run at quick size, as stored in the notebook: it shows that the code works and proves nothing."
    if record.exists():
        full = nbformat.read(record, as_version=4)
        if code(full) == code(book):
            outputs = iter([cell.outputs for cell in full.cells if cell.cell_type == "code"])
            for cell in book.cells:
                if cell.cell_type == "code":
                    cell.outputs = next(outputs)
            said = f"Shown is its run at full size: {full.metadata['flowkit']}."
    # The same id each time, or the page would be written anew at every build.
    note = nbformat.v4.new_markdown_cell(f"*`flowkit lab` opens this notebook. {said}*", id="which-run")
    book.cells.insert(1, note)
    return book


def index(paths: list[Path]) -> str:
    """The page that lists the notebooks: what each asks, what it needs, how long it takes, from their first cells."""
    lines = [
        "# The notebooks",
        "",
        "A course with one question a notebook; `flowkit lab` opens them. In CI all run at quick size.",
        "",
        "| notebook | its question | you need | time |",
        "|---|---|---|---|",
    ]
    for path in paths:
        first = nbformat.read(path, as_version=4).cells[0].source
        parts = [
            re.search(p, first, re.DOTALL)
            for p in (r"question\.\*\* (.+?)\n", r"You need: (.+?)\. Time", r"Time: (.+)")
        ]
        question, need, hours = (part[1].replace("|", "\\|").strip() if part else "" for part in parts)
        question, need = (re.sub(r"\]\((\w+)\.ipynb\)", r"](notebooks/\1.ipynb)", text) for text in (question, need))
        lines.append(f"| [{path.stem}](notebooks/{path.name}) | {question} | {need} | {hours} |")
    names = [f"notebooks/{path.stem}" for path in paths]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *names, "```", ""])


def write() -> None:
    """Write docs/lessons.md and docs/notebooks/, where something would change."""
    PAGES.mkdir(exist_ok=True)
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    for old in set(PAGES.glob("*.ipynb")) - {PAGES / path.name for path in paths}:
        old.unlink()
    texts = {PAGES / path.name: nbformat.writes(page(path)) for path in paths}
    for place, text in {DOCS / "lessons.md": index(paths), **texts}.items():
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")


def record(name: str) -> None:
    """Run a notebook at full size and store what it shows, without widgets, which need a kernel."""
    from nbclient import NotebookClient

    from flowkit.tasks.machine import describe

    os.environ.pop("FLOWKIT_QUICK", None)
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    start = time.perf_counter()
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(book, timeout=3600, kernel_name="python3", store_widget_state=False, resources=where).execute()
    seconds = time.perf_counter() - start
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # times of day
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
    book.metadata = {
        "kernelspec": book.metadata.kernelspec,
        "language_info": {"name": "python"},
        "flowkit": f"{seconds:.0f} s on {describe()}",
    }
    nbformat.write(book, DOCS / "records" / f"{name}.ipynb")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        record(Path(name).stem)

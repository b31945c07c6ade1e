"""Writes figures.md from the recorded runs in docs/records: no number on that page is typed.

To record a run: flowkit reproduce NAME --out docs/records/NAME.json
"""

import ast
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from charts import TEXTS
from pydantic import ValidationError

import flowkit
from flowkit.studies.figure import Figure, Record
from flowkit.studies.figures import FIGURES

DOCS = Path(__file__).parent
PACKAGE = Path(flowkit.__file__).parent
SHOWN = 4
"""Rooms that a mark names."""
HEAD = """# Figures

Every figure that this project claims, as `flowkit reproduce NAME` printed it. `flowkit reproduce` lists them all.
This page is generated from the records of those runs, each with its commit and date. A record that is older than the
code it exercises, the study and the rooms that it imports, is marked: its numbers are those of the older code.
"""


def read(path: Path) -> Record:
    """The record of a full run.

    Raises
    ------
    ValueError
        Where the file is none, names another figure, records a quick run, or has no commit and date.
    """
    try:
        record = Record.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ValueError(f"{path} is no record of flowkit reproduce: {error}") from error
    if record.name != path.stem or record.name not in FIGURES:
        raise ValueError(f"{path} records the figure {record.name!r}; a record is called NAME.json after its figure.")
    if record.quick:
        raise ValueError(f"{path} records a quick run, which proves nothing; this page shows full runs alone.")
    if record.commit is None or record.date is None:
        raise ValueError(f"{path} says on which commit and date it ran nowhere; run it again in a checkout.")
    return record


def git(*arguments: str) -> str | None:
    """What git answers in this checkout, or None without git or without the commit that was asked for."""
    command = ["git", "-C", str(DOCS), *arguments]
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def exercised(figure: Figure) -> list[str]:
    """The code behind a figure: its study, the studies that this one imports, and the rooms that they import.

    Paths below the package's folder; kernels are among them, which every room computes with.
    """
    found, waiting = {"kernels"}, [figure.study.partition(":")[0]]
    while waiting:
        path = waiting.pop().removeprefix("flowkit.").replace(".", "/") + ".py"
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"flowkit.{name}" for name in names] if node.module == "flowkit" else [node.module or ""]
            if "flowkit" in names:  # a study that uses the table of contents may use all of it
                return ["."]
            rooms = [name.split(".") for name in names if name.startswith("flowkit.")]
            waiting += [".".join(room) for room in rooms if room[1] == "studies"]
            found |= {
                room[1] if (PACKAGE / room[1]).is_dir() else f"{room[1]}.py" for room in rooms if room[1] != "studies"
            }
    return sorted(found)


def mark(figure: Figure, record: Record) -> str:
    """What has changed since a run in the code that it exercises; "" where nothing has, or no git history tells."""
    commit = (record.commit or "").removesuffix("-dirty")
    if git("cat-file", "-e", f"{commit}^{{commit}}") is None:  # of a branch that is gone: when the record came in
        commit = git("log", "-1", "--format=%H", "--", f"records/{record.name}.json") or ""
    paths = [f"../flowkit/{path}" for path in exercised(figure)]
    changes = git("log", "--format=tformat:/", "--name-only", f"{commit}..HEAD", "--", *paths) if commit else None
    if not changes:
        return ""
    files = [set(filter(None, one.splitlines())) for one in changes.split("/\n")[1:]]
    rooms = Counter(room for one in files for room in {_room(path) for path in one})
    first = [f"{cell(room)} ({count})" for room, count in rooms.most_common(SHOWN)]
    more = f" and {len(rooms) - SHOWN} more" if len(rooms) > SHOWN else ""
    return f"**Older than the code it exercises**: {len(files)} commits since have changed {', '.join(first)}{more}."


def _room(path: str) -> str:
    """The room of a file of the package; a study by its own name."""
    _, room, *inside = path.split("/")
    return "/".join([room, *inside]) if room == "studies" else room


def cell(value: object) -> str:
    """Text that is safe inside a Markdown table."""
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    for character in "\\|`*_<>[]$":
        text = text.replace(character, f"\\{character}")
    return text


def section(figure: Figure, record: Record | None) -> str:
    """One figure as Markdown."""
    lines = [
        f"## {figure.name}",
        "",
        f"{cell(figure.title)}. Published: {cell(figure.published)} ({cell(figure.citation)}).",
        "",
    ]
    if record is None:
        return "\n".join([*lines, f"No run is recorded yet; `flowkit reproduce {figure.name}` makes one.", ""])
    if older := mark(figure, record):
        lines += [older, ""]
    lines += ["| | value | goal | published | reached |", "|---|---|---|---|---|"]
    reached = {True: "yes", False: "no", None: ""}
    for row in record.rows:
        cells = (row.label, row.text, row.goal, row.published, reached[row.reached])
        lines.append("| " + " | ".join(map(cell, cells)) + " |")
    settings = ", ".join(f"{key} = {value}" for key, value in record.settings.items())
    lines += [
        "",
        f"{record.seconds:.1f} s on {cell(str(record.machine))}; flowkit {record.flowkit}. {cell(settings)}."
        f" Recorded on {record.date} at commit {(record.commit or '')[:10]}.",
        "",
    ]
    return "\n".join(lines)


def summary(records: Mapping[str, Record]) -> list[str]:
    """A line for each figure: what, how many goals are reached, when; with a link to its part of the page."""
    lines = ["## All figures", "", "| figure | what | goals | reached | date |", "|---|---|---|---|---|"]
    for name, figure in FIGURES.items():
        record = records.get(name)
        goals = [row.reached for row in record.rows if row.reached is not None] if record else []
        date = (record.date or "").replace("-", "\N{NON-BREAKING HYPHEN}") if record else ""
        numbers = (len(goals), sum(goals), date) if record else ("", "", "not yet recorded")
        lines.append(f"| [{name}](#{name}) | {cell(figure.title)} | {' | '.join(map(str, numbers))} |")
    return [*lines, ""]


def drawn() -> list[str]:
    """The charts, each with what it shows."""
    return [line for name, text in TEXTS.items() for line in (f"![{name}](_static/charts/{name}.svg)", "", text, "")]


def page(folder: Path) -> str:
    """The page of all figures, with the records of that folder."""
    records = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    parts = (section(figure, records.get(name)) for name, figure in FIGURES.items())
    return "\n".join([HEAD, *drawn(), *summary(records), *parts])


def write() -> None:
    """Write docs/figures.md, if it would change."""
    text, path = page(DOCS / "records"), DOCS / "figures.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()

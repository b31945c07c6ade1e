"""Writes figures.md from the recorded runs in docs/records: no number on that page is typed.

To record a run: flowkit reproduce NAME --out docs/records/NAME.json
"""

import subprocess
from pathlib import Path

from pydantic import ValidationError

from flowkit.studies.figure import Figure, Record
from flowkit.studies.figures import FIGURES

DOCS = Path(__file__).parent
HEAD = """# Figures

Every figure that this project claims, as `flowkit reproduce NAME` printed it. `flowkit reproduce` lists them all.
This page is generated from the records of those runs. Where the package has changed since a run, its last line says so:
the numbers are those of the older code.
"""


def read(path: Path) -> Record:
    """The record of a full run.

    Raises
    ------
    ValueError
        Where the file is none, names another figure, or records a quick run.
    """
    try:
        record = Record.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ValueError(f"{path} is no record of flowkit reproduce: {error}") from error
    if record.name != path.stem or record.name not in FIGURES:
        raise ValueError(f"{path} records the figure {record.name!r}; a record is called NAME.json after its figure.")
    if record.quick:
        raise ValueError(f"{path} records a quick run; this page shows full runs alone.")
    return record


def git(*arguments: str) -> str | None:
    """What git answers in this checkout, or None without git or without the commit that was asked for."""
    command = ["git", "-C", str(DOCS), *arguments]
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def age(record: Record) -> str:
    """When a run was made and how many commits have changed the package since; without its commit, that of its file."""
    commit = record.commit and record.commit.removesuffix("-dirty")
    commit = commit or git("log", "-1", "--format=%H", "--", f"records/{record.name}.json")
    if not commit:
        return ""
    date = record.date or git("show", "-s", "--format=%cs", commit)
    count = git("rev-list", "--count", f"{commit}..HEAD", "--", "../flowkit")
    later = f"; the package has changed in {count} commits since" if count not in (None, "0") else ""
    return f" Recorded on {date} at commit {commit[:10]}{later}."


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
    lines += ["| | value | goal | published | reached |", "|---|---|---|---|---|"]
    reached = {True: "yes", False: "no", None: ""}
    for row in record.rows:
        cells = (row.label, row.text, row.goal, row.published, reached[row.reached])
        lines.append("| " + " | ".join(map(cell, cells)) + " |")
    settings = ", ".join(f"{key} = {value}" for key, value in record.settings.items())
    lines += [
        "",
        f"{record.seconds:.1f} s on {cell(str(record.machine))}; flowkit {record.flowkit}. {cell(settings)}."
        f"{age(record)}",
        "",
    ]
    return "\n".join(lines)


def page(folder: Path) -> str:
    """The page of all figures, with the records of that folder."""
    records = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    return "\n".join([HEAD, *(section(figure, records.get(name)) for name, figure in FIGURES.items())])


def write() -> None:
    """Write docs/figures.md, if it would change."""
    text, path = page(DOCS / "records"), DOCS / "figures.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()

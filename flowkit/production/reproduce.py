"""What `flowkit reproduce` prints and writes: the list of figures, and the record of one."""

import json
import os
import textwrap
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from flowkit.stats import table
from flowkit.studies.figure import Figure, Record
from flowkit.studies.figures import FIGURES

WIDTH = 100
"""Columns of what is listed."""
HOW_TO = """
flowkit reproduce NAME runs one; --quick shrinks it; --set KEY=VALUE changes a setting.
flowkit reproduce NAME --set keys= lists the settings of one."""


def listing(as_json: bool) -> str:
    """All figures, with what is published and how long each takes."""
    figures = FIGURES.values()
    if as_json:
        keys = ("name", "title", "citation", "published", "about_seconds", "quick")
        return json.dumps({"figures": [{key: getattr(figure, key) for key in keys} for figure in figures]})
    fill = partial(textwrap.fill, width=WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    rows = [(f.name, f"about {f.about_seconds} s") for f in figures]
    header, *lines = table(("name", "run time on two cores"), rows).splitlines()
    texts = [
        f"{line}\n{fill(f.title)}\n{fill(f'published: {f.published} ({f.citation})')}"
        for line, f in zip(lines, figures, strict=True)
    ]
    return "\n".join([header, *texts, HOW_TO])


def find(name: str) -> Figure:
    """The figure of that name.

    Raises
    ------
    ValueError
        Where there is none, with the nearest name.
    """
    if name not in FIGURES:
        near = get_close_matches(name, FIGURES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"The figures are {', '.join(FIGURES)}; got {name!r}.{hint}")
    return FIGURES[name]


def report(figure: Figure, record: Record) -> str:
    """The table of a figure that was run: value ± error, goal and published value of each row."""
    reached = {True: "yes", False: "no", None: ""}
    rows = [(row.label, row.text, _text(row.goal), _text(row.published), reached[row.reached]) for row in record.rows]
    lines = [
        figure.title,
        table(("", "value", "goal", "published", "reached"), rows),
        f"published: {figure.citation}",
        f"{record.seconds:.1f} s on {record.machine}",
        *([f"A quick run: {figure.quick}. It proves nothing."] if record.quick else []),
    ]
    return "\n".join(lines)


def _text(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:g}"


def write(path: Path, text: str) -> None:
    """Write the whole text, or leave the file as it was before."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)

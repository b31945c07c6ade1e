"""Writes api.md: every public name of flowkit with its docstring, in the order of its table of contents."""

import inspect
from pathlib import Path

import flowkit

PAGE = Path(__file__).parent / "api.md"
HEAD = """# Every public name

`import flowkit as fk`, then `fk.NAME`. Docstrings have the formula first, then shapes, units (or "dimensionless"), the
errors that are raised, and the source. This page is generated from them.
"""
MODULES = ("losses", "schedules", "exact", "stats", "panels", "testing")


def block(lines: list[str]) -> list[str]:
    """reStructuredText inside Markdown."""
    return ["```{eval-rst}", *lines, "```", ""]


def entry(path: str, thing: object) -> list[str]:
    """The directive for one name."""
    if inspect.isclass(thing):
        return [f".. autoclass:: {path}", "   :members:", "   :show-inheritance:", ""]
    return [f".. autofunction:: {path}" if inspect.isroutine(thing) else f".. autodata:: {path}", ""]


def page() -> str:
    """The page of all names."""
    lines = [HEAD]
    for room, names in flowkit._CONTENTS.items():
        lines += [f"## {room}", ""]
        lines += block([line for name in names for line in entry(f"flowkit.{name}", getattr(flowkit, name))])
    for room in MODULES:
        module = getattr(flowkit, room)
        own = [n for n, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
        names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
        names = [name for name in names if name not in flowkit._HOME]  # stands above
        lines += [f"## fk.{room}", "", (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " "), ""]
        lines += block([line for name in names for line in entry(f"flowkit.{room}.{name}", getattr(module, name))])
    return "\n".join(lines)


def write() -> None:
    """Write docs/api.md, if it would change."""
    text = page()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")

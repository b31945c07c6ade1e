"""Writes api.md: every public name of flowkit with its docstring, first those of the top level, then room by room."""

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import get_origin

import flowkit

PAGE = Path(__file__).parent / "api.md"
HEAD = """# Every public name

The names of the top level are used as `fk.NAME` after `import flowkit as fk`, those of a room as `fk.ROOM.NAME`.
This page is generated from the docstrings.
"""
ROOMS = (
    *(
        "groups",
        "geometry",
        "smearing",
        "observables",
        "actions",
        "priors",
        "bijections",
        "transforms",
        "multiscale",
        "models",
    ),
    *(
        "nets",
        "kernels",
        "samplers",
        "train",
        "losses",
        "schedules",
        "ensemble",
        "formats",
        "variance",
        "stats",
        "exact",
        "storage",
        "tasks",
        "panels",
        "testing",
    ),
)


def block(lines: list[str]) -> list[str]:
    """reStructuredText inside Markdown."""
    return ["```{eval-rst}", *lines, "```", ""]


def entry(path: str, thing: object) -> list[str]:
    """The directive for one name."""
    if inspect.isclass(thing):
        return [f".. autoclass:: {path}", "   :members:", "   :show-inheritance:", ""]
    return [f".. autofunction:: {path}" if inspect.isroutine(thing) else f".. autodata:: {path}", ""]


def public(module: ModuleType) -> list[str]:
    """The names that a room offers: its `__all__`, or all that it defines."""
    own = [n for n, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
    return getattr(module, "__all__", [name for name in own if not name.startswith("_")])


def ours(thing: object) -> bool:
    """Whether flowkit defines it: neither a module nor a type of another package under a name of its own."""
    kind = get_origin(thing) or thing
    foreign = inspect.isclass(kind) and not kind.__module__.startswith("flowkit")
    return not inspect.ismodule(thing) and not foreign


def room(name: str) -> ModuleType | None:
    """The module of a room, or None where this version has none of that name."""
    place = flowkit._MODULES.get(name, name)
    try:
        return import_module(f"flowkit.{place}")
    except ModuleNotFoundError as error:
        if error.name != f"flowkit.{place}":
            raise
        return None


def page() -> str:
    """The page of all names: each thing once, where it is first found."""
    lines, seen = [HEAD], set()

    def add(paths: dict[str, object]) -> None:
        nonlocal lines
        new = {path: thing for path, thing in paths.items() if ours(thing) and id(thing) not in seen}
        seen.update(map(id, new.values()))
        lines += block([line for path, thing in new.items() for line in entry(path, thing)]) if new else []

    lines += ["## The top level", ""]
    for name, names in ((room, names.split()) for room, names in flowkit._CONTENTS.items()):
        lines += [f"### From {name}", ""]
        add({f"flowkit.{one}": getattr(flowkit, one) for one in names})
    for name in ROOMS:
        module = room(name)
        if module is not None:
            lines += [f"## fk.{name}", "", (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " "), ""]
            add({f"{module.__name__}.{one}": getattr(module, one) for one in public(module)})
    return "\n".join(lines)


def write() -> None:
    """Write docs/api.md, if it would change."""
    text = page()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")

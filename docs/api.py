"""Writes api.md and a page for each room: every public name of flowkit with its docstring."""

import inspect
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import get_origin

import flowkit

PAGE = Path(__file__).parent / "api.md"
HEAD = """# Every public name

The names of the top level are used as `fk.NAME` after `import flowkit as fk`, the others of a room as `fk.ROOM.NAME`.
A room has one page, which is generated from the docstrings.
"""
ROOMS = [
    *("groups", "geometry", "smearing", "observables", "actions", "priors", "bijections", "transforms", "flow"),
    *("multiscale", "models", "zoo", "nets", "kernels", "samplers", "train", "losses", "schedules", "ensemble"),
    *("formats", "variance", "model", "stats", "exact", "storage", "tasks", "panels", "testing"),
]
"""In the order of the pages."""


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


def found(path: str) -> object:
    """What a directive documents."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def pages() -> dict[str, str]:
    """The pages of all names by their file's stem under docs/api: each thing once, in the first room that has it."""
    made, seen = dict[str, str](), set[int]()
    top = {name: home for home, names in flowkit._CONTENTS.items() for name in names.split()}
    for name in ROOMS:
        module = room(name)
        if module is None:
            continue
        things = {one: getattr(module, one) for one in public(module)}
        paths = {
            f"flowkit.{one}" if one in top and getattr(flowkit, one) is thing else f"{module.__name__}.{one}": thing
            for one, thing in things.items()
            if ours(thing) and id(thing) not in seen
        }
        seen |= {id(thing) for thing in paths.values()}
        if paths:
            about = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
            summary = [".. autosummary::", "   :nosignatures:", "", *(f"   ~{path}" for path in paths)]
            entries = [line for path, thing in paths.items() for line in entry(path, thing)]
            made[name] = "\n".join([f"# fk.{name}", "", about, "", *block(summary), *block(entries)])
    return made


def index(rooms: Collection[str]) -> str:
    """The page that lists the rooms and the names of the top level."""
    lines = [HEAD, "| room | holds |", "|---|---|"]
    for name in filter(room, ROOMS):
        about = (inspect.getdoc(room(name)) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        if name in rooms:
            lines.append(f"| [fk.{name}](api/{name}.md) | {about} |")
        else:
            lines.append(f"| fk.{name} | {about} Its names have their place in the rooms above. |")
    lines += ["", "## The names of the top level", "", "| from | names |", "|---|---|"]
    for home, names in flowkit._CONTENTS.items():
        lines.append(f"| [{home}](api/{home}.md) | {', '.join(f'`fk.{one}`' for one in names.split())} |")
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *(f"api/{name}" for name in rooms), "```", ""])


def write() -> None:
    """Write docs/api.md and docs/api/, where something would change."""
    made = pages()
    folder = PAGE.parent / "api"
    folder.mkdir(exist_ok=True)
    for old in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in made}:
        old.unlink()
    for path, text in {PAGE: index(made), **{folder / f"{name}.md": text for name, text in made.items()}}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")

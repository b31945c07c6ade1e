"""One direction of imports, a quick `import flowkit`, and a table of contents that is true."""

import ast
import json
import subprocess
import sys
from collections.abc import Collection
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flowkit

PACKAGE = Path(flowkit.__file__).parent

# Each room may import those above it.
ORDER = [
    ["_version"],
    ["checks"],
    ["kernels"],
    ["nets"],
    ["exact"],
    ["stats"],
    ["tasks"],
    ["storage"],
    ["groups"],
    ["geometry"],
    ["smearing"],
    ["observables"],
    ["actions"],
    ["priors"],
    ["bijections"],
    ["transforms"],
    ["flow"],
    ["multiscale"],
    ["models"],
    ["zoo"],
    ["samplers"],
    ["train"],
    ["ensemble"],
    ["formats"],
    ["variance"],
    ["model"],
    ["panels"],
    ["studies"],
    ["production"],
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
CONTENTS = {"studies", "production"}
"""Rooms that use flowkit as its users do, by the table of contents."""


def modules() -> dict[str, str]:
    """Name -> source of every module, a package by its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if not {"_notebooks", "node_modules", "frontend"} & set(path.parts):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imported(source: str, name: str, known: Collection[str] = ()) -> set[str]:
    """The modules of flowkit that a module imports, at the top or inside functions, but for type checkers.

    A name taken from a package counts as the module of that name, where `known` has one.
    """
    found, tree = set(), ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".")[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            targets = [one if base == "flowkit" or one in known else base for one in inner]
        else:
            continue
        found |= {target for target in targets if target.split(".")[0] == "flowkit"}
    return found


def room_of(module: str) -> str:
    """The room of a module of flowkit; "" is the table of contents."""
    return [*module.split("."), ""][1]


def complaint(room: str, target: str) -> str | None:
    """Why `room` may not import from the room `target`, or None."""
    if room in (target, "testing"):
        return None
    if room not in RANK:
        return f"{room} has no place in ORDER"
    if target == "testing":
        return "testing is for tests alone"
    if target not in RANK:
        return None if room in CONTENTS else "only studies and production use the table of contents"
    return f"{target} comes after {room}" if RANK[target] >= RANK[room] else None


def test_rooms_import_in_one_direction():
    found = modules()
    complaints = []
    for name, source in found.items():
        if name != "flowkit":
            rooms = sorted({room_of(target) for target in imported(source, name, found)})
            complaints += [f"{name} imports {room}: {why}" for room in rooms if (why := complaint(room_of(name), room))]
    assert len(found) > 100
    assert not complaints, "\n".join(complaints)


def test_no_circle_inside_a_room():
    """A package counts as what it re-exports, so that a module must import from its own room file by file."""
    found = modules()
    graph = {name: imported(source, name, found) & set(found) - {name} for name, source in found.items()}
    del graph["flowkit"]
    for name, targets in graph.items():
        targets.discard("flowkit")
        assert name.rpartition(".")[0] not in targets, f"{name} imports the package that it is in"
    TopologicalSorter(graph).prepare()  # raises CycleError for a circle of modules


INTERNAL = {
    "chain_panel": "flowkit.panels.chain_run",
    "figure": "flowkit.tasks.machine",
    "hops": "flowkit.samplers.base flowkit.samplers.state",
    "notebooks": "flowkit.tasks.lessons",
    "panels": "flowkit.panels.base flowkit.panels.stream flowkit.panels.training",
    "zoo": "flowkit.tasks.machine",
}
"""Studies that measure how a room works, or write a sampler, and the modules whose insides they need for it."""


def test_studies_use_the_public_names():
    """A study imports from a room, as its users do, and never from a file in it."""
    rooms = {name for name in modules() if name.count(".") == 1}
    for path in sorted((PACKAGE / "studies").glob("*.py")):
        allowed = rooms | set(INTERNAL.get(path.stem, "").split()) | {"flowkit"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flowkit."):
                assert node.module in allowed or node.module.startswith("flowkit.studies."), (
                    f"{path.name}: {node.module}"
                )


@pytest.mark.parametrize(
    ("room", "source", "expected"),
    [
        ("geometry", "from flowkit.actions import Wilson", "actions comes after geometry"),
        ("geometry", "def f():\n    import flowkit.samplers.hmc", "samplers comes after geometry"),
        ("geometry", "from .. import flow", "flow comes after geometry"),
        ("exact", "from flowkit import stats", "stats comes after exact"),
        ("train", "from flowkit.testing import check", "testing is for tests alone"),
        ("train", "import flowkit as fk", "only studies and production use the table of contents"),
        ("panels", "from flowkit.train import Trainer", None),
        ("studies", "import flowkit as fk", None),
        ("train", "import torch", None),
    ],
)
def test_the_check_of_imports_can_fail(room, source, expected):
    found = [complaint(room, room_of(target)) for target in imported(source, f"flowkit.{room}.x")]
    assert found == ([expected] if expected or "flowkit" in source else [])


def test_import_is_light():
    """A subprocess imports flowkit and its physics; heavy packages stay out until they are used."""
    code = (
        "import json, sys, time; start = time.perf_counter(); import flowkit; "
        "seconds = time.perf_counter() - start; torch = 'torch' in sys.modules; "
        "flowkit.links((4, 4), flowkit.U1()); flowkit.Trainer; "
        "print(json.dumps([seconds, torch, sorted(sys.modules)]))"
    )
    seconds, torch, loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert not torch
    assert seconds < 2  # measured in milliseconds; the bound allows for a busy machine
    heavy = {"ipywidgets", "anywidget", "plotly", "matplotlib", "pyerrors", "zarr", "jupyterlab"}
    assert not heavy & set(loaded)


def test_contents_resolve():
    for name in flowkit.__all__:
        assert getattr(flowkit, name) is not None, name
    assert {name for name in dir(flowkit) if not name.startswith("__")} | {"__version__"} == set(flowkit.__all__)
    assert len(flowkit.__all__) == len(set(flowkit.__all__))


def test_type_checkers_see_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        seen |= {alias.name: node.module for alias in node.names}
        assert all(alias.asname == alias.name for alias in node.names), "`X as X` marks a name as public"
    runtime = {n: f"flowkit.{m}".rpartition(".")[0] for n, m in flowkit._MODULES.items()} | {
        n: f"flowkit.{m}" for n, m in flowkit._HOME.items()
    }
    assert seen == runtime


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        AttributeError, match=r"^module 'flowkit' has no attribute 'plaquete'. Did you mean 'plaquette'\?$"
    ):
        _ = flowkit.plaquete
    with pytest.raises(AttributeError, match=r"^module 'flowkit' has no attribute 'zzz'$"):
        _ = flowkit.zzz
    assert not hasattr(flowkit, "__wrapped__")


@pytest.mark.parametrize("room", flowkit._ROOMS.split())
def test_a_room_lists_what_it_publishes(room):
    """What completion offers is the public names alone, without the files and imports behind them."""
    if room == "panels":
        pytest.importorskip("anywidget", reason='the panels need the extra "lab"')
    module = getattr(flowkit, room)
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)

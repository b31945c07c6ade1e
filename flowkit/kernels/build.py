"""Compiled kernels: built on first use, checked before they are loaded, kept in a folder of the user's own.

A library in the cache is named after what it depends on (sources, compiler, C library, processor) and after the hash of
its own bytes, so that a file that was damaged or put there by something else is built again and never loaded.
"""

import atexit
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
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

logger = logging.getLogger(__name__)
REALS = {torch.float32: "float", torch.float64: "double"}
SECONDS_QUIET, SECONDS_MOST = 60, 1800  # of one compiler call: a busy machine is waited for


@functools.cache
def load(name: str) -> ctypes.CDLL | None:
    """The library of `name`.c, compiled where the cache has none; None where it cannot be had, with a warning."""
    source = Path(__file__).parent / "c" / f"{name}.c"
    if not re.fullmatch(r"\w+", name) or not source.is_file():
        raise ValueError(f"flowkit has no kernels {name!r}: no such source in {source.parent}.")
    compiler = next((c for c in (os.environ.get("CC", ""), "cc", "gcc", "clang") if c and shutil.which(c)), None)
    if compiler is None:
        return None
    try:
        folder, stem = cache_folder(), f"{name}-{_key(source, compiler)}"
        target = next(filter(_undamaged, folder.glob(f"{stem}-*.so")), None) or _compiled(source, compiler, stem)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s runs through torch: its C kernel did not compile or load (%s)", name, error)
        return None


def cache_folder() -> Path:
    """The folder of compiled kernels: FLOWKIT_CACHE, or `flowkit` in the user's cache, readable by the user alone.

    Returns
    -------
    Path
        Where neither a home folder nor leave to make it there is found, a temporary folder of this process.

    Raises
    ------
    PermissionError
        For a folder that is a link, or belongs to another user, or that others may write: who can put a library there
        would run code in this process.
    OSError
        Where FLOWKIT_CACHE names a folder that cannot be made.
    """
    own = os.environ.get("FLOWKIT_CACHE")
    try:
        cache = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowkit"
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home
        if own:
            raise
        return _temporary_folder()
    status = cache.lstat()
    if hasattr(os, "getuid"):
        others = status.st_uid != os.getuid() or status.st_mode & 0o022
        if others or cache.is_symlink():
            raise PermissionError(
                f"The cache of compiled kernels must be a folder of your own that no one else may write; {cache} is a "
                f"{'link' if cache.is_symlink() else 'folder'} of user {status.st_uid} with mode "
                f"{status.st_mode & 0o777:o}. Remove it, or name another one in FLOWKIT_CACHE"
            )
        if status.st_mode & 0o077 and os.access(cache, os.W_OK):
            cache.chmod(0o700)
    return cache


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="flowkit-"))  # mode 700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _flags() -> list[str]:
    wide = ["-mprefer-vector-width=512"] if platform.machine().lower() in ("x86_64", "amd64", "i386", "i686") else []
    return ["-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", *wide]


def _openmp() -> list[str]:
    """One OpenMP runtime in the process: torch's own, where it brings one."""
    return [str(path) for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))[:1]]


def _key(source: Path, compiler: str) -> str:
    """What the library depends on: sources, compiler, C library and processor, which machines of one cache may mix."""
    texts = [path.read_text(encoding="utf-8") for path in (source, *sorted(source.parent.glob("*.h")))]
    parts = [*texts, compiler, _version(compiler), *_flags(), *_openmp(), *platform.libc_ver(), _cpu()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def _version(compiler: str) -> str:
    """The first line of `compiler --version`."""
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=SECONDS_MOST)  # noqa: S603
    return answer.stdout.partition("\n")[0]


def _undamaged(path: Path) -> bool:
    """Whether a library of the cache is the file that was written there: its name ends in the hash of its bytes."""
    return not path.is_symlink() and path.stem.endswith(f"-{_digest(path)}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _compiled(source: Path, compiler: str, stem: str) -> Path:
    """The library of `source`, compiled into the cache under a name that ends in its hash."""
    folder, start, threads = cache_folder(), [compiler, *_flags()], _openmp() or ["-fopenmp"]
    folder = folder if os.access(folder, os.W_OK | os.X_OK) else _temporary_folder()
    logger.info("compiling %s (seconds, kept in %s)", source.name, folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        whole = Path(scratch, "whole.so")
        try:
            _build([*start, "-fopenmp"], source, whole, threads)
        except subprocess.CalledProcessError:  # a compiler that knows no OpenMP
            _build(start, source, whole, [])
            logger.info("%s runs on one thread: %s does not compile it with OpenMP", source.name, compiler)
        return whole.replace(folder / f"{stem}-{_digest(whole)}.so")


def _build(start: list[str], source: Path, whole: Path, threads: list[str]) -> None:
    """The library `whole` of `source` for both kinds of numbers, linked with `threads`."""
    objects = {real: str(whole.with_name(f"{real}.o")) for real in REALS.values()}
    with ThreadPoolExecutor() as pool:
        calls = [[*start, "-c", str(source), f"-DREAL={real}", "-o", out] for real, out in objects.items()]
        list(pool.map(_wait_for, calls))
    _wait_for([start[0], "-shared", *objects.values(), *threads, "-o", str(whole)])


def _wait_for(command: list[str]) -> None:
    late = threading.Timer(SECONDS_QUIET, logger.warning, ["still compiling after %d s: %s", SECONDS_QUIET, command])
    late.daemon = True
    late.start()
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS_MOST)  # noqa: S603 (our own source)
    finally:
        late.cancel()


def _cpu() -> str:
    """What -march=native depends on."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine() + platform.processor()
    return next((line for line in text.splitlines() if line.startswith("flags")), platform.machine())

"""C kernels for the CPU, compiled on first use by the machine's own compiler and kept in the user's cache.

Where there is no compiler, or FLOWKIT_COMPILE=0, callers fall back to torch with the same results.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

from flowkit.kernels.compilation import compiling

logger = logging.getLogger(__name__)
REALS = {torch.float32: "float", torch.float64: "double"}
LARGE_PAGE, ADVISE_LARGE = 2**21, 14  # bytes; MADV_HUGEPAGE


def library(name: str) -> ctypes.CDLL | None:
    """The kernels of `name`.c as a loaded library, or None where they cannot be had."""
    return _library(name) if compiling() != "0" else None


def takes(name: str, *tensors: torch.Tensor) -> bool:
    """Whether the kernels of `name`.c can be had and take these tensors: on the CPU, real, of one precision."""
    dtype = tensors[0].dtype
    return dtype in REALS and all(t.is_cpu and t.dtype == dtype for t in tensors) and library(name) is not None


@functools.cache
def _library(name: str) -> ctypes.CDLL | None:
    compiler = next((c for c in (os.environ.get("CC", ""), "cc", "gcc", "clang") if c and shutil.which(c)), None)
    source = Path(__file__).parent / "c" / f"{name}.c"
    if compiler is None or not source.is_file():
        return None
    # One OpenMP runtime in the process: torch's own, where it brings one.
    own = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    flags = ["-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC"]
    if platform.machine().lower() in ("x86_64", "amd64", "i386", "i686"):
        flags.append("-mprefer-vector-width=512")
    texts = [path.read_text(encoding="utf-8") for path in (source, *sorted(source.parent.glob("*.h")))]
    key = "".join([*texts, compiler, *flags, *map(str, own), platform.processor(), _cpu()])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowkit"
    target = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        if not target.is_file():
            logger.info("compiling %s (seconds, kept in %s)", source.name, folder)
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                whole, threads = Path(scratch, "whole.so"), [str(own[0])] if own else ["-fopenmp"]
                try:
                    _build([compiler, *flags, "-fopenmp"], source, whole, threads)
                except subprocess.CalledProcessError:  # a compiler that knows no OpenMP
                    _build([compiler, *flags], source, whole, [])
                    logger.info("%s runs on one thread: %s does not compile it with OpenMP", name, compiler)
                whole.replace(target)
        _keep_memory()
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s runs through torch: its C kernel did not compile or load (%s)", name, error)
        return None


def _build(compile_: list[str], source: Path, whole: Path, threads: list[str]) -> None:
    """The library `whole` of `source` for both kinds of numbers, linked with `threads`."""
    objects = [str(whole.with_name(f"{real}.o")) for real in REALS.values()]
    calls = [
        [*compile_, "-c", str(source), f"-DREAL={r}", "-o", o] for r, o in zip(REALS.values(), objects, strict=True)
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(_call, calls))
    _call([compile_[0], "-shared", *objects, *threads, "-o", str(whole)])


@functools.cache
def _advise() -> "ctypes._NamedFuncPointer | None":
    """madvise, where the system takes advice on pages."""
    if platform.system() != "Linux":
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


@functools.cache
def _keep_memory() -> None:
    """Keep freed memory in the process. The GNU allocator returns arrays of a megabyte to the system and fetches them
    again, page by page, at every operation: it stops once it has seen a larger one freed.
    """
    torch.empty(2**25 - 2**20, dtype=torch.uint8)  # never touched; 2^25 is the largest size it learns from


def on_large_pages(t: torch.Tensor) -> torch.Tensor:
    """t, just allocated. Where it is large the system is asked for large pages: to clear small ones one by one costs
    more than a kernel's arithmetic.
    """
    if t.nbytes >= 2 * LARGE_PAGE and (advise := _advise()) is not None:
        first = -(-t.data_ptr() // LARGE_PAGE) * LARGE_PAGE
        advise(first, (t.data_ptr() + t.nbytes) // LARGE_PAGE * LARGE_PAGE - first, ADVISE_LARGE)
    return t


@contextmanager
def kept_on_cpu() -> Iterator[None]:
    """New tensors are plain ones on the CPU, whatever the default device is and whether the caller infers or trains:
    for tables that are kept and read by address.
    """
    with torch.device("cpu"), torch.inference_mode(False):
        yield


def plain(t: torch.Tensor) -> torch.Tensor:
    """The numbers of t one after another in memory, as a kernel reads them."""
    if t.is_contiguous() and not t.is_conj() and not t.is_neg():
        return t
    return t.resolve_conj().resolve_neg().contiguous()


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603 (our own source)


def _cpu() -> str:
    """What -march=native depends on, so that a cache shared by machines does not mix them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    return next((line for line in text.splitlines() if line.startswith("flags")), platform.machine())

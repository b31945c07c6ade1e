"""Hot arithmetic, one file each, on plain tensors.

On a CPU the hottest kernels are C source of our own, compiled on first use where a compiler is found (seconds, kept on
disk); elsewhere they are torch, with the same results, fused by torch.compile on a GPU where that pays. FLOWKIT_COMPILE
in the environment says how much is compiled: 1 everything (the default), c the C sources alone, 0 nothing.
`set_compile` says it later.
"""

import functools
import logging
import os
import shutil
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)
LEVELS = ("0", "c", "1")
_lock = threading.RLock()


def _chosen() -> str:
    level = os.environ.get("FLOWKIT_COMPILE", "1")
    if level not in LEVELS:
        raise ValueError(f"FLOWKIT_COMPILE is 0, c or 1; got {level!r}.")
    return level


_state = {"level": _chosen()}


def set_compile(level: str) -> str:
    """How much is compiled: "1", "c" or "0", as FLOWKIT_COMPILE says; returns the previous choice.

    Raises    ValueError for anything else
    """
    if level not in LEVELS:
        raise ValueError(f"Compilation is '0', 'c' or '1'; got {level!r}.")
    before, _state["level"] = _state["level"], level
    return before


def compiling() -> str:
    """How much is to be compiled: "1", "c" or "0"."""
    return _state["level"]


@functools.cache
def _compiler_found() -> bool:
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return torch.cuda.is_available() or any(name and shutil.which(name) for name in names)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, compiled by torch for the shapes it meets; the first call says so in the log."""
    fast: list[Callable[P, R] | None] = []

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if compiling() != "1" or not _compiler_found():
            return function(*args, **kwargs)
        if not fast:
            with _lock:
                if not fast:
                    logger.info("compiling %s on first use (seconds; cached on disk)", function.__name__)
                    fast.append(torch.compile(function, dynamic=True))
        run = fast[0]
        if run is None:
            return function(*args, **kwargs)
        try:
            return run(*args, **kwargs)
        except Exception as error:  # a broken toolchain must not stop physics
            if not type(error).__module__.startswith("torch._"):
                raise
            logger.warning("%s runs eagerly: compilation failed (%s)", function.__name__, type(error).__name__)
            fast[0] = None
            return function(*args, **kwargs)

    return call

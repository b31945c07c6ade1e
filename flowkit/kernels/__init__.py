"""Hot arithmetic, one file each, on plain tensors.

Kernels are compiled on first use where a compiler is found (a C++ compiler for the CPU, Triton for a GPU), and run
eagerly with the same results where it is not. FLOWKIT_COMPILE=0 in the environment, or `set_compile(False)`, keeps
everything eager.
"""

import functools
import logging
import os
import shutil
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)
_state: dict[str, Any] = {"on": os.environ.get("FLOWKIT_COMPILE", "1") != "0"}
_lock = threading.RLock()


def set_compile(on: bool) -> bool:
    """Compile kernels (True) or run them eagerly (False); returns the previous choice."""
    before, _state["on"] = _state["on"], bool(on)
    return bool(before)


def compiling() -> bool:
    """Whether kernels are to be compiled."""
    return bool(_state["on"])


@functools.cache
def _compiler_found() -> bool:
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return torch.cuda.is_available() or any(name and shutil.which(name) for name in names)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, compiled by torch for the shapes it meets; the first call says so in the log."""
    fast: list[Callable[P, R] | None] = []

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _state["on"] or not _compiler_found():
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

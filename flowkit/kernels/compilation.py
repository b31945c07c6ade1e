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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from flowkit.checks import checked

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
_off: set[str] = set()


@checked
def set_compile(level: str) -> str:
    """Choose how much of the arithmetic is compiled, as the environment variable FLOWKIT_COMPILE does.

    Parameters
    ----------
    level : str
        "1" for everything (the default), "c" for the C sources alone, "0" for nothing: then all runs through torch,
        with the same results to rounding.

    Returns
    -------
    str
        The choice before.

    Raises
    ------
    ValueError
        For another level.

    Examples
    --------
    >>> import flowkit as fk
    >>> before = fk.kernels.set_compile("0")
    >>> fk.kernels.compiling()
    '0'
    >>> fk.kernels.set_compile(before)
    '0'
    """
    if level not in LEVELS:
        raise ValueError(f"Compilation is '0', 'c' or '1'; got {level!r}.")
    before, _state["level"] = _state["level"], level
    return before


def compiling() -> str:
    """The level that `set_compile` or FLOWKIT_COMPILE has set.

    Returns
    -------
    str
        "1" where torch compiles and the C kernels run, "c" where the C kernels alone do, "0" where neither does.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.kernels.compiling() in ("0", "c", "1")
    True
    """
    return _state["level"]


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Run a block without some of the C kernels, to measure what each of them gains.

    Parameters
    ----------
    *names : str
        C sources of `flowkit.kernels`, such as "rqs". Torch takes over, with the same results to rounding.

    Raises
    ------
    ValueError
        For a name that is none of a C source of flowkit.

    Examples
    --------
    >>> import flowkit as fk
    >>> import torch
    >>> group = fk.SUN(3)
    >>> with fk.kernels.without("su3"):
    ...     print(group.exp(torch.zeros(8)).real)
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    known = sorted(path.stem for path in (Path(__file__).parent / "c").glob("*.c"))
    if unknown := set(names) - set(known):
        raise ValueError(f"The C kernels of flowkit are {', '.join(known)}; got {', '.join(sorted(unknown))}.")
    new = set(names) - _off
    _off.update(new)
    try:
        yield
    finally:
        _off.difference_update(new)


def switched_off(name: str) -> bool:
    """Whether `without` has switched the kernel of this C source off."""
    return name in _off


@functools.cache
def _compiler_found() -> bool:
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return torch.cuda.is_available() or any(name and shutil.which(name) for name in names)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """A function compiled by torch for the shapes it meets; the first call says so in the log.

    Parameters
    ----------
    function : callable
        Of tensors. It runs eagerly where `compiling` is not "1", no compiler is found, or compilation fails.

    Returns
    -------
    callable
        With the arguments and results of `function`.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> @fk.kernels.compiled
    ... def twice(x):
    ...     return 2 * x
    >>> before = fk.kernels.set_compile("c")                # here without torch.compile, which takes seconds
    >>> twice(torch.ones(2))
    tensor([2., 2.])
    >>> _ = fk.kernels.set_compile(before)
    """
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

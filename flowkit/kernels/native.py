"""Calls of the C kernels for the CPU, which build.py compiles on first use.

Where there is no compiler, or FLOWKIT_COMPILE=0, callers fall back to torch with the same results.
"""

import ctypes
import functools
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.kernels.build import REALS as REALS, load
from flowkit.kernels.compilation import compiling, switched_off
from flowkit.kernels.prototypes import dtypes_of, refuse

LARGE_PAGE, ADVISE_LARGE = 2**21, 14  # bytes; MADV_HUGEPAGE

# ---------------------------------------------------------------- calls


def library(name: str) -> ctypes.CDLL | None:
    """The kernels of `name`.c as a loaded library, or None where they cannot be had or are switched off.

    Raises
    ------
    ValueError
        For a name that is none of a C source of this package.
    """
    if compiling() == "0" or switched_off(name):
        return None
    _keep_memory()
    return load(name)


def takes(name: str, *tensors: Tensor) -> bool:
    """Whether the kernels of `name`.c can be had and take these tensors: on the CPU, real, of one precision."""
    dtype = tensors[0].dtype
    return dtype in REALS and all(t.is_cpu and t.dtype == dtype for t in tensors) and library(name) is not None


def call(name: str, function: str, dtype: torch.dtype, *arguments: Any) -> int:
    """Call `function` of `name`.c for numbers of `dtype`.

    Parameters
    ----------
    name, function : str
        The source and the function, without the suffix that names the type of its numbers.
    dtype : torch.dtype
        Of the numbers, real or complex.
    *arguments : Tensor, Strided, None, int or float
        As the C function takes them: a tensor stands for the address of its numbers, which must lie as `plain` lays
        them, None for a null pointer, an int for an int64_t, a float for a double.

    Returns
    -------
    int
        What a function returns that returns an int64_t; without meaning for others.

    Raises
    ------
    ValueError
        For a tensor that is not on the CPU, of another dtype than the C function reads, or not contiguous.
    TypeError
        For another number of arguments than the C function has.
    """
    real = dtype.to_real()
    run, wanted = _function(name, function, real, tuple(_KINDS.get(type(a), ctypes.c_void_p) for a in arguments))
    passed: list[Any] = []
    for place, (given, dtypes) in enumerate(zip(arguments, wanted, strict=True)):
        if isinstance(given, Tensor):
            t, lies = given, given.is_contiguous()
        elif isinstance(given, Strided):
            t, lies = given.numbers, True
        else:
            passed.append(given)
            continue
        if not (lies and t.is_cpu and dtypes and t.dtype in dtypes) or t.is_conj() or t.is_neg():
            refuse(name, function, place, dtypes, t)
        passed.append(t.data_ptr())
    status: int = run(*passed)
    return status


class Strided(NamedTuple):
    """A tensor whose rows lie apart, by strides that the C function is told beside its address."""

    numbers: Tensor


_KINDS: dict[type, type] = {bool: ctypes.c_int64, int: ctypes.c_int64, float: ctypes.c_double}


@functools.cache
def _function(
    name: str, function: str, real: torch.dtype, kinds: tuple[type, ...]
) -> tuple["ctypes._NamedFuncPointer", tuple[tuple[torch.dtype, ...] | None, ...]]:
    """The C function for arguments of these types, and the dtypes of the tensors among them."""
    loaded, wanted = library(name), dtypes_of(name, function, real)
    assert loaded is not None
    if len(kinds) != len(wanted):
        raise TypeError(f"The C kernel {name}.{function} takes {len(wanted)} arguments; got {len(kinds)}.")
    found: ctypes._NamedFuncPointer = loaded[f"{function}_{REALS[real]}"]  # a new object, so that signatures do not mix
    found.argtypes, found.restype = kinds, ctypes.c_int64
    return found, wanted


def once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass that is a number to autograd: to differentiate it again, by what the function has saved, is
    refused.

    `torch.autograd.function.once_differentiable` refuses where the incoming gradient depends on the input, and
    otherwise takes the result for a constant, so that Hessians come out wrong without a word.
    """

    @functools.wraps(backward)
    def run(ctx: Any, *gradients: Tensor | None) -> Any:
        with torch.no_grad():
            out = backward(ctx, *gradients)
        if not torch.is_grad_enabled():
            return out
        inputs = [t for t in (*ctx.saved_tensors, *gradients) if t is not None and t.requires_grad]
        several = out if isinstance(out, tuple) else (out,)
        refused = tuple(None if t is None else _Twice.apply(t, *inputs) for t in several)  # type: ignore[no-untyped-call]
        return refused if isinstance(out, tuple) else refused[0]

    return run


def differentiated(
    function: Callable[..., Any], inputs: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradients of function(*inputs) for gradients of its outputs, so that they can be differentiated again: what a
    backward pass gives where autograd asks for a graph of it, by the eager twin of a kernel.
    """
    own = [t.view_as(t) for t in inputs]  # one input may depend on another
    out = function(*own)
    wanted = [t for t in own if t.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, gradients, create_graph=True, allow_unused=True))
    return tuple(next(found) if t.requires_grad else None for t in own)


def one_of(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """The value of a differentiable function that gives one tensor."""
    out: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return out


def two_of(function: type[torch.autograd.Function], *arguments: Any) -> tuple[Tensor, Tensor]:
    """The values of a differentiable function that gives two tensors."""
    first, second = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return first, second


class _Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor, *inputs: Tensor) -> Tensor:
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise RuntimeError(
            "The kernels of flowkit have gradients of first order; this one was to be differentiated again, as "
            "Hessians and losses of forces ask."
        )


# ---------------------------------------------------------------- memory


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
    torch.empty(2**25 - 2**20, dtype=torch.uint8, device="cpu")  # never touched; 2^25 is the largest it learns from


def on_large_pages(t: Tensor) -> Tensor:
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


def plain(t: Tensor) -> Tensor:
    """The numbers of t one after another in memory, as a kernel reads them."""
    if t.is_contiguous() and not t.is_conj() and not t.is_neg():
        return t
    return t.resolve_conj().resolve_neg().contiguous()

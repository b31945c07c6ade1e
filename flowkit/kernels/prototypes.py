"""What the C kernels take, read from their sources, so that no pointer of another kind is ever passed."""

import functools
import re
from pathlib import Path

import torch
from torch import Tensor

_FOLDER = Path(__file__).parent / "c"
_FUNCTION = re.compile(r"^(?:void|int64_t) (?:NAME\((\w+)\)|JOIN\((\w+)_, REAL\))\(([^)]*)\)", re.MULTILINE)


@functools.cache
def prototypes(name: str) -> dict[str, tuple[str, ...]]:
    """The types of the arguments of each function of `name`.c, such as "REAL *" or "int64_t"."""
    text = (_FOLDER / f"{name}.c").read_text(encoding="utf-8")
    for header in re.findall(r'#include "(\w+\.h)"', text):
        text += (_FOLDER / header).read_text(encoding="utf-8")
    shared = dict(re.findall(r"#define (\w+) (const REAL \*.*)", text))
    found = {}
    for one, other, arguments in _FUNCTION.findall(text):
        for word, meaning in shared.items():
            arguments = re.sub(rf"\b{word}\b", meaning, arguments)
        several = [re.sub(r"^const ", "", " ".join(a.split())) for a in arguments.split(",")]
        found[one or other] = tuple(re.sub(r"\w+$", "", a).strip() for a in several if a != "void")
    return found


@functools.cache
def dtypes_of(name: str, function: str, real: torch.dtype) -> tuple[tuple[torch.dtype, ...] | None, ...]:
    """For each argument of a function the dtypes of the tensors that it takes, or None for a number."""
    kinds = {"REAL *": (real, real.to_complex()), "int64_t *": (torch.int64,), "double *": (torch.float64,)}
    return tuple(kinds.get(kind) for kind in prototypes(name)[function])


def refuse(name: str, function: str, place: int, dtypes: tuple[torch.dtype, ...] | None, given: Tensor) -> None:
    """Raise the ValueError for a tensor that a kernel cannot read at its address."""
    wanted = "a number" if dtypes is None else f"a contiguous tensor of {' or '.join(map(str, dtypes))} on the CPU"
    layout = "contiguous" if given.is_contiguous() and not given.is_conj() and not given.is_neg() else "not contiguous"
    raise ValueError(
        f"The C kernel {name}.{function} takes {wanted} as its argument {place + 1}; got {given.dtype} of shape "
        f"{list(given.shape)} on {given.device}, {layout}."
    )

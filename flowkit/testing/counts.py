"""What a step costs on a GPU, counted on any machine: the operations it launches and the times it waits for the device.

A small step on a GPU takes as long as its launches, some microseconds each, whatever the size of the tensors. The count
is made on the CPU with the C kernels switched off, so that the operations are those of a GPU.
"""

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flowkit.kernels.compilation import compiled, set_compile

SILENT = {"_reshape_alias", "_unsafe_view", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty"}
"""Operations that launch nothing, beside views: they allocate or rename."""
WAITS = {"_local_scalar_dense", "_unique2", "equal", "is_nonzero", "masked_select", "nonzero", "unique_dim"}
"""Operations whose result the host must know before it goes on."""
_PACKAGE = Path(__file__).parents[1]
_FUSED = compiled(lambda: None).__code__


class Launches(NamedTuple):
    """What `launches` counted.

    Attributes
    ----------
    operations : Counter of str
        How often each operation was launched; views and allocations are left out.
    waits : list of str
        Each wait of the host for the device, as ``"item at FILE:LINE"``.

    Examples
    --------
    >>> import torch
    >>> from flowkit import testing
    >>> x = torch.zeros(8)
    >>> testing.launches(lambda: x.exp() + x.exp()).operations
    Counter({'exp': 2, 'add': 1})
    """

    operations: Counter[str]
    waits: list[str]


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[str] = Counter()
        self.waits: list[str] = []
        self.inside = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not self.inside and not func.is_view and name not in SILENT:
            self.operations[name] += 1
        if name in WAITS or (name in ("index", "index_put", "index_put_") and _mask(args[1])):
            self.waits.append(f"{name} at {_place()}")
        return func(*args, **(kwargs or {}))

    def as_one(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, all of whose operations count as one."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.operations[f"fused {function.__name__}"] += not self.inside
            before, self.inside = self.inside, True
            try:
                return function(*args, **kwargs)
            finally:
                self.inside = before

        vars(call)["__wrapped__"] = call  # a caller that asks for the function without torch.compile gets this one too
        return call


def _mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _place() -> str:
    """The innermost line of flowkit that is being run."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PACKAGE) and path != Path(__file__):
            return f"{path.relative_to(_PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "a line outside flowkit"


@contextlib.contextmanager
def _as_on_a_gpu(count: _Count) -> Iterator[None]:
    """No C kernels; what `compiled` wraps is one launch there, and counts as one."""
    found = [
        (module, name, value)
        for path, module in list(sys.modules.items())
        if path.startswith("flowkit.kernels")
        for name, value in list(vars(module).items())
    ]
    fused = [value for _, _, value in found if getattr(value, "__code__", None) is _FUSED]
    fused += [value.__wrapped__ for value in fused]
    level = set_compile("0")
    try:
        with contextlib.ExitStack() as stack:
            for module, name, value in found:
                if any(value is one for one in fused):
                    stack.enter_context(patch.object(module, name, count.as_one(value)))
            yield
    finally:
        set_compile(level)


def launches(step: Callable[[], object]) -> Launches:
    """Count the operations that a step launches and the times it waits for the device.

    The step is run twice and counted the second time, so that tables made once are not counted.

    Parameters
    ----------
    step : callable
        Called without arguments.

    Returns
    -------
    Launches
        Operations by name, and each wait with its file and line.

    Examples
    --------
    >>> import torch
    >>> from flowkit import testing
    >>> x = torch.zeros(8)
    >>> testing.launches(lambda: (2 * x).view(2, 4).sin())
    Launches(operations=Counter({'mul': 1, 'sin': 1}), waits=[])
    >>> len(testing.launches(lambda: float(x.sum())).waits)
    1
    """
    count = _Count()
    with _as_on_a_gpu(count):
        step()
        count.operations.clear()  # fused functions are counted in both runs
        with count:
            step()
    return Launches(count.operations, count.waits)

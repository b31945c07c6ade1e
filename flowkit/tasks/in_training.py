"""Which weights are being trained: nothing samples weights that change under it, and no two trainings change them."""

from __future__ import annotations

import copy
import sys
import threading
import types
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TypeVar

from torch import Tensor, nn

T = TypeVar("T")
_REGISTER: dict[int, Training] = {}
"""The training that changes the parameter of an id; each training keeps its parameters alive."""
_CHANGE = threading.Lock()


class Training:
    """One training while it goes on: the weights that it changes, and when others may look at them.

    Parameters
    ----------
    what : str
        Who trains, for messages.
    weights : iterable of Tensor
        All that it may change.

    Attributes
    ----------
    step : int
        Steps that were made.
    whole : RLock
        Held while a step changes the weights.
    """

    def __init__(self, what: str, weights: Iterable[Tensor]):
        self.what, self.weights, self.step = what, list(weights), 0
        self.whole, self.door = threading.RLock(), threading.Lock()
        self.thread: int | None = None

    def begin(self) -> None:
        """Claim the weights.

        Raises
        ------
        RuntimeError
            Where another training changes one of them.
        """
        with _CHANGE:
            for weight in self.weights:
                if (other := _REGISTER.get(id(weight), self)) is not self:
                    raise RuntimeError(
                        f"This flow is being trained already, by {other.what} at step {other.step}; stop that training "
                        f"or wait for its end before {self.what} starts."
                    )
            _REGISTER.update((id(weight), self) for weight in self.weights)

    def end(self) -> None:
        """Give the weights free."""
        with _CHANGE:
            for weight in self.weights:
                _REGISTER.pop(id(weight), None)

    def let_others_look(self) -> None:
        """Called by the training thread between steps: whoever waits for the weights has his turn first."""
        self.thread = threading.get_ident()
        with self.door:
            pass


def frozen(thing: T, who: str | None = None, always: bool = False) -> T:
    """What is sampled, as it is now: itself, or a copy where its weights are being trained.

    Every function that samples a flow, directly or inside a sampler, an action or a prior, asks here first. Inside the
    thread of the training itself, as in a callback, nothing changes meanwhile, and no copy is needed.

    Parameters
    ----------
    thing : object
        A flow, a sampler, ...
    who : str, optional
        Who samples, for the warning that a copy of the present weights is used; None warns not, for pictures of the
        moment.
    always : bool
        Copy in any case what has weights, because a training may begin while they are sampled.

    Returns
    -------
    object
        `thing`, or its deep copy between two steps of the training.

    Warns
    -----
    UserWarning
        With the step of the training.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.tasks.in_training import frozen
    >>> flow = fk.scalar_flow(fk.sites((4, 4)))
    >>> frozen(flow) is flow                                # no trainer is at work
    True
    """
    mine = threading.get_ident()
    if not always and all(one.thread == mine for one in list(_REGISTER.values())):
        return thing  # a look into the register alone: this is asked in every training step
    weights = [p for module in modules_in(thing) for p in module.parameters()]
    found = {id(one): one for p in weights if (one := _REGISTER.get(id(p))) is not None}
    going = [one for _, one in sorted(found.items()) if one.thread != mine]
    if not going and not (always and weights):
        return thing
    with ExitStack() as held:
        for one in going:
            held.enter_context(one.door)
            held.enter_context(one.whole)
        taken = copy.deepcopy(thing)
    if going and who is not None:
        warnings.warn(
            f"{who} samples a copy of the weights at step {going[0].step} of a training that goes on: {going[0].what}. "
            "Its wait() or stop() comes first where the trained flow is meant.",
            stacklevel=_depth_of_caller(),
        )
    return taken


def _depth_of_caller() -> int:
    """The `stacklevel` of the first frame outside this library and torch, counted from the caller of this function."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("flowkit", "torch"):
        frame, depth = frame.f_back, depth + 1
    return depth


def modules_in(thing: object, seen: set[int] | None = None) -> Iterator[nn.Module]:
    """The modules in an object, its attributes and theirs, each once; `seen` holds the ids of those that were."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (Tensor, type, types.ModuleType, types.FunctionType, str, bytes)):
        return
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        yield thing
    parts: Iterable[object] = ()
    if isinstance(thing, dict):
        parts = thing.values()
    elif isinstance(thing, (list, tuple)):
        parts = thing
    elif hasattr(thing, "__dict__"):
        parts = vars(thing).values()
    for part in list(parts):
        yield from modules_in(part, seen)

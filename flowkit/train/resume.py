"""What a checkpoint of a trainer holds, and how a trainer takes it up again."""

import contextlib
import copy
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from flowkit.priors import Prior
from flowkit.storage import checkpoint as files
from flowkit.storage.tensors import said
from flowkit.storage.weights import not_finite, weights
from flowkit.tasks.history import History
from flowkit.train.schedules import Schedule
from flowkit.train.step import TrainingStep

PathLike = str | os.PathLike[str]
State = tuple[dict[str, Tensor], tuple[dict[str, Tensor], dict[str, Any]], Tensor, dict[str, Any]]


class Parts(NamedTuple):
    """The parts of a trainer that change in a step, other than its history."""

    flow: Prior
    method: TrainingStep
    rng: torch.Generator
    schedule: Schedule

    def state(self) -> State:
        """What each part keeps."""
        return self.flow.state_dict(), self.method.state(), self.rng.get_state(), self.schedule.state()

    def take_up(self, state: State) -> None:
        """Restore what `state` returned."""
        flow, method, rng, schedule = state
        self.flow.load_state_dict(flow)
        self.method.load_state(*method)
        self.rng.set_state(rng)
        self.schedule.load_state(schedule)


def within(checkpoint: PathLike | None, work: Callable[[], bool]) -> Callable[[], bool]:
    """`work` that keeps the folder of its checkpoints from now to its end; CheckpointError where another run has it."""
    claim = contextlib.ExitStack()
    if checkpoint is not None:
        claim.enter_context(files.claimed(checkpoint))

    def whole() -> bool:
        with claim:
            return work()

    return whole


class Meta(BaseModel):
    """The plain data of a trainer's checkpoint."""

    model_config = ConfigDict(extra="forbid", strict=True)
    action: str
    method: str
    batch: int
    space: dict[str, Any]
    step: Annotated[int, Field(ge=0, lt=2**53)]
    total: Annotated[int, Field(ge=0, lt=2**53)]
    schedule: dict[str, Any]
    method_meta: dict[str, Any]
    method_tensors: Annotated[int, Field(ge=0)]


def save(path: PathLike, parts: Parts, history: History, facts: Mapping[str, Any]) -> str:
    """Commit a checkpoint of parts, history and plain data, step and total among them; returns the commit's name.

    Raises CheckpointError where a weight is NaN or infinite, or the method's state is none to train on with.
    """
    flow, (method, meta), rng, schedule = parts.state()
    if bad := not_finite(flow):
        raise files.CheckpointError(f"{path} is left as it was: the weights {bad} are NaN or infinite.")
    try:
        parts.method.check_state(method, meta)
    except ValueError as error:
        raise files.CheckpointError(f"{path} is left as it was: {error}.") from error
    rows = {name: torch.from_numpy(column) for name, column in history.as_arrays().items()}
    parts_of = {"flow": flow, "method": method, "history": rows}
    tensors = {f"{part}.{name}": tensor for part, some in parts_of.items() for name, tensor in some.items()}
    plain = {
        **facts,
        "space": parts.flow.space.describe(),
        "method_meta": meta,
        "schedule": schedule,
        "method_tensors": len(method),
    }
    return files.save(path, {**tensors, "rng": rng}, plain)


def load(path: PathLike, parts: Parts, columns: tuple[str, ...], facts: Mapping[str, Any]) -> tuple[History, int, int]:
    """Restore the parts from a checkpoint; returns its history, which needs these columns, its step and total.

    Raises CheckpointError for damaged files, and where the facts differ: they are of another trainer. The parts are
    then as before.
    """
    tensors, meta = files.load(path)
    flow = weights(parts.flow, tensors, path)
    for name, mine in {**facts, "space": parts.flow.space.describe()}.items():
        if (other := meta.get(name)) != mine:
            raise files.CheckpointError(
                f"{path} was trained with the {name} {other!s:.300}; this trainer's {name} is {mine}."
            )

    def only(part: str) -> dict[str, Tensor]:
        return {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(f"{part}.")}

    before = copy.deepcopy(parts.flow.state_dict()), *parts.state()[1:]
    try:
        known = Meta.model_validate(meta)
        method = only("method")
        if unknown := [name for name in tensors if name.split(".")[0] not in ("flow", "method", "history", "rng")]:
            raise ValueError(f"it holds a tensor {unknown[0]:.200}")
        if len(method) != known.method_tensors:
            raise ValueError(f"its method had {known.method_tensors} tensors, and {len(method)} are there")
        history = _history(columns, only("history"), known.step)
        if known.total < known.step:
            raise ValueError(f"it is at step {known.step} of {known.total}")
        parts.method.check_state(method, known.method_meta)
        _check_rng(tensors["rng"], parts.rng)
        parts.take_up((flow, (method, known.method_meta), tensors["rng"], known.schedule))
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        parts.take_up(before)
        reason = said(error) if isinstance(error, ValidationError) else str(error)
        raise files.CheckpointError(f"{path} is no checkpoint of this trainer: {reason}.") from error
    return history, known.step, known.total


def _history(columns: tuple[str, ...], tensors: dict[str, Tensor], step: int) -> History:
    """The history of a run of `step` steps: a row for each, in their order, with a finite loss."""
    if odd := [name for name, tensor in tensors.items() if tensor.dtype != torch.float64 or tensor.dim() != 1]:
        raise ValueError(f"the column {odd[0]:.200} of its history is no row of float64")
    history = History.from_arrays(columns, {name: column.numpy() for name, column in tensors.items()})
    if not np.array_equal(history["step"], np.arange(step)):
        raise ValueError(f"its history is not of the steps 0 to {step - 1}")
    for name in ("loss", "grad_norm", "lr", "samples_per_s"):
        if not np.isfinite(history[name]).all():
            raise ValueError(f"{name} in its history is not finite")
    return history


def _check_rng(state: Tensor, mine: torch.Generator) -> None:
    """Raise ValueError for what is no state of such a generator, or one that gives one number for ever."""
    own = mine.get_state()
    if state.dtype != own.dtype or state.shape != own.shape:
        raise ValueError(f"rng is {list(own.shape)} of {own.dtype}; got {list(state.shape)} of {state.dtype}")
    if len(state) > 5000 and not bool(state[24:5016].any()):  # the words of the Mersenne Twister
        raise ValueError("rng is a generator that gives zeros")

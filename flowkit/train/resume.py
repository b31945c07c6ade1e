"""What a checkpoint of a trainer holds, and how a trainer takes it up again."""

import copy
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.priors import Prior
from flowkit.storage import checkpoint as files
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


def save(path: PathLike, parts: Parts, history: History, facts: Mapping[str, Any]) -> str:
    """Commit a checkpoint of parts, history and plain data, step and total among them; returns the commit's name."""
    flow, (method, meta), rng, schedule = parts.state()
    rows = {name: torch.from_numpy(column) for name, column in history.as_arrays().items()}
    parts_of = {"flow": flow, "method": method, "history": rows}
    tensors = {f"{part}.{name}": tensor for part, some in parts_of.items() for name, tensor in some.items()}
    plain = {**facts, "method_meta": meta, "schedule": schedule, "space": parts.flow.space.describe()}
    return files.save(path, {**tensors, "rng": rng}, plain)


def load(path: PathLike, parts: Parts, columns: tuple[str, ...], facts: Mapping[str, Any]) -> tuple[History, int, int]:
    """Restore the parts from a checkpoint; returns its history, which needs these columns, its step and total.

    Raises CheckpointError for damaged files, and where the facts differ: they are of another trainer. The parts are
    then as before.
    """
    tensors, meta = files.load(path)
    flow = files.weights(parts.flow, tensors, path)
    for name, mine in facts.items():
        if (other := meta.get(name)) != mine:
            raise files.CheckpointError(f"{path} was trained with the {name} {other}; this trainer's {name} is {mine}.")

    def only(part: str) -> dict[str, Tensor]:
        return {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(f"{part}.")}

    before = copy.deepcopy(parts.flow.state_dict()), *parts.state()[1:]
    try:
        history = History.from_arrays(columns, {name: column.numpy() for name, column in only("history").items()})
        step, total = int(meta["step"]), int(meta["total"])
        parts.take_up((flow, (only("method"), meta["method_meta"]), tensors["rng"], meta["schedule"]))
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        parts.take_up(before)
        raise files.CheckpointError(f"{path} is no checkpoint of this trainer: {error}.") from error
    return history, step, total

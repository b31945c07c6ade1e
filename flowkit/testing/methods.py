"""The contract of a training method: what it takes for a state of its own, and what it refuses before it uses it."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from flowkit.storage import checkpoint
from flowkit.storage.checkpoint import CheckpointError
from flowkit.testing.common import require
from flowkit.train import Trainer

State = tuple[dict[str, Tensor], dict[str, Any]]


def check_method(make: Callable[[], Trainer], steps: int = 3) -> None:
    """Check the method of a trainer: a checkpoint of it is taken up; one in which any tensor has another shape or
    dtype, is missing, or has become NaN, and any text or number of another type, is refused and changes nothing.

    Parameters
    ----------
    make : callable
        Gives the same trainer at each call, without a step made.
    steps : int
        Steps before the checkpoint.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit import testing
    >>> space = fk.sites((2, 2))
    >>> def make():
    ...     torch.manual_seed(1)
    ...     flow = fk.Flow(fk.Normal(space), fk.transforms.Affine(space))
    ...     return fk.Trainer(flow, fk.Phi4(space, m2=1.0, lam=0.5), batch=4)
    >>> testing.check_method(make)
    """
    # No power fails here, and fsync would take most of the time.
    with tempfile.TemporaryDirectory() as folder, patch.object(os, "fsync", lambda handle: None):
        trainer = make().fit(steps, progress=False)
        trainer.save(Path(folder, "good"))
        good = checkpoint.load(Path(folder, "good"))
        who, taken = type(trainer.method).__name__, make().load(Path(folder, "good"))
        kept, same = trainer.method.state()[0], taken.method.state()[0]
        equal = set(kept) == set(same) and all(torch.equal(kept[n], same[n]) for n in kept)
        require(equal, f"{who}: its state is another one after it was saved and loaded.")
        other = make()
        before = {name: tensor.clone() for name, tensor in other.flow.state_dict().items()}
        for number, (what, (tensors, meta)) in enumerate(broken(good)):
            path = Path(folder, str(number))
            checkpoint.save(path, tensors, meta)
            try:
                other.load(path)
            except CheckpointError:
                pass
            else:
                raise AssertionError(f"{who}: a checkpoint is taken although {what}.")
            now = other.flow.state_dict()
            require(all(torch.equal(before[n], now[n]) for n in now) and other.step == 0, f"{who}: {what} changes it.")


def broken(good: State) -> Iterator[tuple[str, State]]:
    """Checkpoints of which one thing is wrong, with what that is."""
    tensors, meta = good
    alike = [next(name for name in tensors if name.startswith("flow.")), "history.step", "history.loss", "rng"]
    for name in [*(name for name in tensors if name.startswith("method.")), *alike]:
        tensor = tensors[name]
        number = torch.tensor(torch.nan if tensor.is_floating_point() or tensor.is_complex() else 0)
        changes = {
            "is longer": torch.cat([tensor.flatten(), tensor.flatten()[:1]]),
            "is shorter": tensor.flatten()[:-1],
            "is empty": tensor.flatten()[:0],
            "has an axis more": tensor[None],
            "is of float16": tensor.half() if tensor.is_floating_point() else tensor.real.half(),
            "is of int64": torch.zeros(tensor.shape, dtype=torch.int64),
        }
        if tensor.numel() and name != "method.predicted":  # which is only told
            changes["is NaN"] = torch.full_like(tensor, number.item())
        for what, change in changes.items():
            yield f"{name} {what}", ({**tensors, name: change.clone()}, meta)
        yield f"{name} is missing", ({n: t for n, t in tensors.items() if n != name}, meta)
    for part in ("flow", "method", "history", "other"):
        yield f"{part}.stranger is there", ({**tensors, f"{part}.stranger": torch.zeros(3)}, meta)
    for key, value in meta.items():
        yield f"{key} is missing", (tensors, {n: v for n, v in meta.items() if n != key})
        some: tuple[Any, ...] = (None, "x", [], True, 2.5, -7, 10**30, {"x": 1})
        for wrong in some:
            if wrong != value or type(wrong) is not type(value):
                yield f"{key} is {wrong!r}", (tensors, {**meta, key: wrong})
    yield "there is a stranger in the plain data", (tensors, {**meta, "stranger": 1})

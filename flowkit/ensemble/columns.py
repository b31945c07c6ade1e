"""Series that fill up while chains run, and what else every run needs: room, a progress bar, provenance."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit import stats
from flowkit._version import __version__
from flowkit.actions.base import Action
from flowkit.checks import MOST, Count, checked
from flowkit.ensemble.files import MOST_BYTES as MOST_BYTES, EnsembleError, check_finite, check_real, row_bytes
from flowkit.geometry.space import Space
from flowkit.observables import Observables, listed


class Columns:
    """Series that fill up row by row, float64 on the CPU; another thread may read what is filled.

    Parameters
    ----------
    n : int
        Rows in all.
    chains : int
        Numbers in each row.
    observe : sequence of Observable or str
        Measured on the fields of each row, on their device.
    space : Space
        Of the fields.
    block : int
        Rows that are collected on their device before they are moved: each move makes a GPU wait (`rows_in_a_move`).

    Attributes
    ----------
    x : Tensor or None
        Room for the configurations of all rows, ``[n, chains, *space.shape]``, or of those from `first_x` on; None to
        keep none.
    first_x : int
        Row of the first of them.
    taken, filled : int
        Rows given so far, and those of them that can be read.
    begun : float
        When the first of them was begun, on the clock of `time.perf_counter`.

    Raises
    ------
    ValueError
        For two observables of one name, or one with the name of a series that every run has.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit.ensemble.columns import Columns
    >>> columns = Columns(10, 2, (fk.magnetization,), fk.sites((4,)))
    >>> columns.store(torch.ones(2, 1, 4), {"S": torch.tensor([1.0, 2.0])})
    >>> columns["magnetization"], columns.filled
    (array([[1., 1.]]), 1)
    """

    @checked
    def __init__(self, n: Count, chains: Count, observe: Observables, space: Space, block: Count = 1):
        observe = listed(observe)
        names = [name for obs in observe for name in obs.columns]
        taken = [name for i, name in enumerate(names) if name in names[:i] or name in ("S", "accept", "logq", "logw")]
        if taken:
            raise ValueError(f"Observables of a run have names of their own; got {taken[0]!r} twice.")
        if n * chains > MOST:
            raise ValueError(f"A run holds at most {MOST} numbers of each series; got {n} steps of {chains} chains.")
        self.shape, self.observe, self.space, self.block = (n, chains), observe, space, block
        self._observed = names
        self.x: Tensor | None = None
        self.first_x = 0
        self.series: dict[str, Tensor] = {}
        self._numbers: dict[str, stats.Floats] = {}  # the same memory, which panels read ten times a second
        self._pending: list[tuple[Tensor | None, Tensor]] = []
        self.taken, self.filled, self.begun = 0, 0, time.perf_counter()

    def __getitem__(self, name: str) -> stats.Floats:
        """The series of that name so far, [filled, chains], without a copy; a row once stored never changes."""
        return self._numbers[name][: self.filled]

    def store(self, x: Tensor, values: dict[str, Tensor]) -> None:
        """Store the next rows: their fields x, ``[rows * chains, *space.shape]``, what is observed of them, and values.

        Raises
        ------
        EnsembleError
            Where an observable is NaN or infinite, when its block of rows is moved; the rows before it are stored.
        """
        for obs in self.observe:
            values = values | obs.measure(self.space, x)
        if not self.series:
            for name, numbers in values.items():
                check_real(name, numbers)
            self._make_room(values)
        wide = torch.stack([values[name].double().expand(len(x)) for name in self.series])
        self._pending.append((x if self.x is not None else None, wide.view(len(wide), -1, self.shape[1])))
        self.taken += len(x) // self.shape[1]
        if self.taken - self.filled >= min(self.block, self.shape[0] - self.filled):
            self.move()

    def _make_room(self, names: Iterable[str]) -> None:
        # numpy's zeros touch no memory before it is written; torch's would take the first second of a long run.
        self._numbers = {name: np.zeros(self.shape) for name in names}
        self.series = {name: torch.from_numpy(numbers) for name, numbers in self._numbers.items()}

    def go_on(self, names: Sequence[str], series: Mapping[str, Tensor], first_x: int) -> None:
        """Begin behind the rows of an earlier run; series of which it kept none are NaN there, and will be left out.

        Parameters
        ----------
        names : sequence of str
            Of all series, in their order.
        series : mapping of Tensor
            Those kept, ``[rows, chains]``.
        first_x : int
            The first row whose configurations are still to be given.
        """
        self._make_room(names)
        self.taken = self.filled = rows = len(series["S"])
        for name, values in self.series.items():
            values[:rows] = series.get(name, torch.tensor(0.0 if name == "invalid" else math.nan))
        self.first_x = first_x

    def forget(self, first_x: int) -> None:
        """Keep the configurations of the rows from `first_x` on alone."""
        if self.x is not None:
            kept = self.x[first_x - self.first_x : self.filled - self.first_x].clone()
            self.x[: len(kept)] = kept
        self.first_x = first_x

    def move(self) -> None:
        """Move the rows that still lie on their device; one transfer of numbers, one of fields where they are kept.

        Raises
        ------
        EnsembleError
            Where an observable is NaN or infinite; the rows before it are stored.
        """
        if not self._pending:
            return
        fields, wide = zip(*self._pending, strict=True)
        self._pending = []
        rows = slice(self.filled, self.taken)
        if self.x is not None:
            room = self.x[rows.start - self.first_x : rows.stop - self.first_x]
            room.copy_(fetch(torch.cat(fields)).view_as(room))
        numbers = dict(zip(self.series, fetch(torch.cat(wide, 1)), strict=True))
        for name, values in numbers.items():
            self.series[name][rows] = values
        try:
            for name in self._observed:
                check_finite(name, numbers[name])
            self.filled = self.taken
        except EnsembleError:
            observed = torch.stack([numbers[name] for name in self._observed])
            self.filled += int(observed.isfinite().all(2).all(0).int().cumprod(0).sum())
            raise

    def finish(self) -> tuple[dict[str, Tensor], list[str]]:
        """The series, and the names of those left out because they hold NaN or infinity, as of rejected proposals."""
        self.move()
        series = {name: values[: self.filled] for name, values in self.series.items()}
        series.pop("invalid", None)  # counted in the provenance
        left_out = [name for name, values in series.items() if not values.isfinite().all()]
        return {name: values for name, values in series.items() if name not in left_out}, left_out

    def configurations(self) -> Tensor | None:
        """The fields of the rows so far; a copy where rows are missing."""
        self.move()
        return self.x if self.x is None or self.filled == self.shape[0] else self.x[: self.filled].clone()


def rows_in_a_move(device: torch.device) -> int:
    """Rows that are moved from a device at once: one from the CPU; sixteen from others, which wait for each move."""
    return 1 if device.type == "cpu" else 16


def fetch(values: Tensor) -> Tensor:
    """Values on the CPU; a GPU waits here."""
    return values.cpu()


def room_for(n: int, fields: Tensor, max_bytes: int) -> Tensor:
    """Uninitialised room for n batches on the CPU."""
    need = n * len(fields) * row_bytes(fields)
    if not need <= max_bytes:
        raise EnsembleError(
            f"{n} x {len(fields)} configurations need {need / 2**30:.3g} GiB, and max_bytes allows "
            f"{max_bytes / 2**30:.3g} GiB. Use keep=False with observe=(...), or store fewer of them by every=..."
        )
    return torch.empty((n, *fields.shape), dtype=fields.dtype, device="cpu")


def provenance_of(action: Action | None, seed: int, **more: Any) -> dict[str, Any]:
    """How an ensemble came about, as plain data; what is none is told in words."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    made = {"flowkit": __version__, "torch": torch.__version__, "date": date, "seed": seed}
    told: dict[str, Any] = plain({**made, "action": None if action is None else repr(action), **more}, repr)
    return told


def check_plain(who: str, described: object) -> None:
    """Raise EnsembleError where a description could not be saved, before anything has been computed.

    Examples
    --------
    >>> from flowkit.ensemble.columns import check_plain
    >>> try:
    ...     check_plain("HMC", {"length": 1.0, "steps": {10, 20}})
    ... except RuntimeError as error:
    ...     print(error)
    Provenance is plain finite data, and describe() of HMC gives {10, 20}.
    """

    def refuse(value: object) -> None:
        raise EnsembleError(f"Provenance is plain finite data, and describe() of {who} gives {value!r:.200}.")

    plain(described, refuse)


def plain(value: Any, other: Callable[[Any], Any]) -> Any:
    """A value as JSON holds it: numbers of numpy and torch as numbers, arrays as lists; `other` of anything else."""
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else other(name): plain(one, other) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one, other) for one in value]
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return plain(value.tolist(), other)
    if isinstance(value, str):
        return str(value)  # as torch's version is of a class of its own
    finite = value is None or type(value) in (bool, int) or (type(value) is float and math.isfinite(value))
    return value if finite else other(value)

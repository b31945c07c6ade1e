"""Series that fill up while chains run, and what else every run needs: room, a progress bar, provenance."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit import stats
from flowkit._version import __version__
from flowkit.actions.base import Action
from flowkit.ensemble.files import EnsembleError, check_finite, row_bytes
from flowkit.geometry.space import Space
from flowkit.observables import Observable, listed

MOST_BYTES = 4 * 2**30
"""Memory that the configurations of a run may take, unless told otherwise."""


class Columns:
    """Series that fill up row by row, float64 on the CPU; another thread may read what is filled.

    Parameters
    ----------
    n : int
        Rows in all.
    chains : int
        Numbers in each row.
    observe : sequence of Observable
        Measured on the fields of each row, on their device.
    space : Space
        Of the fields.

    Attributes
    ----------
    filled : int
        Rows stored so far.
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
    >>> columns.store(0, torch.ones(2, 1, 4), {"S": torch.tensor([1.0, 2.0])})
    >>> columns["magnetization"], columns.filled
    (array([[1., 1.]]), 1)
    """

    def __init__(self, n: int, chains: int, observe: Sequence[Observable], space: Space):
        names = [obs.name for obs in listed(observe)]
        taken = [name for i, name in enumerate(names) if name in names[:i] or name in ("S", "accept", "logq", "logw")]
        if taken:
            raise ValueError(f"Observables of a run have names of their own; got {taken[0]!r} twice.")
        self.shape, self.observe, self.space = (n, chains), observe, space
        self.series: dict[str, Tensor] = {}
        self._numbers: dict[str, stats.Floats] = {}  # the same memory, which panels read ten times a second
        self.filled, self.begun = 0, time.perf_counter()

    def __getitem__(self, name: str) -> stats.Floats:
        """The series of that name so far, [filled, chains], without a copy; a row once stored never changes."""
        return self._numbers[name][: self.filled]

    def store(self, rows: int | slice, x: Tensor, values: dict[str, Tensor]) -> None:
        """Store what a step gave, and what is observed of its fields x; one transfer from their device.

        Raises
        ------
        EnsembleError
            Where an observable is NaN or infinite.
        """
        values = values | {obs.name: obs(self.space, x) for obs in self.observe}
        wide = torch.stack([value.double().expand(len(x)) for value in values.values()]).cpu()
        found = dict(zip(values, wide, strict=True))
        for obs in self.observe:
            check_finite(obs.name, found[obs.name])
        for name, value in found.items():
            if name not in self.series:
                # numpy's zeros touch no memory before it is written; torch's would take the first second of a long run.
                self._numbers[name] = np.zeros(self.shape)
                self.series[name] = torch.from_numpy(self._numbers[name])
            column = self.series[name]
            column[rows] = value.view_as(column[rows])
        self.filled = rows.stop if isinstance(rows, slice) else rows + 1

    def finish(self) -> tuple[dict[str, Tensor], list[str]]:
        """The series, and the names of those left out because they hold NaN or infinity, as of rejected proposals."""
        series = {name: values[: self.filled] for name, values in self.series.items()}
        series.pop("invalid", None)  # counted in the provenance
        left_out = [name for name, values in series.items() if not values.isfinite().all()]
        return {name: values for name, values in series.items() if name not in left_out}, left_out


def room_for(n: int, fields: Tensor, max_bytes: int) -> Tensor:
    """Uninitialised room for n batches on the CPU."""
    need = n * len(fields) * row_bytes(fields)
    if need > max_bytes:
        raise EnsembleError(
            f"{n} x {len(fields)} configurations need {need / 2**30:.3g} GiB, and max_bytes allows "
            f"{max_bytes / 2**30:.3g} GiB. Use keep=False with observe=(...), or store fewer of them by every=..."
        )
    return torch.empty((n, *fields.shape), dtype=fields.dtype)


def progress_bar(steps: Iterable[Any], total: int, show: bool) -> Iterable[Any]:
    """The steps, behind a progress bar where it is to be shown."""
    if not show:
        return steps
    from tqdm.auto import tqdm

    bar: Iterable[Any] = tqdm(steps, total=total, unit="step")
    return bar


def provenance_of(action: Action | None, seed: int, **more: Any) -> dict[str, Any]:
    """How an ensemble came about, as plain data."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    made = {"flowkit": __version__, "torch": torch.__version__, "date": date, "seed": seed}
    return {**made, "action": None if action is None else repr(action), **more}

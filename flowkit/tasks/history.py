"""What a run records: columns of floats that only grow, written by one thread and read by others."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from flowkit.checks import checked

Floats = NDArray[np.float64]


class History:
    """Columns of float64 that only grow, one row for each `append`; safe to read while another thread writes.

    Parameters
    ----------
    columns : iterable of str
        Names of the columns, fixed from then on.

    Raises
    ------
    ValueError
        For no column, or a name that comes twice.

    Notes
    -----
    A value takes 8 bytes. The buffer doubles when it is full, so that n appends cost O(n); `since` copies nothing.

    Examples
    --------
    >>> import flowkit as fk
    >>> history = fk.tasks.History(["step", "loss"])
    >>> history.append(step=0, loss=2.5)
    >>> history.append(step=1)          # a value that a row does not give is NaN
    >>> history["loss"], history.last("loss")
    (array([2.5, nan]), 2.5)
    """

    @checked
    def __init__(self, columns: Iterable[str]):
        self._columns = tuple(columns)
        if not self._columns or len(set(self._columns)) != len(self._columns):
            raise ValueError(f"A History needs at least one column and no name twice; got {list(self._columns)}.")
        self._row = {name: i for i, name in enumerate(self._columns)}
        self._data = np.empty((len(self._columns), 64))
        self._length = 0
        self._lock = threading.Lock()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self._columns

    def append(self, **values: float) -> None:
        """Add one row. Columns not named become NaN; an unknown name raises TypeError."""
        unknown = sorted(set(values) - set(self._row))
        if unknown:
            raise TypeError(f"This History has the columns {', '.join(self._columns)}; got {', '.join(unknown)}.")
        row = [float(values.get(name, np.nan)) for name in self._columns]
        with self._lock:
            if self._length == self._data.shape[1]:
                # A new buffer, never a resize in place: views that `since` handed out keep the old one.
                data = np.empty((len(self._columns), 2 * self._length))
                data[:, : self._length] = self._data
                self._data = data
            self._data[:, self._length] = row
            self._length += 1

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> Floats:
        """The whole column as a copy, float64 [n]."""
        return self.since(0)[self._known(name)].copy()

    def since(self, start: int) -> dict[str, Floats]:
        """Rows start, start + 1, ... of every column, float64 [n - start], as read-only views of one moment.

        No rows are copied: a row once written never changes, so the view stays true while the history grows.
        """
        if start < 0:
            raise ValueError(f"History.since counts rows from 0; got {start}.")
        with self._lock:
            part = self._data[:, min(start, self._length) : self._length]
        part.flags.writeable = False
        return dict(zip(self._columns, part, strict=True))

    def last(self, name: str) -> float:
        """The newest finite value of a column, NaN where there is none."""
        column = self.since(0)[self._known(name)]
        # From the end in blocks: the answer is nearly always in the last rows, of possibly a million.
        for end in range(len(column), 0, -256):
            block = column[max(0, end - 256) : end]
            finite = np.flatnonzero(np.isfinite(block))
            if finite.size:
                return float(block[finite[-1]])
        return float("nan")

    def as_arrays(self) -> dict[str, Floats]:
        """Every column as a copy, float64 [n]: what a checkpoint keeps."""
        return {name: column.copy() for name, column in self.since(0).items()}

    @classmethod
    def from_arrays(cls, columns: Iterable[str], arrays: Mapping[str, Floats]) -> History:
        """The history that `as_arrays` described; raises ValueError where columns or lengths do not fit."""
        history = cls(columns)
        if set(arrays) != set(history.columns):
            raise ValueError(
                f"A History of {', '.join(history.columns)} was expected; got {', '.join(sorted(arrays))}."
            )
        shapes = {name: np.shape(arrays[name]) for name in history.columns}
        length = len(arrays[history.columns[0]]) if np.ndim(arrays[history.columns[0]]) == 1 else -1
        if any(shape != (length,) for shape in shapes.values()):
            raise ValueError(f"The columns of a History are one-dimensional and equally long; got {shapes}.")
        history._data = np.empty((len(history.columns), max(64, length)))
        for name, row in history._row.items():
            history._data[row, :length] = arrays[name]
        history._length = length
        return history

    def _known(self, name: str) -> str:
        if name not in self._row:
            raise KeyError(f"This History has the columns {', '.join(self._columns)}; got {name!r}.")
        return name

    def __repr__(self) -> str:
        return f"History({len(self)} rows of {', '.join(self._columns)})"

"""Runs that are written to disk while they go on: chunks of steps, and what later steps depend on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from flowkit.ensemble import files, layout
from flowkit.ensemble.columns import Columns
from flowkit.ensemble.files import EnsembleError, PathLike, check_finite
from flowkit.ensemble.standing import Mark, tensors_of
from flowkit.geometry.space import Space
from flowkit.storage import zarr_files, zarr_reading
from flowkit.storage.checkpoint import CheckpointError, packed
from flowkit.storage.manifest import Entry, StoreError

PARTS, LEAST, MOST = 64, 16, 2**24
"""A chunk holds a 64th of a run, 16 steps at least, and at most 16 MiB of configurations."""
WAITING = 2**26
"""Bytes of configurations that wait at most for a commit."""
SHARE, SHORTEST, LONGEST = 20, 1.0, 60.0
"""Where no chunk is asked for, a commit comes so many times as long after the last one as that took, in seconds within
these bounds: commits then take at most one part in so many of the time, and a killed process loses no more than that.
"""


class Writer:
    """The folder of a run that goes on.

    Parameters
    ----------
    path : path
        The folder; this run alone writes there until `close`.
    space : Space
        Of the fields.
    columns : Columns
        The steps so far; the writer tells it which configurations it need not keep.
    fields : Tensor
        One row of fields, ``[chains, *space.shape]``.
    chunk : int, optional
        Stored steps in one chunk, each committed when it is full. None lets the writer choose, and commit by the clock.
    there : int, optional
        Stored steps in one chunk of the run that goes on; None where the folder must hold nothing.

    Attributes
    ----------
    spent : float
        Seconds of all commits.

    Raises
    ------
    EnsembleError
        For a folder that another run uses, or that holds something else.
    """

    def __init__(
        self,
        path: PathLike,
        space: Space,
        columns: Columns,
        fields: Tensor,
        chunk: int | None = None,
        *,
        there: int | None = None,
    ):
        self.path, self.space, self.columns = path, space, columns
        self.chunk = there or chunk or layout.steps_in_a_chunk(columns.shape[0], fields, PARTS, LEAST, MOST)
        self.committed, self._asked = columns.filled, chunk
        self._cost, self._end, self.spent = 0.0, time.perf_counter(), 0.0
        self._shared: dict[str, Entry] = {}
        self._store, self._claim = files.store_of(path), ExitStack()
        row = len(fields) * files.row_bytes(fields)
        self._waiting = self.chunk * max(1, min(-(-columns.shape[0] // self.chunk), WAITING // (self.chunk * row)))
        try:
            self._claim.enter_context(self._store.claimed())
            if there is None and self._store.has_commit():
                self.close()
                text = "run() needs a folder of its own, and resume() continues what is there"
                raise EnsembleError(f"{path} holds an ensemble; {text}.")
            if there is not None:
                self._shared = dict(self._store.open().files)
        except StoreError as error:
            self.close()
            raise EnsembleError(str(error)) from error

    @property
    def room(self) -> int:
        """Rows of configurations that wait in memory at most."""
        return self._waiting + 2 * self.chunk

    def due(self) -> bool:
        """Whether the steps so far are to be committed: the first one, then every chunk asked for that is full, or all
        at the time of the next commit.
        """
        taken = self.columns.taken
        if not self.committed or taken - self.columns.first_x >= self._waiting:
            return True
        if self._asked is not None:
            return taken % self.chunk == 0
        return time.perf_counter() - self._end > min(LONGEST, max(SHORTEST, SHARE * self._cost))

    def commit(self, about: Mapping[str, Any], mark: Mark, meta: dict[str, Any], more: Mapping[str, Tensor]) -> None:
        """Commit all rows up to a mark.

        Parameters
        ----------
        about : mapping
            Attributes of the ensemble but for its series.
        mark : Mark
            Of the last row that is there.
        meta : dict
            Plain data of the state.
        more : mapping of Tensor
            Tensors of the state beside those of the mark.

        Raises
        ------
        EnsembleError
            For configurations that are not finite, or a disk that refuses.
        """
        begun, columns, n = time.perf_counter(), self.columns, mark.filled
        if n != columns.filled:
            raise EnsembleError(f"{n} steps were to be written, and {columns.filled} are there.")
        first = self.committed - self.committed % self.chunk
        series, left_out = columns.finish()
        x = None if columns.x is None else columns.x[first - columns.first_x : n - columns.first_x]
        if x is not None:
            check_finite("x", x)
        arrays, names = layout.named_arrays(self.space, x, {k: one[first:] for k, one in series.items()}, self.chunk)
        attributes = files.headed({**about, "series": names})
        meta = {
            **meta,
            "filled": n,
            "chunk": self.chunk,
            "asked": self._asked,
            "order": list(columns.series),
            "left_out": left_out,
        }
        tensors = {f"state.{name}": one for name, one in tensors_of(mark.state).items()}
        try:
            state = packed({**tensors, **more, "rng": mark.rng}, meta, files.STATE)
            with self._store.writing() as draft:
                if self._altered({} if draft.before is None else draft.before.files, first // self.chunk):
                    raise EnsembleError(f"{self.path} was written by others while the run went on.")
                zarr_files.write(draft, attributes, arrays, first)
                for name, data in state.items():
                    draft.write(name, data)
            self._shared = draft.files
        except (StoreError, CheckpointError) as error:
            raise EnsembleError(str(error)) from error
        columns.forget(n - n % self.chunk)
        self._end = time.perf_counter()
        self._cost = self._end - begun if self.committed else 0.0  # the first one loads what writes arrays
        self.committed = n
        self.spent += self._end - begun

    def _altered(self, there: Mapping[str, Entry], full: int) -> bool:
        """Whether the full chunks of the commit before are not those that this run wrote."""
        own = [name for name in self._shared if "/c." in name and int(name.split("/c.")[1].split(".")[1]) < full]
        return any(there.get(name) != self._shared[name] for name in own)

    def fields(self, max_bytes: int) -> Tensor | None:
        """The configurations that were committed; None where they take more than `max_bytes`."""
        if self.columns.x is None:
            return None
        row = self.columns.x[0].numel() * self.columns.x.element_size()
        if self.committed * row > max_bytes:
            return None
        with files.reading(self.path), zarr_files.errors():
            arrays = zarr_reading.read(self._store.open(), max_bytes, only=(layout.FIELD,))[1]
        return torch.from_numpy(arrays[layout.FIELD])

    def close(self) -> None:
        """Let others write there."""
        self._claim.close()

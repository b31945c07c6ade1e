"""From a history of any length to rows that a page can hold: every step at first, then summaries of growing buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


class Grows(Protocol):
    """What is read here: a History, or whatever else only grows."""

    def __len__(self) -> int: ...

    def since(self, start: int) -> Mapping[str, Floats]: ...


def summaries(block: Floats, bucket: int) -> Rows:
    """Three rows for each bucket: of the smallest and largest value the one that comes first, the mean, the other.

    The extremes keep every outlier in the picture; the mean is there because a running mean over extremes alone would
    be that of their middle, which for a skew quantity is another number.

    block    [columns, n] with n a multiple of bucket; NaN is left out, a bucket of NaN alone stays NaN
    returns  [3 n / bucket, columns], float32
    """
    columns, n = block.shape
    parts = block.reshape(columns, n // bucket, bucket)
    finite = np.isfinite(parts)
    count = finite.sum(axis=2)
    mean = np.where(count > 0, np.where(finite, parts, 0.0).sum(axis=2) / np.maximum(count, 1), np.nan)
    low, high = np.fmin.reduce(parts, axis=2), np.fmax.reduce(parts, axis=2)
    first_low = (parts == low[..., None]).argmax(axis=2)
    first_high = (parts == high[..., None]).argmax(axis=2)
    rising = first_low <= first_high
    rows = np.stack([np.where(rising, low, high), mean, np.where(rising, high, low)])
    return rows.transpose(2, 0, 1).reshape(3 * (n // bucket), columns).astype(np.float32)


def gather(history: Grows, columns: tuple[str, ...], start: int = 0) -> Floats:
    """Columns of a history from row `start` on, [columns, n]; what float32 cannot hold as a finite number is NaN."""
    new = history.since(start)
    values = np.stack([new[name] for name in columns])
    return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)


def overview(values: Floats, rows: int) -> tuple[Rows, int]:
    """All of a block [columns, n] in at most `rows` rows, and how many of these are single steps (all, or none)."""
    n = values.shape[1]
    if n <= rows:
        return values.T.astype(np.float32), n
    bucket = -(-n // (rows // 3))
    whole = np.pad(values, ((0, 0), (0, -n % bucket)), constant_values=np.nan)
    return summaries(whole, bucket), 0


class Thinned:
    """Rows of a history as float32, append-only: rows once given out never change, however long the history becomes.

    The first `full` rows are kept as they are. From there on, rows full 2^(b-1) to full 2^b - 1 become `summaries` of
    buckets of 2^(b+2) rows. So n rows become about full (1 + 3/8 log2(n / full)), and the newest rows, which have not
    yet filled a bucket, are fewer than 8 n / full.
    """

    def __init__(self, columns: tuple[str, ...], full: int = 20_000):
        if full < 8 or full % 8:
            raise ValueError(f"Thinned keeps a multiple of 8 rows in full, so that buckets fit between; got {full}.")
        self.columns = columns
        self.full = full
        self.taken = 0  # rows of the history that the rows here stand for
        self._rows = np.empty((1024, len(columns)), dtype=np.float32)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> Rows:
        return self._rows[: self._length][part]

    def update(self, history: Grows) -> None:
        """Take what the history has gained since the last call."""
        new = gather(history, self.columns, self.taken)
        while True:
            # taken < full: band 0; else full 2^(band-1) <= taken < full 2^band.
            band = (self.taken // self.full).bit_length()
            bucket = 1 if band == 0 else 2 ** (band + 2)
            n = min(new.shape[1], (self.full << band) - self.taken)
            n -= n % bucket
            if n == 0:
                return
            part, new = new[:, :n], new[:, n:]
            self._append(part.T.astype(np.float32) if bucket == 1 else summaries(part, bucket))
            self.taken += n

    def _append(self, rows: Rows) -> None:
        length = self._length + len(rows)
        if length > len(self._rows):
            grown = np.empty((max(length, 2 * len(self._rows)), len(self.columns)), dtype=np.float32)
            grown[: self._length] = self[:]
            self._rows = grown
        self._rows[self._length : length] = rows
        self._length = length

"""One run of a chain panel: rows for the page, counts of its charges, and its autocorrelation function."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowkit import stats
from flowkit.panels.pictures import Layer
from flowkit.panels.stream import Floats
from flowkit.tasks.history import History

if TYPE_CHECKING:
    from flowkit.ensemble.chain_numbers import ChainNumbers

DRAWN_LAGS = 64
CLOCK = ("step", "seconds", "forces")


class ChainRows:
    """Clock and one chain's values as rows that only grow."""

    def __init__(self, numbers: ChainNumbers, names: Sequence[str], chain: int):
        self._numbers, self._names, self.chain = numbers, names, chain
        self.clock = numbers.clock()

    def __len__(self) -> int:
        return len(self.clock)

    def since(self, start: int) -> Mapping[str, Floats]:
        clock = self.clock.since(start)
        n = len(clock["step"])
        columns = {name: clock[name] for name in CLOCK}
        for name in self._names:
            values = self._numbers.series(name)[start : start + n, self.chain]
            # A run that began again meanwhile has other series; its clock is another one too, and comes next.
            columns[name] = values if len(values) == n else np.full(n, np.nan)
        return columns


class Charges:
    """Counts of the rounded charge of each chain, taken up row by row, and how often it changed.

    Examples
    --------
    >>> import numpy as np
    >>> from flowkit.panels.chain_run import Charges
    >>> counts = Charges(chains=1)
    >>> counts.update(np.array([[0.0], [1.0], [1.0], [0.0]]))
    >>> counts.changes, counts.shares()[:2]
    (2, (array([0., 1.]), array([0.5, 0.5])))
    """

    def __init__(self, chains: int):
        self.taken = self.changes = self.low = 0
        self.counts: NDArray[np.int64] = np.zeros((chains, 1), dtype=np.int64)
        self._last: NDArray[np.int64] | None = None

    def update(self, charge: Floats) -> None:
        """Take what ``[n, chains]`` has gained since the last call."""
        new = np.rint(charge[self.taken :]).astype(np.int64)
        if not len(new):
            return
        self.taken += len(new)
        joined = new if self._last is None else np.concatenate([self._last[None], new])
        self.changes += int((joined[1:] != joined[:-1]).sum())
        self._last = new[-1]
        low, high = min(self.low, int(new.min())), max(self.low + self.counts.shape[1] - 1, int(new.max()))
        chains, width = len(self.counts), high - low + 1
        places = (new - low + np.arange(chains) * width).ravel()
        counts, first = np.bincount(places, minlength=chains * width).reshape(chains, width), self.low - low
        counts[:, first : first + self.counts.shape[1]] += self.counts
        self.low, self.counts = low, counts

    def shares(self) -> tuple[Floats, Floats, Floats]:
        """Charges that were seen, the share of each, and its standard error from the spread of the chains, which holds
        however slowly a chain moves; NaN below four chains.
        """
        share = self.counts / max(1, self.taken)
        chains = len(share)
        error = share.std(axis=0, ddof=1) / np.sqrt(chains) if chains >= 4 else np.full(share.shape[1], np.nan)
        return self.low + np.arange(share.shape[1], dtype=float), share.mean(axis=0), error


class Correlation(NamedTuple):
    """The normalised autocorrelation function at lags 0, 1, ..., the window of its sum (0: none), and both in words."""

    rho: Floats
    window: int
    text: str


def correlate(values: Floats) -> Correlation:
    """The autocorrelation function of a series ``[n, chains]``."""
    try:
        found = stats.autocorrelation(values)
    except ValueError as why:
        return Correlation(np.empty(0), 0, "never changes" if "all equal" in str(why) else "too short")
    text = f"tau_int {stats.format_error(found.tau_int, found.tau_int_error)}, window {found.window}"
    if not found.complete:
        text = f"tau_int above {found.tau_int:.2g}, no window fits"
    return Correlation(found.rho[: max(12, 3 * found.window)], found.window, text)


class ChainRun:
    """What a chain panel knows of one run. Threads of the live view and `figure` may ask at the same time.

    Parameters
    ----------
    name, colour, marker : str
        How it looks beside others.
    numbers : ChainNumbers
        What is read of it.
    charge : str
        Name of the series that is counted; empty for none.
    correlated : str
        Name of the series whose autocorrelation is shown.
    """

    def __init__(self, name: str, colour: str, marker: str, numbers: ChainNumbers, charge: str, correlated: str):
        self.name, self.colour, self.marker, self.numbers = name, colour, marker, numbers
        self._charge, self._correlated = charge, correlated
        self._rows: ChainRows | None = None
        self._counted_of: History | None = None
        self._correlated_at: tuple[History | None, int] = (None, 0)
        self.charges, self.correlation = Charges(numbers.chains), correlate(np.empty((0, 1)))
        self._locks = threading.Lock(), threading.Lock()

    def rows(self, names: Sequence[str], chain: int) -> ChainRows:
        """The same object until the run begins again or another chain is drawn."""
        if self._rows is None or self._rows.clock is not self.numbers.clock() or self._rows.chain != chain:
            self._rows = ChainRows(self.numbers, names, chain)
        return self._rows

    def count(self) -> tuple[History, int]:
        """Bring `charges` up to date; returns the clock and how many rows are counted."""
        with self._locks[0]:
            clock = self.numbers.clock()
            if self._counted_of is not clock:
                self._counted_of, self.charges = clock, Charges(self.numbers.chains)
            self.charges.update(self.numbers.series(self._charge)[: len(clock)])
            return clock, self.charges.taken

    def correlate(self) -> tuple[History, int]:
        """Bring `correlation` up to date; returns the clock and how many rows it is of."""
        with self._locks[1]:
            clock = self.numbers.clock()
            if (at := (clock, len(clock))) != self._correlated_at:
                self.correlation = correlate(self.numbers.series(self._correlated)[: at[1]])
                self._correlated_at = at
            return at

    def share_layer(self, aside: float) -> Layer:
        """The share of each charge, drawn beside those of other runs."""
        charge, share, error = self.charges.shares()
        return Layer(charge + aside, share, self.colour, "points", self.name, error, self.marker)

    def correlation_layer(self) -> Layer:
        """The autocorrelation function at some sixty lags."""
        rho, _, text = self.correlation
        every = max(1, -(-len(rho) // DRAWN_LAGS))
        lags = np.arange(0, len(rho), every, dtype=float)
        return Layer(lags, rho[::every], self.colour, "line", f"{self.name}: {text}", marker=self.marker)

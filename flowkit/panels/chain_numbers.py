"""What a chain panel computes beside the histories: how often each charge was seen, and autocorrelations."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flowkit import stats
from flowkit.actions import Wilson
from flowkit.groups import Group
from flowkit.panels.colours import BLACK
from flowkit.panels.pictures import Layer, Picture
from flowkit.panels.sources import Source, shared_theory
from flowkit.panels.thin import Floats

DRAWN_LAGS = 64
# Of its own time that the panel waits before it computes autocorrelations anew: a run then loses .1 %.
PATIENCE = 1000.0


class Charges:
    """Counts of the rounded charge of each chain, taken up row by row, and how often it changed."""

    def __init__(self, chains: int):
        self.taken = self.changes = 0
        self.low = 0
        self.counts: NDArray[np.int64] = np.zeros((chains, 1), dtype=np.int64)
        self._last: NDArray[np.int64] | None = None

    def update(self, charge: Floats) -> bool:
        """Take what [n, chains] has gained since the last call; returns whether it was anything."""
        new = np.rint(charge[self.taken :]).astype(np.int64)
        if not len(new):
            return False
        self.taken += len(new)
        joined = new if self._last is None else np.concatenate([self._last[None], new])
        self.changes += int((joined[1:] != joined[:-1]).sum())
        self._last = new[-1]
        low, high = min(self.low, int(new.min())), max(self.low + self.counts.shape[1] - 1, int(new.max()))
        chains, width = len(self.counts), high - low + 1
        counts = np.bincount((new - low + np.arange(chains) * width).ravel(), minlength=chains * width)
        counts = counts.reshape(chains, width)
        first = self.low - low
        counts[:, first : first + self.counts.shape[1]] += self.counts
        self.low, self.counts = low, counts
        return True

    def shares(self) -> tuple[Floats, Floats, Floats]:
        """Charges that were seen, the share of each, and its standard error from the spread of the chains, which holds
        however slowly a chain moves; NaN below four chains.
        """
        share = self.counts / max(1, self.taken)
        chains = len(share)
        error = share.std(axis=0, ddof=1) / np.sqrt(chains) if chains >= 4 else np.full(share.shape[1], np.nan)
        return self.low + np.arange(share.shape[1], dtype=float), share.mean(axis=0), error


class Correlation:
    """The autocorrelation function of a series; while the run goes on, computed so seldom that it costs little."""

    def __init__(self) -> None:
        self.rho: Floats = np.empty(0)
        self.window, self.text, self.n = 0, "", 0
        self._next = -np.inf

    def due(self, n: int, going: bool) -> bool:
        """Whether n steps are news, and it is time to look at them."""
        return n != self.n and (not going or (time.monotonic() >= self._next and n >= 1.2 * self.n))

    def update(self, values: Floats) -> None:
        """Compute it from [n, chains]."""
        begun = time.thread_time()
        self.n = len(values)
        try:
            found = stats.autocorrelation(values)
            self.window = found.window
            end = min(len(found.rho), max(12, 3 * found.window))
            self.rho = found.rho[:end]
            self.text = f"tau_int {stats.format_error(found.tau_int, found.tau_int_error)}, window {found.window}"
            if not found.complete:
                self.text = f"tau_int above {found.tau_int:.2g}, no window fits"
        except ValueError as why:
            self.rho, self.window = np.empty(0), 0
            self.text = "never changes" if "all equal" in str(why) else "too short"
        self._next = time.monotonic() + PATIENCE * (time.thread_time() - begun)

    def layer(self, colour: str, name: str, marker: str) -> Layer:
        every = max(1, -(-len(self.rho) // DRAWN_LAGS))
        lags = np.arange(0, len(self.rho), every, dtype=float)
        return Layer(lags, self.rho[::every], colour, "line", f"{name}: {self.text}", marker=marker)


def exact_charges(sources: list[Source], charges: Floats) -> Floats | None:
    """P(Q), where all runs have one theory and its distribution is known: U(1) in two dimensions."""
    action = shared_theory(sources)
    if not isinstance(action, Wilson) or action.space.ndim != 2:
        return None
    return _charges(action.space.group, float(action.beta), action.space.volume, tuple(int(q) for q in charges))


@lru_cache(maxsize=64)
def _charges(group: Group, beta: float, volume: int, charges: tuple[int, ...]) -> Floats | None:
    found: Floats | None = group.charge_distribution_2d(beta, volume, charges)
    return found


def charge_picture(sources: list[Source], counts: list[Charges], looks: list[tuple[str, str, str]]) -> Picture:
    """Shares of the charges in all chains, run beside run, with the exact ones; looks are (name, colour, marker)."""
    layers = []
    reach = 1
    for i, ((name, colour, marker), count) in enumerate(zip(looks, counts, strict=True)):
        charge, share, error = count.shares()
        reach = max(reach, *(int(abs(q)) for q in charge[share > 0]), 1)
        aside = 0.18 * (i - (len(counts) - 1) / 2)
        if count.taken:
            layers.append(Layer(charge + aside, share, colour, "points", name, error, marker))
    charges = np.arange(-reach - 1, reach + 2, dtype=float)
    known = exact_charges(sources, charges)
    if known is not None:
        layers.append(Layer(charges, known, BLACK, "outline", "exact"))
    return Picture(
        "Share of each Q", "dimensionless", "Q (dimensionless)", layers, range=(0.0, 1.0) if reach < 2 else None
    )

"""The one rule that keeps the cost of a panel down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 0.003
"""Of one processor core, for each piece of work that a panel repeats."""


class Pace:
    """When a piece of work that a panel repeats is done again.

    It is due `every` seconds after it was done last, or later where it would take more than `SHARE` of a processor
    core: its processor time over `SHARE`. The smaller of its last two times counts, so that a single slow one, as
    after the choice of another chain, delays nothing. A change of what it depends on, such as the end of a run, makes
    it due at once.

    Parameters
    ----------
    every : float
        Shortest time from one to the next, in seconds.

    Examples
    --------
    >>> from flowkit.panels.pace import Pace
    >>> pace = Pace(every=30.0)
    >>> pace.due("running")
    True
    >>> with pace.work("running"):
    ...     pass
    >>> pace.due("running"), pace.due("finished")
    (False, True)
    """

    def __init__(self, every: float):
        self.every = every
        self._times, self._next = (0.0, 0.0), 0.0
        self._of: object = None

    def due(self, of: object = None) -> bool:
        """Whether the work is to be done now; `of` is what it depends on, such as the states of the runs."""
        return of != self._of or time.monotonic() >= self._next

    @contextmanager
    def work(self, of: object = None) -> Iterator[None]:
        """Do the work inside, and measure it."""
        begun, self._of = time.thread_time(), of
        try:
            yield
        finally:
            self._times = self._times[1], time.thread_time() - begun
            self._next = time.monotonic() + max(self.every, min(self._times) / SHARE)

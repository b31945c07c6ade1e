"""One history on its way to the pages: what is new, what a page lacks, and what a notebook keeps of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowkit.panels.colours import BLUE, ON_DARK
from flowkit.panels.thin import Grows, Rows, Thinned, gather, overview

Status = dict[str, Any]
Message = tuple[dict[str, Any], list[bytes]]

LARGEST_MESSAGE = 256 * 1024  # bytes; a page that lacks more asks again, and so sets the pace itself
SAVED_ROWS = 1000
SAVE_EVERY = 30.0  # s
SAVE_PATIENCE = 1000.0  # times the processor time of the last one, where that is longer: .1 % of a core


class Feed:
    """Rows of a history as messages that only append.

    history    gives the history as it is now
    status     gives state, step, total, error, and perhaps `text`: small, JSON-able
    columns    those that travel
    name       of the run, and its colour, where several are shown together

    Every message carries the index of its first row and how many rows were sent in all, so that a page that starts
    late, was reloaded or lost a message sees the gap. `full` says how many rows are single steps; the others are
    summaries (see `thin`). `generation` changes when the history was exchanged for another one, which empties the page.
    """

    def __init__(
        self,
        history: Callable[[], Grows],
        status: Callable[[], Status],
        columns: Sequence[str],
        name: str = "",
        colour: str = BLUE,
    ):
        self._history, self._status = history, status
        self.columns, self.name, self.colour = tuple(columns), name, colour
        self.lock = threading.Lock()  # held from the making of a message until it is sent: pages see them in order
        self._generation = 0
        self._last_status: Status = {}
        self._save_from = -np.inf
        self._saved_key: tuple[int, int, object] = (0, 0, None)
        self._exchange()
        self.rows.update(self._seen)
        self._sent = len(self.rows)  # no page is there yet; the first one asks for what is older

    def plain(self) -> dict[str, Any]:
        """What the front end has to know of it."""
        dark = ON_DARK[self.colour]
        return {"columns": list(self.columns), "name": self.name, "colour": self.colour, "colour_dark": dark}

    def _exchange(self) -> None:
        self._seen = self._history()
        self.rows = Thinned(self.columns)
        self._generation += 1
        self._sent = 0

    def news(self) -> Message | None:
        """What no page has been told, None where nothing changed. The caller holds the lock."""
        if self._history() is not self._seen:
            self._exchange()
        self.rows.update(self._seen)
        status = self._status()
        if self._sent == len(self.rows) and status == self._last_status:
            return None
        self._last_status = status
        start = self._sent
        self._sent = start + len(self._part(start, len(self.rows)))
        return self._message(start, self._sent, status, answer=False)

    def answer(self, have: int, generation: object) -> Message:
        """What a page with `have` rows of that generation lacks. The caller holds the lock."""
        # What a page has of another history, or beyond what was ever sent, is of no use to it.
        if generation != self._generation or not 0 <= have <= self._sent:
            have = 0
        return self._message(have, self._sent, self._status(), answer=True)

    def _part(self, start: int, end: int) -> Rows:
        most = LARGEST_MESSAGE // (4 * len(self.columns))
        return self.rows[start : min(end, start + most)]

    def _message(self, start: int, end: int, status: Status, answer: bool) -> Message:
        message = {
            "op": "append",
            "generation": self._generation,
            "start": start,
            "sent": self._sent,
            "rows": self.rows.taken,
            "full": self.rows.full,
            "status": status,
            "answer": answer,
        }
        return message, [self._part(start, end).tobytes()] if end > start else []

    def picture(self, at_once: bool) -> tuple[Status, bytes] | None:
        """Status and rows for the saved notebook; None where they are as they were, or it is too early for new ones.

        at_once    however early, and whatever the status of the last news
        """
        with self.lock:
            status = self._status() if at_once else self._last_status
            key = (self._generation, len(self.rows), status.get("state"))
            going = status["state"] in ("running", "stopping")
            early = going and time.monotonic() < self._save_from
            if key == self._saved_key or (early and not at_once):
                return None
            self._saved_key, begun = key, time.thread_time()
            picture, full = overview(gather(self._seen, self.columns), SAVED_ROWS)
            self._save_from = time.monotonic() + max(SAVE_EVERY, SAVE_PATIENCE * (time.thread_time() - begun))
            return {**status, "rows": len(self._seen), "full": full}, picture.tobytes()

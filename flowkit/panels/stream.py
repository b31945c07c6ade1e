"""The widget that shows curves while they grow: binary appends to the page, and an answer to a page that lacks some."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from flowkit.history import History
from flowkit.panels.base import let_subshell_answer
from flowkit.panels.thin import Rows, Thinned, gather, overview

Status = dict[str, Any]

STATIC = Path(__file__).parent / "static"
LARGEST_MESSAGE = 256 * 1024  # bytes; a page that lacks more asks again, and so sets the pace itself
SAVED_ROWS = 1000
SAVE_EVERY = 30.0  # s


def bundle(name: str) -> str:
    """Text of a built front-end file; raises FileNotFoundError with the way to build it."""
    path = STATIC / name
    if not path.is_file():
        raise FileNotFoundError(
            f"The panels' front end is not built: {path} is missing. In a checkout run "
            "`python flowkit/panels/frontend/build.py`; an installed package brings it along."
        )
    return path.read_text(encoding="utf-8")


class LiveCurves(anywidget.AnyWidget):
    """Curves against a common first column, streamed to every page that shows them.

    history   gives the history as it is now; columns are those drawn, the first is the horizontal axis
    status    gives state, step, total, error: small, JSON-able
    plots     one dictionary a picture: column, label, short, unit, colour, colour_dark, log, range, show, headline

    Every message carries the index of its first row and how many rows were sent in all. A page that starts late, was
    reloaded or lost a message sees the gap and asks ("resync") for the rows from what it has. `full` says how many rows
    are single steps; the others are summaries (see `thin`). `generation` changes when the history was exchanged for
    another one, which empties the page.
    """

    _esm = bundle("live.js")
    _css = bundle("live.css")
    uid = traitlets.Unicode().tag(sync=True)
    columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    plots = traitlets.List(traitlets.Dict()).tag(sync=True)
    # What a reopened notebook shows while it has no kernel; the page never counts it as received.
    saved = traitlets.Bytes(b"").tag(sync=True)
    saved_status = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        history: Callable[[], History],
        status: Callable[[], Status],
        columns: Sequence[str],
        plots: Sequence[dict[str, Any]],
    ):
        super().__init__(uid=uuid.uuid4().hex, columns=list(columns), plots=list(plots))
        self._history, self._status = history, status
        self._lock = threading.Lock()
        self._generation = 0
        self._last_status: Status = {}
        self._saved_at = -np.inf
        self._saved_key: tuple[int, int, object] = (0, 0, None)
        self._closed = threading.Event()
        self._exchange()
        self._rows.update(self._seen)
        self._sent = len(self._rows)  # no page is there yet; the first one asks for what is older
        let_subshell_answer(self)
        self.on_msg(self._on_message)
        self.save_picture()

    def _exchange(self) -> None:
        self._seen = self._history()
        self._rows = Thinned(tuple(self.columns))
        self._generation += 1
        self._sent = 0

    def _take(self) -> None:
        if self._history() is not self._seen:
            self._exchange()
        self._rows.update(self._seen)

    def flush(self) -> None:
        """Send what is new, as one message; nothing where nothing changed."""
        with self._lock:
            self._take()
            status = self._status()
            if self._sent == len(self._rows) and status == self._last_status:
                return
            self._last_status = status
            start = self._sent
            self._sent = start + len(self._part(start, len(self._rows)))
            self._post(start, self._sent, status, answer=False)
        if status["state"] not in ("running", "stopping") or time.monotonic() - self._saved_at > SAVE_EVERY:
            self.save_picture()

    def _part(self, start: int, end: int) -> Rows:
        most = LARGEST_MESSAGE // (4 * len(self.columns))
        return self._rows[start : min(end, start + most)]

    def _post(self, start: int, end: int, status: Status, answer: bool) -> None:
        message = {
            "op": "append",
            "generation": self._generation,
            "start": start,
            "sent": self._sent,
            "rows": self._rows.taken,
            "full": self._rows.full,
            "status": status,
            "answer": answer,
        }
        self.send(message, buffers=[self._part(start, end).tobytes()] if end > start else [])

    def _on_message(self, _: object, content: dict[str, Any], __: object) -> None:
        if content.get("op") != "resync":
            return
        with self._lock:
            have = int(content.get("have", 0))
            # What a page has of another history, or beyond what was ever sent, is of no use to it.
            if content.get("generation") != self._generation or not 0 <= have <= self._sent:
                have = 0
            self._post(have, self._sent, self._status(), answer=True)

    def save_picture(self) -> None:
        """Bring the saved picture up to date, so that saving the notebook keeps the curves as they are now."""
        with self._lock:
            status = self._status()
            key = (self._generation, len(self._rows), status.get("state"))
            if key == self._saved_key:
                return
            self._saved_key, self._saved_at = key, time.monotonic()
            picture, full = overview(gather(self._seen, tuple(self.columns)), SAVED_ROWS)
        self.set_trait("saved_status", {**status, "rows": len(self._seen), "full": full})
        self.set_trait("saved", picture.tobytes())

    def stream(self, per_second: float) -> None:
        """Flush `per_second` times a second in a thread of its own, until `close`."""

        def loop() -> None:
            while not self._closed.wait(1.0 / per_second):
                self.flush()

        threading.Thread(target=loop, name="flowkit-panel", daemon=True).start()

    def close(self) -> None:
        # ipywidgets closes a widget from its own __init__ failures and at exit too, before _closed may exist.
        if hasattr(self, "_closed"):
            self._closed.set()
        super().close()

    def __repr__(self) -> str:
        return f"LiveCurves({', '.join(self.columns)})"

"""The widget that shows curves while they grow: binary appends to the page, and an answer to a page that lacks some."""

from __future__ import annotations

import math
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets
from comm import DummyComm

from flowkit.panels.base import Panel, close_all, let_subshell_answer
from flowkit.panels.curves import Axis, Curve
from flowkit.panels.feed import Feed, Message
from flowkit.panels.pictures import Picture

STATIC = Path(__file__).parent / "static"
PICTURES_EVERY = 2.0  # s
SHARE = 0.003  # of one core at most for curves: their updates come less often where one takes longer
GONE_AFTER = 5.0  # s without a view on any page; a page that only moves one, or is loaded again, is back sooner


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
    """Curves of one run or of several, streamed to every page that shows them.

    feeds      one for each run; a page that lacks rows of one asks for them ("resync")
    curves     what is drawn of them
    axes       what can be the horizontal axis, the first one to begin with
    pictures   each gives finished pictures, as a histogram; each has a thread of its own, so that one that takes long
               delays no other
    title      what a screen reader calls the panel
    """

    _esm = bundle("live.js")
    _css = bundle("live.css")
    uid = traitlets.Unicode().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    runs = traitlets.List(traitlets.Dict()).tag(sync=True)
    plots = traitlets.List(traitlets.Dict()).tag(sync=True)
    axes = traitlets.List(traitlets.Dict()).tag(sync=True)
    pictures = traitlets.List(traitlets.Dict()).tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)
    # What a reopened notebook shows while it has no kernel, for each run; the page never counts it as received.
    saved = traitlets.List(traitlets.Bytes()).tag(sync=True)
    saved_status = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(
        self,
        feeds: Sequence[Feed],
        curves: Sequence[Curve],
        axes: Sequence[Axis],
        pictures: Sequence[Callable[[], Sequence[Picture]]] = (),
        title: str = "Curves, live",
    ):
        super().__init__(
            uid=uuid.uuid4().hex,
            title=title,
            runs=[feed.plain() for feed in feeds],
            plots=[curve.as_plot() for curve in curves],
            axes=[axis._asdict() for axis in axes],
            saved=[b""] * len(feeds),
            saved_status=[{}] * len(feeds),
        )
        self.feeds, self._makers = tuple(feeds), tuple(pictures)
        self._drawn: list[Sequence[Picture]] = [()] * len(pictures)
        self._drawing = threading.Lock()
        self._watch = threading.Lock()
        self._jobs: list[tuple[Callable[[], None], float, float]] = []  # what, seconds between, share of a core
        self._end = threading.Event()  # of the threads that run now
        self._closed = False
        self._gone_at: float | None = None  # when a page said that its last view is gone
        self._panel: weakref.ref[Panel] | None = None
        self._kept: Panel | None = None
        let_subshell_answer(self)
        self.on_msg(self._on_message)
        self.save_picture()

    def flush(self) -> None:
        """Send what is new, as one message for each run; nothing where nothing changed."""
        for i, feed in enumerate(self.feeds):
            with feed.lock:
                news = feed.news()
                if news is not None:
                    self._post(i, news)
        self.save_picture(at_once=False)

    def draw_pictures(self, which: int) -> None:
        """Bring the finished pictures of the maker `which` up to date; they travel where they changed, and where it
        gave the same list as last time nothing is done.
        """
        pictures = self._makers[which]()
        if pictures is self._drawn[which]:
            return
        with self._drawing:
            self._drawn[which] = pictures
            self.set_trait("pictures", [picture.plain() for some in self._drawn for picture in some])

    def _post(self, run: int, message: Message) -> None:
        content, buffers = message
        self.send({**content, "run": run}, buffers=buffers)

    def _on_message(self, _: object, content: dict[str, Any], __: object) -> None:
        op = content.get("op")
        if op == "shown":
            self._shown()
        elif op == "gone":
            self._gone_at = time.monotonic()
            self.send({"op": "who"})  # other pages that have a view say so
        elif op == "resync":
            run = int(content.get("run", 0))
            if 0 <= run < len(self.feeds):
                with self.feeds[run].lock:
                    self._post(run, self.feeds[run].answer(int(content.get("have", 0)), content.get("generation")))

    def save_picture(self, at_once: bool = True) -> None:
        """Bring the saved picture up to date, so that saving the notebook keeps the curves as they are now."""
        found = [feed.picture(at_once) for feed in self.feeds]
        if any(found):
            old = zip(self.saved_status, self.saved, strict=True)
            status, saved = zip(*(new or before for new, before in zip(found, old, strict=True)), strict=True)
            self.set_trait("saved_status", list(status))
            self.set_trait("saved", list(saved))

    def stream(self, per_second: float, panel: Panel | None = None, root: ipywidgets.Widget | None = None) -> None:
        """Flush in a thread of its own, and draw pictures in others, until `close` or until the last view on a page is
        gone, as when the cell is run again; a new view begins anew.

        per_second    flushes at most; fewer where they would take more than SHARE of a core
        panel         is kept as long as a page shows it; what the feeds and makers ask of it must not hold it
        root          is closed when the panel is collected: this view and what lies beside it
        """
        self._jobs = [(self._flush_or_rest, 1.0 / per_second, SHARE)]
        # Makers that may take long see to it themselves that they seldom do, and are prompt at the end of a run.
        self._jobs += [(partial(self.draw_pictures, i), PICTURES_EVERY, math.inf) for i in range(len(self._makers))]
        if panel is not None:
            self._panel = weakref.ref(panel)
            # Without a kernel there is no page that could say when it is done with it.
            self._kept = None if isinstance(self.comm, DummyComm) else panel
            weakref.finalize(panel, close_all, root or self).atexit = False
        self._begin()

    def _begin(self) -> None:
        self._end = threading.Event()
        for job in self._jobs:
            arguments = (self._end, *job)
            threading.Thread(target=self._repeat, args=arguments, name="flowkit-panel", daemon=True).start()

    def _repeat(self, end: threading.Event, do: Callable[[], None], seconds: float, share: float) -> None:
        said, cost, wait = "", 0.0, seconds
        while not end.wait(wait) and not self._closed:  # a page may have shown it while it was closed
            begun = time.thread_time()
            try:
                do()
            except Exception as error:  # it would end the thread unseen
                if self._panel is not None and self._panel() is None:
                    return  # its panel was collected at this moment
                said = f"This panel failed to draw: {type(error).__name__}: {error}"
                self.set_trait("trouble", said)
            else:
                if said and self.trouble == said:
                    self.set_trait("trouble", "")
                said = ""
            # A mean of the last ones. One far above the others, as when another chain is chosen, counts little.
            cost += (min(time.thread_time() - begun, 4 * cost + 1e-3) - cost) / 8
            wait = max(seconds, cost / share)

    def _flush_or_rest(self) -> None:
        kept = None
        with self._watch:
            rests = self._gone_at is not None and time.monotonic() >= self._gone_at + GONE_AFTER
            if rests:
                self._end.set()
                kept, self._kept = self._kept, None
        del kept  # not under the lock: where nobody else holds the panel, this closes the view
        if not rests:
            self.flush()

    def _shown(self) -> None:
        """A page has a view of it."""
        with self._watch:
            self._gone_at = None
            self._kept = None if self._panel is None else self._panel()
            if self._jobs and self._end.is_set() and not self._closed:
                self._begin()

    def close(self) -> None:
        # ipywidgets closes a widget from its own __init__ failures and at exit too, before these may exist.
        if hasattr(self, "_end"):
            self._closed = True
            self._end.set()
            self._kept = None
        super().close()

    def __repr__(self) -> str:
        names = ", ".join(feed.name for feed in self.feeds if feed.name)
        return f"LiveCurves({names or ', '.join(column for feed in self.feeds for column in feed.columns)})"

"""The widget that shows curves while they grow: binary appends to the page, and an answer to a page that lacks some."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from flowkit.panels.base import let_subshell_answer
from flowkit.panels.curves import Axis, Curve
from flowkit.panels.feed import Feed, Message
from flowkit.panels.pictures import Picture

STATIC = Path(__file__).parent / "static"
PICTURES_EVERY = 1.0  # s


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
        self._closed = threading.Event()
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
        """Bring the finished pictures of the maker `which` up to date; they travel where they changed."""
        pictures = self._makers[which]()
        with self._drawing:
            self._drawn[which] = pictures
            self.set_trait("pictures", [picture.plain() for some in self._drawn for picture in some])

    def _post(self, run: int, message: Message) -> None:
        content, buffers = message
        self.send({**content, "run": run}, buffers=buffers)

    def _on_message(self, _: object, content: dict[str, Any], __: object) -> None:
        if content.get("op") != "resync":
            return
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

    def stream(self, per_second: float) -> None:
        """Flush `per_second` times a second in a thread of its own, until `close`, and draw pictures in others."""

        def loop(do: Callable[[], None], seconds: float) -> None:
            said = ""
            while not self._closed.wait(seconds):
                try:
                    do()
                except Exception as error:  # it would end the thread unseen
                    said = f"This panel failed to draw: {type(error).__name__}: {error}"
                    self.set_trait("trouble", said)
                else:
                    if said and self.trouble == said:
                        self.set_trait("trouble", "")
                    said = ""

        jobs = [(self.flush, 1.0 / per_second)]
        jobs += [(partial(self.draw_pictures, i), PICTURES_EVERY) for i in range(len(self._makers))]
        for do, seconds in jobs:
            threading.Thread(target=loop, args=(do, seconds), name="flowkit-panel", daemon=True).start()

    def close(self) -> None:
        # ipywidgets closes a widget from its own __init__ failures and at exit too, before _closed may exist.
        if hasattr(self, "_closed"):
            self._closed.set()
        super().close()

    def __repr__(self) -> str:
        names = ", ".join(feed.name for feed in self.feeds if feed.name)
        return f"LiveCurves({names or ', '.join(column for feed in self.feeds for column in feed.columns)})"

"""Histories on their way to the pages that show them: rows thinned out, appended, and asked for again.

One file, although long, because the three parts follow one protocol: what a row stands for (`Thinned`), which rows a
message holds (`Feed`), and when it is sent (`LiveCurves`).
"""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import anywidget
import ipywidgets
import numpy as np
import traitlets
from comm import DummyComm
from numpy.typing import NDArray

from flowkit.panels.base import Bundled, Panel, close_all, let_subshell_answer
from flowkit.panels.colours import BLUE, ON_DARK
from flowkit.panels.pace import Pace
from flowkit.panels.pictures import Axis, Curve, Picture

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Status = dict[str, Any]
Message = tuple[dict[str, Any], list[bytes]]

LARGEST_MESSAGE = 256 * 1024  # bytes; a page that lacks more asks again, and so sets the pace itself
SAVED_ROWS = 1000
SAVE_EVERY = 30.0  # s
PICTURES_EVERY = 2.0  # s
GONE_AFTER = 5.0  # s without a view on any page; a page that only moves one, or is loaded again, is back sooner


class Grows(Protocol):
    """What is read here: a History, or whatever else only grows."""

    def __len__(self) -> int: ...

    def since(self, start: int) -> Mapping[str, Floats]: ...


def summaries(block: Floats, bucket: int) -> Rows:
    """Three rows for each bucket: of the smallest and largest value the one that comes first, the mean, the other.

    The extremes keep every outlier in the picture; the mean is there because a running mean over extremes alone would
    be that of their middle, which for a skew quantity is another number.

    Parameters
    ----------
    block : array, [columns, n]
        n is a multiple of bucket. NaN is left out; a bucket of NaN alone stays NaN.
    bucket : int
        Rows that become three.

    Returns
    -------
    array, [3 n / bucket, columns], float32

    Examples
    --------
    >>> import numpy as np
    >>> from flowkit.panels.stream import summaries
    >>> summaries(np.array([[1.0, 5.0, 2.0, 4.0]]), bucket=4).T
    array([[1., 3., 5.]], dtype=float32)
    """
    columns, n = block.shape
    parts = block.reshape(columns, n // bucket, bucket)
    finite = np.isfinite(parts)
    count = finite.sum(axis=2)
    mean = np.where(count > 0, np.where(finite, parts, 0.0).sum(axis=2) / np.maximum(count, 1), np.nan)
    low, high = np.fmin.reduce(parts, axis=2), np.fmax.reduce(parts, axis=2)
    rising = (parts == low[..., None]).argmax(axis=2) <= (parts == high[..., None]).argmax(axis=2)
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
        self.columns, self.full = columns, full
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


class Feed:
    """Rows of a history as messages that only append.

    Every message carries the index of its first row and how many rows were sent in all, so that a page that starts
    late, was reloaded or lost a message sees the gap. `full` says how many rows are single steps; the others are
    summaries. `generation` changes when the history was exchanged for another one, which empties the page.

    Parameters
    ----------
    history : callable
        Gives the history as it is now.
    status : callable
        Gives state, step, total, error, and perhaps `text`: small, and JSON can hold it.
    columns : sequence of str
        Those that travel.
    name, colour : str
        Of the run, where several are shown together.
    """

    def __init__(
        self,
        history: Callable[[], Grows],
        status: Callable[[], Status],
        columns: Sequence[str],
        name: str = "",
        colour: str = BLUE,
    ):
        self._history, self.status = history, status
        self.columns, self.name, self.colour = tuple(columns), name, colour
        self.lock = threading.Lock()  # held from the making of a message until it is sent: pages see them in order
        self._generation, self._saved_key = 0, None  # type: tuple[int, object]
        self._last_status: Status = {}
        self._exchange()
        self.rows.update(self._seen)
        self._sent = len(self.rows)  # no page is there yet; the first one asks for what is older

    def plain(self) -> dict[str, Any]:
        """What the front end has to know of it."""
        colours = {"colour": self.colour, "colour_dark": ON_DARK[self.colour]}
        return {"columns": self.columns, "name": self.name, **colours}

    def _exchange(self) -> None:
        self._seen, self.rows = self._history(), Thinned(self.columns)
        self._generation, self._sent = self._generation + 1, 0

    def news(self) -> Message | None:
        """What no page has been told, None where nothing changed. The caller holds the lock."""
        if self._history() is not self._seen:
            self._exchange()
        self.rows.update(self._seen)
        if (status := self.status()) == self._last_status and self._sent == len(self.rows):
            return None
        self._last_status, start = status, self._sent
        self._sent = start + len(self._part(start, len(self.rows)))
        return self._message(start, self._sent, status, answer=False)

    def answer(self, have: int, generation: object) -> Message:
        """What a page with `have` rows of that generation lacks. The caller holds the lock."""
        # What a page has of another history, or beyond what was ever sent, is of no use to it.
        if generation != self._generation or not 0 <= have <= self._sent:
            have = 0
        return self._message(have, self._sent, self.status(), answer=True)

    def _part(self, start: int, end: int) -> Rows:
        most = LARGEST_MESSAGE // (4 * len(self.columns))
        return self.rows[start : min(end, start + most)]

    def _message(self, start: int, end: int, status: Status, answer: bool) -> Message:
        of = {"generation": self._generation, "rows": self.rows.taken, "full": self.rows.full, "sent": self._sent}
        message = {"op": "append", "start": start, "status": status, "answer": answer, **of}
        return message, [self._part(start, end).tobytes()] if end > start else []

    def picture(self) -> tuple[Status, bytes] | None:
        """Status and rows for the saved notebook; None where they are as they were."""
        with self.lock:
            status = self.status()
            if (key := (self._generation, len(self.rows), status["state"])) == self._saved_key:
                return None
            self._saved_key = key
            picture, full = overview(gather(self._seen, self.columns), SAVED_ROWS)
            return {**status, "rows": len(self._seen), "full": full}, picture.tobytes()


class LiveCurves(anywidget.AnyWidget):
    """Curves of one run or of several, streamed to every page that shows them.

    Parameters
    ----------
    feeds : sequence of Feed
        One for each run; a page that lacks rows of one asks for them ("resync").
    curves : sequence of Curve
        What is drawn of them.
    axes : sequence of Axis
        What can be the horizontal axis, the first one to begin with.
    pictures : sequence of callables
        Each gives finished pictures, as a histogram, in a thread of its own, so that one that takes long delays no
        other.
    title : str
        What a screen reader calls the panel.
    """

    _esm = Bundled("live.js")
    _css = Bundled("live.css")
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
        self._drawing, self._watch = threading.Lock(), threading.Lock()
        self._saving, self._closed = Pace(SAVE_EVERY), False
        self._work: list[tuple[Callable[[], None], float]] = []  # what, and seconds between
        self._end = threading.Event()  # of the threads that run now
        self._gone_at: float | None = None  # when a page said that its last view is gone
        self._panel: weakref.ref[Panel] | None = None
        self._kept: Panel | None = None
        let_subshell_answer(self)
        self.on_msg(self._on_message)
        self._save_picture()

    def flush(self) -> None:
        """Send what is new, as one message for each run; nothing where nothing changed."""
        for i, feed in enumerate(self.feeds):
            with feed.lock:
                if (news := feed.news()) is not None:
                    self._post(i, news)
        self._save_picture()

    def draw_pictures(self, which: int) -> None:
        """Bring the finished pictures of the maker `which` up to date; the same list as last time is not sent again."""
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

    def _states(self) -> tuple[str, ...]:
        return tuple(feed.status()["state"] for feed in self.feeds)

    def _save_picture(self) -> None:
        """Bring the picture up to date that a saved notebook keeps."""
        states = self._states()
        if not self._saving.due(states):
            return
        with self._saving.work(states):
            found = [feed.picture() for feed in self.feeds]
            if any(found):
                old = zip(self.saved_status, self.saved, strict=True)
                status, saved = zip(*(new or before for new, before in zip(found, old, strict=True)), strict=True)
                self.set_trait("saved_status", list(status))
                self.set_trait("saved", list(saved))

    def stream(self, per_second: float, panel: Panel | None = None, root: ipywidgets.Widget | None = None) -> None:
        """Flush in one thread and draw pictures in others until `close`, or until the last view on a page is gone, as
        when the cell is run again; a new view begins anew. `Pace` says how often.

        Parameters
        ----------
        per_second : float
            Flushes a second at most.
        panel : Panel
            Is kept as long as a page shows it; what the feeds and makers ask of it must not hold it.
        root : Widget
            Is closed when the panel is collected: this view and what lies beside it.
        """
        self._work = [(self._flush_or_rest, 1.0 / per_second)]
        self._work += [(partial(self.draw_pictures, i), PICTURES_EVERY) for i in range(len(self._makers))]
        if panel is not None:
            self._panel = weakref.ref(panel)
            # Without a kernel there is no page that could say when it is done with it.
            self._kept = None if isinstance(self.comm, DummyComm) else panel
            weakref.finalize(panel, close_all, root or self).atexit = False
        self._begin()

    def _begin(self) -> None:
        self._end = threading.Event()
        for work in self._work:
            threading.Thread(target=self._repeat, args=(self._end, *work), name="flowkit-panel", daemon=True).start()

    def _repeat(self, end: threading.Event, do: Callable[[], None], every: float) -> None:
        said, pace = "", Pace(every)
        while not end.wait(every) and not self._closed:  # a page may have shown it while it was closed
            try:
                states = self._states()
                if not pace.due(states):
                    continue
                with pace.work(states):
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
            if self._work and self._end.is_set() and not self._closed:
                self._begin()

    def close(self) -> None:
        # ipywidgets closes a widget from its own __init__ failures and at exit too, before these may exist.
        if hasattr(self, "_end"):
            self._closed, self._kept = True, None
            self._end.set()
        super().close()

    def __repr__(self) -> str:
        names = ", ".join(feed.name for feed in self.feeds if feed.name)
        return f"LiveCurves({names or ', '.join(column for feed in self.feeds for column in feed.columns)})"

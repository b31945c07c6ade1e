"""The training panel without a browser: what it sends, what it keeps, what it refuses."""

import gc
import struct
import sys
import threading
import time
import weakref
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anywidget", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/live.js").is_file():
    pytest.skip("the panels' front end is not built", allow_module_level=True)

from flowkit.panels import Training, stream
from flowkit.panels.curves import running_mean
from flowkit.panels.pictures import Axis, Curve
from flowkit.panels.stream import (
    LARGEST_MESSAGE,
    SAVED_ROWS,
    Feed,
    LiveCurves,
    Thinned,
    gather,
    overview,
    summaries,
)
from flowkit.tasks.history import History

COLUMNS = ("step", "loss", "ess", "kl", "acceptance", "grad_norm", "lr", "samples_per_s", "beta")


class StillTrainer:
    """A trainer that only records what is asked of it; the test itself writes its history."""

    def __init__(self, columns=COLUMNS):
        self.history = History(columns)
        self.status, self.error, self.step, self.total = "idle", None, 0, 0
        self.calls = []

    def start(self, steps):
        self.calls.append(("start", steps))

    def pause(self):
        self.calls.append("pause")

    def resume(self):
        self.calls.append("resume")

    def stop(self):
        self.calls.append("stop")

    def grow(self, n, loss=None):
        for _ in range(n):
            self.step += 1
            self.history.append(step=self.step, loss=float(self.step) if loss is None else loss, ess=0.5, lr=1e-3)


class Page:
    """A page that follows the protocol: it keeps what fits and asks for what it lacks."""

    def __init__(self, curves):
        self.curves, self.messages, self.asked = curves, [], []
        self.rows = np.empty((0, len(curves.feeds[0].columns)), dtype=np.float32)
        self.generation = None
        curves.send = self.receive

    def receive(self, message, buffers=None):
        assert len(buffers or []) <= 1
        block = np.frombuffer(buffers[0] if buffers else b"", dtype="<f4").reshape(-1, self.rows.shape[1])
        self.messages.append((message, block))
        if message["generation"] != self.generation:
            self.generation, self.rows = message["generation"], self.rows[:0]
        if message["start"] <= len(self.rows):
            self.rows = np.concatenate([self.rows, block[len(self.rows) - message["start"] :]])
        self.sent = message["sent"]

    def ask(self, have=None, generation="mine"):
        have = len(self.rows) if have is None else have
        self.asked.append(have)
        generation = self.generation if generation == "mine" else generation
        self.curves._handle_custom_msg({"op": "resync", "have": have, "generation": generation}, [])


class Tags(HTMLParser):
    """What a browser would make of a page: its scripts, the addresses it would load, its words."""

    def __init__(self):
        super().__init__()
        self.scripts, self.addresses, self.words = 0, [], ""

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        if self.cdata_elem is None:
            self.words += data


@pytest.fixture
def trainer():
    return StillTrainer()


@pytest.fixture
def panel(trainer):
    panel = Training(trainer, per_second=1)
    yield panel
    panel.close()


@pytest.fixture
def curves(trainer):
    """The stream alone, flushed by the test instead of by its timer."""

    def status():
        return {"state": trainer.status, "step": trainer.step, "total": trainer.total, "error": trainer.error}

    widget = LiveCurves([Feed(lambda: trainer.history, status, COLUMNS)], [], [Axis("step", "training step")])
    yield widget
    widget.close()


def parts(panel):
    (start, pause, stop, steps, *_), curves = panel.widget.children[0].children, panel.widget.children[1]
    return start, pause, stop, steps, curves


# -- what is sent ------------------------------------------------------------------------


def test_messages_are_contiguous_append_only_and_one_a_flush(trainer, curves):
    page = Page(curves)
    for n in (10, 0, 3, 25):
        trainer.grow(n)
        curves.flush()
    assert len(page.messages) == 3
    end = 0
    for message, block in page.messages:
        assert message["start"] == end
        end += len(block)
        assert message["sent"] == message["rows"] == end
    np.testing.assert_array_equal(page.rows[:, 0], np.arange(1, 39))
    np.testing.assert_array_equal(page.rows[:, 1], np.arange(1, 39))
    np.testing.assert_array_equal(page.rows[:, 2], np.float32(0.5))


def test_an_update_at_ten_hertz_stays_below_two_kilobytes(trainer, curves):
    page = Page(curves)
    for _ in range(5):
        trainer.grow(40)  # 400 steps a second
        curves.flush()
        message, block = page.messages[-1]
        assert block.nbytes == 40 * 4 * len(COLUMNS)
        assert block.nbytes + len(repr(message)) < 2048


def test_what_has_no_float32_value_arrives_as_nan(trainer, curves):
    page = Page(curves)
    for value in (np.nan, np.inf, -np.inf, 1e300):
        trainer.grow(1, loss=value)
    curves.flush()
    assert np.isnan(page.rows[:, 1]).all()
    assert np.isnan(page.rows[:, 3]).all()  # a column that was never given
    np.testing.assert_array_equal(page.rows[:, 0], [1, 2, 3, 4])


def test_a_change_of_status_alone_is_sent_once(trainer, curves):
    page = Page(curves)
    curves.flush()
    sent = len(page.messages)
    trainer.status, trainer.error = "failed", "the loss is NaN"
    curves.flush()
    curves.flush()
    assert len(page.messages) == sent + 1
    message, block = page.messages[-1]
    assert message["status"] == {"state": "failed", "step": 0, "total": 0, "error": "the loss is NaN"}
    assert len(block) == 0


# -- a page that lacks some --------------------------------------------------------------


def test_a_late_page_gets_exactly_what_it_lacks(trainer, curves):
    trainer.grow(100)
    curves.flush()  # no page listens
    page = Page(curves)
    trainer.grow(10)
    curves.flush()
    assert len(page.rows) == 0  # the gap is seen, not papered over
    page.ask()
    np.testing.assert_array_equal(page.rows[:, 0], np.arange(1, 111))
    page.ask(have=90)
    message, block = page.messages[-1]
    assert message["start"] == 90
    assert message["answer"] is True
    np.testing.assert_array_equal(block[:, 0], np.arange(91, 111))
    page.ask()
    assert len(page.messages[-1][1]) == 0  # nothing lacks, and the page hears so


def test_a_panel_made_after_the_training_shows_all_of_it(trainer):
    trainer.grow(50)
    panel = Training(trainer, per_second=1)
    page = Page(panel.widget.children[1])
    page.ask(generation=None)
    np.testing.assert_array_equal(page.rows[:, 0], np.arange(1, 51))
    panel.close()


@pytest.mark.parametrize("have", [-1, 10**9])
def test_an_impossible_request_is_answered_from_the_start(trainer, curves, have):
    trainer.grow(5)
    curves.flush()
    page = Page(curves)
    page.ask(have=have)
    assert page.messages[-1][0]["start"] == 0


def test_a_long_history_is_answered_in_parts_that_the_page_asks_for(trainer, curves):
    trainer.grow(30_000)
    page = Page(curves)
    curves.flush()
    while page.messages[-1][0]["sent"] < len(curves.feeds[0].rows):
        curves.flush()
    page.rows = page.rows[:0]  # a reload
    page.messages.clear()
    while len(page.rows) < page.sent:
        page.ask()
    assert len(page.messages) > 1
    assert all(block.nbytes <= LARGEST_MESSAGE for _, block in page.messages)
    assert page.rows[0, 0] == 1
    assert np.all(np.diff(page.rows[:, 0]) > 0)


def test_another_history_empties_the_page(trainer, curves):
    page = Page(curves)
    trainer.grow(20)
    curves.flush()
    trainer.history, trainer.step = History(COLUMNS), 0
    trainer.grow(3)
    curves.flush()
    np.testing.assert_array_equal(page.rows[:, 0], [1, 2, 3])
    page.ask(have=20, generation=page.generation - 1)
    assert page.messages[-1][0]["start"] == 0


def test_the_thread_of_the_panel_sends_and_ends_with_it(trainer):
    panel = Training(trainer, per_second=20)
    curves = panel.widget.children[1]
    got, page = threading.Event(), Page(curves)
    curves.send = lambda message, buffers: (page.receive(message, buffers), got.set())
    trainer.grow(4)
    assert got.wait(10)
    panel.close()
    for thread in threading.enumerate():
        if thread.name == "flowkit-panel":
            thread.join(10)
            assert not thread.is_alive()


def panel_threads():
    return {thread for thread in threading.enumerate() if thread.name == "flowkit-panel"}


def ended(threads):
    for thread in threads:
        thread.join(10)
    return not any(thread.is_alive() for thread in threads)


def test_a_name_that_is_bound_anew_piles_up_no_threads():
    before = panel_threads()
    for _ in range(4):
        newest, trainer = panel_threads(), StillTrainer()
        panel = Training(trainer, per_second=20)
        panel._repr_mimebundle_()
        newest = panel_threads() - newest
    gc.collect()
    assert ended(panel_threads() - before - newest)
    assert len(newest) == 1
    assert all(thread.is_alive() for thread in newest)
    run, view = weakref.ref(trainer), weakref.ref(panel.widget.children[1])
    del panel, trainer
    gc.collect()
    assert ended(newest)
    gc.collect()
    assert run() is None
    assert view() is None


def test_a_panel_on_a_page_lives_until_its_last_view_is_gone(trainer, monkeypatch):
    monkeypatch.setattr(stream, "GONE_AFTER", 0.1)
    before = panel_threads()
    panel = Training(trainer, per_second=20)
    curves, held = panel.widget.children[1], weakref.ref(panel)
    said = []
    curves.send = lambda message, buffers=(): said.append(message["op"])
    curves._on_message(None, {"op": "shown"}, None)
    del panel
    gc.collect()
    assert held() is not None  # as of display(Training(trainer))
    # One page has no view any more, another one still has.
    curves._on_message(None, {"op": "gone"}, None)
    assert "who" in said
    curves._on_message(None, {"op": "shown"}, None)
    time.sleep(0.3)
    assert len(panel_threads() - before) == 1
    panel = held()
    curves._on_message(None, {"op": "gone"}, None)
    assert ended(panel_threads() - before)
    # Who has it by a name can show it again.
    got = threading.Event()
    curves.send = lambda message, buffers=(): got.set() if message["op"] == "append" else None
    curves._on_message(None, {"op": "shown"}, None)
    trainer.grow(3)
    assert got.wait(10)
    del panel
    curves._on_message(None, {"op": "gone"}, None)
    assert ended(panel_threads() - before)
    gc.collect()
    assert held() is None
    assert curves.comm is None


def test_a_view_that_is_shown_while_it_is_closed_starts_nothing_that_lasts(trainer):
    before = panel_threads()
    panel = Training(trainer, per_second=20)
    curves = panel.widget.children[1]
    panel.close()
    curves._begin()  # as by a page's word that came just before
    assert ended(panel_threads() - before)


# -- what a long history becomes ---------------------------------------------------------


def test_a_summary_is_first_extreme_mean_other_extreme():
    values = np.array([[1.0, 5.0, 2.0, 4.0, 9.0, 6.0, 9.0, np.nan], [np.nan] * 4 + [4.0] * 4])
    expected = [[1, np.nan], [3, np.nan], [5, np.nan], [9, 4], [8, 4], [6, 4]]
    np.testing.assert_array_equal(summaries(values, 4), expected)


@pytest.mark.parametrize("pieces", [(1000,), (1, 7, 300, 692), (16, 16, 968)])
def test_thinning_is_append_only_and_does_not_depend_on_when_it_looks(pieces):
    rng = np.random.default_rng(1)
    history, thinned = History(("step", "loss")), Thinned(("step", "loss"), full=16)
    step, before = 0, np.empty((0, 2), dtype=np.float32)
    for n in pieces:
        for _ in range(n):
            step += 1
            history.append(step=step, loss=rng.normal())
        thinned.update(history)
        np.testing.assert_array_equal(thinned[: len(before)], before)
        before = thinned[:].copy()
    whole = Thinned(("step", "loss"), full=16)
    whole.update(history)
    np.testing.assert_array_equal(whole[:], before)
    taken = history["loss"][: whole.taken].astype(np.float32)
    np.testing.assert_array_equal(before[:16, 1], taken[:16])
    assert before[:, 1].min() == taken.min()
    assert before[:, 1].max() == taken.max()
    assert np.all(np.diff(before[:, 0]) > 0)
    means = before[17::3, 1]
    assert abs(means[:2].mean() - taken[16:32].mean()) < 1e-6  # rows 16 to 31 are two buckets of 8
    assert 1000 - whole.taken < 8 * 1000 / 16
    assert len(before) <= 16 * (1 + 3 / 8 * np.log2(1000 / 16)) + 3


def test_a_million_rows_stay_small():
    history = History.from_arrays(("step", "loss"), {"step": np.arange(1e6), "loss": np.sin(np.arange(1e6))})
    thinned = Thinned(("step", "loss"))
    thinned.update(history)
    assert len(thinned) < 80_000
    assert thinned.taken > 999_000
    rows, full = overview(gather(history, ("step", "loss")), 1000)
    assert len(rows) <= 1000
    assert full == 0
    assert (rows[0, 0], rows[-1, 0]) == (0, 999_999)


def test_thinned_refuses_a_length_that_would_cut_a_bucket():
    with pytest.raises(ValueError, match="multiple of 8 rows in full"):
        Thinned(("step",), full=12)


def test_the_running_mean_leaves_nan_out():
    y = np.array([1.0, np.nan, 3.0, 5.0, 7.0, 9.0])
    np.testing.assert_allclose(running_mean(y), [2.0, np.nan, 4.0, 6.0, 6.0, 7.0], rtol=1e-6)


# -- what stays --------------------------------------------------------------------------


def test_the_saved_picture_holds_the_curves_and_is_small(trainer, curves):
    trainer.status = "running"
    trainer.grow(5000)
    curves.flush()
    trainer.status = "finished"
    curves.flush()
    saved = np.frombuffer(curves.saved[0], dtype="<f4").reshape(-1, len(COLUMNS))
    assert len(saved) <= SAVED_ROWS
    assert (saved[0, 0], saved[-1, 0]) == (1, 5000)
    assert curves.saved_status[0] == {
        "state": "finished",
        "step": 5000,
        "total": 0,
        "error": None,
        "rows": 5000,
        "full": 0,
    }


def test_a_saved_picture_waits_until_it_is_due(trainer, curves):
    def saved(state):
        trainer.status = state
        trainer.grow(500)
        curves.flush()
        return curves.saved[0]

    first = saved("running")
    assert saved("running") == first  # half a minute has not passed
    assert saved("stopped") != first


def test_the_text_of_a_panel_is_the_same_in_every_run(trainer, panel):
    assert repr(panel) == "Training(StillTrainer)"
    bundle = panel._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == "Training(StillTrainer)"
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.widget.model_id
    assert repr(panel.widget.children[1]) == f"LiveCurves({', '.join(COLUMNS)})"


@pytest.mark.parametrize("n", [0, 1, 3, 500])
def test_the_snapshot_is_a_png_with_a_fixed_text(trainer, panel, n):
    trainer.grow(n)
    image = panel.snapshot()
    assert image.data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", image.data[16:24])
    assert width > 800
    assert height > 200
    assert repr(image) == "<IPython.core.display.Image object>"
    assert "widget" not in panel.__dict__  # a picture needs no live view


def test_a_snapshot_of_nan_alone_is_still_a_picture(trainer, panel):
    trainer.grow(30, loss=np.nan)
    assert panel.snapshot().data[:4] == b"\x89PNG"


def test_the_figure_has_the_quantities_that_are_known(trainer, panel):
    trainer.grow(40)
    titles = [note.text for note in panel.figure().layout.annotations]
    assert "Loss" in titles
    assert "Speed (samples/s)" in titles
    assert not any("KL" in title or "beta" in title for title in titles)
    trainer.history.append(step=41, kl=0.3, beta=1.0)
    trainer.history.append(step=42, kl=0.2, beta=2.0)
    titles = [note.text for note in panel.figure().layout.annotations]
    assert "KL divergence" in titles
    assert "Coupling beta" in titles


def test_the_page_opens_offline_and_escapes_what_it_quotes(trainer, panel, tmp_path):
    trainer.grow(20)
    trainer.error = "<script>alert('x')</script> & more"
    text = panel.save_html(tmp_path / "run.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.addresses == []
    assert tags.scripts >= 2  # plotly itself and the call that draws
    assert "<script>alert('x')</script> & more" in tags.words  # the quoted tag is text


def test_save_html_says_where_it_cannot_write(panel, tmp_path):
    with pytest.raises(IsADirectoryError, match=r"to a file such as .*panel.html; .* is a folder\."):
        panel.save_html(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"run.html could not be written: .+\."):
        panel.save_html(tmp_path / "file" / "run.html")


def test_save_html_makes_the_folders_on_the_way(panel, tmp_path):
    path = tmp_path / "new" / "folder" / "run.html"
    assert panel.save_html(path) == path
    assert path.stat().st_size > 10**6


# -- buttons -----------------------------------------------------------------------------


def test_clicks_only_call_the_trainer(trainer, panel):
    start, pause, stop, steps, _ = parts(panel)
    steps.value = 77
    start.click()
    trainer.status = "running"
    pause.click()
    trainer.status = "paused"
    pause.click()
    stop.click()
    assert trainer.calls == [("start", 77), "pause", "resume", "stop"]


def test_the_checkpoint_button_saves_where_it_says(trainer):
    assert len(Training(trainer).widget.children[0].children) == 4  # a trainer that cannot save has no such button
    trainer.save_soon = lambda path: trainer.calls.append(("save", path))
    panel = Training(trainer, checkpoint="runs/one", per_second=1)
    button = panel.widget.children[0].children[-1]
    assert "runs/one" in button.tooltip
    button.click()
    assert trainer.calls == [("save", "runs/one")]
    trainer.saved_step = 1200
    assert panel._status()["text"] == "checkpoint of step 1,200"
    panel.close()
    assert len(Training(trainer, checkpoint=None).widget.children[0].children) == 4


def test_buttons_offer_what_the_state_allows(trainer, panel):
    start, pause, stop, _, curves = parts(panel)
    expected = {
        "idle": (True, False, False, "Pause"),
        "running": (False, True, True, "Pause"),
        "paused": (False, True, True, "Resume"),
        "stopping": (False, False, False, "Pause"),
        "stopped": (True, False, False, "Pause"),
        "finished": (True, False, False, "Pause"),
        "failed": (True, False, False, "Pause"),
    }
    for state, offer in expected.items():
        trainer.status = state
        curves.flush()
        assert (not start.disabled, not pause.disabled, not stop.disabled, pause.description) == offer


def test_a_refused_click_is_shown(trainer, panel):
    start, _, _, _, curves = parts(panel)
    page = Page(curves)

    def refuse(steps):
        raise ValueError(f"cannot train for {steps}")

    trainer.start = refuse
    start.click()
    curves.flush()
    assert page.messages[-1][0]["status"]["error"] == "ValueError: cannot train for 1000"


# -- bad input ---------------------------------------------------------------------------


def test_an_object_that_is_no_trainer_is_refused_in_a_sentence():
    with pytest.raises(TypeError, match=r"Training shows a trainer; int has no history, status, .*start\(\)"):
        Training(3)


def test_a_history_without_a_loss_is_refused():
    with pytest.raises(TypeError, match=r"columns step and loss; StillTrainer\.history is History"):
        Training(StillTrainer(("step", "ess")))


@pytest.mark.parametrize("bad", [{"steps": 0}, {"per_second": 0.0}, {"per_second": 1000.0}])
def test_numbers_out_of_range_are_refused(trainer, bad):
    with pytest.raises(ValueError, match=r"steps, a whole number >= 1|per_second, a number in \[1, 20\]"):
        Training(trainer, **bad)


def test_a_curve_that_always_shows_shows_without_values():
    assert Curve("loss", "Loss", "loss", "#0072B2").wanted(np.array([np.nan]))


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("flowkit.panels")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ModuleNotFoundError, match=r'need ipywidgets, .* pip install "lattice-flowkit\[lab\]"'):
        __import__("flowkit.panels")


def test_an_unbuilt_front_end_says_how_to_build_it(monkeypatch, tmp_path):
    from flowkit.panels import base

    monkeypatch.setattr(base, "STATIC", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"not built: .*live\.js is missing"):
        base.bundle("live.js")

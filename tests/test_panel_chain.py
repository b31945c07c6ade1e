"""The chain panel without a browser: what it counts, what it tells a page, what it leaves, what it refuses."""

import gc
import math
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/live.js").is_file():
    pytest.skip("the front end of the panels is not built", allow_module_level=True)

import flowkit as fk
from flowkit import exact, stats
from flowkit.panels import Chain, pace, stream
from flowkit.panels.chain_run import Charges, correlate
from flowkit.panels.curves import Run, pictures
from flowkit.panels.pace import Pace
from flowkit.panels.pictures import Axis, Curve
from flowkit.panels.stream import LiveCurves

ACTION = fk.Wilson(fk.links((4, 6), fk.U1()), 1.0)
OBSERVED = (fk.plaquette, fk.topological_charge)
SETTINGS = {"chains": 8, "thermalise": 10, "observe": OBSERVED, "rng": 3}


@pytest.fixture(scope="module")
def ensemble():
    return fk.run(fk.Heatbath(ACTION), 400, **SETTINGS)


@pytest.fixture(scope="module")
def hmc():
    return fk.run(fk.HMC(ACTION, length=0.3, steps=3), 200, every=2, **SETTINGS)


# -- counts ------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [(50,), (1, 9, 40), (25, 0, 25)])
def test_charges_are_counted_chain_by_chain_whenever_one_looks(pieces):
    charge = np.random.default_rng(1).integers(-4, 6, (50, 3)).astype(float)
    charge[10:20, 1] = -7
    counts, n = Charges(3), 0
    for more in pieces:
        n += more
        counts.update(charge[:n])
    seen, share, error = counts.shares()
    for q in range(-8, 8):
        expected = (charge == q).mean()
        assert (share[seen == q].sum() if q in seen else 0.0) == pytest.approx(expected)
    assert share.sum() == pytest.approx(1.0)
    assert np.isnan(error).all()  # three chains tell no spread
    assert counts.changes == (charge[1:] != charge[:-1]).sum()


def test_the_error_of_a_share_is_that_of_frozen_chains_too():
    """Chains that never move are as many values as there are chains, however long they are."""
    charge = np.repeat(np.random.default_rng(2).integers(0, 2, 400)[None], 50, axis=0).astype(float)
    counts = Charges(400)
    counts.update(charge)
    _, share, error = counts.shares()
    assert error[1] == pytest.approx(math.sqrt(share[1] * share[0] / 399), rel=1e-6)
    assert counts.changes == 0


def test_the_exact_distribution_agrees_with_a_long_run(ensemble):
    panel = Chain(ensemble)
    picture = panel._pictures()[-2]
    points, marks = picture.layers
    assert marks.name == "exact"
    known = dict(zip(marks.x, marks.y, strict=True))
    assert sum(known.values()) == pytest.approx(1.0, abs=1e-3)
    assert known[0.0] == pytest.approx(exact.u1_charge_distribution(1.0, 24, [0])[0])
    for q, share, error in zip(points.x, points.y, points.error, strict=True):
        assert abs(share - known[round(q)]) <= 4 * max(error, 1e-3)


def test_no_exact_distribution_where_none_is_known(ensemble):
    panel = Chain({"a": ensemble, "b": fk.run(fk.Heatbath(ACTION.at(beta=2.0)), 10, **SETTINGS)})
    assert panel._theory is None  # two theories
    assert [curve.references for curve in panel._curves] == [(), (), ()]
    assert "beta" not in panel._title()
    three = fk.Wilson(fk.links((2, 2, 4), fk.U1()), 1.0)
    panel = Chain(fk.run(fk.Heatbath(three), 10, chains=2, rng=1, observe=[fk.plaquette]))
    assert panel._theory.exact_shares(range(3)) is None


def test_autocorrelations_are_those_of_the_gamma_method(ensemble):
    panel = Chain(ensemble)
    picture = panel._pictures()[-1]
    expected = stats.autocorrelation(ensemble.series["topological_charge"].numpy() ** 2)
    (layer,), ((window, _),) = picture.layers, picture.verticals
    assert window == expected.window
    np.testing.assert_array_equal(layer.y, expected.rho[layer.x.astype(int)])
    assert layer.name.endswith(f"window {expected.window}")
    mean = stats.estimate(ensemble.series["topological_charge"].numpy() ** 2)
    assert layer.name == f"chain: {str(mean).split('  ')[1]}, window {expected.window}"  # as `mean` prints it


def test_a_frozen_or_short_series_says_so():
    assert correlate(np.zeros((20, 2))).text == "never changes"
    assert correlate(np.random.default_rng(1).normal(size=(4, 2))).text == "too short"


def test_pictures_are_drawn_anew_only_where_something_was_added(ensemble):
    panel = Chain(ensemble)
    for maker in panel._makers():
        assert maker(panel) is maker(panel)


# -- pace --------------------------------------------------------------------------------


def spent(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_work_waits_for_its_share_of_a_core_or_for_the_end_of_the_run(monkeypatch):
    monkeypatch.setattr(pace, "SHARE", 1e-6)
    one = Pace(0.0)
    for _ in range(2):
        assert one.due("running")
        with one.work("running"):
            spent(0.01)
    assert not one.due("running")
    assert one.due("finished")


def test_one_slow_time_delays_nothing():
    """As that of a long history after the choice of another chain."""
    one = Pace(0.0)
    for seconds in (0.0, 0.2, 0.0):
        with one.work():
            spent(seconds)
        assert one._next < time.monotonic() + 1


# -- histories ---------------------------------------------------------------------------


def test_a_page_gets_each_run_in_full_and_the_chain_that_is_drawn(ensemble, hmc):
    panel = Chain({"heatbath": ensemble, "HMC": hmc}, chain=2, per_second=1)
    view = panel.widget.children[-1]
    for feed, source in zip(view.feeds, (ensemble, hmc), strict=True):
        rows = feed.rows[:]
        assert feed.columns == ("step", "seconds", "forces", "topological_charge", "plaquette")
        np.testing.assert_array_equal(rows[:, 0], np.arange(1, len(source) + 1))
        charge = source.series["topological_charge"][:, 2].numpy()
        np.testing.assert_array_equal(rows[:, 3], charge.astype(np.float32))
    assert [run["name"] for run in view.runs] == ["heatbath", "HMC"]
    assert [axis["column"] for axis in view.axes] == ["step", "seconds"]  # a heatbath counts no forces
    assert [plot["runs"] for plot in view.plots] == [(0,), (1,), (0, 1)]
    assert view.plots[2]["references"] == (("exact", ACTION.exact("plaquette")),)
    panel.chain = 5
    sent = []
    view.send = lambda message, buffers: sent.append((message, buffers))
    view.flush()
    assert [message["run"] for message, _ in sent] == [0, 1]
    assert all(message["start"] == 0 and message["generation"] == 2 for message, _ in sent)
    row = np.frombuffer(sent[1][1][0], dtype="<f4").reshape(-1, 5)
    np.testing.assert_array_equal(row[:, 3], hmc.series["topological_charge"][:, 5].numpy().astype(np.float32))
    panel.close()


def test_forces_and_seconds_are_axes_where_all_runs_count_them(hmc):
    panel = Chain(hmc, x="forces")
    picture = panel._pictures()[0]
    assert picture.x_label == "force evaluations"
    assert picture.layers[0].x[-1] == 200 * 2 * hmc.provenance["sampler"]["forces_per_trajectory"]
    assert Chain(hmc, x="seconds")._pictures()[0].x_label == "time (s)"
    assert Chain(hmc, x="seconds")._pictures()[0].layers[0].x[-1] == pytest.approx(hmc.provenance["seconds"])


def test_a_long_history_of_charges_is_one_of_whole_numbers():
    """Rows that stand for several steps hold their mean too, which is no charge."""
    n = 30_000
    charge = np.random.default_rng(1).integers(-2, 3, n).astype(float)
    for steps in (True, False):
        curve = Curve("topological_charge", "Charge Q", "Q", steps=steps)
        run = Run("", "#000000", ("step", "topological_charge"), np.stack([np.arange(1.0, n + 1), charge]))
        (picture,) = pictures([curve], [run], Axis("step", "stored steps"))
        drawn = picture.layers[0]
        assert (drawn.y == np.rint(drawn.y)).all() == steps
        assert (drawn.x[0], drawn.x[-1]) == (1, n)
        assert (np.diff(drawn.x) > 0).all()
        assert {-2.0, 2.0} <= set(drawn.y.tolist())


def test_a_comparison_is_drawn_at_equal_seconds_or_forces():
    samplers = {"short": fk.HMC(ACTION, length=0.3, steps=3), "long": fk.HMC(ACTION, steps=12)}
    clock = iter(range(10**6))  # two looks at it for each stored step: one second
    settings = {"chains": 4, "thermalise": 5, "rng": 1, "clock": lambda: float(next(clock))}
    for x, budget in (("seconds", {"seconds": 40}), ("forces", {"forces": 4 * 12 * 40, "seconds": 1e6})):
        found = fk.compare(samplers, OBSERVED, **budget, **settings)
        of_charge = Chain(found.ensembles, x=x)._pictures()[:2]  # one for each sampler
        assert [one.label for one in of_charge] == ["Charge Q, short", "Charge Q, long"]
        assert [one.layers[0].x[-1] for one in of_charge] == [40 if x == "seconds" else 12 * 40] * 2


def test_a_run_that_begins_again_has_an_empty_series_for_a_moment(monkeypatch):
    job = fk.start(fk.HMC(ACTION), 5, **SETTINGS).wait(60)
    source = Chain(job)._runs[0].numbers
    assert source.series("plaquette").shape == (5, 8)
    monkeypatch.setattr(job, "_columns", None)  # as between two lines of `start`
    assert source.series("plaquette").shape == (0, 8)


@pytest.mark.parametrize(
    ("sampler", "axes"), [(fk.Heatbath, ["step", "seconds"]), (fk.HMC, ["step", "forces", "seconds"])]
)
def test_an_idle_job_has_its_axes_and_an_empty_picture(sampler, axes):
    panel = Chain(fk.ensemble.Job(sampler(ACTION), 10, **SETTINGS))
    assert [axis.column for axis in panel._axes] == axes
    assert panel.snapshot().data[:4] == b"\x89PNG"
    assert len(panel.figure().data) > 0


def test_a_job_is_shown_while_it_runs_and_controlled_by_its_buttons():
    at, go = threading.Semaphore(0), threading.Semaphore(0)

    def gate(job):
        if job.step in (12, 24):
            at.release()
            assert go.acquire(timeout=30)

    job = fk.ensemble.Job(fk.HMC(ACTION, steps=3), 10**6, keep=False, callbacks=[gate], **SETTINGS)
    panel = Chain(job, per_second=1)
    (start, pause, stop), choice, view = panel.widget.children[0].children, *panel.widget.children[1:]
    assert (choice.min, choice.max) == (0, 7)
    assert not start.disabled
    assert pause.disabled
    start.click()
    assert at.acquire(timeout=30)
    view.flush()
    assert len(view.feeds[0].rows) == 12
    assert start.disabled
    assert not stop.disabled
    status = panel._status(0, None)
    assert (status["state"], status["step"], status["total"]) == ("running", 12, 10**6)
    for which in range(2):
        view.draw_pictures(which)
    assert [picture["label"] for picture in view.pictures] == ["Share of each Q", "Autocorrelation of Q²"]
    stop.click()
    go.release()
    job.wait(30)
    view.flush()
    assert not start.disabled
    assert job.status == "stopped"
    # Once more from the beginning: the page is emptied, and the counts begin anew.
    start.click()
    assert at.acquire(timeout=30)
    view.flush()
    view.draw_pictures(0)
    assert panel._runs[0].charges.taken == 12
    job.stop()
    go.release()
    job.wait(30)
    panel.close()


def test_a_panel_that_fails_to_draw_says_so():
    view = LiveCurves([], [], [], [lambda: 1 / 0])
    said = threading.Event()
    view.observe(lambda change: said.set(), "trouble")
    view.stream(20)
    assert said.wait(10)
    assert view.trouble == "This panel failed to draw: ZeroDivisionError: division by zero"
    view.close()


def test_a_panel_that_draws_again_takes_it_back(monkeypatch):
    monkeypatch.setattr(stream, "PICTURES_EVERY", 0.01)
    fails, said, taken_back = iter([True]), threading.Event(), threading.Event()

    def maker():
        if next(fails, False):
            raise ZeroDivisionError
        return []

    view = LiveCurves([], [], [], [maker])
    view.observe(lambda change: (said if change["new"] else taken_back).set(), "trouble")
    view.stream(20)
    assert said.wait(10)
    assert taken_back.wait(10)
    view.close()


def test_updates_that_take_long_come_less_often(monkeypatch):
    monkeypatch.setattr(pace, "SHARE", 0.02)
    times = []

    def slow(view):
        spent(0.02)
        times.append(time.monotonic())

    monkeypatch.setattr(LiveCurves, "flush", slow)
    view = LiveCurves([], [], [])
    view.stream(100)
    time.sleep(3)
    view.close()
    assert 3 <= len(times) < 7
    assert times[-1] - times[-2] > 0.8


# -- what stays, and refusals ------------------------------------------------------------


def test_pictures_without_a_page(ensemble, hmc, tmp_path):
    panel = Chain({"heatbath": ensemble, "HMC": hmc})
    assert repr(panel) == "Chain(heatbath, HMC; topological_charge, plaquette)"
    assert panel.snapshot().data[:4] == b"\x89PNG"
    figure = panel.figure()
    assert figure.layout.title.text == f"{ACTION!r}; heatbath: 400 steps; HMC: 200 steps; drawn: chain 0"
    titles = [note.text for note in figure.layout.annotations]
    assert titles[:3] == [
        "Charge Q, heatbath",
        "Charge Q, HMC",
        "Plaquette",
    ]
    labels = [figure.layout[name].title.text for name in figure.layout if name.startswith("xaxis")]
    assert set(labels) == {"stored step", "stored steps", "Q"}
    page = panel.save_html(tmp_path / "chains.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert "widget" not in panel.__dict__


def test_other_theories_and_configurations_kept():
    space = fk.sites((4, 4))
    action = fk.Phi4(space, m2=1.0, lam=0.5)
    run = fk.run(fk.HMC(action, steps=4), 30, chains=2, rng=1)
    panel = Chain(run, observe=[fk.magnetization])
    assert panel._series == ["magnetization"]
    assert panel._correlated == "φ̄"
    assert [picture.label for picture in panel._pictures()] == ["Magnetization φ̄", "Autocorrelation of φ̄"]
    assert Chain(run)._series == ["magnetization"]  # measured in every run


def test_refusals(ensemble):
    with pytest.raises(TypeError, match="shows runs of start\\(\\) and ensembles; got int"):
        Chain(3)
    with pytest.raises(ValueError, match="needs at least one run; got none"):
        Chain({})
    with pytest.raises(ValueError, match=r"has the series .*; got 'trace'"):
        Chain({"a": ensemble}, observe=["trace"])
    for bad, message in (
        ({"chain": 8}, "a chain of 0 to 7 and per_second in 1 to 20; got 8"),
        ({"chain": -1}, "chain, a whole number >= 0; got -1"),
        ({"per_second": 100.0}, r"per_second, a number in \[1, 20\]; got 100.0"),
    ):
        with pytest.raises(ValueError, match=f"Chain needs {message}"):
            Chain(ensemble, **bad)
    with pytest.raises(ValueError, match="have the axes step, seconds; got 'forces'"):
        Chain(ensemble, x="forces")
    prior = fk.Haar(ACTION.space)
    with pytest.raises(ValueError, match="weighted draws of a flow have no Monte Carlo time"):
        Chain(fk.importance_sample(prior, ACTION, 20, rng=1))


def test_a_name_that_is_bound_anew_lets_go_of_its_run():
    begun, runs = [], []
    for _ in range(3):
        before = set(threading.enumerate())
        panel = Chain({name: fk.ensemble.Job(fk.HMC(ACTION), 30, **SETTINGS) for name in ("one", "two")})
        panel._repr_mimebundle_()
        begun.append(set(threading.enumerate()) - before)
        runs.append([weakref.ref(one.numbers.job) for one in panel._runs])
    gc.collect()
    old = [thread for threads in begun[:2] for thread in threads]
    for thread in old:
        thread.join(20)
    gc.collect()
    assert [thread.is_alive() for thread in old] == [False] * 6
    assert [[run() is None for run in some] for some in runs] == [[True, True], [True, True], [False, False]]
    assert [box.children[0].value for box in panel.widget.children[:2]] == ["one", "two"]  # beside their buttons
    panel.close()

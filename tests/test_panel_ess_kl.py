"""The panel of ESS and KL without a browser."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/live.js").is_file():
    pytest.skip("the front end of the panels is not built", allow_module_level=True)

from flowkit.panels import EssKl
from flowkit.stats import Estimate
from flowkit.tasks.history import History

ROWS = [
    {"beta": 4.0, "ess": Estimate(0.7, 0.02, 0.5, 0.0, 1000), "kl": 0.2, "kl_error": 0.01},
    {"beta": 1.0, "ess": 0.9, "kl": 0.005},
    {"beta": 2.0, "ess": 0.8},
]
PUBLISHED = [{"beta": 1.0, "ess": 0.85}, {"beta": 4.0, "ess": 0.5}]


class Trained:
    def __init__(self, n):
        self.history = History(("step", "loss", "ess", "kl"))
        self.status, self.error, self.step, self.total = "finished", None, n, n
        for i in range(n):
            self.history.append(step=i, ess=i / n, kl=1.0 / (i + 1))


def test_rows_become_points_in_order_with_their_errors_and_published_marks():
    panel = EssKl({"ours": ROWS, "theirs": ROWS[:1]}, published={"paper": PUBLISHED})
    ess, kl = panel._pictures()
    line, points, _, _, marks = ess.layers
    np.testing.assert_array_equal(points.x, [1, 2, 4])
    np.testing.assert_array_equal(points.y, [0.9, 0.8, 0.7])
    np.testing.assert_array_equal(points.error, [np.nan, np.nan, 0.02])
    assert (line.style, points.style, marks.style, marks.name) == ("thin", "points", "outline", "paper")
    np.testing.assert_array_equal(marks.y, [0.85, 0.5])
    np.testing.assert_array_equal(kl.layers[1].x, [1, 4])  # the row without a KL is left out
    np.testing.assert_array_equal(kl.layers[1].error, [np.nan, 0.01])
    assert (ess.range, ess.log, kl.log, ess.log_x) == ((0.0, 1.0), False, True, False)
    assert ess.x_label == "beta"
    assert repr(panel) == "EssKl(ours, theirs; against beta)"
    assert panel.snapshot().data[:4] == b"\x89PNG"
    assert "ESS" in [note.text for note in panel.figure().layout.annotations]
    view = panel.widget
    assert [picture["label"] for picture in view.pictures] == ["ESS", "KL divergence"]
    panel.close()


def test_a_volume_that_spans_decades_is_logarithmic():
    rows = [{"volume": 4.0**k, "ess": 0.9 - 0.1 * k} for k in range(1, 6)]
    (picture,) = EssKl({"flow": rows}, against="volume")._pictures()
    assert picture.log_x
    assert EssKl({"flow": rows}, against="volume").snapshot().data[:4] == b"\x89PNG"


def test_trainers_are_drawn_live_over_their_steps():
    panel = EssKl({"a": Trained(30), "b": Trained(50)}, published={"paper": {"ess": 0.6}}, per_second=1)
    view = panel.widget
    assert [feed.rows[:].shape for feed in view.feeds] == [(30, 3), (50, 3)]
    assert [plot["column"] for plot in view.plots] == ["ess", "kl"]
    assert [plot["references"] for plot in view.plots] == [(("paper", 0.6),), ()]
    ess, _ = panel._pictures()
    assert ess.layers[-1].name == "paper"
    assert ess.x_label == "training step"
    assert panel.snapshot().data[:4] == b"\x89PNG"
    panel.close()


def test_refusals():
    with pytest.raises(ValueError, match="needs at least one run; got none"):
        EssKl({})
    with pytest.raises(TypeError, match="rows or trainers, not both"):
        EssKl({"a": ROWS, "b": Trained(2)})
    with pytest.raises(TypeError, match="'a' is int"):
        EssKl({"a": 3})
    with pytest.raises(ValueError, match="needs volume and ess or kl; one of 'a' has beta, ess, kl"):
        EssKl({"a": ROWS}, against="volume")
    with pytest.raises(ValueError, match="numbers or Estimates; ess of 'a' is 'high'"):
        EssKl({"a": [{"beta": 1.0, "ess": "high"}]})
    with pytest.raises(TypeError, match="one dictionary; 'paper' has"):
        EssKl({"a": Trained(2)}, published={"paper": PUBLISHED})

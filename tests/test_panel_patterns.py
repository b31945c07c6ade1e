"""The panel of patterns: its numbers are the roles of links and loops, and its slices show them."""

from pathlib import Path

import numpy as np
import pytest

import flowkit as fk

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/heatmap.js").is_file():
    pytest.skip("the front end of the panels is not built", allow_module_level=True)

from flowkit.panels import Patterns


@pytest.mark.parametrize("pattern", [fk.Pattern.sparse(0, 2, 4), fk.Pattern.checkerboard(1, 3), fk.Pattern.diagonal(2)])
def test_numbers_are_roles(pattern):
    panel = Patterns(pattern)
    numbers, schedule = panel.numbers, pattern.schedule()
    lattice = numbers.roles.shape[2:]
    assert all(side >= 4 and side % period == 0 for side, period in zip(lattice, pattern.periods, strict=True))
    space = fk.links(lattice, fk.U1())
    assert (numbers.roles[:, : space.ndim] == 2).sum(0).tolist() == np.ones((space.ndim, *lattice)).tolist()
    for k, one in enumerate(schedule):
        plaquettes = numbers.roles[k, space.ndim].reshape(-1)
        active, passive, frozen = fk.geometry.loop_roles(space, one, fk.Loop.rectangle())
        assert [np.flatnonzero(plaquettes == role).tolist() for role in (2, 1, 0)] == [
            active.tolist(), passive.tolist(), frozen.tolist()
        ]  # fmt: skip


def test_slices_and_shares():
    panel = Patterns(fk.Pattern.checkerboard(0, 4), (2, 4, 2, 2), step=1, loop=4, plane=(1, 3), at=(0, 0, 1, 0))
    numbers = panel.numbers
    assert numbers.loops[4] == "plaquettes +0 +1 -0 -1"
    np.testing.assert_array_equal(panel._picture(1), numbers.roles[1, 4, 0, :, 1, :].T)
    for chart, role in zip(panel._charts(4), (2, 0), strict=True):
        np.testing.assert_allclose(chart.layers[0].y, (numbers.roles[:, 4] == role).mean((1, 2, 3, 4)))
    assert "x₀ = 0, x₂ = 1" in panel._title()
    assert list(panel._colours().texts) == ["frozen", "passive", "active"]


def test_the_chart_counts_as_the_slider_does():
    panel = Patterns(fk.Pattern.checkerboard(0, 2))
    assert [place.split()[0] for place in panel._data.places] == panel._data.ticks == ["1", "2", "3", "4"]


def test_controls_change_the_pattern_and_refusals_leave_it():
    panel = Patterns(fk.Pattern.checkerboard(0, 3), (4, 4, 4), step=5, loop=20, plane=(1, 2), at=(3, 0, 0))
    view = panel.widget
    asked = dict(view.asked)
    assert asked == {"dimension": 3, "directions": [0], "steps": [0, 1, 1], "width": 2}
    view.asked = {**asked, "directions": [0, 1]}
    assert view.answer["refusal"].startswith("A schedule is made of a pattern of one direction or of all; got links of")
    assert panel.numbers.pattern == fk.Pattern.checkerboard(0, 3)
    assert panel.shown.main == 5
    view.asked = asked
    assert view.answer == {"asked": asked, "refusal": ""}
    view.asked = {**asked, "directions": [0, 1, 2], "steps": [1, 1, 1], "width": 6}
    assert panel.numbers.pattern == fk.Pattern.diagonal(3)
    assert view.content["counts"] == {"main": 6, "other": 28, "plane": 3, "part": 1}
    assert (view.main, view.other, view.plane, view.at) == (5, 20, 0, [0, 0, 0])
    view.asked = {**view.asked, "dimension": 2, "width": 4}
    assert panel.numbers.pattern == fk.Pattern.diagonal(2)
    assert view.asked["directions"] == [0, 1]
    assert (view.main, view.other) == (0, 0)
    assert len(view.values) == panel.numbers.roles.nbytes
    with pytest.raises(ValueError, match="take more than 4 MiB"):
        panel.choose(dimension=4, width=16)
    panel.close()


def test_a_pattern_that_couplings_refuse_is_shown_with_their_sentence():
    space = fk.links((4, 4), fk.U1())
    panel = Patterns(fk.Pattern.checkerboard(0, 2))
    assert panel._data.note == ""
    panel.choose(steps=(1, 0))
    assert "The loop +0 +1 -0 -1 through U_0(0, 0) holds more than one active link" in panel._data.note
    pattern = panel.numbers.pattern
    with pytest.raises(ValueError, match="holds more than one active link"):
        fk.geometry.require_single(space, pattern, fk.Loop.rectangle())
    big = Patterns(fk.Pattern.diagonal(4))
    assert big.numbers.left_out == ("chairs", "crowns")
    assert big.numbers.roles.nbytes <= 4 * 2**20


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Patterns(fk.Pattern.checkerboard(0, 2), (4, 5)), "multiples of these; got 4x5"),
    (lambda: Patterns(fk.Pattern.checkerboard(0, 1), (4,)), "need two dimensions or more; got the lattice 4"),
    (lambda: Patterns(fk.Pattern.checkerboard(0, 2), step=4), "Patterns shows a pattern from 0 to 3; got 4"),
    (lambda: Patterns(fk.Pattern.checkerboard(0, 2), loop=9), "Patterns shows a loop from 0 to 4; got 9"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

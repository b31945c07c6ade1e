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


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Patterns(fk.Pattern.checkerboard(0, 2), (4, 5)), "multiples of these; got 4x5"),
    (lambda: Patterns(fk.Pattern.checkerboard(0, 1), (4,)), "need two dimensions or more; got the lattice 4"),
    (lambda: Patterns(fk.Pattern.checkerboard(0, 2), step=4), "Patterns shows a pattern from 0 to 3; got 4"),
    (lambda: Patterns(fk.Pattern.checkerboard(0, 2), loop=9), "Patterns shows a loop from 0 to 4; got 9"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

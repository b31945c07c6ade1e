"""The multiscale panel: what it tells a page, and what it leaves without one."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/heatmap.js").is_file():
    pytest.skip("the front end of the panels is not built", allow_module_level=True)

import ipywidgets

from flowkit.multiscale import ByScale, ScaleNumbers
from flowkit.panels import Multiscale
from flowkit.panels.heatmap_view import HeatmapView
from flowkit.stats import Estimate

LATTICES = [(1, 1), (1, 2), (2, 2), (2, 4)]


def estimate(value, error=0.01):
    return Estimate(value, error, 0.5, 0.0, 1000)


def numbers(group="U(1)", fields=3, lattices=LATTICES, draws=0):
    """Field f at scale j has the plaquettes j + f/10 + k/100 + p/1000 in plane p."""
    scales = []
    for j, lattice in enumerate(lattices):
        k = np.arange(math.prod(lattice), dtype=np.float32).reshape(lattice) / 100
        field = np.stack([j + f / 10 + k for f in range(fields)]).astype(np.float32)
        error = math.nan if j == 0 else 0.01
        planes = np.stack([field + p / 1000 for p in range(math.comb(len(lattice), 2))], 1)
        scales.append(
            ScaleNumbers(lattice, planes, estimate(0.1 * j, error), estimate(0.1, error), estimate(1 - 0.2 * j))
        )
    return ByScale(group, 8.0, tuple(scales), "angle" if group == "U(1)" else "plaquette", draws=draws)


@pytest.fixture
def panel():
    panel = Multiscale(numbers())
    yield panel
    panel.close()


def test_the_buffer_holds_every_field_scale_after_scale(panel):
    view = panel.widget
    assert view.content["lattices"] == LATTICES
    buffer, start = np.frombuffer(view.values, dtype="<f4"), 0
    for one in panel.numbers.scales:
        np.testing.assert_array_equal(buffer[start : start + one.plaquettes.size], one.plaquettes.ravel())
        start += one.plaquettes.size
    assert start == len(buffer)


def test_it_opens_at_the_finest_scale_and_both_traits_can_be_set(panel):
    view = panel.widget
    assert (view.main, view.other) == (3, 0)
    view.main, view.other = 1, 2
    assert panel.field == 2
    for name, bad in (("main", 4), ("main", -1), ("other", 3)):
        with pytest.raises(ipywidgets.widgets.widget_date.TraitError, match=f"{name} is a number from 0 to"):
            setattr(view, name, bad)


def test_an_unknown_error_is_no_error_bar_and_not_sent_as_nan(panel):
    for charts in panel.widget.content["charts"]:
        for chart in charts:
            (layer,) = chart["layers"]
            assert np.isfinite(np.frombuffer(layer["y"] + layer["error"], dtype="<f4")).all()
    layer = panel.widget.content["charts"][0][0]["layers"][0]
    np.testing.assert_allclose(np.frombuffer(layer["error"], dtype="<f4"), [0.0, 0.01, 0.01, 0.01])
    assert panel.widget.content["lines"][3] == "2x4: KL 0.300(10), of which 0.100(10) by the last step; ESS 0.400(10)"


def test_colours_are_cyclic_for_angles_and_symmetric_about_white(panel):
    table = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in panel._colours().table()])
    assert np.abs(table[0] - table[-1]).max() <= 1
    assert table[127:129].min() > 225
    assert table[0].max() < 50
    assert table[64].argmax() == 2
    assert table[191].argmax() == 0


@pytest.mark.parametrize("group", ["U(1)", "SU(2)", "SU(3)"])
@pytest.mark.parametrize("lattices", [LATTICES, [(3, 5)], [(2 ** (j // 2), 2 ** ((j + 1) // 2)) for j in range(11)]])
def test_pictures_without_a_page(group, lattices):
    panel = Multiscale(numbers(group, lattices=lattices), field=1)
    data = panel.snapshot().data
    assert data[:4] == b"\x89PNG"
    assert struct.unpack(">II", data[16:24])[0] > 800
    figure = panel.figure()
    maps = [one for one in figure.data if one.type == "heatmap"]
    assert [one.z.shape for one in maps] == [(b, a) for a, b in lattices]  # direction 0 to the right
    assert len({(one.zmin, one.zmax) for one in maps}) == 1
    assert [one.visible for one in maps] == [False] * (len(lattices) - 1) + [True]
    assert maps[-1].z[0, 0] == pytest.approx(len(lattices) - 1 + 0.1)
    assert "widget" not in panel.__dict__


def test_slices_of_three_dimensions_at_every_scale():
    lattices = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (4, 2, 2)]
    panel = Multiscale(numbers(lattices=lattices, draws=16), plane=(1, 2), at=(3, 1, 0))
    for j, (lattice, one) in enumerate(zip(lattices, panel.numbers.scales, strict=True)):
        here = 3 * lattice[0] // 4  # the coarse site that x0 = 3 lies behind
        np.testing.assert_array_equal(panel._picture(j), one.plaquettes[0, 2, here].T)
    assert "plane (1, 2) at x₀ = 3" in panel._title()
    assert "from 16 draws a field: too large" in panel._data.lines[0]
    assert panel.snapshot().data[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="shows one of the planes"):
        Multiscale(numbers(lattices=lattices), plane=(0, 3))


def test_it_composes_and_says_what_it_is(panel):
    assert repr(panel) == "Multiscale(U(1), beta = 8, 2x4, 4 scales)"
    assert isinstance(panel.widget, HeatmapView)
    assert repr(ipywidgets.VBox([panel.widget]).children[0]) == "HeatmapView(U(1), beta = 8, 2x4)"


def test_refusals():
    with pytest.raises(TypeError, match="shows the numbers of by_scale; got int"):
        Multiscale(3)
    for field, message in ((-1, "needs field, a whole number >= 0; got -1"), (3, "shows a field from 0 to 2; got 3")):
        with pytest.raises(ValueError, match=f"Multiscale {message}"):
            Multiscale(numbers(), field=field)

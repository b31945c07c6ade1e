"""What a panel's figure and its png draw: ticks, lines of one point, ink for a light page and a dark one."""

import io

import numpy as np
import pytest

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')

from matplotlib.colors import to_rgb
from matplotlib.image import imread

from flowkit.panels import drawing
from flowkit.panels.colours import BLACK, BLUE, INK
from flowkit.panels.pictures import Layer, Picture

STEPS = np.arange(5.0)


def picture(y, x=STEPS, style="line", colour=BLUE, **more):
    return Picture("Title", "", "step", [Layer(np.asarray(x, float), np.asarray(y, float), colour, style)], **more)


def axes_of(one):
    figure = drawing.new_figure(3.0)
    ax = figure.subplots()
    drawing.draw_picture(ax, one)
    figure.canvas.draw()
    return ax


def test_a_constant_is_drawn_at_its_value():
    axis = drawing.plotly_figure([picture(np.full(5, 0.003))], "").layout.yaxis
    low, high = axis.range
    assert 0 < low < 0.003 < high < 0.01


@pytest.mark.parametrize("style", ["line", "thin", "steps"])
def test_a_line_of_one_point_is_seen(style):
    one = picture([2.0], [0.0], style)
    assert drawing.plotly_figure([one], "").data[0].mode == "markers"
    assert axes_of(one).lines[0].get_marker() == "o"
    many = picture(STEPS, style=style)
    assert drawing.plotly_figure([many], "").data[0].mode == "lines"
    assert axes_of(many).lines[0].get_marker() in ("None", "")


def test_charges_and_counts_have_ticks_at_whole_numbers():
    """Charges upwards, with limits of their own too; lags and charges across."""
    for one in (picture([-1, 0, 1, 0, 0], style="steps"), picture([-1, 0, 1, 0, 0], style="steps", range=(-1.5, 1.5))):
        layout = drawing.plotly_figure([one], "").layout
        assert layout.yaxis.dtick == layout.xaxis.dtick == 1
        ax = axes_of(one)
        for ticks in (ax.get_yticks(), ax.get_xticks()):
            assert np.array_equal(ticks, np.round(ticks))
    halves = picture(STEPS, STEPS / 2)
    assert drawing.plotly_figure([halves], "").layout.xaxis.dtick is None


def test_a_png_lies_on_a_page_of_any_colour():
    """The ground is transparent, and what is written on it contrasts alike with white and with black."""
    pixels = imread(io.BytesIO(drawing.png([picture(STEPS, colour=BLACK)], "Title").data))
    assert pixels[0, 0, 3] == 0
    opaque = pixels[pixels[..., 3] > 0.99][:, :3]
    assert len(opaque) > 100
    assert np.allclose(opaque, to_rgb(INK), atol=0.02)
    light = ((to_rgb(INK)[0] + 0.055) / 1.055) ** 2.4
    assert min(1.05 / (light + 0.05), (light + 0.05) / 0.05) > 4.5  # WCAG's contrast of text


def test_titles_stand_clear_of_tick_labels():
    figure = drawing.plotly_figure([picture(STEPS)] * 4, "")
    assert all(note.yshift >= 8 for note in figure.layout.annotations)

"""What a curve looks like, and small multiples of curves as a finished plotly figure or a png."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from flowkit.panels.thin import Floats, Rows, overview

DRAWN_ROWS = 4000

# Okabe and Ito's palette, told apart with any colour vision: its darker half for light pages, and what stands for it on
# dark ones.
BLUE, GREEN, VERMILION, PURPLE, BLACK = "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#000000"
SKY, ORANGE, WHITE = "#56B4E9", "#E69F00", "#E0E0E0"
ON_DARK = {BLUE: SKY, GREEN: "#009E73", VERMILION: ORANGE, PURPLE: PURPLE, BLACK: WHITE}


class Curve(NamedTuple):
    """One quantity of a history and how it is drawn."""

    column: str
    label: str
    short: str
    colour: str
    unit: str = "dimensionless"
    log: bool = False
    range: tuple[float, float] | None = None
    show: Literal["always", "known", "varies"] = "always"  # known: has a value; varies: has two
    headline: bool = False  # its newest value stands in the status line

    def as_plot(self) -> dict[str, Any]:
        """The same as plain data for the front end."""
        limits = None if self.range is None else list(self.range)
        return {**self._asdict(), "range": limits, "colour_dark": ON_DARK[self.colour]}

    def wanted(self, y: Floats) -> bool:
        """Whether there is something to show."""
        finite = y[np.isfinite(y)]
        return self.show == "always" or (finite.size > 0 and (self.show == "known" or finite.min() < finite.max()))


def running_mean(y: Floats) -> Floats:
    """Centred mean over 2 % of the points (at least 5); what is NaN is left out of the mean and stays NaN."""
    finite = np.isfinite(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    half = max(5, round(0.02 * len(y))) // 2
    low = np.maximum(np.arange(len(y)) - half, 0)
    high = np.minimum(np.arange(len(y)) + half + 1, len(y))
    mean = (total[high] - total[low]) / np.maximum(count[high] - count[low], 1)
    return np.where(finite, mean, np.nan)


class Drawn(NamedTuple):
    """A curve with its points, few enough to draw, and its running mean, which is taken over every step."""

    curve: Curve
    x: Rows
    y: Rows
    mean_x: Floats
    mean: Floats


def drawn(curves: Sequence[Curve], values: Floats) -> list[Drawn]:
    """The curves that have something to show; values [1 + len(curves), n], the first row being the horizontal axis."""
    rows, _ = overview(values, DRAWN_ROWS)
    every = slice(None, None, max(1, values.shape[1] // DRAWN_ROWS))
    return [
        Drawn(curve, rows[:, 0], rows[:, i], values[0][every], running_mean(values[i])[every])
        for i, curve in enumerate(curves, start=1)
        if curve.wanted(values[i])
    ]


def plotly_figure(curves: Sequence[Curve], values: Floats, x_label: str, title: str) -> go.Figure:
    """Small multiples, two in a row, every point thin and the running mean thick."""
    parts = drawn(curves, values)
    height = -(-len(parts) // 2)
    titles = [f"{part.curve.label} ({part.curve.unit})" for part in parts]
    figure = make_subplots(rows=height, cols=2, subplot_titles=titles, vertical_spacing=0.4 / height)
    for i, (curve, x, y, mean_x, mean) in enumerate(parts):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        thin = go.Scatter(x=x, y=y, name=curve.label, line={"color": curve.colour, "width": 1}, opacity=0.35)
        thick = go.Scatter(x=mean_x, y=mean, name="running mean", line={"color": curve.colour, "width": 2})
        figure.add_traces([thin, thick], rows=[place["row"]] * 2, cols=[place["col"]] * 2)
        figure.update_xaxes(title_text=x_label, **place)
        figure.update_yaxes(type="log" if curve.log else "linear", range=None if curve.log else curve.range, **place)
    size = {"height": 120 + 250 * height, "margin": {"l": 60, "r": 20, "t": 90, "b": 50}}
    return figure.update_layout(template="plotly_white", showlegend=False, title_text=title, **size)


def png(curves: Sequence[Curve], values: Floats, x_label: str, title: str) -> Image:
    """The same small multiples as a png, drawn without a browser, a network or a display."""
    parts = drawn(curves, values)
    height = -(-len(parts) // 4)
    # The figure object itself, not pyplot, which would register figures globally and choose a backend.
    figure = Figure(figsize=(13.0, 0.6 + 2.3 * height), dpi=100)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    axes = figure.subplots(height, 4, squeeze=False).flat
    for ax, (curve, x, y, mean_x, mean) in zip(axes, parts, strict=False):
        ax.plot(x, y, color=curve.colour, linewidth=0.7, alpha=0.35)
        ax.plot(mean_x, mean, color=curve.colour, linewidth=1.6)
        ax.set_title(curve.label, fontsize=10, fontweight="bold", loc="left")
        ax.set_title(curve.unit, fontsize=8, color="#555555", loc="right")
        ax.set_xlabel(x_label, fontsize=8)
        ax.tick_params(labelsize=8)
        ax.grid(color="#e3e3e3", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
        if curve.log and np.any(y > 0):
            ax.set_yscale("log", nonpositive="mask")  # an estimate of a small KL is often negative
        elif curve.range:
            ax.set_ylim(*curve.range)
    for ax in list(figure.axes)[len(parts) :]:
        ax.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image(data=file.getvalue(), format="png", alt=title)  # type: ignore[no-untyped-call]

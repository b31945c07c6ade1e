"""A picture: layers of points over two axes, drawn by plotly, as a png, or by a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from flowkit.panels.colours import ON_DARK

Numbers = NDArray[np.float64] | NDArray[np.float32]

# One for each run, so that runs are told apart without their colours.
MARKERS = ("circle", "square", "triangle-up", "diamond", "cross", "x")
_MPL_MARKERS = dict(zip(MARKERS, ("o", "s", "^", "D", "P", "X"), strict=True))


class Layer(NamedTuple):
    """Points of one run in a picture.

    style     thin: every point, faint; line; steps: constant up to the next point; points: markers with error bars;
              outline: hollow markers, for exact and published values; dashed
    name      what the legend calls it; empty where it has no place there
    error     one standard error of y, for points
    """

    x: Numbers
    y: Numbers
    colour: str
    style: Literal["thin", "line", "steps", "points", "outline", "dashed"] = "line"
    name: str = ""
    error: Numbers | None = None
    marker: str = MARKERS[0]


class Picture(NamedTuple):
    """A titled pair of axes.

    verticals    (x, colour): dashed lines, as the window of an autocorrelation
    key          whether its layers have names of their own, which a png then writes beside them
    """

    label: str
    unit: str
    x_label: str
    layers: Sequence[Layer]
    log: bool = False
    range: tuple[float, float] | None = None
    verticals: Sequence[tuple[float, str]] = ()
    x_range: tuple[float, float] | None = None
    key: bool = False
    log_x: bool = False

    def plain(self) -> dict[str, Any]:
        """The same as plain data and float32 buffers for the front end."""
        layers = [
            {
                **layer._asdict(),
                "x": _buffer(layer.x),
                "y": _buffer(layer.y),
                "error": b"" if layer.error is None else _buffer(layer.error),
                "colour_dark": ON_DARK[layer.colour],
            }
            for layer in self.layers
        ]
        verticals = [{"x": x, "colour": colour, "colour_dark": ON_DARK[colour]} for x, colour in self.verticals]
        return {**self._asdict(), "layers": layers, "verticals": verticals}


def _buffer(values: Numbers) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _known(error: Numbers | None) -> Any:
    """Errors to draw; one that is not known is no error bar."""
    return None if error is None else np.nan_to_num(error, nan=0.0, posinf=0.0)


def plotly_figure(pictures: Sequence[Picture], title: str) -> go.Figure:
    """Small multiples, two in a row."""
    height = max(1, -(-len(pictures) // 2))
    titles = [f"{picture.label} ({picture.unit})" for picture in pictures]
    places: list[list[dict[str, Any] | None]]
    places = [[{} if 2 * row + column < len(pictures) else None for column in range(2)] for row in range(height)]
    figure = make_subplots(rows=height, cols=2, specs=places, subplot_titles=titles, vertical_spacing=0.4 / height)
    in_legend: set[str] = set()
    for i, picture in enumerate(pictures):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        for layer in picture.layers:
            figure.add_trace(_trace(layer, in_legend), **place)
            in_legend.add(layer.name)
        for x, colour in picture.verticals:
            figure.add_vline(x, line={"color": colour, "dash": "dash", "width": 1}, **place)
        limits = None if picture.log else picture.range
        figure.update_xaxes(
            title_text=picture.x_label, range=picture.x_range, type="log" if picture.log_x else "linear", **place
        )
        figure.update_yaxes(type="log" if picture.log else "linear", range=limits, **place)
    size = {"height": 120 + 250 * height, "margin": {"l": 60, "r": 20, "t": 90, "b": 50}}
    return figure.update_layout(template="plotly_white", title_text=title, showlegend=in_legend != {""}, **size)


def _trace(layer: Layer, in_legend: set[str]) -> go.Scatter:
    line = {"color": layer.colour, "width": 1 if layer.style in ("thin", "steps") else 2}
    if layer.style == "steps":
        line["shape"] = "hv"
    if layer.style == "dashed":
        line["dash"] = "dash"
    marks = layer.style in ("points", "outline")
    error = _known(layer.error)
    return go.Scatter(
        x=layer.x,
        y=layer.y,
        error_y=None if error is None else {"type": "data", "array": error, "thickness": 1},
        mode="markers" if marks else "lines",
        marker={"symbol": layer.marker + ("-open" if layer.style == "outline" else ""), "size": 8},
        line=line,
        marker_color=layer.colour,
        opacity=0.35 if layer.style == "thin" else 1.0,
        name=layer.name,
        legendgroup=layer.name or None,
        showlegend=bool(layer.name) and layer.name not in in_legend,
    )


def png(pictures: Sequence[Picture], title: str, columns: int = 4) -> Image:
    """The same small multiples as a png, at most `columns` in a row; without a browser, a network or a display."""
    height = max(1, -(-len(pictures) // columns))
    columns = max(1, -(-len(pictures) // height))  # rows of nearly equal length
    # The figure object itself, not pyplot, which would register figures globally and choose a backend.
    figure = Figure(figsize=(13.0, 0.6 + (2.3 if columns > 3 else 2.7) * height), dpi=100)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
    heading = figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    axes = figure.subplots(height, columns, squeeze=False).flat
    names: dict[str, Any] = {}
    for ax, picture in zip(axes, pictures, strict=False):
        for layer in picture.layers:
            handle = _draw(ax, layer)
            if layer.name and not picture.key:
                names.setdefault(layer.name, handle)
            elif layer.name:
                handle.set_label(layer.name)
        if picture.key and picture.layers:
            ax.legend(fontsize=8, framealpha=0.85, edgecolor="none")  # lines may run beneath it
        for x, colour in picture.verticals:
            ax.axvline(x, color=colour, linewidth=1, linestyle="--")
        ax.set_title(picture.label, fontsize=10, fontweight="bold", loc="left")
        ax.set_title(picture.unit, fontsize=8, color="#555555", loc="right")
        ax.set_xlabel(picture.x_label, fontsize=8)
        ax.set_xlim(picture.x_range)
        ax.set_xscale("log" if picture.log_x else "linear")
        ax.tick_params(which="both", labelsize=8)
        ax.grid(color="#e3e3e3", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
        if picture.log and any(np.any(layer.y > 0) for layer in picture.layers):
            ax.set_yscale("log", nonpositive="mask")  # an estimate of a small KL is often negative
        elif picture.range:
            ax.set_ylim(*picture.range)
    for ax in list(figure.axes)[len(pictures) :]:
        ax.set_visible(False)
    if names:
        look = dict[str, Any](ncols=len(names), fontsize=8, frameon=False)
        legend = figure.legend(names.values(), names.keys(), loc="outside upper right", **look)
        if heading.get_window_extent().width + legend.get_window_extent().width > 0.96 * figure.bbox.width:
            legend.remove()
            heading.set_text(f"{title}\n")  # room for a line below
            figure.legend(names.values(), names.keys(), loc="outside upper right", borderaxespad=2.4, **look)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image(data=file.getvalue(), format="png", alt=title)  # type: ignore[no-untyped-call]


def _draw(ax: Axes, layer: Layer) -> Any:
    if layer.style in ("points", "outline"):
        face = "none" if layer.style == "outline" else layer.colour
        look: dict[str, Any] = {
            "fmt": _MPL_MARKERS[layer.marker],
            "markersize": 5,
            "markerfacecolor": face,
            "elinewidth": 1,
        }
        return ax.errorbar(layer.x, layer.y, _known(layer.error), color=layer.colour, **look)
    width = {"thin": 0.7, "steps": 0.9}.get(layer.style, 1.6)
    return ax.plot(
        layer.x,
        layer.y,
        color=layer.colour,
        linewidth=width,
        alpha=0.35 if layer.style == "thin" else 1.0,
        linestyle="--" if layer.style == "dashed" else "-",
        drawstyle="steps-post" if layer.style == "steps" else "default",
    )[0]

"""Pictures drawn by plotly, for a page that can be explored, and by matplotlib, as a png."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from flowkit.panels.colours import BLACK, INK
from flowkit.panels.pictures import MARKS, Layer, Numbers, Picture, titled

GRID = "rgba(128,128,128,0.25)"
# Of lines in matplotlib.
LOOKS: dict[str, dict[str, Any]] = {
    "thin": {"linewidth": 0.7, "alpha": 0.35},
    "line": {"linewidth": 1.6},
    "steps": {"linewidth": 0.9, "drawstyle": "steps-post"},
    "dashed": {"linewidth": 1.6, "linestyle": "--"},
}


def _known(error: Numbers | None) -> Any:
    """Errors to draw; one that is not known is no error bar."""
    return None if error is None else np.nan_to_num(error, nan=0.0, posinf=0.0)


def _whole(values: Sequence[Numbers]) -> bool:
    """Whether all numbers are whole, as steps, lags and charges are: their axis has no ticks in between."""
    found = np.concatenate([np.asarray(one, dtype=float) for one in values]) if values else np.empty(0)
    found = found[np.isfinite(found)]
    return bool(found.size) and bool((found == np.round(found)).all())


def _reach(values: Sequence[Numbers]) -> tuple[float, float] | None:
    """The smallest and the largest finite number, or None."""
    found = np.concatenate([np.asarray(one, dtype=float) for one in values]) if values else np.empty(0)
    found = found[np.isfinite(found)]
    return (float(found.min()), float(found.max())) if found.size else None


def _ink(colour: str) -> str:
    return INK if colour == BLACK else colour


def on_the_page(figure: go.Figure) -> go.Figure:
    """Let the page show through, and draw in ink that reads on a light one and on a dark one."""
    lines = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": INK}
    figure.update_layout(paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font_color=INK)
    return figure.update_xaxes(**lines).update_yaxes(**lines)


def for_plotly(text: str) -> str:
    """A text, which may come from a file, as plotly shows it: it would take tags for links and letters for fonts."""
    return escape(text, quote=False)


def for_matplotlib(text: str) -> str:
    """A text as matplotlib shows it: it would take what lies between dollars for a formula."""
    return text.replace("$", r"\$")


def plotly_figure(pictures: Sequence[Picture], title: str) -> go.Figure:
    """Small multiples, two in a row."""
    title, pictures = for_plotly(title), [picture.worded(for_plotly) for picture in pictures]
    height = max(1, -(-len(pictures) // 2))
    titles = [titled(picture.label, picture.unit) for picture in pictures]
    places: list[list[dict[str, Any] | None]]
    places = [[{} if 2 * row + column < len(pictures) else None for column in range(2)] for row in range(height)]
    figure = make_subplots(rows=height, cols=2, specs=places, subplot_titles=titles, vertical_spacing=0.4 / height)
    for i, picture in enumerate(pictures):
        add_picture(figure, picture, i // 2 + 1, i % 2 + 1)
    named = any(layer.name for picture in pictures for layer in picture.layers)
    size = {"height": 120 + 250 * height, "margin": {"l": 60, "r": 20, "t": 90, "b": 50}}
    figure.update_layout(template="plotly_white", title_text=title, showlegend=named, **size)
    figure.update_annotations(yshift=8, font_size=14)  # clear of the label of the highest tick
    return on_the_page(figure)


def add_picture(figure: go.Figure, picture: Picture, row: int, column: int) -> None:
    """Draw a picture, in texts as plotly shows them, in its place of a plotly figure."""
    place = {"row": row, "col": column}
    in_legend = {trace.name for trace in figure.data}
    for layer in picture.layers:
        trace = _trace(layer, bool(layer.name) and layer.name not in in_legend)
        figure.add_trace(trace.update(x=np.array(picture.ticks)) if picture.ticks else trace, **place)
        in_legend.add(layer.name)
    for x, colour in picture.verticals:
        figure.add_vline(x, line={"color": _ink(colour), "dash": "dash", "width": 1}, **place)
    kind = "category" if picture.ticks else "log" if picture.log_x else "linear"
    figure.update_xaxes(title_text=picture.x_label, range=picture.x_range, type=kind, **place)
    across, up = ([getattr(layer, name) for layer in picture.layers] for name in "xy")
    limits, reach = None if picture.log else picture.range, _reach(up)
    if not picture.log and limits is None and reach is not None and reach[0] == reach[1]:
        beyond = abs(reach[0]) / 2 or 0.5  # plotly would draw 0.003 from -1 to 1, where its label is 0
        limits = (reach[0] - beyond, reach[1] + beyond)
    figure.update_yaxes(type="log" if picture.log else "linear", range=limits, **place)
    for update, values, whole in (
        (figure.update_xaxes, across, kind == "linear" and _whole(across)),
        (figure.update_yaxes, up, any(layer.style == "steps" for layer in picture.layers)),
    ):
        ends = _reach(values)
        if whole and ends is not None and ends[1] - ends[0] < 10:  # beyond, plotly's own ticks are whole
            update(dtick=1 if ends[1] - ends[0] < 6 else 2, tick0=0, **place)


def _trace(layer: Layer, in_legend: bool) -> go.Scatter | go.Bar:
    error = _known(layer.error)
    bars = None if error is None else {"type": "data", "array": error, "thickness": 1}
    look: dict[str, Any] = {"x": layer.x, "y": layer.y, "error_y": bars, "marker_color": _ink(layer.colour)}
    look |= {"name": layer.name, "legendgroup": layer.name or None, "showlegend": in_legend}
    if layer.style == "bars":
        return go.Bar(**look)
    line = {"color": _ink(layer.colour), "width": 1 if layer.style in ("thin", "steps") else 2}
    line |= {"steps": {"shape": "hv"}, "dashed": {"dash": "dash"}}.get(layer.style, {})
    marks = layer.style in ("points", "outline") or _alone(layer)
    marker = {"symbol": layer.marker + ("-open" if layer.style == "outline" else ""), "size": 8}
    opacity = 0.35 if layer.style == "thin" else 1.0
    return go.Scatter(mode="markers" if marks else "lines", marker=marker, line=line, opacity=opacity, **look)


def _alone(layer: Layer) -> bool:
    """Whether a line has one point, of which a line shows nothing."""
    return int((np.isfinite(layer.x) & np.isfinite(layer.y)).sum()) == 1


def png(pictures: Sequence[Picture], title: str, columns: int = 4) -> Image:
    """The same small multiples as a png, at most `columns` in a row; without a browser, a network or a display."""
    return as_png(multiples(pictures, title, columns), title)


def svg(pictures: Sequence[Picture], title: str, columns: int = 3) -> str:
    """The same small multiples as an svg element, whose texts stay texts; a tenth of the size of plotly's script."""
    figure, file = inked(multiples(pictures, title, columns)), io.StringIO()
    # One page holds several: the names inside come from the title, and a second drawing is the same text.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = file.getvalue()
    return drawn[drawn.index("<svg") :]


def multiples(pictures: Sequence[Picture], title: str, columns: int) -> Figure:
    """A figure of all pictures, at most `columns` in a row, with one legend."""
    heads, pictures = for_matplotlib(title), [picture.worded(for_matplotlib) for picture in pictures]
    height = max(1, -(-len(pictures) // columns))
    columns = max(1, -(-len(pictures) // height))  # rows of nearly equal length
    figure = new_figure(0.6 + (2.3 if columns > 3 else 2.7) * height)
    heading = figure.suptitle(heads, fontsize=11, x=0.01, ha="left")
    axes = figure.subplots(height, columns, squeeze=False).flat
    names: dict[str, Any] = {}
    for ax, picture in zip(axes, pictures, strict=False):
        handles = draw_picture(ax, picture)
        if not picture.key:
            names = handles | names
    for ax in list(figure.axes)[len(pictures) :]:
        ax.set_visible(False)
    if names:
        look = dict[str, Any](ncols=len(names), fontsize=8, frameon=False)
        legend = figure.legend(names.values(), names.keys(), loc="outside upper right", **look)
        if heading.get_window_extent().width + legend.get_window_extent().width > 0.96 * figure.bbox.width:
            legend.remove()
            heading.set_text(f"{heads}\n")  # room for a line below
            figure.legend(names.values(), names.keys(), loc="outside upper right", borderaxespad=2.4, **look)
    return figure


def new_figure(height: float) -> Figure:
    """An empty figure of 13 inches by `height`: not by pyplot, which would register it and choose a backend."""
    figure = Figure(figsize=(13.0, height), dpi=100)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
    return figure


def inked(figure: Figure) -> Figure:
    """The figure with ink that reads on light and dark in place of black."""
    for artist in figure.findobj():
        for part in ("color", "edgecolor", "facecolor", "markeredgecolor"):
            get, put = getattr(artist, f"get_{part}", None), getattr(artist, f"set_{part}", None)
            if get is not None and put is not None and same_color(get(), BLACK):
                put(INK)
    for ax in figure.axes:
        ax.tick_params(which="both", color=INK, labelcolor=INK)
    return figure


def as_png(figure: Figure, title: str) -> Image:
    """A matplotlib figure as a png that lets the page show through."""
    file = io.BytesIO()
    inked(figure).savefig(file, format="png", transparent=True)
    return Image(data=file.getvalue(), format="png", alt=title)  # type: ignore[no-untyped-call]


def draw_picture(ax: Axes, picture: Picture) -> dict[str, Any]:
    """Draw a picture, in texts as matplotlib shows them; returns what a legend needs of each name."""
    handles: dict[str, Any] = {}
    for layer in picture.layers:
        handle = _draw(ax, layer)
        if layer.name:
            handles.setdefault(layer.name, handle)
    if picture.key and handles:
        ax.legend(handles.values(), handles.keys(), fontsize=8, frameon=False)
    for x, colour in picture.verticals:
        ax.axvline(x, color=colour, linewidth=1, linestyle="--")
    ax.set_title(picture.label, fontsize=10, fontweight="bold", loc="left")
    ax.set_title(picture.unit, fontsize=8, loc="right")
    ax.set_xlabel(picture.x_label, fontsize=8)
    ax.set_xlim(picture.x_range)
    ax.set_xscale("log" if picture.log_x else "linear")
    if not picture.log_x and not picture.ticks and _whole([layer.x for layer in picture.layers]):
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    if picture.ticks:
        count = len(picture.ticks)
        some = sorted({*range(0, count, -(-count // 12)), count - 1})
        ax.set_xticks(some, [picture.ticks[i] for i in some])
    ax.tick_params(which="both", labelsize=8)
    ax.grid(color="#808080", alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if picture.log and any(np.any(layer.y > 0) for layer in picture.layers):
        ax.set_yscale("log", nonpositive="mask")  # an estimate of a small KL is often negative
    elif picture.range:
        ax.set_ylim(*picture.range)
    if any(layer.style == "steps" for layer in picture.layers):
        ax.yaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))  # a charge is an integer
    return handles


def _draw(ax: Axes, layer: Layer) -> Any:
    if layer.style == "bars":
        ax.axhline(0, color="black", linewidth=0.8)
        return ax.bar(layer.x, layer.y, yerr=_known(layer.error), color=layer.colour, width=0.7)
    if layer.style in ("points", "outline"):
        look: dict[str, Any] = {"fmt": MARKS[layer.marker], "markersize": 5, "elinewidth": 1, "color": layer.colour}
        look["markerfacecolor"] = "none" if layer.style == "outline" else layer.colour
        return ax.errorbar(layer.x, layer.y, _known(layer.error), **look)
    alone: dict[str, Any] = {"marker": "o", "markersize": 5} if _alone(layer) else {}
    return ax.plot(layer.x, layer.y, color=layer.colour, **LOOKS[layer.style], **alone)[0]

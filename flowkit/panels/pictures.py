"""What a picture is, layers of points over two axes, and what a curve of a history is, which becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowkit.panels.colours import ON_DARK

Numbers = NDArray[np.float64] | NDArray[np.float32]
Style = Literal["thin", "line", "steps", "dashed", "points", "outline", "bars"]

# One for each run, so that runs are told apart without their colours: names of plotly and of matplotlib.
MARKS = {"circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "cross": "P", "x": "X"}
MARKERS = tuple(MARKS)


class Layer(NamedTuple):
    """Points of one run in a picture.

    Attributes
    ----------
    x, y : array, [n]
        The points.
    colour : str
        One of the palette of `colours`.
    style : str
        "thin": every point, faint; "line"; "steps": constant up to the next point; "dashed"; "points": markers with
        error bars; "outline": hollow markers, for exact and published values; "bars": from zero, with error bars.
    name : str
        What the legend calls it; empty where it has no place there.
    error : array, [n], or None
        One standard error of y, for points and bars.
    marker : str
        One of `MARKERS`.
    """

    x: Numbers
    y: Numbers
    colour: str
    style: Style = "line"
    name: str = ""
    error: Numbers | None = None
    marker: str = MARKERS[0]


class Picture(NamedTuple):
    """A titled pair of axes.

    Attributes
    ----------
    label, unit : str
        Of what is drawn upwards.
    x_label : str
        Of the horizontal axis, with its unit.
    layers : sequence of Layer
        What is drawn, the last one in front.
    log, log_x : bool
        Whether an axis is logarithmic.
    range, x_range : (float, float) or None
        Limits of the axes; None: those of the points.
    verticals : sequence of (float, str)
        (x, colour): dashed lines, as the window of an autocorrelation function.
    key : bool
        Whether its layers have names of their own, which a png then writes beside them.
    ticks : tuple of str
        Text at x = 0, 1, ... in place of numbers.
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
    ticks: tuple[str, ...] = ()

    def worded(self, write: Callable[[str], str]) -> Picture:
        """The same with all its texts as `write` writes them."""
        layers = [layer._replace(name=write(layer.name)) for layer in self.layers]
        label, unit, x_label = (write(text) for text in (self.label, self.unit, self.x_label))
        ticks = tuple(write(tick) for tick in self.ticks)
        return self._replace(label=label, unit=unit, x_label=x_label, layers=layers, ticks=ticks)

    def plain(self) -> dict[str, Any]:
        """The same as plain data and float32 buffers for the front end."""
        layers = [
            {
                **layer._asdict(),
                "x": _buffer(layer.x),
                "y": _buffer(layer.y),
                "error": _buffer(layer.error),
                "colour_dark": ON_DARK[layer.colour],
            }
            for layer in self.layers
        ]
        verticals = [{"x": x, "colour": colour, "colour_dark": ON_DARK[colour]} for x, colour in self.verticals]
        return {**self._asdict(), "layers": layers, "verticals": verticals}


def titled(label: str, unit: str) -> str:
    """A label with its unit, where it has one."""
    return f"{label} ({unit})" if unit else label


def _buffer(values: Numbers | None) -> bytes:
    return b"" if values is None else np.ascontiguousarray(values, dtype="<f4").tobytes()


class Axis(NamedTuple):
    """A column that can be the horizontal axis; what is counted, as steps, has no unit."""

    column: str
    label: str
    unit: str = ""

    @property
    def title(self) -> str:
        return titled(self.label, self.unit)


class Curve(NamedTuple):
    """One quantity of a history and how it is drawn.

    Attributes
    ----------
    column : str
        Its column of the history.
    label, short : str
        Its name as a title, and in the status line.
    colour : str
        Of a picture of one run; where it is empty, each run has its own.
    unit : str
        Empty for a number without one.
    log : bool
        Whether its axis is logarithmic at first.
    range : (float, float) or None
        Limits of its axis.
    show : str
        "always"; "known": once it has a value; "varies": once it has two.
    headline : bool
        Whether its newest value stands in the status line.
    steps : bool
        Drawn as constant from point to point, and never smoothed, as a topological charge.
    references : tuple of (str, float)
        Names and values to compare with, drawn as dashed lines.
    runs : tuple of int
        Which runs are drawn.
    """

    column: str
    label: str
    short: str
    colour: str = ""
    unit: str = ""
    log: bool = False
    range: tuple[float, float] | None = None
    show: Literal["always", "known", "varies"] = "always"
    headline: bool = False
    steps: bool = False
    references: tuple[tuple[str, float], ...] = ()
    runs: tuple[int, ...] = (0,)

    def as_plot(self) -> dict[str, Any]:
        """The same as plain data for the front end."""
        return {**self._asdict(), "colour_dark": ON_DARK.get(self.colour, "")}

    def wanted(self, y: Numbers) -> bool:
        """Whether there is something to show."""
        finite = y[np.isfinite(y)]
        return self.show == "always" or (finite.size > 0 and (self.show == "known" or finite.min() < finite.max()))

"""What panels that show slices of fields have in common: pictures of a plane, and numbers against a slider."""

from __future__ import annotations

import io
import operator
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from flowkit.ensemble.fields import FieldNumbers, describe
from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.colours import ON_DARK, Colours, of_quantity
from flowkit.panels.field_view import FieldView

UNIT = "dimensionless"
SHOWN = 8  # pictures in a snapshot


class Series(NamedTuple):
    """Numbers against the main slider, [others, mains], with errors where they have some."""

    label: str
    short: str
    colour: str
    values: NDArray[np.float64]
    errors: NDArray[np.float64] | None = None
    points: bool = False

    def as_chart(self) -> dict[str, Any]:
        """The same as plain data for the front end."""
        errors = np.zeros_like(self.values) if self.errors is None else self.errors
        return {
            "label": self.label,
            "short": self.short,
            "unit": UNIT,
            "colour": self.colour,
            "colour_dark": ON_DARK[self.colour],
            "values": self.values.tolist(),
            "errors": errors.tolist(),
            "points": self.points,
            "range": None,
        }


class Shown(NamedTuple):
    """What is in the picture: fields `main` and `other`, the plane (mu, nu) through the site `at`, and the part."""

    main: int
    other: int
    plane: int
    part: int
    at: tuple[int, ...]


class SlicePanel(Panel):
    """Slices of the fields of `FieldNumbers`: a main slider over its second axis, another over its first.

    A subclass says in `names` what the two count (main, other), in `_ticks`, `_labels` and `_positions` what the main
    slider's values are, and in `_series` which numbers are drawn against it.
    """

    names: tuple[str, str]
    ends: tuple[str, ...] = ()  # left and right of a strip of small pictures, where there is one

    def __init__(
        self, numbers: FieldNumbers, main: int, other: int, plane: tuple[int, int] | None, at: Sequence[int] | None
    ):
        self._fields = numbers
        lattice, who = numbers.lattice, type(self).__name__
        self._axes = [(mu, nu) for mu in range(len(lattice)) for nu in range(mu + 1, len(lattice))]
        for name, i, count in zip(self.names, (main, other), numbers.values.shape[1::-1], strict=True):
            if not 0 <= operator.index(i) < count:
                raise ValueError(f"{who} shows a {name} from 0 to {count - 1}; got {i}.")
        if plane is not None and plane not in self._axes:
            raise ValueError(f"{who} shows one of the planes {', '.join(map(str, self._axes))}; got {plane}.")
        site = (0,) * len(lattice) if at is None else tuple(map(operator.index, at))
        if len(site) != len(lattice) or not all(0 <= x < side for x, side in zip(site, lattice, strict=True)):
            raise ValueError(f"{who} shows a slice through a site of the lattice {lattice}; got {site}.")
        self._first = Shown(main, other, 0 if plane is None else self._axes.index(plane), 0, site)

    @abstractmethod
    def _ticks(self) -> list[str]:
        """Short labels of the main slider's values."""

    @abstractmethod
    def _labels(self) -> list[str]:
        """Its values in words."""

    @abstractmethod
    def _positions(self) -> list[str]:
        """What stands beside the main slider."""

    def _others(self) -> list[str]:
        """What stands beside the other slider."""
        count = self._fields.values.shape[0]
        return [f"{i} of {count}" for i in range(1, count + 1)]

    def _beside(self) -> list[str]:
        """What the line of numbers says of the other slider; nothing where its place says all."""
        return [""] * self._fields.values.shape[0]

    def _kept(self) -> str:
        """What the other slider goes through, in a sentence; empty where there is nothing to say."""
        return ""

    def _axis(self) -> str:
        """What the numbers are drawn against."""
        return self.names[0]

    @abstractmethod
    def _series(self) -> list[Series]: ...

    @abstractmethod
    def _title(self) -> str: ...

    @property
    def shown(self) -> Shown:
        """What is in the picture: in the live view, where there is one."""
        if "widget" not in self.__dict__:
            return self._first
        view = self.widget
        return Shown(view.main, view.other, view.plane, view.part, tuple(view.at))

    def _colours(self) -> Colours:
        numbers = self._fields
        return of_quantity(numbers.quantity, numbers.group, float(np.abs(numbers.values).max()))

    def _part_name(self) -> str:
        return "direction" if self._fields.quantity == "link" else "component"

    def _by_plane(self) -> bool:
        return self._fields.quantity in ("angle", "plaquette")

    def _content(self) -> dict[str, Any]:
        """What changes with the numbers, as traits of the live view."""
        colours = self._colours()
        return {
            "values": np.ascontiguousarray(self._fields.values, dtype="<f4").tobytes(),
            "labels": {
                "main": self._labels(),
                "ticks": self._ticks(),
                "slider": self._positions(),
                "other": self._others(),
                "beside": self._beside(),
                "kept": self._kept(),
                "word": self._axis(),
                "axis": f"{self._axis()} ({UNIT})",
            },
            "colours": {
                "label": f"{colours.label} ({UNIT})",
                "range": [colours.low, colours.high],
                "ticks": list(colours.ticks),
                "texts": list(colours.texts),
                "table": colours.table(),
            },
            "charts": [one.as_chart() for one in self._series()],
            "title": self._title(),
        }

    def _make_widget(self) -> FieldView:
        numbers, first = self._fields, self._first
        view = FieldView(
            shape=list(numbers.values.shape[:3]),
            lattice=list(numbers.lattice),
            axes=[list(pair) for pair in self._axes],
            by_plane=self._by_plane(),
            names=[*self.names, self._part_name()],
            ends=list(self.ends),
            what=repr(self),
            **self._content(),
        )
        for name, value in first._asdict().items():
            view.set_trait(name, list(value) if name == "at" else value)
        let_subshell_answer(view)
        return view

    # -- pictures without a page -----------------------------------------------------------------------------------

    def _picture(self, main: int) -> NDArray[np.float32]:
        """A slice, direction mu to the right and direction nu upwards."""
        shown = self.shown
        mu, nu = self._axes[shown.plane]
        field = self._fields.values[shown.other, main, shown.plane if self._by_plane() else shown.part]
        index = tuple(slice(None) if axis in (mu, nu) else x for axis, x in enumerate(shown.at))
        picture: NDArray[np.float32] = field[index].T
        return picture

    def _axis_labels(self) -> tuple[str, str]:
        mu, nu = self._axes[self.shown.plane]
        return f"{_coordinate(mu)} ({UNIT})", f"{_coordinate(nu)} ({UNIT})"

    def _where(self) -> str:
        """The slice in words."""
        shown, lattice = self.shown, self._fields.lattice
        pair = self._axes[shown.plane]
        off = ", ".join(f"{_coordinate(axis)} = {x}" for axis, x in enumerate(shown.at) if axis not in pair)
        plane = f", plane {pair}" + (f" at {off}" if off else "") if len(lattice) > 2 else ""
        return f"{self._beside()[shown.other] or f'{self.names[1]} {self._others()[shown.other]}'}{plane}"

    def figure(self) -> go.Figure:
        colours, shown, series = self._colours(), self.shown, self._series()
        across, upwards = self._axis_labels()
        count = self._fields.values.shape[1]
        rows = len(series)
        figure = make_subplots(
            rows=rows,
            cols=2,
            specs=[[{"rowspan": rows}, {}], *[[None, {}]] * (rows - 1)],
            column_widths=[0.5, 0.5],
            horizontal_spacing=0.16,
            vertical_spacing=0.3 / rows,
            subplot_titles=["", *[f"{one.label} ({UNIT})" for one in series]],
        )
        bar = {
            "title": {"text": f"{colours.label}<br>({UNIT})"},
            "tickvals": colours.ticks,
            "ticktext": colours.texts,
            "x": 0.43,
        }
        table = [[i / 255, colour] for i, colour in enumerate(colours.table())]
        for main in range(count):
            heatmap = go.Heatmap(
                z=self._picture(main),
                zmin=colours.low,
                zmax=colours.high,
                colorscale=table,
                colorbar=bar,
                visible=main == shown.main,
                name=self._labels()[main],
            )
            figure.add_trace(heatmap, row=1, col=1)
        for row, one in enumerate(series, start=1):
            y = one.values[shown.other]
            errors = None if one.errors is None else {"type": "data", "array": one.errors[shown.other]}
            look = {"x": self._ticks(), "y": y, "error_y": errors, "name": one.label, "hovertext": self._labels()}
            kind = go.Scatter(mode="markers", marker_color=one.colour, **look) if one.points else None
            figure.add_trace(kind or go.Bar(marker_color=one.colour, **look), row=row, col=2)
            figure.update_xaxes(title_text=f"{self._axis()} ({UNIT})", type="category", row=row, col=2)
        figure.update_xaxes(title_text=across, constrain="domain", row=1, col=1)
        figure.update_yaxes(title_text=upwards, scaleanchor="x", constrain="domain", row=1, col=1)
        steps = [
            {
                "label": tick,
                "method": "restyle",
                "args": [{"visible": [i == main for i in range(count)]}, list(range(count))],
            }
            for main, tick in enumerate(self._ticks())
        ]
        prefix = {"prefix": f"{self._axis()} "}
        slider = {"active": shown.main, "steps": steps, "len": 0.46, "pad": {"t": 50}, "currentvalue": prefix}
        return figure.update_layout(
            template="plotly_white",
            showlegend=False,
            title_text=f"{self._title()}; {self._where()}",
            sliders=[slider],
            height=max(520, 200 + 180 * rows),
            margin={"l": 60, "r": 20, "t": 90, "b": 50},
        )

    def snapshot(self) -> Image:
        colours, shown, series = self._colours(), self.shown, self._series()
        count = self._fields.values.shape[1]
        some = np.unique(np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int)).tolist()
        figure = Figure(figsize=(13.0, 5.0), dpi=100)
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
        figure.suptitle(f"{self._title()}; {self._where()}", fontsize=11, x=0.01, ha="left")
        above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.15), squeeze=False)[:, 0]
        axes = above.subplots(1, len(some), squeeze=False)[0]
        across, upwards = self._axis_labels()
        for ax, main in zip(axes, some, strict=True):
            image = ax.imshow(
                self._picture(main),
                cmap=colours.map,
                vmin=colours.low,
                vmax=colours.high,
                origin="lower",
                interpolation="nearest",
            )
            tick = self._ticks()[main]
            ax.set_title(f"{self._axis()} {tick}" if tick.isdigit() else tick, fontsize=10)
            ax.set_xticks([])
            ax.set_yticks([])
        axes[0].set_xlabel(across, fontsize=8)
        axes[0].set_ylabel(upwards, fontsize=8)
        scale = above.colorbar(image, ax=list(axes), ticks=colours.ticks, shrink=0.9, pad=0.01)
        scale.ax.set_yticklabels(colours.texts, fontsize=8)
        scale.set_label(f"{colours.label}\n({UNIT})", fontsize=8)
        for ax, one in zip(below.subplots(1, len(series), squeeze=False)[0], series, strict=True):
            x, y = range(count), one.values[shown.other]
            errors = None if one.errors is None else one.errors[shown.other]
            if one.points:
                ax.errorbar(x, y, yerr=errors, fmt=".", color=one.colour)
            else:
                ax.bar(x, y, yerr=errors, color=one.colour, width=0.7)
                ax.axhline(0, color="black", linewidth=0.8)
            ax.set_title(one.label, fontsize=10, fontweight="bold", loc="left")
            ax.set_title(UNIT, fontsize=8, color="#555555", loc="right")
            ax.set_xlabel(f"{self._axis()} ({UNIT})", fontsize=8)
            ticks = sorted({*range(0, count, -(-count // 12)), count - 1})
            ax.set_xticks(ticks, [self._ticks()[i] for i in ticks])
            ax.tick_params(labelsize=8)
            ax.grid(color="#e3e3e3", linewidth=0.6, axis="y")
            ax.set_axisbelow(True)
            ax.spines[["top", "right"]].set_visible(False)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return Image(data=file.getvalue(), format="png", alt=self._title())  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        others, mains, _ = self._fields.values.shape[:3]
        counts = ", ".join(counted(n, name) for n, name in zip((mains, others), self.names, strict=True))
        return f"{type(self).__name__}({describe(self._fields)}, {counts})"


def _coordinate(axis: int) -> str:
    return "x" + "₀₁₂₃₄₅₆₇₈₉"[axis]


def counted(n: int, name: str) -> str:
    """3 chains, 1 chain."""
    return f"{n} {name}" if n == 1 else f"{n} {name}s"

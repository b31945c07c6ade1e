"""The heatmap of all panels that show fields: a picture, sliders for what it shows, and charts over the main one."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.colours import Colours, colours
from flowkit.panels.drawing import (
    add_picture,
    as_png,
    draw_picture,
    for_matplotlib,
    for_plotly,
    new_figure,
    on_the_page,
)
from flowkit.panels.heatmap_view import Heatmaps, HeatmapView, Shown
from flowkit.panels.pictures import Layer, Picture, titled

SHOWN = 10  # pictures in a snapshot
COORDINATES = [f"x{digit}" for digit in "₀₁₂₃₄₅₆₇₈₉"]
BETWEEN = 90  # pixels between two charts: the numbers and the name of an axis, and the title of the next chart


class HeatmapPanel(Panel):
    """Slices of fields: a main slider, another slider, the plane (mu, nu), and the coordinates off the plane.

    A new panel says in `names` what the two sliders count, and gives its numbers in `_heatmaps`.
    """

    names: tuple[str, str]
    ends: tuple[str, ...] = ()  # left and right of a strip of small pictures, where there is one

    view: type[HeatmapView] = HeatmapView

    def __init__(self, main: int, other: int, plane: tuple[int, int] | None = None, at: Sequence[int] | None = None):
        self._data = self._heatmaps()
        fields, who = self._data.fields, type(self).__name__
        lattice = fields[-1].shape[2:]
        for name, i, count in zip(self.names, (main, other), (len(fields), len(fields[0])), strict=True):
            if not 0 <= operator.index(i) < count:
                raise ValueError(f"{who} shows a {name} from 0 to {count - 1}; got {i}.")
        if plane is not None and plane not in self._axes:
            raise ValueError(f"{who} shows one of the planes {', '.join(map(str, self._axes))}; got {plane}.")
        site = (0,) * len(lattice) if at is None else tuple(map(operator.index, at))
        if len(site) != len(lattice) or not all(0 <= x < side for x, side in zip(site, lattice, strict=True)):
            raise ValueError(f"{who} shows a slice through a site of the lattice {lattice}; got {site}.")
        first = 0 if plane is None else self._axes.index(plane)
        self._first = Shown(operator.index(main), operator.index(other), first, 0, site)

    @abstractmethod
    def _heatmaps(self) -> Heatmaps: ...

    @property
    def _axes(self) -> list[tuple[int, int]]:
        ndim = len(self._data.fields[-1].shape) - 2
        return [(mu, nu) for mu in range(ndim) for nu in range(mu + 1, ndim)]

    @property
    def shown(self) -> Shown:
        """What is in the picture: in the live view, where there is one."""
        if "widget" not in self.__dict__:
            return self._first
        view = self.widget
        return Shown(view.main, view.other, view.plane, view.part, tuple(view.at))

    def _colours(self) -> Colours:
        what = self._data.quantity
        largest = max(float(np.abs(field).max()) for field in self._data.fields)
        return colours(titled(what.value, what.unit), what.low, what.high, what.ticks, what.palette, largest)

    # -- the live view ---------------------------------------------------------------------------------------------

    def _traits(self) -> dict[str, Any]:
        """The numbers as traits of the live view."""
        data, ramp = self._data, self._colours()
        fields = [np.ascontiguousarray(field, dtype="<f4") for field in data.fields]
        counts = {"main": len(fields), "other": len(fields[0]), "plane": len(self._axes), "part": fields[0].shape[1]}
        plain = {name: value for name, value in data._asdict().items() if name not in ("fields", "quantity", "charts")}
        content = {
            **plain,
            "what": repr(self),
            "names": [*self.names, data.part],
            "counts": counts,
            "lattices": [field.shape[2:] for field in fields],
            "axes": self._axes,
            "ends": self.ends,
            "shorts": [chart.short for chart in data.charts],
            "colours": {**ramp._asdict(), "map": ramp.table()},
            "charts": [[one.plain() for one in self._charts(other)] for other in range(counts["other"])],
        }
        return {"content": content, "values": b"".join(field.tobytes() for field in fields)}

    def _make_widget(self) -> HeatmapView:
        view = self.view(**self._traits())
        for name, value in self._first._asdict().items():
            view.set_trait(name, list(value) if name == "at" else value)
        let_subshell_answer(view)
        return view

    def _renew(self) -> None:
        """Show new numbers, in the live view too; where their lattice is another one, from its beginning."""
        before, shown = [one.shape for one in self._data.fields], self.shown
        self._data = self._heatmaps()
        fields = self._data.fields
        if [one.shape for one in fields] != before:
            main, other = (i if i < n else 0 for i, n in ((shown.main, len(fields)), (shown.other, len(fields[0]))))
            shown = Shown(main, other, 0, 0, (0,) * (fields[-1].ndim - 2))
        self._first = shown
        if "widget" in self.__dict__:
            with self.widget.hold_sync():
                for name, value in (*self._traits().items(), *shown._asdict().items()):
                    self.widget.set_trait(name, list(value) if name == "at" else value)

    # -- pictures without a page -----------------------------------------------------------------------------------

    def _charts(self, other: int) -> list[Picture]:
        data = self._data
        x, axis, found = np.arange(len(data.fields), dtype=float), titled(data.axis, data.unit), []
        for label, _, colour, style, values, errors, limits in data.charts:
            error = None if errors is None else errors[other]
            layer = Layer(x, values[other], colour, style, error=error)
            found.append(Picture(label, "", axis, [layer], range=limits, ticks=tuple(data.ticks)))
        return found

    def _pictures(self) -> list[Picture]:
        return self._charts(self.shown.other)

    def _picture(self, main: int) -> NDArray[np.float32]:
        """A slice, direction mu to the right and direction nu upwards."""
        shown, data = self.shown, self._data
        pair = self._axes[shown.plane]
        field = data.fields[main][shown.other, shown.plane if data.by_plane else shown.part]
        finest, here = data.fields[-1].shape[2:], field.shape
        # A coarse site stands for the fine ones from it up to the next.
        at = [x * mine // side for x, side, mine in zip(shown.at, finest, here, strict=True)]
        index = tuple(slice(None) if axis in pair else x for axis, x in enumerate(at))
        picture: NDArray[np.float32] = field[index].T
        return picture

    def _title(self) -> str:
        """What is shown, and where."""
        shown, data = self.shown, self._data
        pair = self._axes[shown.plane]
        off = ", ".join(f"{COORDINATES[axis]} = {x}" for axis, x in enumerate(shown.at) if axis not in pair)
        plane = f", plane {pair}" + (f" at {off}" if off else "") if len(shown.at) > 2 else ""
        beside = data.beside[shown.other] if data.beside else f"{self.names[1]} {data.others[shown.other]}"
        return f"{data.title}; {beside}{plane}"

    def _extent(self) -> tuple[int, int]:
        """Sides of the plane on the last lattice, over which all pictures are drawn."""
        mu, nu = self._axes[self.shown.plane]
        lattice = self._data.fields[-1].shape[2:]
        return lattice[mu], lattice[nu]

    def figure(self) -> go.Figure:
        ramp, shown, data = self._colours(), self.shown, self._data
        charts = [chart.worded(for_plotly) for chart in self._pictures()]
        (width, height), rows, last = self._extent(), len(charts), len(data.fields) - 1
        tall = max(560, 200 + 220 * rows)
        figure = make_subplots(
            rows=rows,
            cols=2,
            specs=[[{"rowspan": rows}, {}], *[[None, {}]] * (rows - 1)],
            column_widths=[0.5, 0.5],
            horizontal_spacing=0.16,
            vertical_spacing=BETWEEN / (tall - 200),
            subplot_titles=["", *[titled(one.label, one.unit) for one in charts]],
        )
        bar = {
            "title": {"text": for_plotly(ramp.label).replace(" (", "<br>(")},
            "tickvals": ramp.ticks,
            "ticktext": ramp.texts,
        }
        table = [[i / 255, colour] for i, colour in enumerate(ramp.table())]
        look = {"zmin": ramp.low, "zmax": ramp.high, "colorscale": table, "colorbar": {**bar, "x": 0.43}}
        for main in range(last + 1):
            z = self._picture(main)
            dy, dx = height / z.shape[0], width / z.shape[1]  # sites stand at whole numbers on the last lattice
            places = {"x0": (dx - 1) / 2, "dx": dx, "y0": (dy - 1) / 2, "dy": dy}
            heatmap = go.Heatmap(z=z, visible=main == shown.main, name=for_plotly(data.words[main]), **places, **look)
            figure.add_trace(heatmap, row=1, col=1)
        for row, chart in enumerate(charts, start=1):
            add_picture(figure, chart, row, 2)
        mu, nu = self._axes[shown.plane]
        sites = {"constrain": "domain", "tick0": 0, "dtick": -(-max(width, height) // 8), "row": 1, "col": 1}
        figure.update_xaxes(title_text=COORDINATES[mu], **sites)
        figure.update_yaxes(title_text=COORDINATES[nu], scaleanchor="x", **sites)
        every = list(range(last + 1))
        steps = [
            {"label": for_plotly(tick), "method": "restyle", "args": [{"visible": [i == main for i in every]}, every]}
            for main, tick in enumerate(data.ticks)
        ]
        prefix = {"prefix": for_plotly(f"{data.axis} ")}
        slider = {"active": shown.main, "steps": steps, "len": 0.46, "pad": {"t": 50}, "currentvalue": prefix}
        size = {"height": tall, "margin": {"l": 60, "r": 20, "t": 90, "b": 50}}
        look = {"template": "plotly_white", "showlegend": False, "title_text": for_plotly(self._title())}
        figure.update_layout(sliders=[slider], **look, **size).update_annotations(yshift=8, font_size=14)
        return on_the_page(figure)

    def snapshot(self) -> Image:
        ramp, data, (width, height) = self._colours(), self._data, self._extent()
        charts = [chart.worded(for_matplotlib) for chart in self._pictures()]
        count = len(data.fields)
        some = np.unique(np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int)).tolist()
        figure = new_figure(5.2)
        figure.suptitle(for_matplotlib(self._title()), fontsize=11, x=0.01, ha="left")
        above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.2), squeeze=False)[:, 0]
        axes = above.subplots(1, len(some), squeeze=False)[0]
        look: dict[str, Any] = {"cmap": ramp.map, "vmin": ramp.low, "vmax": ramp.high, "extent": (0, width, 0, height)}
        for ax, main in zip(axes, some, strict=True):
            image = ax.imshow(self._picture(main), origin="lower", interpolation="nearest", **look)
            tick = for_matplotlib(data.ticks[main])
            ax.set_title(f"{data.axis} {tick}" if tick.isdigit() else tick, fontsize=10)
            ax.set(xticks=[], yticks=[])
        mu, nu = self._axes[self.shown.plane]
        axes[0].set_xlabel(COORDINATES[mu], fontsize=8)
        axes[0].set_ylabel(COORDINATES[nu], fontsize=8)
        scale = above.colorbar(image, ax=list(axes), ticks=ramp.ticks, shrink=0.9, pad=0.01)
        scale.ax.set_yticklabels(ramp.texts, fontsize=8)
        scale.set_label(for_matplotlib(ramp.label).replace(" (", "\n("), fontsize=8)
        for ax, chart in zip(below.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
            draw_picture(ax, chart)
        return as_png(figure, data.title)

    def __repr__(self) -> str:
        fields = self._data.fields
        # A prior is no layer.
        counts = zip((len(fields) - ("prior" in self.ends), len(fields[0])), self.names, strict=True)
        words = [f"{n} {name}{'s' * (n != 1)}" for n, name in counts]
        return f"{type(self).__name__}({', '.join([self._what(), *words])})"

    def _what(self) -> str:
        """What the fields are, in a word or two."""
        return self._data.title

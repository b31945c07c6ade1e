"""The multiscale panel: one field at every scale, and what each doubling of the lattice costs."""

from __future__ import annotations

import io
import math
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.colours import ANGLE, GREEN, ON_DARK, PURPLE, trace
from flowkit.panels.scale_view import ScaleView
from flowkit.stats import Estimate, format_error

if TYPE_CHECKING:
    from flowkit.multiscale import ByScale

KL_LABEL, ESS_LABEL = "KL added by each doubling", "ESS at each scale"
UNIT = "dimensionless"


class Bars(NamedTuple):
    """A bar chart over the scales."""

    label: str
    colour: str
    estimates: list[Estimate]
    limits: list[float] | None


class Multiscale(Panel):
    """One field at every scale, coarse to fine, with the KL that each doubling adds and the ESS at each scale.

    A coarse plaquette is drawn over the fine ones that it has become; for U(1) their angles sum up to its own, modulo
    2 pi. The colours are those of U(1) angles or of Re Tr P / N and mean the same at every scale.

    numbers    what `by_scale` gives: plain numbers, no model
    field      the one of its fields to begin with
    Raises     TypeError for other numbers, ValueError for a field that they do not hold
    """

    def __init__(self, numbers: ByScale, *, field: int = 0):
        if not all(hasattr(numbers, name) for name in ("group", "beta", "scales")):
            raise TypeError(f"Multiscale shows the numbers of by_scale; got {type(numbers).__name__}.")
        count = len(numbers.scales[0].plaquettes)
        if not 0 <= operator.index(field) < count:
            raise ValueError(f"Multiscale shows one of {count} fields, 0 to {count - 1}; got {field}.")
        self.numbers = numbers
        self._first = operator.index(field)
        self._colours = ANGLE if numbers.group == "U(1)" else trace(int(numbers.group.strip("SU()")))
        self._lattices = ["x".join(map(str, one.lattice)) for one in numbers.scales]

    @property
    def field(self) -> int:
        """The field that is shown: in the live view, where there is one."""
        return int(self.widget.field) if "widget" in self.__dict__ else self._first

    def _make_widget(self) -> ScaleView:
        numbers, colours = self.numbers, self._colours
        arrays = [np.ascontiguousarray(one.plaquettes, dtype="<f4") for one in numbers.scales]
        view = ScaleView(
            lattices=[list(one.lattice) for one in numbers.scales],
            fields=len(arrays[0]),
            plaquettes=b"".join(array.tobytes() for array in arrays),
            colours={
                "label": f"{colours.label} ({UNIT})",
                "range": [colours.low, colours.high],
                "ticks": list(colours.ticks),
                "texts": list(colours.texts),
                "table": colours.table(),
            },
            title=self._title(),
            lines=self._lines(),
            charts=[_chart(bars) for bars in self._bars()],
        )
        view.set_trait("field", self._first)
        view.set_trait("scale", len(arrays) - 1)
        let_subshell_answer(view)
        return view

    def _title(self) -> str:
        return f"{self.numbers.group}, beta = {self.numbers.beta:g}, {self._lattices[-1]}"

    def _lines(self) -> list[str]:
        return [
            f"{lattice}: KL {_short(one.kl)}, of which {_short(one.added)} by the last step; ESS {_short(one.ess)}"
            for lattice, one in zip(self._lattices, self.numbers.scales, strict=True)
        ]

    def _notes(self) -> list[str]:
        return self._lines()

    def _pictures(self) -> list[NDArray[np.float32]]:
        """The field at each scale, direction 0 to the right and direction 1 upwards."""
        return [one.plaquettes[self.field].T for one in self.numbers.scales]

    def _extent(self) -> tuple[float, float]:
        width, height = self.numbers.scales[-1].lattice
        return float(width), float(height)

    def figure(self) -> go.Figure:
        colours, (width, height) = self._colours, self._extent()
        figure = make_subplots(
            rows=2,
            cols=2,
            specs=[[{"rowspan": 2}, {}], [None, {}]],
            column_widths=[0.55, 0.45],
            horizontal_spacing=0.16,
            subplot_titles=["", f"{KL_LABEL} ({UNIT})", f"{ESS_LABEL} ({UNIT})"],
        )
        last = len(self._lattices) - 1
        table = [[i / 255, colour] for i, colour in enumerate(colours.table())]
        bar = {
            "title": {"text": f"{colours.label}<br>({UNIT})"},
            "tickvals": colours.ticks,
            "ticktext": colours.texts,
            "x": 0.47,
        }
        for j, picture in enumerate(self._pictures()):
            rows, columns = picture.shape
            heatmap = go.Heatmap(
                z=picture,
                x0=width / columns / 2,
                dx=width / columns,
                y0=height / rows / 2,
                dy=height / rows,
                zmin=colours.low,
                zmax=colours.high,
                colorscale=table,
                colorbar=bar,
                visible=j == last,
                name=self._lattices[j],
            )
            figure.add_trace(heatmap, row=1, col=1)
        for row, (_, colour, estimates, _) in enumerate(self._bars(), start=1):
            errors = {"type": "data", "array": [_error(one) for one in estimates]}
            values = [one.value for one in estimates]
            chart = go.Bar(x=self._lattices, y=values, error_y=errors, marker_color=colour)
            figure.add_trace(chart, row=row, col=2)
            figure.update_xaxes(title_text="lattice (sites)", type="category", row=row, col=2)
        figure.update_yaxes(range=[0, 1.02], row=2, col=2)
        figure.update_xaxes(title_text=f"x₀ ({UNIT})", range=[0, width], row=1, col=1)
        figure.update_yaxes(title_text=f"x₁ ({UNIT})", range=[0, height], scaleanchor="x", row=1, col=1)
        steps = [
            {
                "label": lattice,
                "method": "restyle",
                "args": [{"visible": [i == j for i in range(last + 1)]}, list(range(last + 1))],
            }
            for j, lattice in enumerate(self._lattices)
        ]
        slider = {"active": last, "steps": steps, "len": 0.46, "pad": {"t": 50}, "currentvalue": {"prefix": "lattice "}}
        return figure.update_layout(
            template="plotly_white",
            showlegend=False,
            title_text=f"{self._title()}, field {self.field}",
            sliders=[slider],
            height=560,
            margin={"l": 60, "r": 20, "t": 90, "b": 50},
        )

    def _bars(self) -> list[Bars]:
        scales = self.numbers.scales
        return [
            Bars(KL_LABEL, PURPLE, [one.added for one in scales], None),
            Bars(ESS_LABEL, GREEN, [one.ess for one in scales], [0.0, 1.0]),
        ]

    def snapshot(self) -> Image:
        pictures, colours, (width, height) = self._pictures(), self._colours, self._extent()
        # At most eight scales, the finest ones: the coarsest of a long row have next to nothing to show.
        shown = list(range(len(pictures)))[-8:]
        figure = Figure(figsize=(13.0, 5.2), dpi=100)
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
        figure.suptitle(f"{self._title()}, field {self.field}", fontsize=11, x=0.01, ha="left")
        above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.25), squeeze=False)[:, 0]
        axes = above.subplots(1, len(shown), squeeze=False)[0]
        for ax, j in zip(axes, shown, strict=True):
            image = ax.imshow(
                pictures[j],
                cmap=colours.map,
                vmin=colours.low,
                vmax=colours.high,
                origin="lower",
                interpolation="nearest",
                extent=(0, width, 0, height),
            )
            ax.set_title(self._lattices[j], fontsize=10)
            ax.set_xticks([])
            ax.set_yticks([])
        scale = above.colorbar(image, ax=list(axes), ticks=colours.ticks, shrink=0.9, pad=0.01)
        scale.ax.set_yticklabels(colours.texts, fontsize=8)
        scale.set_label(f"{colours.label}\n({UNIT})", fontsize=8)
        for ax, (label, colour, estimates, _) in zip(below.subplots(1, 2), self._bars(), strict=True):
            errors = [_error(one) for one in estimates]
            ax.bar(self._lattices, [one.value for one in estimates], yerr=errors, color=colour, width=0.7)
            ax.set_title(label, fontsize=10, fontweight="bold", loc="left")
            ax.set_title(UNIT, fontsize=8, color="#555555", loc="right")
            ax.set_xlabel("lattice (sites)", fontsize=8)
            ax.tick_params(labelsize=8)
            ax.grid(color="#e3e3e3", linewidth=0.6, axis="y")
            ax.set_axisbelow(True)
            ax.spines[["top", "right"]].set_visible(False)
        ax.set_ylim(0, 1.02)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return Image(data=file.getvalue(), format="png", alt=self._title())  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"Multiscale({self._title()}, {len(self._lattices)} scales)"


def _error(estimate: Estimate) -> float:
    """0 where no error is known, as where all weights are equal."""
    return estimate.error if math.isfinite(estimate.error) else 0.0


def _short(estimate: Estimate) -> str:
    value, error = estimate.value, estimate.error
    if abs(value) < 1e-9:  # the rounding of an exact zero
        return "0"
    if not math.isfinite(error):
        return f"{value:.4g}"
    return f"{value:.1e} ± {error:.1e}" if abs(value) < 1e-3 else format_error(value, error)


def _chart(bars: Bars) -> dict[str, Any]:
    """A bar chart as plain data for the front end."""
    return {
        "label": bars.label,
        "unit": UNIT,
        "colour": bars.colour,
        "colour_dark": ON_DARK[bars.colour],
        "values": [one.value for one in bars.estimates],
        "errors": [_error(one) for one in bars.estimates],
        "range": bars.limits,
    }

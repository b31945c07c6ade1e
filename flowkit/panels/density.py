"""The density panel: a lattice of three dimensions that turns, or a slice of four that goes through time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from numpy.typing import NDArray

from flowkit.checks import Count, Natural, checked
from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.colours import INK, Colours, colours
from flowkit.panels.density_view import DensityView, Shown, limits, projected
from flowkit.panels.drawing import as_png, for_matplotlib, for_plotly, new_figure, on_the_page
from flowkit.panels.heatmap import COORDINATES
from flowkit.panels.pictures import titled

if TYPE_CHECKING:
    from torch import Tensor

    from flowkit.ensemble import Ensemble
    from flowkit.ensemble.fields import FieldNumbers
    from flowkit.geometry.space import Space

SHOWN, MOST = 5, 64  # pictures in a snapshot, steps of a figure's slider
LINES = "#a6a6a6"  # WebGL draws none that let the page through
CORNERS = list(product((0, 1), repeat=3))
EDGES = [pair for pair in combinations(CORNERS, 2) if sum(map(int.__ne__, *pair)) == 1]


class Density(Panel):
    """A charge density, an action density or a scalar field on a lattice of three dimensions, which turns.

    Each site is a ball, whose area grows with the absolute value of its number. Drag the lattice, or use arrow keys or
    the sliders, to turn it. In three dimensions time is the number of the configuration. In four it is one direction of
    the lattice, chosen by a slider; another slider chooses the configuration. Sites with small numbers are left out.

    Parameters
    ----------
    fields : Ensemble, Tensor or FieldNumbers
        An ensemble with configurations, fields ``[n, *space.shape]`` with their `space`, or what `field_numbers` gives.
    space : Space
        Of a tensor of fields, in three or four dimensions.
    quantity : str
        "charge", "action" or "phi", as for `field_numbers`; None takes the charge of SU(N) in four dimensions, the
        action of other links, and phi for scalars.
    steps : int
        At most so many stored steps are kept, evenly spaced, of the first four chains.
    configuration, chain : int
        What is shown at first.
    direction, time : int
        In four dimensions, the direction that is time, the last one by default, and the first coordinate along it.
    least : int
        Sites below so many percent of the largest number are left out.
    turn, tilt : int
        Degrees around the third axis, from 0 to 359, and above the plane of the first two, from -90 to 90.

    Raises
    ------
    TypeError, ValueError
        As `field_numbers`; ValueError for another number of dimensions, several numbers a site, or a value that a
        slider does not have.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4, 4), fk.U1()), beta=2.0)
    >>> panel = fk.panels.Density(fk.run(fk.Heatbath(action), 3, chains=2, rng=1))
    >>> panel
    Density(U(1) on 4x4x4: action density, 3 configurations, 2 chains)
    """

    @checked
    def __init__(
        self,
        fields: Ensemble | Tensor | FieldNumbers,
        space: Space | None = None,
        *,
        quantity: str | None = None,
        steps: Count = 64,
        configuration: Natural = 0,
        chain: Natural = 0,
        direction: Natural | None = None,
        time: Natural = 0,
        least: Natural = 20,
        turn: Natural = 30,
        tilt: int = 20,
    ):
        from flowkit.ensemble.densities import density_numbers
        from flowkit.ensemble.labels import quantity as words

        self.numbers = density_numbers(fields, space, quantity=quantity, steps=steps)
        self._words = words(self.numbers.quantity, self.numbers.lowest, len(self.numbers.lattice))
        lattice, counts = list(self.numbers.lattice), self._counts()
        direction = direction if direction is not None else len(lattice) - 1 if len(lattice) == 4 else 0
        self._first = Shown(configuration, chain, direction, time, least, turn, tilt)
        # The direction comes first, since the largest time depends on it.
        for name in ("direction", *Shown._fields):
            low, high = limits(lattice, counts, min(direction, len(lattice) - 1))[name]
            if not low <= getattr(self._first, name) <= high:
                raise ValueError(f"Density shows {name} from {low} to {high}; got {getattr(self._first, name)}.")

    def _counts(self) -> list[int]:
        chains, configurations = self.numbers.values.shape[:2]
        return [configurations, chains]

    @property
    def shown(self) -> Shown:
        """What is in the picture: in the live view, where there is one."""
        if "widget" not in self.__dict__:
            return self._first
        return Shown(*(getattr(self.widget, name) for name in Shown._fields))

    def _colours(self) -> Colours:
        what = self._words
        value = titled(what.value, what.unit)
        return colours(value, what.low, what.high, what.ticks, what.palette, self._largest())

    def _largest(self) -> float:
        return float(np.abs(self.numbers.values).max())

    def _make_widget(self) -> DensityView:
        numbers, ramp, counts = self.numbers, self._colours(), self._counts()
        content = {
            "title": self._what(),
            "what": repr(self),
            "lattice": list(numbers.lattice),
            "counts": counts,
            "places": [f"{i} of {counts[0]} kept" for i in range(1, counts[0] + 1)],
            "chains": [f"{i} of {counts[1]} kept" for i in range(1, counts[1] + 1)],
            "words": [f"stored step {step}" for step in numbers.steps],
            "short": self._words.short,
            "totals": numbers.totals.T.tolist(),
            "largest": self._largest(),
            "colours": {**ramp._asdict(), "map": ramp.table()},
        }
        values = np.ascontiguousarray(numbers.values[:, :, 0].swapaxes(0, 1), dtype="<f4").tobytes()
        view = DensityView(content=content, values=values, direction=self._first.direction)
        for name, value in self._first._asdict().items():
            view.set_trait(name, value)
        let_subshell_answer(view)
        return view

    # -- pictures without a page -----------------------------------------------------------------------------------

    def _axes(self) -> list[int]:
        """The three directions of the picture."""
        ndim = len(self.numbers.lattice)
        return [mu for mu in range(ndim) if ndim == 3 or mu != self.shown.direction]

    def _slices(self) -> tuple[list[str], list[NDArray[np.float32]]]:
        """The slices that time goes through, and what each is called."""
        shown, values = self.shown, self.numbers.values[self.shown.chain, :, 0]
        if values.ndim == 4:
            return [f"stored step {step}" for step in self.numbers.steps], list(values)
        field = values[shown.configuration]
        words = [f"{COORDINATES[shown.direction]} = {t}" for t in range(field.shape[shown.direction])]
        return words, list(np.moveaxis(field, shown.direction, 0))

    def _now(self) -> int:
        return self.shown.configuration if len(self.numbers.lattice) == 3 else self.shown.time

    def _sites(self, field: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Places and numbers of the sites that are not left out."""
        seen = np.abs(field) >= max(self.shown.least / 100 * self._largest(), np.finfo(np.float32).tiny)
        return np.argwhere(seen).astype(float), field[seen]

    def figure(self) -> go.Figure:
        ramp, (words, fields) = self._colours(), self._slices()
        some = np.unique(np.linspace(0, len(fields) - 1, min(MOST, len(fields))).round().astype(int)).tolist()
        table = [[i / 255, colour] for i, colour in enumerate(ramp.table())]
        bar = {"title": {"text": for_plotly(ramp.label)}, "tickvals": ramp.ticks, "ticktext": ramp.texts}
        figure, largest, now = go.Figure(), self._largest() or 1.0, self._now()
        first = min(some, key=lambda i: abs(i - now))
        for i in some:
            places, numbers = self._sites(fields[i])
            size = 16 * np.sqrt(np.abs(numbers) / largest)
            look = {"cmin": ramp.low, "cmax": ramp.high, "colorscale": table, "colorbar": bar, "line": {"width": 0}}
            marker = {"size": size, "color": numbers, **look}
            x, y, z = places.T
            mode = {"mode": "markers", "name": for_plotly(words[i]), "visible": i == first}
            figure.add_trace(go.Scatter3d(x=x, y=y, z=z, marker=marker, **mode))
        steps = [
            {"label": for_plotly(words[i]), "method": "restyle", "args": [{"visible": [i == j for j in some]}]}
            for i in some
        ]
        ends = [{"range": [-0.5, side - 0.5]} for side in fields[0].shape]
        titles = [COORDINATES[mu] for mu in self._axes()]
        grid = {"gridcolor": LINES, "backgroundcolor": "rgba(0,0,0,0)"}
        scene = {f"{n}axis": {"title": {"text": t}, **e, **grid} for n, t, e in zip("xyz", titles, ends, strict=True)}
        figure.update_layout(
            template="plotly_white",
            title_text=for_plotly(self._title()),
            height=620,
            showlegend=False,
            scene={**scene, "aspectmode": "data", "camera": {"eye": {"x": 1.5, "y": 1.5, "z": 1.2}}},
            sliders=[{"active": some.index(first), "steps": steps, "pad": {"t": 30}}],
        )
        return on_the_page(figure)

    def snapshot(self) -> Image:
        ramp, (words, fields), shown = self._colours(), self._slices(), self.shown
        some = np.unique(np.linspace(0, len(fields) - 1, min(SHOWN, len(fields))).round().astype(int)).tolist()
        figure, sides, largest = new_figure(3.4), fields[0].shape, self._largest() or 1.0
        figure.suptitle(for_matplotlib(self._title()), fontsize=11, x=0.01, ha="left")
        axes = figure.subplots(1, len(some), squeeze=False)[0]
        corners = np.array(EDGES, dtype=float) * np.array(sides) - 0.5
        for ax, i in zip(axes, some, strict=True):
            for edge in corners:
                x, y, _ = projected(edge, sides, shown.turn, shown.tilt).T
                ax.plot(x, y, color=INK, linewidth=0.6, alpha=0.6, zorder=0)
            for mu, axis in enumerate(self._axes()):
                end = np.where(np.arange(3) == mu, (np.array(sides) - 1) / 2, -1.2)
                end[1] += (sides[1] + 1.4) * (mu == 2)  # to the left of the lattice, as it stands at first
                x, y, _ = projected(end[None], sides, shown.turn, shown.tilt)[0]
                ax.text(x, y, COORDINATES[axis], fontsize=8, color=INK, ha="center", va="center")
            places, numbers = self._sites(fields[i])
            seen = projected(places, sides, shown.turn, shown.tilt)
            order = np.argsort(seen[:, 2])
            size = 260 * np.abs(numbers[order]) / largest * (4 / max(sides)) ** 2
            look: dict[str, Any] = {"cmap": ramp.map, "vmin": ramp.low, "vmax": ramp.high}
            look |= {"edgecolors": "#808080", "linewidths": 0.3}
            balls = ax.scatter(seen[order, 0], seen[order, 1], s=size, c=numbers[order], **look)
            ax.set_title(for_matplotlib(words[i]), fontsize=10)
            ax.set_aspect("equal")
            ax.axis("off")
        scale = figure.colorbar(balls, ax=list(axes), ticks=ramp.ticks, shrink=0.9, pad=0.01)
        scale.ax.set_yticklabels(ramp.texts, fontsize=8)
        scale.set_label(for_matplotlib(ramp.label), fontsize=8)
        return as_png(figure, self._what())

    def _title(self) -> str:
        shown, chains = self.shown, self.numbers.values.shape[0]
        where = [f"chain {shown.chain}"] if chains > 1 else []
        if len(self.numbers.lattice) == 4:
            where.append(f"stored step {self.numbers.steps[shown.configuration]}")
        left = f"sites from {shown.least} % of the largest" if shown.least else ""
        return "; ".join(filter(None, [self._what(), *where, left]))

    def _what(self) -> str:
        return f"{self.numbers.label}: {self._words.name}"

    def __repr__(self) -> str:
        counts = zip(self._counts(), ("configuration", "chain"), strict=True)
        words: Sequence[str] = [f"{n} {name}{'s' * (n != 1)}" for n, name in counts]
        return f"Density({', '.join([self._what(), *words])})"

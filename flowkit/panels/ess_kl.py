"""The panel of ESS and KL: several runs over a coupling, a volume or training steps, with published values as marks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from IPython.display import Image

from flowkit.panels.base import Panel
from flowkit.panels.colours import BLACK, RUNS
from flowkit.panels.curves import Axis, Curve, Run, pictures
from flowkit.panels.feed import Feed
from flowkit.panels.pictures import MARKERS, Layer, Picture, plotly_figure, png
from flowkit.panels.stream import LiveCurves
from flowkit.panels.thin import Floats, gather
from flowkit.tasks.history import History

Row = Mapping[str, Any]
QUANTITIES = {"ess": "ESS", "kl": "KL divergence"}
WIDE = 20.0  # largest over smallest value from which an axis is logarithmic


class Trained(Protocol):
    """What is read of a trainer."""

    history: History

    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def step(self) -> int: ...
    @property
    def total(self) -> int: ...


class EssKl(Panel):
    """ESS = <w>²/<w²> and KL = E_q[log q - log p] of several runs, both dimensionless, with published values.

    runs         name -> rows, each a dictionary with the number `against`, and ess, kl or both: numbers, or Estimates,
                 whose errors are drawn; or name -> a trainer, whose history is drawn live against its steps
    against      the horizontal axis: a key of the rows (beta, volume, ...); "step" for trainers
    published    name -> rows of the same kind, drawn as hollow marks; for trainers each is one dictionary, without a
                 step, and a dashed line
    per_second   updates of the live picture a second, 1 to 20; fewer where they would take over .3 % of a core
    Raises       TypeError for runs that are neither or not all of one kind; ValueError for rows without what is drawn
    """

    def __init__(
        self,
        runs: Mapping[str, Sequence[Row] | Trained],
        *,
        against: str = "beta",
        published: Mapping[str, Sequence[Row] | Row] | None = None,
        per_second: float = 8.0,
    ):
        if not isinstance(runs, Mapping):
            raise TypeError(f"EssKl takes named runs, such as {{'Adam': trainer}}; got {type(runs).__name__}.")
        if not runs or not 1 <= per_second <= 20:
            raise ValueError(f"EssKl needs a run and per_second in 1 to 20; got {len(runs)} runs and {per_second}.")
        self.names = list(runs)
        self.against, self.per_second = against, per_second
        self._looks = [(name, RUNS[i % len(RUNS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(runs)]
        self._trainers: list[Trained] = [run for run in runs.values() if _is_trained(run)]  # type: ignore[misc]
        if self._trainers and len(self._trainers) < len(runs):
            raise TypeError("EssKl shows rows or trainers, not both together; got some of each.")
        published = dict(published or {})
        if self._trainers:
            self.against = "step"
            columns = set.intersection(*(set(trainer.history.columns) for trainer in self._trainers))
            found = [name for name in QUANTITIES if name in columns]
            references = {name: _references(name, published) for name in found}
            self._axis = Axis("step", "training step")
        else:
            self._rows = {name: _table(name, rows, against) for name, rows in runs.items()}
            self._published = {name: _table(name, rows, against) for name, rows in published.items()}
            found = [name for name in QUANTITIES if any(np.isfinite(t[name]).any() for t in self._rows.values())]
            self._axis = Axis(against, against)
        if not found:
            raise ValueError("EssKl draws ess, kl or both; the runs have neither.")
        self._quantities = found
        every = tuple(range(len(runs)))
        self._curves = [
            Curve(name, QUANTITIES[name], name.upper(), log=name == "kl", headline=True, runs=every, show="known")
            for name in found
        ]
        if self._trainers:
            self._curves = [
                curve._replace(references=references[curve.column], range=(0.0, 1.0) if curve.column == "ess" else None)
                for curve in self._curves
            ]

    def _pictures(self) -> list[Picture]:
        if not self._trainers:
            return [self._picture(name) for name in self._quantities]
        columns = ("step", *self._quantities)
        runs = [
            Run(name, colour, columns, gather(trainer.history, columns))
            for (name, colour, _), trainer in zip(self._looks, self._trainers, strict=True)
        ]
        return pictures(self._curves, runs, self._axis)

    def _picture(self, quantity: str) -> Picture:
        """The rows over the horizontal axis."""
        layers = []
        for name, colour, marker in self._looks:
            table = self._rows[name]
            x, y, error = (column[np.isfinite(table[quantity])] for column in _columns(table, quantity))
            if len(x):
                layers += [Layer(x, y, colour, "thin"), Layer(x, y, colour, "points", name, error, marker)]
        marks = MARKERS[::-1]
        for i, (name, table) in enumerate(self._published.items()):
            x, y, error = (column[np.isfinite(table[quantity])] for column in _columns(table, quantity))
            if len(x):
                layers.append(Layer(x, y, BLACK, "outline", name, error, marks[i % len(marks)]))
        x = np.concatenate([layer.x for layer in layers])
        y = np.concatenate([layer.y for layer in layers])
        return Picture(
            QUANTITIES[quantity],
            "dimensionless",
            self._axis.title,
            layers,
            log=quantity == "kl" and _wide(y),
            range=(0.0, 1.0) if quantity == "ess" else None,
            log_x=_wide(x),
        )

    def _title(self) -> str:
        return f"{' and '.join(name.upper() for name in self._quantities)} of {', '.join(self.names)}"

    def figure(self) -> go.Figure:
        return plotly_figure(self._pictures(), self._title())

    def snapshot(self) -> Image:
        return png(self._pictures(), self._title(), columns=2)

    def _notes(self) -> list[str]:
        pairs = zip(self.names, self._trainers, strict=False)
        return [f"{name}: {trainer.error}" for name, trainer in pairs if trainer.error]

    def _make_widget(self) -> ipywidgets.Widget:
        several = len(self.names) > 1

        def status(trainer: Trained) -> dict[str, Any]:
            error = None if trainer.error is None else str(trainer.error)
            return {"state": trainer.status, "step": trainer.step, "total": trainer.total, "error": error}

        feeds = [
            Feed(
                lambda trainer=trainer: trainer.history,  # type: ignore[misc]
                lambda trainer=trainer: status(trainer),  # type: ignore[misc]
                ("step", *self._quantities),
                name if several else "",
                colour,
            )
            for (name, colour, _), trainer in zip(self._looks, self._trainers, strict=False)
        ]
        curves = self._curves if self._trainers else []
        view = LiveCurves(feeds, curves, [self._axis], title=self._title())
        if self._trainers:
            view.stream(self.per_second, self, view)
        else:
            view.set_trait("pictures", [picture.plain() for picture in self._pictures()])
        return view

    def __repr__(self) -> str:
        return f"EssKl({', '.join(self.names)}; against {self.against})"


def _is_trained(run: object) -> bool:
    return isinstance(getattr(run, "history", None), History)


def _wide(values: Floats) -> bool:
    return bool(len(values) and values.min() > 0 and values.max() > WIDE * values.min())


def _number(value: object, name: str, who: str) -> tuple[float, float]:
    """A number, or the value of an Estimate, and its error, NaN where there is none."""
    try:
        number = float(getattr(value, "value", value))  # type: ignore[arg-type]
        error = float(getattr(value, "error", math.nan))
    except (TypeError, ValueError) as reason:
        raise ValueError(f"Rows hold numbers or Estimates; {name} of {who!r} is {value!r}.") from reason
    return number, error


def _table(who: str, rows: object, against: str) -> dict[str, Floats]:
    """Columns of rows in the order of the horizontal axis: x, ess, ess_error, kl, kl_error."""
    one_kind = isinstance(rows, Sequence) and not isinstance(rows, str)
    if not one_kind or not rows or not all(isinstance(row, Mapping) for row in rows):  # type: ignore[attr-defined]
        raise TypeError(f"EssKl takes rows, which are dictionaries, or trainers; {who!r} is {type(rows).__name__}.")
    table: list[list[float]] = []
    for row in rows:  # type: ignore[attr-defined]
        if against not in row or not set(QUANTITIES) & set(row):
            raise ValueError(f"Each row needs {against} and ess or kl; one of {who!r} has {', '.join(map(str, row))}.")
        line = [_number(row[against], against, who)[0]]
        for name in QUANTITIES:
            value, error = _number(row.get(name, math.nan), name, who)
            line += [value, _number(row.get(f"{name}_error", error), f"{name}_error", who)[0]]
        table.append(line)
    columns = np.array(sorted(table)).T
    return dict(zip(("x", "ess", "ess_error", "kl", "kl_error"), columns, strict=True))


def _columns(table: dict[str, Floats], quantity: str) -> tuple[Floats, Floats, Floats]:
    return table["x"], table[quantity], table[f"{quantity}_error"]


def _references(quantity: str, published: Mapping[str, Sequence[Row] | Row]) -> tuple[tuple[str, float], ...]:
    """Published values of a quantity as lines over the training steps."""
    for name, row in published.items():
        if not isinstance(row, Mapping):
            raise TypeError(f"Beside trainers a published value is one dictionary; {name!r} is {type(row).__name__}.")
    return tuple(
        (name, _number(row[quantity], quantity, name)[0])
        for name, row in published.items()
        if isinstance(row, Mapping) and quantity in row
    )

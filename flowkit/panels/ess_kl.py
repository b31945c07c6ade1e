"""The panel of ESS and KL: several runs over a coupling, a volume or training steps, with published values as marks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets
import numpy as np

from flowkit.checks import Often, checked
from flowkit.panels.base import Panel
from flowkit.panels.colours import BLACK, RUNS
from flowkit.panels.control import status_of
from flowkit.panels.curves import Run, pictures
from flowkit.panels.pictures import MARKERS, Axis, Curve, Layer, Picture
from flowkit.panels.stream import Feed, Floats, LiveCurves, gather
from flowkit.panels.training import STEP, Trained
from flowkit.tasks.history import History

Row = Mapping[str, Any]
QUANTITIES = {"ess": ("ESS", "ESS"), "kl": ("KL divergence", "KL")}
LOOKS: dict[str, dict[str, Any]] = {"ess": {"range": (0.0, 1.0)}, "kl": {"log": True}}
WIDE = 20.0  # largest over smallest value from which an axis is logarithmic


class EssKl(Panel):
    r"""The effective sample size and the KL divergence of several runs, with published values beside them.

    .. math:: \mathrm{ESS} = \frac{\langle w\rangle^2}{\langle w^2\rangle}, \qquad
              \mathrm{KL} = \mathrm{E}_q[\log q - \log p]

    Parameters
    ----------
    runs : mapping of names to sequences of rows, or to trainers
        A row is a dictionary with the number `against`, and ess, kl or both: numbers, or Estimates, whose errors are
        drawn; "ess_error" and "kl_error" give errors of plain numbers. The history of a trainer is drawn live against
        its steps.
    against : str
        The horizontal axis: a key of the rows, as "beta" or "volume"; "step" for trainers.
    published : mapping of names to sequences of rows
        Drawn as hollow marks. Beside trainers each is one dictionary, and a dashed line.
    per_second : float
        Updates of the curves a second at most, 1 to 20.

    Raises
    ------
    TypeError
        For runs that are neither rows nor trainers, or not all of one kind.
    ValueError
        For rows without the numbers that are drawn.

    Examples
    --------
    >>> import flowkit as fk
    >>> rows = [{"beta": 1.0, "ess": 0.92, "kl": 0.04}, {"beta": 2.0, "ess": 0.81, "ess_error": 0.02}]
    >>> fk.panels.EssKl({"flow": rows}, published={"a paper": [{"beta": 2.0, "ess": 0.75}]})
    EssKl(flow; against beta)
    """

    columns = 2

    @checked
    def __init__(
        self,
        runs: Mapping[str, Sequence[Row] | Trained],
        *,
        against: str = "beta",
        published: Mapping[str, Sequence[Row] | Row] | None = None,
        per_second: Often = 8.0,
    ):
        if not isinstance(runs, Mapping):
            raise TypeError(f"EssKl takes named runs, such as {{'Adam': trainer}}; got {type(runs).__name__}.")
        if not runs:
            raise ValueError("EssKl needs at least one run; got none.")
        self.names = list(runs)
        self.against, self.per_second = against, per_second
        self._looks = [(name, RUNS[i % len(RUNS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(runs)]
        trained = [run for run in runs.values() if isinstance(getattr(run, "history", None), History)]
        self._trainers: list[Trained] = trained  # type: ignore[assignment]
        if 0 < len(trained) < len(runs):
            raise TypeError("EssKl shows rows or trainers, not both together; got some of each.")
        published = dict(published or {})
        if trained:
            self.against, self._axis = "step", STEP
            found = [name for name in QUANTITIES if all(name in one.history.columns for one in self._trainers)]
        else:
            self._axis = Axis(against, against)
            self._rows = {name: _table(name, rows, against) for name, rows in runs.items()}
            self._published = {name: _table(name, rows, against) for name, rows in published.items()}
            found = [name for name in QUANTITIES if any(len(_points(t, name)[0]) for t in self._rows.values())]
        if not found:
            raise ValueError("EssKl draws ess, kl or both; the runs have neither.")
        self._quantities = found
        look: dict[str, Any] = {"headline": True, "runs": tuple(range(len(runs))), "show": "known"}
        words = [(name, *QUANTITIES[name]) for name in found]
        self._curves = [Curve(name, label, short, **LOOKS[name], **look) for name, label, short in words]
        if trained:
            self._curves = [one._replace(references=_references(one.column, published)) for one in self._curves]

    def _pictures(self) -> list[Picture]:
        if not self._trainers:
            return [self._picture(name) for name in self._quantities]
        columns = ("step", *self._quantities)
        pairs = zip(self._looks, self._trainers, strict=True)
        runs = [Run(name, colour, columns, gather(one.history, columns)) for (name, colour, _), one in pairs]
        return pictures(self._curves, runs, self._axis)

    def _picture(self, quantity: str) -> Picture:
        """The rows over the horizontal axis."""
        layers = []
        for name, colour, marker in self._looks:
            x, y, error = _points(self._rows[name], quantity)
            layers += [Layer(x, y, colour, "thin"), Layer(x, y, colour, "points", name, error, marker)]
        for i, (name, table) in enumerate(self._published.items()):
            x, y, error = _points(table, quantity)
            layers.append(Layer(x, y, BLACK, "outline", name, error, MARKERS[-1 - i % len(MARKERS)]))
        layers = [layer for layer in layers if len(layer.x)]
        x, y = (np.concatenate([layer[i] for layer in layers]) for i in range(2))
        look = LOOKS[quantity] if quantity == "ess" else {"log": _wide(y)}
        return Picture(QUANTITIES[quantity][0], "", self._axis.title, layers, log_x=_wide(x), **look)

    def _title(self) -> str:
        return f"{' and '.join(name.upper() for name in self._quantities)} of {', '.join(self.names)}"

    def _notes(self) -> list[str]:
        pairs = zip(self.names, self._trainers, strict=False)
        return [f"{name}: {trainer.error}" for name, trainer in pairs if trainer.error]

    def _make_widget(self) -> ipywidgets.Widget:
        several = len(self.names) > 1
        columns = ("step", *self._quantities)
        feeds = [
            Feed(partial(getattr, one, "history"), partial(status_of, one), columns, name if several else "", colour)
            for (name, colour, _), one in zip(self._looks, self._trainers, strict=False)
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
    """For each quantity x, value and error in the order of the horizontal axis, [3, n]."""
    one_kind = isinstance(rows, Sequence) and not isinstance(rows, str)
    if not one_kind or not rows or not all(isinstance(row, Mapping) for row in rows):  # type: ignore[attr-defined]
        raise TypeError(f"EssKl takes rows, which are dictionaries, or trainers; {who!r} is {type(rows).__name__}.")
    table: dict[str, list[tuple[float, float, float]]] = {name: [] for name in QUANTITIES}
    for row in rows:  # type: ignore[attr-defined]
        if against not in row or not set(QUANTITIES) & set(row):
            raise ValueError(f"Each row needs {against} and ess or kl; one of {who!r} has {', '.join(map(str, row))}.")
        x = _number(row[against], against, who)[0]
        for name in set(QUANTITIES) & set(row):
            value, error = _number(row[name], name, who)
            table[name].append((x, value, _number(row.get(f"{name}_error", error), f"{name}_error", who)[0]))
    return {name: np.array(sorted(points)).reshape(-1, 3).T for name, points in table.items()}


def _points(table: dict[str, Floats], quantity: str) -> Floats:
    """x, the quantity and its error, where the quantity is known, [3, n]."""
    points = table[quantity]
    known: Floats = points[:, np.isfinite(points[1])]
    return known


def _references(quantity: str, published: Mapping[str, Sequence[Row] | Row]) -> tuple[tuple[str, float], ...]:
    """Published values of a quantity as lines over the training steps."""
    for name, row in published.items():
        if not isinstance(row, Mapping):
            raise TypeError(f"Beside trainers a published value is one dictionary; {name!r} has {len(row)} rows.")
    rows = [(name, row) for name, row in published.items() if isinstance(row, Mapping) and quantity in row]
    return tuple((name, _number(row[quantity], quantity, name)[0]) for name, row in rows)

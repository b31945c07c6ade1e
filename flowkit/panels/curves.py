"""Curves of histories as pictures, of one run or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flowkit.panels.colours import BLACK
from flowkit.panels.pictures import Axis, Curve, Layer, Picture
from flowkit.panels.stream import Floats, overview

DRAWN_ROWS = 4000


class Run(NamedTuple):
    """The numbers of a run: values ``[columns, n]``."""

    name: str
    colour: str
    columns: tuple[str, ...]
    values: Floats

    def column(self, name: str) -> Floats:
        """The values of a column, ``[n]``."""
        values: Floats = self.values[self.columns.index(name)]
        return values


def running_mean(y: Floats) -> Floats:
    """Centred mean over 2 % of the points (at least 5); what is NaN is left out of the mean and stays NaN."""
    finite = np.isfinite(y)
    # Counted from a value of its own, so that a constant stays one: an axis would show the rounding of the sums.
    origin = y[finite][0] if finite.any() else 0.0
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, y - origin, 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    half = max(5, round(0.02 * len(y))) // 2
    low, high = (np.clip(np.arange(len(y)) + offset, 0, len(y)) for offset in (-half, half + 1))
    mean = origin + (total[high] - total[low]) / np.maximum(count[high] - count[low], 1)
    return np.where(finite, mean, np.nan)


def pictures(curves: Sequence[Curve], runs: Sequence[Run], axis: Axis) -> list[Picture]:
    """The curves that have something to show: every point thin and the running mean thick, both few enough to draw."""
    found = []
    for curve in curves:
        chosen = [runs[i] for i in curve.runs]
        if not any(curve.wanted(run.column(curve.column)) for run in chosen):
            continue
        limits, x_limits = curve.range, None
        if curve.steps:  # beside each other on one scale
            limits = _reach([run.column(curve.column) for run in runs], 0.5)
            x_limits = _reach([run.column(axis.column) for run in runs], 0.0)
        layers = [layer for run in chosen for layer in _layers(curve, run, axis, several=len(runs) > 1)]
        x = np.concatenate([layer.x for layer in layers])
        if np.isfinite(x).any():
            ends = np.array([np.nanmin(x), np.nanmax(x)])
            layers += [Layer(ends, np.full(2, value), BLACK, "dashed", name) for name, value in curve.references]
        found.append(Picture(curve.label, curve.unit, axis.title, layers, curve.log, limits, x_range=x_limits))
    return found


def _reach(columns: Sequence[Floats], beyond: float) -> tuple[float, float] | None:
    """Smallest and largest value in all columns, and as much beyond."""
    values = np.concatenate(columns)
    values = values[np.isfinite(values)]
    if not values.size or (values.min() == values.max() and not beyond):
        return None
    return float(values.min()) - beyond, float(values.max()) + beyond


def _layers(curve: Curve, run: Run, axis: Axis, several: bool) -> list[Layer]:
    x, y = run.column(axis.column), run.column(curve.column)
    rows, full = overview(np.stack([x, y]), DRAWN_ROWS)
    colour, name = curve.colour or run.colour, run.name if several else ""
    if curve.steps:
        if not full:  # of summaries the extremes alone: a mean of charges is none
            rows = rows[np.arange(len(rows)) % 3 != 1]
        return [Layer(rows[:, 0], rows[:, 1], colour, "steps", name)]
    every = slice(None, None, max(1, len(y) // DRAWN_ROWS))
    mean = running_mean(y)[every].astype(rows.dtype)  # two roundings of a constant would open an axis between them
    return [Layer(rows[:, 0], rows[:, 1], colour, "thin"), Layer(x[every], mean, colour, "line", name)]

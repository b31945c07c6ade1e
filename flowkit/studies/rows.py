"""Rows that several studies report."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from flowkit.stats import Estimate

Row = dict[str, Any]


def finite(error: float) -> float | None:
    """The error, or None where there is none."""
    return error if math.isfinite(error) else None


def ratio_row(label: str, ratios: Sequence[float], sign: str = ">=", goal: float | None = None) -> Row:
    """The median of what several turns gave, with its error, and what was aimed at, ">=" or "<="."""
    value = statistics.median(ratios)
    row: Row = {"label": label, "value": value}
    row["error"] = 1.25 * statistics.stdev(ratios) / math.sqrt(len(ratios))  # of a median
    if goal is not None:
        row |= {"goal": f"{sign} {goal:g}", "reached": value >= goal if sign == ">=" else value <= goal}
    return row


def seconds_row(label: str, seconds: float, most: float) -> Row:
    """What something costs, as seconds, and whether it is little enough."""
    return {"label": label, "value": seconds, "goal": f"<= {most:g}", "reached": seconds <= most}


def ess_row(label: str, ess: Estimate, goal: float | None, published: str | None = None) -> Row:
    """An effective sample size, what was aimed at and what was published."""
    row: Row = {"label": label, "value": ess.value, "error": finite(ess.error), "published": published}
    return row if goal is None else {**row, "goal": f">= {goal:g}", "reached": ess.value >= goal}


def exact_row(label: str, mean: Estimate, exact: float | None = None) -> Row:
    """A mean beside its exact value, which the estimate brings where it is not given."""
    exact = mean.exact if exact is None else exact
    row: Row = {"label": label, "value": mean.value, "error": finite(mean.error)}
    if exact is None:
        return row
    return {**row, "goal": f"{exact:.9g} within 3 errors", "reached": mean.within(exact, sigmas=3)}

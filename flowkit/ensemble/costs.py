"""What an independent configuration of each sampler costs: numbers, ratios and a table."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flowkit import stats
from flowkit.ensemble.ensemble import Ensemble
from flowkit.observables import Observable, name_of
from flowkit.stats import Estimate, format_error


@dataclass(frozen=True)
class Cost:
    """What a sampler made of one observable.

    estimate            the mean, its error and the exact value where one is known
    tau_int, ..._error  in steps of the sampler, 1/2 for independent values
    bound               "" where tau_int is an estimate; else it is a lower bound, and this says why
    acceptance          mean over the run, in [0, 1]
    steps, chains       of the run
    forces              force evaluations of one step of one chain, or None
    seconds             of one step of one chain, the map of a pullback included; without an error
    training            seconds before the first step
    configurations      over which the training is spread
    target              the error aimed at, or None
    note                what to know before the numbers are believed
    """

    sampler: str
    observable: str
    estimate: Estimate
    tau_int: float
    tau_int_error: float
    bound: str
    acceptance: float
    steps: int
    chains: int
    forces: int | None
    seconds: float
    training: float
    configurations: int
    target: float | None
    note: str

    @property
    def seconds_each(self) -> float:
        """Seconds for an independent configuration, 2 tau_int times those of a step; a lower bound where tau_int is."""
        return 2 * self.tau_int * self.seconds

    @property
    def seconds_each_error(self) -> float:
        """One standard error of it, that of tau_int alone."""
        return 2 * self.tau_int_error * self.seconds

    @property
    def with_training(self) -> float:
        """Seconds for one of so many independent configurations, training included."""
        return self.seconds_each + self.training / self.configurations

    @property
    def forces_each(self) -> float | None:
        """Force evaluations for an independent configuration; a lower bound where tau_int is."""
        return None if self.forces is None else 2 * self.tau_int * self.forces

    @property
    def reached(self) -> bool | None:
        """Whether the error aimed at was reached by a calibrated error; None where none was given."""
        return None if self.target is None else not self.estimate.note and self.estimate.error <= self.target

    @property
    def seconds_to_target(self) -> float | None:
        """Seconds of the run scaled to exactly the error aimed at, training included; None without an error."""
        if self.target is None or not math.isfinite(self.estimate.error):
            return None
        ran = self.seconds * self.steps * self.chains
        return ran * (self.estimate.error / self.target) ** 2 + self.training

    def row(self) -> dict[str, Any]:
        """Everything as plain data; None for what is not known."""
        e = self.estimate
        known = e.exact is not None and math.isfinite(e.error)
        row = {
            "sampler": self.sampler,
            "observable": self.observable,
            "value": e.value,
            "error": e.error,
            "exact": e.exact,
            "pull": e.pull() if known else None,
            "tau_int": self.tau_int,
            "tau_int_error": self.tau_int_error,
            "bound": self.bound,
            "acceptance": self.acceptance,
            "steps": self.steps,
            "chains": self.chains,
            "forces": self.forces,
            "forces_each": self.forces_each,
            "seconds": self.seconds,
            "seconds_each": self.seconds_each,
            "seconds_each_error": self.seconds_each_error,
            "with_training": self.with_training,
            "training": self.training,
            "configurations": self.configurations,
            "target": self.target,
            "reached": self.reached,
            "seconds_to_target": self.seconds_to_target,
            "note": self.note,
        }
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


class Ratio(NamedTuple):
    """A cost over another; `bound` is "", "at least", "at most", or "unknown" where neither has an estimate."""

    value: float
    error: float
    bound: str


class Comparison:
    """What `compare` found; prints as a table, in a notebook as HTML.

    costs        one Cost for each sampler and observable
    ensembles    name -> the Ensemble of that sampler, without configurations: histories for a closer look, which
                 `fk.panels.Chain(comparison.ensembles, x="seconds")` draws side by side
    """

    def __init__(self, costs: Sequence[Cost], ensembles: Mapping[str, Ensemble]):
        self.costs, self.ensembles = list(costs), dict(ensembles)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Plain data, one dictionary for each sampler and observable."""
        return [cost.row() for cost in self.costs]

    def cost(self, sampler: str, observable: Observable | str) -> Cost:
        """One line of the table.

        Raises    ValueError for a sampler or an observable that was not compared
        """
        name = name_of(observable)
        for cost in self.costs:
            if (cost.sampler, cost.observable) == (sampler, name):
                return cost
        known = ", ".join(f"{c.sampler}: {c.observable}" for c in self.costs)
        raise ValueError(f"This comparison holds {known}; got {sampler}: {name}.")

    def ratio(
        self, over: str, under: str, observable: Observable | str, *, by: str = "seconds", training: bool = False
    ) -> Ratio:
        """The cost of an independent configuration of one sampler over that of another.

        by          "seconds", or "forces"
        training    whether seconds include it
        Raises      ValueError as `cost`, and for forces of a sampler without
        """
        a, b = self.cost(over, observable), self.cost(under, observable)
        first, second = _price(a, by, training), _price(b, by, training)
        error = math.nan
        if not a.bound and not b.bound:
            shares = [c.tau_int_error / c.tau_int * _price(c, by, False) / _price(c, by, training) for c in (a, b)]
            error = first / second * math.hypot(*shares)
        bound = {(False, False): "", (True, False): "at least", (False, True): "at most"}
        return Ratio(first / second, error, bound.get((bool(a.bound), bool(b.bound)), "unknown"))

    def best(self, observable: Observable | str | None = None, *, by: str = "seconds", training: bool = False) -> str:
        """The sampler whose independent configurations cost least, in the worst of the observables where none is named.

        Raises    ValueError where no sampler has an estimate for all of them, and as `ratio`
        """
        name = None if observable is None else name_of(observable)
        worst: dict[str, float] = {}
        scale: dict[str, float] = {}
        chosen = [c for c in self.costs if name in (None, c.observable)]
        if not chosen:
            self.cost(self.costs[0].sampler, str(name))  # which raises, with the names that there are
        for c in chosen:  # each observable counts in units of its cheapest estimate
            price = math.inf if c.bound else _price(c, by, training)
            scale[c.observable] = min(scale.get(c.observable, math.inf), price)
        for c in chosen:
            price = math.inf if c.bound else _price(c, by, training) / scale[c.observable]
            worst[c.sampler] = max(worst.get(c.sampler, 0.0), price)
        winner = min(worst, key=lambda sampler: worst[sampler])
        if worst[winner] == math.inf:
            reasons = "; ".join(f"{c.sampler}, {c.observable}: {c.bound}" for c in chosen if c.bound)
            raise ValueError(f"No sampler has an estimate of tau_int. {reasons}.")
        return winner

    def _table(self) -> tuple[list[str], list[list[str]], list[str]]:
        """Header, lines and footnotes."""
        trained = any(c.training for c in self.costs)
        forced = any(c.forces is not None for c in self.costs)
        aimed = any(c.target is not None for c in self.costs)
        header = ["sampler", "observable", "value", "exact", "pull", "tau_int [steps]", "accept"]
        header += ["forces/step", "forces/independent"] if forced else []
        header += ["ms/independent"]
        header += [f"with training, n = {self.costs[0].configurations}"] if trained else []
        header += ["s to equal error"] if aimed else []
        lines, notes = [], []
        for c in self.costs:
            e, more = c.estimate, ">= " if c.bound else ""
            error = math.nan if c.bound else c.tau_int_error
            pull = c.row()["pull"]
            line = [c.sampler, c.observable, format_error(e.value, e.error)]
            line += ["" if e.exact is None else f"{e.exact:.8g}", "" if pull is None else f"{pull:+.1f}"]
            line += [more + _number(c.tau_int, error), f"{c.acceptance:.2f}"]
            if forced:
                line += ["", ""] if c.forces is None else [
                    f"{c.forces}", more + _number(2 * c.tau_int * c.forces, 2 * error * c.forces)
                ]  # fmt: skip
            line += [more + _number(1e3 * c.seconds_each, 2e3 * error * c.seconds)]
            line += [more + _number(1e3 * c.with_training, 2e3 * error * c.seconds)] if trained else []
            if aimed:
                to = c.seconds_to_target
                line += ["" if to is None else f"{to:.3g}{'' if c.reached else ' (not reached)'}"]
            lines.append(line)
            notes += [f"{c.sampler}, {c.observable}: {c.note}"] if c.note else []
        if any(not c.bound for c in self.costs):
            notes.append(
                "Errors of costs are those of tau_int alone; the seconds of a step vary from run to run as well."
            )
        return header, lines, notes

    def __str__(self) -> str:
        header, lines, notes = self._table()
        return "\n".join([stats.table(header, lines), *notes])

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(c.sampler for c in self.costs))
        return f"Comparison({names}; {', '.join(dict.fromkeys(c.observable for c in self.costs))})"

    def _repr_html_(self) -> str:
        header, lines, notes = self._table()
        rows = [_html_row("th", header), *(_html_row("td", line) for line in lines)]
        return f"<table>{''.join(rows)}</table>" + "".join(f"<p>{html.escape(note)}</p>" for note in notes)


def _price(cost: Cost, by: str, training: bool) -> float:
    """Seconds or forces for an independent configuration."""
    if by == "seconds":
        return cost.with_training if training else cost.seconds_each
    if by != "forces":
        raise ValueError(f"A cost is in seconds or forces; got {by!r}.")
    if cost.forces_each is None:
        raise ValueError(f"{cost.sampler} counts no force evaluations; compare it by seconds.")
    return cost.forces_each


def _number(value: float, error: float) -> str:
    return format_error(value, error) if error > 0 else f"{value:.3g}"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

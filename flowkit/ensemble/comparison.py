"""Costs of several samplers side by side: ratios, the best, and a table."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flowkit import stats
from flowkit.checks import checked
from flowkit.ensemble.costs import Cost
from flowkit.ensemble.ensemble import Ensemble
from flowkit.observables import Observable, name_of
from flowkit.stats import format_error


class Ratio(NamedTuple):
    """A cost over another, with its standard error.

    Attributes
    ----------
    value, error : float
        Dimensionless.
    bound : str
        "", "at least", "at most", or "unknown" where neither cost has an estimate.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)
    >>> samplers = {"short": fk.HMC(action, length=0.5), "long": fk.HMC(action, length=1.0)}
    >>> found = fk.compare(samplers, [fk.plaquette], forces=4000, seconds=10.0, thermalise=0, rng=1)
    >>> found.ratio("short", "long", fk.plaquette, by="forces")._fields
    ('value', 'error', 'bound')
    """

    value: float
    error: float
    bound: str


class Comparison:
    """What `compare` found; prints as a table, in a notebook as HTML.

    Parameters
    ----------
    costs : sequence of Cost
        One for each sampler and observable.
    ensembles : mapping of Ensemble
        By the name of the sampler, without configurations: histories for a closer look, which
        ``fk.panels.Chain(comparison.ensembles, x="seconds")`` draws side by side.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)
    >>> samplers = {"HMC": fk.HMC(action, length=0.5), "heatbath": fk.Heatbath(action)}
    >>> found = fk.compare(samplers, [fk.plaquette], seconds=0.05, thermalise=0, rng=1)
    >>> found
    Comparison(HMC, heatbath; plaquette)
    >>> found.cost("HMC", fk.plaquette).forces
    10
    """

    @checked
    def __init__(self, costs: Sequence[Cost], ensembles: Mapping[str, Ensemble]):
        self.costs, self.ensembles = list(costs), dict(ensembles)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Plain data, one dictionary for each sampler and observable."""
        return [cost.row() for cost in self.costs]

    def cost(self, sampler: str, observable: Observable | str) -> Cost:
        """One line of the table.

        Raises
        ------
        ValueError
            For a sampler or an observable that was not compared.
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

        Parameters
        ----------
        over, under : str
            Names of samplers.
        observable : Observable or str
            What is to be independent.
        by : str
            "seconds" or "forces".
        training : bool
            Whether seconds include the training.

        Raises
        ------
        ValueError
            As `cost`, and for forces of a sampler without.
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

        Raises
        ------
        ValueError
            Where no sampler has an estimate for all of them, and as `ratio`.
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

"""Samplers of one theory side by side: what an independent configuration costs, at equal errors or equal budgets."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit import stats
from flowkit.ensemble import Columns, Ensemble, Steps, Walk
from flowkit.observables import Observable
from flowkit.samplers import HMC
from flowkit.stats import Estimate, format_error

FIRST = 128
"""Stored steps before the first look at the errors; each look comes a quarter later than the one before."""
SLICE = 8
"""Steps of one sampler before the next one has its turn: noise of the machine hits all alike."""


@dataclass(frozen=True)
class Cost:
    """What a sampler made of one observable.

    estimate            the mean, its error and the exact value where one is known
    tau_int, ..._error  in steps of the sampler, 1/2 for independent values
    bound               "" where tau_int is an estimate; else it is a lower bound, and this says why
    acceptance          mean over the run, in [0, 1]
    steps, chains       of the run
    forces              force evaluations of one step of one chain, or None
    seconds             of one step of one chain, the map of a pullback included
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
        """One standard error of it."""
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
    ensembles    name -> the Ensemble of that sampler, without configurations: histories for a closer look
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
        name = observable if isinstance(observable, str) else observable.name
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
        name = observable.name if isinstance(observable, Observable) else observable
        worst: dict[str, float] = {}
        scale: dict[str, float] = {}
        chosen = [c for c in self.costs if name in (None, c.observable)]
        if not chosen:
            self.cost(self.costs[0].sampler, str(name))
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


def compare(
    samplers: Mapping[str, Steps],
    observables: Sequence[Observable],
    *,
    error: float | Mapping[str, float] | None = None,
    seconds: float = 60.0,
    forces: int | None = None,
    training: Mapping[str, float] | None = None,
    configurations: int = 10_000,
    chains: int = 16,
    thermalise: int = 100,
    rng: torch.Generator | int | None = None,
    start: Mapping[str, Tensor] | None = None,
    max_bad: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run samplers of one theory in turns of a few steps until each has the same errors, or has spent its budget.

    Cost of an independent configuration: 2 tau_int steps of one chain, chains in one batch; thermalisation is left out,
    and measuring too. Where tau_int has no estimate, as for a frozen observable, a lower bound is given and named so.

    samplers          name -> sampler; one of a pullback is measured on the theory's fields, the map in its seconds
    error             the error that every observable is to reach, one for all or by name
    seconds, forces   the most that each sampler may spend after it has thermalised, force evaluations of all its chains
                      together; without `error` it is spent to the end
    training          name -> seconds spent on it before, shared by `configurations` independent configurations
    start             name -> [chains, *space.shape], as `run`; by default the sampler's own
    clock             what counts as seconds; time.process_time on a machine that others use too
    others            as `run`
    Raises            ValueError for no sampler or observable, samplers of different theories, names that do not fit, a
                      budget that is not positive, forces of a sampler without; EnsembleError as `run`
    """
    targets = _check(samplers, observables, error, seconds, forces, training, configurations, start)
    source = rng if isinstance(rng, torch.Generator) else torch.Generator()
    if not isinstance(rng, torch.Generator):
        _ = source.seed() if rng is None else source.manual_seed(rng)
    runners = []
    for name, sampler in samplers.items():
        seed = int(torch.randint(2**62, (), generator=source, device=source.device))
        walk = Walk(sampler, seed, chains=chains, start=(start or {}).get(name))
        runners.append(_Runner(name, walk, observables, clock, max_bad))
    theories = {repr(r.walk.action): r.name for r in runners if r.walk.action is not None}
    if len(theories) > 1:
        raise ValueError(f"compare needs samplers of one theory; got {' and '.join(theories)}.")
    for runner in runners:
        runner.walk.thermalise(thermalise)
        if runner.steps_left(seconds, forces) < 1:
            raise ValueError(f"{forces} forces are less than one step of {chains} chains of {runner.name} takes.")
    waiting, look = runners, FIRST
    while waiting:
        while unfinished := [r for r in waiting if r.steps < look and r.steps_left(seconds, forces) > 0]:
            for r in unfinished:
                r.advance(min(SLICE, look - r.steps, r.steps_left(seconds, forces)))
        waiting = [r for r in waiting if r.steps_left(seconds, forces) > 0 and not (targets and r.reached(targets))]
        look += look // 4
    costs = [cost for r in runners for cost in r.costs(targets, (training or {}).get(r.name, 0.0), configurations)]
    return Comparison(costs, {r.name: r.ensemble() for r in runners})


@dataclass(frozen=True)
class LengthTuning:
    """The trajectory length whose independent configurations cost the fewest forces, and the table of all."""

    best: HMC
    comparison: Comparison

    def __str__(self) -> str:
        h = self.best
        chosen = f"length {h.length:g}: {h.steps} steps of {h.step_size:.4g}, {h.forces} forces for each trajectory"
        return f"{self.comparison}\nchosen: {chosen}"


def tune_length(
    hmc: HMC,
    observables: Sequence[Observable],
    lengths: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
    *,
    forces: int = 200_000,
    seconds: float = 60.0,
    chains: int = 16,
    thermalise: int = 100,
    rng: torch.Generator | int | None = None,
) -> LengthTuning:
    """The length of HMC's trajectories by cost: 2 tau_int times the forces of a trajectory, in the worst observable.

    At every length the step size is tuned toward `hmc.target`, then all lengths spend the same number of forces in
    turns. `hmc` stays as it is; `best` is a new one, tuned. The lowest of several noisy costs is a little too low: run
    again before it is quoted.

    lengths    in units of simulation time
    others     as `compare`; forces and seconds are those of each length
    Raises     ValueError for no lengths or one <= 0, where no length moves the observables, and as `compare`
    """
    if not lengths:
        raise ValueError("tune_length needs lengths to try; got none.")
    tried = {f"length {length:g}": hmc.of_length(length) for length in lengths}
    comparison = compare(
        tried, observables, seconds=seconds, forces=forces, chains=chains, thermalise=thermalise, rng=rng
    )
    return LengthTuning(tried[comparison.best(by="forces")], comparison)


class _Runner:
    """One sampler's chains, its seconds and what was measured."""

    def __init__(
        self, name: str, walk: Walk, observables: Sequence[Observable], clock: Callable[[], float], max_bad: float
    ):
        self.name, self.walk, self.observables, self.max_bad = name, walk, observables, max_bad
        self.steps, self.seconds = 0, 0.0
        self._clock, self._slices = clock, list[dict[str, Tensor]]()

    @property
    def forces(self) -> int | None:
        """Force evaluations of one step of one chain."""
        forces: int | None = getattr(self.walk.sampler, "forces", None)
        return forces

    def steps_left(self, seconds: float, forces: int | None) -> int:
        """How many more steps the budget allows, as far as it can be told."""
        if self.seconds >= seconds:
            return 0
        if forces is None or self.forces is None:
            return SLICE
        return forces // (self.forces * self.walk.chains) - self.steps

    def advance(self, steps: int) -> None:
        """So many steps; the clock runs while the sampler works, not while its fields are measured."""
        columns = Columns(steps, self.walk.chains, self.observables, self.walk.space)
        for i in range(steps):
            before = self._now()
            x, values = self.walk.step()
            self.seconds += self._now() - before
            columns.store(i, x, {"S": values["S"], "accept": values["accept"]})
        self._slices.append(columns.finish()[0])
        self.steps += steps

    def _now(self) -> float:
        if self.walk.state.x.is_cuda:
            torch.cuda.synchronize(self.walk.state.x.device)
        return self._clock()

    def ensemble(self) -> Ensemble:
        """What was measured so far."""
        self.walk.check(self.steps, self.steps, self.max_bad)
        series = {name: torch.cat([part[name] for part in self._slices]) for name in self._slices[0]}
        about = {"sampler": self.walk.sampler.describe(), "seed": self.walk.seed, "n": self.steps, "every": 1}
        return Ensemble(self.walk.space, None, series, action=self.walk.action, provenance=about)

    def reached(self, targets: Mapping[str, float]) -> bool:
        """Whether every observable has a calibrated error as small as asked for."""
        ensemble = self.ensemble()
        means = {name: ensemble.mean(name) for name in targets}
        return all(not means[name].note and means[name].error <= target for name, target in targets.items())

    def costs(self, targets: Mapping[str, float], training: float, configurations: int) -> list[Cost]:
        """A line for each observable."""
        ensemble = self.ensemble()
        found = []
        for o in self.observables:
            estimate = ensemble.mean(o)
            tau, error, bound = _tau(ensemble.history(o), estimate)
            found.append((o.name, estimate, tau, error, bound))
        frozen = [name for name, *_, bound in found if bound]
        shared = f"{', '.join(frozen)} has no estimate of tau_int: this value may hold for a part of the theory alone"
        return [
            Cost(
                sampler=self.name,
                observable=name,
                estimate=estimate,
                tau_int=tau,
                tau_int_error=error,
                bound=bound,
                acceptance=float(ensemble.series["accept"].mean()),
                steps=self.steps,
                chains=self.walk.chains,
                forces=self.forces,
                seconds=self.seconds / (self.steps * self.walk.chains),
                training=training,
                configurations=configurations,
                target=targets.get(name),
                note=bound or "; ".join(filter(None, [estimate.note, shared if frozen else ""])),
            )
            for name, estimate, tau, error, bound in found
        ]


def _tau(history: Tensor, estimate: Estimate) -> tuple[float, float, str]:
    """tau_int and its error; where there is no estimate of it a lower bound, and why.

    Chains that change their value so many times hold no more independent values than chains and changes together.
    """
    if not estimate.note:
        return estimate.tau_int, estimate.tau_int_error, ""
    n, chains = history.shape
    changes = int((history[1:] != history[:-1]).sum())
    if math.isfinite(estimate.tau_int) and changes >= stats.CALIBRATED:
        return estimate.tau_int, estimate.tau_int_error, ""
    least = n * chains / (2 * (chains + changes))
    if changes < stats.CALIBRATED:
        return least, math.nan, f"frozen: {changes} changes in {n} steps of {chains} chains; tau_int is a lower bound"
    if n >= stats.SHORTEST:
        so_far = stats.autocorrelation(history.numpy())
        least = max(least, float(so_far.tau[so_far.window]))
    return least, math.nan, f"{estimate.note}; the bound is the sum over half of the run"


def _price(cost: Cost, by: str, training: bool) -> float:
    """Seconds or forces for an independent configuration."""
    if by == "seconds":
        return cost.with_training if training else cost.seconds_each
    if by != "forces":
        raise ValueError(f"A cost is in seconds or forces; got {by!r}.")
    if cost.forces_each is None:
        raise ValueError(f"{cost.sampler} counts no force evaluations; compare it by seconds.")
    return cost.forces_each


def _check(
    samplers: Mapping[str, Steps],
    observables: Sequence[Observable],
    error: float | Mapping[str, float] | None,
    seconds: float,
    forces: int | None,
    training: Mapping[str, float] | None,
    configurations: int,
    start: Mapping[str, Tensor] | None,
) -> dict[str, float]:
    """The error to reach by observable, after a look at everything else."""
    if not isinstance(samplers, Mapping) or not samplers:
        raise ValueError(f"compare takes samplers by name, {{name: sampler}}; got {samplers!r}.")
    names = [o.name for o in observables]
    if not names:
        raise ValueError("compare needs at least one observable; got none.")
    if not seconds > 0 or not (forces is None or (type(forces) is int and forces > 0)):
        raise ValueError(f"A budget is a positive number; got seconds={seconds!r} and forces={forces!r}.")
    if type(configurations) is not int or configurations < 1:
        raise ValueError(f"configurations is a whole number >= 1; got {configurations!r}.")
    counted = [name for name, s in samplers.items() if getattr(s, "forces", None) is not None]
    if forces is not None and (without := [name for name in samplers if name not in counted]):
        raise ValueError(f"A budget of forces fits samplers that count them; {', '.join(without)} counts none.")
    targets = dict.fromkeys(names, error) if isinstance(error, int | float) else dict(error or {})
    for given, known, what in (
        (training or {}, samplers, "a sampler"),
        (start or {}, samplers, "a sampler"),
        (targets, names, "an observable"),
    ):
        if strange := [name for name in given if name not in known]:
            raise ValueError(f"{strange[0]!r} is no name of {what}; the names are {', '.join(known)}.")
    if bad := [value for value in targets.values() if not 0 < value < math.inf]:
        raise ValueError(f"The error to reach is a positive number; got {bad[0]!r}.")
    if bad := [value for value in (training or {}).values() if not 0 <= value < math.inf]:
        raise ValueError(f"Training takes seconds >= 0; got {bad[0]!r}.")
    return targets


def _number(value: float, error: float) -> str:
    return format_error(value, error) if error > 0 else f"{value:.3g}"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

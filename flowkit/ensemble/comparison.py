"""Samplers of one theory side by side: what an independent configuration costs, at equal errors or equal budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit import stats
from flowkit.ensemble.columns import Columns
from flowkit.ensemble.costs import Comparison, Cost
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.runs import Chains, generator_of
from flowkit.observables import Observable, listed
from flowkit.samplers.chain import Steps
from flowkit.samplers.hmc import HMC
from flowkit.stats import Estimate

FIRST = 128
"""Stored steps before the first look at the errors; each look comes a quarter later than the one before."""
SLICE = 8
"""Steps of one sampler before the next one has its turn: noise of the machine hits all alike."""


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
    every: int = 1,
    rng: torch.Generator | int | None = None,
    start: Mapping[str, Tensor] | None = None,
    max_bad: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run samplers of one theory in turns of a few steps until each has the same errors, or has spent its budget.

    An independent configuration costs 2 tau_int steps of one chain, of chains in one batch. Thermalisation and
    measuring are left out, and so is one stored step before the first, in which samplers make what they keep, such as
    tables. Where tau_int has no estimate, as for a frozen observable, a lower bound is given and named so. The error of
    a cost is that of tau_int alone: how much the seconds of a step vary from run to run is not in it.

    Parameters
    ----------
    samplers : mapping of Sampler
        By name. One of a pullback is measured on the theory's fields, the map in its seconds.
    observables : sequence of Observable
        Each has a cost of its own.
    error : float or mapping, optional
        The error that every observable is to reach, one for all or by name.
    seconds, forces : float, int
        The most that each sampler may spend after it has thermalised, in seconds, and in force evaluations of all its
        chains together; without `error` it is spent to the end.
    training : mapping, optional
        Seconds spent on a sampler before, by its name, shared by `configurations` independent configurations.
    configurations : int
        See `training`.
    chains, thermalise, max_bad
        As `run`.
    every : int
        Steps from one measurement to the next; tau_int is in steps all the same. Where tau_int is long nothing is lost,
        and a pullback makes its fields that much less often.
    rng : torch.Generator or int, optional
        Gives each sampler a seed of its own.
    start : mapping of Tensor, optional
        Fields ``[chains, *space.shape]`` by the sampler's name, as `run`.
    clock : callable
        What counts as seconds; time.process_time on a machine that others use too.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        For no sampler or observable, samplers of different theories, names that do not fit, a budget that is not
        positive, forces of a sampler without.
    EnsembleError
        As `run`.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)
    >>> samplers = {"4 steps": fk.HMC(action, steps=4), "16 steps": fk.HMC(action, steps=16)}
    >>> found = fk.compare(samplers, [fk.plaquette], forces=16 * 16 * 128, chains=16, thermalise=0, rng=1)
    >>> found.best(by="forces"), found.ratio("16 steps", "4 steps", "plaquette", by="forces").value > 1
    ('4 steps', True)
    """
    observables = listed(observables)
    targets = _check(samplers, observables, error, seconds, forces, training, configurations, start)
    source, _ = generator_of(rng, "cpu")
    runners = []
    for name, sampler in samplers.items():
        seed = int(torch.randint(2**62, (), generator=source, device=source.device))
        one = Chains(sampler, seed, chains=chains, thermalise=thermalise, every=every, start=(start or {}).get(name))
        runners.append(_Runner(name, one, observables, clock, max_bad))
    theories = {repr(r.chains.action): r.name for r in runners if r.chains.action is not None}
    if len(theories) > 1:
        raise ValueError(f"compare needs samplers of one theory; got {' and '.join(theories)}.")
    for runner in runners:
        runner.warm_up()
        if runner.steps_left(seconds, forces) < 1:
            raise ValueError(
                f"{forces} forces are fewer than {chains} chains of {runner.name} need to be measured once."
            )
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
    turns. The lowest of several noisy costs is a little too low: run again before it is quoted.

    Parameters
    ----------
    hmc : HMC
        Stays as it is.
    observables : sequence of Observable
        What is to decorrelate.
    lengths : sequence of float
        To try, in units of simulation time.
    forces, seconds, chains, thermalise, rng
        As `compare`; forces and seconds are those of each length.

    Returns
    -------
    LengthTuning
        Its `best` is a new HMC, tuned.

    Raises
    ------
    TypeError
        For a sampler without trajectories, or lengths that are no sequence.
    ValueError
        For no lengths or one <= 0, where no length moves the observables, and as `compare`.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((1, 1)), m2=0.5, lam=0.0)         # one mode of frequency 1
    >>> tuned = fk.tune_length(fk.HMC(action, steps=4), [fk.phi_squared], (0.1, 1.5), forces=20_000, rng=1)
    >>> tuned.best.length
    1.5
    """
    if not isinstance(hmc, HMC):
        raise TypeError(f"tune_length needs an HMC, whose trajectories have a length; got {type(hmc).__name__}.")
    if isinstance(lengths, str) or not hasattr(lengths, "__len__"):
        raise TypeError(f"tune_length takes a sequence of lengths, such as (0.5, 1.0, 2.0); got {lengths!r}.")
    if not len(lengths):
        raise ValueError("tune_length needs lengths to try; got none.")
    tried = {f"length {one.length:g}": one for one in map(hmc.of_length, lengths)}
    comparison = compare(
        tried, observables, seconds=seconds, forces=forces, chains=chains, thermalise=thermalise, rng=rng
    )
    return LengthTuning(tried[comparison.best(by="forces")], comparison)


class _Runner:
    """One sampler's chains, its seconds and what was measured."""

    def __init__(
        self, name: str, chains: Chains, observables: Sequence[Observable], clock: Callable[[], float], max_bad: float
    ):
        self.name, self.chains, self.observables, self.max_bad = name, chains, observables, max_bad
        self.steps, self.seconds = 0, 0.0
        self._clock, self._slices = clock, list[dict[str, Tensor]]()

    @property
    def forces(self) -> int | None:
        """Force evaluations of one step of one chain."""
        forces: int | None = getattr(self.chains.sampler, "forces", None)
        return forces

    def steps_left(self, seconds: float, forces: int | None) -> int:
        """How many more stored steps the budget allows, as far as it can be told."""
        if self.seconds >= seconds:
            return 0
        if forces is None or self.forces is None:
            return SLICE
        return forces // (self.forces * self.chains.every * self.chains.chains) - self.steps

    def warm_up(self) -> None:
        """Thermalise, and make one stored step off the clock, so that no first call is charged to those that count."""
        for _ in range(self.chains.thermalise):
            next(self.chains)
        self._measure(1, charged=False)
        self.chains.bad = torch.zeros_like(self.chains.bad)

    def advance(self, steps: int) -> None:
        """So many stored steps; the clock runs while the sampler works, not while its fields are measured."""
        self._slices.append(self._measure(steps))
        self.steps += steps

    @torch.no_grad()
    def _measure(self, steps: int, charged: bool = True) -> dict[str, Tensor]:
        columns = Columns(steps, self.chains.chains, self.observables, self.chains.space)
        for i in range(steps):
            before = self._now()
            x, values = self.chains.measured(self.chains.next_stored())
            self.seconds += self._now() - before if charged else 0.0
            columns.store(i, x, {"S": values["S"], "accept": values["accept"]})
        return columns.finish()[0]

    def _now(self) -> float:
        if self.chains.first.x.is_cuda:
            torch.cuda.synchronize(self.chains.first.x.device)
        return self._clock()

    def ensemble(self) -> Ensemble:
        """What was measured so far."""
        self.chains.check(self.steps, self.steps, self.max_bad)
        series = {name: torch.cat([part[name] for part in self._slices]) for name in self._slices[0]}
        about = {
            "sampler": self.chains.sampler.describe(),
            "seed": self.chains.seed,
            "n": self.steps,
            "every": self.chains.every,
            "seconds": self.seconds,
        }
        return Ensemble(self.chains.space, None, series, action=self.chains.action, provenance=about)

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
            found.append((o.name, estimate, *_tau(ensemble.history(o), estimate, self.chains.every)))
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
                steps=self.steps * self.chains.every,
                chains=self.chains.chains,
                forces=self.forces,
                seconds=self.seconds / (self.steps * self.chains.every * self.chains.chains),
                training=training,
                configurations=configurations,
                target=targets.get(name),
                note=bound or "; ".join(filter(None, [estimate.note, shared if frozen else ""])),
            )
            for name, estimate, tau, error, bound in found
        ]


def _tau(history: Tensor, estimate: Estimate, every: int) -> tuple[float, float, str]:
    """tau_int in steps, `every` of which lie between two values, and its error; where there is no estimate of it, or
    too short a run for one, a lower bound, and why.

    Chains that change their value so many times hold no more independent values than chains and changes together.
    """
    known = every * estimate.tau_int, every * estimate.tau_int_error, ""
    if not estimate.note:
        return known
    n, chains = history.shape
    changes = int((history[1:] != history[:-1]).sum())
    if math.isfinite(estimate.error) and changes >= stats.CALIBRATED:
        return known
    least = every * n * chains / (2 * (chains + changes))
    if changes < stats.CALIBRATED:
        seen = f"frozen: {changes} changes in {every * n} steps of {chains} chains"
        return least, math.nan, f"{seen}; tau_int is a lower bound"
    note = estimate.note
    if n >= stats.SHORTEST:
        so_far = stats.autocorrelation(history.numpy())
        least = max(least, every * so_far.tau_int)
        if not so_far.complete:  # in steps, and without the bound, which is `least`
            note = f"no error: {stats.too_short(every * n)}"
    return least, math.nan, f"{note}; tau_int is a lower bound"


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

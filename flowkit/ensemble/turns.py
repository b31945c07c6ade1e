"""Samplers of one theory run in turns, until each has the same errors or has spent its budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, NotNegative, Positive, Range, Share, checked
from flowkit.ensemble.chains import Chains
from flowkit.ensemble.comparison import Comparison
from flowkit.ensemble.runner import SLICE, Runner
from flowkit.observables import Observable, Observables, listed
from flowkit.samplers.chain import Steps
from flowkit.tasks.randomness import Rng, generator_of

FIRST = 128
"""Stored steps before the first look at the errors; each look comes a quarter later than the one before."""


@checked
def compare(
    samplers: Mapping[str, Steps],
    observables: Observables,
    *,
    error: Positive | Mapping[str, Positive] | None = None,
    seconds: Positive = 60.0,
    forces: Annotated[int, Range(1, 2**62)] | None = None,
    training: Mapping[str, NotNegative] | None = None,
    configurations: Count = 10_000,
    chains: Count = 16,
    thermalise: Natural = 100,
    every: Count = 1,
    rng: Rng = None,
    start: Mapping[str, Tensor] | None = None,
    max_bad: Share = 0.01,
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
        By name; copies of them are tuned. One of a pullback is measured on the theory's fields, the map in its
        seconds.
    observables : sequence of Observable or str
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
    targets = _check(samplers, observables, error, forces, training, start)
    source = generator_of(rng)
    runners = []
    for name, sampler in samplers.items():
        seed = int(torch.randint(2**62, (), generator=source, device=source.device))
        one = Chains(sampler, seed, chains=chains, thermalise=thermalise, every=every, start=(start or {}).get(name))
        runners.append(Runner(name, one, observables, clock, max_bad))
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


def _check(
    samplers: Mapping[str, Steps],
    observables: Sequence[Observable],
    error: float | Mapping[str, float] | None,
    forces: int | None,
    training: Mapping[str, float] | None,
    start: Mapping[str, Tensor] | None,
) -> dict[str, float]:
    """The error to reach by observable, after a look at everything else."""
    if not samplers:
        raise ValueError("compare takes samplers by name, {name: sampler}; got none.")
    names = [o.name for o in observables]
    if not names:
        raise ValueError("compare needs at least one observable; got none.")
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
    return targets

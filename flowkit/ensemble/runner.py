"""One sampler on the clock: its chains, its seconds, and what an independent configuration of it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from flowkit import stats
from flowkit.ensemble.chains import Chains
from flowkit.ensemble.columns import Columns
from flowkit.ensemble.costs import Cost
from flowkit.ensemble.ensemble import Ensemble
from flowkit.observables import Observable, require_defined
from flowkit.stats import Estimate

SLICE = 8
"""Steps of one sampler before the next one has its turn: noise of the machine hits all alike."""


class Runner:
    """One sampler's chains, its seconds and what was measured."""

    def __init__(
        self, name: str, chains: Chains, observables: Sequence[Observable], clock: Callable[[], float], max_bad: float
    ):
        self.name, self.chains, self.observables, self.max_bad = name, chains, observables, max_bad
        self.steps, self.seconds = 0, 0.0
        for one in observables:
            if len(one.columns) > 1:
                raise ValueError(f"The cost of a real number is compared; {one.name} has {len(one.columns)}.")
        require_defined(observables, chains.space, chains.chains, like=chains.first.x)
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
        self._measure(1, charged=False)
        self.chains.bad = torch.zeros_like(self.chains.bad)

    def advance(self, steps: int) -> None:
        """So many stored steps; the clock runs while the sampler works, not while its fields are measured."""
        self._slices.append(self._measure(steps))
        self.steps += steps

    @torch.no_grad()
    def _measure(self, steps: int, charged: bool = True) -> dict[str, Tensor]:
        columns = Columns(steps, self.chains.chains, self.observables, self.chains.space)
        for _ in range(steps):
            before = self._now()
            x, values = self.chains.measured(self.chains.next_stored())
            self.seconds += self._now() - before if charged else 0.0
            columns.store(x, {"S": values["S"], "accept": values["accept"]})
        return columns.finish()[0]

    def _now(self) -> float:
        if self.chains.first.x.is_cuda:
            torch.cuda.synchronize(self.chains.first.x.device)
        return self._clock()

    def ensemble(self) -> Ensemble:
        """What was measured so far."""
        chains = self.chains
        chains.check(self.steps, self.steps, self.max_bad)
        series = {name: torch.cat([part[name] for part in self._slices]) for name in self._slices[0]}
        run = {"seed": chains.seed, "n": self.steps, "every": chains.every, "seconds": self.seconds}
        about = {"sampler": chains.sampler.describe(), **run}
        return Ensemble(chains.space, None, series, action=chains.action, provenance=about)

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

    Of a frozen observable, c chains with k changes of value hold at most c + k independent values, which bounds tau_int
    from below.
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

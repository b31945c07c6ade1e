"""Chains of a sampler as what runs, jobs and comparisons consume: points of a theory, counted and checked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, Natural, checked
from flowkit.ensemble.files import EnsembleError
from flowkit.ensemble.integration import logdet_error
from flowkit.samplers.chain import Point, Steps, states
from flowkit.tasks.in_training import frozen
from flowkit.tasks.randomness import Rng, source_of


def device_of(sampler: Steps, start: Tensor | None) -> torch.device | str:
    """Where chains walk: the device of their start, else of the flow that they use, else the CPU."""
    made_of = getattr(sampler, "flow", getattr(getattr(sampler, "action", None), "anchor", None))
    device: torch.device | str = start.device if start is not None else getattr(made_of, "device", "cpu")
    return device


class Chains:
    """Chains of a sampler from their start on, step by step: what `run`, `Job` and `compare` consume.

    An iterator without end over the points of `samplers.states`, thermalisation first.

    Parameters
    ----------
    sampler, rng, chains, thermalise, every, start, dtype
        As `run`.
    state : State, optional
        Where chains stand that go on, in place of a start.

    Attributes
    ----------
    sampler : Sampler
        A copy of the one given, which the thermalisation tunes.
    action : Action or None
        Of the theory whose fields are measured; None for a sampler without one.
    space : Space
        Of those fields.
    seed : int
        Last given to the generator.
    warm : int
        Steps of the thermalisation so far.
    bad : Tensor
        Updates after the thermalisation without a finite weight or action, [].

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.chains import Chains
    >>> chains = Chains(fk.HMC(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)), 1, chains=3)
    >>> x, values = chains.measured(chains.next_stored())
    >>> x.shape, sorted(values)
    (torch.Size([3, 1, 4, 4]), ['S', 'accept', 'dH', 'invalid'])
    """

    @checked
    @torch.no_grad()
    def __init__(
        self,
        sampler: Steps,
        rng: Rng = None,
        *,
        chains: Count = 16,
        thermalise: Natural | None = 0,
        every: Count = 1,
        start: Tensor | None = None,
        dtype: torch.dtype | None = None,
        state: Any = None,
    ):
        if dtype is not None and (start is not None or dtype not in (torch.float32, torch.float64)):
            got = f"{dtype} beside a start, which has its own" if start is not None else f"{dtype}"
            raise ValueError(f"Chains start in dtype torch.float32 or torch.float64; got {got}.")
        sampler = frozen(sampler, "A run of chains")
        there = start if state is None else state.x
        self.rng, self.seed = source_of(rng, "chains", device_of(sampler, there))
        sampler = copy.copy(sampler)  # tuned in place of the caller's
        self.sampler, self.every, self.thermalise, self.warm = sampler, every, thermalise, 0
        self._coordinates: Action | None = getattr(sampler, "action", None)
        self.action = None if self._coordinates is None else self._coordinates.theory
        self.space = sampler.space if self.action is None else self.action.space
        begin = getattr(sampler, "begin", None)
        if state is not None:
            self.first = state
        elif start is None and begin is not None:
            self.first = begin(chains, self.rng) if dtype is None else begin(chains, self.rng, dtype=dtype)
        else:
            like = torch.empty(0, dtype=dtype, device=self.rng.device)
            self.first = sampler.init(sampler.space.cold(chains, like=like) if start is None else start)
        self._z, self.chains = self.first.x, len(self.first.x)
        self.bad = torch.zeros((), dtype=torch.long, device=self.first.S.device)
        self._points = states(sampler, self.first, self.rng, thermalise=thermalise, every=every)

    def __iter__(self) -> Iterator[Point]:
        return self

    def __next__(self) -> Point:
        point = next(self._points)
        self.warm += point.warm
        self.bad = self.bad + point.bad if point.stored else self.bad
        return point

    def next_stored(self) -> Point:
        """The next point to be stored, after all that lie before it."""
        return next(point for point in self if point.stored)

    @torch.no_grad()
    def measured(self, point: Point) -> tuple[Tensor, dict[str, Tensor]]:
        """The fields of the theory at a point, [chains, *space.shape], and numbers of each chain by name."""
        self._z = point.state.x
        state, x, S = point.state, point.state.x, point.state.S
        logq = getattr(state, "logq", None)
        if self._coordinates is not None and self._coordinates is not self.action:
            x, change = self._coordinates.to_theory(x)
            S, logq = S + change, None if logq is None else logq - change
        known = {} if logq is None else {"logq": logq, "logw": -S - logq}
        return x, {"S": S, **point.info, **known}

    def logdet_error(self) -> float | None:
        """`integration.logdet_error` of the sampler's flow, or of its pullback at the fields last measured."""
        return logdet_error(getattr(self.sampler, "flow", None), self._coordinates, self._z)

    def check(self, done: int, most: int, max_bad: float) -> None:
        """Raise EnsembleError where more than max_bad of the updates of `most` stored steps were invalid."""
        updates, bad = most * self.every * self.chains, int(self.bad)
        if bad > max_bad * updates:
            raise EnsembleError(
                f"The run ended at stored step {done} of {most}: {bad} updates had no finite action or "
                f"weight, more than {100 * max_bad:g} % of {updates}. {self.sampler.describe()}"
            )

"""A Markov chain as a Python generator of states.

Runs, jobs and comparisons take one state after another, and stop a chain by asking for no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, checked, shown
from flowkit.geometry.space import Space
from flowkit.samplers.state import Info, State
from flowkit.samplers.stationary import Stationary
from flowkit.tasks.randomness import Rng, generator_of


@runtime_checkable
class Steps(Protocol):
    """What can be driven as a Markov chain: any Sampler, and whatever else has these.

    A `begin(chains, rng) -> State` gives it a start of its own (else chains start cold), and a `tuner() -> Tuner`
    something to tune.

    Examples
    --------
    A chain that draws a new field from Haar measure at each step, which is right for S = 0 alone:

    >>> import torch
    >>> import flowkit as fk
    >>> class Redraw:
    ...     space = fk.links((4, 4), fk.U1())
    ...     def init(self, x):
    ...         return fk.samplers.State(x, torch.zeros(len(x)))
    ...     def step(self, state, rng):
    ...         return self.init(self.space.haar(len(state.x), rng)), {"accept": torch.ones(len(state.x))}
    ...     def describe(self):
    ...         return {"kind": "Redraw"}
    >>> chain, rng = Redraw(), torch.Generator().manual_seed(1)
    >>> point = next(fk.samplers.states(chain, chain.init(chain.space.haar(8, rng)), rng))
    >>> point.state.x.shape
    torch.Size([8, 2, 4, 4])
    """

    space: Space

    def init(self, x: Tensor) -> State:
        """The state of chains at x, [chains, *space.shape]."""

    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        """One update of all chains."""

    def describe(self) -> dict[str, Any]:
        """The sampler as plain data."""


class Point(NamedTuple):
    """One step of a chain in Monte Carlo time.

    Attributes
    ----------
    state : State
        Where the chains stand.
    info : dict of Tensor
        What the step told of each chain, ``[chains]``; in a point to be stored "accept" is the rate since the last one.
    bad : Tensor
        Steps since the last point to be stored without a finite weight or action, ``[]``.
    warm : bool
        Whether it belongs to the thermalisation.
    stored : bool
        Whether it is one of every so many that are to be stored and measured.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> hmc, rng = fk.HMC(fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)), torch.Generator().manual_seed(1)
    >>> point = next(fk.samplers.states(hmc, hmc.begin(8, rng), rng))
    >>> point.info["accept"].shape, int(point.bad), point.warm, point.stored
    (torch.Size([8]), 0, False, True)
    """

    state: State
    info: Info
    bad: Tensor
    warm: bool
    stored: bool


def held(state: State) -> State:
    """The state, where it holds fields and their action: samplers of one's own may have another class of states."""
    if not all(isinstance(getattr(state, name, None), Tensor) for name in ("x", "S")):
        raise TypeError(f"A chain needs a state such as sampler.init(x), with x and S; got {shown(state)}.")
    return state


Held = Annotated[State, held]
"""A state of a chain."""


@checked
@torch.no_grad()
def states(
    sampler: Steps, state: Held, rng: Rng = None, *, thermalise: Natural | None = 0, every: Count = 1
) -> Iterator[Point]:
    """A Markov chain as a generator without end, one step of the sampler after the other.

    Parameters
    ----------
    sampler : Sampler
        Tuned in place during the thermalisation, where it has a `tuner`.
    state : State
        The start, from `sampler.init` or `sampler.begin`. It is not among the points.
    rng : torch.Generator or int, optional
        Source of all random numbers: a generator, a seed, or None for a fresh seed.
    thermalise : int or None
        Steps of the thermalisation; None for as many as it takes until the action no longer drifts (`Stationary`).
    every : int
        After it, each of so many steps is marked as one to be stored.

    Yields
    ------
    Point
        In a point to be stored, chains without a finite action, which no sampler of flowkit lets through, are back at
        the one before.

    Examples
    --------
    >>> import itertools, torch
    >>> import flowkit as fk
    >>> from flowkit.samplers import states
    >>> hmc = fk.HMC(fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0))
    >>> rng = torch.Generator().manual_seed(1)
    >>> chain = states(hmc, hmc.begin(8, rng), rng, thermalise=2, every=3)
    >>> [(point.warm, point.stored) for point in itertools.islice(chain, 5)]
    [(True, False), (True, False), (False, False), (False, False), (False, True)]
    """
    rng = generator_of(rng, state.x.device)
    make = getattr(sampler, "tuner", None)
    tuner = make() if make is not None and thermalise != 0 else None
    stationary = Stationary() if thermalise is None else None
    for k in count(1) if thermalise is None else range(1, thermalise + 1):
        before = state
        state, info = sampler.step(state, rng)
        finite = state.S.isfinite()
        state, bad = _choose(finite, state, before), (~finite).sum()
        last = k == thermalise if stationary is None else stationary.reached(state.S)
        if tuner is not None:
            tuner.update(info)
            if last:
                tuner.finish()
        yield Point(state, info, bad, True, False)
        if last:
            break
    while True:
        before, rate = state, torch.zeros_like(state.S, dtype=torch.float64)
        bad = torch.zeros((), dtype=torch.long, device=state.S.device)
        for k in range(1, every + 1):
            state, info = sampler.step(state, rng)
            rate = rate + info["accept"].double()
            bad = bad + info["invalid"].sum() if "invalid" in info else bad
            if k < every:
                yield Point(state, info, bad, False, False)
        finite = state.S.isfinite()
        state, bad = _choose(finite, state, before), bad + (~finite).sum()
        yield Point(state, {**info, "accept": rate / every}, bad, False, True)


@checked
def thermalised(sampler: Steps, state: Held, rng: Rng, steps: Natural) -> State:
    """The state after so many steps of thermalisation, in which the sampler is tuned.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit.samplers.chain import thermalised
    >>> hmc, rng = fk.HMC(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.0), steps=50), torch.Generator().manual_seed(1)
    >>> _ = thermalised(hmc, hmc.begin(8, rng), rng, 30)
    >>> hmc.steps < 50
    True
    """
    for point in islice(states(sampler, state, rng, thermalise=steps), steps):
        state = point.state
    return state


def _choose(good: Tensor, new: State, old: State) -> State:
    """`new` for the chains that are good and `old` for the others, in all tensors [chains, ...] of a state."""

    def one(a: Any, b: Any) -> Any:
        if not isinstance(a, Tensor) or not isinstance(b, Tensor):  # proposals do not depend on where a chain stands
            return a
        return torch.where(good.view(-1, *[1] * (a.dim() - 1)), a, b)

    return type(new)(*(one(a, b) for a, b in zip(new, old, strict=True)))

"""Several samplers of one action, in turn."""

import copy
from typing import Any

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.samplers.base import Sampler, Tuner
from flowkit.samplers.state import Info, State
from flowkit.tasks.randomness import Rng, lasting


class Cycle(Sampler):
    """Steps of several samplers of one action in turn: each of them keeps exp(-S), and so does the cycle.

    Parameters
    ----------
    *samplers : Sampler
        In order; one that stands twice makes two steps.

    Raises
    ------
    TypeError
        For no samplers, or what is none.
    ValueError
        For another action than the first one's.

    Notes
    -----
    ``info["accept"]`` is the mean of theirs and ``info["invalid"]`` tells whether any was; of other numbers of one name
    the last one is given.

    References
    ----------
    L. Tierney, Ann. Stat. 22 (1994) 1701, for cycles and mixtures of kernels.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> hmc, heatbath = fk.HMC(action, steps=5), fk.Heatbath(action)
    >>> cycle = fk.samplers.Cycle(hmc, heatbath, heatbath)
    >>> fk.run(cycle, 200, chains=16, thermalise=20, rng=3).mean(fk.plaquette).within()
    True
    """

    def __init__(self, *samplers: Sampler):
        if not samplers or not all(isinstance(one, Sampler) for one in samplers):
            raise TypeError(f"Cycle needs samplers; got {samplers!r}.")
        super().__init__(samplers[0].action)
        other = [one.action for one in samplers if one.action is not self.action]
        if other:
            raise ValueError(f"Cycle needs samplers of one and the same action, {self.action!r}; got {other[0]!r}.")
        self.samplers = samplers

    def __copy__(self) -> "Cycle":
        """A cycle of copies, which a run tunes in place of the samplers that were given."""
        made = {one: copy.copy(one) for one in dict.fromkeys(self.samplers)}
        return Cycle(*(made[one] for one in self.samplers))

    @property
    def forces(self) -> int | None:
        found = [one.forces for one in self.samplers if one.forces is not None]
        return sum(found) if found else None

    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        rng = lasting(rng, "Cycle.step")
        found, rates, bad = Info(), list[Tensor](), list[Tensor]()
        for one in self.samplers:
            state, info = one.step(state, rng)
            found |= info
            rates.append(info["accept"].to(state.S.dtype))
            bad.append(info["invalid"])
        return state, {**found, "accept": torch.stack(rates).mean(0), "invalid": torch.stack(bad).any(0)}

    def start(self, chains: int, rng: Rng = None, *, hot: bool = True, dtype: torch.dtype | None = None) -> Tensor:
        return self.samplers[0].start(chains, rng, hot=hot, dtype=dtype)

    def init(self, x: Tensor) -> State:
        return self.samplers[0].init(x)

    def begin(self, chains: int, rng: Rng = None, *, dtype: torch.dtype | None = None) -> State:
        return self.samplers[0].begin(chains, rng, dtype=dtype)

    def tuner(self) -> Tuner | None:
        """What tunes those samplers that have something to tune, each once."""
        tuners = [tuner for one in dict.fromkeys(self.samplers) if (tuner := one.tuner()) is not None]
        return Tuners(tuners) if tuners else None

    def of_action(self, action: Action) -> "Cycle":
        made = {one: one.of_action(action) for one in dict.fromkeys(self.samplers)}
        return Cycle(*(made[one] for one in self.samplers))

    def describe(self) -> dict[str, Any]:
        return {"sampler": "Cycle", "action": repr(self.action), "of": [one.describe() for one in self.samplers]}

    def __repr__(self) -> str:
        return f"Cycle({', '.join(map(repr, self.samplers))})"


class Tuners:
    """Several tuners, each told all numbers of a step.

    Parameters
    ----------
    tuners : list of Tuner
    """

    def __init__(self, tuners: list[Tuner]):
        self.tuners = tuners

    def update(self, info: Info) -> None:
        """Take in what the last step told."""
        for one in self.tuners:
            one.update(info)

    def finish(self) -> None:
        """Fix the settings for the steps that count."""
        for one in self.tuners:
            one.finish()

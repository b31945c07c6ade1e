"""How the learning rate, and the theory itself, change while a flow trains.

A schedule gives the factor on the learning rate at each step. One with a memory (Plateau) says what it must keep.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from flowkit.actions import Action


class Schedule(ABC):
    """factor(step, total, loss) in [0, 1], dimensionless: step counts from 0, total is where training is to end, loss
    is the newest that is known, NaN at the start.
    """

    @abstractmethod
    def factor(self, step: int, total: int, loss: float) -> float:
        """The factor on the learning rate."""

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, as plain data."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a state that `state` gave.

        Raises    ValueError for the state of another schedule
        """
        if set(state) != set(self.state()):
            mine, came = (", ".join(sorted(s)) or "nothing" for s in (self.state(), state))
            raise ValueError(f"{type(self).__name__} keeps {mine}; got the state of another schedule, {came}")


def _warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / (warmup + 1))


class Constant(Schedule):
    """1 after a linear rise over `warmup` steps."""

    def __init__(self, warmup: int = 0):
        if warmup < 0:
            raise ValueError(f"Constant needs warmup >= 0; got {warmup}.")
        self.warmup = warmup

    def factor(self, step: int, total: int, loss: float) -> float:
        return _warm(step, self.warmup)


class Cosine(Schedule):
    """final + (1 - final) [1 + cos(pi step / total)] / 2, after a linear rise over `warmup` steps.

    steps     where the cosine ends; None takes the end of the training that was asked for
    """

    def __init__(self, warmup: int = 0, final: float = 0.0, steps: int | None = None):
        if warmup < 0 or not 0 <= final <= 1 or (steps is not None and steps < 1):
            raise ValueError(
                f"Cosine needs warmup >= 0, final in [0, 1] and steps >= 1; got {warmup}, {final}, {steps}."
            )
        self.warmup, self.final, self.steps = warmup, final, steps

    def factor(self, step: int, total: int, loss: float) -> float:
        part = min(1.0, step / max(1, self.steps or total))
        return _warm(step, self.warmup) * (self.final + (1 - self.final) * (1 + math.cos(math.pi * part)) / 2)


class Steps(Schedule):
    """gamma^k after k of the milestones have passed."""

    def __init__(self, milestones: Sequence[int], gamma: float = 0.1):
        if list(milestones) != sorted(milestones) or not 0 < gamma <= 1:
            raise ValueError(f"Steps needs rising milestones and gamma in (0, 1]; got {milestones} and {gamma}.")
        self.milestones, self.gamma = tuple(milestones), gamma

    def factor(self, step: int, total: int, loss: float) -> float:
        return float(self.gamma ** sum(step >= milestone for milestone in self.milestones))


class Plateau(Schedule):
    """Multiplies by gamma whenever the smoothed loss has not fallen for `patience` steps, down to `lowest`.

    smooth    weight of the newest loss in the running mean
    """

    def __init__(self, patience: int = 100, gamma: float = 0.5, lowest: float = 1e-3, smooth: float = 0.05):
        if patience < 1 or not 0 < gamma < 1 or not 0 < lowest <= 1 or not 0 < smooth <= 1:
            raise ValueError(
                "Plateau needs patience >= 1, gamma in (0, 1), lowest and smooth in (0, 1]; "
                f"got {patience}, {gamma}, {lowest}, {smooth}."
            )
        self.patience, self.gamma, self.lowest, self.smooth = patience, gamma, lowest, smooth
        self._state: dict[str, Any] = {"factor": 1.0, "mean": None, "best": None, "since": 0}

    def factor(self, step: int, total: int, loss: float) -> float:
        s = self._state
        if not math.isfinite(loss):
            return float(s["factor"])
        s["mean"] = loss if s["mean"] is None else (1 - self.smooth) * s["mean"] + self.smooth * loss
        s["since"] += 1
        if s["best"] is None or s["mean"] < s["best"]:
            s["best"], s["since"] = s["mean"], 0
        elif s["since"] >= self.patience:
            s["factor"], s["since"], s["best"] = max(self.lowest, s["factor"] * self.gamma), 0, s["mean"]
        return float(s["factor"])

    def state(self) -> dict[str, Any]:
        return dict(self._state)

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._state = dict(state)


class Anneal:
    """One coupling of the action moves in a straight line from `start` to its own value over the first `steps` steps.

    Raises    ValueError for steps below 1 or a start that is not finite
    """

    def __init__(self, coupling: str, start: float, steps: int):
        if steps < 1 or not math.isfinite(start):
            raise ValueError(f"Anneal needs steps >= 1 and a finite start; got {steps} and {start}.")
        self.coupling, self.start, self.steps = coupling, float(start), steps

    def value(self, action: Action, step: int) -> float:
        """The coupling at this step."""
        end = float(action.parameters[self.coupling])
        return end + (self.start - end) * max(0.0, 1 - step / self.steps)

    def action(self, action: Action, step: int) -> Action:
        """The action at this step; the target itself once the line has ended."""
        return action if step >= self.steps else action.at(**{self.coupling: self.value(action, step)})

"""How the learning rate, and the theory itself, change while a flow trains.

A schedule gives the factor on the learning rate at each step. One with a memory (`Plateau`) keeps it in checkpoints.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any

from flowkit.actions import Action
from flowkit.checks import Count, Fraction, Natural, Range, Share, checked

Factor = Annotated[float, Range(0, 1, "(]")]
"""A factor in (0, 1]."""


class Schedule(ABC):
    """The factor on the learning rate at each training step.

    One method is required: `factor`. A schedule with a memory also overrides `state` and `load_state`.

    Examples
    --------
    >>> from flowkit.train import Schedule
    >>> class InverseTime(Schedule):
    ...     def factor(self, step, total, loss):
    ...         return 1 / (1 + 0.1 * step)
    >>> InverseTime().factor(10, 100, 0.0)
    0.5
    """

    @abstractmethod
    def factor(self, step: int, total: int, loss: float) -> float:
        """The factor on the learning rate, in [0, 1].

        Parameters
        ----------
        step : int
            The step, from 0.
        total : int
            The step where training is to end.
        loss : float
            The newest loss that is known; NaN at the start.
        """

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, as plain data."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned; ValueError for the state of another schedule."""
        if set(state) != set(self.state()):
            mine, came = (", ".join(sorted(s)) or "nothing" for s in (self.state(), state))
            raise ValueError(f"{type(self).__name__} keeps {mine}; got the state of another schedule, {came}")


def _warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / (warmup + 1))


class Constant(Schedule):
    """A constant factor of 1, after a linear rise.

    Parameters
    ----------
    warmup : int
        Steps of the rise, not negative.

    Examples
    --------
    >>> from flowkit.train import Constant
    >>> [Constant(warmup=3).factor(step, 100, 0.0) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    @checked
    def __init__(self, warmup: Natural = 0):
        self.warmup = warmup

    def factor(self, step: int, total: int, loss: float) -> float:
        return _warm(step, self.warmup)


class Cosine(Schedule):
    r"""Half a period of a cosine from 1 to `final`, after a linear rise.

    Parameters
    ----------
    warmup : int
        Steps of the rise, not negative.
    final : float
        The factor at the end, in [0, 1].
    steps : int, optional
        Where the cosine ends; by default the end of the training that was asked for.

    Notes
    -----
    .. math:: \mathrm{final} + (1 - \mathrm{final})\, \frac{1 + \cos(\pi\, \mathrm{step} / \mathrm{steps})}{2}

    Examples
    --------
    >>> from flowkit.train import Cosine
    >>> [round(Cosine(final=0.1).factor(step, 4, 0.0), 3) for step in range(5)]
    [1.0, 0.868, 0.55, 0.232, 0.1]
    """

    @checked
    def __init__(self, warmup: Natural = 0, final: Share = 0.0, steps: Count | None = None):
        self.warmup, self.final, self.steps = warmup, final, steps

    def factor(self, step: int, total: int, loss: float) -> float:
        part = min(1.0, step / max(1, self.steps or total))
        return _warm(step, self.warmup) * (self.final + (1 - self.final) * (1 + math.cos(math.pi * part)) / 2)


class Steps(Schedule):
    """A factor gamma^k after k of the milestones have passed.

    Parameters
    ----------
    milestones : sequence of int
        Steps, rising.
    gamma : float
        In (0, 1].

    Examples
    --------
    >>> from flowkit.train import Steps
    >>> [Steps((2, 4), gamma=0.5).factor(step, 6, 0.0) for step in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    @checked
    def __init__(self, milestones: Sequence[Natural], gamma: Factor = 0.1):
        if list(milestones) != sorted(milestones):
            raise ValueError(f"Steps needs rising milestones; got {milestones}.")
        self.milestones, self.gamma = tuple(milestones), gamma

    def factor(self, step: int, total: int, loss: float) -> float:
        return float(self.gamma ** sum(step >= milestone for milestone in self.milestones))


class Plateau(Schedule):
    """A factor that is multiplied by gamma whenever the smoothed loss has not fallen for a while.

    Parameters
    ----------
    patience : int
        Steps without a new lowest loss, at least 1.
    gamma : float
        In (0, 1).
    lowest : float
        The smallest factor, in (0, 1].
    smooth : float
        Weight of the newest loss in the running mean, in (0, 1].

    Examples
    --------
    >>> from flowkit.train import Plateau
    >>> plateau = Plateau(patience=2, smooth=1.0)
    >>> [plateau.factor(step, 100, loss) for step, loss in enumerate([3.0, 2.0, 2.0, 2.0, 1.0])]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    @checked
    def __init__(self, patience: Count = 100, gamma: Fraction = 0.5, lowest: Factor = 1e-3, smooth: Factor = 0.05):
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
        numbers = [state[name] for name in ("factor", "mean", "best") if name == "factor" or state[name] is not None]
        finite = all(type(number) is float and math.isfinite(number) for number in numbers)
        if not finite or not 0 < state["factor"] <= 1 or type(state["since"]) is not int or state["since"] < 0:
            raise ValueError(f"Plateau keeps factor in (0, 1], finite mean and best, since >= 0; got {state!r:.200}")
        self._state = dict(state)


class Anneal:
    """Moves one coupling of the action in a straight line to its own value; `Trainer(anneal=...)` takes it.

    Parameters
    ----------
    coupling : str
        Name of the coupling, as in `action.parameters`; the trainer's history has a column of this name.
    start : float
        Its value at the first step, finite.
    steps : int
        Steps until it has its own value, at least 1.

    Raises
    ------
    ValueError
        For steps below 1 or a start that is not finite.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.train import Anneal
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=3.0)
    >>> anneal = Anneal("beta", start=1.0, steps=4)
    >>> [anneal.value(action, step) for step in range(6)]
    [1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
    """

    @checked
    def __init__(self, coupling: str, start: float, steps: Count):
        self.coupling, self.start, self.steps = coupling, start, steps

    def value(self, action: Action, step: int) -> float:
        """The value of the coupling at this step."""
        end = float(action.parameters[self.coupling])
        return end + (self.start - end) * max(0.0, 1 - step / self.steps)

    def action(self, action: Action, step: int) -> Action:
        """The action at this step; the target itself once the line has ended."""
        return action if step >= self.steps else action.at(**{self.coupling: self.value(action, step)})

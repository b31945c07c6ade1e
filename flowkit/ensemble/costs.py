"""What an independent configuration of each sampler costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flowkit.stats import Estimate

COLUMNS = (
    *("tau_int", "tau_int_error", "bound", "acceptance", "steps", "chains", "forces", "forces_each", "seconds"),
    *("seconds_each", "seconds_each_error", "with_training", "training", "configurations"),
    *("target", "reached", "seconds_to_target", "note"),
)
"""Of a row, beside the names and the mean."""


@dataclass(frozen=True)
class Cost:
    """What a sampler made of one observable, and what an independent configuration of it costs.

    Attributes
    ----------
    sampler, observable : str
        Their names.
    estimate : Estimate
        The mean, its error and the exact value where one is known.
    tau_int, tau_int_error : float
        In steps of the sampler, 1/2 for independent values.
    bound : str
        Empty where tau_int is an estimate; else it is a lower bound, and this says why.
    acceptance : float
        Mean over the run, in [0, 1].
    steps, chains : int
        Of the run.
    forces : int or None
        Force evaluations of one step of one chain.
    seconds : float
        Of one step of one chain, the map of a pullback included; without an error.
    training : float
        Seconds before the first step.
    configurations : int
        Over which the training is spread.
    target : float or None
        The error aimed at.
    note : str
        What to know before the numbers are believed.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble import Cost
    >>> mean = fk.stats.Estimate(0.5, 0.01, 2.0, 0.1, 1000)
    >>> cost = Cost("HMC", "plaquette", mean, 2.0, 0.1, "", 0.8, 1000, 4, 10, 1e-3, 0.0, 1, None, "")
    >>> cost.forces_each, cost.seconds_each
    (40.0, 0.004)
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
        """One standard error of it, that of tau_int alone."""
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
        mean = {"value": e.value, "error": e.error, "exact": e.exact, "pull": e.pull() if known else None}
        row = {"sampler": self.sampler, "observable": self.observable, **mean}
        row |= {name: getattr(self, name) for name in COLUMNS}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}

"""A reduced mean beside the plain one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import numpy as np

from flowkit.stats import Estimate, Floats
from flowkit.stats.text import format_error, table
from flowkit.variance.identity import BLIND, Identity

NONE = Estimate(math.nan, math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True, repr=False)
class ReducedEstimate(Estimate):
    r"""An `Estimate` from reduced fluctuations, with the plain one beside it.

    Parameters
    ----------
    value, error, tau_int, tau_int_error, n, note, exact, every
        As `Estimate`, of the reduced series.
    plain : Estimate
        Of the observable as it is, from the same configurations.
    difference : Estimate
        Reduced minus plain, whose error is that of the series of differences: its `pull` from 0 tests the reduction.
    rho_training, rho : float
        The variance of the residual over that of the observable, on the configurations that the coefficients were
        fitted on and on those that they reduce.
    gain, gain_error : float
        The ratio of the squared errors, plain over reduced, at equal configurations.
    seconds : tuple of float
        Seconds for a configuration: of its generation, NaN where that is not known, and of its reduction. On an idle
        machine with one thread they are CPU seconds.
    identity : Identity
        The joint test of <T v> = 0.
    how : str
        How training and measurement were kept apart.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=2.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 100, chains=8, thermalise=20, rng=1)
    >>> reduced = fk.variance.mean(ensemble, fk.plaquette)
    >>> reduced.within(sigmas=3), reduced.gain > 10, abs(reduced.difference.pull(0.0)) < 3
    (True, True, True)
    """

    plain: Estimate = NONE
    difference: Estimate = NONE
    rho_training: float = math.nan
    rho: float = math.nan
    gain: float = math.nan
    gain_error: float = math.nan
    seconds: tuple[float, float] = (math.nan, math.nan)
    identity: Identity = field(default_factory=lambda: Identity(0.0, 0, math.nan))
    how: str = ""

    def with_exact(self, exact: float | None) -> ReducedEstimate:
        """The same with an exact value beside both estimates."""
        return replace(self, exact=exact, plain=replace(self.plain, exact=exact))

    @property
    def gain_per_second(self) -> float:
        """The gain at equal time: that for a configuration, times the share of its generation in the cost of both;
        NaN where the generation is not known.
        """
        generation, reduction = self.seconds
        return self.gain * generation / (generation + reduction)

    @property
    def topology(self) -> str:
        """What the test of <T v> = 0 cannot see."""
        return BLIND

    def __repr__(self) -> str:
        def line(name: str, one: Estimate) -> list[str]:
            tau = format_error(one.tau_int, one.tau_int_error) if one.tau_int_error > 0 else ""
            pull = f"{one.pull():+.1f}" if one.exact is not None and math.isfinite(one.pull()) else ""
            return [name, format_error(one.value, one.error), tau, pull, one.note]

        away = self.difference.pull(0.0)
        rows = [line("plain", self.plain), line("reduced", self)]
        rows.append(["difference", format_error(self.difference.value, self.difference.error), "", f"{away:+.1f}", ""])
        kept = [k for k in range(5) if k < 2 or any(row[k] for row in rows)]
        header = ["", "value", "tau_int", "sigma", "note"]
        text = table([header[k] for k in kept], [[row[k] for k in kept] for row in rows])
        gain = f"gain {format_error(self.gain, self.gain_error)} for a configuration"
        if math.isfinite(self.gain_per_second):
            gain += f", {self.gain_per_second:.3g} per second of generation and reduction"
        rho = f"rho {self.rho:.3g} held out, {self.rho_training:.3g} in training; {self.how}"
        return f"{text}\n{gain}; {rho}\n{self.identity}. {self.topology}."


def reduced_estimate(one: Estimate, **more: object) -> ReducedEstimate:
    """The estimate with what is known of its reduction."""
    own = {part.name: getattr(one, part.name) for part in fields(Estimate)}
    return ReducedEstimate(**own, **more)  # type: ignore[arg-type]


def gain(plain: Floats, reduced: Floats, errors: tuple[Estimate, Estimate], blocks: int = 20) -> tuple[float, float]:
    """The ratio of squared errors, and its error from the ratio of variances on blocks of the series and tau_int.

    Parameters
    ----------
    plain, reduced : ndarray
        Series ``[n, chains]``.
    errors : tuple of Estimate
        Of both.
    """
    a, b = errors
    if not (math.isfinite(a.error) and math.isfinite(b.error) and b.error > 0):
        return math.nan, math.nan
    found = (a.error / b.error) ** 2
    x, y = (one - one.mean() for one in (plain, reduced))
    axis = 0 if len(x) >= x.shape[1] else 1
    parts = np.array_split(np.arange(x.shape[axis]), min(blocks, x.shape[axis]))
    squares = np.array([[np.square(np.take(one, part, axis)).sum() for one in (x, y)] for part in parts])
    rest = squares.sum(0) - squares
    ratios = rest[:, 0] / rest[:, 1]
    relative = math.sqrt((len(parts) - 1) * ratios.var()) / ratios.mean() if len(parts) > 1 else math.nan
    taus = [one.tau_int_error / one.tau_int for one in errors if one.tau_int_error > 0]
    return found, found * math.hypot(relative, *taus)

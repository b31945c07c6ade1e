"""What was measured of a trained flow, as plain data: means, ESS, acceptance, and how often error bars were right."""

import math

from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveInt

from flowkit.stats import format_error


class Data(BaseModel):
    """Plain data of known names, which does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Mean(Data):
    """A mean by reweighting beside what is known of it.

    Parameters
    ----------
    name : str
        Of the observable, or "log_z".
    value, error : float
        What the flow's draws give.
    known, known_error : float or None
        The exact value, whose error is 0, or that of another sampler.
    known_from : str or None
        "exact", or the sampler.

    Examples
    --------
    >>> import flowkit as fk
    >>> mean = fk.zoo.Mean(name="plaquette", value=0.52, error=0.02, known=0.5, known_from="exact")
    >>> round(mean.pull, 3), mean.known_text
    (1.0, '0.5 (exact)')
    """

    name: str
    value: FiniteFloat
    error: FiniteFloat
    known: FiniteFloat | None = None
    known_error: FiniteFloat = 0.0
    known_from: str | None = None

    @property
    def pull(self) -> float | None:
        """The deviation from what is known, in standard errors of both; None where nothing is known."""
        if self.known is None:
            return None
        return (self.value - self.known) / max(1e-300, math.hypot(self.error, self.known_error))

    @property
    def known_text(self) -> str:
        """What is known, as text; empty where nothing is."""
        if self.known is None:
            return ""
        number = format_error(self.known, self.known_error) if self.known_error else f"{self.known:.8g}"
        return f"{number} ({self.known_from})"


class Measured(Data):
    """What draws on one lattice show.

    Parameters
    ----------
    lattice : tuple of int
        The sides.
    draws : int
        Independent draws.
    ess, ess_error : float
        Effective sample size, dimensionless, in (0, 1].
    acceptance : float
        Of independence Metropolis.
    means : tuple of Mean
        Observables and ln Z.
    milliseconds : float
        Of processor time for one draw with its weight, on the machine of the training.

    Examples
    --------
    >>> import flowkit as fk
    >>> [one.lattice for one in fk.zoo.card("u1-2d-beta2").measured]
    [(16, 16), (32, 32), (64, 64)]
    """

    lattice: tuple[PositiveInt, ...]
    draws: PositiveInt
    ess: FiniteFloat
    ess_error: FiniteFloat
    acceptance: FiniteFloat
    means: tuple[Mean, ...]
    milliseconds: FiniteFloat


class Coverage(Data):
    """How often an error bar held what is known.

    Parameters
    ----------
    observable : str
        Of which means were taken.
    estimates, draws : int
        Independent means, each of so many draws.
    share, error : float
        Of those within one standard error, 0.683 where errors are right, and its own standard error.

    Examples
    --------
    >>> import flowkit as fk
    >>> found = fk.zoo.card("u1-2d-beta2").coverage[0]
    >>> abs(found.share - 0.683) < 4 * found.error
    True
    """

    observable: str
    estimates: PositiveInt
    draws: PositiveInt
    share: FiniteFloat
    error: FiniteFloat

"""Estimates with errors: means and ratios of Markov chains, by the Gamma method.

Monte Carlo time is the first axis: chains [n, chains] or one chain [n]. Errors are one standard error. The integrated
autocorrelation time tau_int is in units of the stored steps and 1/2 for independent data, so that N values of one
mean are worth N / (2 tau_int) independent ones (Wolff, hep-lat/0306017; pyerrors, 2209.14371).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from flowkit.checks import NotNegative, checked
from flowkit.stats.autocorrelation import SHORTEST, Floats, constant, gamma, series, too_short
from flowkit.stats.text import format_error

CALIBRATED = 200.0
"""Independent values from which on errors cover 68 %, as measured on AR(1) chains."""
CAUTION = 0.25
"""Errors are those of a tau_int larger by so many of its own errors.

Which runs have enough independent values is decided by the estimated tau_int, and those that underestimate it pass more
often. Of AR(1) chains with 200 independent values on average, those that pass cover 65 to 68 %, and 64 to 66 % without
this.
"""
HOPELESS = 10.0
"""Independent values below which errors mean nothing, as measured on AR(1) chains."""


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its error.

    A cell of a notebook that ends in one shows value(error); ``float()`` gives the value. Sums, ratios and functions of
    means need their correlation, which numbers and errors do not hold: `Ensemble.derived` and `Ensemble.obs` have it.

    Parameters
    ----------
    value, error : float
        The number and one standard error. The error is NaN where the data cannot give one, and `note` says why.
    tau_int, tau_int_error : float
        Integrated autocorrelation time in units of the stored steps, 1/2 for independent data, and one standard error,
        0 where independence was declared.
    n : int
        Number of values, all chains together.
    note : str
        A warning about the error, such as "not calibrated: ..."; empty where there is none.
    exact : float or None
        The exact number, where one is known.
    every : int
        Sampler steps from one stored step to the next.

    Examples
    --------
    >>> import flowkit as fk
    >>> plaquette = fk.stats.Estimate(0.69781, 0.00021, 0.52, 0.02, 10_000, exact=0.697775)
    >>> print(plaquette)
    0.69781(21)  tau_int 0.520(20)  exact 0.697775, +0.2 sigma
    >>> plaquette.within(sigmas=1)
    True
    """

    value: float
    error: float
    tau_int: float
    tau_int_error: float
    n: int
    note: str = ""
    exact: float | None = None
    every: int = 1

    def pull(self, exact: float | None = None) -> float:
        """(value - exact) / error, in standard errors; NaN where there is no error.

        ValueError where no exact value is given or known.
        """
        reference = self.exact if exact is None else exact
        if reference is None:
            raise ValueError("A pull compares with an exact value; this Estimate knows none, so give one.")
        if self.error == 0:
            return math.copysign(math.inf, self.value - reference) if self.value != reference else 0.0
        return (self.value - reference) / self.error

    def within(self, exact: float | None = None, sigmas: float = 3.0) -> bool:
        """Whether the exact value lies within so many standard errors; never where there is no error."""
        return abs(self.pull(exact)) <= sigmas

    def __float__(self) -> float:
        return float(self.value)

    def __repr__(self) -> str:
        return f"Estimate({self})"

    def __str__(self) -> str:
        text = format_error(self.value, self.error)
        if self.tau_int_error > 0:
            unit = f" x {self.every} steps" if self.every > 1 else ""
            text += f"  tau_int {format_error(self.tau_int, self.tau_int_error)}{unit}"
        if self.exact is not None:
            away = f", {self.pull():+.1f} sigma" if math.isfinite(self.pull()) else ""
            text += f"  exact {self.exact:.8g}{away}"
        return f"{text}  [{self.note}]" if self.note else text


@checked
def estimate(chains: ArrayLike, *, S: NotNegative = 2.0) -> Estimate:
    r"""The mean over all chains, and its error by the Gamma method.

    Parameters
    ----------
    chains : array_like
        ``[n]`` or ``[n, chains]``: real, finite values in order of Monte Carlo time.
    S : float
        The window W balances truncation and noise for a decay time of S tau_int; 0 declares independent values.

    Returns
    -------
    Estimate
        Its error is NaN where the values are all equal, the window does not fit into the chains, or fewer than 10
        independent values are left; below 200 its note says "not calibrated".

    Raises
    ------
    ValueError
        For another shape, NaN or infinity.

    Notes
    -----
    .. math:: \sigma^2 = \frac{2 \tau_\mathrm{int} + \frac12 \delta\tau_\mathrm{int}}{N} \Gamma(0)
              \Big(1 + \frac{1}{N}\Big), \qquad
              \tau_\mathrm{int} = \Big[ \frac12 + \sum_{t=1}^{W} \frac{\Gamma(t)}{\Gamma(0)} \Big]
              \frac{N + 2 W + 1}{N + 1}

    N is the number of values of all chains together, and delta tau_int the error of tau_int: with it the runs whose
    tau_int comes out too small, which look long enough more often than others, cover their share as well. The last
    factor corrects the bias that comes from deviations from the measured mean in place of the true one ([1]_, eq. 49).

    References
    ----------
    .. [1] U. Wolff, Comput. Phys. Commun. 156 (2004) 143, arXiv:hep-lat/0306017.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> chains = np.random.default_rng(1).normal(size=(500, 8))
    >>> print(fk.stats.estimate(chains, S=0))  # 4,000 values declared independent
    -0.010(16)
    >>> walk = fk.stats.estimate(np.cumsum(chains, 0))  # a random walk has no mean
    >>> walk.error
    nan
    >>> walk.note.split(',')[0]
    'no error: chains of 500 steps are too short for their autocorrelation'
    """
    x = series(chains, "estimate")
    return linearised(float(x.mean()), x, S)


@checked
def ratio(numerator: ArrayLike, denominator: ArrayLike, *, S: NotNegative = 2.0) -> Estimate:
    r"""The ratio of two means with the error of the correlated pair, to first order in the fluctuations.

    Parameters
    ----------
    numerator, denominator : array_like
        a and b, ``[n]`` or ``[n, chains]``, measured on the same configurations.
    S : float
        As for `estimate`.

    Returns
    -------
    Estimate
        <a> / <b>.

    Raises
    ------
    ValueError
        For different shapes, a vanishing <b>, and as for `estimate`.

    Notes
    -----
    With :math:`R = \langle a \rangle / \langle b \rangle` the error is that of the mean of

    .. math:: R + \frac{a_i - R\, b_i}{\langle b \rangle}.

    Examples
    --------
    Common fluctuations cancel:

    >>> import numpy as np, flowkit as fk
    >>> rng = np.random.default_rng(1)
    >>> b = 1 + 0.3 * rng.normal(size=1000)
    >>> print(fk.stats.ratio(2 * b + 0.01 * rng.normal(size=1000), b, S=0))
    2.00028(33)
    """
    a, b = series(numerator, "ratio"), series(denominator, "ratio")
    if a.shape != b.shape:
        raise ValueError(f"ratio takes two series of one shape; got {list(a.shape)} and {list(b.shape)}.")
    if b.mean() == 0:
        raise ValueError("ratio divides by the mean of the second series, and that is zero.")
    r = a.mean() / b.mean()
    return linearised(float(r), r + (a - r * b) / b.mean(), S)


def linearised(
    value: float,
    fluctuations: Floats,
    S: float,
    worth: float = 1.0,
    why: str = "",
    unchanging: str = "no error: all values are equal",
) -> Estimate:
    """An Estimate from the series of its linearised fluctuations, ``[n, chains]``.

    `worth` is the share of the values that counts (the ESS of weighted ones), and `why` its name in the note.
    `unchanging` is the note where the series does not change; if empty, the error is then zero.
    """
    n, total, same = len(fluctuations), fluctuations.size, constant(fluctuations)

    def without_error(note: str, tau: float = math.nan, tau_error: float = math.nan) -> Estimate:
        return Estimate(value, math.nan, tau, tau_error, total, f"no error: {note}")

    if same and unchanging:
        return Estimate(value, math.nan, math.nan, math.nan, total, unchanging)
    if S == 0 or same:
        tau, tau_error = 0.5, 0.0
        error = float(fluctuations.std(ddof=1) / math.sqrt(total)) if total > 1 else 0.0
    else:
        if n < SHORTEST:
            return without_error(f"chains of {n} steps give no autocorrelation time, which needs at least {SHORTEST}")
        error, found = gamma(fluctuations, S)
        tau, tau_error = found.tau_int, found.tau_int_error
        error *= math.sqrt(1 + CAUTION * tau_error / tau)
        if not found.complete:
            return without_error(f"{too_short(n)}, tau_int above {tau:.2g}")
    count = total * worth / (2 * tau)
    values = f"{count:.0f} independent values{why}"
    if count < HOPELESS:
        return without_error(f"{values}, at least {HOPELESS:.0f} are needed", tau, tau_error)
    note = "" if count >= CALIBRATED else f"not calibrated: {values}, {CALIBRATED:.0f} are needed"
    return Estimate(value, error, tau, tau_error, total, note)

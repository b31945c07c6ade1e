"""Whether chains agree with each other and with themselves at other times, without an estimate of their tau_int."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flowkit.checks import Fraction, checked
from flowkit.stats.autocorrelation import SHORTEST, Floats, constant, gamma, series

LEVEL = 0.001
"""Rate of false alarms of each test of `agreement`."""
SEGMENTS = 4
"""Parts of equal length into which chains are cut."""
ENOUGH = 4
"""Fewest chains whose scatter gives an error."""


@dataclass(frozen=True)
class Agreement:
    """What chains say about their own equilibrium; `agreement` returns it.

    Parameters
    ----------
    start_p : float
        p-value of the first tenth of the chains against their second half; NaN where they are too short.
    drift_p : float
        p-value of equal means in four parts of Monte Carlo time.
    chains_p : float
        p-value of equal means of all chains.
    still : tuple of int
        Numbers of the chains whose value never changed, where others changed.
    rhat : float
        Rank-normalised split R-hat, 1 for chains that agree; NaN where it cannot be told.
    notes : tuple of str
        What is wrong, in a sentence each; empty where nothing is.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> chains = np.random.default_rng(1).normal(size=(400, 8))
    >>> fk.stats.agreement(chains).notes
    ()
    >>> chains[:, 3] += 0.5
    >>> fk.stats.agreement(chains).notes
    ('chains disagree (p = 1e-05)',)
    """

    start_p: float
    drift_p: float
    chains_p: float
    still: tuple[int, ...]
    rhat: float
    notes: tuple[str, ...]


@checked
def agreement(chains: ArrayLike, *, level: Fraction = LEVEL) -> Agreement:
    r"""Test chains for a start that shows, for a drift, and for chains that stay in places of their own.

    Parameters
    ----------
    chains : array_like
        ``[n]`` or ``[n, chains]``: real, finite values in order of Monte Carlo time.
    level : float
        p-value below which a test is told in the notes.

    Returns
    -------
    Agreement
        With fewer than four chains the errors of the Gamma method decide about start and drift, and nothing is said of
        chains that disagree. Fewer than 16 steps, or equal values throughout, give NaN and no notes.

    Raises
    ------
    ValueError
        For another shape, NaN or infinity.

    Notes
    -----
    Chains are independent of each other, so that their scatter gives every error and no tau_int is needed:

    1. start: the differences between the mean of the first tenth of a chain and the mean of its second half are
       independent numbers of mean zero, one for each chain (Student's t);
    2. drift and chains: with :math:`m_{kc}` the mean of part k of chain c, the two-way analysis of variance

       .. math:: F_\mathrm{drift} = \frac{C \sum_k (m_{k\cdot} - m)^2 / (K - 1)}{s^2}, \qquad
                 F_\mathrm{chains} = \frac{K \sum_c (m_{\cdot c} - m)^2 / (C - 1)}{s^2}, \qquad
                 s^2 = \frac{\sum_{kc} (m_{kc} - m_{k\cdot} - m_{\cdot c} + m)^2}{(K - 1)(C - 1)}

       with K = 4. Chains whose parts are longer than a few tau_int pass it, those that are stuck do not.

    References
    ----------
    J. Geweke, Bayesian Statistics 4 (1992) 169, for the start. A. Vehtari et al., Bayesian Anal. 16 (2021) 667,
    arXiv:1903.08008, for R-hat.

    Examples
    --------
    Chains that began far from equilibrium:

    >>> import numpy as np, flowkit as fk
    >>> chains = np.random.default_rng(1).normal(size=(400, 8))
    >>> chains += 3 * np.exp(-np.arange(400) / 20)[:, None]
    >>> fk.stats.agreement(chains).notes[0]
    'not thermalised: the first tenth lies off the second half (p = 2e-08)'
    """
    x = series(chains, "agreement")
    n, c = x.shape
    nothing = float("nan")
    if n < 4 * SEGMENTS or constant(x):
        return Agreement(nothing, nothing, nothing, (), nothing, ())
    still = tuple(int(k) for k in np.flatnonzero(np.ptp(x, axis=0) <= 1e-14 * np.abs(x).max()))
    start = same_mean(x[: n // 10], x[n // 2 :]) if n >= 40 else nothing
    if c < ENOUGH:
        drift, between = same_mean(x[: n // 2], x[n // 2 :]), nothing
    else:
        drift, between = _two_ways(np.stack([part.mean(0) for part in np.array_split(x, SEGMENTS)]))
    notes = []
    if start < level:
        notes.append(f"not thermalised: the first tenth lies off the second half (p = {start:.0e})")
    elif drift < level:
        notes.append(f"not stationary: the mean drifts (p = {drift:.0e})")
    if still:
        named = ", ".join(map(str, still[:4])) + (", ..." if len(still) > 4 else "")
        notes.append(f"{len(still)} of {c} chains never changed (number {named})")
    elif between < level:
        notes.append(f"chains disagree (p = {between:.0e})")
    return Agreement(start, drift, between, still, _rhat(x), tuple(notes))


def vanishes(chains: ArrayLike) -> float:
    """The p-value of mean zero, from the scatter of the chains alone (Student's t).

    With fewer than four chains the error of the Gamma method takes the place of the scatter.

    Parameters
    ----------
    chains : array_like
        ``[n, chains]``: real, finite values of independent chains.

    Returns
    -------
    float
        NaN where all chains have one mean, or fewer than four chains have fewer than 8 steps.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> chains = np.random.default_rng(1).normal(size=(400, 8))
    >>> fk.stats.vanishes(chains) > 0.01, fk.stats.vanishes(chains + 0.2) < 0.01
    (True, True)
    """
    from scipy.special import ndtr, stdtr

    x = series(chains, "vanishes")
    means = x.mean(0)
    if len(means) >= ENOUGH:
        if constant(means):
            return float("nan")
        t = means.mean() / (means.std(ddof=1) / np.sqrt(len(means)))
        return float(2 * stdtr(len(means) - 1, -abs(t)))
    if len(x) < SHORTEST or constant(x):
        return float("nan")
    return float(2 * ndtr(-abs(x.mean()) / gamma(x, 2.0)[0]))


def same_mean(a: Floats, b: Floats) -> float:
    """p-value of equal means of two stretches of the same chains; of few chains, with the tau_int of the second."""
    from scipy.special import ndtr

    if a.shape[1] >= ENOUGH:
        return vanishes((a.mean(0) - b.mean(0))[None])
    if len(b) < SHORTEST or constant(b):
        return float("nan")
    error = gamma(b, 2.0)[0] * np.sqrt(1 + len(b) / len(a))
    return float(2 * ndtr(-abs(a.mean() - b.mean()) / error))


def _two_ways(m: Floats) -> tuple[float, float]:
    """p-values of equal rows and of equal columns, by the analysis of variance."""
    from scipy.special import fdtrc

    k, c = m.shape
    row, column = m.mean(1, keepdims=True) - m.mean(), m.mean(0, keepdims=True) - m.mean()
    rest = float(((m - row - column - m.mean()) ** 2).sum()) / ((k - 1) * (c - 1))
    scale = max(rest, 1e-28 * float((m**2).mean()), 1e-300)
    f_row, f_column = c * (row**2).sum() / (k - 1) / scale, k * (column**2).sum() / (c - 1) / scale
    return float(fdtrc(k - 1, (k - 1) * (c - 1), f_row)), float(fdtrc(c - 1, (k - 1) * (c - 1), f_column))


def _rhat(x: Floats) -> float:
    """The split R-hat of normal scores of the ranks."""
    from scipy.special import ndtri

    half = len(x) // 2
    split = np.concatenate([x[:half], x[half : 2 * half]], 1)
    _, place, counts = np.unique(split, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[place].reshape(split.shape)  # equal values share the mean of theirs
    scores = ndtri((ranks - 0.375) / (split.size + 0.25))
    within, between = scores.var(0, ddof=1).mean(), half * scores.mean(0).var(ddof=1)
    return float(np.sqrt((half - 1) / half + between / (half * within))) if within > 0 else float("inf")

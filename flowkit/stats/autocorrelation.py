"""The autocorrelation of Markov chains, by the Gamma method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowkit.checks import Natural, NotNegative, checked, shown

Floats = NDArray[np.float64]

SHORTEST = 8
"""Fewest steps of a chain for which an autocorrelation time is estimated."""

_NAME = "chains"


@dataclass(frozen=True)
class Autocorrelation:
    r"""The autocorrelation of one observable, to be plotted; what `autocorrelation` returns.

    Parameters
    ----------
    rho : ndarray
        :math:`\rho(t) = \Gamma(t) / \Gamma(0)` for t = 0, 1, ..., in stored steps.
    tau : ndarray
        :math:`\frac12 + \sum_{s=1}^{t} \rho(s)`: tau_int as a function of the t where its sum ends.
    tau_error : ndarray
        One standard error of `tau`.
    window : int
        The t where the automatic procedure ends the sum.
    tau_int, tau_int_error : float
        `tau` at the window with its bias corrected, and one standard error, in stored steps: those of `estimate`.
    complete : bool
        Whether the window fits into half of the chains; otherwise tau_int is a lower bound.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> found = fk.stats.autocorrelation(np.random.default_rng(1).normal(size=(1000, 4)))  # independent values
    >>> print(f"{found.tau_int:.1f}", found.window, found.complete)
    0.5 2 True
    """

    rho: Floats
    tau: Floats
    tau_error: Floats
    window: int
    tau_int: float
    tau_int_error: float
    complete: bool


@checked
def autocorrelation(chains: ArrayLike, *, S: NotNegative = 2.0) -> Autocorrelation:
    r"""Autocorrelation function, running tau_int and window of Markov chains.

    Parameters
    ----------
    chains : array_like
        ``[n]`` or ``[n, chains]``: real, finite values in order of Monte Carlo time.
    S : float
        The window balances truncation and noise for a decay time of S tau_int.

    Returns
    -------
    Autocorrelation
        Up to n / 2 stored steps.

    Raises
    ------
    ValueError
        For fewer than 8 steps, for values that are all equal, and for another shape, NaN or infinity.

    Notes
    -----
    .. math:: \Gamma(t) = \big\langle (a_s - \bar a)(a_{s+t} - \bar a) \big\rangle_s, \qquad
              \tau_\mathrm{int} = \frac12 + \sum_{t=1}^{W} \frac{\Gamma(t)}{\Gamma(0)}

    with one mean for all chains, so that a chain that stays in one place raises tau_int.

    References
    ----------
    U. Wolff, Comput. Phys. Commun. 156 (2004) 143, arXiv:hep-lat/0306017.

    Examples
    --------
    A chain with :math:`\rho(t) = a^t` has tau_int = (1 + a) / (2 - 2a), here 1.5:

    >>> import numpy as np, flowkit as fk
    >>> rng, chain = np.random.default_rng(1), np.zeros(20_000)
    >>> for t in range(1, 20_000):
    ...     chain[t] = 0.5 * chain[t - 1] + rng.normal()
    >>> found = fk.stats.autocorrelation(chain)
    >>> print(f"{found.tau_int:.2f} +- {found.tau_int_error:.2f}", found.rho[:4].round(2))
    1.48 +- 0.08 [1.   0.49 0.24 0.12]
    """
    x = series(chains, "autocorrelation")
    if len(x) < SHORTEST or constant(x):
        what = f"{len(x)} steps" if len(x) < SHORTEST else "values that are all equal"
        raise ValueError(f"autocorrelation needs at least {SHORTEST} steps of a value that changes; got {what}.")
    return gamma(x, S)[1]


@checked
def too_short(steps: Natural) -> str:
    """The note on chains of so many steps into which the window of their autocorrelation does not fit.

    Examples
    --------
    >>> from flowkit import stats
    >>> stats.too_short(50)
    'chains of 50 steps are too short for their autocorrelation'
    """
    return f"chains of {steps} steps are too short for their autocorrelation"


def series(values: Any, who: str) -> Floats:
    """Values as float64 ``[n, chains]``; ValueError for another shape, NaN or infinity."""
    try:
        x = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths, among others
        raise ValueError(f"{who} takes real series [n] or [n, chains]; got {shown(values)}.") from None
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or x.size == 0 or x.dtype.kind not in "fiub":
        raise ValueError(f"{who} takes real series [n] or [n, chains]; got {x.dtype} {list(np.shape(x))}.")
    bad = int((~np.isfinite(x)).sum())
    if bad:
        raise ValueError(f"{who} takes finite values; got {bad} NaN or infinite among {x.size}.")
    return x.astype(np.float64)


def constant(x: Floats) -> bool:
    """Whether the values differ by rounding alone."""
    return bool(np.ptp(x) <= 1e-14 * np.abs(x).max())


def gamma(x: Floats, S: float) -> tuple[float, Autocorrelation]:
    """The error of the mean and the autocorrelation by pyerrors, the chains as replica of one ensemble.

    pyerrors subtracts from each replicum its own mean, but corrects the bias of one common mean (hep-lat/0306017,
    eq. 49): with 16 chains of 15 tau_int each, errors come out 30 % too small. Chains from one law have one mean, so
    the common one is subtracted here; a chain that is stuck then shows as autocorrelation instead of vanishing.
    """
    import pyerrors  # it brings matplotlib and takes seconds to import

    names = [f"{_NAME}|{i:06d}" for i in range(x.shape[1])]
    obs = pyerrors.Obs(list(x.T), names)
    for name, chain in zip(names, x.T, strict=True):
        obs.deltas[name] = chain - obs.value
    obs.gamma_method(S=float(S))
    rho, count = obs.e_rho[_NAME], x.size
    window, tau = int(obs.e_windowsize[_NAME]), float(obs.e_tauint[_NAME])
    running, running_error = obs.e_n_tauint[_NAME], obs.e_n_dtauint[_NAME]
    error, tau_error = float(obs.dvalue), float(obs.e_dtauint[_NAME])
    if rho[1] < 0:  # pyerrors sets every sum below 1/2 to 1/2
        running = np.cumsum(np.concatenate([[0.5], rho[1:]]))
        window = _window(rho, S, count)
        positive = np.flatnonzero(running[: window + 1] > 0)
        window = int(positive[-1])
        running_error = 2 * np.abs(running) * np.sqrt(np.abs(np.arange(len(rho)) + 0.5 - running) / count)
        corrected = float(running[window]) * (1 + (2 * window + 1) / count) / (1 + 1 / count)
        error *= float(np.sqrt(corrected / tau))
        tau, tau_error = corrected, float(running_error[window])
    return error, Autocorrelation(rho, running, running_error, window, tau, tau_error, window < len(x) // 2 - 1)


def _window(rho: Floats, S: float, count: int) -> int:
    """Where to end the sum of a correlation that changes its sign: the automatic window of its absolute value."""
    t = np.arange(1, len(rho))
    decay = 0.5 + np.cumsum(np.abs(rho[1:])) + 1e-12
    scale = S / np.log((2 * decay + 1) / (2 * decay - 1))
    ends = np.flatnonzero(np.exp(-t / scale) - scale / np.sqrt(t * count) < 0)
    return int(ends[0]) + 1 if len(ends) else len(rho) - 1

"""How heavy the tail of importance weights is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from flowkit.stats.autocorrelation import series


def pareto_k(logw: ArrayLike) -> float:
    r"""The shape k of a generalised Pareto distribution fitted to the largest weights.

    Moments of the weights exist up to the order 1 / k: below k = 1/2 their variance is finite, from k = 0.7 on means
    of weighted samples are not reliable at any practical number of samples.

    Parameters
    ----------
    logw : array_like
        log w of independent samples, ``[n]`` or ``[n, chains]``, up to a constant.

    Returns
    -------
    float
        k, dimensionless, negative for bounded weights; NaN for fewer than 50 samples and for equal weights.

    Raises
    ------
    ValueError
        For another shape, NaN or infinity.

    Notes
    -----
    The :math:`M = \min(n / 5, 3 \sqrt n)` largest weights above the next one, u, follow
    :math:`P(w - u > t) = (1 + k t / \sigma)^{-1/k}`. k is the posterior mean of Zhang and Stephens, drawn towards 1/2
    with the strength of ten samples.

    References
    ----------
    A. Vehtari, D. Simpson, A. Gelman, Y. Yao and J. Gabry, J. Mach. Learn. Res. 25 (2024) 72, arXiv:1507.02646.
    J. Zhang and M. A. Stephens, Technometrics 51 (2009) 316.

    Examples
    --------
    The proposal :math:`e^{-x}` for the target :math:`e^{-x/2}/2` has :math:`w \propto e^{x/2}`, so that k = 1/2:

    >>> import numpy as np, flowkit as fk
    >>> x = np.random.default_rng(1).exponential(size=100_000)
    >>> round(fk.stats.pareto_k(x / 2), 1)
    0.5
    """
    x = np.sort(series(logw, "pareto_k").ravel())
    n = len(x)
    if n < 50 or x[-1] - x[0] < 1e-9:
        return float("nan")
    largest = int(min(n / 5, 3 * np.sqrt(n)))
    w = np.exp(x - x[-1])
    excess = w[-largest:] - w[-largest - 1]
    if not excess[0] > 0:
        excess = excess[excess > 0]
        if len(excess) < 5:
            return float("nan")
    m = len(excess)
    grid = np.arange(1, 31 + int(np.sqrt(m)))
    b = 1 / excess[-1] + (1 - np.sqrt((grid[-1] + 0.5) / (grid - 0.5))) / (3 * excess[int(m / 4 + 0.5) - 1])
    k = np.log1p(-b[:, None] * excess).mean(1)
    profile = m * (np.log(-b / k) - k - 1)
    weights = np.exp(profile - profile.max())
    best = float((b * weights).sum() / weights.sum())
    fitted = float(np.log1p(-best * excess).mean())
    return (m * fitted + 10 * 0.5) / (m + 10)

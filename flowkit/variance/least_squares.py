"""Least squares of observables on columns whose means vanish."""

import numpy as np

from flowkit.stats import Floats

FLAT = 1e-11
"""Spread of a column, beside its largest value, below which it counts as constant."""
ROUNDING = 1e-13
"""Spread below which a column is rounding: potentials are sums of numbers of order one."""
RANK = 1e-9
"""Singular values, beside the largest one, below which columns count as dependent."""


def least_squares(y: Floats, columns: Floats, weights: Floats | None = None) -> Floats:
    r"""Coefficients c that minimise the variance of :math:`y - \sum_k c_k T_k`.

    Constant columns get the coefficient 0, and so do the dependent directions of the others.

    Parameters
    ----------
    y : ndarray
        ``[n]``.
    columns : ndarray
        ``[n, K]``.
    weights : ndarray, optional
        Of the rows, ``[n]``.

    Returns
    -------
    ndarray
        ``[K]``.

    Raises
    ------
    ValueError
        For fewer than K + 2 rows.

    Examples
    --------
    >>> import numpy as np
    >>> from flowkit.variance.least_squares import least_squares
    >>> T = np.random.default_rng(1).normal(size=(50, 3)) * [1, 1e-6, 0]
    >>> least_squares(1 + 2 * T[:, 0] - 3e6 * T[:, 1], T).round(6)
    array([ 2.e+00, -3.e+06,  0.e+00])
    """
    n, count = columns.shape
    if n < count + 2:
        raise ValueError(f"{count} coefficients need {count + 2} values or more to be fitted to; got {n}.")
    w = np.ones(n) if weights is None else weights / weights.mean()
    root = np.sqrt(w)[:, None]
    centred = columns - (w[:, None] * columns).mean(0)
    spread = np.sqrt((w[:, None] * centred**2).mean(0))
    keep = (spread > FLAT * np.abs(columns).max(0)) & (spread > ROUNDING)
    found = np.zeros(count)
    if keep.any():
        scaled = root * centred[:, keep] / spread[keep]
        found[keep] = np.linalg.lstsq(scaled, root[:, 0] * (y - (w * y).mean()), rcond=RANK)[0] / spread[keep]
    return found


def share(residual: Floats, y: Floats, weights: Floats | None = None) -> float:
    """rho: the variance of a residual over that of the observable."""
    w = np.ones(len(y)) if weights is None else weights / weights.mean()

    def variance(x: Floats) -> float:
        return float((w * (x - (w * x).mean()) ** 2).mean())

    whole = variance(y)
    return variance(residual) / whole if whole > 0 else float("nan")

"""The joint test that the means of all T grad W_k vanish."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from flowkit import stats
from flowkit.stats import Floats

BLIND = "It does not see topology: a smooth field moves no configuration to another sector"


@dataclass(frozen=True)
class Identity:
    r"""The joint chi^2 of <T grad W_k> = 0 over the potentials of a basis.

    It tests action, force and thermalisation. It does not see topology, nor any other barrier that a smooth motion does
    not cross: the means vanish within each sector.

    Parameters
    ----------
    chi2 : float
        The sum of squared means over their errors, of the principal components.
    components : int
        Their number.
    p : float
        The probability of a larger chi^2, if all is well.

    Examples
    --------
    >>> from flowkit.variance import Identity
    >>> print(Identity(chi2=3.1, components=4, p=0.54))
    chi^2 of <T v> = 0: 3.1 of 4, p = 0.54
    """

    chi2: float
    components: int
    p: float

    def __str__(self) -> str:
        if not self.components:
            return "chi^2 of <T v> = 0: too few values"
        return f"chi^2 of <T v> = 0: {self.chi2:.1f} of {self.components}, p = {self.p:.2g}"


def identity(columns: Floats, weights: Floats | None = None) -> Identity:
    """The test of columns ``[n, chains, K]``, each principal component with its own autocorrelation.

    Parameters
    ----------
    columns : ndarray
        T grad W_k.
    weights : ndarray, optional
        ``[n, chains]``.
    """
    n, chains, count = columns.shape
    flat = columns.reshape(-1, count)
    spread = flat.std(0)
    varies = spread > 1e-11 * np.abs(flat).max(initial=0.0)
    flat = flat[:, varies] / spread[varies]
    if not flat.size:
        return Identity(0.0, 0, math.nan)
    values, axes = np.linalg.eigh(np.cov(flat.T).reshape(flat.shape[1], -1))
    components = flat @ axes[:, values > 1e-9 * values.max()]
    logw = None if weights is None else np.log(np.maximum(weights, np.finfo(float).tiny))  # some underflow
    pulls = []
    for one in components.T:
        series = one.reshape(n, chains)
        found = stats.estimate(series) if logw is None else stats.reweighted(series, logw)
        if math.isfinite(found.error) and found.error > 0:
            pulls.append(found.value / found.error)
    if not pulls:
        return Identity(0.0, 0, math.nan)
    chi2 = float(np.square(pulls).sum())
    return Identity(chi2, len(pulls), float(special.chdtrc(len(pulls), chi2)))

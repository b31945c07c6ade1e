"""Whether the tail of a flow's weights is seen: a test against configurations of another sampler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flowkit.checks import Fraction, NotNegative, checked
from flowkit.stats.autocorrelation import SHORTEST, constant, gamma, series
from flowkit.stats.weights import effective


@dataclass(frozen=True)
class TailCheck:
    """What another sampler's configurations say about the tail of a flow's weights; `tail_check` returns it.

    Parameters
    ----------
    alarm : bool
        Whether they show a tail that makes the flow's error bars too small.
    p_value : float
        Probability of so many large weights from a flow without such a tail, corrected for the thresholds tried.
    unseen : float
        Share of the target whose weight is above that of every sample of the flow.
    n_flow, n_other : int
        Samples of the flow, and independent configurations of the other sampler.
    verdict : str
        The result in a sentence, which `print` shows.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> rng = np.random.default_rng(1)
    >>> check = fk.stats.tail_check(0.1 * rng.normal(size=1000), 0.1 * rng.normal(size=100))
    >>> print(str(check).split(" (")[0])
    No sign of a tail beyond the flow's 1000 draws
    """

    alarm: bool
    p_value: float
    unseen: float
    n_flow: int
    n_other: int
    verdict: str

    def __str__(self) -> str:
        return self.verdict


@checked
def tail_check(
    logw_flow: ArrayLike, logw_other: ArrayLike, *, level: Fraction = 0.01, shift: NotNegative = 0.06
) -> TailCheck:
    r"""Test whether the target has configurations of larger weight than the flow's own samples show.

    Parameters
    ----------
    logw_flow : array_like
        log w of independent samples of the flow, ``[n]`` with n >= 100.
    logw_other : array_like
        log w = -S - log q, with the same constant, of configurations from HMC, heatbath, ..., ``[m]`` or
        ``[m, chains]``. Chains are thinned to a distance of 2 tau_int of log w.
    level : float
        Rate of false alarms for a flow without a tail.
    shift : float
        Size of a missing tail that raises no alarm, dimensionless; see Notes.

    Returns
    -------
    TailCheck
        Alarm, p-value, and a verdict in a sentence.

    Raises
    ------
    ValueError
        For fewer than 100 samples of the flow, NaN or infinity.

    Notes
    -----
    Under the target, log w has the law of the flow's samples reweighted by w. At the 1st, 3rd, 10th and 30th largest
    weight t of the flow, the share of the other sampler's configurations above t is compared with the share of weight
    that the flow's samples have above t. Two hypotheses are tested, and the larger p-value counts:

    1. Both samples follow one law, as for a perfect flow: an exact rank (hypergeometric) test for any sample size.
    2. The target's share above t is at most the flow's, plus three of its standard errors, plus
       :math:`\mathrm{shift} / \sqrt{n\,\mathrm{ESS}}`: a binomial test. A share e above t that the samples miss moves a
       mean by e times its distance in the tail; at a distance of four standard deviations shift = 0.06 is a quarter of
       an error bar.

    Examples
    --------
    A flow that misses a mode: 5 % of the target has a weight that no sample of the flow shows.

    >>> import numpy as np, flowkit as fk
    >>> rng = np.random.default_rng(1)
    >>> flow, hmc = 0.1 * rng.normal(size=1000), 0.1 * rng.normal(size=500)
    >>> fk.stats.tail_check(flow, hmc).alarm
    False
    >>> hmc[::20] += 5.0
    >>> check = fk.stats.tail_check(flow, hmc)
    >>> check.alarm, check.unseen
    (True, 0.05)
    """
    from scipy.stats import binom, hypergeom

    flow = np.sort(series(logw_flow, "tail_check").ravel())[::-1]
    other = series(logw_other, "tail_check")
    if len(flow) < 100:
        raise ValueError(f"tail_check needs at least 100 draws of the flow; got {len(flow)}.")
    if len(other) >= SHORTEST and not constant(other):
        other = other[:: max(1, round(2 * gamma(other, 2.0)[1].tau_int))]
    other = other.ravel()
    n, m = len(flow), len(other)
    w = np.exp(flow - flow[0])
    thresholds = [k for k in (1, 3, 10, 30) if k <= n // 4]
    p_values = []
    for k in thresholds:
        # Rounding must not decide between weights that are equal, as all are for a perfect flow.
        above = int((other > flow[k - 1] + 1e-9 * max(1.0, abs(flow[k - 1]))).sum())
        share = w[: k - 1].sum() / w.sum()
        noise = np.sqrt((w[: k - 1] ** 2).sum()) / w.sum()
        allowed = min(1.0, share + 3 * noise + shift / np.sqrt(n * effective(w)))
        rank = hypergeom.cdf(k - 1, n + m, n, above + k - 1) if above else 1.0
        p_values.append(float(max(rank, binom.sf(above - 1, m, allowed))))
        if k == 1:
            unseen = above / m
    p = min(1.0, len(thresholds) * min(p_values))
    if p < level:
        verdict = (
            f"Warning: the target has a tail that the flow's {n} draws do not show (p = {max(p, 1e-99):.1g}): "
            f"{100 * unseen:.3g} % of {m} independent configurations weigh more than every draw. "
            "Errors from this flow are too small."
        )
    else:
        blind = max(1 - level ** (1 / m), shift / np.sqrt(n * effective(w)))
        verdict = (
            f"No sign of a tail beyond the flow's {n} draws (p = {p:.2g}); one that holds less than "
            f"{100 * blind:.2g} % of the target would not show in {m} independent configurations."
        )
    return TailCheck(p < level, p, unseen, n, m, verdict)

"""Estimates with errors: Gamma method, reweighting, effective sample size, and a look at the tails of the weights.

Monte Carlo time is the first axis: chains [n, chains] or one chain [n]. Errors are one standard error. The integrated
autocorrelation time tau_int is in units of the stored steps and 1/2 for independent data, so that N values of one
mean are worth N / (2 tau_int) independent ones (Wolff, hep-lat/0306017; pyerrors, 2209.14371).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Measured on AR(1) chains: errors cover 68 % from about 100 independent values on, and below ten they mean nothing.
CALIBRATED = 100.0
HOPELESS = 10.0


@dataclass(frozen=True)
class Estimate:
    """A number with its error, `0.69781(21)  tau_int 0.52(2)`.

    value, error              one standard error; NaN where the data cannot give one, and `note` says why
    tau_int, tau_int_error    in units of the stored steps, 1/2 for independent data; error 0 where that was declared
    n                         number of values behind it, all chains together
    note                      what to know before the error is believed; empty where nothing is
    exact                     the exact number, where one is known
    every                     sampler steps from one stored step to the next
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

        Raises    ValueError where no exact value is given or known
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

    def __str__(self) -> str:
        text = format_error(self.value, self.error)
        if self.tau_int_error > 0:
            unit = f" x {self.every} steps" if self.every > 1 else ""
            text += f"  tau_int {format_error(self.tau_int, self.tau_int_error)}{unit}"
        if self.exact is not None:
            away = f", {self.pull():+.1f} sigma" if math.isfinite(self.pull()) else ""
            text += f"  exact {self.exact:.8g}{away}"
        return f"{text}  [{self.note}]" if self.note else text


def format_error(value: float, error: float) -> str:
    """0.69781, 0.00021 -> "0.69781(21)": two digits of the error, as many decimals of the value."""
    if not math.isfinite(error):
        return f"{value:.6g} (no error)"
    if error == 0:
        return f"{value:.8g}(0)"
    decimals = 1 - math.floor(math.log10(error))
    if round(error * 10.0**decimals) >= 100:  # 0.0996 is 0.10
        decimals -= 1
    if decimals > 12:
        return f"{value:.12g}({error:.1e})"
    if decimals <= 0:
        return f"{round(value, decimals):.0f}({round(error, decimals):.0f})"
    digits = f"{error:.{decimals}f}" if round(error, decimals) >= 1 else f"{round(error * 10**decimals)}"
    return f"{value:.{decimals}f}({digits})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, as wide as their longest entry."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def estimate(chains: ArrayLike, *, S: float = 2.0) -> Estimate:
    """The mean of all chains and its error by the Gamma method.

    error² = 2 tau_int Gamma(0) (1 + 1/N) / N,
    tau_int = [1/2 + sum_{t=1}^{W} Gamma(t) / Gamma(0)] (N + 2 W + 1) / (N + 1),

    N the number of values of all chains together. The last factor corrects the bias that comes with deviations from the
    measured mean instead of the true one (hep-lat/0306017, eq. 49).

    chains    [n] or [n, chains], finite and real
    S         the window W balances truncation and noise for a decay time of S tau_int; 0 declares independent values
    Returns   an Estimate; its error is NaN where the values are all equal, the window does not fit into the chains, or
              fewer than 10 independent values are left; below 100 its note says "not calibrated"
    Raises    ValueError for another shape, NaN or infinity
    """
    x = _chains(chains, "estimate")
    return _estimate(float(x.mean()), x, S)


def ratio(numerator: ArrayLike, denominator: ArrayLike, *, S: float = 2.0) -> Estimate:
    """<a> / <b> with the error of the correlated pair, to first order in the fluctuations.

    numerator, denominator    [n] or [n, chains], measured on the same configurations
    Raises                    ValueError for different shapes, a vanishing <b>, and as `estimate`
    """
    a, b = _chains(numerator, "ratio"), _chains(denominator, "ratio")
    if a.shape != b.shape:
        raise ValueError(f"ratio takes two series of one shape; got {list(a.shape)} and {list(b.shape)}.")
    if b.mean() == 0:
        raise ValueError("ratio divides by the mean of the second series, and that is zero.")
    r = a.mean() / b.mean()
    return _estimate(float(r), r + (a - r * b) / b.mean(), S)


def reweighted(obs: ArrayLike, logw: ArrayLike, *, S: float = 2.0) -> Estimate:
    """<O> = sum_i w_i O_i / sum_i w_i, the mean under the target of draws from another law.

    obs, logw    [n] or [n, chains]; logw up to a constant
    S            as `estimate`: 0 for independent draws of a flow
    Returns      an Estimate; (sum w)² / sum w² takes the place of N where it judges whether the error is calibrated
    Raises       ValueError for different shapes, NaN or infinity
    """
    x, w = _chains(obs, "reweighted"), _weights(logw, "reweighted")
    if x.shape != w.shape:
        raise ValueError(f"reweighted takes one weight for each value; got {list(x.shape)} and {list(w.shape)}.")
    r = (w * x).sum() / w.sum()
    return _estimate(float(r), r + w * (x - r) / w.mean(), S, worth=_ess(w), why=" of equal weight")


def ess(logw: ArrayLike, *, S: float = 0.0) -> Estimate:
    """ESS = <w>² / <w²>, the effective sample size of one draw, in (0, 1]; dimensionless.

    logw       [n] or [n, chains], draws of the flow; up to a constant
    Returns    an Estimate. From few draws the value comes out too high and the error too small, as the largest weights
               are missing: take 8,192 or more. Below 100 effective draws its note says so.
    """
    w = _weights(logw, "ess")
    value = _ess(w)
    series = value * (2 * w / w.mean() - w**2 / (w**2).mean())
    return _estimate(value, series, S, worth=value, why=" of equal weight", constant="")


def log_z(logw: ArrayLike, *, S: float = 0.0) -> Estimate:
    """ln Z = ln <exp(log w)> over draws of the flow, log w = -S - log q; dimensionless."""
    x = _chains(logw, "log_z")
    w = _weights(x, "log_z")
    value = float(x.max() + np.log(w.mean()))
    return _estimate(value, value + w / w.mean() - 1, S, worth=_ess(w), why=" of equal weight", constant="")


def acceptance_from_logw(logw: ArrayLike) -> Estimate:
    """The acceptance of independence Metropolis in equilibrium, E[min(w, w')] / E[w] for two independent draws.

    logw    [n], independent draws of the flow; up to a constant
    """
    w = np.sort(_weights(logw, "acceptance_from_logw").ravel())
    n = len(w)
    if n < 2:
        raise ValueError("acceptance_from_logw compares pairs of draws; got one draw.")
    below = np.concatenate([[0.0], np.cumsum(w)[:-1]])
    with_others = (below + w * np.arange(n - 1, -1, -1)) / (n - 1)  # the mean over the others of min(w_i, w_j)
    pairs = with_others.mean()
    value = pairs / w.mean()
    series = value * (2 * with_others / pairs - w / w.mean())
    return _estimate(float(value), series[:, None], 0.0, worth=_ess(w), why=" of equal weight", constant="")


@dataclass(frozen=True)
class Autocorrelation:
    """The Gamma method of one observable, to be plotted.

    rho          Gamma(t) / Gamma(0) for t = 0, 1, ...
    tau          1/2 + sum_{s=1}^{t} rho(s), the sum for tau_int as a function of where it ends
    tau_error    its standard error
    window       the t where the automatic procedure ends the sum
    tau_int, tau_int_error   tau at the window, its bias corrected, and the error: what `estimate` gives
    complete     whether the window fits into half of the chains; otherwise tau_int is a lower bound
    """

    rho: Floats
    tau: Floats
    tau_error: Floats
    window: int
    tau_int: float
    tau_int_error: float
    complete: bool


def autocorrelation(chains: ArrayLike, *, S: float = 2.0) -> Autocorrelation:
    """Autocorrelation function, running tau_int and window of chains [n] or [n, chains], up to n / 2 stored steps.

    Raises    ValueError for fewer than 8 steps, for values that are all equal, and as `estimate`
    """
    x = _chains(chains, "autocorrelation")
    if len(x) < SHORTEST or _constant(x):
        what = f"{len(x)} steps" if len(x) < SHORTEST else "values that are all equal"
        raise ValueError(f"autocorrelation needs at least {SHORTEST} steps of a value that changes; got {what}.")
    return _gamma(x, S)[1]


def too_short(steps: int) -> str:
    """What is said of chains into which the window does not fit."""
    return f"chains of {steps} steps are too short for their autocorrelation"


@dataclass(frozen=True)
class TailCheck:
    """What another sampler's configurations say about the tail of a flow's weights.

    alarm      whether they show a tail that spoils error bars
    p_value    the chance of so many large weights from a flow without such a tail, corrected for the thresholds tried
    unseen     share of the target whose weight is above that of every draw of the flow
    n_flow, n_other    draws of the flow, and independent configurations of the other sampler
    verdict    a sentence
    """

    alarm: bool
    p_value: float
    unseen: float
    n_flow: int
    n_other: int
    verdict: str

    def __str__(self) -> str:
        return self.verdict


def tail_check(logw_flow: ArrayLike, logw_other: ArrayLike, *, level: float = 0.01, shift: float = 0.06) -> TailCheck:
    """Does the target hold configurations of larger weight than the flow's own draws show?

    Under the target, log w has the law of the flow's draws reweighted by w. At the 1st, 3rd, 10th and 30th largest
    weight t of the flow the share of the other sampler's configurations above t is compared with the share of weight
    that the flow's draws have above t. Two hypotheses are tested, and the larger p-value counts:

    1. both samples are of one law, as for a perfect flow: an exact rank (hypergeometric) test of any sample size;
    2. the target's share above t is at most the flow's, plus three of its standard errors, plus shift / sqrt(n ESS).
       A share e above t that the draws miss moves a mean by e times its distance in the tail, so at a distance of
       four standard deviations shift = 0.06 is a quarter of an error bar. A binomial test.

    logw_flow     [n], independent draws of the flow
    logw_other    [m] or [m, chains], log w = -S - log q on configurations from HMC, heatbath, ...; chains are thinned
                  to a distance of 2 tau_int of log w
    level         rate of false alarms for a flow without a tail
    Raises        ValueError for fewer than 100 draws, NaN or infinity
    """
    from scipy.stats import binom, hypergeom

    flow = np.sort(_chains(logw_flow, "tail_check").ravel())[::-1]
    other = _chains(logw_other, "tail_check")
    if len(flow) < 100:
        raise ValueError(f"tail_check needs at least 100 draws of the flow; got {len(flow)}.")
    if len(other) >= SHORTEST and not _constant(other):
        other = other[:: max(1, round(2 * _gamma(other, 2.0)[1].tau_int))]
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
        allowed = min(1.0, share + 3 * noise + shift / np.sqrt(n * _ess(w)))
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
        blind = max(1 - level ** (1 / m), shift / np.sqrt(n * _ess(w)))
        verdict = (
            f"No sign of a tail beyond the flow's {n} draws (p = {p:.2g}); one that holds less than "
            f"{100 * blind:.2g} % of the target would not show in {m} independent configurations."
        )
    return TailCheck(p < level, p, unseen, n, m, verdict)


_NAME, SHORTEST = "chains", 8  # steps that an autocorrelation needs


def _chains(values: Any, who: str) -> Floats:
    x = np.asarray(values)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or x.size == 0 or x.dtype.kind not in "fiub":
        raise ValueError(f"{who} takes real series [n] or [n, chains]; got {x.dtype} {list(np.shape(values))}.")
    bad = int((~np.isfinite(x)).sum())
    if bad:
        raise ValueError(f"{who} takes finite values; got {bad} NaN or infinite among {x.size}.")
    return x.astype(np.float64)


def _weights(logw: Any, who: str) -> Floats:
    """w / max w."""
    x = _chains(logw, who)
    w: Floats = np.exp(x - x.max())
    return w


def _ess(w: Floats) -> float:
    return float(min(1.0, w.mean() ** 2 / (w**2).mean()))


def _constant(x: Floats) -> bool:
    """Whether the values differ by rounding alone."""
    return bool(np.ptp(x) <= 1e-14 * np.abs(x).max())


def _estimate(
    value: float,
    series: Floats,
    S: float,
    worth: float = 1.0,
    why: str = "",
    constant: str = "no error: all values are equal",
) -> Estimate:
    """An Estimate from the series of its linearised fluctuations.

    worth       the share of the values that counts, the ESS of weighted ones; `why` is its name in the note
    constant    the note where the series does not change; if empty, the error is then zero
    """
    if not isinstance(S, (int, float)) or not 0 <= S < math.inf:
        raise ValueError(f"The window parameter S is a number >= 0, 0 for independent values; got {S!r}.")
    n, total = len(series), series.size
    if _constant(series) and constant:
        return Estimate(value, math.nan, math.nan, math.nan, total, constant)
    if S == 0 or _constant(series):
        tau, tau_error = 0.5, 0.0
        error = float(series.std(ddof=1) / math.sqrt(total)) if total > 1 else 0.0
    else:
        if n < SHORTEST:
            note = f"no error: chains of {n} steps tell no autocorrelation"
            return Estimate(value, math.nan, math.nan, math.nan, total, note)
        error, found = _gamma(series, S)
        tau, tau_error = found.tau_int, found.tau_int_error
        if not found.complete:
            note = f"no error: {too_short(n)}, tau_int above {tau:.2g}"
            return Estimate(value, math.nan, math.nan, math.nan, total, note)
    count = total * worth / (2 * tau)
    values = f"{count:.0f} independent values{why}"
    if count < HOPELESS:
        return Estimate(
            value, math.nan, tau, tau_error, total, f"no error: {values}, at least {HOPELESS:.0f} are needed"
        )
    note = "" if count >= CALIBRATED else f"not calibrated: {values}, {CALIBRATED:.0f} are needed"
    return Estimate(value, error, tau, tau_error, total, note)


def _gamma(x: Floats, S: float) -> tuple[float, Autocorrelation]:
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
    window = int(obs.e_windowsize[_NAME])
    return float(obs.dvalue), Autocorrelation(
        obs.e_rho[_NAME],
        obs.e_n_tauint[_NAME],
        obs.e_n_dtauint[_NAME],
        window,
        float(obs.e_tauint[_NAME]),
        float(obs.e_dtauint[_NAME]),
        window < len(x) // 2 - 1,
    )

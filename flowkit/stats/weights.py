"""Weighted samples of a flow: reweighting, effective sample size, ln Z and acceptance, each with an error.

The weights are w = exp(-S) / q at samples x ~ q, given by log w = -S - log q. The largest log w is subtracted before
the exponential, so that no weight overflows. Every error is that of a mean of linearised fluctuations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit.checks import NotNegative, checked
from flowkit.stats.autocorrelation import Floats, series
from flowkit.stats.estimates import Estimate, linearised

_EQUAL = " of equal weight"


@checked
def reweighted(obs: ArrayLike, logw: ArrayLike, *, S: NotNegative = 2.0) -> Estimate:
    r"""The mean of an observable under the target, from samples of another distribution.

    Parameters
    ----------
    obs : array_like
        The observable O, ``[n]`` or ``[n, chains]``.
    logw : array_like
        log w of the same samples and shape, up to a constant.
    S : float
        As for `estimate`; 0 for independent samples of a flow.

    Returns
    -------
    Estimate
        <O>. The number of samples times ESS decides whether its error is calibrated.

    Raises
    ------
    ValueError
        For different shapes, NaN or infinity.

    Notes
    -----
    .. math:: \langle O \rangle = \frac{\sum_i w_i O_i}{\sum_i w_i}

    Examples
    --------
    <x^2> of a standard normal, from samples that are too wide:

    >>> import numpy as np, flowkit as fk
    >>> x = 1.5 * np.random.default_rng(1).normal(size=10_000)
    >>> print(fk.stats.reweighted(x**2, -(x**2) / 2 + (x / 1.5) ** 2 / 2, S=0))
    1.005(11)
    """
    x, w = series(obs, "reweighted"), _weights(logw, "reweighted")
    if x.shape != w.shape:
        raise ValueError(f"reweighted takes one weight for each value; got {list(x.shape)} and {list(w.shape)}.")
    r = (w * x).sum() / w.sum()
    return linearised(float(r), r + w * (x - r) / w.mean(), S, effective(w), _EQUAL)


@checked
def ess(logw: ArrayLike, *, S: NotNegative = 0.0) -> Estimate:
    r"""Effective sample size of one sample, in (0, 1].

    Parameters
    ----------
    logw : array_like
        log w of samples of the flow, ``[n]`` or ``[n, chains]``, up to a constant.
    S : float
        As for `estimate`.

    Returns
    -------
    Estimate
        The ESS, dimensionless. From few samples the value comes out too high and the error too small, since the largest
        weights are missing: take 8,192 or more. Below 100 effective samples its note says so.

    Raises
    ------
    ValueError
        For another shape, NaN or infinity.

    Notes
    -----
    .. math:: \mathrm{ESS} = \frac{\langle w \rangle^2}{\langle w^2 \rangle}

    Examples
    --------
    log w normal with standard deviation s has ESS = exp(-s^2), here 0.78:

    >>> import numpy as np, flowkit as fk
    >>> print(fk.stats.ess(0.5 * np.random.default_rng(1).normal(size=10_000)))
    0.7777(43)
    """
    w = _weights(logw, "ess")
    value = float(effective(w))
    fluctuations = value * (2 * w / w.mean() - w**2 / (w**2).mean())
    return linearised(value, fluctuations, S, value, _EQUAL, "")


@checked
def log_z(logw: ArrayLike, *, S: NotNegative = 0.0) -> Estimate:
    r"""ln Z of the target, from samples of a normalised flow.

    Parameters
    ----------
    logw : array_like
        log w = -S - log q, ``[n]`` or ``[n, chains]``, without a constant left out.
    S : float
        As for `estimate`.

    Returns
    -------
    Estimate
        ln Z, dimensionless.

    Raises
    ------
    ValueError
        For another shape, NaN or infinity.

    Notes
    -----
    .. math:: \ln Z = \ln \langle w \rangle_q

    Examples
    --------
    ln of the integral of exp(-x^2 / 2), (1/2) ln 2 pi = 0.9189, from a normal q with a standard deviation of 1.5:

    >>> import numpy as np, flowkit as fk
    >>> x = 1.5 * np.random.default_rng(1).normal(size=10_000)
    >>> print(fk.stats.log_z(-(x**2) / 2 + (x / 1.5) ** 2 / 2 + np.log(1.5 * np.sqrt(2 * np.pi))))
    0.9200(45)
    """
    x = series(logw, "log_z")
    w = _weights(x, "log_z")
    value = float(x.max() + np.log(w.mean()))
    return linearised(value, value + w / w.mean() - 1, S, effective(w), _EQUAL, "")


def acceptance_from_logw(logw: ArrayLike) -> Estimate:
    r"""Acceptance of independence Metropolis in equilibrium, from the weights of independent samples.

    Parameters
    ----------
    logw : array_like
        log w of independent samples of the flow, ``[n]`` with n >= 2, up to a constant.

    Returns
    -------
    Estimate
        The acceptance, in [0, 1].

    Raises
    ------
    ValueError
        For fewer than two samples, another shape, NaN or infinity.

    Notes
    -----
    .. math:: \frac{E[\min(w, w')]}{E[w]} = \frac{\sum_{i \ne j} \min(w_i, w_j)}{(n - 1) \sum_i w_i}

    for two independent samples: the chain stands at x ~ p, and the average over its place carries the weight w.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> print(fk.stats.acceptance_from_logw(0.5 * np.random.default_rng(1).normal(size=10_000)))
    0.7243(21)
    """
    w = np.sort(_weights(logw, "acceptance_from_logw").ravel())
    n = len(w)
    if n < 2:
        raise ValueError("acceptance_from_logw compares pairs of draws; got one draw.")
    above = np.arange(n - 1, -1, -1)
    value = float(accepted(w, above))
    below = np.concatenate([[0.0], np.cumsum(w)[:-1]])
    with_others = (below + w * above) / (n - 1)  # the mean over the others of min(w_i, w_j)
    fluctuations = value * (2 * with_others / with_others.mean() - w / w.mean())
    return linearised(float(value), fluctuations[:, None], 0.0, effective(w), _EQUAL, "")


def effective(w: Any) -> Any:
    r"""ESS of weights, :math:`\langle w \rangle^2 / \langle w^2 \rangle`, at most 1: the one formula of it.

    Parameters
    ----------
    w : array or Tensor
        Weights, divided by the largest one so that neither they nor their squares overflow.

    Returns
    -------
    array or Tensor
        ``[]``, of the kind and dtype of w, differentiable for tensors.
    """
    return (w.mean() ** 2 / (w**2).mean()).clip(max=1.0)


def accepted(w: Any, above: Any) -> Any:
    r"""Acceptance of independence Metropolis from sorted weights, at most 1: the one formula of it.

    .. math:: \frac{\sum_{i \ne j} \min(w_i, w_j)}{(n - 1) \sum_i w_i}
              = \frac{2 \sum_k (n - k)\, w_k}{(n - 1) \sum_k w_k}, \qquad w_1 \le w_2 \le \dots

    Parameters
    ----------
    w : array or Tensor
        Weights in rising order, divided by the largest one.
    above : array or Tensor
        n - k for each of them.
    """
    return (2 * (w * above).sum() / ((len(w) - 1) * w.sum())).clip(max=1.0)


def _weights(logw: Any, who: str) -> Floats:
    """w / max w, ``[n, chains]``."""
    x = series(logw, who)
    w: Floats = np.exp(x - x.max())
    return w

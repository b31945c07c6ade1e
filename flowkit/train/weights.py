"""ESS and acceptance of a batch, as tensors on its device, by the formulas of `flowkit.stats.weights`."""

import torch
from torch import Tensor

from flowkit.stats.weights import accepted, effective


def log_ess(logw: Tensor) -> Tensor:
    r"""ln ESS of a batch, differentiable, in (-ln n, 0].

    Parameters
    ----------
    logw : Tensor
        log w = -S - log q of independent samples, ``[n]``; up to a constant.

    Returns
    -------
    Tensor
        ``[]``, of the dtype of `logw`.

    Notes
    -----
    .. math:: \ln \mathrm{ESS} = \ln \frac{\langle w \rangle^2}{\langle w^2 \rangle}

    The largest log w is subtracted first, so that the weights keep their digits in single precision too, where log w
    itself may be several thousand.

    Examples
    --------
    >>> import torch
    >>> from flowkit.train.weights import log_ess
    >>> log_ess(torch.tensor([6000.0, 6000.0])), log_ess(torch.tensor([6000.0, 0.0]))
    (tensor(0.), tensor(-0.6931))
    """
    value: Tensor = effective(_weights(logw)).log()
    return value


def acceptance(logw: Tensor) -> Tensor:
    r"""Acceptance of independence Metropolis in equilibrium, E[min(w, w')] / E[w] for independent samples.

    Parameters
    ----------
    logw : Tensor
        log w = -S - log q of independent samples, ``[n]`` with n >= 2; up to a constant.

    Returns
    -------
    Tensor
        ``[]``, in [0, 1].

    Notes
    -----
    The chain stands at x ~ p and not at a sample of q, so that the mean over its place carries the weight w:
    :math:`\sum_{i \ne j} \min(w_i, w_j) / ((n - 1) \sum_i w_i)` over all pairs of different samples.

    Examples
    --------
    >>> import torch
    >>> from flowkit.train.weights import acceptance
    >>> acceptance(torch.tensor([2.0, 2.0, 2.0])), acceptance(torch.tensor([1.0, 3.0]).log())
    (tensor(1.), tensor(0.5000))
    """
    w = _weights(logw).sort().values
    value: Tensor = accepted(w, torch.arange(len(w) - 1, -1, -1, dtype=w.dtype, device=w.device))
    return value


def _weights(logw: Tensor) -> Tensor:
    """w / max w."""
    return (logw - logw.detach().max()).exp()

"""ESS and acceptance of a batch, as tensors on its device: the twins of those in `flowkit.stats`, without errors."""

import math

import torch
from torch import Tensor


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
    .. math:: \ln \mathrm{ESS} = 2 \ln \sum_i w_i - \ln \sum_i w_i^2 - \ln n

    The largest log w is subtracted first. The logarithms are then small numbers, and their difference keeps its digits
    in single precision too, where log w itself may be several thousand.

    Examples
    --------
    >>> import torch
    >>> from flowkit.train.weights import log_ess
    >>> log_ess(torch.tensor([6000.0, 6000.0])), log_ess(torch.tensor([6000.0, 0.0]))
    (tensor(0.), tensor(-0.6931))
    """
    shifted = logw - logw.detach().max()
    value = 2 * torch.logsumexp(shifted, 0) - torch.logsumexp(2 * shifted, 0) - math.log(len(logw))
    return value.clamp(max=0.0)


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
    The chain stands at x ~ p and not at a sample of q, so that the mean over its place carries the weight w. Over all
    pairs of different samples, sorted such that :math:`w_1 \le w_2 \le \dots`,

    .. math:: \frac{\sum_{i \ne j} \min(w_i, w_j)}{(n - 1) \sum_i w_i}
              = \frac{2 \sum_k (n - k)\, w_k}{(n - 1) \sum_k w_k}.

    Examples
    --------
    >>> import torch
    >>> from flowkit.train.weights import acceptance
    >>> acceptance(torch.tensor([2.0, 2.0, 2.0])), acceptance(torch.tensor([1.0, 3.0]).log())
    (tensor(1.), tensor(0.5000))
    """
    n = len(logw)
    w = torch.softmax(logw, 0).sort().values
    above = torch.arange(n - 1, -1, -1, dtype=w.dtype, device=w.device)
    return 2 * (w * above).sum() / (n - 1)

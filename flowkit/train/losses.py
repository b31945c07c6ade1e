"""Losses: how far q is from p = exp(-S) / Z, estimated on the flow's own samples.

A loss is called as loss(flow, action, n, rng). It returns a `Loss`: a scalar whose backward() gives the gradient, and
the detached log-weights log w = -S - log q of the samples, from which the trainer computes ESS, KL and acceptance.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.checks import Count, check, checked
from flowkit.priors import Prior
from flowkit.tasks.ranks import mean, ranks, whole
from flowkit.train.weights import log_ess


class Loss(NamedTuple):
    """The scalar to minimise, and the log-weights of the samples that it was estimated on.

    Parameters
    ----------
    value : Tensor
        The loss, ``[]``, differentiable in the flow's parameters.
    logw : Tensor
        log w = -S - log q of the samples, ``[n]``, detached.

    Examples
    --------
    A loss of one's own is a function. The variance of log w over samples whose gradient is not followed:

    >>> import torch, flowkit as fk
    >>> from flowkit.train.losses import Loss
    >>> def variance(flow, action, n, rng):
    ...     with torch.no_grad():
    ...         x = flow.sample(n, rng)
    ...     logw = -action(x) - flow.log_prob(x)
    ...     return Loss(logw.var(), logw.detach())
    >>> space = fk.sites((4, 4))
    >>> flow = fk.Flow(fk.Normal(space), fk.transforms.Affine(space))
    >>> trainer = fk.Trainer(flow, fk.Phi4(space, m2=1.0, lam=0.5), loss=variance)
    >>> trainer.fit(2, progress=False).step
    2
    """

    value: Tensor
    logw: Tensor


def over_ranks(loss: Loss, n: int) -> Loss:
    """The loss of a batch of n samples; on several ranks its gradient is the sum of those of the ranks.

    A loss of the rows of one rank stands for a mean over samples, and that of the batch is the mean over ranks. A loss
    that is no such mean takes log w of all ranks by `whole`, and is returned as it is.
    """
    if len(loss.logw) == n:
        return loss
    own = loss.value / ranks().world
    return Loss(own + (mean([loss.value.detach()])[0] - own.detach()), whole(loss.logw))


LossFunction = Callable[[Prior, Action, int, torch.Generator], Loss]


def reverse_kl(flow: Prior, action: Action, n: int, rng: torch.Generator) -> Loss:
    r"""The reverse Kullback-Leibler divergence up to ln Z, with the reparametrised gradient.

    Parameters
    ----------
    flow : Prior
        The distribution q, with parameters.
    action : Action
        The action S of the target p = exp(-S) / Z.
    n : int
        Number of samples.
    rng : torch.Generator
        Source of randomness.

    Returns
    -------
    Loss
        The mean of log q + S in nats, and log w ``[n]``.

    Notes
    -----
    .. math:: \mathrm{KL}(q \Vert p) - \ln Z = E_q[\log q + S]

    The gradient goes through the samples and through the density.

    Examples
    --------
    The free field has q = p, so that the loss is -ln Z without noise.

    >>> import torch, flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> flow, action = fk.FreeField(space, m2=0.5).double(), fk.Phi4(space, m2=0.5, lam=0.0)
    >>> loss = fk.losses.reverse_kl(flow, action, 10, torch.Generator().manual_seed(1))
    >>> print(f"{loss.value:.6f} {-action.log_z():.6f}")
    1.654038 1.654038
    """
    _require("reverse_kl", flow, action, n, rng)
    x, logq = flow.sample_and_log_prob(n, rng)
    excess = logq + action(x)
    return Loss(excess.mean(), -excess.detach())


def path_gradient(flow: Prior, action: Action, n: int, rng: torch.Generator) -> Loss:
    r"""The value of `reverse_kl` with the gradient through the samples alone.

    Parameters
    ----------
    flow, action, n, rng
        As for `reverse_kl`; the flow must be invertible.

    Returns
    -------
    Loss
        The mean of log q + S in nats, and log w ``[n]``.

    Notes
    -----
    .. math:: \frac{d}{d\theta} E_q[\log q + S] = E_z\Big[\partial_x(\log q(x) + S(x)) \frac{dx}{d\theta}\Big],

    since the explicit derivative has mean zero, :math:`E_q[\partial_\theta \log q] = 0`. Its noise vanishes at q = p.
    :math:`\partial_x \log q` comes from the inverse pass at the drawn x.

    References
    ----------
    L. Vaitl et al., arXiv:2207.08219.

    Examples
    --------
    At q = p every sample of the path gradient is zero; the reparametrised gradient only has mean zero.

    >>> import torch, flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> flow, action = fk.FreeField(space, m2=0.5, learned=True).double(), fk.Phi4(space, m2=0.5, lam=0.0)
    >>> for loss in (fk.losses.path_gradient, fk.losses.reverse_kl):
    ...     flow.zero_grad()
    ...     loss(flow, action, 10, torch.Generator().manual_seed(1)).value.backward()
    ...     print(loss.__name__, max(bool(p.grad.abs().max() > 1e-6) for p in flow.parameters()))
    path_gradient False
    reverse_kl True
    """
    _require("path_gradient", flow, action, n, rng)
    x = flow.sample(n, rng)
    with torch.enable_grad():
        fixed = x.detach().requires_grad_()
        excess = flow.log_prob(fixed) + action(fixed)
        (gradient,) = torch.autograd.grad(excess.sum(), fixed)
    # A scalar with the value of the loss and the path gradient: x - fixed is zero.
    path = torch.real((x - fixed.detach()) * gradient.conj()).sum() / len(x)
    return Loss(excess.detach().mean() + path, -excess.detach())


def ess_loss(flow: Prior, action: Action, n: int, rng: torch.Generator) -> Loss:
    r"""Minus the logarithm of the effective sample size, zero at q = p.

    Parameters
    ----------
    flow, action, n, rng
        As for `reverse_kl`.

    Returns
    -------
    Loss
        -ln ESS, dimensionless, and log w ``[n]``.

    Notes
    -----
    .. math:: -\ln \mathrm{ESS} = \ln E_q[w^2] - 2 \ln E_q[w],

    a monotone function of the forward :math:`\chi^2` divergence. Far from the target its estimate is heavy-tailed; use
    it to finish what `reverse_kl` began.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> action, rng = fk.Phi4(space, m2=0.5, lam=0.0), torch.Generator().manual_seed(1)
    >>> for m2 in (0.6, 1.0, 2.0):
    ...     print(m2, f"{fk.losses.ess_loss(fk.FreeField(space, m2=m2).double(), action, 1000, rng).value:.2f}")
    0.6 0.02
    1.0 1.00
    2.0 1.31
    """
    _require("ess_loss", flow, action, n, rng)
    x, logq = flow.sample_and_log_prob(n, rng)
    logw = whole(-action(x) - logq)  # no mean over samples: that of the rows of one rank would be another number
    return Loss(-log_ess(logw), logw.detach())


def _require(who: str, flow: Prior, action: Action, n: int, rng: torch.Generator) -> None:
    """Raise TypeError or ValueError for other arguments of a loss; a look at their classes costs a step nothing."""
    if type(n) is not int or n < 1:
        check(who, "n", Count, n)
    for name, kind, value in (("flow", Prior, flow), ("action", Action, action), ("rng", torch.Generator, rng)):
        if not isinstance(value, kind):
            check(who, name, kind, value)


@checked
def named(name: str) -> LossFunction:
    """The loss of this name: "reverse_kl", "path_gradient" or "ess".

    Parameters
    ----------
    name : str
        The name, as `Trainer(loss=...)` takes it.

    Returns
    -------
    LossFunction
        The function.

    Raises
    ------
    ValueError
        For any other name.

    Examples
    --------
    >>> from flowkit.train import losses
    >>> losses.named("ess") is losses.ess_loss
    True
    """
    losses: dict[str, LossFunction] = {"reverse_kl": reverse_kl, "path_gradient": path_gradient, "ess": ess_loss}
    if name not in losses:
        raise ValueError(f"A loss is one of {', '.join(losses)}; got {name!r}.")
    return losses[name]

"""Losses: how far q is from p = exp(-S) / Z, estimated on the flow's own draws.

A loss is called as loss(flow, action, n, rng). It returns a `Loss`: a scalar whose backward() gives the gradient, and
the detached log-weights log w = -S - log q of the draws, from which the trainer reads ESS, KL and acceptance.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.priors import Prior


class Loss(NamedTuple):
    """The scalar to minimise and the log-weights of the draws behind it."""

    value: Tensor
    """[], differentiable in the flow's parameters."""
    logw: Tensor
    """log w = -S - log q, [n], detached."""


LossFunction = Callable[[Prior, Action, int, torch.Generator], Loss]


def reverse_kl(flow: Prior, action: Action, n: int, rng: torch.Generator) -> Loss:
    """KL(q|p) - ln Z = E_q[log q + S], with the reparametrised gradient through samples and density."""
    x, logq = flow.draw(n, rng)
    excess = logq + action(x)
    return Loss(excess.mean(), -excess.detach())


def path_gradient(flow: Prior, action: Action, n: int, rng: torch.Generator) -> Loss:
    """The value of `reverse_kl` with the gradient through the samples alone,

        d/dtheta E_q[log q + S] = E_z[ d_x (log q(x) + S(x)) dx/dtheta ],

    since the explicit part has mean zero (E_q[d_theta log q] = 0). Its noise vanishes where q = p. d_x log q comes
    from the inverse pass at the drawn x. See Vaitl et al., 2207.08219.
    """
    x = flow.draw(n, rng).x
    with torch.enable_grad():
        fixed = x.detach().requires_grad_()
        excess = flow.log_prob(fixed) + action(fixed)
        (gradient,) = torch.autograd.grad(excess.sum(), fixed)
    # A scalar with the value of the loss and the path gradient: x - fixed is zero.
    path = torch.real((x - fixed.detach()) * gradient.conj()).sum() / n
    return Loss(excess.detach().mean() + path, -excess.detach())


def ess_loss(flow: Prior, action: Action, n: int, rng: torch.Generator) -> Loss:
    """-log ESS = log E_q[w^2] - 2 log E_q[w], the forward chi^2 up to monotone change, dimensionless. Zero at q = p.

    Heavy-tailed far from the target; use it to finish what `reverse_kl` began.
    """
    x, logq = flow.draw(n, rng)
    logw = -action(x) - logq
    value = torch.logsumexp(2 * logw, 0) - 2 * torch.logsumexp(logw, 0) + math.log(n)
    return Loss(value, logw.detach())


def named(name: str) -> LossFunction:
    """The loss of that name: "reverse_kl", "path_gradient" or "ess".

    Raises    ValueError for any other name
    """
    losses: dict[str, LossFunction] = {"reverse_kl": reverse_kl, "path_gradient": path_gradient, "ess": ess_loss}
    if name not in losses:
        raise ValueError(f"A loss is one of {', '.join(losses)}; got {name!r}.")
    return losses[name]

"""The state of Markov chains, and the numbers that a step returns with it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Info = dict[str, Tensor]
"""Numbers of each chain by name, [chains], such as "accept"."""


class Proposals(NamedTuple):
    """Proposals drawn ahead of the step that uses them, with their action and log-density.

    Attributes
    ----------
    x : Tensor
        Fields, ``[chains, waiting, *space.shape]``.
    S, logq : Tensor
        Their action and log-density, ``[chains, waiting]``.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> action, rng = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.0), torch.Generator().manual_seed(1)
    >>> metropolis = fk.IndependenceMetropolis(fk.Normal(action.space), action, chunk=10)
    >>> state, _ = metropolis.step(metropolis.begin(3, rng), rng)
    >>> state.proposals.S.shape
    torch.Size([3, 9])
    """

    x: Tensor
    S: Tensor
    logq: Tensor


class State(NamedTuple):
    """The state of all chains. State, generator and sampler settings together determine all later states.

    Attributes
    ----------
    x : Tensor
        Fields, ``[chains, *space.shape]``.
    S : Tensor
        Their action, dimensionless, ``[chains]``.
    logq : Tensor, optional
        log q of the fields under the flow, ``[chains]``; for independence Metropolis alone.
    proposals : Proposals, optional
        Proposals drawn ahead; for independence Metropolis alone.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.0)
    >>> state = fk.HMC(action).init(torch.ones(2, 1, 4, 4))
    >>> state.S                                             # m2 on each of 16 sites
    tensor([16., 16.])
    """

    x: Tensor
    S: Tensor
    logq: Tensor | None = None
    proposals: Proposals | None = None

    @property
    def logw(self) -> Tensor | None:
        """log w = -S - log q, [chains], where log q is known."""
        return None if self.logq is None else -self.S - self.logq

"""What a Markov chain is to flowkit: many chains in one batch, one explicit generator."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.groups import Group

Info = dict[str, Tensor]


class Proposals(NamedTuple):
    """Independent proposals that wait for their turn, with the numbers that decide about them."""

    x: Tensor
    """Fields, [chains, waiting, *space.shape]."""
    S: Tensor
    """Their action, [chains, waiting]."""
    logq: Tensor
    """Their log-density, [chains, waiting]."""


class State(NamedTuple):
    """Where all chains stand. Nothing else decides what comes next but the generator and the sampler's settings."""

    x: Tensor
    """Fields, [chains, *space.shape]."""
    S: Tensor
    """Their action, dimensionless, [chains]."""
    logq: Tensor | None = None
    """log q of the fields under the flow, [chains]; for independence Metropolis alone."""
    proposals: Proposals | None = None
    """Proposals drawn ahead; for independence Metropolis alone."""

    @property
    def logw(self) -> Tensor | None:
        """log w = -S - log q, [chains], where log q is known."""
        return None if self.logq is None else -self.S - self.logq


class Sampler(ABC):
    """A Markov chain whose stationary distribution is exp(-S(x)) / Z: `init` once, then `step`.

    The same start, settings and seed give the same chain. `info` holds one number for each chain:
    accept (bool), invalid (bool: the proposal had no finite weight and was rejected), and what the sampler adds.

    Raises    TypeError if `action` is no Action
    """

    def __init__(self, action: Action):
        if not isinstance(action, Action):
            raise TypeError(f"{type(self).__name__} needs an action such as Wilson(space, beta=2.0); got {action!r}.")
        self.action = action
        self.space = action.space

    def start(self, chains: int, rng: torch.Generator, *, hot: bool = True, dtype: torch.dtype | None = None) -> Tensor:
        """Fields to start from, [chains, *space.shape]: hot (Haar on links, normal of width 0.1 on sites) or cold
        (unit links, zero on sites). `dtype` is that of the real numbers. Sites start near zero because a quartic force
        grows as the cube of the field: from a wide start HMC at a useful step size diverges, and is rejected for ever.

        Raises    ValueError for chains < 1
        """
        if not isinstance(chains, int) or chains < 1:
            raise ValueError(f"{type(self).__name__} needs chains >= 1; got {chains!r}.")
        if not hot:
            return self.space.cold(chains, like=torch.empty(0, dtype=dtype, device=rng.device))
        if self.space.kind == "links":
            return self.space.haar(chains, rng, dtype)
        return 0.1 * torch.randn(chains, *self.space.shape, generator=rng, device=rng.device, dtype=dtype)

    @torch.no_grad()
    def init(self, x: Tensor) -> State:
        """The state of chains that stand at x, [chains, *space.shape].

        Raises    TypeError or ValueError where x is no batch of finite fields of the space, or its action is not finite
        """
        worst = self.space.group.defect(self.space.require(x)).max()
        if worst > 1e-3:  # far above the rounding of float32: the field was made in a wrong way
            raise ValueError(f"{self.space} holds elements of {self.space.group.name}; got a field off by {worst:.2g}.")
        S = self.action(x)
        if not torch.isfinite(S).all():
            raise ValueError(f"{type(self).__name__} needs a start with a finite action; got {S.tolist()[:4]}.")
        return State(x, S)

    @property
    def forces(self) -> int | None:
        """Force evaluations of one step, of one chain; None for a sampler that needs none."""
        return None

    @abstractmethod
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        """One update of all chains."""

    def tune(self, state: State, rng: torch.Generator, steps: int) -> State:
        """Thermalise for `steps` steps. A sampler with a step size sets it here, and nowhere else."""
        for _ in range(steps):
            state, _ = self.step(state, rng)
        return state

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The sampler and its settings as plain data, for provenance."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.action!r})"


def accept(log_ratio: Tensor, rng: torch.Generator) -> Tensor:
    """Metropolis' decision for each chain on its own: True with probability min(1, exp(log_ratio)), [chains].

    A ratio that is NaN or infinite is never accepted.
    """
    u = torch.rand(log_ratio.shape, generator=rng, device=log_ratio.device, dtype=log_ratio.dtype)
    return (u.log() < log_ratio) & log_ratio.isfinite()


def select(choose: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where `choose` [chains] is True and b elsewhere, for tensors [chains, ...]."""
    return torch.where(choose.view(-1, *[1] * (a.dim() - 1)), a, b)


def back_to_group(group: Group, x: Tensor) -> Tensor:
    """x, projected to the group if rounding has moved any matrix off it by more than 100 epsilon.

    The test costs one product for each matrix, the projection a singular value decomposition: it is rare.
    """
    if not group.matrix_shape or not (group.defect(x) > 100 * torch.finfo(x.dtype).eps).any():
        return x
    return group.project(x)

"""What a Markov chain is to flowkit: many chains in one batch, one explicit generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, checked
from flowkit.geometry.settings import settings
from flowkit.samplers.state import Info, State
from flowkit.tasks.randomness import Rng, generator_of


class Tuner(Protocol):
    """Sets what a sampler can tune, from one step of the thermalisation to the next."""

    def update(self, info: Info) -> None:
        """Take in what the last step told."""

    def finish(self) -> None:
        """Fix the settings for the steps that count."""


class Sampler(ABC):
    """A Markov chain whose stationary distribution is exp(-S(x)) / Z: `begin` or `init` once, then `step`.

    A subclass writes `step` and `describe`. The same start, settings and seed give the same chain.

    Parameters
    ----------
    action : Action
        S, of the space on which the chain walks.

    Raises
    ------
    TypeError
        If `action` is no Action.

    Notes
    -----
    A step returns the new state and ``info``, one number for each chain by name: ``accept`` (bool, or the fraction
    of several proposals that was accepted), ``invalid`` (bool: the proposal had no finite weight and was rejected), and
    what the sampler adds. A step never waits for the device.

    Examples
    --------
    A random-walk Metropolis sampler of one's own:

    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit.samplers import State
    >>> from flowkit.samplers.base import accept, select
    >>> class RandomWalk(fk.Sampler):
    ...     def step(self, state, rng):
    ...         y = state.x + 0.5 * torch.randn(state.x.shape, generator=rng)
    ...         S = self.action(y)
    ...         yes = accept(state.S - S, rng)
    ...         info = {"accept": yes, "invalid": ~S.isfinite()}
    ...         return State(select(yes, y, state.x), select(yes, S, state.S)), info
    ...     def describe(self):
    ...         return {"sampler": "RandomWalk", "action": repr(self.action)}
    >>> action = fk.Phi4(fk.sites((1, 1)), m2=0.5, lam=0.0)
    >>> ensemble = fk.run(RandomWalk(action), 2000, chains=64, thermalise=50, rng=1)
    >>> ensemble.mean(fk.phi_squared).within()                # within two errors of the exact value
    True
    """

    @checked
    def __init__(self, action: Action):
        self.action = action
        self.space = action.space

    @checked
    def start(self, chains: Count, rng: Rng = None, *, hot: bool = True, dtype: torch.dtype | None = None) -> Tensor:
        """Fields to start from.

        Parameters
        ----------
        chains : int
            Their number, >= 1.
        rng : torch.Generator or int, optional
            A generator, a seed, or None for a fresh seed.
        hot : bool
            True for fields from Haar measure on links and from a normal distribution of width 0.1 on sites; False for
            unit links and zero on sites. Sites start near zero because a quartic force grows as the cube of the field:
            from a wide start HMC at a useful step size diverges, and is rejected for ever.
        dtype : torch.dtype, optional
            Of the real numbers; by default that of the action's map, for a pullback, else torch's own default.

        Returns
        -------
        Tensor
            ``[chains, *space.shape]``.

        Raises
        ------
        ValueError
            For chains < 1.
        """
        anchor = self.action.anchor
        dtype = anchor.real.dtype if dtype is None and anchor is not None else dtype
        rng = generator_of(rng)
        if not hot:
            return self.space.cold(chains, like=torch.empty(0, dtype=dtype, device=rng.device))
        if self.space.kind == "links":
            return self.space.haar(chains, rng, dtype)
        return 0.1 * torch.randn(
            self.space.batch(chains), *self.space.shape, generator=rng, device=rng.device, dtype=dtype
        )

    @torch.no_grad()
    def init(self, x: Tensor) -> State:
        """The state of chains that stand at given fields.

        Parameters
        ----------
        x : Tensor
            ``[chains, *space.shape]``.

        Returns
        -------
        State

        Raises
        ------
        TypeError, ValueError
            Where x is no batch of finite fields of the space, or its action is not finite.
        """
        G, x = self.space.group, self.space.require(x).detach()
        x = G.project(x) if G.abelian else x  # angles of every period are elements
        worst = G.defect(x).max()
        if worst > 1e-3:  # far above the rounding of float32: the field was made in a wrong way
            raise ValueError(f"{self.space} holds elements of {self.space.group.name}; got a field off by {worst:.2g}.")
        S = self.action(x)
        if not torch.isfinite(S).all():
            raise ValueError(f"{type(self).__name__} needs a start with a finite action; got {S.tolist()[:4]}.")
        return State(x, S)

    def begin(self, chains: int, rng: Rng = None, *, dtype: torch.dtype | None = None) -> State:
        """The state of new chains at the sampler's own start, in the dtype of `start`."""
        return self.init(self.start(chains, rng, dtype=dtype))

    @property
    def forces(self) -> int | None:
        """Force evaluations of one step, of one chain; None for a sampler that needs none."""
        return None

    @abstractmethod
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        """One update of all chains: the new state, and numbers of each chain by name, such as "accept"."""

    def tuner(self) -> Tuner | None:
        """What sets the sampler's step size in the thermalisation; None for a sampler with nothing to tune."""
        return None

    def of_action(self, action: Action) -> Sampler:
        """A new sampler of another action, on any space that it can walk on, with the same settings."""
        return type(self)(action, **settings(self, "action"))

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The sampler and its settings as plain data, for provenance."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.action!r})"


def accept(log_ratio: Tensor, rng: torch.Generator) -> Tensor:
    """Metropolis' decision for each chain on its own: True with probability min(1, exp(log_ratio)), ``[chains]``.

    False where the ratio of the probabilities is NaN or infinite.
    """
    u = torch.rand(log_ratio.shape, generator=rng, device=log_ratio.device, dtype=log_ratio.dtype)
    return (u.log() < log_ratio) & log_ratio.isfinite()


def select(choose: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where `choose` [chains] is True and b elsewhere, for tensors [chains, ...]."""
    return torch.where(choose.view(-1, *[1] * (a.dim() - 1)), a, b)

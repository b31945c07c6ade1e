"""Prior + transform + action: the three ingredients of a first lesson."""

from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.ensemble import Ensemble, draw, run
from flowkit.flow import Flow
from flowkit.priors import Prior
from flowkit.samplers import IndependenceMetropolis
from flowkit.train import Trainer
from flowkit.transforms import Transform


class Posterior:
    """The trained distribution q: independent draws, which follow the action only as well as the flow does."""

    def __init__(self, flow: Flow, action: Action):
        self.flow, self.action = flow, action

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n fields, [n, *space.shape]."""
        with torch.no_grad():
            return self.flow.sample(n, torch.Generator(self.flow.device).manual_seed(seed))

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x), [batch]."""
        with torch.no_grad():
            return self.flow.log_prob(self.flow.space.require(x))

    def weighted(self, n: int, seed: int = 0) -> Ensemble:
        """n draws with their weights exp(-S)/q: means by reweighting, and the effective sample size."""
        return draw(self.flow, self.action, n, rng=seed)


class MCMC:
    """Markov chains that are exact for the action, with the flow as their proposal."""

    def __init__(self, flow: Flow, action: Action):
        self.flow, self.action = flow, action

    def sample(self, n: int, chains: int = 16, seed: int = 0, **options: Any) -> Ensemble:
        """`chains` chains of n stored configurations each, by independence Metropolis."""
        sampler = IndependenceMetropolis(self.flow, self.action)
        return run(sampler, n, chains=chains, rng=seed, **options)


class Model:
    """`fit`, then `posterior.sample` for independent draws and `mcmc.sample` for exact chains.

    Raises    ValueError where the three do not live on one space
    """

    def __init__(self, prior: Prior, transform: Transform, action: Action):
        self.flow, self.action = Flow(prior, transform), action
        if prior.space != action.space:
            raise ValueError(f"A model needs ingredients of one space; got {prior.space} and {action.space}.")
        self.posterior, self.mcmc = Posterior(self.flow, action), MCMC(self.flow, action)
        self.trainer: Trainer | None = None

    def fit(self, steps: int = 1000, progress: bool = True, **options: Any) -> "Model":
        """Train for so many steps; a second call goes on. Options are those of Trainer, given at the first call."""
        if self.trainer is None:
            self.trainer = Trainer(self.flow, self.action, **options)
        elif options:
            raise ValueError(f"This model's trainer exists already; got the options {', '.join(options)} again.")
        self.trainer.fit(steps, progress=progress)
        return self

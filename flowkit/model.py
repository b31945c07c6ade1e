"""Prior + transform + action: the three ingredients of a first lesson."""

from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.checks import checked
from flowkit.ensemble import Ensemble, importance_sample, run
from flowkit.flow import Flow
from flowkit.priors import Prior
from flowkit.samplers import IndependenceMetropolis
from flowkit.tasks.in_training import frozen
from flowkit.tasks.randomness import Rng
from flowkit.train import Trainer
from flowkit.transforms import Transform


class Posterior:
    """The trained distribution q: independent draws, which follow the action only as well as the flow does.

    Parameters
    ----------
    flow : Flow
        q.
    action : Action
        The theory.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((2, 2))
    >>> model = fk.Model(fk.Normal(space), fk.transforms.Affine(space), fk.Phi4(space, m2=1.0, lam=0.1))
    >>> model.posterior.sample(3, rng=1).shape
    torch.Size([3, 1, 2, 2])
    """

    def __init__(self, flow: Flow, action: Action):
        self.flow, self.action = flow, action

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        """n fields, ``[n, *space.shape]``; rng is a generator, a seed, or None for a fresh seed."""
        with torch.no_grad():
            return frozen(self.flow, "posterior.sample").sample(n, rng)

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x), ``[batch]``."""
        with torch.no_grad():
            return frozen(self.flow, "posterior.log_prob").log_prob(self.flow.space.require(x))

    def weighted(self, n: int, rng: Rng = None) -> Ensemble:
        """n draws with their weights exp(-S)/q: means by reweighting, and the effective sample size."""
        return importance_sample(self.flow, self.action, n, rng=rng)


class MCMC:
    """Markov chains that are exact for the action, with the flow as their proposal.

    Parameters
    ----------
    flow : Flow
        Proposes.
    action : Action
        Decides.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((2, 2))
    >>> model = fk.Model(fk.Normal(space, 0.5), fk.transforms.Affine(space), fk.Phi4(space, m2=1.0, lam=0.1))
    >>> len(model.mcmc.sample(20, chains=4, rng=1))
    20
    """

    def __init__(self, flow: Flow, action: Action):
        self.flow, self.action = flow, action

    def sample(self, n: int, chains: int = 16, rng: Rng = None, **options: Any) -> Ensemble:
        """`chains` chains of n stored configurations each, by independence Metropolis."""
        sampler = IndependenceMetropolis(self.flow, self.action)
        return run(sampler, n, chains=chains, rng=rng, **options)


class Model:
    """Prior, transform and action together: `fit`, then draw.

    `posterior.sample` gives independent draws of the trained flow, `mcmc.sample` Markov chains that are exact for the
    action.

    Parameters
    ----------
    prior : Prior
        Where fields start.
    transform : Transform
        Takes them towards the theory.
    action : Action
        The theory.

    Raises
    ------
    ValueError
        Where the three do not live on one space.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((2, 2))
    >>> model = fk.Model(fk.Normal(space), fk.CheckerboardCoupling(space, 0), fk.Phi4(space, m2=1.0, lam=0.1))
    >>> model = model.fit(steps=5, progress=False, batch=32)
    >>> model.trainer.step
    5
    """

    @checked
    def __init__(self, prior: Prior, transform: Transform, action: Action):
        self.flow, self.action = Flow(prior, transform), action
        if prior.space != action.space:
            raise ValueError(f"A model needs ingredients of one space; got {prior.space} and {action.space}.")
        self.posterior, self.mcmc = Posterior(self.flow, action), MCMC(self.flow, action)
        self.trainer: Trainer | None = None

    def fit(self, steps: int = 1000, progress: bool = True, **options: Any) -> "Model":
        """Train for so many steps; a second call goes on. Options are those of Trainer, given at the first call.

        Raises
        ------
        ValueError
            For options at a second call.
        """
        if self.trainer is None:
            self.trainer = Trainer(self.flow, self.action, **options)
        elif options:
            raise ValueError(f"This model's trainer exists already; got the options {', '.join(options)} again.")
        self.trainer.fit(steps, progress=progress)
        return self

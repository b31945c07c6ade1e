"""Another theory as the prior of a flow."""

from collections.abc import Callable

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior
from flowkit.samplers.base import Sampler
from flowkit.samplers.hmc import HMC


class MarkovPrior(Prior):
    """r(z) ~ exp(-S_in(z)): the input theory of a flow is another action, sampled by a Markov chain.

    At the first draw a pool of configurations is made by a chain, and draws are taken from it at random. They are
    correlated, and log_prob = -S_in lacks the constant ln Z: a loss is KL up to a constant, weights are relative, and
    where independent draws or log q are needed it is refused. HMC on `flow.pullback(S)` is exact all the same: it needs
    the map alone, and S_in serves the training.

    action        S_in
    pool          configurations, `chains` at a time
    every         steps of the chain between two that are kept
    thermalise    steps before the first, in which the sampler sets its step size
    sampler       makes the chain from the action, HMC of trajectory length 1 by default
    seed          of the chain
    Raises        TypeError if `action` is no Action; ValueError for numbers below 1
    """

    normalised = False
    up_to_constant = True
    configurations: Tensor | None

    def __init__(
        self,
        action: Action,
        pool: int = 4096,
        *,
        chains: int = 64,
        every: int = 10,
        thermalise: int = 500,
        sampler: Callable[[Action], Sampler] = HMC,
        seed: int = 1,
    ):
        if not isinstance(action, Action):
            raise TypeError(
                f"MarkovPrior needs an action such as Phi4Hopping(space, beta=0.6, lam=0.5); got {action!r}."
            )
        super().__init__(action.space)
        for name, value in (("pool", pool), ("chains", chains), ("every", every), ("thermalise", thermalise)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"MarkovPrior needs {name} >= 1; got {value!r}.")
        self.action, self.sampler = action, sampler
        self.settings = {"pool": pool, "chains": chains, "every": every, "thermalise": thermalise, "seed": seed}
        self.register_buffer("configurations", None, persistent=False)

    @torch.no_grad()
    def _fill(self) -> Tensor:
        """The pool, [at least `pool`, *space.shape]."""
        pool, chains, every, thermalise, seed = self.settings.values()
        rng = torch.Generator(self.device).manual_seed(seed)
        sampler = self.sampler(self.action)
        state = sampler.init(sampler.start(chains, rng, dtype=self.dtype))
        state = sampler.tune(state, rng, thermalise)
        kept: list[Tensor] = []
        while len(kept) * chains < pool:
            for _ in range(every):
                state, _ = sampler.step(state, rng)
            kept.append(state.x)
        return torch.cat(kept)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n fields of the pool, [n, *space.shape], each taken at random."""
        self._generator(rng)
        if self.configurations is None:
            self.configurations = self._fill()
        chosen = torch.randint(len(self.configurations), (n,), generator=rng, device=rng.device)
        return self.configurations[chosen]

    def log_prob(self, x: Tensor) -> Tensor:
        """-S_in(x), [batch]: log r up to a constant."""
        return -self.action(self._mine(x))

    def on(self, space: Space) -> "MarkovPrior":
        """The same action on another lattice, with a chain of its own."""
        return MarkovPrior(self.action.on(space), sampler=self.sampler, **self.settings).to(self.anchor)

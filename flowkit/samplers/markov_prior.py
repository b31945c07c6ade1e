"""Another theory, sampled by a Markov chain, as the prior of a flow."""

import copy
from itertools import islice

import torch
from torch import Tensor

from flowkit.checks import Count, Seed, checked
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior
from flowkit.samplers.base import Sampler
from flowkit.samplers.chain import states
from flowkit.tasks.randomness import Rng, stream


class MarkovPrior(Prior):
    """r(z) ~ exp(-S_in(z)): the input theory of a flow is another action, sampled by a Markov chain.

    At the first draw a chain makes a pool of configurations, and draws are taken from it at random. These are
    correlated, and log_prob = -S_in lacks the constant ln Z. A loss is then KL up to a constant and weights are
    relative; where independent draws or log q are needed the prior is refused. HMC of ``flow.pullback(S)`` is exact
    all the same: it needs the map alone, and S_in serves the training. It may be the coarsest prior of a multiscale
    model.

    Parameters
    ----------
    sampler : Sampler
        Makes the chain; its action is S_in. It stays as it is: a copy is tuned.
    pool : int
        Configurations, made `chains` at a time.
    chains : int
        Of the sampler.
    every : int
        Steps of the chain between two that are kept.
    thermalise : int
        Steps before the first, in which the sampler is tuned.
    seed : int
        Of the chain.

    Raises
    ------
    TypeError
        If `sampler` is no Sampler.
    ValueError
        For numbers below 1.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> coarse = fk.Phi4(fk.sites((2, 2)), m2=1.0, lam=0.5)
    >>> prior = fk.samplers.MarkovPrior(fk.HMC(coarse), pool=64, chains=32, every=2, thermalise=20)
    >>> z = prior.sample(3, torch.Generator().manual_seed(1))
    >>> z.shape, prior.normalised, torch.equal(prior.log_prob(z), -coarse(z))
    (torch.Size([3, 1, 2, 2]), False, True)
    """

    normalised = False
    up_to_constant = True
    configurations: Tensor | None

    @checked
    def __init__(
        self,
        sampler: Sampler,
        pool: Count = 4096,
        *,
        chains: Count = 64,
        every: Count = 10,
        thermalise: Count = 500,
        seed: Seed = 1,
    ):
        super().__init__(sampler.space)
        self.sampler, self.action = sampler, sampler.action
        self.settings = {"pool": pool, "chains": chains, "every": every, "thermalise": thermalise, "seed": seed}
        self.register_buffer("configurations", None, persistent=False)

    @torch.no_grad()
    def _fill(self) -> Tensor:
        """The pool, [at least `pool`, *space.shape]."""
        pool, chains, every, thermalise, seed = self.settings.values()
        rng, sampler = stream(seed, "Markov prior", device=self.device), copy.copy(self.sampler)
        state = sampler.init(sampler.start(chains, rng, dtype=self.dtype))
        chain = states(sampler, state, rng, thermalise=thermalise, every=every)
        kept = (point.state.x for point in chain if point.stored)
        return torch.cat(list(islice(kept, -(-pool // chains))))

    @torch.no_grad()
    def sample(self, n: int, rng: Rng = None) -> Tensor:
        """n fields of the pool, ``[n, *space.shape]``, each taken at random."""
        rng = self._draws(n, rng)
        if self.configurations is None:
            self.configurations = self._fill()
        chosen = torch.randint(len(self.configurations), (n,), generator=rng, device=rng.device)
        return self.configurations[chosen]

    def log_prob(self, x: Tensor) -> Tensor:
        """-S_in(x), ``[batch]``: log r up to a constant."""
        return -self.action(self._mine(x))

    def on(self, space: Space) -> "MarkovPrior":
        """The same theory on another lattice, with a chain of its own."""
        return MarkovPrior(self.sampler.of_action(self.action.on(space)), **self.settings).to(self.anchor)

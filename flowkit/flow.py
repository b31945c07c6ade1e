"""A flow: a prior and a transform. A Flow is itself a Prior."""

from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Action, Pullback
from flowkit.geometry.space import Space
from flowkit.priors import Prior, Sample
from flowkit.transforms import Transform


class Flow(Prior):
    r"""A prior and a transform, x = f(z) with z ~ r: a trainable distribution q.

    .. math:: \log q(x) = \log r(z) - \log\left|\det \frac{df}{dz}\right|

    A flow is itself a Prior: it may be the prior of another flow.

    Parameters
    ----------
    prior : Prior
        r, any prior, another flow too.
    transform : Transform
        f, forward from the prior to the theory.

    Raises
    ------
    TypeError
        For other ingredients.
    ValueError
        Where prior and transform live on different spaces.

    Notes
    -----
    A transform with Markov kernels makes the flow `stochastic`: what draws come with is then the joint density of the
    path that led to them. Weights, ESS, importance sampling and independence Metropolis need no more. `log_prob`,
    `score` and `pullback` need the density of a field itself, and raise ValueError.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> flow = fk.Flow(fk.Normal(space), fk.CheckerboardCoupling(space, 0))
    >>> with torch.no_grad():
    ...     x, logq = flow.sample_and_log_prob(3, torch.Generator().manual_seed(1))
    ...     x.shape, torch.allclose(flow.log_prob(x), logq)
    (torch.Size([3, 1, 4, 4]), True)
    """

    def __init__(self, prior: Prior, transform: Transform):
        if not isinstance(prior, Prior) or not isinstance(transform, Transform):
            names = f"{type(prior).__name__} and {type(transform).__name__}"
            raise TypeError(f"A flow needs a prior, then a transform; got {names}.")
        if prior.space != transform.space:
            raise ValueError(f"A flow needs prior and transform of one space; got {prior.space} and {transform.space}.")
        super().__init__(prior.space)
        self.prior, self.transform = prior, transform
        self.normalised, self.up_to_constant = prior.normalised, prior.up_to_constant

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of real numbers that the prior draws with."""
        return self.prior.dtype

    @property
    def device(self) -> torch.device:
        """The device that the prior draws on."""
        return self.prior.device

    @property
    def stochastic(self) -> bool:
        """Whether a step of it, or of its prior, is a Markov kernel: its density is then that of a path."""
        return self.transform.stochastic or self.prior.stochastic

    def sample_and_log_prob(self, n: int, rng: torch.Generator) -> Sample:
        """n independent fields, ``[n, *space.shape]``, and log q, ``[n]``; of paths, where the flow is `stochastic`."""
        return self.transform.sample(self.prior, n, rng)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n independent fields, ``[n, *space.shape]``."""
        return self.sample_and_log_prob(n, rng).x

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x), ``[batch]``.

        Raises
        ------
        ValueError
            For fields of another shape, dtype or device, and where the flow is `stochastic`.
        """
        self._require_density("log_prob")
        z, logdet = self.transform.inverse(self._mine(x))
        return self.prior.log_prob(z) + logdet

    def score(self, x: Tensor) -> Tensor:
        """d log q(x) / dparams at fixed x, [batch, params], where the transform knows it and the prior is fixed.

        Raises    ValueError otherwise
        """
        self._require_density("score")
        own = getattr(self.transform, "score", None)
        if own is None or any(p.requires_grad for p in self.prior.parameters()):
            kinds = f"{type(self.prior).__name__} and {type(self.transform).__name__}"
            raise ValueError(f"A score needs a transform that has one and a prior that does not learn; got {kinds}.")
        score: Tensor = own(self._mine(x), self.prior)
        return score

    def _require_density(self, what: str) -> None:
        """Raise ValueError where the flow has the joint density of a path alone."""
        if self.stochastic:
            raise ValueError(
                f"This flow has a Markov kernel among its steps, and so the joint density of a path alone; {what} "
                "needs the density of a field. importance_sample and IndependenceMetropolis do without."
            )

    def on(self, space: Space) -> "Flow":
        """The same flow on another lattice, with a copy of its weights."""
        return Flow(self.prior.on(space), self.transform.on(space))

    def pullback(self, action: Action) -> Pullback:
        r"""The action in the coordinates of the prior, :math:`S(f(z)) - \log|\det df/dz|`.

        Raises
        ------
        ValueError
            Where the flow is `stochastic`, or lives on another space.
        """
        self._require_density("pullback")
        return action.pullback(self.transform)

    def describe(self) -> dict[str, Any]:
        """The flow as plain data, for provenance."""
        return {
            "space": self.space.describe(),
            "prior": type(self.prior).__name__,
            "transform": str(self.transform),
            "parameters": sum(p.numel() for p in self.parameters()),
        }

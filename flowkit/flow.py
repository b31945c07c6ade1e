"""A flow: a prior and a transform. A Flow is itself a Prior."""

from typing import Any

import torch
from torch import Tensor

from flowkit.actions import Action, Pullback
from flowkit.geometry.space import Space
from flowkit.priors import Draw, Prior
from flowkit.transforms import Transform


class Flow(Prior):
    """x = f(z), z ~ r: log q(x) = log r(z) - log|det df/dz|.

    prior     r, any Prior (another Flow too)
    transform f, forward from the prior to the theory
    Raises    TypeError for other ingredients; ValueError where prior and transform live on different spaces
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
        return self.prior.dtype

    @property
    def device(self) -> torch.device:
        return self.prior.device

    def draw(self, n: int, rng: torch.Generator) -> Draw:
        """n independent fields and log q, [n, *space.shape] and [n]."""
        z, logr = self.prior.draw(n, rng)
        x, logdet = self.transform(z)
        return Draw(x, logr - logdet)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.draw(n, rng).x

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x), [batch].

        Raises    ValueError for fields of another shape, dtype or device
        """
        z, logdet = self.transform.inverse(self._mine(x))
        return self.prior.log_prob(z) + logdet

    def score(self, x: Tensor) -> Tensor:
        """d log q(x) / dparams at fixed x, [batch, params], where the transform knows it and the prior is fixed.

        Raises    ValueError otherwise
        """
        own = getattr(self.transform, "score", None)
        if own is None or any(p.requires_grad for p in self.prior.parameters()):
            kinds = f"{type(self.prior).__name__} and {type(self.transform).__name__}"
            raise ValueError(f"A score needs a transform that has one and a prior that does not learn; got {kinds}.")
        score: Tensor = own(self._mine(x), self.prior)
        return score

    def on(self, space: Space) -> "Flow":
        """The same flow on another lattice, with a copy of its weights."""
        return Flow(self.prior.on(space), self.transform.on(space))

    def pullback(self, action: Action) -> Pullback:
        """The action in the coordinates of the prior, S(f(z)) - logdet f(z)."""
        return action.pullback(self.transform)

    def describe(self) -> dict[str, Any]:
        """The flow as plain data, for provenance."""
        return {
            "space": self.space.describe(),
            "prior": type(self.prior).__name__,
            "transform": str(self.transform),
            "parameters": sum(p.numel() for p in self.parameters()),
        }

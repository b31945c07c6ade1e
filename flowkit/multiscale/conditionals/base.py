"""What a model of a new link is: q(V | R_1, ..., R_k), for each link and independent of the others.

The R_i close loops through V: the W_i = V R_i are plaquettes, S_i = R_i^-1 are the staples. In two dimensions there are
two, left and right of the link. All densities are with respect to normalised Haar measure. A model is a map of a base
variable u, Haar-distributed, to V, so that it can be inverted, differentiated and pulled back.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from flowkit.groups import Group
from flowkit.multiscale.doubling import Loops


class LinkConditional(nn.Module, ABC):
    """q(V | R_1, ..., R_k). Links and loops are [batch, ..., *matrix], log q is [batch, ...]."""

    group: Group

    @abstractmethod
    def from_base(self, u: Tensor, rest: Loops) -> tuple[Tensor, Tensor]:
        """(V, log q(V | rest)) for u from Haar measure; differentiable in u, rest and the parameters."""

    @abstractmethod
    def to_base(self, v: Tensor, rest: Loops) -> tuple[Tensor, Tensor]:
        """(u, log q(V | rest)): the inverse of `from_base`."""

    def log_prob(self, v: Tensor, rest: Loops) -> Tensor:
        """log q(V | rest)."""
        return self.to_base(v, rest)[1]

    def score(self, v: Tensor, rest: Loops) -> Tensor:
        """d/dparams of the sum of log q over the links of each field, [batch, params], without autograd, for the
        parameters that require a gradient, in the order of `parameters()`, each flattened.

        Raises    ValueError where a model has no closed form for it
        """
        raise ValueError(f"{type(self).__name__} has no score in closed form; train it by a gradient.")

    @property
    def scored(self) -> bool:
        """Whether `score` is known in closed form."""
        return type(self).score is not LinkConditional.score

    def strengthen(self, ratio: float) -> None:
        """Start over for links that feel `ratio` times the coupling, in place; nothing to do without a strength."""

    def sample_and_log_prob(self, rest: Loops, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """(V, log q) of independent links."""
        like = rest[0]
        shape = tuple(like.shape[: like.dim() - len(self.group.matrix_shape)])
        return self.from_base(self.group.haar(shape, rng, like.real.dtype).to(like.device), rest)

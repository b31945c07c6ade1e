"""Links from the invariant measure."""

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.priors.base import Prior


class Haar(Prior):
    """r(U) = 1 with respect to the normalised Haar measure: every link independent and uniform on the group.

    Field     links, [batch, mu, *lattice, *matrix]
    Raises    ValueError for sites
    """

    def __init__(self, space: Space):
        super().__init__(space)
        if space.kind != "links":
            raise ValueError(f"Haar lives on links; got {space}. Sites take a Normal or FreeField prior.")

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.space.haar(n, self._generator(rng), self.dtype).to(self.device)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.zeros(len(self.space.check(x)), dtype=x.real.dtype, device=x.device)

    def on(self, space: Space) -> "Haar":
        return Haar(space).to(self.anchor)

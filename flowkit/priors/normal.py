"""Independent normal variables on sites."""

import math

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.priors.base import Prior


class Normal(Prior):
    """r(phi) = prod_x N(phi_x; 0, sigma^2).

    Field     sites, [batch, components, *lattice]
    Raises    ValueError for links or sigma <= 0
    """

    def __init__(self, space: Space, sigma: float = 1.0):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"Normal lives on sites; got {space}. Links take the Haar prior.")
        if not sigma > 0:
            raise ValueError(f"Normal needs sigma > 0; got {sigma}.")
        self.sigma = float(sigma)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        z = torch.randn(n, *self.space.shape, generator=self._generator(rng), dtype=self.dtype, device=self.device)
        return self.sigma * z

    def log_prob(self, x: Tensor) -> Tensor:
        square = (self.space.check(x) / self.sigma).square().flatten(1).sum(1)
        return -square / 2 - self.space.dof * math.log(self.sigma * math.sqrt(2 * math.pi))

    def on(self, space: Space) -> "Normal":
        return Normal(space, self.sigma).to(self.anchor)

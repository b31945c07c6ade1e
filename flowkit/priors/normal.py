"""Independent normal variables on sites."""

import math

import torch
from torch import Tensor

from flowkit.checks import Positive, checked
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior
from flowkit.tasks.randomness import Rng


class Normal(Prior):
    r"""Independent normal variables of mean zero and one common width on all sites.

    .. math:: r(\phi) = \prod_x \mathcal{N}(\phi_x; 0, \sigma^2)

    The simplest prior of a scalar flow: the flow then has to learn every correlation between sites. `FreeField` already
    has those of a free field.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    sigma : float
        Standard deviation of each variable, positive; in units of the field.

    Raises
    ------
    ValueError
        For links, or sigma that is not positive.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> prior = fk.Normal(fk.sites((4, 4)), sigma=0.5)
    >>> phi = prior.sample(1000, torch.Generator().manual_seed(1))
    >>> phi.shape, round(float(phi.std()), 2)
    (torch.Size([1000, 1, 4, 4]), 0.5)
    """

    @checked
    def __init__(self, space: Space, sigma: Positive = 1.0):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"Normal lives on sites; got {space}. Links take the Haar prior.")
        self.sigma = sigma

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        z = torch.randn(n, *self.space.shape, generator=self._draws(n, rng), dtype=self.dtype, device=self.device)
        return self.sigma * z

    def log_prob(self, x: Tensor) -> Tensor:
        square = (self.space.check(x) / self.sigma).square().flatten(1).sum(1)
        return -square / 2 - self.space.dof * math.log(self.sigma * math.sqrt(2 * math.pi))

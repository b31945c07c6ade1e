"""Links from the invariant measure."""

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior
from flowkit.tasks.randomness import Rng


class Haar(Prior):
    r"""Every link independent and uniform on the group: the theory at infinitely strong coupling, beta = 0.

    .. math:: r(U) = 1 \quad \text{with respect to the normalised Haar measure } \prod_{x,\mu} dU_\mu(x)

    It is invariant under gauge transformations, so that a gauge-equivariant transform of it gives a
    gauge-invariant flow.

    Parameters
    ----------
    space : Space
        Links, fields ``[batch, mu, *lattice, *matrix]``.

    Raises
    ------
    ValueError
        For sites: the real line has no normalised Haar measure.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> prior = fk.Haar(fk.links((4, 4), fk.SUN(3)))
    >>> U = prior.sample(2, torch.Generator().manual_seed(1))
    >>> U.shape
    torch.Size([2, 2, 4, 4, 3, 3])
    >>> prior.log_prob(U)                     # the density is 1
    tensor([0., 0.])
    """

    @checked
    def __init__(self, space: Space):
        super().__init__(space)
        if space.kind != "links":
            raise ValueError(f"Haar lives on links; got {space}. Sites take a Normal or FreeField prior.")

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        return self.space.haar(n, self._draws(n, rng), self.dtype).to(self.device)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.zeros(len(self.space.check(x)), dtype=x.real.dtype, device=x.device)

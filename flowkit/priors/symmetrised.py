"""A distribution averaged over the images of a finite group of symmetries."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry, group_images
from flowkit.priors.base import Prior, Sample
from flowkit.tasks.randomness import Rng


class Symmetrised(Prior):
    r"""Another prior, or a whole flow, moved by a random element g of a finite group G of symmetries.

    .. math:: q(x) = \frac{1}{|G|} \sum_{g \in G} r(g x)

    The density has the symmetries exactly, whatever r is: a flow that covers one well of a potential alone covers both.
    Where the transform of a flow respects the symmetries, it is enough, and cheaper, to symmetrise the flow's prior.

    Parameters
    ----------
    prior : Prior
        r, any prior or flow with a density.
    symmetries : sequence of Symmetry
        Commuting generators of G, such as some of ``action.symmetries``; \|G\| is the product of their orders.

    Raises
    ------
    TypeError
        For other ingredients.
    ValueError
        For no symmetries, or a stochastic flow, whose density is not known.

    Notes
    -----
    A sample costs \|G\| evaluations of log r, one of which comes with the sample of r.

    Examples
    --------
    A normal law around 2 becomes one of two bumps.

    >>> import torch
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((1,)), m2=-2.0, lam=0.25)
    >>> bump = fk.Flow(fk.Normal(action.space, 0.5), fk.transforms.Affine(action.space))
    >>> _ = torch.nn.init.constant_(bump.transform.shift, 2.0)
    >>> flow = fk.priors.Symmetrised(bump, action.symmetries)
    >>> with torch.no_grad():
    ...     x, logq = flow.sample_and_log_prob(6, torch.Generator().manual_seed(1))
    ...     (x > 0).flatten().tolist(), torch.allclose(flow.log_prob(-x), logq)
    ([True, False, False, True, True, False], True)
    """

    @checked
    def __init__(self, prior: Prior, symmetries: Sequence[Symmetry]):
        symmetries = tuple(symmetries)
        if not symmetries:
            raise ValueError("Symmetrised needs at least one symmetry; action.symmetries lists those of an action.")
        if not all(isinstance(one, Symmetry) for one in symmetries):
            raise TypeError(f"Symmetrised takes symmetries such as action.symmetries; got {symmetries}.")
        if prior.stochastic:
            raise ValueError("Symmetrised needs the density of a field; this flow has that of a path alone.")
        super().__init__(prior.space)
        self.prior, self.symmetries = prior, symmetries
        self.size = math.prod(one.order for one in symmetries)
        self.normalised, self.up_to_constant = prior.normalised, prior.up_to_constant

    @property
    def dtype(self) -> torch.dtype:
        return self.prior.dtype

    @property
    def device(self) -> torch.device:
        return self.prior.device

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        rng = self._draws(n, rng)
        return self._moved(self.prior.sample(n, rng), rng)

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        rng = self._draws(n, rng)
        x, logr = self.prior.sample_and_log_prob(n, rng)
        others = self.prior.log_prob(torch.cat(group_images(self.symmetries, x)[1:])).view(-1, n)
        logq = torch.logsumexp(torch.cat([logr[None], others]), 0) - math.log(self.size)
        return Sample(self._moved(x, rng), logq)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.logsumexp(self._of_images(x)[1], 0) - math.log(self.size)

    def defect(self, n: int, rng: torch.Generator) -> Tensor | None:
        return self.prior.defect(n, rng)

    def score(self, x: Tensor) -> Tensor:
        images, logr = self._of_images(x)
        scores = self.prior.score(images).view(*logr.shape, -1)
        return (torch.softmax(logr, 0)[..., None] * scores).sum(0)

    def _of_images(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All images of fields, ``[size * batch, *space.shape]``, and their log r, ``[size, batch]``."""
        images = torch.cat(group_images(self.symmetries, self.space.check(x)))
        return images, self.prior.log_prob(images).view(self.size, len(x))

    def _moved(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Each field moved by a random element of the group."""
        for one in self.symmetries:
            power = torch.randint(one.order, (len(x), *[1] * (x.dim() - 1)), generator=rng, device=x.device)
            for k, image in enumerate(one.orbit(x)):
                x = image if not k else torch.where(power == k, image, x)
        return x

    def on(self, space: Space) -> "Symmetrised":
        return Symmetrised(self.prior.on(space), self.symmetries)

    def describe(self) -> dict[str, Any]:
        names = [one.name for one in self.symmetries]
        return {**super().describe(), "prior": self.prior.describe(), "symmetries": names}

"""Priors made of a coarser theory: its configurations laid out on the fine lattice."""

import math
from typing import Any

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry.doubling import Doubling, EvenSites, halved
from flowkit.geometry.lattice import join_sublattices, split_sublattices
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior, Sample
from flowkit.tasks.randomness import Rng


class _OfCoarser(Prior):
    """A prior whose randomness is in part that of a coarser one, in its dtype and on its device."""

    def __init__(self, coarse: Prior, fine: Space):
        super().__init__(fine)
        self.coarse = coarse
        self.normalised, self.up_to_constant = coarse.normalised, coarse.up_to_constant

    @property
    def dtype(self) -> torch.dtype:
        return self.coarse.dtype

    @property
    def device(self) -> torch.device:
        return self.coarse.device

    @property
    def stochastic(self) -> bool:
        return self.coarse.stochastic

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        return self.sample_and_log_prob(n, rng).x

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "coarse": self.coarse.describe()}


class Interleaved(_OfCoarser):
    r"""Independent coarse configurations on the sublattices of spacing 2.

    Parameters
    ----------
    coarse : Prior
        Any prior on sites, another `Interleaved` too.

    Raises
    ------
    ValueError
        For links.

    Notes
    -----
    .. math:: r(z) = \prod_{k=1}^{2^d} r_c(z_k)

    with :math:`z_k` the field on the k-th sublattice. All sides are twice those of the coarse lattice.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> prior = fk.priors.Interleaved(fk.Normal(fk.sites((2, 2))))
    >>> prior.space.lattice, prior.sample(3, torch.Generator().manual_seed(1)).shape
    ((4, 4), torch.Size([3, 1, 4, 4]))
    """

    @checked
    def __init__(self, coarse: Prior):
        if coarse.space.kind != "sites":
            raise ValueError(f"Interleaved puts fields on sites together; got {coarse.space}.")
        super().__init__(coarse, coarse.space.on([2 * side for side in coarse.space.lattice]))

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        parts, rng = 2**self.space.ndim, self._draws(n, rng)
        x, logr = self.coarse.sample_and_log_prob(n * parts, rng)
        return Sample(join_sublattices(torch.unflatten(x, 0, (n, parts))), logr.view(n, parts).sum(1))

    def log_prob(self, x: Tensor) -> Tensor:
        parts = split_sublattices(self.space.check(x))
        return self.coarse.log_prob(parts.flatten(0, 1)).view(parts.shape[:2]).sum(1)

    def on(self, space: Space) -> "Interleaved":
        return Interleaved(self.coarse.on(halved(space)))


class Embedded(_OfCoarser):
    r"""One coarse configuration inside the fine field; what it lacks is Haar (links) or standard normal (sites).

    A multiscale model is this prior and a transform of the new degrees of freedom, level by level:
    ``Flow(Embedded(coarse, doubling), NewLinks(doubling, models))`` for links,
    ``Flow(Embedded(coarse), SiteDoubling(space))`` for sites.

    Parameters
    ----------
    coarse : Prior
        Any prior on the coarse space: `Haar`, a `FreeField`, a `Flow`, an unnormalised `MarkovPrior`, ...
    doubling : Doubling, optional
        How the coarse field lies in the fine one, such as a `LinkDoubling`; by default `EvenSites`, which is for sites.

    Raises
    ------
    ValueError
        For a doubling that begins at another space than that of the coarse prior, or for links without a doubling.

    Notes
    -----
    .. math:: r(z) = r_c(z_c)\, n(z_{\rm rest})

    with (z_c, z_rest) = ``doubling.split(z)`` and n the Haar measure (1) or independent normal densities.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> prior = fk.priors.Embedded(fk.FreeField(fk.sites((2, 2)), m2=0.5))
    >>> prior.space.lattice
    (4, 4)
    >>> coarse = fk.Haar(fk.links((2, 2), fk.U1()))
    >>> prior = fk.priors.Embedded(coarse, fk.multiscale.LinkDoubling(coarse.space, mu=0))
    >>> z = prior.sample(3, torch.Generator().manual_seed(1))
    >>> z.shape, prior.log_prob(z)
    (torch.Size([3, 2, 4, 2]), tensor([0., 0., 0.]))
    """

    @checked
    def __init__(self, coarse: Prior, doubling: Doubling | None = None):
        if doubling is None:
            if coarse.space.kind != "sites":
                raise ValueError(f"Embedded needs a LinkDoubling for links; got {coarse.space} alone.")
            doubling = EvenSites(coarse.space)
        if doubling.coarse != coarse.space:
            raise ValueError(f"The doubling begins at {doubling.coarse}; got a coarse prior on {coarse.space}.")
        super().__init__(coarse, doubling.fine)
        self.doubling = doubling

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        """n independent fields and their log-density; that of paths, where the coarse prior is stochastic."""
        rng = self._draws(n, rng)
        coarse, logr = self.coarse.sample_and_log_prob(n, rng)
        z, logn = self.completed(coarse, rng)
        return Sample(z, logr + logn)

    def completed(self, coarse: Tensor, rng: torch.Generator) -> Sample:
        """Coarse fields inside fine ones, with what these lack drawn, and log n of that, ``[batch]``."""
        n = len(coarse)
        # Of a whole field of noise the coarse part is not used.
        if self.space.kind == "links":
            noise = self.space.haar(n, rng, self.dtype).to(self.device)
        else:
            noise = torch.randn(n, *self.space.shape, generator=rng, dtype=self.dtype, device=self.device)
        _, *rest = self.doubling.split(noise)
        return Sample(self.doubling.join(coarse, *rest), self.log_rest(*rest))

    def log_prob(self, x: Tensor) -> Tensor:
        coarse, *rest = self.doubling.split(x)
        return self.coarse.log_prob(coarse) + self.log_rest(*rest)

    def log_rest(self, *rest: Tensor) -> Tensor:
        """log n of the degrees of freedom that the coarse field lacks, ``[batch]``."""
        if self.space.kind == "links":
            return rest[0].real.new_zeros(len(rest[0]))
        return -(rest[0].square() + math.log(2 * math.pi)).flatten(1).sum(1) / 2

    def score(self, x: Tensor) -> Tensor:
        return self.coarse.score(self.doubling.split(x)[0])

    def on(self, space: Space) -> "Embedded":
        """The same prior on another lattice.

        For links, where the next coarser doubling of the coarse prior cannot end at the coarse lattice, that prior is
        replaced by its own coarsest one, on as large a lattice as is left over.
        """
        doubling, coarse = self.doubling.on(space), self.coarse
        if space.kind == "links" and isinstance(coarse.base, Embedded):
            try:
                coarse.base.doubling.on(doubling.coarse)
            except ValueError:
                while isinstance(coarse.base, Embedded):
                    coarse = coarse.base.coarse
        return Embedded(coarse.on(doubling.coarse), doubling)

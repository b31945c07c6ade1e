"""Input theories of flows from coarser lattices: what a fine field is made of, laid out on the fine lattice itself."""

import math

import torch
from torch import Tensor

from flowkit.geometry.lattice import join_sublattices, split_sublattices
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior


class _OfCoarser(Prior):
    """Fields of a coarser theory on sublattices of the fine lattice."""

    def __init__(self, coarse: Prior):
        super().__init__(_finer(coarse.space, type(self).__name__))
        self.coarse = coarse
        self.normalised, self.up_to_constant = coarse.normalised, coarse.up_to_constant

    def on(self, space: Space) -> "_OfCoarser":
        return type(self)(self.coarse.on(halved(space))).to(self.anchor)


class Interleaved(_OfCoarser):
    """r(z) = prod_k r_c(z_k), z_k the field on the k-th of the 2^ndim sublattices of spacing 2: so many independent
    coarse configurations side by side on the fine lattice.

    coarse    r_c, any prior on sites; it may be another Interleaved
    Field     sites, [batch, components, *lattice], all sides twice those of the coarse lattice
    Raises    ValueError for links
    """

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        parts = 2**self.space.ndim
        return join_sublattices(torch.unflatten(self.coarse.sample(n * parts, rng), 0, (n, parts)))

    def log_prob(self, x: Tensor) -> Tensor:
        parts = split_sublattices(self.space.check(x))
        return self.coarse.log_prob(parts.flatten(0, 1)).view(parts.shape[:2]).sum(1)


class Embedded(_OfCoarser):
    """r(z) = r_c(z at even coordinates) prod_others N(z; 0, 1): one coarse configuration and, for the degrees of
    freedom that it lacks, independent standard normal numbers.

    coarse    r_c, any prior on sites; it may be another Embedded
    Field     sites, [batch, components, *lattice], all sides twice those of the coarse lattice
    Raises    ValueError for links
    """

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        coarse = self.coarse.sample(n, rng)
        parts = 2**self.space.ndim - 1
        z = torch.randn(n, parts, *coarse.shape[1:], generator=rng, dtype=coarse.dtype, device=coarse.device)
        return join_sublattices(torch.cat([coarse[:, None], z], 1))

    def log_prob(self, x: Tensor) -> Tensor:
        parts = split_sublattices(self.space.check(x))
        log_normal = -(parts[:, 1:].square() + math.log(2 * math.pi)).flatten(1).sum(1) / 2
        return self.coarse.log_prob(parts[:, 0]) + log_normal


def halved(space: Space) -> Space:
    """The space on half of every side.

    Raises    ValueError for links or an odd side
    """
    if space.kind != "sites" or any(side % 2 for side in space.lattice):
        raise ValueError(f"Every second site of a field on sites with even sides makes a coarser one; got {space}.")
    return space.on([side // 2 for side in space.lattice])


def _finer(space: Space, who: str) -> Space:
    if space.kind != "sites":
        raise ValueError(f"{who} puts fields on sites together; got {space}.")
    return space.on([2 * side for side in space.lattice])

"""How a coarse field lies inside a fine one."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from flowkit.geometry.lattice import join_sublattices, split_sublattices
from flowkit.geometry.space import Space


class Doubling(ABC):
    r"""A one-to-one map between a fine field and a coarse field together with the degrees of freedom it lacks.

    The map (coarse, rest) -> fine has Jacobian 1, in Lebesgue measure for sites and in normalised Haar measure for
    links. A density of the fine field is therefore a density of the coarse field times one of the rest.
    `flowkit.priors.Embedded` and `flowkit.transforms.Inside` work with any doubling.

    Attributes
    ----------
    coarse : Space
        Where the coarse field lives.
    fine : Space
        Where the fine field lives.
    """

    coarse: Space

    @property
    @abstractmethod
    def fine(self) -> Space:
        """The space of the fine field."""

    @abstractmethod
    def split(self, fine: Tensor) -> tuple[Tensor, ...]:
        """The coarse field, then the rest, of a fine field ``[batch, *fine.shape]``."""

    @abstractmethod
    def join(self, coarse: Tensor, *rest: Tensor) -> Tensor:
        """The fine field of a coarse field and the rest: the inverse of `split`."""

    @abstractmethod
    def on(self, fine: Space) -> "Doubling":
        """The same doubling with another fine space.

        Raises
        ------
        ValueError
            Where the sides of that lattice cannot be halved.
        """


@dataclass(frozen=True)
class EvenSites(Doubling):
    """All sides of a lattice of sites are doubled; the coarse field sits at the even coordinates.

    Parameters
    ----------
    coarse : Space
        Sites, fields ``[batch, components, *lattice]``.

    Raises
    ------
    ValueError
        For links.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit.geometry.doubling import EvenSites
    >>> doubling = EvenSites(fk.sites((2,)))
    >>> coarse, rest = doubling.split(torch.arange(4.0).view(1, 1, 4))
    >>> coarse, rest
    (tensor([[[0., 2.]]]), tensor([[[[1., 3.]]]]))
    """

    coarse: Space

    def __post_init__(self) -> None:
        if self.coarse.kind != "sites":
            raise ValueError(f"EvenSites doubles lattices of sites; got {self.coarse}.")

    @cached_property
    def fine(self) -> Space:
        return self.coarse.on([2 * side for side in self.coarse.lattice])

    def split(self, fine: Tensor) -> tuple[Tensor, ...]:
        """The coarse field and all others, ``[batch, 2^ndim - 1, components, *coarse lattice]``."""
        parts = split_sublattices(self.fine.check(fine))
        return parts[:, 0].contiguous(), parts[:, 1:]

    def join(self, coarse: Tensor, *rest: Tensor) -> Tensor:
        (others,) = rest
        return join_sublattices(torch.cat([self.coarse.check(coarse)[:, None], others], 1))

    def on(self, fine: Space) -> "EvenSites":
        return EvenSites(halved(fine))


def halved(space: Space) -> Space:
    """The space of the sites with even coordinates, half as many along every side.

    Raises
    ------
    ValueError
        For links or an odd side.
    """
    if space.kind != "sites" or any(side % 2 for side in space.lattice):
        raise ValueError(f"Every second site of a field on sites with even sides makes a coarser one; got {space}.")
    return space.on([side // 2 for side in space.lattice])

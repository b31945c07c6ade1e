"""The geometry of doubling one side of a lattice of links: what a coarse link becomes, and which links are new."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from flowkit.checks import Natural, checked
from flowkit.geometry.doubling import Doubling
from flowkit.geometry.lattice import coordinates, format_lattice, site_index
from flowkit.geometry.paths import link, shift, staples
from flowkit.geometry.space import Space
from flowkit.multiscale.stages import Order, Stage, on_device, stages_of

Loops = tuple[Tensor, ...]


@checked
@dataclass(frozen=True)
class LinkDoubling(Doubling):
    r"""Twice as many sites along one direction mu of a lattice of links.

    Coarse site x is fine site 2x (along mu), and 2x + 1 lies halfway to the next one. A coarse link along mu is cut in
    two halves. The links along nu != mu stay where they are, and new ones lie beside them:

    ===========================  ===========================================
    ``U_mu(x) = U^a(x) U^b(x)``  the halves, at 2x and 2x + 1
    ``U_nu(x)``                  at 2x, as it is on the coarse lattice
    ``V_nu(x)``                  new, at 2x + 1
    ===========================  ===========================================

    Parameters
    ----------
    coarse : Space
        Links of any group in two or more dimensions.
    mu : int
        The direction of the doubled side.
    order : str
        The stages in which new links are drawn: "together", "directions", "colours", "cells" or "hierarchical", see
        Notes. It makes no difference in two dimensions.

    Raises
    ------
    ValueError
        For sites, for one dimension, or for a direction that the lattice does not have.

    Notes
    -----
    The map (U, U^a, V) -> fine field is one to one, commutes with gauge transformations (on the coarse side those of
    the sites 2x), and has Jacobian 1 in normalised Haar measure, because U^b = U^a^-1 U is a translation of the group.

    Two plaquettes of a new link lie in the plane (nu, mu), whose other links are known before any new link is drawn.
    Those in planes (nu, rho) contain three more new links. Either all are drawn at once [1]_, or in stages:

    ================  =================================================================================================
    ``together``      all new links at once
    ``directions``    direction by direction
    ``colours``       direction by direction, and within one the colours of a checkerboard across it
    ``cells``         the sites of cells of :math:`2^{d-1}` sites one after the other, at each site every direction
    ``hierarchical``  sites by the powers of two that divide their coordinates, the largest first; at each site every
                      direction
    ================  =================================================================================================

    What an order loses for the free photon field is known exactly: `free_field_loss`.

    References
    ----------
    .. [1] Multiscale normalizing flows for gauge theories, arXiv:2404.10819.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> doubling = fk.multiscale.LinkDoubling(fk.links((2, 3), fk.U1()), mu=0)
    >>> doubling.fine.lattice
    (4, 3)
    >>> x = doubling.fine.haar(5, torch.Generator().manual_seed(1))
    >>> [tuple(part.shape) for part in doubling.split(x)]                # U, the first halves U^a, the new links V
    [(5, 2, 2, 3), (5, 1, 2, 3), (5, 1, 2, 3)]
    """

    coarse: Space
    mu: Natural
    order: Order = "together"

    def __post_init__(self) -> None:
        if self.coarse.kind != "links" or self.coarse.ndim < 2:
            raise ValueError(f"A doubling needs links in two or more dimensions; got {self.coarse}.")
        if self.mu >= self.coarse.ndim:
            raise ValueError(f"A doubling of {self.coarse} goes along one of its directions; got {self.mu!r}.")

    @staticmethod
    def of(fine: Space, mu: int, order: Order = "together") -> "LinkDoubling":
        """The doubling along mu that ends at `fine`.

        Raises
        ------
        ValueError
            Where that side is odd.
        """
        if fine.lattice[mu] % 2:
            raise ValueError(f"A doubling along {mu} ends at an even side; got {format_lattice(fine.lattice)}.")
        coarse = fine.on([side // (1 + (nu == mu)) for nu, side in enumerate(fine.lattice)])
        return LinkDoubling(coarse, mu, order)

    def on(self, fine: Space) -> "LinkDoubling":
        """The same doubling with another fine space.

        Raises
        ------
        ValueError
            For another group or number of directions, or where the side along mu is odd.
        """
        if fine.kind != "links" or fine.group != self.coarse.group or fine.ndim != self.coarse.ndim:
            raise ValueError(f"A doubling of {self.coarse} goes to another lattice of its kind; got {fine}.")
        return LinkDoubling.of(fine, self.mu, self.order)

    @cached_property
    def fine(self) -> Space:
        """The space of the fields after the doubling."""
        return self.coarse.on([side * (1 + (nu == self.mu)) for nu, side in enumerate(self.coarse.lattice)])

    @cached_property
    def places(self) -> Tensor:
        """The fine link of each new link, ``[new links]``: flat indices over ``[nu, *fine lattice]``."""
        x = coordinates(self.coarse.lattice)
        x[self.mu] = 2 * x[self.mu] + 1
        return torch.cat([nu * self.fine.volume + site_index(x, self.fine.lattice) for nu in self.across])

    at_hand = None  # all links of the fine lattice

    @property
    def across(self) -> list[int]:
        """The directions nu != mu of the new links, in the order of their component axis."""
        return [nu for nu in range(self.coarse.ndim) if nu != self.mu]

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The order in which the new links are drawn."""
        return stages_of(self.coarse, self.mu, self.order)

    def split(self, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(U, U^a, V) of a fine field.

        Returns
        -------
        tuple of Tensor
            ``[batch, mu, *coarse lattice, *matrix]`` with all directions, with one, and with all but one.
        """
        axis = 2 + self.mu
        even, odd = torch.unflatten(self.fine.check(fine), axis, (-1, 2)).unbind(axis + 1)
        first = link(even, self.mu)
        whole = self.coarse.group.compose(first, link(odd, self.mu))
        return self._with(self._without(even), whole), first, self._without(odd)

    def join(self, coarse: Tensor, *rest: Tensor) -> Tensor:
        """The fine field of (U, U^a, V): the inverse of `split`."""
        (first, new), axis = rest, 2 + self.mu
        even = self._with(self._without(self.coarse.check(coarse)), first)
        odd = self._with(new, self._second(coarse, first))
        return torch.stack([even, odd], axis + 1).flatten(axis, axis + 1)

    def loops(self, coarse: Tensor, first: Tensor) -> Loops:
        """The products of links that close both plaquettes of every new link in the plane (nu, mu).

        Parameters
        ----------
        coarse, first : Tensor
            U and U^a.

        Returns
        -------
        tuple of Tensor
            R_left and R_right in the shape of V. V R_left and V R_right are the two plaquettes, both starting with V::

                R_left  = U^a(x + nu)^-1 U_nu(x)^-1 U^a(x)
                R_right = U^b(x + nu) U_nu(x + mu)^-1 U^b(x)^-1

        Notes
        -----
        The staples of the new link are R^-1. R_right^-1 R_left is the coarse plaquette.
        """
        G = self.coarse.group
        second, side = self._second(coarse, first), self._without(coarse)
        first_up = torch.cat([shift(first, nu) for nu in self.across], 1)
        second_up = torch.cat([shift(second, nu) for nu in self.across], 1)
        left = G.compose(G.inverse(G.compose(side, first_up)), first)
        right = G.compose(second_up, G.inverse(G.compose(second, shift(side, self.mu))))
        return left, right

    def given(self, stage: Stage, known: Loops, new: Tensor) -> Loops:
        """All loops through the links of one stage.

        Parameters
        ----------
        stage : Stage
            One of `stages`.
        known : tuple of Tensor
            What `loops` gave.
        new : Tensor
            The new links; those of earlier stages are read.

        Returns
        -------
        tuple of Tensor
            R_i such that V R_i is a plaquette: first the two in the plane of mu, then for each further plane the one
            above and the one below, in the shape of the links of the stage.
        """
        if stage.links is None:
            return known
        loops = [self.take(stage, one) for one in known]
        G, k = self.coarse.group, self.across.index(stage.nu)
        for rho in stage.planes:
            # Staples in the slice 2x + 1, taken as a field of its own; its links along mu do not occur in them.
            odd = self._with(new, link(new, 0))
            for staple in staples(self.coarse, odd, stage.nu, rho):
                flat = G.inverse(staple).flatten(1, 1 + self.coarse.ndim)
                loops.append(flat[:, on_device(stage.links, flat.device) - k * self.coarse.volume])
        return tuple(loops)

    def take(self, stage: Stage, new: Tensor) -> Tensor:
        """The links of one stage, ``[batch, links, *matrix]``; `new` itself where there is one stage only."""
        return (
            new if stage.links is None else new.flatten(1, 1 + self.coarse.ndim)[:, on_device(stage.links, new.device)]
        )

    def put(self, stage: Stage, new: Tensor, links: Tensor) -> Tensor:
        """`new` with the links of one stage in their places."""
        if stage.links is None:
            return links
        flat = new.flatten(1, 1 + self.coarse.ndim)
        return flat.index_copy(1, on_device(stage.links, flat.device), links).view_as(new)

    def _second(self, coarse: Tensor, first: Tensor) -> Tensor:
        """U^b = U^a^-1 U."""
        return self.coarse.group.compose(self.coarse.group.inverse(first), link(coarse, self.mu))

    def _without(self, x: Tensor) -> Tensor:
        """All components but mu."""
        return torch.cat([x[:, : self.mu], x[:, self.mu + 1 :]], 1)

    def _with(self, x: Tensor, one: Tensor) -> Tensor:
        """x with `one` put in as component mu."""
        return torch.cat([x[:, : self.mu], one, x[:, self.mu :]], 1)

"""A block of links in a lattice, and where such blocks lie in it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import torch
from torch import Tensor

from flowkit.checks import Range, checked
from flowkit.geometry.closed_paths import Loop, link_index
from flowkit.geometry.lattice import coordinates, flat_index
from flowkit.geometry.space import Space, links
from flowkit.groups import Group
from flowkit.multiscale.stages import Stage, on_device

BlockOrder = Literal["cells", "colours"]


@checked
@dataclass(frozen=True)
class Block:
    """The links inside a block of side^d sites, and those that share a plaquette with them.

    The links whose both ends lie in the block are new; the others are frozen. It lies at the coordinates 1 to `side` of
    a lattice of side + 2, so that each plaquette of a new link lies in that lattice once.

    Parameters
    ----------
    group : Group
        Of the links.
    ndim : int
        Number of dimensions, 2 or more.
    side : int
        Sites of the block along each direction, 2 or more.
    order : str
        The stages in which its links are drawn. "cells": sites of cells of 2^d sites one after the other, at each site
        direction by direction; in a block of side 2 link by link. "colours": direction by direction, and within one the
        two colours of a checkerboard across it.

    Raises
    ------
    ValueError
        For numbers out of range.

    Examples
    --------
    >>> import flowkit as fk
    >>> block = fk.multiscale.Block(fk.U1(), ndim=3)
    >>> len(block.places), len(block.at_hand), len(block.stages)          # the 12 edges of a cube
    (12, 60, 12)
    """

    group: Group
    ndim: Annotated[int, Range(2, 8)]
    side: Annotated[int, Range(2, 16)] = 2
    order: BlockOrder = "cells"

    @cached_property
    def fine(self) -> Space:
        """The links around the block."""
        return links((self.side + 2,) * self.ndim, self.group)

    @cached_property
    def places(self) -> Tensor:
        """The links of the block, ``[new links]``: flat indices over ``[nu, *lattice]``."""
        x = coordinates(self.fine.lattice)
        inside = ((x >= 1) & (x <= self.side)).all(0)
        return torch.cat(
            [nu * self.fine.volume + (inside & (x[nu] < self.side)).nonzero()[:, 0] for nu in range(self.ndim)]
        )

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The order in which they are drawn."""
        found: dict[tuple[int, ...], list[int]] = {}
        sites = coordinates(self.fine.lattice)[:, self.places % self.fine.volume].T.tolist()
        for place, (link, x) in enumerate(zip(self.places.tolist(), sites, strict=True)):
            nu = link // self.fine.volume
            key = (*((c - 1) % 2 for c in x), nu) if self.order == "cells" else (nu, (sum(x) - x[nu]) % 2)
            found.setdefault(key, []).append(place)
        direction = -1 if self.order == "cells" else 0
        return tuple(Stage(key[direction], torch.tensor(found[key]), kind=key) for key in sorted(found))

    @cached_property
    def plaquettes(self) -> Tensor:
        """The links of all plaquettes that hold a link of the block, ``[4, plaquettes]``, as `Loop.rectangle`."""
        new = torch.zeros(self.ndim * self.fine.volume, dtype=torch.bool)
        new[self.places] = True
        every = torch.arange(self.fine.volume)
        table = [link_index(self.fine, every, Loop.rectangle(mu, nu).steps(self.ndim)) for mu, nu in self.fine.planes]
        flat = torch.cat(table, 1)
        return flat[:, new[flat].any(0)]

    @cached_property
    def at_hand(self) -> Tensor:
        """The links of these plaquettes, ``[links]``."""
        found: Tensor = torch.unique(self.plaquettes)
        return found

    @cached_property
    def inner(self) -> Tensor:
        """The places of the links of the block among those at hand, ``[new links]``."""
        return torch.searchsorted(self.at_hand, self.places)

    def weight(self, x: Tensor) -> Tensor:
        """The sum of Re Tr U_P / N of these plaquettes, given the links at hand ``[at hand, blocks, *matrix]``.

        Returns
        -------
        Tensor
            ``[blocks]``.
        """
        rows = on_device(self._corners, x.device)
        return self.group.trace(self.group.product([x[row] for row in rows], (1, 1, -1, -1), wrap=False)).sum(0)

    @cached_property
    def _corners(self) -> Tensor:
        """The links of the plaquettes among those at hand, [4, plaquettes]."""
        return torch.searchsorted(self.at_hand, self.plaquettes)

    def steps(self, lattice: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Corners of blocks that can be updated at once, and the links at hand relative to them.

        Blocks tile the lattice like the black squares of a chessboard; of odd numbers of them one is left out, so that
        no plaquette holds links of two.

        Parameters
        ----------
        lattice : sequence of int
            Sides, each larger than that of the block.

        Returns
        -------
        tuple of Tensor
            ``[ndim, blocks]`` and ``[1 + ndim, links]``, the direction and the coordinates of each link.

        Raises
        ------
        ValueError
            For a shorter side.

        Examples
        --------
        >>> import flowkit as fk
        >>> corners, offsets = fk.multiscale.Block(fk.U1(), ndim=2).steps((4, 8))
        >>> corners.T.tolist(), offsets.shape
        ([[0, 0], [0, 4], [2, 2], [2, 6]], torch.Size([3, 16]))
        """
        if min(lattice) <= self.side or len(lattice) != self.ndim:
            raise ValueError(f"Blocks of side {self.side} in {self.ndim} dimensions need longer sides; got {lattice}.")
        numbers = [side // self.side for side in lattice]
        numbers = [n - (n % 2 and n * self.side == side) for n, side in zip(numbers, lattice, strict=True)]
        cells = [cell for cell in itertools.product(*map(range, numbers)) if sum(cell) % 2 == 0]
        x = coordinates(self.fine.lattice)[:, self.at_hand % self.fine.volume] - 1
        return self.side * torch.tensor(cells).T, torch.cat([(self.at_hand // self.fine.volume)[None], x])


def block_links(corners: Tensor, offsets: Tensor, lattice: Sequence[int]) -> Tensor:
    """The links at hand of each block on a periodic lattice, flat over [nu, *lattice]: ``[links, blocks]``.

    Parameters
    ----------
    corners, offsets : Tensor
        As `Block.steps` gives them; corners may be moved by whole steps.
    lattice : sequence of int
        Its sides.
    """
    volume = 1
    for side in lattice:
        volume *= side
    sites = flat_index(offsets[1:, :, None] + corners[:, None], lattice)
    return offsets[0][:, None] * volume + sites

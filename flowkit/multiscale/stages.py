"""The order in which the new links of a doubling are drawn, in more than two dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from flowkit.geometry.lattice import coordinates
from flowkit.geometry.space import Space


@dataclass(frozen=True)
class Stage:
    """New links that are drawn together, independent of each other given all links known before them.

    Attributes
    ----------
    nu : int
        Their direction.
    links : Tensor or None
        Their indices among all new links, flat over ``[nu, *coarse lattice]``; None for all of them.
    planes : tuple of int
        The directions rho for which both plaquettes of each link in the plane (nu, rho) are known but for the link.
    """

    nu: int
    links: Tensor | None
    planes: tuple[int, ...] = ()

    @property
    def loops(self) -> int:
        """Number of plaquettes through each link whose other links are known, two in the plane of mu among them."""
        return 2 + 2 * len(self.planes)


def ordered_stages(coarse: Space, across: Sequence[int]) -> tuple[Stage, ...]:
    """New links direction by direction, and within a direction one colour of a checkerboard after the other.

    Parameters
    ----------
    coarse : Space
        The coarse links of the doubling.
    across : sequence of int
        The directions of the new links.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.multiscale.stages import ordered_stages
    >>> stages = ordered_stages(fk.links((1, 2, 2), fk.U1()), (1, 2))
    >>> [(stage.nu, stage.planes, stage.links.tolist()) for stage in stages]
    [(1, (), [0, 2]), (1, (), [1, 3]), (2, (), [4, 5]), (2, (1,), [6, 7])]
    """
    lattice, volume = coarse.lattice, coarse.volume
    place, stages = coordinates(lattice), []
    for k, nu in enumerate(across):
        # Neighbours differ in colour where a side is even; plaquettes across odd sides are left out.
        even = [rho for rho in across if rho != nu and lattice[rho] % 2 == 0]
        colour = place[even].sum(0) % 2
        for which in range(2 if even else 1):
            sites = (colour == which).nonzero()[:, 0]
            # A plaquette is complete where the links along rho are drawn and the neighbour has the other colour.
            planes = tuple(rho for rho in even if which and rho in across[:k])
            stages.append(Stage(nu, k * volume + sites, planes))
    return tuple(stages)

r"""Lifts of U(1) links: real links A and whole numbers n on plaquettes, with the real angles :math:`x = dA + 2 \pi n`.

A lift is ``[batch, ndim + planes, *lattice]``, the links first. The links of the theory are A modulo 2 pi; on them x is
the plaquette angle up to full turns, and it is a continuous function of A.
"""

import math

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry import forms
from flowkit.geometry.space import Space, sites


@checked
def lifts(space: Space) -> Space:
    """The space of the lifts of U(1) links.

    Parameters
    ----------
    space : Space
        Links of U(1) in two or more dimensions, with sides of at least 2.

    Returns
    -------
    Space
        Sites with a component for each direction and each plane.

    Raises
    ------
    ValueError
        For another space.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import lifts
    >>> print(lifts(fk.links((4, 4, 4), fk.U1())))
    Sites 6 component(s) on 4x4x4
    """
    require_angles("A lift", space)
    return sites(space.lattice, space.ndim + len(space.planes))


def require_angles(who: str, space: Space) -> None:
    """Raise ValueError for other spaces than links of U(1) in two or more dimensions with sides of at least 2."""
    if space.kind != "links" or not space.group.winding or space.ndim < 2 or min(space.lattice) < 2:
        raise ValueError(f"{who} needs links of U1 in two or more dimensions with sides of at least 2; got {space}.")


def require_lifts(who: str, space: Space) -> None:
    """Raise ValueError for what is no space of lifts."""
    d = space.ndim
    if space.kind != "sites" or d < 2 or min(space.lattice) < 2 or space.components != d * (d + 1) // 2:
        raise ValueError(
            f"{who} needs lifts of U1 links, d (d + 1) / 2 components in d dimensions with sides of at least 2; "
            f"got {space}."
        )


def lifted_angles(y: Tensor) -> Tensor:
    r""":math:`x = dA + 2 \pi n` of lifts, ``[batch, plane, *lattice]``.

    Examples
    --------
    >>> import torch
    >>> from flowkit.geometry.lift import lifted_angles
    >>> y = torch.zeros(1, 3, 2, 2)
    >>> y[:, 2] = 1.0                                          # no links, a turn on each plaquette
    >>> lifted_angles(y).unique()
    tensor([6.2832])
    """
    d = y.dim() - 2
    return forms.plaquette_sums(y[:, :d]) + 2 * math.pi * y[:, d:]


def with_links(A: Tensor, y: Tensor) -> Tensor:
    """A lift with the links A and the whole numbers of y."""
    return torch.cat([A, y[:, y.dim() - 2 :]], 1)

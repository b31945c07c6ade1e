"""Loops of links in any dimension and for any group: plaquettes, rectangles, staples, Polyakov loops.

A path is a product of links in the order of travel. `U` is a gauge field [batch, mu, *lattice, *matrix]; one
direction of it is [batch, 1, *lattice, *matrix]. Loops are group elements, read with `space.group.trace`.
"""

from numbers import Integral
from typing import Annotated

import torch
from torch import Tensor

from flowkit.checks import Count, Range, check, shown
from flowkit.geometry import paths
from flowkit.geometry.space import Space


def check_links(space: Space, U: Tensor, *directions: int) -> Tensor:
    """U, where it is a batch of fields of a space of links that has these directions.

    Raises
    ------
    TypeError, ValueError
        For another field or space, and for directions that are none, or twice the same.
    """
    if not isinstance(space, Space) or space.kind != "links":
        raise ValueError(
            f"Loops are made on a space of links(); got {space if isinstance(space, Space) else shown(space)}."
        )
    if any(type(mu) is not int or not 0 <= mu < space.ndim for mu in directions):
        check_directions(space, directions)
    if len(set(directions)) < len(directions):
        raise ValueError(f"A plane has two directions; got {directions}.")
    return space.check(U)


def check_directions(space: Space, directions: tuple[int, ...]) -> None:
    """Raise ValueError for what is no direction of a space."""
    for mu in directions:
        check(str(space), f"one of the directions 0 to {space.ndim - 1}", Annotated[int, Range(0, space.ndim - 1)], mu)


def link(U: Tensor, mu: int) -> Tensor:
    """The links of direction mu, [batch, 1, *lattice, *matrix].

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import link
    >>> U = fk.links((4, 6), fk.SUN(2)).haar(3, torch.Generator().manual_seed(1))
    >>> link(U, 1).shape
    torch.Size([3, 1, 4, 6, 2, 2])
    """
    if not isinstance(U, Tensor) or U.dim() < 3 or isinstance(mu, bool) or not isinstance(mu, Integral):
        raise TypeError(
            f"link needs a gauge field [batch, mu, *lattice, ...] and a direction; got {shown(U)}, {shown(mu)}."
        )
    if not 0 <= mu < U.shape[1]:
        raise ValueError(f"A field {list(U.shape)} has the directions 0 to {U.shape[1] - 1}; got {shown(mu)}.")
    return paths.link(U, int(mu))


def line(space: Space, U: Tensor, mu: int, length: int) -> Tensor:
    """The straight product U_mu(x) U_mu(x + mu) ... of `length` links, [batch, 1, *lattice, *matrix].

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import line
    >>> space = fk.links((4, 4), fk.U1())
    >>> line(space, torch.full((1, *space.shape), 0.5), mu=0, length=3).unique()
    tensor([1.5000])
    """
    return paths.line(space, check_links(space, U, mu), mu, check("line", "length", Count, length))


def rectangle(space: Space, U: Tensor, mu: int, nu: int, r: int = 1, t: int = 1, wrap: bool = True) -> Tensor:
    r"""The r x t Wilson loop in the plane (mu, nu) that starts at each site x.

    .. math:: L_\mu(x, r)\, L_\nu(x + r \hat\mu, t)\, L_\mu(x + t \hat\nu, r)^{-1} L_\nu(x, t)^{-1}

    Parameters
    ----------
    space : Space
    U : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    mu, nu : int
        The plane.
    r, t : int
        Sides along mu and nu, in links.
    wrap : bool
        As in `Group.product`.

    Returns
    -------
    Tensor
        Group elements, ``[batch, 1, *lattice, *matrix]``.

    Raises
    ------
    ValueError
        If mu = nu or a side is below 1.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import rectangle
    >>> space = fk.links((4, 4), fk.U1())
    >>> rectangle(space, space.cold(1, like=torch.zeros(1)), 0, 1, r=2, t=3).abs().max()
    tensor(0.)
    """
    check_links(space, U, mu, nu)
    r, t = check("rectangle", "r", Count, r), check("rectangle", "t", Count, t)
    return paths.rectangle(space, U, mu, nu, r, t, check("rectangle", "wrap", bool, wrap))


def plaquette(space: Space, U: Tensor, mu: int, nu: int, wrap: bool = True) -> Tensor:
    """P_{mu nu}(x) = U_mu(x) U_nu(x + mu) U_mu(x + nu)^-1 U_nu(x)^-1, [batch, 1, *lattice, *matrix]."""
    return rectangle(space, U, mu, nu, wrap=wrap)


def plaquettes(space: Space, U: Tensor) -> Tensor:
    """All plaquettes, [batch, planes, *lattice, *matrix], planes in the order of `space.planes`.

    Raises
    ------
    ValueError
        In one dimension, which has none.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import plaquettes
    >>> space = fk.links((2, 3, 4), fk.U1())
    >>> plaquettes(space, space.haar(5, torch.Generator().manual_seed(1))).shape
    torch.Size([5, 3, 2, 3, 4])
    """
    check_links(space, U)
    if not space.planes:
        raise ValueError(f"{space} has no plane and so no plaquette.")
    return torch.cat([paths.rectangle(space, U, mu, nu) for mu, nu in space.planes], 1)


def staples(space: Space, U: Tensor, mu: int, nu: int) -> tuple[Tensor, Tensor]:
    r"""The two staples of U_mu in the plane (mu, nu), parallel to the link V = U_mu(x).

    .. math::
        S_\mathrm{up} &= U_\nu(x)\, U_\mu(x + \hat\nu)\, U_\nu(x + \hat\mu)^{-1} \\
        S_\mathrm{low} &= U_\nu(x - \hat\nu)^{-1} U_\mu(x - \hat\nu)\, U_\nu(x - \hat\nu + \hat\mu)

    V S^-1 is the plaquette on the +nu side of the link for the first one, on the -nu side for the second.

    Returns
    -------
    tuple of Tensor
        Upper and lower staples, each ``[batch, 1, *lattice, *matrix]``.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import link, plaquettes, staples
    >>> space = fk.links((4, 4), fk.SUN(2))
    >>> U = space.haar(1, torch.Generator().manual_seed(1))
    >>> upper, _ = staples(space, U, 0, 1)
    >>> torch.allclose(link(U, 0) @ upper.mH, plaquettes(space, U), atol=1e-6)
    True
    """
    check_links(space, U, mu, nu)
    return paths.staples(space, U, mu, nu)


def staple_list(space: Space, U: Tensor, mu: int) -> list[Tensor]:
    """All 2 (ndim - 1) staples of U_mu, each [batch, 1, *lattice, *matrix].

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import staple_list
    >>> space = fk.links((2, 3, 4), fk.U1())
    >>> len(staple_list(space, space.haar(1, torch.Generator().manual_seed(1)), 0))
    4
    """
    return paths.staple_list(space, check_links(space, U, mu), mu)


def polyakov(space: Space, U: Tensor, mu: int) -> Tensor:
    """The product of links around the lattice in direction mu, one for each transverse site.

    Returns
    -------
    Tensor
        ``[batch, 1, *lattice, *matrix]`` with side 1 in direction mu.

    Raises
    ------
    ValueError
        For a direction that the lattice does not have.
    """
    return paths.line(space, check_links(space, U, mu), mu, space.lattice[mu]).narrow(2 + mu, 0, 1)


def gauge_transform(space: Space, U: Tensor, g: Tensor) -> Tensor:
    r"""A gauge transformation, :math:`U_\mu(x) \to g(x)\, U_\mu(x)\, g(x + \hat\mu)^{-1}`.

    Parameters
    ----------
    g : Tensor
        ``[batch, 1, *lattice, *matrix]``.

    Raises
    ------
    ValueError
        Where the shapes do not fit the space.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import gauge_transform
    >>> space, rng = fk.links((4, 4), fk.SUN(2)), torch.Generator().manual_seed(1)
    >>> U, g = space.haar(1, rng), space.group.haar((1, 1, 4, 4), rng)
    >>> S = fk.Wilson(space, beta=2.0)
    >>> torch.allclose(S(gauge_transform(space, U, g)), S(U), atol=1e-4)
    True
    """
    check_links(space, U)
    wanted = (len(U), 1, *space.shape[1:])
    if not isinstance(g, Tensor) or g.shape != wanted or g.is_complex() != U.is_complex():
        raise ValueError(f"A gauge transformation of {space} is {list(wanted)}; got {shown(g)}.")
    G = space.group
    moved = [G.compose(G.compose(g, paths.link(U, mu)), G.inverse(paths.shift(g, mu))) for mu in range(space.ndim)]
    return torch.cat(moved, 1)

"""Loops of links in any dimension and for any group: plaquettes, rectangles, staples, Polyakov loops.

A path is a product of links in the order of travel. `U` is a gauge field [batch, mu, *lattice, *matrix]; one
direction of it is [batch, 1, *lattice, *matrix]. Loops are group elements, read with `space.group.trace`.
"""

import math

import torch
from torch import Tensor

from flowkit.geometry.lattice import shift
from flowkit.geometry.space import Space


def link(U: Tensor, mu: int) -> Tensor:
    """The links of direction mu, [batch, 1, *lattice, *matrix]."""
    return U.narrow(1, mu, 1)


def line(space: Space, U: Tensor, mu: int, length: int) -> Tensor:
    """The straight product U_mu(x) U_mu(x + mu) ... of `length` links, [batch, 1, *lattice, *matrix]."""
    one = link(U, mu)
    product = one
    for step in range(1, length):
        product = space.group.compose(product, shift(one, mu, step))
    return product


def rectangle(space: Space, U: Tensor, mu: int, nu: int, r: int = 1, t: int = 1, wrap: bool = True) -> Tensor:
    """The r x t Wilson loop in the plane (mu, nu) that starts at x:
    L_mu(x, r) L_nu(x + r mu, t) L_mu(x + t nu, r)^-1 L_nu(x, t)^-1, [batch, 1, *lattice, *matrix].

    Raises    ValueError if mu = nu or a side is below 1
    """
    if mu == nu or r < 1 or t < 1:
        raise ValueError(f"A loop needs two directions and sides >= 1; got plane ({mu}, {nu}) and sides {r}x{t}.")
    a, b = line(space, U, mu, r), line(space, U, nu, t)
    return space.group.product((a, shift(b, mu, r), shift(a, nu, t), b), (1, 1, -1, -1), wrap)


def plaquette(space: Space, U: Tensor, mu: int, nu: int, wrap: bool = True) -> Tensor:
    """P_{mu nu}(x) = U_mu(x) U_nu(x + mu) U_mu(x + nu)^-1 U_nu(x)^-1, [batch, 1, *lattice, *matrix]."""
    return rectangle(space, U, mu, nu, wrap=wrap)


def plaquettes(space: Space, U: Tensor) -> Tensor:
    """All plaquettes, [batch, planes, *lattice, *matrix], planes in the order of `space.planes`.

    Raises    ValueError in one dimension, which has none
    """
    if not space.planes:
        raise ValueError(f"{space} has no plane and so no plaquette.")
    return torch.cat([plaquette(space, U, mu, nu) for mu, nu in space.planes], 1)


def staples(space: Space, U: Tensor, mu: int, nu: int) -> tuple[Tensor, Tensor]:
    """The two staples of U_mu in the plane (mu, nu), parallel to the link V = U_mu(x), each
    [batch, 1, *lattice, *matrix]: V upper^-1 is the plaquette on the +nu side of the link, V lower^-1 the one on
    the -nu side.

    upper = U_nu(x) U_mu(x + nu) U_nu(x + mu)^-1
    lower = U_nu(x - nu)^-1 U_mu(x - nu) U_nu(x - nu + mu)
    """
    G = space.group
    a, b = link(U, mu), link(U, nu)
    upper = G.compose(G.compose(b, shift(a, nu)), G.inverse(shift(b, mu)))
    lower = shift(G.compose(G.compose(G.inverse(b), a), shift(b, mu)), nu, -1)
    return upper, lower


def staple_list(space: Space, U: Tensor, mu: int) -> list[Tensor]:
    """All 2 (ndim - 1) staples of U_mu, each [batch, 1, *lattice, *matrix]."""
    return [s for nu in range(space.ndim) if nu != mu for s in staples(space, U, mu, nu)]


def polyakov(space: Space, U: Tensor, mu: int) -> Tensor:
    """The product of links around the lattice in direction mu, one for each transverse site,
    [batch, 1, *lattice, *matrix] with side 1 in direction mu.

    Raises    ValueError for a direction that the lattice does not have
    """
    if not 0 <= mu < space.ndim:
        raise ValueError(f"{space} has the directions 0 to {space.ndim - 1}; got a Polyakov loop in {mu}.")
    return line(space, U, mu, space.lattice[mu]).narrow(2 + mu, 0, 1)


def gauge_transform(space: Space, U: Tensor, g: Tensor) -> Tensor:
    """U_mu(x) -> g(x) U_mu(x) g(x + mu)^-1 with g [batch, 1, *lattice, *matrix].

    Raises    ValueError where the shapes do not fit the space
    """
    space.check(U)
    wanted = (len(U), 1, *space.shape[1:])
    if g.shape != wanted:
        raise ValueError(f"A gauge transformation of {space} is {list(wanted)}; got {list(g.shape)}.")
    G = space.group
    moved = [G.compose(G.compose(g, link(U, mu)), G.inverse(shift(g, mu))) for mu in range(space.ndim)]
    return torch.cat(moved, 1)


def charge_density_2d(space: Space, U: Tensor) -> Tensor:
    """theta_P(x) / 2 pi of 2D U(1), theta_P in [-pi, pi), [batch, 1, *lattice]; its sum is an integer."""
    return space.group.angle(plaquette(space, U, 0, 1)) / (2 * math.pi)


def clover(space: Space, U: Tensor, mu: int, nu: int) -> Tensor:
    """The field strength i F_{mu nu}(x) from the four plaquettes around x, antihermitian and traceless part of
    their mean, [batch, 1, *lattice, N, N].
    """
    G = space.group
    # The four leaves: the plaquette at x in the planes (mu, nu), (nu, -mu), (-mu, -nu), (-nu, mu).
    a, b = link(U, mu), link(U, nu)
    a_back, b_back = G.inverse(shift(a, mu, -1)), G.inverse(shift(b, nu, -1))
    steps = [(a, mu, 1), (b, nu, 1), (a_back, mu, -1), (b_back, nu, -1)]
    total = torch.zeros_like(a)
    for k in range(4):
        leaf, axis, sign = steps[k]
        place = [(axis, sign)]
        for offset in range(1, 4):
            step, axis, sign = steps[(k + offset) % 4]
            for moved_axis, moved_sign in place:
                step = shift(step, moved_axis, moved_sign)
            leaf = G.compose(leaf, step)
            place.append((axis, sign))
        total = total + leaf
    anti = (total - total.mH) / 8
    return anti - torch.diag_embed(anti.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True).expand(*anti.shape[:-1]))


def charge_density_4d(space: Space, U: Tensor) -> Tensor:
    """q(x) = (1/32 pi^2) eps_{mu nu rho sigma} Tr F_{mu nu} F_{rho sigma} with clover F, [batch, 1, *lattice].

    Real-valued on rough fields; close to an integer in sum only after smoothing. For SU(N) in four dimensions.
    See Di Vecchia et al., Nucl. Phys. B 192 (1981) 392.

    Raises    ValueError for another space
    """
    if space.ndim != 4 or not space.group.complex:
        raise ValueError(f"The clover charge is defined for SU(N) links in four dimensions; got {space}.")
    total = torch.zeros((), device=U.device)
    for (mu, nu), (rho, sigma), sign in [((0, 1), (2, 3), 1), ((0, 2), (1, 3), -1), ((0, 3), (1, 2), 1)]:
        product = clover(space, U, mu, nu) @ clover(space, U, rho, sigma)
        # clover = i F, so Tr F F = -Tr clover clover; each pair of planes appears 8 times in the eps sum.
        total = total - 8 * sign * product.diagonal(dim1=-2, dim2=-1).real.sum(-1)
    return total / (32 * math.pi**2)

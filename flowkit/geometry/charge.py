"""Densities of the topological charge, in two and in four dimensions."""

import math

import torch
from torch import Tensor

from flowkit.geometry.loops import check_links, plaquette
from flowkit.geometry.paths import link, shift
from flowkit.geometry.space import Space


def charge_density_2d(space: Space, U: Tensor) -> Tensor:
    r"""The topological charge density in two dimensions, :math:`\theta_P(x) / 2 \pi` with theta_P in [-pi, pi).

    Returns
    -------
    Tensor
        ``[batch, 1, *lattice]``; its sum is an integer.

    Raises
    ------
    ValueError
        For a group without such an angle, as SU(N).

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import charge_density_2d
    >>> space = fk.links((8, 8), fk.U1())
    >>> q = charge_density_2d(space, space.haar(1, torch.Generator().manual_seed(1), torch.float64)).sum()
    >>> bool((q - q.round()).abs() < 1e-12)
    True
    """
    check_links(space, U)
    if space.ndim != 2 or not space.group.winding:
        raise ValueError(f"The charge is defined for U1 links in two dimensions; got {space}.")
    return space.group.angle(plaquette(space, U, 0, 1)) / (2 * math.pi)


def _leaves(space: Space, U: Tensor, mu: int, nu: int) -> list[Tensor]:
    """The plaquette at x in the planes (mu, nu), (nu, -mu), (-mu, -nu), (-nu, mu)."""
    G = space.group
    a, b = link(U, mu), link(U, nu)
    a_back, b_back = G.inverse(shift(a, mu, -1)), G.inverse(shift(b, nu, -1))
    steps = [(a, mu, 1), (b, nu, 1), (a_back, mu, -1), (b_back, nu, -1)]
    leaves = []
    for k in range(4):
        leaf, axis, sign = steps[k]
        place = [(axis, sign)]
        for offset in range(1, 4):
            step, axis, sign = steps[(k + offset) % 4]
            for moved_axis, moved_sign in place:
                step = shift(step, moved_axis, moved_sign)
            leaf = G.compose(leaf, step)
            place.append((axis, sign))
        leaves.append(leaf)
    return leaves


def clover(space: Space, U: Tensor, mu: int, nu: int) -> Tensor:
    """The field strength i F_{mu nu}(x): the antihermitian and traceless part of the mean of the four plaquettes at x.

    Returns
    -------
    Tensor
        ``[batch, 1, *lattice, N, N]``.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import clover
    >>> space = fk.links((2, 2, 2, 2), fk.SUN(3))
    >>> clover(space, space.cold(1, like=torch.zeros(1)), 0, 1).abs().max()   # no field, no strength
    tensor(0.)
    """
    check_links(space, U, mu, nu)
    if not space.group.complex:
        raise ValueError(f"The clover is defined for links of complex matrices; got {space}.")
    leaves = _leaves(space, U, mu, nu)
    total = sum(leaves[1:], leaves[0])
    anti = (total - total.mH) / 8
    return anti - torch.diag_embed(anti.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True).expand(*anti.shape[:-1]))


def field_strength(space: Space, U: Tensor, mu: int, nu: int) -> Tensor:
    r"""The field strength F^a_{mu nu}(x) from the four plaquettes at x, in algebra coordinates and for any group.

    Returns
    -------
    Tensor
        ``[batch, 1, *lattice, *algebra_axes]``, in lattice units.

    Raises
    ------
    ValueError
        For sites, and directions that are no plane.

    Notes
    -----
    The mean of the four is projected to the algebra: for U(1) it is the mean of the sines of their angles, for SU(N)
    :math:`F = F^a T_a` is -i times `clover`.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import field_strength
    >>> space = fk.links((4, 3), fk.U1())
    >>> U = torch.tensor([0.0, 0.1]).view(1, 2, 1, 1) * torch.arange(4.0).view(1, 1, 4, 1).expand(1, 2, 4, 3)
    >>> field_strength(space, U, 0, 1)[0, 0, :, 0]                 # plaquettes of 0.1, the last one of -0.3
    tensor([-0.0978,  0.0998,  0.0998, -0.0978])
    """
    check_links(space, U, mu, nu)
    G = space.group
    slopes = [G.trace_slope(leaf) for leaf in _leaves(space, U, mu, nu)]
    return sum(slopes[1:], slopes[0]) * (-G.algebra_dim / G.casimir / 4)


def charge_density_4d(space: Space, U: Tensor) -> Tensor:
    r"""The topological charge density in four dimensions from the clover field strength F.

    .. math:: q(x) = \frac{1}{32 \pi^2} \epsilon_{\mu\nu\rho\sigma} \mathrm{Tr}\, F_{\mu\nu} F_{\rho\sigma}

    Its sum is real on rough fields, and close to an integer only after smoothing.

    Returns
    -------
    Tensor
        ``[batch, 1, *lattice]``.

    Raises
    ------
    ValueError
        For another space than links of complex matrices in four dimensions.

    References
    ----------
    Di Vecchia et al., Nucl. Phys. B 192 (1981) 392.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import charge_density_4d
    >>> space = fk.links((2, 2, 2, 2), fk.SUN(2))
    >>> charge_density_4d(space, space.haar(3, torch.Generator().manual_seed(1))).shape
    torch.Size([3, 1, 2, 2, 2, 2])
    """
    check_links(space, U)
    if space.ndim != 4 or not space.group.complex:
        raise ValueError(f"The clover charge is defined for SU(N) links in four dimensions; got {space}.")
    total = torch.zeros((), device=U.device)
    for (mu, nu), (rho, sigma), sign in [((0, 1), (2, 3), 1), ((0, 2), (1, 3), -1), ((0, 3), (1, 2), 1)]:
        product = clover(space, U, mu, nu) @ clover(space, U, rho, sigma)
        # clover = i F, so Tr F F = -Tr clover clover; each pair of planes appears 8 times in the eps sum.
        total = total - 8 * sign * product.diagonal(dim1=-2, dim2=-1).real.sum(-1)
    return total / (32 * math.pi**2)

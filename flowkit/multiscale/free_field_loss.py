"""What an order of new links loses for the free photon field, by exact linear algebra."""

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.geometry.closed_paths import Loop, link_index
from flowkit.geometry.lattice import coordinates, site_index
from flowkit.geometry.space import Space
from flowkit.multiscale.doubling import LinkDoubling
from flowkit.multiscale.route import doublings_to
from flowkit.multiscale.stages import Order

EPS = 1e-5
"""Mass that the constant modes of the field are given, in units of the stiffness of a plaquette."""


@checked
def free_field_loss(space: Space, order: Order) -> float:
    r"""The nats that a multiscale model of free photons loses, because it draws the links of a stage in parallel.

    At large beta every gauge theory is nearly Gaussian. The loss does not depend on beta then, and no conditional,
    whatever it is given, can go below it.

    Parameters
    ----------
    space : Space
        Its lattice is that of the fine field; the sides must be powers of two. The group does not matter.
    order : str
        Of the new links in each doubling, as `LinkDoubling` says.

    Returns
    -------
    float
        In nats, for the whole field.

    Raises
    ------
    ValueError
        For another lattice.

    Notes
    -----
    For the action :math:`\frac{1}{2} \sum_P (dA)_P^2` the links of a stage have, given all links before it, a normal
    distribution with covariance C, of which independent draws keep the diagonal alone:

    .. math:: {\rm loss} = \sum_{\rm stages} \frac12 \Big[\sum_i \ln C_{ii} - \ln \det C\Big]

    First halves of links are set to zero, a gauge.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.links((4, 4, 4), fk.U1())
    >>> [round(fk.multiscale.free_field_loss(space, order), 3) for order in ("together", "cells", "hierarchical")]
    [7.442, 0.095, 0.004]
    """
    if space.kind != "links" or any(side & (side - 1) for side in space.lattice):
        raise ValueError(f"free_field_loss needs links on a lattice whose sides are powers of two; got {space}.")
    groups = _stages(space, order)
    order_of_links = torch.cat(groups)
    steps = [
        link_index(space, torch.arange(space.volume), Loop.rectangle(mu, nu).steps(space.ndim))
        for mu, nu in space.planes
    ]
    legs = torch.cat(steps, 1)
    d = torch.zeros(legs.shape[1], space.ndim * space.volume, dtype=torch.float64)
    for leg, sign in zip(legs, (1.0, 1.0, -1.0, -1.0), strict=True):
        d.scatter_add_(1, leg[:, None], torch.full((len(d), 1), sign, dtype=torch.float64))
    d = d[:, order_of_links]
    stiffness = d.T @ d + EPS * torch.eye(d.shape[1], dtype=torch.float64)
    # The rows of one stage in the Cholesky factor of the covariance: their square is C.
    factor = torch.linalg.cholesky(torch.linalg.inv(stiffness))
    loss, start = 0.0, 0
    for group in groups:
        block = factor[start : start + len(group), start : start + len(group)]
        loss += float(block.square().sum(1).log().sum() / 2 - block.diagonal().log().sum())
        start += len(group)
    return loss


def _stages(space: Space, order: Order) -> list[Tensor]:
    """The links in the order of drawing, stage by stage, each by the last fine link of its path: nu * volume + site."""
    doublings = doublings_to(space, None, order)
    groups = [
        _last(space, (1,) * space.ndim, mu, torch.zeros(space.ndim, 1, dtype=torch.long)) for mu in range(space.ndim)
    ]
    for doubling in doublings:
        groups += [_places(space, doubling, stage.links) for stage in doubling.stages]
    return groups


def _places(space: Space, doubling: LinkDoubling, links: Tensor | None) -> Tensor:
    fine, found = doubling.fine, []
    places = doubling.places if links is None else doubling.places[links]
    x = coordinates(fine.lattice)
    for nu in range(fine.ndim):
        mine = places[places // fine.volume == nu] % fine.volume
        found.append(_last(space, fine.lattice, nu, x[:, mine]))
    return torch.cat(found)


def _last(space: Space, lattice: tuple[int, ...], nu: int, x: Tensor) -> Tensor:
    """The last fine link of the links along nu at sites x of a coarser lattice."""
    a = torch.tensor([side // mine for side, mine in zip(space.lattice, lattice, strict=True)])
    fine = x * a[:, None]
    fine[nu] += a[nu] - 1
    return nu * space.volume + site_index(fine, space.lattice)

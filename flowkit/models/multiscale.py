"""Ready-made multiscale models: of links, and of scalar fields."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated

from flowkit.bijections.base import Bins
from flowkit.bijections.splines import RealSpline
from flowkit.checks import Count, Positive, Range, Width, checked
from flowkit.flow import Flow
from flowkit.geometry.space import Space
from flowkit.models.dressed import dressed_flow
from flowkit.models.made import ready_made
from flowkit.models.photon import photon_flow
from flowkit.models.scalar import free_field, scalar_flow
from flowkit.multiscale import (
    ClassFunctionConditional,
    HeatAngleConditional,
    LinkConditional,
    NewLinks,
    SiteDoubling,
    SU2ClassFunctionConditional,
)
from flowkit.multiscale.route import doublings_to
from flowkit.multiscale.stages import Order
from flowkit.priors import Embedded, Haar, Prior
from flowkit.transforms import Chain, CheckerboardCoupling, DistributionConverter

PHOTONS = {3: 2.0, 4: 1.4}
"""Couplings of U(1) by dimension from which free photons are the better start."""


@ready_made
@checked
def multiscale_flow(
    space: Space,
    terms: Annotated[int, Range(0, 64)] | None = None,
    coarsest: Prior | None = None,
    strength: Positive | None = None,
    links: Callable[[int], LinkConditional] | None = None,
) -> Prior:
    """The default model of U(1) or SU(N) links: multiscale, and free photons for U(1) at weak coupling.

    In two dimensions new links follow class functions for U(1) and SU(2), which start at Haar measure and train by
    natural gradient, and heat angles with splines for N >= 3. In more dimensions it is `dressed_flow`, for U(1), SU(2)
    and SU(3), which trains by maximum likelihood; in four it has the order "cells" and no powers, since few parameters
    are worth more there. Sides are halved, the longer first, until they are odd, or until the lattice of `coarsest` is
    reached.

    For U(1) from `strength` 2 in three dimensions and 1.4 in four it is `photon_flow`, which needs no training, unless
    a `coarsest` prior is given or a side is 1.

    Parameters
    ----------
    space : Space
        Links in two or more dimensions, at least one side even.
    terms : int, optional
        Of each class function, harmonics or characters; by default 16 for U(1), 12 for SU(2).
    coarsest : Prior, optional
        The prior on the lattice to begin with; by default `Haar`.
    strength : float, optional
        The coupling beta at the start, 1 by default. For N >= 3 in two dimensions it is that of the finest heat law,
        half of it for each coarser doubling; in more dimensions that of the theory, as `dressed_flow` and `photon_flow`
        take it.
    links : callable, optional
        Makes another model of new links, called as ``links(level)``, level 0 the finest doubling; `terms` and
        `strength` are then not used.

    Returns
    -------
    Flow or FromLifts
        The latter where it is `photon_flow`.

    Raises
    ------
    ValueError
        For other spaces, terms for N >= 3, strength for N < 3, or where no doublings lead from the coarsest lattice to
        `space`.

    Notes
    -----
    Effective sample sizes for U(1), of dressed staples trained by maximum likelihood and of photons with a trained
    drift, as `flowkit reproduce multiscale-3d`, `multiscale-4d`, `photon-3d` and `photon-4d` recorded them:

    =============  ===============  =======
    theory         dressed staples  photons
    =============  ===============  =======
    4^3, beta 1    .930             none
    4^3, beta 2    .39              .90
    4^3, beta 3    not run          .993
    4^4, beta 1    .003             not run
    4^4, beta 1.5  not run          .87
    4^4, beta 2    not run          .97
    =============  ===============  =======

    Haar on 1x1 is exact for U(1), because its one plaquette is trivial, and nearly so for SU(N). A larger coarsest
    lattice, as sides with an odd factor leave it, costs overlap where its own effective coupling is not small: give it
    a prior that is better there.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> flow = fk.multiscale_flow(fk.links((4, 4), fk.SUN(2)))
    >>> x, logq = flow.sample_and_log_prob(2, torch.Generator().manual_seed(1))
    >>> x.shape
    torch.Size([2, 2, 4, 4, 2, 2])
    """
    n = space.group.dimension
    if space.kind != "links" or space.ndim < 2 or (space.ndim > 2 and n > 3):
        raise ValueError(
            "multiscale_flow builds models for links in two dimensions, of U1, SU2 and SU3 in three and more; "
            f"got {space}."
        )
    if space.ndim > 2:
        if terms is not None or links is not None:
            raise ValueError(f"terms and links are for two dimensions; got {terms} and {links} for {space}.")
        beta, least = strength or 1.0, PHOTONS.get(space.ndim, math.inf)
        if space.group.winding and coarsest is None and min(space.lattice) > 1 and beta >= least:
            return photon_flow(space, beta)
        few = space.ndim > 3
        order: Order = "cells" if few else "hierarchical"
        return dressed_flow(space, beta, order=order, powers=not few, coarsest=coarsest)
    if n <= 2 and strength is not None:
        raise ValueError(f"Heat laws, and so strength, are for SU(N) from N = 3; got {strength} for {space.group}.")
    if n > 2 and terms is not None:
        raise ValueError(f"Class functions, and so terms, are for U1 and SU2; got {terms} for {space.group}.")

    def model(level: int) -> LinkConditional:
        if links is not None:
            return links(level)
        if n == 1:
            return ClassFunctionConditional(16 if terms is None else terms)
        if n == 2:
            return SU2ClassFunctionConditional(12 if terms is None else terms)
        return HeatAngleConditional(n, strength=(strength or 1.0) / 2**level)

    doublings = doublings_to(space, None if coarsest is None else coarsest.space)
    flow: Prior = coarsest or Haar(doublings[0].coarse)
    for level, doubling in zip(reversed(range(len(doublings))), doublings, strict=True):
        flow = Flow(Embedded(flow, doubling), NewLinks(doubling, model(level)))
    assert isinstance(flow, Flow)
    return flow


@ready_made
@checked
def scalar_multiscale_flow(
    space: Space,
    couplings: Annotated[int, Range(0, 1000)] = 0,
    bins: Bins = 6,
    hidden: Sequence[Width] = (24,),
    least: Count = 4,
    symmetric: bool = True,
) -> Flow:
    """The default multiscale model of scalar fields, with checkerboard spline couplings on its finest lattice.

    All sides are halved while they are even and do not fall below `least`. The coarsest lattice has `scalar_flow` where
    its sides are even, and a free field with a symmetric distribution converter where one is odd. The density is even,
    as that of `scalar_flow`.

    Parameters
    ----------
    space : Space
        Sites.
    couplings : int
        Number of fine couplings.
    bins : int
        Of all splines.
    hidden : sequence of int
        Channels of the networks' hidden layers.
    least : int
        Smallest side of the coarsest lattice.
    symmetric : bool
        False leaves the symmetry phi -> -phi out, for theories that lack it.

    Raises
    ------
    ValueError
        For links, or for couplings on odd sides.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> flow = fk.scalar_multiscale_flow(fk.sites((8, 8)), bins=4, hidden=(6,))
    >>> fk.multiscale.coarsest(flow).space.lattice
    (4, 4)
    >>> flow.sample(2, torch.Generator().manual_seed(1)).shape
    torch.Size([2, 1, 8, 8])
    """
    if space.kind != "sites":
        raise ValueError(f"scalar_multiscale_flow needs sites; got {space}.")
    spaces = [space]
    while max(spaces[0].lattice) >= 4 and all(side % 2 == 0 and side // 2 >= least for side in spaces[0].lattice):
        spaces.insert(0, space.on([side // 2 for side in spaces[0].lattice]))
    if all(side % 2 == 0 for side in spaces[0].lattice):
        flow = scalar_flow(spaces[0], bins=bins, hidden=hidden, symmetric=symmetric)
    else:
        flow = Flow(free_field(spaces[0], symmetric), DistributionConverter(spaces[0], 16, symmetric=True))
    for one in spaces[1:]:
        flow = Flow(Embedded(flow), SiteDoubling(one, bins, hidden, z2=symmetric))
    if not couplings:
        return flow
    kernels = (5, *[1] * len(hidden))
    layers = [
        CheckerboardCoupling(space, k % 2, RealSpline(bins), hidden, kernels, z2=symmetric) for k in range(couplings)
    ]
    return Flow(flow, Chain(*layers))

"""Ready-made flows for gauge fields."""

from collections.abc import Sequence
from typing import Annotated

from flowkit.bijections.base import Bins
from flowkit.bijections.eigenangles import EigenangleSpline
from flowkit.checks import Range, Width, checked
from flowkit.flow import Flow
from flowkit.geometry.closed_paths import Loop
from flowkit.geometry.patterns import Pattern
from flowkit.geometry.space import Space
from flowkit.models.made import ready_made
from flowkit.priors import Haar, Prior
from flowkit.transforms import Chain, GaugeCoupling, Transform


@ready_made
@checked
def gauge_flow(
    space: Space,
    bins: Bins | None = None,
    hidden: Sequence[Width] | None = None,
    updates: Annotated[int, Range(1, 1000)] | None = None,
    prior: Prior | None = None,
) -> Flow:
    """A gauge-equivariant flow of links, couplings on top of Haar measure or of another prior.

    In two dimensions the couplings go from coarse to fine: each splits rectangles of plaquettes in two by moving one
    link of their common side, given the loops on both sides of it; loops of r x t plaquettes are the active loops.
    That is the order in which the theory factorises. Odd factors of a side are split off first, one after another.
    In more dimensions half of the links of one direction move at a time, no two of them in one plaquette, conditioned
    on the loops around them. Where elements of the group commute, a link is updated through one loop in two dimensions,
    and through each of its plaquettes in turn in more; otherwise through learned sums of its staples.

    Parameters
    ----------
    space : Space
        Links of a group with eigenangles, such as U(1) and SU(N), in two or more dimensions.
    bins : int, optional
        Of the splines. None takes 8, and 4 beyond three dimensions.
    hidden : sequence of int, optional
        Channels of the networks' hidden layers. None takes (16, 16), and (8, 16) beyond three dimensions, where the
        first convolution of 3^d taps has most of the parameters.
    updates : int, optional
        Updates of a link in each coupling through learned loops, of groups whose elements do not commute. None takes 2
        for SU(2), whose first one is nearly the exact answer, and 4 beyond.
    prior : Prior, optional
        What the couplings start from; None takes `Haar`. In three and four dimensions at strong coupling a
        `TrivializingFlow` from Haar measure has most of the theory in a dozen numbers. Couplings on top of a prior
        begin as the identity.

    Raises
    ------
    ValueError
        For sites, one dimension, a side of 1, odd sides in more than two dimensions, a prior on another
        space, or `updates` that do not apply.

    References
    ----------
    Kanwar et al., 2003.06413; Boyda et al., 2008.05456.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> flow = fk.gauge_flow(fk.links((4, 4), fk.U1()))
    >>> x, logq = flow.sample_and_log_prob(3, torch.Generator().manual_seed(1))
    >>> x.shape, logq.shape
    (torch.Size([3, 2, 4, 4]), torch.Size([3]))
    >>> space = fk.links((2, 2, 2), fk.SUN(2))
    >>> strong = fk.Flow(fk.Haar(space), fk.transforms.TrivializingFlow(space, order=1, beta=1.0))
    >>> len(fk.gauge_flow(space, prior=strong.requires_grad_(False)).transform.steps)
    6
    """
    group = space.group
    if space.kind != "links" or space.ndim < 2:
        raise ValueError(f"gauge_flow builds flows for links of U1 or SUN in two or more dimensions; got {space}.")
    if min(space.lattice) < 2 or (space.ndim > 2 and any(side % 2 for side in space.lattice)):
        raise ValueError(f"gauge_flow needs sides of at least 2, and even ones beyond two dimensions; got {space}.")
    if updates is not None and group.abelian:
        raise ValueError(f"gauge_flow takes updates for SU(N) alone; got {updates} for {group}.")
    start = 0.1 if prior is None else 0.0  # couplings on top of a prior begin as the identity
    prior = Haar(space) if prior is None else prior
    bins = (8 if space.ndim < 4 else 4) if bins is None else bins
    hidden = ((16, 16) if space.ndim < 4 else (8, 16)) if hidden is None else hidden
    learned = updates or (2 if group.angles == 2 else 4)

    def maps(loops: int) -> list[EigenangleSpline]:
        active = range(loops) if group.abelian else [None] * learned
        return [EigenangleSpline(group, loop, bins) for loop in active]

    layers: list[Transform] = []
    if space.ndim == 2:
        for pattern, over, under in _splits(space.lattice):
            layers.append(GaugeCoupling(space, pattern, [over, under], maps(1), hidden, start=start))
        return Flow(prior, Chain(*layers))
    kernels = (3, *[1] * len(hidden))
    for pattern in Pattern.checkerboard(0, space.ndim).schedule():
        loops = Loop.rectangle().through(pattern.directions[0], space.ndim)
        frozen = Loop.rectangle().orientations(space.ndim)
        layers.append(
            GaugeCoupling(space, pattern, loops, maps(len(loops)), hidden, kernels, frozen=frozen, start=start)
        )
    return Flow(prior, Chain(*layers))


def _splits(lattice: Sequence[int]) -> list[tuple[Pattern, Loop, Loop]]:
    """The cuts of rectangles in two, coarse to fine, until each is one plaquette: which links move, and the loops over
    and under them.
    """
    splits = []
    blocks = list(lattice)

    def cut(nu: int, period: int, place: int) -> None:
        """Cut each rectangle of `period` plaquettes along nu at `place`."""
        mu = 1 - nu
        periods, offsets = [0, 0], [0, 0]
        periods[mu], periods[nu], offsets[nu] = blocks[mu], period, place
        over = Loop.rectangle(mu, nu, blocks[mu], blocks[nu])
        under = Loop.rectangle(mu, nu, blocks[mu], place, below=True)
        splits.append((Pattern.stripes(mu, tuple(periods), tuple(offsets)), over, under))

    for nu in (1, 0):
        side = blocks[nu]
        blocks[nu] = side & -side  # the largest power of two in the side
        for place in range(side - blocks[nu], 0, -blocks[nu]):
            cut(nu, side, place)
    while max(blocks) > 1:
        nu = 0 if blocks[0] > blocks[1] else 1
        blocks[nu] //= 2
        cut(nu, 2 * blocks[nu], blocks[nu])
    return splits


@checked
def plaquette_couplings(
    space: Space, sweeps: Annotated[int, Range(1, 1000)] = 1, bins: Bins = 8, hidden: Sequence[Width] = (8, 8)
) -> Chain:
    """Plaquette couplings in two dimensions that fit any lattice with sides of multiples of 4.

    A sweep has eight couplings and moves every link once, a quarter of a direction at a time: each link through the
    plaquette on one side of it, by a spline that a network sets from the frozen plaquettes around and from the flux
    through the two plaquettes at the link. The network reads within distance 1 and goes on at each link alone.

    Parameters
    ----------
    space : Space
        Links of a group with eigenangles in two dimensions, sides that 4 divides.
    sweeps : int
        At least 1.
    bins : int
        Of the splines.
    hidden : sequence of int
        Channels of the networks' hidden layers.

    Raises
    ------
    ValueError
        For another space, sweeps < 1, or sides that 4 does not divide.

    References
    ----------
    Kanwar et al., 2003.06413; 2112.01586.

    Examples
    --------
    >>> import flowkit as fk
    >>> len(fk.models.plaquette_couplings(fk.links((8, 4), fk.U1())).steps)
    8
    """
    if space.kind != "links" or space.ndim != 2:
        raise ValueError(f"plaquette_couplings needs links in two dimensions; got {space}.")
    kernels, update = (3, *[1] * len(hidden)), EigenangleSpline(space.group, 0, bins)
    layers = []
    for k in range(8 * sweeps):
        mu, place = k % 2, k // 2 % 4
        pattern, loops = Pattern.sparse(mu, 2, 4, -place), Loop.rectangle().through(mu, 2)
        layers.append(GaugeCoupling(space, pattern, loops, [update], hidden, kernels, frozen=[Loop.rectangle()]))
    return Chain(*layers)

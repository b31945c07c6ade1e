"""Ready-made flows for scalar fields."""

from collections.abc import Sequence
from typing import Annotated

from torch import nn

from flowkit.bijections.base import Bins
from flowkit.bijections.splines import RealSpline
from flowkit.checks import Count, Natural, NotNegative, Range, Width, checked
from flowkit.flow import Flow
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import sign
from flowkit.models.made import ready_made
from flowkit.priors import FreeField, Prior, Symmetrised
from flowkit.transforms import (
    Affine,
    Chain,
    CheckerboardCoupling,
    DistributionConverter,
    FreeFieldDrift,
    Transform,
    gap_mass,
)

START = 0.5
"""v at the start, in units of the field. At 0 its gradient vanishes."""


@ready_made
@checked
def scalar_flow(
    space: Space,
    layers: Annotated[int, Range(0, 1000)] = 4,
    bins: Bins = 6,
    hidden: Sequence[Width] = (24,),
    symmetric: bool = True,
) -> Flow:
    """A flow for scalar fields: a free field, checkerboard couplings, and a map of each site.

    The free field learns its mass. The couplings move the sites of each parity in turn by splines of the real line; the
    network of each reads the frozen sites within two steps and goes on at each active site alone. A symmetric
    distribution converter ends the chain.

    The density is even, q(-phi) = q(phi), as the phi^4 actions are: the free field stands in two wells, whose distance
    it learns, and the couplings are odd. Where the symmetry is broken, training by the reverse KL then cannot end in
    one of the two minima alone.

    Parameters
    ----------
    space : Space
        Sites with even sides, fields ``[batch, components, *lattice]``.
    layers : int
        Number of couplings.
    bins : int
        Of their splines.
    hidden : sequence of int
        Channels of the networks' hidden layers.
    symmetric : bool
        False leaves the symmetry out, for theories that lack it, as in an external field.

    Raises
    ------
    ValueError
        For links or odd sides.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> flow = fk.scalar_flow(fk.sites((4, 4)))
    >>> flow.sample(3, torch.Generator().manual_seed(1)).shape
    torch.Size([3, 1, 4, 4])
    """
    kernels = (5, *[1] * len(hidden))
    couplings: list[Transform] = [
        CheckerboardCoupling(space, k % 2, RealSpline(bins), hidden, kernels, z2=symmetric) for k in range(layers)
    ]
    converter = DistributionConverter(space, 16, symmetric=True)
    return Flow(free_field(space, symmetric), Chain(*couplings, converter))


def free_field(space: Space, wells: bool) -> Prior:
    """A free field that learns its mass and scale, around 0 or, with equal probability, around +-v; v is learned too,
    one for each component.
    """
    one = FreeField(space, 1.0, learned=True)
    if not wells:
        return one
    moved = Affine(space)
    assert moved.shift is not None
    nn.init.constant_(moved.shift, START)
    return Symmetrised(Flow(one, moved), sign(space))


@ready_made
@checked
def free_field_flow(space: Space, m2: float, lam: NotNegative, degree: Natural = 0, steps: Count = 4) -> Flow:
    r"""The free field of the gap equation and the first-order drift to phi^4: a flow that needs no training.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    m2, lam : float
        Couplings of `Phi4`.
    degree, steps : int
        As for `FreeFieldDrift`.

    Returns
    -------
    Flow
        `FreeField` and `FreeFieldDrift`, in any dimension. It serves in the symmetric phase.

    Raises
    ------
    ValueError
        For links, or a free theory without mass.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((8, 8)), m2=0.0, lam=0.5)
    >>> flow = fk.models.free_field_flow(action.space, m2=0.0, lam=0.5).double()
    >>> bare, drifted = (fk.importance_sample(one, action, 2000, rng=1).ess().value for one in (flow.prior, flow))
    >>> print(f"{bare:.2f} -> {drifted:.2f}")
    0.84 -> 0.97
    """
    mass = gap_mass(space, m2, lam)
    return Flow(FreeField(space, mass), FreeFieldDrift(space, mass, lam, degree, steps))

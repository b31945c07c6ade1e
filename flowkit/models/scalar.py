"""Ready-made flows for scalar fields."""

from collections.abc import Sequence

from flowkit.bijections.splines import RealSpline
from flowkit.flow import Flow
from flowkit.geometry.space import Space
from flowkit.priors import FreeField
from flowkit.transforms import Chain, CheckerboardCoupling, DistributionConverter, Transform


def scalar_flow(space: Space, layers: int = 4, bins: int = 6, hidden: Sequence[int] = (24,)) -> Flow:
    """A flow for scalar fields: a free field, checkerboard couplings, and a map of each site.

    The free field learns its mass. The couplings move the sites of each parity in turn by splines of the real line; the
    network of each reads the frozen sites within two steps and goes on at each active site alone. A symmetric
    distribution converter ends the chain.

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
        CheckerboardCoupling(space, k % 2, RealSpline(bins), hidden, kernels) for k in range(layers)
    ]
    converter = DistributionConverter(space, 16, symmetric=True)
    return Flow(FreeField(space, 1.0, learned=True), Chain(*couplings, converter))

"""Gauge couplings on a multiscale model of links: on its finest lattice, and between its levels."""

from collections.abc import Sequence

from flowkit.bijections.base import Bins
from flowkit.checks import Width, checked
from flowkit.flow import Flow
from flowkit.models.gauge import gauge_flow
from flowkit.multiscale.structure import coarsest, levels
from flowkit.nets import ConvNet
from flowkit.priors import Embedded, Prior


@checked
def with_couplings(
    flow: Flow,
    *,
    between: bool = False,
    joint: bool = False,
    bins: Bins | None = None,
    hidden: Sequence[Width] | None = None,
) -> Flow:
    """A multiscale model of links with the couplings of `gauge_flow` on its finest lattice.

    Their splines begin a hundred times nearer to the identity than those of `gauge_flow` do, so that training goes on
    where that of the model ended.

    Parameters
    ----------
    flow : Flow
        A multiscale model of links without couplings, such as a trained `dressed_flow`. Its models of new links are
        used, not copied.
    between : bool
        Whether couplings also act on each coarser lattice on which they fit, before the next doubling.
    joint : bool
        Whether the models of new links are trained too. Their parameters require a gradient afterwards, or do not.
    bins, hidden
        As of `gauge_flow`.

    Raises
    ------
    ValueError
        For a flow that is no multiscale model of links, or already has couplings, and as `gauge_flow`.

    Notes
    -----
    Reverse KL by Adam trains it, since log q has no score in closed form behind couplings.

    Examples
    --------
    >>> import flowkit as fk
    >>> flow = fk.multiscale_flow(fk.links((2, 2, 2), fk.U1()), strength=1.0)
    >>> coupled = fk.models.with_couplings(flow, between=True)
    >>> [len(level.models) for level in fk.multiscale.levels(coupled)] == [2, 4, 8]
    True
    """
    parts = levels(flow)
    plain = [type(layer) for layer in flow.modules() if isinstance(layer, Flow)]
    if not parts or len(plain) != len(parts):
        raise ValueError(f"with_couplings needs a multiscale model of links without couplings; got {flow.describe()}.")
    for p in flow.parameters():
        p.requires_grad_(joint)
    prior: Prior = coarsest(flow)
    for new in parts:
        prior = Flow(Embedded(prior, new.doubling), new)
        fits = min(new.space.lattice) >= 2 and all(side % 2 == 0 for side in new.space.lattice)
        if new is parts[-1] or (between and fits):
            couplings = gauge_flow(new.space, bins, hidden).transform
            for net in couplings.modules():
                if isinstance(net, ConvNet):
                    net.shrink(0.01)
            prior = Flow(prior, couplings)
    assert isinstance(prior, Flow)
    return prior

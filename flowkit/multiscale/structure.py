"""The parts of a multiscale model: levels, coarsest prior, fields by scale; copies with other models of new links."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.checks import Count, Positive, checked
from flowkit.flow import Flow
from flowkit.geometry.space import Space
from flowkit.multiscale.conditionals.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditionals.smooth_class_functions import SmoothClassFunctionConditional
from flowkit.multiscale.new_links import NewLinks
from flowkit.priors import Embedded, Prior


@checked
def levels(flow: Prior) -> list[NewLinks]:
    """The transforms of new links of a flow and of the flows that it begins with, from coarse to fine.

    Parameters
    ----------
    flow : Prior
        A multiscale model; couplings may stand between its levels. Any other prior has no levels.

    Examples
    --------
    >>> import flowkit as fk
    >>> flow = fk.multiscale_flow(fk.links((2, 4), fk.U1()))
    >>> [level.space.lattice for level in fk.multiscale.levels(flow)]
    [(2, 1), (2, 2), (2, 4)]
    """
    if isinstance(flow, Flow):
        return [*levels(flow.prior), *(part for part in flow.transform.modules() if isinstance(part, NewLinks))]
    return levels(flow.coarse) if isinstance(flow, Embedded) else []


@checked
def coarsest(flow: Prior) -> Prior:
    """The prior that a multiscale model begins with: what its coarsest level is embedded from.

    Parameters
    ----------
    flow : Prior
        A multiscale model. Any other prior is its own coarsest one.

    Examples
    --------
    >>> import flowkit as fk
    >>> flow = fk.multiscale_flow(fk.links((2, 6), fk.U1()))
    >>> prior = fk.multiscale.coarsest(flow)
    >>> type(prior).__name__, prior.space.lattice
    ('Haar', (1, 3))
    """
    while isinstance(flow.base, Embedded):
        flow = flow.base.coarse
    return flow


class Scale(NamedTuple):
    """A field at one scale, [batch, *space.shape], and log q of the part of the model that ends there, [batch]."""

    space: Space
    x: Tensor
    logq: Tensor


@checked
def fields_by_scale(model: Prior, x: Tensor) -> list[Scale]:
    """A fine field at every scale of a multiscale model, coarse to fine; the last one is x itself.

    Parameters
    ----------
    model : Prior
        A multiscale model, of links or of sites. Other priors have one scale.
    x : Tensor
        Fields of the finest lattice, ``[batch, *model.space.shape]``.

    Returns
    -------
    list of Scale
        Space, field and log q of the part of the model that ends at that scale.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.multiscale_flow(fk.links((2, 4), fk.U1()))
    >>> x = model.sample(3, torch.Generator().manual_seed(1))
    >>> [(scale.space.lattice, scale.logq.shape) for scale in fk.multiscale.fields_by_scale(model, x)]
    [((1, 1), torch.Size([3])), ((2, 1), torch.Size([3])), ((2, 2), torch.Size([3])), ((2, 4), torch.Size([3]))]
    """
    model.space.check(x)
    prior, z, logdet = model, x, torch.zeros(len(x), dtype=x.real.dtype, device=x.device)
    while isinstance(prior, Flow):
        z, more = prior.peeled(z)
        prior, logdet = prior.prior, logdet + more
    if not isinstance(prior, Embedded):
        return [Scale(model.space, x, prior.log_prob(z) + logdet)]
    coarse, *rest = prior.doubling.split(z)
    found = fields_by_scale(prior.coarse, coarse)
    return [*found, Scale(model.space, x, found[-1].logq + prior.log_rest(*rest) + logdet)]


@checked
def smoothed(flow: Flow, cells: Count = 256) -> Flow:
    """A copy of a multiscale model of U(1) whose log q has a continuous slope, for HMC in its base variables.

    Parameters
    ----------
    flow : Flow
        A multiscale model. Each `ClassFunctionConditional` in it is replaced by a `SmoothClassFunctionConditional` of
        the same weights; all else is copied.
    cells : int
        Least number of intervals of the new tables.

    Examples
    --------
    >>> import flowkit as fk
    >>> flow = fk.multiscale.smoothed(fk.multiscale_flow(fk.links((2, 2), fk.U1())))
    >>> {type(model).__name__ for level in fk.multiscale.levels(flow) for model in level.models}
    {'SmoothClassFunctionConditional'}
    """
    smooth = copy.deepcopy(flow)
    replaced: dict[ClassFunctionConditional, ClassFunctionConditional] = {}
    for level in levels(smooth):
        for i, model in enumerate(level.conditionals):
            if type(model) is ClassFunctionConditional:
                if model not in replaced:
                    replaced[model] = SmoothClassFunctionConditional.of(model, cells)
                level.conditionals[i] = replaced[model]
    return smooth


@checked
def strengthened(flow: Flow, ratio: Positive) -> Flow:
    """A copy of a multiscale model whose new links feel another coupling: where to start training at another beta.

    Parameters
    ----------
    flow : Flow
        A multiscale model.
    ratio : float
        New coupling over the old one, positive. Strengths of heatbath laws, coefficients of class functions and of
        loops, and the coupling of dressed staples are multiplied by it, which is exact for the finest plaquettes of the
        Wilson action. Splines, networks, couplings and the coarsest prior stay as they are.

    Raises
    ------
    ValueError
        For a ratio that is not positive.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.links((2, 2), fk.SUN(2))
    >>> flow = fk.multiscale_flow(space, links=lambda level: fk.multiscale.HeatbathConditional(fk.SUN(2), strength=2.0))
    >>> nearby = fk.multiscale.strengthened(flow, 2.2 / 2.0)
    >>> [round(float(level.models[0].log_strength.exp().detach()), 4) for level in fk.multiscale.levels(nearby)]
    [2.2, 2.2]
    """
    if not ratio > 0:
        raise ValueError(f"A ratio of couplings is positive; got {ratio}.")
    nearby = copy.deepcopy(flow)
    for level in levels(nearby):
        level.context = level.context.strengthened(ratio)
    for model in dict.fromkeys(model for level in levels(nearby) for model in level.models):
        model.strengthen(ratio)
    return nearby

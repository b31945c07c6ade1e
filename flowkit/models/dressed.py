"""Ready-made multiscale models of links in three and four dimensions: dressed staples."""

import torch

from flowkit.checks import Count, Natural, Positive, checked
from flowkit.flow import Flow
from flowkit.geometry.space import Space
from flowkit.models.made import ready_made
from flowkit.multiscale import (
    Block,
    BlockConditional,
    DressedStaples,
    HarmonicConditional,
    HeatAngleConditional,
    LinearHeatbathConditional,
    LinkConditional,
    SU3HeatbathConditional,
)
from flowkit.multiscale.blocks import BlockOrder
from flowkit.multiscale.new_links import NewLinks
from flowkit.multiscale.route import doublings_to
from flowkit.multiscale.stages import Order
from flowkit.priors import Embedded, Haar, Prior


@ready_made
@checked
def dressed_flow(
    space: Space,
    beta: Positive,
    *,
    order: Order = "hierarchical",
    rounds: Natural = 2,
    strengths: tuple[Positive, ...] = (1.0,),
    loops: Natural | None = None,
    finest_loops: Natural = 4,
    incomplete: bool = False,
    ahead: bool = True,
    powers: bool = True,
    coarsest: Prior | None = None,
) -> Flow:
    """The default multiscale model of U(1), SU(2) or SU(3) links in three or more dimensions: dressed staples.

    Sides are halved, the longer first, until they are odd, or until the lattice of `coarsest` is reached. Each stage
    has a conditional of its own, with a coefficient for each of its loops. It begins with the exact coefficients of
    complete plaquettes on the finest lattice, and at Haar measure elsewhere.

    Parameters
    ----------
    space : Space
        Links of U(1), SU(2) or SU(3), at least one side even.
    beta : float
        The coupling of the theory, dimensionless; the means of missing links are computed with it.
    order : str
        In which the new links of a doubling are drawn, as `LinkDoubling` says; not "together".
    rounds, strengths
        As of `DressedStaples`.
    loops, finest_loops : int, optional
        6 adds complete loops of six links, 4 leaves them out: on all lattices but the finest, and there. By default 6
        on coarse lattices in three dimensions, and 4 elsewhere.
    incomplete : bool
        Whether loops of six links with missing links are given too, where loops of six are.
    ahead : bool
        Whether missing links are also integrated over one by one, as `DressedStaples` says.
    powers : bool
        Whether functions of all staples are loops too, and, for U(1), harmonics of them.
    coarsest : Prior, optional
        The prior on the lattice to begin with; by default `Haar`.

    Raises
    ------
    ValueError
        For another group, or where no doublings lead from the coarsest lattice to `space`.

    Notes
    -----
    `MaximumLikelihoodStep` on fields of a Markov chain trains it in one step for each stage, and a few steps of
    `NaturalGradientStep` improve it. Weights of one lattice serve larger ones by `.on`.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> flow = fk.models.dressed_flow(fk.links((2, 2, 2), fk.SUN(2)), beta=1.0)
    >>> [len(level.models) for level in fk.multiscale.levels(flow)]
    [2, 4, 8]
    >>> x, logq = flow.sample_and_log_prob(2, torch.Generator().manual_seed(1))
    >>> bool(torch.allclose(flow.log_prob(x), logq, atol=1e-4))
    True
    """
    coarse_loops = loops or (6 if space.ndim == 3 else 4)
    doublings = doublings_to(space, None if coarsest is None else coarsest.space, order)
    flow: Prior = coarsest or Haar(doublings[0].coarse)
    for doubling in doublings:
        spacings = tuple(side // here for side, here in zip(space.lattice, doubling.fine.lattice, strict=True))
        last = doubling.fine == space
        six = finest_loops if last else coarse_loops
        context = DressedStaples(beta, spacings, rounds, strengths, six, incomplete, ahead, powers)
        models = []
        for stage in doubling.stages:
            terms = context.terms(doubling, stage)
            start = [beta if last and term.startswith("complete") else 0.0 for term in terms]
            models.append(_conditional(space, context.harmonics(terms), start))
        flow = Flow(Embedded(flow, doubling), NewLinks(doubling, models, context))
    assert isinstance(flow, Flow)
    return flow


@checked
def dressed_block(
    space: Space,
    beta: Positive,
    *,
    side: Count = 2,
    order: BlockOrder = "cells",
    rounds: Natural = 2,
    ahead: bool = False,
) -> BlockConditional:
    """The default model of the links of a block given all other links: dressed staples.

    It begins with the coefficient beta of complete plaquettes, which is exact, and of incomplete ones in the last
    iteration of their missing links. `fit_block` fits the coefficients to fields of a Markov chain.

    Parameters
    ----------
    space : Space
        Links of U(1) or SU(2), or of SU(3) in four dimensions, for which the model is not fitted. It does not depend on
        their lattice, but for its number of dimensions.
    beta : float
        The coupling of the theory, dimensionless.
    side, order
        As of `Block`.
    rounds, ahead
        As of `DressedStaples`.

    Raises
    ------
    ValueError
        For another group.

    Examples
    --------
    >>> import flowkit as fk
    >>> model = fk.models.dressed_block(fk.links((8, 8, 8), fk.SUN(2)), beta=2.0)
    >>> len(model.block.places), len(model.models), model.terms[-1]
    (12, 12, ('complete 0', 'complete 1'))
    """
    block = Block(space.group, space.ndim, side, order)
    context = DressedStaples(beta, (1,) * space.ndim, rounds, ahead=ahead)
    models = list[LinkConditional]()
    for stage in block.stages:
        terms = context.terms(block, stage)
        start = [beta if term.startswith("complete") or term.endswith(f"in {rounds}") else 0.0 for term in terms]
        if space.group.dimension < 3:
            models.append(_conditional(space, context.harmonics(terms), start))
            continue
        if len(terms) < 3:
            raise ValueError(f"dressed_block draws links of {space.group.label} in four dimensions; got {space}.")
        # Its draws follow its density at any length of the staples.
        law = HeatAngleConditional(space.group.dimension, loops=len(terms), splines=False)
        law.log_weights.data.copy_((torch.tensor(start) / space.group.dimension).clamp(min=1e-30).log())
        models.append(law)
    return BlockConditional(block, models, context)


def _conditional(space: Space, harmonics: tuple[int, ...], start: list[float]) -> LinkConditional:
    model: HarmonicConditional | LinearHeatbathConditional | SU3HeatbathConditional
    if space.group.abelian:
        model = HarmonicConditional(harmonics)
    elif space.group.dimension == 3:
        model = SU3HeatbathConditional(len(harmonics))
    else:
        model = LinearHeatbathConditional(space.group, len(harmonics))
    model.coefficients.data.copy_(model.coefficients.new_tensor(start))
    return model

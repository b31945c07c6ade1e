"""Training of models of blocks of links by maximum likelihood on given fields."""

from typing import Annotated

import torch
from torch import Tensor

from flowkit.checks import LARGEST, Count, Positive, Range, checked
from flowkit.multiscale import BlockConditional
from flowkit.multiscale.blocks import block_links
from flowkit.tasks.randomness import Rng, generator_of
from flowkit.train.fisher_scoring import Links, fisher_scoring


@checked
@torch.no_grad()
def fit_block(
    model: BlockConditional,
    x: Tensor,
    *,
    tilings: Count = 4,
    iterations: Count = 8,
    max_kl: Positive = 0.5,
    ridge: Annotated[float, Range(0, LARGEST, "(]")] = 1e-4,
    rng: Rng = None,
) -> BlockConditional:
    """Fits the models of the links of a block to fields of the theory by maximum likelihood, stage by stage.

    Parameters
    ----------
    model : BlockConditional
        Fitted in place.
    x : Tensor
        Fields of a lattice with sides larger than that of the block, ``[n, *space.shape]``, such as those of a Markov
        chain.
    tilings : int
        Sets of blocks that tile a field and are used, each at a random place.
    iterations, max_kl, ridge
        As of `MaximumLikelihoodStep`.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed.

    Returns
    -------
    BlockConditional
        `model`.

    Raises
    ------
    TypeError, ValueError
        For no fields of such a lattice, shorter sides, or a model without a score in closed form.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4, 4), fk.U1()), beta=2.0)
    >>> model = fk.models.dressed_block(action.space, beta=2.0)
    >>> chains = fk.run(fk.Heatbath(action), 4, chains=16, thermalise=20, rng=1)
    >>> model = fk.train.fit_block(model, chains.x.flatten(0, 1), rng=1)
    >>> ensemble = fk.run(fk.samplers.BlockUpdate(action, model), 10, chains=16, start=chains.x[-1], rng=1)
    >>> bool(ensemble.series["accept"].mean() > 0.8)
    True
    """
    if without := [type(one).__name__ for one in model.models if not one.scored]:
        raise ValueError(f"Fisher scoring needs models with a score; {without[0]} has none.")
    rng, block = generator_of(rng, x.device), model.block
    lattice = x.shape[2 : 2 + block.ndim]
    block.fine.on(lattice).require(x)
    corners, offsets = (one.to(x.device) for one in block.steps(lattice))
    moves = torch.randint(2**16, (tilings, len(lattice), 1), generator=rng, device=x.device)
    index = torch.cat([block_links(corners + move, offsets, lattice) for move in moves], 1)
    at_hand = x.flatten(1, 1 + len(lattice))[:, index].transpose(0, 1).flatten(1, 2)
    v = at_hand.index_select(0, block.inner.to(x.device)).transpose(0, 1)
    for one, links, loops in model.pieces(v, at_hand):
        flat_links = [t.flatten(0, 1).unsqueeze(1) for t in (links, *loops)]
        fisher_scoring(one, Links(flat_links[0], tuple(flat_links[1:])), rng, iterations, max_kl, ridge)
    return model

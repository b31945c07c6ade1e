"""Updates of the links of blocks, drawn from a model and accepted block by block."""

from typing import Any

import torch

from flowkit.actions.base import Action
from flowkit.actions.wilson import Wilson
from flowkit.checks import checked
from flowkit.geometry.settings import settings
from flowkit.models.dressed import dressed_block
from flowkit.multiscale.block_conditional import BlockConditional
from flowkit.multiscale.blocks import block_links
from flowkit.multiscale.stages import on_device
from flowkit.samplers.base import Sampler, accept, select
from flowkit.samplers.state import Info, State
from flowkit.tasks.randomness import lasting


class BlockUpdate(Sampler):
    r"""Draws the links of blocks from a model, given all other links, and accepts block by block.

    A step moves the tiling of `Block.steps` to a random place and proposes new links in all of its blocks at once.
    They share no plaquette, so that each accepts on its own with

    .. math:: \min\left(1, \frac{e^{-S(V')}\, q(V | \text{frozen})}{e^{-S(V)}\, q(V' | \text{frozen})}\right),

    where plaquettes without a link of the block cancel. The acceptance does not depend on the volume of the lattice.

    Parameters
    ----------
    action : Wilson
        On links with sides larger than those of a block.
    model : BlockConditional, optional
        The density of the links of a block; by default `models.dressed_block`, which is not fitted. A
        step moves it to the device of the fields.

    Raises
    ------
    TypeError
        For another action than Wilson.
    ValueError
        For shorter sides, or a model of another group or number of dimensions.

    Notes
    -----
    ``info["accept"]`` is the fraction of blocks that were accepted, ``[chains]``. Half of the sites lie in blocks where
    sides are multiples of twice that of a block.

    References
    ----------
    J. Finkenrath, 2201.02216; L. Tierney, Ann. Stat. 22 (1994) 1701.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> sampler = fk.samplers.Cycle(fk.samplers.BlockUpdate(action), fk.Heatbath(action))
    >>> ensemble = fk.run(sampler, 200, chains=16, thermalise=20, rng=1)
    >>> ensemble.mean(fk.plaquette).within()
    True
    """

    @checked
    def __init__(self, action: Action, model: BlockConditional | None = None):
        if not isinstance(action, Wilson):
            raise TypeError(f"BlockUpdate needs a Wilson action; got {action!r}.")
        super().__init__(action)
        self.beta = action.beta
        self.model = dressed_block(self.space, max(action.beta, 1e-3)) if model is None else model
        block = self.model.block
        if block.group != self.space.group or block.ndim != self.space.ndim:
            raise ValueError(f"BlockUpdate of {self.space} needs a model of its links; got one of {block}.")
        self.corners, self.offsets = block.steps(self.space.lattice)

    @torch.no_grad()
    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        rng, block, x = lasting(rng, "BlockUpdate.step"), self.model.block, state.x
        if next(self.model.parameters()).device != x.device:
            self.model.to(x.device)
        links = x.flatten(1, 1 + self.space.ndim)
        chains = len(x)
        moved = torch.randint(self.space.volume, (self.space.ndim, 1), generator=rng, device=x.device)
        corners, offsets = on_device(self.corners, x.device), on_device(self.offsets, x.device)
        index = block_links(corners + moved, offsets, self.space.lattice)  # [at hand, blocks]
        at_hand = links[:, index].transpose(0, 1).flatten(1, 2)
        inner = on_device(block.inner, x.device)
        old = at_hand.index_select(0, inner).transpose(0, 1)
        new, logq = self.model.sample_and_log_prob(at_hand, rng)
        new = self.space.group.restore(new)
        proposed = at_hand.index_copy(0, inner, new.transpose(0, 1))
        gain = self.beta * (block.weight(proposed) - block.weight(at_hand))
        yes = accept(gain + self.model.log_prob(old, at_hand) - logq, rng)
        kept = select(yes, new, old)
        kept = kept.view(chains, -1, *kept.shape[1:]).transpose(1, 2).flatten(1, 2)
        y = links.index_copy(1, index[inner].flatten(), kept).view_as(x)
        S, rate = self.action(y), yes.view(chains, -1).to(x.real.dtype).mean(1)
        finite = S.isfinite()
        after = State(select(finite, y, x), torch.where(finite, S, state.S))
        return after, {"accept": torch.where(finite, rate, 0), "invalid": ~finite}

    def of_action(self, action: Action) -> "BlockUpdate":
        """The same model for another action, its couplings those that it was made or fitted with."""
        return BlockUpdate(action, **settings(self, "action"))

    def describe(self) -> dict[str, Any]:
        block = self.model.block
        return {
            "sampler": "BlockUpdate",
            "action": repr(self.action),
            "side": block.side,
            "order": block.order,
            "context": repr(self.model.context),
        }

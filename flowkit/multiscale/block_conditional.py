"""The density of the links of a block given all other links."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from flowkit.checks import checked
from flowkit.multiscale.blocks import Block
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.dressed import DressedStaples
from flowkit.multiscale.new_links import Piece
from flowkit.multiscale.stages import on_device
from flowkit.priors import Sample
from flowkit.tasks.randomness import Rng


class BlockConditional(nn.Module):
    r"""The density of the links of a block given all other links, drawn stage by stage.

    .. math:: \log q(V_1, \dots, V_n | \text{frozen}) = \sum_{\rm stages} \sum_V \log q(V | R(\text{known links}))

    Parameters
    ----------
    block : Block
        Which links are drawn, and in which stages.
    models : sequence of LinkConditional
        One for each stage.
    context : DressedStaples
        What a model is given: loops in which links that are not drawn yet stand with their mean.

    Raises
    ------
    ValueError
        For another number of models than stages, models of another group, or loops of more than four links.

    References
    ----------
    Updates of blocks by flows: J. Finkenrath, 2201.02216.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.models.dressed_block(fk.links((4, 4, 4), fk.U1()), beta=2.0)
    >>> x = fk.U1().haar((len(model.block.at_hand), 5), torch.Generator().manual_seed(1))   # five blocks
    >>> v, logq = model.sample_and_log_prob(x, 1)
    >>> v.shape, bool(torch.allclose(model.log_prob(v, x), logq, atol=1e-4))
    (torch.Size([5, 12]), True)
    """

    @checked
    def __init__(self, block: Block, models: Sequence[LinkConditional], context: DressedStaples):
        super().__init__()
        if len(models) != len(block.stages) or any(model.group != block.group for model in models):
            given = ", ".join(f"{type(m).__name__} of {m.group}" for m in models[:3])
            raise ValueError(
                f"A block of {block.group} in {len(block.stages)} stages needs a model for each; "
                f"got {len(models)}: {given}."
            )
        if context.loops != 4:
            raise ValueError(f"The links around a block close loops of four links alone; got {context!r}.")
        self.block, self.context = block, context
        self.conditionals = nn.ModuleList(models)
        self.terms = [context.terms(block, stage) for stage in block.stages]

    @property
    def models(self) -> list[LinkConditional]:
        """The model of each stage."""
        return [cast(LinkConditional, model) for model in self.conditionals]

    def sample_and_log_prob(self, x: Tensor, rng: Rng = None) -> Sample:
        """Draws of the links of blocks, ``[blocks, links, *matrix]``, and their log q, ``[blocks]``.

        Parameters
        ----------
        x : Tensor
            The links at hand, ``[at hand, blocks, *matrix]``; those of the block are not read.
        """
        known = self.context.frozen(self.block, x)
        new = x.new_zeros(x.shape[1], len(self.block.places), *self.block.group.matrix_shape)
        total = x.real.new_zeros(x.shape[1])
        for model, stage, terms in zip(self.models, self.block.stages, self.terms, strict=True):
            loops = self.context.given(self.block, stage, known, new, terms)
            v, logq = model.sample_and_log_prob(loops, rng)
            assert stage.links is not None
            new, total = new.index_copy(1, on_device(stage.links, x.device), v), total + logq.sum(1)
        return Sample(new, total)

    def pieces(self, v: Tensor, x: Tensor) -> Iterator[Piece]:
        """The given links of blocks, stage by stage, with their loops and the model that describes them."""
        known = self.context.frozen(self.block, x)
        for model, stage, terms in zip(self.models, self.block.stages, self.terms, strict=True):
            assert stage.links is not None
            loops = self.context.given(self.block, stage, known, v, terms)
            yield Piece(model, v.index_select(1, on_device(stage.links, v.device)), loops)

    def log_prob(self, v: Tensor, x: Tensor) -> Tensor:
        """log q of given links of blocks, ``[blocks, links, *matrix]``, among those at hand, ``[blocks]``."""
        logs = [model.log_prob(links, loops).sum(1) for model, links, loops in self.pieces(v, x)]
        return torch.stack(logs).sum(0)

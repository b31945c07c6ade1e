"""What the model of a new link is given: a function of the links that are known before it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from flowkit.multiscale.doubling import LinkDoubling, Loops
from flowkit.multiscale.stages import Stage

Terms = tuple[str, ...]


class LinkContext(ABC):
    """Makes the loops through the new links of a stage from the links known before it.

    A `NewLinks` asks it once for what does not depend on new links, and at each stage for the loops. What it gives is a
    function of known links alone, and a loop R turns into h R g^-1 under a gauge transformation that turns its link V
    into g V h^-1.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> doubling = fk.multiscale.LinkDoubling(fk.links((2, 2), fk.U1()), mu=0)
    >>> context = fk.multiscale.CompletePlaquettes()
    >>> coarse, first, new = doubling.split(doubling.fine.haar(3, torch.Generator().manual_seed(1)))
    >>> known = context.begin(doubling, coarse, first)
    >>> [tuple(loop.shape) for loop in context.given(doubling, doubling.stages[0], known, new, ())]
    [(3, 1, 2, 2), (3, 1, 2, 2)]
    """

    def terms(self, doubling: LinkDoubling, stage: Stage) -> Terms:
        """Names of the loops of a stage, in the order of `given`; () where a model need not know them."""
        return ()

    @abstractmethod
    def begin(self, doubling: LinkDoubling, coarse: Tensor, first: Tensor) -> Loops:
        """What all stages share, a function of the coarse links and the first halves."""

    @abstractmethod
    def given(self, doubling: LinkDoubling, stage: Stage, known: Loops, new: Tensor, terms: Terms) -> Loops:
        """The loops through the links of a stage.

        Parameters
        ----------
        doubling : LinkDoubling
            Which links are new.
        stage : Stage
            One of its stages.
        known : tuple of Tensor
            What `begin` gave.
        new : Tensor
            The new links in the shape of `LinkDoubling.split`; those of earlier stages are read.
        terms : tuple of str
            The loops that the model takes; one that the stage does not have is zero.

        Returns
        -------
        tuple of Tensor
            Each in the shape of the links of the stage: elements of the group, or sums of them as `Group.ambient`.
        """

    def strengthened(self, ratio: float) -> "LinkContext":
        """The context at `ratio` times the coupling."""
        return self


@dataclass(frozen=True)
class CompletePlaquettes(LinkContext):
    """The plaquettes of which only the new link is missing, as `LinkDoubling.given` lists them.

    Examples
    --------
    >>> import flowkit as fk
    >>> doubling = fk.multiscale.LinkDoubling(fk.links((2, 2), fk.U1()), mu=0)
    >>> fk.multiscale.NewLinks(doubling, fk.multiscale.HeatbathConditional(fk.U1())).context
    CompletePlaquettes()
    """

    def begin(self, doubling: LinkDoubling, coarse: Tensor, first: Tensor) -> Loops:
        return doubling.loops(coarse, first)

    def given(self, doubling: LinkDoubling, stage: Stage, known: Loops, new: Tensor, terms: Terms) -> Loops:
        return doubling.given(stage, known, new)

"""The transform that makes the new links of one doubling out of Haar-distributed ones."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import LinkDoubling, Loops
from flowkit.multiscale.stages import Stage
from flowkit.priors import Embedded, Prior, Sample
from flowkit.tasks.randomness import Rng, generator_of
from flowkit.transforms import Transform


class Piece(NamedTuple):
    """New links that one model describes, with the loops through them."""

    model: LinkConditional
    links: Tensor
    loops: Loops


class NewLinks(Transform):
    r"""Moves the new links of one doubling, given the coarse links; these and the first halves stay as they are.

    On an `Embedded` prior it makes one level of a multiscale model, ``Flow(Embedded(coarse, doubling),
    NewLinks(doubling, models))``, whose coarse part may be another such flow.

    Parameters
    ----------
    doubling : LinkDoubling
        Which links are new, and the stages in which they are drawn.
    models : LinkConditional or sequence of LinkConditional
        The density of a new link, one model for each stage of the doubling. A model may serve several stages and
        several levels: its weights are then shared among them.

    Raises
    ------
    ValueError
        For another number of models than stages, or for models of another group.

    Notes
    -----
    With (U, U^a, V) the coarse links, first halves and new links of the fine field and u Haar-distributed,

    .. math:: V = f(u; R(U, U^a)), \quad {\rm logdet} = -\sum_V \log q(V | R_1, R_2, \dots)

    References
    ----------
    Multiscale normalizing flows for gauge theories, arXiv:2404.10819.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> coarse = fk.Haar(fk.links((2, 2), fk.SUN(2)))
    >>> doubling = fk.multiscale.LinkDoubling(coarse.space, mu=0)
    >>> new = fk.multiscale.NewLinks(doubling, fk.multiscale.HeatbathConditional(fk.SUN(2)))
    >>> flow = fk.Flow(fk.priors.Embedded(coarse, doubling), new)
    >>> x, logq = flow.sample_and_log_prob(3, torch.Generator().manual_seed(1))
    >>> x.shape, bool(torch.allclose(flow.log_prob(x), logq, atol=1e-4))
    (torch.Size([3, 2, 4, 2, 2, 2]), True)
    """

    @checked
    def __init__(self, doubling: LinkDoubling, models: LinkConditional | Sequence[LinkConditional]):
        own = [models] if isinstance(models, LinkConditional) else list(models)
        if len(own) != len(doubling.stages):
            raise ValueError(f"A doubling in {len(doubling.stages)} stages needs a model for each; got {len(own)}.")
        other = next((model for model in own if model.group != doubling.coarse.group), None)
        if other is not None:
            raise ValueError(f"{type(other).__name__} models links of {other.group}; the field is {doubling.coarse}.")
        super().__init__(doubling.fine)
        self.doubling, self.conditionals = doubling, nn.ModuleList(own)

    @property
    def models(self) -> list[LinkConditional]:
        """The model of each stage."""
        return [cast(LinkConditional, model) for model in self.conditionals]

    def _run(
        self,
        coarse: Tensor,
        first: Tensor,
        make: Callable[[LinkConditional, Stage, Loops], tuple[Tensor, Tensor]],
        new: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Stage by stage what `make` gives: the fine field of the links, and the sum of the logarithms, [batch].

        Loops go through the links made so far, or, where all new links are known beforehand, through those.
        """
        known = self.doubling.loops(coarse, first)
        made, total = torch.zeros_like(known[0]), coarse.real.new_zeros(len(coarse))
        for stage, model in zip(self.doubling.stages, self.models, strict=True):
            links, log = make(model, stage, self.doubling.given(stage, known, made if new is None else new))
            made, total = self.doubling.put(stage, made, links), total + log.flatten(1).sum(1)
        return self.doubling.join(coarse, first, made), total

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        coarse, first, base = self.doubling.split(x)
        return self._run(coarse, first, lambda model, stage, loops: model(self.doubling.take(stage, base), loops))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        coarse, first, new = self.doubling.split(y)
        take = self.doubling.take
        return self._run(coarse, first, lambda model, stage, loops: model.inverse(take(stage, new), loops), new)

    def leaves(self, prior: Prior) -> bool:
        """True for an `Embedded` prior of the same doubling: its density depends on the coarse links alone."""
        return isinstance(prior, Embedded) and prior.doubling == self.doubling

    def sample(self, prior: Prior, n: int, rng: Rng = None) -> Sample:
        """n draws of the flow of a prior and this transform.

        On an `Embedded` prior of the same doubling each model draws its own links, which may be faster than mapping
        Haar-distributed ones.
        """
        if not self.leaves(prior):
            return super().sample(prior, n, rng)
        assert isinstance(prior, Embedded)
        rng = generator_of(rng, prior.device)
        coarse, logr = prior.coarse.sample_and_log_prob(n, rng)
        lattice = self.doubling.coarse.lattice
        first = self.space.group.haar((n, 1, *lattice), rng, prior.dtype).to(prior.device)
        x, logq = self._run(coarse, first, lambda model, _, loops: model.sample_and_log_prob(loops, rng))
        return Sample(x, logr + logq)

    def pieces(self, y: Tensor) -> list[Piece]:
        """The new links of a fine field, stage by stage, with their loops and the model that describes them."""
        coarse, first, new = self.doubling.split(y)
        known = self.doubling.loops(coarse, first)
        stages = zip(self.doubling.stages, self.models, strict=True)
        return [Piece(m, self.doubling.take(stage, new), self.doubling.given(stage, known, new)) for stage, m in stages]

    def inverse_logdet(self, y: Tensor) -> Tensor:
        """log q of the new links of a fine field given the others, ``[batch]``."""
        logs = [piece.model.log_prob(piece.links, piece.loops).flatten(1).sum(1) for piece in self.pieces(y)]
        return torch.stack(logs).sum(0)

    def score(self, y: Tensor, prior: Prior) -> Tensor:
        """The derivatives of log q of the new links by the trainable parameters of the models, ``[batch, params]``.

        Parameters
        ----------
        y : Tensor
            Fine fields.
        prior : Prior
            An `Embedded` one of the same doubling: its density does not depend on the base variables of new links.

        Raises
        ------
        ValueError
            For another prior, or where a model has no score in closed form.
        """
        if not self.leaves(prior):
            raise ValueError(f"The score of NewLinks needs an Embedded prior of its doubling; got {prior.describe()}.")
        scores: dict[LinkConditional, Tensor] = {}
        for model, links, loops in self.pieces(y):
            if any(p.requires_grad for p in model.parameters()):
                own = model.score(links, loops)
                scores[model] = scores[model] + own if model in scores else own
        return torch.cat(list(scores.values()), 1)

    def rebuild(self, space: Space) -> "NewLinks":
        return NewLinks(self.doubling.on(space), list(copy.deepcopy(self.conditionals)))  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return f"mu={self.doubling.mu}, ordered={self.doubling.ordered}"

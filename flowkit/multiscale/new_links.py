"""The transform that makes the new links of one doubling out of Haar-distributed ones."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.contexts import CompletePlaquettes, LinkContext, Terms
from flowkit.multiscale.doubling import LinkDoubling, Loops
from flowkit.multiscale.stages import Kind, Stage, nearest
from flowkit.priors import Embedded, Prior, Sample
from flowkit.tasks.randomness import Rng, generator_of
from flowkit.transforms import Transform


class Piece(NamedTuple):
    """New links that one model describes, with the loops through them."""

    model: LinkConditional
    links: Tensor
    loops: Loops


class Role(NamedTuple):
    """What a model is made for."""

    kind: Kind
    """Of the stages that it serves."""
    terms: Terms
    """Names of the loops that it takes."""


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
    context : LinkContext, optional
        What a model is given of the links known before; by default `CompletePlaquettes`.

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
    def __init__(
        self,
        doubling: LinkDoubling,
        models: LinkConditional | Sequence[LinkConditional],
        context: LinkContext | None = None,
    ):
        context, own = (
            context or CompletePlaquettes(),
            [models] if isinstance(models, LinkConditional) else list(models),
        )
        roles = [Role(stage.kind, context.terms(doubling, stage)) for stage in doubling.stages]
        if len(own) != len(roles):
            raise ValueError(f"A doubling in {len(roles)} stages needs a model for each; got {len(own)}.")
        self._set(doubling, own, context, roles)

    def _set(
        self, doubling: LinkDoubling, models: list[LinkConditional], context: LinkContext, roles: list[Role]
    ) -> None:
        other = next((model for model in models if model.group != doubling.coarse.group), None)
        if other is not None:
            raise ValueError(f"{type(other).__name__} models links of {other.group}; the field is {doubling.coarse}.")
        super().__init__(doubling.fine)
        self.doubling, self.context, self.roles = doubling, context, roles
        self.conditionals = nn.ModuleList(models)
        kinds = [role.kind for role in roles]
        self._places = [nearest(stage.kind, kinds) for stage in doubling.stages]

    @property
    def models(self) -> list[LinkConditional]:
        """The model of each stage."""
        return [cast(LinkConditional, self.conditionals[place]) for place in self._places]

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
        shape = [len(coarse), len(self.doubling.across), *coarse.shape[2:]]
        made, total = coarse.new_zeros(shape), coarse.real.new_zeros(len(coarse))
        known = self.context.begin(self.doubling, coarse, first)
        for number, stage in enumerate(self.doubling.stages):
            links, log = make(self.models[number], stage, self._given(number, known, made if new is None else new))
            made, total = self.doubling.put(stage, made, links), total + log.flatten(1).sum(1)
        return self.doubling.join(coarse, first, made), total

    def _given(self, number: int, known: Loops, new: Tensor) -> Loops:
        """The loops of one stage."""
        terms = self.roles[self._places[number]].terms
        return self.context.given(self.doubling, self.doubling.stages[number], known, new, terms)

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

    def piece(self, number: int, parts: tuple[Tensor, Tensor, Tensor], known: Loops | None = None) -> Piece:
        """The new links of one stage with their loops and the model that describes them.

        Parameters
        ----------
        number : int
            Of the stage.
        parts : tuple of Tensor
            What `LinkDoubling.split` gave.
        known : tuple of Tensor, optional
            What the context's `begin` gives, where it is at hand.
        """
        coarse, first, new = parts
        known = self.context.begin(self.doubling, coarse, first) if known is None else known
        links = self.doubling.take(self.doubling.stages[number], new)
        return Piece(self.models[number], links, self._given(number, known, new))

    def pieces(self, y: Tensor) -> Iterator[Piece]:
        """The new links of a fine field, stage by stage, with their loops and the model that describes them."""
        parts = self.doubling.split(y)
        known = self.context.begin(self.doubling, *parts[:2])
        for number in range(len(self.doubling.stages)):
            yield self.piece(number, parts, known)

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
        other = NewLinks.__new__(NewLinks)
        other._set(self.doubling.on(space), list(copy.deepcopy(self.conditionals)), self.context, self.roles)  # type: ignore[arg-type]
        return other

    def extra_repr(self) -> str:
        return f"mu={self.doubling.mu}, order={self.doubling.order}, context={self.context}"

"""A field built from coarse to fine: a coarsest prior, then doublings, each with a model of its new links."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.space import Space
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.conditionals.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditionals.class_functions_su2 import SU2ClassFunctionConditional
from flowkit.multiscale.conditionals.heat_angle import HeatAngleConditional
from flowkit.multiscale.conditionals.smooth_class_functions import SmoothClassFunctionConditional
from flowkit.multiscale.doubling import Doubling, Loops, Stage
from flowkit.priors import Haar, Prior, Sample


class Piece(NamedTuple):
    """New links that one model describes, with the loops through them."""

    model: LinkConditional
    links: Tensor
    rest: Loops


class Scale(NamedTuple):
    """A field at one scale, [batch, *space.shape], and log q of the model that ends there, [batch]."""

    space: Space
    x: Tensor
    logq: Tensor


Level = tuple[Doubling, LinkConditional | Sequence[LinkConditional]]


class Multiscale(Prior):
    """log q(fine) = log q(coarsest) + sum over doublings and their new links of log q(V | R_1, R_2, ...).

    The first halves of coarse links are Haar. A model of new links may serve several doublings or stages: its weights
    are then shared among these scales.

    The model is also a map of base variables: `forward` takes a field z on the same space, whose coarsest part follows
    `coarsest` and whose first halves and new links are Haar, to x. `action.pullback(model)` is the theory in z.

    coarsest  any prior on links
    levels    (doubling, model) from coarse to fine, with a model for each stage of an ordered doubling; each doubling
              begins where the last one ended
    Raises    ValueError where spaces, groups or stages do not fit
    See       2404.10819
    """

    def __init__(self, coarsest: Prior, levels: Sequence[Level]):
        space = coarsest.space
        models: list[LinkConditional] = []
        self.doublings: list[Doubling] = []
        which: list[list[int]] = []
        for doubling, one in levels:
            own = [one] if isinstance(one, LinkConditional) else list(one)
            if doubling.coarse != space:
                raise ValueError(f"The next doubling begins at {space}; got one that begins at {doubling.coarse}.")
            if len(own) != len(doubling.stages):
                raise ValueError(f"A doubling in {len(doubling.stages)} stages needs a model for each; got {len(own)}.")
            for model in own:
                if model.group != space.group:
                    name = type(model).__name__
                    raise ValueError(f"{name} models links of {model.group}; the field is {space}.")
                if not any(model is other for other in models):
                    models.append(model)
            self.doublings.append(doubling)
            which.append([next(i for i, other in enumerate(models) if model is other) for model in own])
            space = doubling.fine
        super().__init__(space)
        self.coarsest = coarsest
        self.conditionals = nn.ModuleList(models)
        self._which = which
        self.normalised = coarsest.normalised

    @property
    def levels(self) -> list[tuple[Doubling, tuple[LinkConditional, ...]]]:
        """(doubling, the model of each of its stages), from coarse to fine."""
        models = [tuple(self.conditionals[i] for i in own) for own in self._which]
        return list(zip(self.doublings, models, strict=True))  # type: ignore[arg-type]

    def sample_and_log_prob(self, n: int, rng: torch.Generator) -> Sample:
        x, logq = self.coarsest.sample_and_log_prob(n, rng)
        for doubling, models in self.levels:
            first = self.space.group.haar((n, 1, *doubling.coarse.lattice), rng, self.dtype).to(self.device)
            x, more = self._through(
                doubling, models, x, first, lambda model, _, rest: model.sample_and_log_prob(rest, rng)
            )
            logq = logq + more
        return Sample(x, logq)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_and_log_prob(n, rng).x

    def _through(
        self,
        doubling: Doubling,
        models: Sequence[LinkConditional],
        coarse: Tensor,
        first: Tensor,
        make: Callable[[LinkConditional, Stage, Loops], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """The fine field and the sum of log q, with `make` for the new links of each stage and their log q."""
        known, total = doubling.loops(coarse, first), torch.zeros(len(coarse), dtype=self.dtype, device=self.device)
        new = torch.zeros_like(known[0])
        for stage, model in zip(doubling.stages, models, strict=True):
            links, logq = make(model, stage, doubling.rest(stage, known, new))
            new, total = doubling.put(stage, new, links), total + logq.flatten(1).sum(1)
        return doubling.join(coarse, first, new), total

    def _peeled(self, x: Tensor) -> Iterator[tuple[Tensor, list[Piece]]]:
        """From fine to coarse: the field that a doubling began with, and the new links of its stages."""
        for doubling, models in reversed(self.levels):
            x, first, new = doubling.split(x)
            known, found = doubling.loops(x, first), []
            for stage, model in zip(doubling.stages, models, strict=True):
                found.append(Piece(model, doubling.take(stage, new), doubling.rest(stage, known, new)))
            yield x, found

    def pieces(self, x: Tensor) -> tuple[Tensor, list[Piece]]:
        """The coarsest field, and from fine to coarse all new links of a field, stage by stage, with their loops and
        the model that they belong to.
        """
        found: list[Piece] = []
        for coarse, some in self._peeled(x):
            x, found = coarse, found + some
        return x, found

    def scales(self, x: Tensor) -> list[Scale]:
        """x at every scale, coarse to fine, with log q of the model that ends there; the last one is x itself."""
        fields, steps = [self._mine(x)], []
        for coarse, pieces in self._peeled(x):
            fields.append(coarse)
            steps.append([piece.model.log_prob(piece.links, piece.rest).flatten(1).sum(1) for piece in pieces])
        logq = self.coarsest.log_prob(fields[-1])
        found = [Scale(self.coarsest.space, fields[-1], logq)]
        for doubling, field, step in zip(self.doublings, reversed(fields[:-1]), reversed(steps), strict=True):
            logq = logq + sum(step)
            found.append(Scale(doubling.fine, field, logq))
        return found

    def log_prob(self, x: Tensor) -> Tensor:
        return self.scales(x)[-1].logq

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(x, log|det dx/dz|) of base variables z, [batch, *space.shape] and [batch]."""
        parts, logdet = [], torch.zeros(len(self._mine(z)), dtype=self.dtype, device=self.device)
        for doubling in reversed(self.doublings):
            z, first, base = doubling.split(z)
            parts.append((first, base))
        x = z
        for (doubling, models), (first, base) in zip(self.levels, reversed(parts), strict=True):

            def make(
                model: LinkConditional, stage: Stage, rest: Loops, doubling: Doubling = doubling, base: Tensor = base
            ) -> tuple[Tensor, Tensor]:
                return model.from_base(doubling.take(stage, base), rest)

            x, logq = self._through(doubling, models, x, first, make)
            logdet = logdet - logq
        return x, logdet

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(z, log|det dz/dx|): the inverse of `forward`."""
        parts, logdet = [], torch.zeros(len(self._mine(x)), dtype=self.dtype, device=self.device)
        for doubling, models in reversed(self.levels):
            x, first, new = doubling.split(x)
            known, base = doubling.loops(x, first), torch.zeros_like(new)
            for stage, model in zip(doubling.stages, models, strict=True):
                u, logq = model.to_base(doubling.take(stage, new), doubling.rest(stage, known, new))
                base, logdet = doubling.put(stage, base, u), logdet + logq.flatten(1).sum(1)
            parts.append((first, base))
        z = x
        for doubling, (first, base) in zip(self.doublings, reversed(parts), strict=True):
            z = doubling.join(z, first, base)
        return z, logdet

    def score(self, x: Tensor) -> Tensor:
        """d log q(x) / dparams, [batch, params], in closed form, for the parameters that require a gradient in the
        order of `parameters()`.

        Raises    ValueError where the coarsest prior has such parameters, or where a model offers no score
        """
        if any(p.requires_grad for p in self.coarsest.parameters()):
            raise ValueError(
                f"The coarsest prior, {type(self.coarsest).__name__}, has parameters but no score; "
                "freeze them with requires_grad_(False), or train by a gradient."
            )
        _, pieces = self.pieces(self._mine(x))
        scores: dict[int, Tensor] = {}
        for piece in pieces:
            if any(p.requires_grad for p in piece.model.parameters()):
                own = piece.model.score(piece.links, piece.rest)
                scores[id(piece.model)] = own + scores[id(piece.model)] if id(piece.model) in scores else own
        rows = [scores[id(model)] for model in self.conditionals if id(model) in scores]
        return torch.cat([torch.zeros(len(x), 0, dtype=self.dtype, device=self.device), *rows], 1)

    def on(self, space: Space) -> "Multiscale":
        """The same weights on another lattice, scale by scale from the finest one, as far as the sides can be halved;
        what is left over is the coarsest prior's. (Haar on a larger coarsest lattice is as good as extra doublings
        with Haar links.)

        Raises    ValueError for another group or number of directions, or where an ordered doubling has other stages
        """
        if space.kind != "links" or space.group != self.space.group or space.ndim != self.space.ndim:
            raise ValueError(f"A model of {self.space} goes to another lattice of its kind; got {space}.")
        levels: list[Level] = []
        copies = {id(model): copy.deepcopy(model) for _, models in self.levels for model in models}
        for doubling, models in reversed(self.levels):
            if space.lattice[doubling.mu] % 2:
                break
            own = [copies[id(model)] for model in models]
            levels.insert(0, (Doubling.of(space, doubling.mu, doubling.ordered), own))
            space = levels[0][0].coarse
        return Multiscale(self.coarsest.on(space), levels).to(self.anchor)

    def smooth(self, cells: int = 256) -> "Multiscale":
        """The model with log q of continuous slope, for HMC in its base variables: a copy with
        SmoothClassFunctionConditional, of the same weights, in place of each ClassFunctionConditional.
        """
        model = copy.deepcopy(self)
        for i, one in enumerate(model.conditionals):
            if type(one) is ClassFunctionConditional:
                model.conditionals[i] = SmoothClassFunctionConditional.of(one, cells)
        return model

    def strengthened(self, ratio: float) -> "Multiscale":
        """A copy whose new links feel `ratio` times the coupling: where to start training at another beta.

            nearby = trained.strengthened(other_beta / beta)

        Strengths and the coefficients of class functions are multiplied, as is exact for the finest
        plaquettes of the Wilson action; splines and networks stay as they are, and so does the coarsest prior.

        Raises    ValueError for a ratio that is not positive
        """
        if not ratio > 0:
            raise ValueError(f"A ratio of couplings is positive; got {ratio}.")
        model = copy.deepcopy(self)
        for conditional in model.conditionals:
            assert isinstance(conditional, LinkConditional)
            conditional.strengthen(ratio)
        return model

    def describe(self) -> dict[str, Any]:
        """The model as plain data, for provenance."""
        return {
            "space": self.space.describe(),
            "coarsest": f"{type(self.coarsest).__name__} on {format_lattice(self.coarsest.space.lattice)}",
            "doublings": [doubling.mu for doubling in self.doublings],
            "ordered": any(doubling.ordered for doubling in self.doublings),
            "conditionals": sorted({type(conditional).__name__ for conditional in self.conditionals}),
            "parameters": sum(p.numel() for p in self.parameters()),
        }


def multiscale_flow(
    space: Space,
    terms: int | None = None,
    coarsest: Prior | None = None,
    strength: float | None = None,
    links: Callable[[int], LinkConditional] | None = None,
) -> Multiscale:
    """The default multiscale model of U(1) or SU(N) links in two dimensions. New links follow class functions for U(1)
    and SU(2), which start at Haar measure and train by natural gradient, and heat angles with splines for N >= 3.

    Sides are halved, the longer first, until they are odd, or until the lattice of `coarsest` is reached. Haar on 1x1
    is exact for U(1), as its one plaquette is trivial, and nearly so for SU(N); a larger coarsest lattice, as sides
    with an odd factor leave it, costs overlap where its own effective coupling is not small: give it a prior that is
    better there.

    terms     of each class function, harmonics or characters; None takes 16 for U(1), 12 for SU(2)
    coarsest  a prior on the lattice to begin with; None takes Haar
    strength  N >= 3: beta of the finest heat law at the start, None for 1; half of it for each doubling before
    links     makes another model of new links, called as links(level), level 0 the finest doubling; then `terms` and
              `strength` do not count
    Raises    ValueError for other spaces, terms for N >= 3, strength for N < 3, or a coarsest lattice that no doublings
              lead from to `space`
    """
    if space.kind != "links" or space.ndim != 2:
        raise ValueError(f"multiscale_flow builds models for links in two dimensions; got {space}.")
    n = space.group.dimension
    if n <= 2 and strength is not None:
        raise ValueError(f"Heat laws, and so strength, are for SU(N) from N = 3; got {strength} for {space.group}.")
    if n > 2 and terms is not None:
        raise ValueError(f"Class functions, and so terms, are for U1 and SU2; got {terms} for {space.group}.")

    def model(level: int) -> LinkConditional:
        if links is not None:
            return links(level)
        if n == 1:
            return ClassFunctionConditional(16 if terms is None else terms)
        if n == 2:
            return SU2ClassFunctionConditional(12 if terms is None else terms)
        return HeatAngleConditional(n, strength=(strength or 1.0) / 2**level)

    target = coarsest.space.lattice if coarsest is not None else (1, 1)
    levels: list[Level] = []
    now = space
    while halvable := [mu for mu in (0, 1) if now.lattice[mu] % 2 == 0 and now.lattice[mu] > target[mu]]:
        mu = max(halvable, key=lambda mu: (now.lattice[mu], mu))
        levels.insert(0, (Doubling.of(now, mu), model(len(levels))))
        now = levels[0][0].coarse
    if coarsest is not None and coarsest.space != now:
        raise ValueError(f"Doublings of {coarsest.space} do not end at {space}.")
    return Multiscale(coarsest or Haar(now), levels)

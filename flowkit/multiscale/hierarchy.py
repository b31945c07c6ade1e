"""A field built from coarse to fine: a coarsest prior, then doublings, each with a model of its new links."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.groups import U1
from flowkit.lattice import format_lattice
from flowkit.multiscale.conditional import ClassFunctionConditional, LinkConditional
from flowkit.multiscale.doubling import Doubling
from flowkit.priors import Draw, Haar, Prior
from flowkit.space import Space

Level = tuple[Doubling, LinkConditional]


class Multiscale(Prior):
    """log q(fine) = log q(coarsest) + sum over doublings and their new links of log q(V | R_left, R_right).

    The first halves of coarse links are Haar. Every doubling keeps a model of its own, so that a scale has its own
    weights.

    The model is also a map of base variables: `forward` takes a field z on the same space, whose coarsest part follows
    `coarsest` and whose first halves and new links are Haar, to x. `action.pullback(model)` is the theory in z.

    coarsest  any prior on links
    levels    (doubling, model) from coarse to fine; each doubling begins where the last one ended
    Raises    ValueError where spaces or groups do not fit
    See       2404.10819
    """

    def __init__(self, coarsest: Prior, levels: Sequence[Level]):
        space = coarsest.space
        for doubling, conditional in levels:
            if doubling.coarse != space:
                raise ValueError(f"The next doubling begins at {space}; got one that begins at {doubling.coarse}.")
            if conditional.group != space.group:
                name = type(conditional).__name__
                raise ValueError(f"{name} models links of {conditional.group}; the field is {space}.")
            space = doubling.fine
        super().__init__(space)
        self.coarsest = coarsest
        self.doublings = [doubling for doubling, _ in levels]
        self.conditionals = nn.ModuleList(conditional for _, conditional in levels)
        self.normalised = coarsest.normalised

    @property
    def levels(self) -> list[Level]:
        """(doubling, model), from coarse to fine."""
        return list(zip(self.doublings, self.conditionals, strict=True))  # type: ignore[arg-type]

    def draw(self, n: int, rng: torch.Generator) -> Draw:
        x, logq = self.coarsest.draw(n, rng)
        for doubling, conditional in self.levels:
            group = self.space.group
            first = group.haar((n, 1, *doubling.coarse.lattice), rng, self.dtype).to(self.device)
            new, logp = conditional.draw(doubling.loops(x, first), rng)
            x, logq = doubling.join(x, first, new), logq + logp.flatten(1).sum(1)
        return Draw(x, logq)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.draw(n, rng).x

    def log_prob(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(self._mine(x)), dtype=self.dtype, device=self.device)
        for doubling, conditional in reversed(self.levels):
            x, first, new = doubling.split(x)
            total = total + conditional.log_prob(new, doubling.loops(x, first)).flatten(1).sum(1)
        return total + self.coarsest.log_prob(x)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(x, log|det dx/dz|) of base variables z, [batch, *space.shape] and [batch]."""
        parts, logdet = [], torch.zeros(len(self._mine(z)), dtype=self.dtype, device=self.device)
        for doubling in reversed(self.doublings):
            z, first, u = doubling.split(z)
            parts.append((first, u))
        x = z
        for (doubling, conditional), (first, u) in zip(self.levels, reversed(parts), strict=True):
            new, logq = conditional.from_base(u, doubling.loops(x, first))
            x, logdet = doubling.join(x, first, new), logdet - logq.flatten(1).sum(1)
        return x, logdet

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(z, log|det dz/dx|): the inverse of `forward`."""
        parts, logdet = [], torch.zeros(len(self._mine(x)), dtype=self.dtype, device=self.device)
        for doubling, conditional in reversed(self.levels):
            x, first, new = doubling.split(x)
            u, logq = conditional.to_base(new, doubling.loops(x, first))
            parts.append((first, u))
            logdet = logdet + logq.flatten(1).sum(1)
        z = x
        for doubling, (first, u) in zip(self.doublings, reversed(parts), strict=True):
            z = doubling.join(z, first, u)
        return z, logdet

    def score(self, x: Tensor) -> Tensor:
        """d log q(x) / dparams, [batch, params], in closed form, for the parameters that require a gradient in the
        order of `parameters()`.

        Raises    ValueError where the coarsest prior has such parameters: it offers no score
        """
        if any(p.requires_grad for p in self.coarsest.parameters()):
            raise ValueError(
                f"The coarsest prior, {type(self.coarsest).__name__}, has parameters but no score; "
                "freeze them with requires_grad_(False), or train by a gradient."
            )
        scores: list[Tensor] = [torch.zeros(len(self._mine(x)), 0, dtype=self.dtype, device=self.device)]
        for doubling, conditional in reversed(self.levels):
            x, first, new = doubling.split(x)
            if any(p.requires_grad for p in conditional.parameters()):
                scores.insert(0, conditional.score(new, doubling.loops(x, first)))
        return torch.cat(scores, 1)

    def on(self, space: Space) -> "Multiscale":
        """The same weights on another lattice, scale by scale from the finest one, as far as the sides can be halved;
        what is left over is the coarsest prior's. (Haar on a larger coarsest lattice is as good as extra doublings
        with Haar links.)

        Raises    ValueError for another group or number of directions
        """
        if space.kind != "links" or space.group != self.space.group or space.ndim != self.space.ndim:
            raise ValueError(f"A model of {self.space} goes to another lattice of its kind; got {space}.")
        levels: list[Level] = []
        for doubling, conditional in reversed(self.levels):
            if space.lattice[doubling.mu] % 2:
                break
            levels.insert(0, (Doubling.of(space, doubling.mu), copy.deepcopy(conditional)))
            space = levels[0][0].coarse
        return Multiscale(self.coarsest.on(space), levels).to(self.anchor)

    def describe(self) -> dict[str, Any]:
        """The model as plain data, for provenance."""
        return {
            "space": self.space.describe(),
            "coarsest": f"{type(self.coarsest).__name__} on {format_lattice(self.coarsest.space.lattice)}",
            "doublings": [doubling.mu for doubling in self.doublings],
            "conditionals": sorted({type(conditional).__name__ for conditional in self.conditionals}),
            "parameters": sum(p.numel() for p in self.parameters()),
        }

    @classmethod
    def example(cls) -> "Multiscale":
        from flowkit.space import links

        coarse = links((1, 2), U1())
        first = Doubling(coarse, 0)
        second = Doubling(first.fine, 1)
        conditionals = (ClassFunctionConditional.example(), ClassFunctionConditional.example())
        return cls(Haar(coarse), list(zip((first, second), conditionals, strict=True)))


def multiscale_flow(space: Space, harmonics: int = 16, coarsest: Prior | None = None) -> Multiscale:
    """The default multiscale model of U(1) links in two dimensions; it starts at Haar measure.

    Sides are halved, the longer first, until they are odd, or until the lattice of `coarsest` is reached. Haar on 1x1
    is exact, as its one plaquette is trivial; a larger coarsest lattice, as sides with an odd factor leave it, costs
    overlap where its own effective coupling is not small: give it a prior that is better there.

    harmonics of each class function
    coarsest  a prior on the lattice to begin with; None takes Haar
    Raises    ValueError for other spaces, or a coarsest lattice that no doublings lead from to `space`
    """
    if space.kind != "links" or space.ndim != 2 or not isinstance(space.group, U1):
        raise ValueError(f"multiscale_flow builds models for U1 links in two dimensions; got {space}.")
    target = coarsest.space.lattice if coarsest is not None else (1, 1)
    levels: list[Level] = []
    now = space
    while halvable := [mu for mu in (0, 1) if now.lattice[mu] % 2 == 0 and now.lattice[mu] > target[mu]]:
        mu = max(halvable, key=lambda mu: (now.lattice[mu], mu))
        levels.insert(0, (Doubling.of(now, mu), ClassFunctionConditional(harmonics)))
        now = levels[0][0].coarse
    if coarsest is not None and coarsest.space != now:
        raise ValueError(f"Doublings of {coarsest.space} do not end at {space}.")
    return Multiscale(coarsest or Haar(now), levels)

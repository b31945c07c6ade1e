"""Transforms one after the other."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from flowkit.actions.base import Action
from flowkit.actions.gradients import Map
from flowkit.actions.pullback import Pullback, closed_form
from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior, Sample
from flowkit.tasks.randomness import Rng, generator_of
from flowkit.transforms.base import Layer, Transform
from flowkit.transforms.by_inversion import Move, through, trained


class Chain(Transform):
    r"""Transforms one after the other, y = f_n(... f_1(x)); logdet is the sum.

    Parameters
    ----------
    *steps : Transform
        f_1, ..., f_n, all of one space. Some may be Markov kernels; the chain is then `stochastic`.
    recompute : bool
        Whether the backward pass finds what each step read by the inverse of the step, so that the memory of training
        does not grow with the number of steps. It may be set later too: ``flow.transform.recompute = True``.

    Raises
    ------
    TypeError
        For what is no transform, such as a list of them.
    ValueError
        For no transforms, transforms of different spaces, or a Markov kernel in a chain that recomputes.

    Notes
    -----
    Recomputed, a step costs an inverse and a second evaluation more, and its gradients are those at the field that the
    inverse gives: rounding of the inverses adds to that of the gradients. Second derivatives are refused.

    References
    ----------
    A. N. Gomez et al., 1707.04585, on reversible networks.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.sites((2,))
    >>> chain = fk.Chain(fk.transforms.Affine(space), fk.transforms.Affine(space))
    >>> _ = torch.nn.init.constant_(chain.steps[0].log_scale, 0.5)
    >>> with torch.no_grad():
    ...     chain(torch.ones(1, 1, 2))          # two sites, scaled by e^0.5
    (tensor([[[1.6487, 1.6487]]]), tensor([1.]))
    """

    @checked
    def __init__(self, *steps: Transform, recompute: bool = False):
        if not steps or any(step.space != steps[0].space for step in steps):
            raise ValueError(f"Chain needs transforms of one space; got {[str(step.space) for step in steps]}.")
        super().__init__(steps[0].space)
        self.steps = nn.ModuleList(steps)
        self.recompute = recompute

    def __iter__(self) -> Iterator[Transform]:
        """The steps in order."""
        for step in self.steps:
            assert isinstance(step, Transform)
            yield step

    @property
    def recompute(self) -> bool:
        """Whether the backward pass finds what each step read by the inverse of the step."""
        return self._recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        kernels = [type(step).__name__ for step in self if step.stochastic]
        if value and kernels:
            raise ValueError(
                f"A chain recomputes by the inverses of its steps; a Markov kernel has none: {kernels[0]}."
            )
        self._recompute = bool(value)

    @property
    def stochastic(self) -> bool:
        """Whether any step is a Markov kernel."""
        return any(step.stochastic for step in self)

    @property
    def exact(self) -> bool:
        """Whether the logdet of every step is."""
        return all(step.exact for step in self)

    def defect(self, x: Tensor) -> Tensor:
        """The sum of the errors of all steps; of Markov kernels, at fields of one run of each."""
        rng, total = torch.Generator(x.device).manual_seed(0), x.real.new_zeros(len(x))
        for step in self:
            total = total + step.defect(x)
            x, _ = step.push(x, rng)
        return total

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._through(list(self), self.space.check(x))

    def push(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.recompute:
            return self.forward(x)
        return _through([partial(step.push, rng=rng) for step in self], self.space.check(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._through(list(self)[::-1], self.space.check(y), back=True)

    def _through(self, steps: Sequence[Transform], x: Tensor, back: bool = False) -> tuple[Tensor, Tensor]:
        """Some steps, in their order, or their inverses."""
        if not (self.recompute and torch.is_grad_enabled()):
            return _through([step.inverse if back else step for step in steps], x)
        return through([_move(step, back) for step in steps], x)

    def sample(self, prior: Prior, n: int, rng: Rng = None) -> Sample:
        """As of any transform; the first step draws, for it may know a faster way."""
        first, *rest = self
        rng = generator_of(rng, prior.device)
        drawn = first.sample(prior, n, rng)
        if not rest:
            return drawn
        if self.recompute:
            x, total = self._through(rest, drawn.x)
        else:
            x, total = _through([partial(step.push, rng=rng) for step in rest], drawn.x)
        return Sample(x, drawn.logq - total)

    def by_layer(self, x: Tensor, rng: torch.Generator | None = None) -> Iterator[Layer]:
        """The field after each layer of each step, and the logdet of all up to it."""
        total = x.new_zeros(len(self.space.check(x)), dtype=x.real.dtype)
        for step in self:
            for layer in step.by_layer(x, rng):
                yield layer._replace(logdet=total + layer.logdet)
            x, total = layer.x, total + layer.logdet

    def rebuild(self, space: Space) -> "Chain":
        return Chain(*(step.rebuild(space) for step in self), recompute=self.recompute)


def _move(step: Transform, back: bool) -> Move:
    """A step or its inverse."""
    forth, inverse = (step.inverse, step) if back else (step, step.inverse)
    return Move(forth, inverse, step, trained(step))


def _through(moves: Sequence[Map], x: Tensor) -> tuple[Tensor, Tensor]:
    """What several maps make of a field one after the other, and the sum of their logdets."""
    x, total = moves[0](x)
    for move in moves[1:]:
        x, logdet = move(x)
        total = total + logdet
    return x, total


@closed_form.register
def _(transform: Chain, action: Action) -> Pullback | None:
    """Step by step, where the last step knows the pulled-back action in closed form."""
    *before, last = transform
    pulled = closed_form(last, action)
    return pulled.pullback(Chain(*before, recompute=transform.recompute)) if pulled and before else pulled

"""What each of several ranks draws of a batch, so that all of them together draw what one process would."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.flow import Flow
from flowkit.geometry.space import Space
from flowkit.priors import Prior, Sample
from flowkit.tasks.randomness import Rng
from flowkit.tasks.ranks import ranks
from flowkit.transforms import Chain, Transform


class Part(Prior):
    """One rank's rows of the draws of a distribution: of n fields, those of this rank, ``n / world`` of them.

    Parameters
    ----------
    of : Prior
        The distribution. Every rank draws all n fields from the same stream of random numbers and keeps its own.

    Examples
    --------
    In one process the part is all.

    >>> import flowkit as fk
    >>> from flowkit.train.parts import Part
    >>> prior = fk.Normal(fk.sites((4, 4)))
    >>> bool((Part(prior).sample(6, 1) == prior.sample(6, 1)).all())
    True
    """

    @checked
    def __init__(self, of: Prior):
        super().__init__(of.space)
        self.of = of
        self.normalised, self.up_to_constant = of.normalised, of.up_to_constant

    @property
    def dtype(self) -> torch.dtype:
        return self.of.dtype

    @property
    def device(self) -> torch.device:
        return self.of.device

    @property
    def stochastic(self) -> bool:
        return self.of.stochastic

    @property
    def base(self) -> Prior:
        return self.of.base

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        return self.of.sample(n, self._draws(n, rng))[ranks().part(n)]

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        if type(self.of).sample_and_log_prob is Prior.sample_and_log_prob:  # the density of the own rows alone
            return super().sample_and_log_prob(n, rng)
        return Sample(*(rows[ranks().part(n)] for rows in self.of.sample_and_log_prob(n, self._draws(n, rng))))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.of.log_prob(x)

    def score(self, x: Tensor) -> Tensor:
        return self.of.score(x)

    def on(self, space: Space) -> Part:
        return Part(self.of.on(space))

    def describe(self) -> dict[str, Any]:
        return self.of.describe()


def part_of(flow: Prior) -> Prior:
    """The flow whose draws are those of this rank; the flow itself, in one process.

    A transform that only maps is given the rank's part of the prior's draws. Where drawing and mapping are one, as for
    new links of a multiscale model, every rank draws the whole batch and keeps its part.
    """
    if ranks().world == 1:
        return flow
    if isinstance(flow, Flow) and _maps(flow.transform):
        return Flow(part_of(flow.prior), flow.transform)
    return Part(flow)


def _maps(transform: Transform) -> bool:
    """Whether a transform draws nothing: the first step of a chain is the one that may."""
    while isinstance(transform, Chain):
        if transform.stochastic:
            return False
        transform = next(iter(transform))
    return not transform.stochastic and type(transform).sample is Transform.sample

"""Instanton hops, which carry the topological charge of 2D U(1) from sector to sector."""

import math
from typing import Any

import torch
from torch import Tensor

from flowkit.geometry import Space, coordinates
from flowkit.samplers import Sampler, State
from flowkit.samplers.base import Tuner, accept, select
from flowkit.samplers.state import Info


class Hops(Sampler):
    """A sampler of 2D U(1), each step followed by two proposals theta -> theta +- instanton, accepted with exp(-dS).

    The instanton has the same flux 2 pi / V through every plaquette and so carries Q = 1. Shifts are symmetric, so the
    distribution stays what it is, and Q moves where local updates leave it frozen.

    References
    ----------
    T. Eichhorn et al., 2111.05745.
    """

    def __init__(self, inner: Sampler):
        super().__init__(inner.action)
        self.inner = inner

    def step(self, state: State, rng: torch.Generator) -> tuple[State, Info]:
        state, info = self.inner.step(state, rng)
        x, S = state.x, state.S
        wrap = self.space.group.project
        shift = instanton(self.space, x)
        for _ in range(2):
            sign = torch.randint(2, (len(x), 1, 1, 1), generator=rng, device=x.device) * 2 - 1
            y = wrap(x + sign * shift)
            S_y = self.action(y)
            yes = accept(S - S_y, rng)
            x, S = select(yes, y, x), select(yes, S_y, S)
        return State(x, S), info

    def tuner(self) -> Tuner | None:
        """That of the inner sampler, which is fed the information of its own steps."""
        return self.inner.tuner()

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "hops": 2}


def instanton(space: Space, like: Tensor) -> Tensor:
    """The 2D U(1) field whose plaquettes all are 2 pi / V, so that Q = 1, [1, 2, *lattice]."""
    x0, x1 = (c.view(space.lattice).to(like) for c in coordinates(space.lattice))
    flux = 2 * math.pi / space.volume
    last = x0 == space.lattice[0] - 1  # these links carry what the others lose at the edge
    return space.group.project(torch.stack([-flux * space.lattice[0] * x1 * last, flux * x0]))[None]

"""Transformations of fields under which an action or a map may be symmetric, and periodic repetition."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowkit.geometry.lattice import shift
from flowkit.geometry.loops import gauge_transform
from flowkit.geometry.space import Space

Symmetry = Callable[[Tensor], Tensor]


def symmetry(space: Space, name: str, rng: torch.Generator) -> Symmetry:
    """A random transformation of fields: "gauge", "z2", or "translation" by one site in each direction."""
    if name == "gauge":
        g = space.group.haar((1, 1, *space.lattice), rng, torch.float64)
        return lambda x: gauge_transform(space, x, g.to(x.dtype).expand(len(x), *g.shape[1:]))
    if name == "z2":
        return lambda x: -x
    if name == "translation":
        return lambda x: translate(x, [1] * space.ndim)
    raise ValueError(f"A symmetry is 'gauge', 'z2' or 'translation'; got {name!r}.")


def translate(x: Tensor, steps: Sequence[int]) -> Tensor:
    """x(site) -> x(site + steps)."""
    for mu, n in enumerate(steps):
        x = shift(x, mu, n)
    return x


def tile(space: Space, x: Tensor) -> Tensor:
    """Repeat a periodic field until it fills the lattice of `space`."""
    repeats = [new // old for new, old in zip(space.lattice, x.shape[2:], strict=False)]
    return x.repeat(1, 1, *repeats, *[1] * len(space.group.matrix_shape))

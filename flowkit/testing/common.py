"""What all contract checks use: requirements that raise, seeded generators, rough fields, random parameters."""

import copy
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from flowkit.geometry.space import Space
from flowkit.groups import Group

M = TypeVar("M", bound=nn.Module)

TIGHT, LOOSE = 1e-9, 2e-3  # tolerances in float64 and float32, relative to numbers of size 1


def seeded(seed: int = 1) -> torch.Generator:
    """A CPU generator with a fixed seed."""
    return torch.Generator().manual_seed(seed)


def require(condition: bool | Tensor, message: str) -> None:
    """Raise AssertionError with the message where the condition is false, under `python -O` too."""
    if not bool(condition):
        raise AssertionError(message)


def require_close(came: Tensor, expected: Tensor, what: str, tolerance: float = TIGHT) -> None:
    """Equal shapes, finite values, and |came - expected| <= tolerance * (1 + max |expected|)."""
    came, expected = came.detach(), expected.detach()
    require(came.shape == expected.shape, f"{what}: expected shape {list(expected.shape)}; got {list(came.shape)}.")
    require(came.isfinite().all(), f"{what}: got NaN or infinity.")
    if came.numel():
        off = float((came - expected).abs().max())
        allowed = tolerance * (1 + float(expected.abs().max()))
        require(off <= allowed, f"{what}: off by {off:.2g}; at most {allowed:.2g} was expected.")


def fields(space: Space, n: int, rng: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """n rough fields: Haar on links, standard normal on sites, [n, *space.shape]; `dtype` of the real numbers."""
    if space.kind == "links":
        return space.haar(n, rng, dtype)
    return torch.randn(n, *space.shape, generator=rng, dtype=dtype)


def randomised(module: M, rng: torch.Generator, scale: float = 0.3) -> M:
    """A copy in float64 whose parameters are moved by scale * N(0, 1), weights by that over the root of their number of
    inputs: a fresh one is often near the identity.
    """
    other = copy.deepcopy(module).double()
    with torch.no_grad():
        for parameter in other.parameters():
            inputs = parameter[0].numel() if parameter.dim() > 1 else 1
            noise = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            parameter.add_(scale / math.sqrt(inputs) * noise)
    return other


def difference(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """a b^-1 - 1 to first order in algebra coordinates: angles are compared modulo 2 pi."""
    return group.tangent(group.compose(a, group.inverse(b)))


def require_same_field(group: Group, came: Tensor, expected: Tensor, what: str, tolerance: float = TIGHT) -> None:
    """The two fields are equal as group elements."""
    require(came.shape == expected.shape, f"{what}: expected shape {list(expected.shape)}; got {list(came.shape)}.")
    came, expected = came.detach(), expected.detach()
    off = difference(group, came, expected)
    require_close(off, torch.zeros_like(off), what, tolerance * (1 + float(expected.abs().max())))


def require_independent_batch(function: Callable[[Tensor], Tensor], x: Tensor, who: str) -> None:
    """What a field gives does not depend on the other fields of its batch."""
    whole = function(x)
    alone = torch.cat([function(x[i : i + 1]) for i in range(len(x))])
    require_close(alone, whole, f"{who}: a field alone and in a batch")


def require_gradients(module: nn.Module, value: Tensor, who: str) -> None:
    """Every trainable parameter has a finite gradient that is not zero."""
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        return
    gradients = torch.autograd.grad(value, list(trainable.values()), allow_unused=True)
    for name, gradient in zip(trainable, gradients, strict=True):
        require(gradient is not None, f"{who}: the parameter {name} takes no part.")
        assert gradient is not None
        require(gradient.isfinite().all(), f"{who}: the gradient of {name} is not finite.")
        require((gradient != 0).any(), f"{who}: the gradient of {name} is zero.")

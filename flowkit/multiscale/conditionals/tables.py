"""Densities given by their values at the nodes of a table: interpolation, sampling by inversion, and scores."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def weights(log: Tensor, dims: tuple[int, ...]) -> Tensor:
    """exp(log), divided by its largest value along `dims`."""
    # The floor concerns weights too small for any sample to meet, and keeps log q finite in single precision.
    return (log - log.detach().amax(dims, keepdim=True)).exp().clamp(min=1e-30)


def interval(place: Tensor, intervals: int) -> tuple[Tensor, Tensor]:
    """The interval of width 1 that holds a place, int64 in [0, intervals), and the part of it below the place. NaN lies
    in the first one, and its part is NaN.
    """
    index = place.detach().nan_to_num(0.0).clamp(0, intervals - 1).long()
    return index, place - index


def node_below(cdf: Callable[[Tensor], Tensor], target: Tensor, intervals: int) -> Tensor:
    """The last node at which a CDF is not above `target`, by bisection; `intervals` is a power of two."""
    node, step = torch.zeros_like(target, dtype=torch.long), intervals // 2
    while step:
        node = torch.where(cdf(node + step) <= target, node + step, node)
        step //= 2
    return node


def linear(p: Tensor, q: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    """The density p + part (q - p) in a cell of width 1, and its integral from 0 to `part`."""
    return torch.lerp(p, q, part), part * (p + part * (q - p) / 2)


def part_below(p: Tensor, q: Tensor, mass: Tensor) -> Tensor:
    """The part of a cell up to which the integral of `linear` is `mass`, in [0, 1], without cancellation."""
    mass = mass.clamp(min=0)
    root = (p * p + 2 * (q - p) * mass).clamp(min=0).sqrt()
    return (2 * mass / (p + root)).clamp(max=1)


def score(density: Tensor, slopes: Tensor, places: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """The derivatives of log p, summed over the links of each field, for p interpolated between nodes.

    Parameters
    ----------
    density : Tensor
        p at the nodes, ``[nodes]``.
    slopes : Tensor
        d log p / d params at the nodes, ``[nodes, params]``.
    places, factors : sequence of Tensor
        The nodes between which each link lies, and their weights in the interpolation, each ``[batch, ...]``.

    Returns
    -------
    Tensor
        ``[batch, params]``.
    """
    share = torch.stack([density[place] * factor for place, factor in zip(places, factors, strict=True)], 1)
    return nn.functional.embedding_bag(
        torch.stack(list(places), 1).flatten(1),
        slopes,
        per_sample_weights=(share / share.sum(1, keepdim=True)).flatten(1),
        mode="sum",
    )

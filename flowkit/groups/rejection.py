"""Rejection sampling of many laws at once. It inspects what was accepted, so that a GPU waits in each round."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Proposals = tuple[Tensor, ...]


def first_accepted(
    n: int,
    propose: Callable[[Tensor], tuple[Proposals, Tensor]],
    rng: torch.Generator,
    tries: float = 1.0,
    width: int = 1024,
) -> Proposals:
    """The first accepted proposal of each of n laws; there is no limit on the number of tries.

    Parameters
    ----------
    n : int
        Number of laws.
    propose : callable
        Which laws, int64 ``[k]`` and sorted, to a tuple of tensors ``[k, ...]`` with one proposal for each, and the
        probabilities ``[k]`` of accepting them.
    rng : torch.Generator
    tries : float
        Roughly how many a law needs.
    width : int
        Proposals in a round, as long as fewer laws wait.

    Returns
    -------
    tuple of Tensor
        ``[n, ...]`` each.
    """
    found: Proposals = ()
    waiting = torch.arange(n, device=rng.device)
    tries = min(tries, width)
    while len(waiting):
        repeats = max(1, min(math.ceil(tries), width // len(waiting)))
        proposals, chance = propose(waiting.repeat_interleave(repeats))
        u = torch.rand(chance.shape, generator=rng, device=rng.device, dtype=chance.dtype)
        accepted = (u < chance).view(-1, repeats)
        hit, first = accepted.any(1), accepted.byte().argmax(1)
        if len(waiting) == n and repeats == 1 and bool(hit.all()):
            return proposals
        chosen = (torch.arange(len(waiting), device=rng.device) * repeats + first)[hit]
        found = found or tuple(x.new_empty((n, *x.shape[1:])) for x in proposals)
        for out, x in zip(found, proposals, strict=True):
            out[waiting[hit]] = x[chosen]
        waiting = waiting[~hit]
        tries = min(2 * tries, width)  # of those that wait longer the law is harder
    return found

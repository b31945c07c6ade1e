"""Where random numbers come from: one rule for everything that draws."""

from numbers import Integral
from typing import Annotated, Any

import torch


def readable(rng: object) -> Any:
    """The argument itself, where `generator_of` takes it; else TypeError or ValueError."""
    if isinstance(rng, torch.Generator) or rng is None:
        return rng
    if isinstance(rng, bool) or not isinstance(rng, Integral):
        raise TypeError(f"rng is a torch.Generator, a seed or None; got {type(rng).__name__}.")
    if not 0 <= int(rng) < 2**64:
        raise ValueError(f"A seed is a whole number >= 0 of at most 64 bits; got {rng}.")
    return int(rng)


Rng = Annotated[torch.Generator | int | None, readable]
"""A generator, a seed, or None for a fresh seed."""


def generator_of(rng: Rng, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator to draw with; its `initial_seed` is the seed that it was given at last.

    Parameters
    ----------
    rng : torch.Generator or int, optional
        A generator, which is used as it stands, a seed, or None for a fresh seed.
    device : torch.device or str
        Of a new generator.

    Raises
    ------
    TypeError, ValueError
        For what is none of the three.

    Examples
    --------
    >>> from flowkit.tasks.randomness import generator_of
    >>> generator_of(7).initial_seed()
    7
    """
    if isinstance(rng, torch.Generator):
        return rng
    seed, generator = readable(rng), torch.Generator(device=device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def lasting(rng: torch.Generator, who: str) -> torch.Generator:
    """The generator of one step of many: a seed would give each step the same random numbers, and is refused.

    Raises
    ------
    TypeError
        For anything but a generator.
    """
    if not isinstance(rng, torch.Generator):
        raise TypeError(
            f"{who} takes one step of many: rng is the torch.Generator of all of them, such as "
            f"torch.Generator().manual_seed(1); got {rng!r}."
        )
    return rng

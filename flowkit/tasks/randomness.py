"""Where random numbers come from: one rule for everything that draws."""

import hashlib
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


def stream(seed: int, purpose: str, rank: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    r"""The generator of one purpose, derived from the seed of a whole run.

    Parameters
    ----------
    seed : int
        Of the run, 0 <= seed < 2^64.
    purpose : str
        What its numbers are for, such as "training". Two purposes of one seed have independent streams.
    rank : int
        Which of several streams of that purpose, such as the number of a group of chains.
    device : torch.device or str
        Of the generator.

    Returns
    -------
    torch.Generator
        At the beginning of its stream.

    Notes
    -----
    Its own seed is the first eight bytes of the SHA-256 sum of "seed/purpose/rank". The generator of a CPU takes 32
    bits of it, so that two of m streams coincide with probability :math:`m^2 / 2^{33}`.

    Examples
    --------
    >>> from flowkit.tasks.randomness import stream
    >>> len({stream(1, purpose, rank).initial_seed() for purpose in ("training", "chains") for rank in range(4)})
    8
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{rank}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big"))


def source_of(rng: Rng, purpose: str, device: torch.device | str = "cpu") -> tuple[torch.Generator, int]:
    """The generator of one purpose, and the seed to record: with it as `rng` the same numbers are drawn again.

    Parameters
    ----------
    rng : torch.Generator or int, optional
        A generator, which is used as it stands, a seed, or None for a fresh seed.
    purpose : str
        What the numbers are for: a seed gives the generator `stream(seed, purpose)`.
    device : torch.device or str
        Of a new generator.

    Raises
    ------
    TypeError, ValueError
        For what is none of the three.

    Examples
    --------
    >>> from flowkit.tasks.randomness import source_of
    >>> first, seed = source_of(7, "training")
    >>> second, _ = source_of(7, "chains")
    >>> seed, first.initial_seed() == second.initial_seed()
    (7, False)
    """
    if isinstance(rng, torch.Generator):
        return rng, rng.initial_seed()
    seed = readable(rng)
    seed = torch.Generator().seed() if seed is None else seed
    return stream(seed, purpose, device=device), seed


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

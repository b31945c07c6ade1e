"""Products of powers of a scalar field, and what the symmetries of the lattice make of them."""

from __future__ import annotations

from flowkit.variance.words import Offset, Symmetry, symmetries

Powers = tuple[tuple[Offset, int], ...]
"""A product of powers of the field: the offsets of the sites and the powers there."""


def canonical(term: Powers, fixed: int | None = None) -> Powers:
    """One term for all that translations make of it; the axis `fixed` is not translated."""
    if not term:
        return ()
    shift = [0 if k == fixed else min(places) for k, places in enumerate(zip(*(o for o, _ in term), strict=True))]
    return tuple(sorted((tuple(a - b for a, b in zip(o, shift, strict=True)), power) for o, power in term))


def orbit(term: Powers, fixed: int | None = None) -> tuple[Powers, ...]:
    """The different terms that the symmetries make of one, up to translations, in order."""
    if not term:
        return ((),)

    def image(by: Symmetry) -> Powers:
        to, signs = by
        found = []
        for offset, power in term:
            place = [0] * len(to)
            for mu, n in enumerate(offset):
                place[to[mu]] = signs[mu] * n
            found.append((tuple(place), power))
        return canonical(tuple(found), fixed)

    return tuple(sorted({image(by) for by in symmetries(len(term[0][0]), fixed)}))

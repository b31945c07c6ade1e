"""Which loops make a basis: plaquettes, pairs of them at a link, loops of an observable beside their neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from flowkit.checks import Natural, Range, checked
from flowkit.geometry.closed_paths import Loop
from flowkit.geometry.space import Space
from flowkit.variance.basis import Moves
from flowkit.variance.loop_basis import LoopBasis
from flowkit.variance.words import Monomial, Offset, Word, conjugate, merged, orbit, reduced, walk

Link = tuple[int, Offset]
Seed = tuple[str, Monomial]
Order = Annotated[int, Range(1, 3)]


@checked
def loop_basis(
    space: Space,
    order: Order = 2,
    loops: Sequence[Loop] = (),
    slices: bool = False,
    moves: Moves | None = None,
    time: Natural = 0,
) -> LoopBasis:
    r"""Potentials for actions of plaquettes: small loops and products of them, and those of an observable.

    Parameters
    ----------
    space : Space
        Links of U1 or SUN in two or more dimensions.
    order : int
        1: plaquettes. 2: also their squares and all pairs of plaquettes that share a link. 3: also cubes, products of
        the loop around a pair with one of the two, and the loops around three plaquettes of a plane.
    loops : sequence of Loop
        Further loops, such as those of an observable: each alone, and in pairs with the plaquettes that share a link
        with it.
    slices : bool
        Whether there are potentials for each time slice; all loops then hold links of that slice.
    moves : str, optional
        "all" links, or the spatial links of the "slice" of a potential; by default those of the slice where there are
        slices.
    time : int
        The direction of time: 0, or 3 for the fields of NERSC and ILDG files.

    Returns
    -------
    LoopBasis

    Raises
    ------
    ValueError
        For another space or order, and for sides that are too short for the loops.

    Notes
    -----
    For a pair of loops a, b along a common link: A = Re Tr a b^-1, B = Re Tr a b, C = Re Tr a Tr b, D = Re Tr a Tr b^*.
    Of SU(2) A and C are independent, of U(1) C and D.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.links((4, 4, 4), fk.SUN(2))
    >>> fk.variance.loop_basis(space, order=1, slices=True).names
    ('s', 't')
    >>> len(fk.variance.loop_basis(space, loops=[fk.Loop.rectangle(r=2, t=2)]))
    13
    """
    if space.kind != "links" or space.ndim < 2:
        raise ValueError(f"Loops need links in two or more dimensions; got {space}.")
    found = list(_seeds(space, order, loops, slices))
    kind: Moves = "all" if moves == "all" or (moves is None and not slices) else "slice"
    return LoopBasis(space, found, slices, kind, time)


def _seeds(space: Space, order: int, loops: Sequence[Loop], slices: bool) -> Iterator[Seed]:
    """Each potential once, up to the symmetries."""
    fixed, seen, names = (0 if slices else None), set(), set()
    for name, one in _all(space, order, loops, slices):
        if not one:
            continue
        first = orbit(one, fixed)[0]
        if first not in seen:
            seen.add(first)
            while name in names:
                name += "'"
            names.add(name)
            yield name, first


def _all(space: Space, order: int, loops: Sequence[Loop], slices: bool) -> Iterator[Seed]:
    n, abelian, ndim = space.group.dimension, space.group.abelian, space.ndim
    plaquettes = {"P": _word(Loop.rectangle(), ndim)}
    if slices:
        plaquettes = {"s": _word(Loop.rectangle(1, 2), ndim)} if ndim > 2 else {}
        plaquettes["t"] = _word(Loop.rectangle(1, 0), ndim)
    for name, p in plaquettes.items():
        yield name, (p,)
    if order > 1:
        for name, p in plaquettes.items():
            yield f"{name} {name}", (p, p)
            if n > 2:
                yield f"{name} {name}*", (p, *conjugate((p,)))
            if n > 3:
                yield f"{name}^2", (_squared(p),)
        for name, p in plaquettes.items():
            for other, q, link in _neighbours(p, ndim, slices):
                kind = f"{name}{other} " if slices else ""
                yield from _pair(kind + _kind(p, q), p, q, link, n, abelian)
    if order > 2:
        yield from _third(plaquettes, ndim, n, abelian, slices)
    for loop in loops:
        for one in loop.orientations(ndim):
            word = _word(one, ndim)
            if slices and not any(_moves(link) for link in _links(word)):
                continue
            yield f"[{loop}]", (word,)
            for _, q, link in _neighbours(word, ndim, slices):
                yield from _pair(f"[{loop}]", word, q, link, n, abelian)


def _pair(name: str, a: Word, b: Word, link: Link, n: int, abelian: bool) -> Iterator[Seed]:
    a, b = _along(a, link), _along(b, link)
    if not abelian:
        yield f"{name} A", (merged(a, b, link, inverse=True),)
        if n > 2:
            yield f"{name} B", (merged(a, b, link, inverse=False),)
    yield f"{name} C", (a, b)
    if abelian or n > 2:
        yield f"{name} D", (a, *conjugate((b,)))


def _third(plaquettes: dict[str, Word], ndim: int, n: int, abelian: bool, slices: bool) -> Iterator[Seed]:
    for name, p in plaquettes.items():
        yield f"{name} {name} {name}", (p, p, p)
        if n > 2:
            yield f"{name} {name} {name}*", (p, p, *conjugate((p,)))
        for other, q, link in _neighbours(p, ndim, slices):
            if _kind(p, q) != "straight":
                continue
            kind = f"{name}{other} " if slices else ""
            a, b = _along(p, link), _along(q, link)
            if abelian:
                yield f"{kind}C t", (a, a, b)
                yield f"{kind}D t", (a, a, *conjugate((b,)))
            else:
                around = merged(a, b, link, inverse=True)
                yield f"{kind}A t", (around, a)
                if n > 2:
                    yield f"{kind}A t*", (around, *conjugate((a,)))
    if not slices:
        yield "1x3", (_word(Loop.rectangle(r=3), ndim),)
        yield "L", (_word(Loop(((0, 1), (0, 1), (1, 1), (0, -1), (1, 1), (0, -1), (1, -1), (1, -1))), ndim),)


def _word(loop: Loop, ndim: int) -> Word:
    return reduced(((0,) * ndim, loop.path))


def _squared(word: Word) -> Word:
    return word[0], (*word[1], *word[1])


def _links(word: Word) -> set[Link]:
    return {(mu, offset) for mu, offset, _ in walk(word)}


def _moves(link: Link) -> bool:
    """Whether it is a spatial link of the slice 0."""
    return link[0] != 0 and link[1][0] == 0


def _along(word: Word, link: Link) -> Word:
    """The word in the sense in which it runs along a link."""
    return word if any((mu, offset) == link and s > 0 for mu, offset, s in walk(word)) else conjugate((word,))[0]


def _neighbours(word: Word, ndim: int, slices: bool) -> Iterator[tuple[str, Word, Link]]:
    """The other plaquettes at each link of a word, those of the time slice alone where there are slices, and whether
    each is spatial, "s", or not, "t".
    """
    own = _links(word)
    for mu, offset, _ in walk(word):
        if slices and not _moves((mu, offset)):
            continue
        for nu, below in itertools.product(range(ndim), (False, True)):
            if nu == mu:
                continue
            q = (offset, Loop.rectangle(mu, nu, below=below).path)
            if _links(q) != own:
                yield "s" if 0 not in (mu, nu) else "t", q, (mu, offset)


def _kind(p: Word, q: Word) -> str:
    """Whether two plaquettes lie in one plane."""
    return "straight" if _plane(p) == _plane(q) else "bent"


def _plane(word: Word) -> Iterable[int]:
    return {mu for mu, _ in word[1]}

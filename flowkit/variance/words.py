"""Products of traces of closed words of links, and what the Laplacian makes of them.

A word is a closed path, ``(start, moves)``: the offset of its first site and its moves (direction, sign). A monomial is
a tuple of words and stands for Re prod_i Tr w_i, Tr 1 = N; the empty one is 1.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

Offset = tuple[int, ...]
Moves = tuple[tuple[int, int], ...]
Word = tuple[Offset, Moves]
Monomial = tuple[Word, ...]
Terms = dict[Monomial, float]
Moved = Callable[[int, Offset], bool]
"""Whether a field moves the link of a direction at an offset."""
Symmetry = tuple[tuple[int, ...], tuple[int, ...]]
"""Where each direction goes, and with which sign."""


def walk(word: Word) -> Iterator[tuple[int, Offset, int]]:
    """The links of a word: direction, offset, sign."""
    place, moves = list(word[0]), word[1]
    for mu, sign in moves:
        place[mu] += min(sign, 0)
        yield mu, tuple(place), sign
        place[mu] += max(sign, 0)


def backwards(moves: Moves) -> Moves:
    """The same path in the other sense."""
    return tuple((mu, -sign) for mu, sign in reversed(moves))


def turned(word: Word, by: int) -> Word:
    """The word from the site after `by` of its moves."""
    place, moves = list(word[0]), word[1]
    for mu, sign in moves[:by]:
        place[mu] += sign
    return tuple(place), (*moves[by:], *moves[:by])


def reduced(word: Word) -> Word:
    """Without a link that is followed by its inverse, from the start where its moves come first in order."""
    start, moves = word
    while True:
        for k in range(len(moves) if len(moves) > 1 else 0):
            (mu, sign), (nu, other) = moves[k], moves[(k + 1) % len(moves)]
            if mu == nu and sign == -other:
                start, rest = turned((start, moves), k)
                moves = rest[2:]
                break
        else:
            break
    if not moves:
        return start, ()
    return min((turned((start, moves), k) for k in range(len(moves))), key=lambda one: (one[1], one[0]))


def conjugate(monomial: Monomial) -> Monomial:
    """Each word in the other sense; its real part is the same."""
    return tuple((start, backwards(moves)) for start, moves in monomial)


def product(words: Sequence[Word], n: int) -> tuple[Monomial, float]:
    """The monomial of words, reduced, and the factor N for each that is 1."""
    found = [reduced(word) for word in words]
    return tuple(word for word in found if word[1]), float(n) ** sum(not moves for _, moves in found)


def canonical(monomial: Monomial, fixed: int | None = None) -> Monomial:
    """One monomial for all that translations and the other sense make of it; the axis `fixed` is not translated."""
    if not monomial:
        return ()
    best: Monomial | None = None
    for one in (monomial, conjugate(monomial)):
        words = [reduced(word) for word in one]
        sites = [offset for word in words for _, offset, _ in walk(word)]
        shift = [0 if axis == fixed else min(places) for axis, places in enumerate(zip(*sites, strict=True))]
        moved = [(tuple(a - b for a, b in zip(start, shift, strict=True)), moves) for start, moves in words]
        found = tuple(sorted(moved, key=lambda word: (word[1], word[0])))
        best = found if best is None or found < best else best
    assert best is not None
    return best


def symmetries(ndim: int, fixed: int | None = None) -> list[Symmetry]:
    """Rotations and reflections of the lattice; those that keep the axis `fixed`, up to its sense."""
    places = [p for p in itertools.permutations(range(ndim)) if fixed is None or p[fixed] == fixed]
    return [(p, s) for p in places for s in itertools.product((1, -1), repeat=ndim)]


def image(monomial: Monomial, by: Symmetry) -> Monomial:
    """What a symmetry that keeps the site 0 makes of a monomial."""
    to, signs = by
    words = []
    for start, moves in monomial:
        place = [0] * len(to)
        for mu, x in enumerate(start):
            place[to[mu]] = signs[mu] * x
        words.append((tuple(place), tuple((to[mu], signs[mu] * sign) for mu, sign in moves)))
    return tuple(words)


def orbit(monomial: Monomial, fixed: int | None = None) -> tuple[Monomial, ...]:
    """The different monomials that the symmetries make of one, up to translations, in order."""
    ndim = len(monomial[0][0]) if monomial else 0
    found = {canonical(image(monomial, by), fixed) for by in symmetries(ndim, fixed)} if monomial else {()}
    return tuple(sorted(found))


def merged(a: Word, b: Word, link: tuple[int, Offset], inverse: bool) -> Word:
    """Tr(a b), or Tr(a b^-1), both from a link that they share, along it."""

    def along(word: Word) -> Word:
        for one in (word, (word[0], backwards(word[1]))):
            for k, (mu, offset, sign) in enumerate(walk(one)):
                if (mu, offset) == link and sign > 0:
                    return turned(one, k)
        raise ValueError(f"The word {word} does not hold the link {link}.")

    start, first = along(a)
    second = along(b)[1]
    return reduced((start, (*first, *(backwards(second) if inverse else second))))


def laplacian(monomial: Monomial, n: int, abelian: bool, moved: Moved) -> Terms:
    r"""The sum over the moved links of d^a d^a of a monomial, as a combination of monomials.

    A link that stands twice gives, by sum_a Tr(T_a X T_a Y) = (Tr X Tr Y - Tr X Y / N) / 2 in one trace and
    sum_a Tr(T_a X) Tr(T_a Y) = (Tr X Y - Tr X Tr Y / N) / 2 in two, other monomials; each place gives -C_F itself.
    """
    places = defaultdict(list)
    for w, word in enumerate(monomial):
        for k, (mu, offset, sign) in enumerate(walk(word)):
            if moved(mu, offset):
                places[mu, offset].append((w, k, sign))
    found: Terms = defaultdict(float)

    def add(words: Sequence[Word], factor: float) -> None:
        one, constant = product(words, n)
        found[one] += factor * constant

    fundamental = (n * n - 1) / (2 * n)
    for occurrences in places.values():
        if abelian:
            add(monomial, -float(sum(sign for *_, sign in occurrences) ** 2))
            continue
        add(monomial, -fundamental * len(occurrences))
        for (v, i, s), (w, j, r) in itertools.combinations(occurrences, 2):
            factor = -2.0 * s * r / 2
            i, j = i + (s < 0), j + (r < 0)  # a generator stands before a link, and behind the inverse of one
            others = [word for k, word in enumerate(monomial) if k not in (v, w)]
            if v == w:
                start, moves = turned(monomial[v], i)
                cut = j - i
                there = turned((start, moves), cut)[0]
                add([*others, (start, moves[:cut]), (there, moves[cut:])], factor)
            else:
                (start, one), (_, two) = turned(monomial[v], i), turned(monomial[w], j)
                add([*others, (start, (*one, *two))], factor)
            add(monomial, -factor / n)
    return dict(found)

"""Plaquettes with integer charges: what the series of a trivializing flow of U(1) consists of, to any order.

A cluster stands for cos(sum_P n_P theta_P). Two that a translation, a symmetry of the cubic lattice or complex
conjugation turns into one another have the same coefficient.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

Site = tuple[int, ...]
Plaquette = tuple[tuple[int, int], Site]  # plane and site
Link = tuple[int, Site]
Cluster = tuple[tuple[Plaquette, int], ...]  # plaquettes in order, with charges that are not 0
Turn = tuple[tuple[int, ...], tuple[int, ...]]  # each axis goes to another one, with a sign


class Orbit(NamedTuple):
    """The clusters that symmetries make of one, up to translations.

    Parameters
    ----------
    clusters : tuple of Cluster
        In order.
    squared_charge : int
        The sum of the squared charges of the links, the same for each.
    """

    clusters: tuple[Cluster, ...]
    squared_charge: int


def orbits(ndim: int, order: int) -> list[list[Orbit]]:
    """The clusters of each order up to `order`, those of a plaquette first.

    Those of order n + 1 come from those of order n by one plaquette more, or less, at a link with a charge.

    Examples
    --------
    >>> from flowkit.geometry.clusters import orbits
    >>> [len(some) for some in orbits(2, order=3)], [len(some) for some in orbits(3, order=2)]
    ([1, 3, 9], [1, 5])
    >>> orbits(2, order=1)
    [[Orbit(clusters=(((((0, 1), (0, 0)), -1),),), squared_charge=4)]]
    """
    turns = list(_turns(ndim))
    first: Cluster = ((((0, 1), (0,) * ndim), 1),)
    known: set[Cluster] = set()
    levels: list[list[Orbit]] = []
    grown = [first]
    for _ in range(order):
        level = []
        for cluster in grown:
            if cluster not in known:
                images = sorted(
                    {_canonical({_turned(turn, p): n * _sign(turn, p) for p, n in cluster}) for turn in turns}
                )
                known.update(images)
                level.append(Orbit(tuple(images), sum(q * q for q in link_charges(cluster).values())))
        levels.append(level)
        grown = sorted({more for orbit in level for more in _grown(orbit.clusters[0], ndim)})
    return levels


def link_charges(cluster: Cluster) -> dict[Link, int]:
    """The charges of the links, those that are not 0.

    Examples
    --------
    >>> from flowkit.geometry.clusters import link_charges
    >>> link_charges(((((0, 1), (0, 0)), 1), (((0, 1), (0, 1)), 1)))         # 2x1: the common link has none
    {(0, (0, 0)): 1, (1, (1, 0)): 1, (1, (0, 0)): -1, (1, (1, 1)): 1, (0, (0, 2)): -1, (1, (0, 1)): -1}
    """
    found: dict[Link, int] = {}
    for ((mu, nu), x), n in cluster:
        for link, sign in (((mu, x), 1), ((nu, _moved(x, mu)), 1), ((mu, _moved(x, nu)), -1), ((nu, x), -1)):
            found[link] = found.get(link, 0) + n * sign
    return {link: q for link, q in found.items() if q}


def _moved(x: Site, axis: int, n: int = 1) -> Site:
    return (*x[:axis], x[axis] + n, *x[axis + 1 :])


def _turns(ndim: int) -> Iterator[Turn]:
    return itertools.product(itertools.permutations(range(ndim)), itertools.product((1, -1), repeat=ndim))


def _turned(turn: Turn, plaquette: Plaquette) -> Plaquette:
    (to, signs), (plane, x) = turn, plaquette
    y = [0] * len(x)
    for axis, place in enumerate(x):
        y[to[axis]] = signs[axis] * place - (axis in plane and signs[axis] < 0)
    mu, nu = sorted(to[axis] for axis in plane)
    return (mu, nu), tuple(y)


def _sign(turn: Turn, plaquette: Plaquette) -> int:
    """Whether the sense of the plaquette is kept, 1 or -1."""
    (to, signs), ((mu, nu), _) = turn, plaquette
    return signs[mu] * signs[nu] * (1 if to[mu] < to[nu] else -1)


def _canonical(charges: dict[Plaquette, int]) -> Cluster:
    """The cluster that stands for its translations and for its conjugate."""
    least = [min(along) for along in zip(*(x for _, x in charges), strict=True)]
    rows = sorted(
        ((plane, tuple(a - b for a, b in zip(x, least, strict=True))), n) for (plane, x), n in charges.items()
    )
    return min(tuple(rows), tuple((p, -n) for p, n in rows))


def _grown(cluster: Cluster, ndim: int) -> Iterator[Cluster]:
    for mu, x in link_charges(cluster):
        for nu in range(ndim):
            for y in (x, _moved(x, nu, -1)) if nu != mu else ():
                plaquette = ((min(mu, nu), max(mu, nu)), y)
                for n in (1, -1):
                    charges = dict(cluster)
                    charges[plaquette] = charges.get(plaquette, 0) + n
                    if left := {p: q for p, q in charges.items() if q}:
                        yield _canonical(left)

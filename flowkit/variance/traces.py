"""Traces of words of links at every site of a field, and their derivatives along a motion of the links.

Paths are products of shorter paths, and each is computed once: plaquettes that share their corners, pairs that share
their staples.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.kernels import sun
from flowkit.variance.words import Moves, backwards

Slice = int | None
"""Where the first site of a path lies in time, from the slice whose spatial links move; None where all links do."""


def displacement(moves: Moves, ndim: int) -> tuple[int, ...]:
    """The way from the first site of a path to its last."""
    place = [0] * ndim
    for mu, sign in moves:
        place[mu] += sign
    return tuple(place)


class Schedule:
    """How the traces of closed words are made of products, chosen once for all fields.

    Parameters
    ----------
    words : iterable of Moves
        The moves of the words.
    """

    def __init__(self, words: Iterable[Moves]):
        self._cut: dict[Moves, int] = {}
        self.of: dict[Moves, tuple[Moves, bool, int]] = {}
        """For each word: the word that is computed, whether it is its other sense, and after how many of its moves."""
        self.halves: dict[Moves, tuple[Moves, Moves]] = {}
        for word in sorted(set(words), key=lambda moves: (len(moves), moves)):
            if word not in self.of:
                self._add(word)

    def cut(self, moves: Moves) -> int:
        """Where a path is cut in two."""
        return self._cut[self.kept(moves)[0]]

    @staticmethod
    def kept(moves: Moves) -> tuple[Moves, bool]:
        """The sense in which a path is computed, and whether it is the other one."""
        other = backwards(moves)
        return (moves, False) if moves <= other else (other, True)

    def _add(self, word: Moves) -> None:
        best: tuple[int, Moves, Moves, Moves, dict[Moves, int]] | None = None
        half = len(word) // 2
        for sense in (word, backwards(word)):
            for k in range(len(sense)):
                one = (*sense[k:], *sense[:k])
                new: dict[Moves, int] = {}
                a, b = one[:half], backwards(one[half:])
                cost = self._cost(a, new) + self._cost(b, new)
                if best is None or cost < best[0]:
                    best = cost, one, a, b, new
        assert best is not None
        _, one, a, b, new = best
        self._cut.update(new)
        self.halves[one] = a, b
        for other, sense in ((False, one), (True, backwards(one))):
            for k in range(len(one)):
                self.of.setdefault((*sense[k:], *sense[:k]), (one, other, k))

    def _cost(self, moves: Moves, new: dict[Moves, int]) -> int:
        """Products that are still to be computed; `new` gets where they are cut."""
        path = self.kept(moves)[0]
        if len(path) < 2 or path in self._cut or path in new:
            return 0
        options = []
        for k in range(1, len(path)):
            trial = dict(new)
            options.append((self._cost(path[:k], trial) + self._cost(path[k:], trial), abs(2 * k - len(path)), k))
        least, _, k = min(options)
        self._cost(path[:k], new)
        self._cost(path[k:], new)
        new[path] = k
        return 1 + least


class Traces:
    """The traces of words of one batch of fields, and their derivatives where a motion is given.

    Parameters
    ----------
    space : Space
        Links.
    schedule : Schedule
        Of the words.
    x : Tensor
        Fields, ``[batch, *space.shape]``.
    along : Tensor, optional
        Algebra coordinates of the motion, ``[batch, *space.algebra_shape]``.
    """

    def __init__(self, space: Space, schedule: Schedule, x: Tensor, along: Tensor | None = None):
        self.space, self.schedule = space, schedule
        self.matrix = bool(space.group.matrix_shape)
        self.links = [u.contiguous() for u in space.group.ambient(x).unbind(1)]
        self.motion: list[Tensor] = []
        if along is not None:
            self.motion = [u.contiguous() for u in space.group.ambient_slope(x, along).unbind(1)]
        self._paths: dict[Moves, Tensor] = {}
        self._slopes: dict[tuple[Moves, Slice], Tensor | None] = {}
        self._traces: dict[Moves, Tensor] = {}
        self._trace_slopes: dict[tuple[Moves, Slice], Tensor | None] = {}

    def trace(self, moves: Moves) -> Tensor:
        """Tr of a closed word from each site, complex ``[batch, *lattice]``."""
        word, other, start = self.schedule.of[moves]
        if word not in self._traces:
            a, b = self.schedule.halves[word]
            self._traces[word] = self._trace(self.path(a), self.path(b))
        return self._seen(self._traces[word], self._way(word, other, start), other)

    def slope(self, moves: Moves, time: Slice = None) -> Tensor | None:
        """The derivative of `trace` along the motion of all links, or of the spatial ones alone in the slice that lies
        `time` before the first site of the word; None where none of them moves.
        """
        word, other, start = self.schedule.of[moves]
        way = self._way(word, other, start)
        key = word, None if time is None else time - way[0]
        if key not in self._trace_slopes:
            a, b = self.schedule.halves[word]
            parts = []
            if (da := self.path_slope(a, key[1])) is not None:
                parts.append(self._trace(da, self.path(b)))
            if (db := self.path_slope(b, key[1])) is not None:
                parts.append(self._trace(self.path(a), db))
            self._trace_slopes[key] = sum(parts[1:], parts[0]) if parts else None
        found = self._trace_slopes[key]
        return None if found is None else self._seen(found, way, other)

    def path(self, moves: Moves) -> Tensor:
        """The product of the links of a path from each site, ``[batch, *lattice, *matrix]``."""
        if len(moves) == 1:
            return self._single(self.links, moves)
        kept, other = self.schedule.kept(moves)
        if kept not in self._paths:
            cut = self.schedule.cut(kept)
            a, b = kept[:cut], kept[cut:]
            self._paths[kept] = self._times(self.path(a), self.at(self.path(b), displacement(a, self.space.ndim)))
        found = self._paths[kept]
        return self.at(self._adjoint(found), displacement(moves, self.space.ndim)) if other else found

    def path_slope(self, moves: Moves, time: Slice) -> Tensor | None:
        """The derivative of `path`, as `slope`."""
        if len(moves) == 1:
            return self._single(self.motion, moves) if time is None or (time == 0 and moves[0][0]) else None
        kept, other = self.schedule.kept(moves)
        way = displacement(moves, self.space.ndim)
        key = kept, time if time is None or not other else time + way[0]
        if key not in self._slopes:
            cut = self.schedule.cut(kept)
            a, b = kept[:cut], kept[cut:]
            ahead = displacement(a, self.space.ndim)
            there = None if key[1] is None else key[1] + ahead[0]
            parts = []
            if (da := self.path_slope(a, key[1])) is not None:
                parts.append(self._times(da, self.at(self.path(b), ahead)))
            if (db := self.path_slope(b, there)) is not None:
                parts.append(self._times(self.path(a), self.at(db, ahead)))
            self._slopes[key] = sum(parts[1:], parts[0]) if parts else None
        found = self._slopes[key]
        if found is None:
            return None
        return self.at(self._adjoint(found), way) if other else found

    def _single(self, links: list[Tensor], moves: Moves) -> Tensor:
        ((mu, sign),) = moves
        one = links[mu]
        return one if sign > 0 else self._adjoint(torch.roll(one, 1, 1 + mu))

    def _way(self, word: Moves, other: bool, start: int) -> tuple[int, ...]:
        """The way from the first site of the word that is computed to the one where it is read."""
        return displacement((backwards(word) if other else word)[:start], self.space.ndim)

    def _seen(self, values: Tensor, way: tuple[int, ...], other: bool) -> Tensor:
        """A trace from another of its sites, or in the other sense."""
        moved = self.at(values, tuple(-n for n in way))
        return moved.conj() if other else moved

    @staticmethod
    def at(x: Tensor, way: tuple[int, ...]) -> Tensor:
        """x(site + way)."""
        axes = [k for k, n in enumerate(way) if n]
        if not axes:
            return x
        return torch.roll(x, [-way[k] for k in axes], [1 + k for k in axes])

    def _times(self, a: Tensor, b: Tensor) -> Tensor:
        return sun.multiply(a, b) if self.matrix else a * b

    def _trace(self, a: Tensor, b: Tensor) -> Tensor:
        """Tr a b^dagger."""
        return sun.trace_product(a, b) if self.matrix else a * b.conj()

    def _adjoint(self, a: Tensor) -> Tensor:
        return a.mH if self.matrix else a.conj()

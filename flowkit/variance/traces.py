"""Traces of words of links at every site of a field, and their derivatives along a motion of the links.

Paths are products of shorter paths, and each is computed once: plaquettes that share their corners, pairs that share
their staples.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.kernels import sun
from flowkit.variance.words import Moves, Offset, backwards

Slice = int | None
"""Where the first site of a path lies in time, from the slice whose spatial links move; None where all links do."""


def displacement(moves: Moves, ndim: int) -> Offset:
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
        return (moves, False) if moves >= other else (other, True)

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
        self._paths: dict[tuple[Moves, Offset], Tensor] = {}
        self._slopes: dict[tuple[Moves, Offset, Slice], Tensor | None] = {}
        self._traces: dict[Moves, Tensor] = {}
        self._seen: dict[tuple[Moves, Offset], Tensor] = {}
        self._trace_slopes: dict[tuple[Moves, Slice], Tensor | None] = {}

    def trace(self, moves: Moves, ahead: Offset) -> Tensor:
        """Tr of a closed word that starts so far ahead of each site, complex ``[batch, *lattice]``."""
        if (moves, ahead) not in self._seen:
            word, other, start = self.schedule.of[moves]
            if word not in self._traces:
                a, b = self.schedule.halves[word]
                self._traces[word] = self._trace(self.path(a), self.path(b))
            self._seen[moves, ahead] = self._read(self._traces[word], self._way(word, other, start), ahead, other)
        return self._seen[moves, ahead]

    def slope(self, moves: Moves, ahead: Offset, time: Slice = None) -> Tensor | None:
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
        return None if found is None else self._read(found, way, ahead, other)

    def path(self, moves: Moves, ahead: Offset | None = None) -> Tensor:
        """The product of the links of a path that starts so far ahead of each site, ``[batch, *lattice, *matrix]``."""
        kept, way, other = self._kept(moves, ahead)
        if (kept, way) not in self._paths:
            here = self.links[kept[0][0]] if len(kept) == 1 else self._product(kept)
            self._paths[kept, way] = self.at(here, way)
        found = self._paths[kept, way]
        return self._adjoint(found) if other else found

    def _product(self, kept: Moves) -> Tensor:
        start = (0,) * self.space.ndim
        if (kept, start) not in self._paths:
            a, b = kept[: self.schedule.cut(kept)], kept[self.schedule.cut(kept) :]
            self._paths[kept, start] = self._times(self.path(a), self.path(b, displacement(a, self.space.ndim)))
        return self._paths[kept, start]

    def path_slope(self, moves: Moves, time: Slice, ahead: Offset | None = None) -> Tensor | None:
        """The derivative of `path`, as `slope`; `time` is that of the first site of the path."""
        kept, way, other = self._kept(moves, ahead)
        if time is not None and other:
            time += displacement(moves, self.space.ndim)[0]
        if (kept, way, time) not in self._slopes:
            here = self._product_slope(kept, time)
            self._slopes[kept, way, time] = None if here is None else self.at(here, way)
        found = self._slopes[kept, way, time]
        return self._adjoint(found) if other and found is not None else found

    def _product_slope(self, kept: Moves, time: Slice) -> Tensor | None:
        if len(kept) == 1:
            return self.motion[kept[0][0]] if time is None or (time == 0 and kept[0][0]) else None
        start = (0,) * self.space.ndim
        if (kept, start, time) not in self._slopes:
            a, b = kept[: self.schedule.cut(kept)], kept[self.schedule.cut(kept) :]
            ahead, parts = displacement(a, self.space.ndim), []
            if (da := self.path_slope(a, time)) is not None:
                parts.append(self._times(da, self.path(b, ahead)))
            if (db := self.path_slope(b, None if time is None else time + ahead[0], ahead)) is not None:
                parts.append(self._times(self.path(a), db))
            self._slopes[kept, start, time] = sum(parts[1:], parts[0]) if parts else None
        return self._slopes[kept, start, time]

    def _kept(self, moves: Moves, ahead: Offset | None) -> tuple[Moves, Offset, bool]:
        """The sense in which a path is computed, where it then starts, and whether it is the other sense."""
        kept, other = self.schedule.kept(moves)
        way = (0,) * self.space.ndim if ahead is None else ahead
        if other:
            way = tuple(n + k for n, k in zip(way, displacement(moves, self.space.ndim), strict=True))
        return kept, way, other

    def _way(self, word: Moves, other: bool, start: int) -> Offset:
        """The way from the first site of the word that is computed to the one where it is read."""
        return displacement((backwards(word) if other else word)[:start], self.space.ndim)

    def _read(self, values: Tensor, way: Offset, ahead: Offset, other: bool) -> Tensor:
        """A trace from another of its sites, or in the other sense, so far ahead of each site."""
        moved = self.at(values, tuple(n - k for n, k in zip(ahead, way, strict=True)))
        return moved.conj() if other else moved

    @staticmethod
    def at(x: Tensor, way: Offset) -> Tensor:
        """x(site + way)."""
        axes = [k for k, n in enumerate(way) if n]
        if not axes:
            return x
        return torch.roll(x, [-way[k] for k in axes], [1 + k for k in axes])

    def _times(self, a: Tensor, b: Tensor) -> Tensor:
        return sun.multiply(a, b) if self.matrix else a * b

    def _trace(self, a: Tensor, b: Tensor) -> Tensor:
        """Tr a b^dagger."""
        if not self.matrix:
            return a * b.conj()
        if a.is_conj() and b.is_conj():  # adjoints that torch has not carried out yet
            a, b = b.mH, a.mH
        return sun.trace_product(a, b)

    def _adjoint(self, a: Tensor) -> Tensor:
        return a.mH if self.matrix else a.conj()

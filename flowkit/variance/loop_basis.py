"""Potentials of Wilson loops and of their products, with divergences in closed form."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.space import Space
from flowkit.variance.basis import Basis, Moves
from flowkit.variance.traces import Schedule, Traces
from flowkit.variance.words import Monomial, Moves as WordMoves, Offset, laplacian, orbit, walk


class LoopBasis(Basis):
    r"""Potentials of products of Wilson loops: the mean over the lattice, or a time slice, of sums over its symmetries.

    Parameters
    ----------
    space : Space
        Links of U1 or SUN.
    seeds : sequence of (str, Monomial)
        Names, and of each potential one of its terms Re prod_i Tr w_i.
    slices, moves, time
        As `Basis`; the symmetries of a time slice keep time, up to its sense. Words are those of the lattice with time
        as direction 0.

    Raises
    ------
    ValueError
        For loops that meet themselves around the lattice.

    Notes
    -----
    The Laplacian of a product of traces is a combination of products of traces: a link that stands once gives -C_F, and
    two places of one link are joined, or split, by sum_a Tr(T_a X) Tr(T_a Y) = (Tr X Y - Tr X Tr Y / N) / 2 and
    sum_a Tr(T_a X T_a Y) = (Tr X Tr Y - Tr X Y / N) / 2.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.variance.loop_basis(fk.links((4, 4), fk.SUN(2)), order=2).names
    ('P', 'P P', 'straight A', 'straight C')
    """

    def __init__(
        self,
        space: Space,
        seeds: Sequence[tuple[str, Monomial]],
        slices: bool = False,
        moves: Moves = "all",
        time: int = 0,
    ):
        if space.kind != "links":
            raise ValueError(f"Loops are potentials of links; got {space}.")
        super().__init__(space, tuple(name for name, _ in seeds), slices, moves, time)
        self.seeds = tuple(seeds)
        self._terms, self._laplacian = _plan(
            self.seeds, space.group.dimension, space.group.abelian, 0 if slices else None, moves
        )
        for term in (one for orbit_of_one in self._terms for one in orbit_of_one):
            self._require_room(term)
        self._schedule = _schedule(self._terms)

    def _require_room(self, term: Monomial) -> None:
        links = {(mu, offset) for word in term for mu, offset, _ in walk(word)}
        sides = self.frame.lattice
        wrapped = {(mu, tuple(n % side for n, side in zip(offset, sides, strict=True))) for mu, offset in links}
        times = [offset[0] for mu, offset in links if mu]
        if len(wrapped) < len(links) or (self.slices and times and max(times) - min(times) >= sides[0]):
            raise ValueError(
                f"These loops meet themselves around the lattice {format_lattice(sides)}; take longer sides."
            )

    @property
    def reach(self) -> int:
        places = (link for terms in self._terms for term in terms for word in term for link in walk(word))
        return max([1, *(abs(offset[0]) for mu, offset, _ in places if mu)])

    def values(self, x: Tensor) -> Tensor:
        return self._sums(Traces(self.frame, self._schedule, self.framed(x)), len(self))

    def stein(self, x: Tensor, force: Tensor) -> Tensor:
        traces = Traces(self.frame, self._schedule, self.framed(x), self.framed(force))
        sums = self._sums(traces, len(self._terms))
        rows = self._laplacian.to(sums)
        slopes = torch.stack([self._slope(traces, terms) for terms in self._terms[: len(self)]], -1)
        return sums @ rows[:, :-1].T + rows[:, -1] + slopes

    def _sums(self, traces: Traces, count: int) -> Tensor:
        return torch.stack([self._value(traces, terms) for terms in self._terms[:count]], -1)

    def _value(self, traces: Traces, terms: Sequence[Monomial]) -> Tensor:
        return _total(
            self._summed(term, [traces.trace(moves, ahead) for moves, ahead in _placed(term)]) for term in terms
        )

    def _slope(self, traces: Traces, terms: Sequence[Monomial]) -> Tensor:
        parts = []
        for term in terms:
            placed = _placed(term)
            for k, (moves, ahead) in enumerate(placed):
                slope = traces.slope(moves, ahead, term[k][0][0] if self.moves == "slice" else None)
                if slope is not None:
                    others = [traces.trace(*one) for j, one in enumerate(placed) if j != k]
                    parts.append(self._summed(term, [slope, *others]))
        return _total(parts) if parts else torch.zeros_like(self._value(traces, terms))

    def _summed(self, term: Monomial, factors: Sequence[Tensor]) -> Tensor:
        """The real part of a product of traces, the mean over the lattice or each of its slices."""
        if len(factors) == 2:  # Re a b, without the imaginary part of the product
            a, b = factors
            values = a.real * b.real - a.imag * b.imag
        else:
            values = functools.reduce(torch.mul, factors).real
        if not self.slices:
            return values.flatten(1).mean(1)
        return torch.roll(values.flatten(2).mean(2), -term[0][0][0], 1)

    def describe(self) -> dict[str, Any]:
        seeds = [[name, [[list(start), [list(m) for m in moves]] for start, moves in one]] for name, one in self.seeds]
        return {"kind": "loops", "group": self.space.group.name, "ndim": self.space.ndim, "seeds": seeds} | {
            "slices": self.slices,
            "moves": self.moves,
            "time": self.time,
        }

    @classmethod
    def from_description(cls, space: Space, data: dict[str, Any]) -> LoopBasis:
        """The basis that `describe` described, on a lattice."""
        if data["group"] != space.group.name or data["ndim"] != space.ndim:
            raise ValueError(f"loops of {data['group']} in {data['ndim']} dimensions on {space}")
        seeds = [
            (name, tuple((tuple(start), tuple(map(tuple, moves))) for start, moves in one))
            for name, one in data["seeds"]
        ]
        return cls(space, seeds, data["slices"], data["moves"], data["time"])

    def on(self, space: Space) -> LoopBasis:
        if space.group != self.space.group or space.ndim != self.space.ndim or space.kind != "links":
            raise ValueError(f"{self} moves to another lattice of the same links; got {space}.")
        return LoopBasis(space, self.seeds, self.slices, self.moves, self.time)


def _placed(term: Monomial) -> list[tuple[WordMoves, Offset]]:
    """The words of a term, and how far ahead of the first site of the first word each starts."""
    first = term[0][0]
    return [(moves, tuple(a - b for a, b in zip(start, first, strict=True))) for start, moves in term]


def _total(parts: Any) -> Tensor:
    found = list(parts)
    total: Tensor = sum(found[1:], found[0])
    return total


@functools.lru_cache(maxsize=32)
def _plan(
    seeds: tuple[tuple[str, Monomial], ...], n: int, abelian: bool, fixed: int | None, moves: Moves
) -> tuple[tuple[tuple[Monomial, ...], ...], Tensor]:
    """The terms of each potential and of what their Laplacians need beside them, and the Laplacians as rows of numbers
    in that order; the last one is a constant for each site.
    """

    def moved(mu: int, offset: Offset) -> bool:
        return moves == "all" or (mu != 0 and offset[0] == 0)

    found = [orbit(one, fixed) for _, one in seeds]
    places = {terms[0]: k for k, terms in enumerate(found)}
    rows: list[dict[int, float]] = []
    for terms in list(found):
        row: dict[int, float] = {}
        for one, factor in laplacian(terms[0], n, abelian, moved).items():
            if abs(factor) < 1e-12:
                continue
            if not one:
                row[-1] = row.get(-1, 0.0) + factor * len(terms)
                continue
            other = orbit(one, fixed)
            if other[0] not in places:
                places[other[0]] = len(found)
                found.append(other)
            k = places[other[0]]
            row[k] = row.get(k, 0.0) + factor * len(terms) / len(other)
        rows.append(row)
    matrix = torch.zeros(len(seeds), len(found) + 1, dtype=torch.float64)
    for k, row in enumerate(rows):
        for column, factor in row.items():
            matrix[k, column] = factor
    return tuple(found), matrix


@functools.lru_cache(maxsize=32)
def _schedule(terms: tuple[tuple[Monomial, ...], ...]) -> Schedule:
    return Schedule(moves for some in terms for term in some for _, moves in term)

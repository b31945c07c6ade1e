"""Potentials of products of powers of a scalar field at neighbouring sites, with divergences in closed form."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from flowkit.checks import Count, Natural, checked
from flowkit.geometry.space import Space
from flowkit.variance.basis import Basis, Moves
from flowkit.variance.powers import Powers, orbit
from flowkit.variance.words import Offset


class PolynomialBasis(Basis):
    r"""Potentials prod_i phi(x + o_i)^{p_i}: the mean over x in the lattice, or a time slice, of sums over symmetries.

    Parameters
    ----------
    space : Space
        Sites with one component.
    seeds : sequence of Powers
        One term of each potential.
    slices, moves, time
        As `Basis`; the symmetries of a time slice keep time, up to its sense. Offsets have time as direction 0.

    Raises
    ------
    ValueError
        For another space, and offsets that meet around the lattice.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.variance.polynomial_basis(fk.sites((4, 4)), degree=3, parity="odd", reach=0).names
    ('phi', 'phi^3')
    """

    def __init__(
        self, space: Space, seeds: Sequence[Powers], slices: bool = False, moves: Moves = "all", time: int = 0
    ):
        if space.kind != "sites" or space.components != 1:
            raise ValueError(f"Polynomials are potentials of scalar fields with one component; got {space}.")
        super().__init__(space, tuple(map(_name, seeds)), slices, moves, time)
        self.seeds = tuple(seeds)
        self._terms, self._laplacian = _plan(self.seeds, 0 if slices else None, moves)
        for terms in self._terms:
            for term in terms:
                places = {tuple(n % side for n, side in zip(o, self.frame.lattice, strict=True)) for o, _ in term}
                if len(places) < len(term):
                    raise ValueError(
                        f"The sites of {_name(term)} meet around the lattice of {space}; take longer sides."
                    )

    @property
    def reach(self) -> int:
        return max([1, *(abs(offset[0]) for terms in self._terms for term in terms for offset, _ in term)])

    def values(self, x: Tensor) -> Tensor:
        return self._sums(_Field(self.framed(x)), len(self))

    def stein(self, x: Tensor, force: Tensor) -> Tensor:
        field, motion = _Field(self.framed(x)), _Field(self.framed(force))
        sums = self._sums(field, len(self._terms))
        rows = self._laplacian.to(sums)
        slopes = []
        for terms in self._terms[: len(self)]:
            total = torch.zeros_like(sums[..., 0])
            for term in terms:
                for k, (offset, power) in enumerate(term):
                    if self.moves == "all" or offset[0] == 0:
                        rest = (*term[:k], *(((offset, power - 1),) if power > 1 else ()), *term[k + 1 :])
                        total = total + self._summed(power * motion.at(offset, 1) * field.product(rest))
            slopes.append(total)
        return sums @ rows[:, :-1].T + rows[:, -1] + torch.stack(slopes, -1)

    def _sums(self, field: _Field, count: int) -> Tensor:
        found = []
        for terms in self._terms[:count]:
            total = field.product(terms[0])
            for term in terms[1:]:
                total = total + field.product(term)
            found.append(self._summed(total))
        return torch.stack(found, -1)

    def _summed(self, values: Tensor) -> Tensor:
        return values.flatten(2).mean(2) if self.slices else values.flatten(1).mean(1)

    def describe(self) -> dict[str, Any]:
        seeds = [[[list(offset), power] for offset, power in one] for one in self.seeds]
        return {"kind": "polynomials", "seeds": seeds, "slices": self.slices, "moves": self.moves, "time": self.time}

    @classmethod
    def from_description(cls, space: Space, data: dict[str, Any]) -> PolynomialBasis:
        """The basis that `describe` described, on a lattice."""
        seeds = [tuple((tuple(offset), power) for offset, power in one) for one in data["seeds"]]
        return cls(space, seeds, data["slices"], data["moves"], data["time"])

    def on(self, space: Space) -> PolynomialBasis:
        return PolynomialBasis(space, self.seeds, self.slices, self.moves, self.time)


class _Field:
    """Powers of one batch of fields at offsets, each made once."""

    def __init__(self, x: Tensor):
        self.x = x[:, 0]
        self._found: dict[tuple[Offset, int], Tensor] = {}

    def at(self, offset: Offset, power: int) -> Tensor:
        key = offset, power
        if key not in self._found:
            if any(offset):
                axes = list(range(1, 1 + len(offset)))
                self._found[key] = torch.roll(self.at((0,) * len(offset), power), [-n for n in offset], axes)
            else:
                self._found[key] = self.x if power == 1 else self.x * self.at(offset, power - 1)
        return self._found[key]

    def product(self, term: Powers) -> Tensor:
        if not term:
            return torch.ones_like(self.x)
        return functools.reduce(torch.mul, (self.at(offset, power) for offset, power in term))


@checked
def polynomial_basis(
    space: Space,
    degree: Count = 4,
    parity: Literal["even", "odd"] = "even",
    reach: Natural = 1,
    slices: bool = False,
    moves: Literal["all", "slice"] | None = None,
    times: Natural = 0,
    time: Natural = 0,
) -> PolynomialBasis:
    """Products of powers of a scalar field at a site and at sites near it.

    Parameters
    ----------
    space : Space
        Sites with one component.
    degree : int
        Highest sum of the powers.
    parity : str
        Whether the potentials are "even" or "odd" under phi -> -phi, as the observable is.
    reach : int
        0: one site. 1: also pairs of nearest neighbours. n: also pairs at up to n steps along an axis.
    slices : bool
        Whether there are potentials for each time slice.
    moves : str, optional
        "all" sites, or those of the "slice" of a potential; by default those of the slice where there are slices.
    times : int
        With slices of which all sites move: each potential also at up to so many steps in time from its slice.
    time : int
        The direction of time.

    Raises
    ------
    ValueError
        For other spaces and parities, and sides that are too short.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.variance.polynomial_basis(fk.sites((6, 6)), degree=4).names
    ('phi^2', 'phi phi(1)', 'phi^4', 'phi phi(1)^3', 'phi^2 phi(1)^2')
    """
    zero = (0,) * space.ndim
    if times and (not slices or moves != "all"):
        raise ValueError('Potentials at other times belong to slices of which all sites move; pass moves="all".')
    seeds: list[Powers] = []
    fixed = 0 if slices else None
    seen = set()
    for total in range(1, degree + 1):
        if total % 2 != (parity == "odd"):
            continue
        for term in ([(zero, total)], *_pairs(zero, total, reach)):
            for later in range(times + 1):
                moved = tuple(((o[0] + later, *o[1:]), p) for o, p in term)
                first = orbit(moved, fixed)[0]
                if first not in seen:
                    seen.add(first)
                    seeds.append(moved)
    kind: Moves = "all" if moves == "all" or (moves is None and not slices) else "slice"
    return PolynomialBasis(space, seeds, slices, kind, time)


def _pairs(zero: Offset, total: int, reach: int) -> Iterator[Powers]:
    for n, axis in itertools.product(range(1, reach + 1), range(len(zero) - 1, -1, -1)):
        there = tuple(n if k == axis else 0 for k in range(len(zero)))
        for power in range(1, total):
            yield ((zero, power), (there, total - power))


def _name(term: Powers) -> str:
    def text(offset: Offset, power: int) -> str:
        place = f"({','.join(map(str, offset))})" if any(offset) else ""
        if sum(map(bool, offset)) == 1 and offset[-1]:
            place = f"({offset[-1]})"
        return f"phi{place}^{power}" if power > 1 else f"phi{place}"

    return " ".join(text(offset, power) for offset, power in term)


@functools.lru_cache(maxsize=32)
def _plan(seeds: tuple[Powers, ...], fixed: int | None, moves: Moves) -> tuple[tuple[tuple[Powers, ...], ...], Tensor]:
    """The terms of each potential and of what their Laplacians need beside them, and the Laplacians as rows."""
    found = [orbit(one, fixed) for one in seeds]
    places = {terms[0]: k for k, terms in enumerate(found)}
    entries: list[tuple[int, int, float]] = []
    for k, terms in enumerate(list(found)):
        one = terms[0]
        for j, (offset, power) in enumerate(one):
            if power < 2 or not (moves == "all" or offset[0] == 0):
                continue
            rest = (*one[:j], *(((offset, power - 2),) if power > 2 else ()), *one[j + 1 :])
            factor = float(power * (power - 1))
            if not rest:
                entries.append((k, -1, factor * len(terms)))
                continue
            other = orbit(rest, fixed)
            if other[0] not in places:
                places[other[0]] = len(found)
                found.append(other)
            entries.append((k, places[other[0]], factor * len(terms) / len(other)))
    matrix = torch.zeros(len(seeds), len(found) + 1, dtype=torch.float64)
    for k, column, factor in entries:
        matrix[k, column] += factor
    return tuple(found), matrix

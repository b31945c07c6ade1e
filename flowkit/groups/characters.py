"""Irreducible characters: a basis of the class functions of U(1) and SU(N)."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.checks import Count, checked
from flowkit.kernels.sun import multiply


class Characters(NamedTuple):
    r"""Re chi_r(x) / d_r of one of each pair of conjugate representations r, the trivial one first.

    `Group.characters(order)` makes them. Calling it with elements ``[..., *matrix_shape]`` gives ``[..., len(reps)]``.

    Parameters
    ----------
    reps : list of tuple
        The representations: (n,) of U(1), the rows of a Young diagram of SU(N).
    dimensions : list of float
        Their dimensions d_r.
    values : callable
        Elements to the normalised characters.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> chi = fk.SUN(3).characters(order=1)
    >>> chi.reps, chi.dimensions              # 1 and, for 3 and its conjugate, one
    ([(0, 0), (1, 1)], [1.0, 3.0])
    >>> chi(torch.eye(3, dtype=torch.complex64))
    tensor([1., 1.])
    """

    reps: list[tuple[int, ...]]
    dimensions: list[float]
    values: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        return self.values(x)


@checked
def whole_order(order: Count) -> int:
    """The order of characters.

    Raises
    ------
    ValueError
        Where it is no whole number, or below 1.
    """
    return order


def sun_characters(n: int, order: int) -> Characters:
    """Characters of SU(N): Young diagrams of at most N - 1 rows and `order` columns.

    Jacobi and Trudi's determinant of the complete symmetric polynomials h_k of the eigenvalues gives them, and traces
    of powers alone give the h_k.
    """
    rows = itertools.combinations_with_replacement(range(whole_order(order), -1, -1), n - 1)
    reps = sorted((r for r in rows if r >= _conjugate(r)), key=lambda r: (sum(r), r))
    one = [torch.tensor(math.comb(k + n - 1, k), dtype=torch.float64) for k in range(order + n)]
    dimensions = [round(float(schur(r, one))) for r in reps]

    def values(x: Tensor) -> Tensor:
        h = _complete(x, order)
        found = [schur(r, h).real / d for r, d in zip(reps, dimensions, strict=True)]
        return torch.stack(torch.broadcast_tensors(*found), -1)  # type: ignore[no-untyped-call]

    return Characters(reps, [float(d) for d in dimensions], values)


def _complete(x: Tensor, order: int) -> list[Tensor]:
    """h_0 ... h_{order + N - 2}; e_{N-j} = e_j^*."""
    n, power, traces = x.shape[-1], x, []
    for k in range(n // 2):
        power = multiply(power, x) if k else x
        traces.append(power.diagonal(dim1=-2, dim2=-1).sum(-1))
    if n == 2:
        traces = [traces[0].real]
    e = [torch.ones_like(traces[0])]
    for j in range(1, n // 2 + 1):  # Newton
        e.append(_alternating([e[j - i] * traces[i - 1] for i in range(1, j + 1)]) / j)
    return complete([*e, *(e[n - j].conj() for j in range(n // 2 + 1, n + 1))], order + n - 2)


def complete(e: Sequence[Tensor], order: int) -> list[Tensor]:
    """h_0 ... h_order, h_k = sum_j (-1)^{j-1} e_j h_{k-j}: complete symmetric polynomials of n numbers whose elementary
    ones are e_0 = 1, ..., e_n.
    """
    h = [torch.ones_like(e[0])]
    for k in range(1, order + 1):
        h.append(_alternating([e[j] * h[k - j] for j in range(1, min(k, len(e) - 1) + 1)]))
    return h


def _conjugate(rep: tuple[int, ...]) -> tuple[int, ...]:
    rows = (*rep, 0)
    return tuple(rows[0] - row for row in reversed(rows))[:-1]


def schur(rep: tuple[int, ...], h: list[Tensor]) -> Tensor:
    """chi_r = det h_{r_i - i + j} over the rows that are not empty (Jacobi and Trudi)."""
    length = sum(row > 0 for row in rep)
    matrix = [[h[k] if (k := rep[i] - i + j) >= 0 else h[0] * 0 for j in range(length)] for i in range(length)]
    return _determinant(matrix) if matrix else h[0]


def _determinant(m: list[list[Tensor]]) -> Tensor:
    if len(m) == 1:
        return m[0][0]
    return _alternating([x * _determinant([row[:j] + row[j + 1 :] for row in m[1:]]) for j, x in enumerate(m[0])])


def _alternating(terms: list[Tensor]) -> Tensor:
    """terms[0] - terms[1] + terms[2] - ..."""
    total = terms[0]
    for j, term in enumerate(terms[1:], start=1):
        total = total - term if j % 2 else total + term
    return total

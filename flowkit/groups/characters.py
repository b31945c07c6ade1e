"""Irreducible characters: a basis of the class functions of U(1) and SU(N)."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.groups.base import Group
from flowkit.groups.sun import SUN
from flowkit.groups.u1 import U1
from flowkit.kernels.sun import multiply


class Characters:
    """Re chi_r(x) / d_r, one of each pair of conjugate representations, the trivial one first, [..., len(reps)].

    U(1)      cos(n theta), n <= order
    SU(N)     Young diagrams of at most N - 1 rows and `order` columns; Jacobi and Trudi's determinant of the complete
              symmetric polynomials h_k of the eigenvalues, these from traces of powers alone
    Raises    ValueError for another group or order < 1
    """

    def __init__(self, group: Group, order: int):
        if not isinstance(group, (U1, SUN)) or not isinstance(order, int) or order < 1:
            raise ValueError(f"Characters needs U1 or SUN and a whole order >= 1; got {group} and {order!r}.")
        self.group, self.order = group, order
        self.reps: list[tuple[int, ...]] = [(n,) for n in range(order + 1)]
        self.dimensions = [1.0] * len(self.reps)
        if isinstance(group, SUN):
            rows = itertools.combinations_with_replacement(range(order, -1, -1), group.n - 1)
            self.reps = sorted((r for r in rows if r >= _conjugate(r)), key=lambda r: (sum(r), r))
            h = [torch.tensor(math.comb(k + group.n - 1, k), dtype=torch.float64) for k in range(order + group.n)]
            self.dimensions = [round(float(schur(r, h))) for r in self.reps]

    def __call__(self, x: Tensor) -> Tensor:
        if isinstance(self.group, U1):
            return torch.cos(x[..., None] * torch.arange(self.order + 1, dtype=x.dtype, device=x.device))
        h = self._complete(x)
        found = [schur(r, h).real / d for r, d in zip(self.reps, self.dimensions, strict=True)]
        return torch.stack(torch.broadcast_tensors(*found), -1)  # type: ignore[no-untyped-call]

    def _complete(self, x: Tensor) -> list[Tensor]:
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
        return complete([*e, *(e[n - j].conj() for j in range(n // 2 + 1, n + 1))], self.order + n - 2)


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

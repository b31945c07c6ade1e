"""Splines of the eigenangles of an SU(N) matrix, on the Weyl alcove."""

import functools
import itertools
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit.bijections.base import Bins, TwoWay
from flowkit.checks import Count, Range, checked
from flowkit.kernels.native import kept_on_cpu
from flowkit.kernels.rqs import rqs_forward, rqs_inverse
from flowkit.kernels.rqs_torch import MIN_BIN, MIN_SLOPE, UNIT, Bin, evaluate, solve

MOST = 1_000_000
"""Parameters of one map, far more than any network gives."""


class AlcoveSpline(TwoWay[Tensor]):
    r"""An invertible map of the N eigenangles of an SU(N) matrix, by splines on the Weyl alcove.

    Angles are ``[N, *shape]`` in radians, ordered, of sum 0 and spread at most 2 pi. Parameters are
    ``[count, *shape]``, or ``[count]`` for one map that all matrices share; all zero is the identity. The log-Jacobian
    ``[*shape]`` refers to Haar measure, prod_{j<k} 4 sin^2((a_j - a_k)/2) da.

    Parameters
    ----------
    n : int
        N, at least 2.
    bins : int
        Of each of the N - 1 splines, at least 2.
    order : int
        The parameters of the later splines are polynomials of degree < order in the earlier coordinates.

    Raises
    ------
    ValueError
        For n < 2, bins < 2 or order < 1, and for more than a million parameters.

    Notes
    -----
    The gaps between the angles a_1 <= ... <= a_N,

    .. math:: g_j = a_{j+1} - a_j \; (j < N), \qquad g_N = 2 \pi - (a_N - a_1),

    fill the simplex of sum 2 pi; its corners are the centre of the group (g_N = 2 pi is the identity), its faces the
    matrices with equal eigenvalues. The stick of length T_1 = 2 pi is broken N - 1 times, first at the spread, so that
    x_1 is the distance from the identity and the others are shapes:

    .. math:: T_{m+1} = x_m T_m, \quad g_N = (1 - x_1) T_1, \quad g_1 = (1 - x_2) T_2, \quad \dots, \quad g_{N-1} = T_N

    and each x_m in [0, 1] is moved by a rational-quadratic spline y_m(x_m) with free end slopes. The spline of x_1 has
    its parameters alone; those of the others are t_m = T_m / 2 pi, of the image, times a polynomial of degree < `order`
    in the earlier y, so that a stick that shrinks to nothing keeps its shape. Their end slopes turn into dy_1/dx_1 at
    x_1 = 1 where t_m = 1. Near every centre element the map therefore only scales the matrix, and logdet is continuous;
    for N >= 4 its limit depends on the direction where three or more eigenvalues, but not all, are equal.

    References
    ----------
    Boyda et al., 2008.05456; for splines Durkan et al., 1906.04032.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> spline = fk.bijections.AlcoveSpline(2, bins=4)
    >>> angles = torch.tensor([[-1.0], [1.0]])                # one matrix of SU(2)
    >>> new, logdet = spline.forward(angles, torch.randn(spline.count, generator=torch.Generator().manual_seed(1)))
    >>> torch.allclose(new[0], -new[1])                       # the angles still have the sum 0
    True
    """

    @checked
    def __init__(self, n: Annotated[int, Range(2, 64)], bins: Bins = 8, order: Count = 2):
        self.n, self.bins, self.order = n, bins, order
        # A polynomial of degree < order in m numbers has C(m + order - 1, m) terms; without sums that never end:
        many = order > MOST or sum(math.comb(m + order - 1, m) for m in range(n - 1)) * (3 * bins + 1) > MOST
        if many:
            raise ValueError(f"AlcoveSpline has at most {MOST} parameters; got n={n}, bins={bins} and order={order}.")
        self.angles = n
        # The monomials on which the parameters of each coordinate depend, as tuples of factors.
        self._terms: list[list[tuple[int, ...]]] = [
            [term for d in range(order if m else 1) for term in itertools.combinations_with_replacement(range(m), d)]
            for m in range(n - 1)
        ]
        self.count = (3 * bins + 1) * sum(map(len, self._terms))

    def _map(self, x: Tensor, given: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        gaps = _gaps(x)
        old = list(gaps.unbind(0))  # g_N, g_1, ..., g_{N-1}, as they are broken off
        tails = [old[-1]]  # T_N, ..., T_1, sums of positive numbers: small ones keep their digits
        for gap in reversed(old[:-1]):
            tails.append(tails[-1] + gap)
        tails.reverse()
        sizes = [len(terms) * (3 * self.bins + 1) for terms in self._terms]
        tail: Tensor | float = 2 * math.pi
        new: list[Tensor] = []
        outputs: list[Tensor] = []  # y_1, y_2, ..., on either way
        total = torch.zeros_like(tails[0])
        first, *others = torch.split(given, sizes)
        for m in range(self.n - 1):
            stick, far = tails[m + 1] / tails[m], old[m] / tails[m]
            p = self._parameters(others[m - 1], m, outputs, first[-1]) if m else first
            y, y_far, logs = self._spline(stick, far, p, inverse)
            new.append(tail * y_far)
            tail = tail * y
            total = total + logs
            if m < self.n - 2:  # each later stick has grown by y / x
                total = total + (self.n - 2 - m) * (y / stick).log()
            outputs.append(stick if inverse else y)
        assert isinstance(tail, Tensor)
        moved = torch.stack([*new, tail])
        sines = _sines(moved) / _sines(gaps)
        return _angles(moved), total + 2 * sines.log().sum(0)

    def _parameters(self, p: Tensor, m: int, outputs: list[Tensor], corner: Tensor) -> Tensor:
        """The parameters of the spline of coordinate m > 0, given the earlier coordinates of the image; `corner` is the
        raw slope of the first spline at its far end.
        """
        stick, centred = math.prod(outputs[1:], start=outputs[0]), [2 * y - 1 for y in outputs]
        basis = [math.prod((centred[k] for k in term), start=stick) for term in self._terms[m]]
        rows = p.view(len(basis), 3 * self.bins + 1, *p.shape[1:])
        if p.dim() == 1:
            mixed: Tensor = torch.tensordot(rows.mT, torch.stack(basis), 1)
        else:
            first, *others = rows.unbind(0)
            mixed = first * basis[0]
            for row, value in zip(others, basis[1:], strict=True):
                mixed = torch.addcmul(mixed, row, value)
        inner, low, slopes, high = torch.split(mixed, [2 * self.bins, 1, self.bins - 1, 1])
        low, high = (torch.lerp(end, corner.expand_as(stick), stick) for end in (low, high))
        return torch.cat([inner, low, slopes, high])

    def _spline(self, x: Tensor, far: Tensor, p: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Tensor]:
        """y, 1 - y and log dy/dx; far = 1 - x."""
        y, logs = (rqs_inverse if inverse else rqs_forward)(x, p, self.bins, False)
        rest = 1 - y
        with torch.no_grad():  # the value of the complement keeps its digits near 0; its gradient is that of 1 - y
            digits = self._complement(rest, far, p, inverse) - rest
        return y, rest + digits, logs

    def _complement(self, rest: Tensor, far: Tensor, p: Tensor, inverse: bool) -> Tensor:
        """1 - y, in the last bin of the spline from the formula of that bin read backwards."""
        bins = self.bins
        w, h = (MIN_BIN + (1 - MIN_BIN * bins) * torch.softmax(q, 0)[-1] for q in (p[:bins], p[bins : 2 * bins]))
        near, low = (MIN_SLOPE + F.softplus(q + UNIT) for q in (p[-1], p[-2]))
        zero = torch.zeros_like(far)
        mirrored = Bin(zero, zero, w, h, p[-1], p[-2], near, low)
        last, _ = (solve if inverse else evaluate)(far.clamp(max=h if inverse else w), mirrored)
        return torch.where(far < (h if inverse else w), last, rest)


def _gaps(angles: Tensor) -> Tensor:
    """(g_N, g_1, ..., g_{N-1}), [N, *shape]; positive, since what follows divides by them, and by no more than the
    rounding error of an angle: ratios of gaps then tend to slopes where eigenvalues meet.
    """
    inner = angles[1:] - angles[:-1]
    outer = 2 * math.pi - (angles[-1:] - angles[:1])
    return torch.cat([outer, inner]).clamp(min=0) + torch.finfo(angles.dtype).eps


def _angles(gaps: Tensor) -> Tensor:
    """The angles of sum 0 with these gaps (g_N, g_1, ..., g_{N-1})."""
    from_first = torch.cat([torch.zeros_like(gaps[:1]), gaps[1:]]).cumsum(0)
    return from_first - from_first.mean(0)


@functools.lru_cache
@kept_on_cpu()
def _arcs(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each pair of angles the gaps on one side between them and those on the other, two 0/1 matrices [pairs, N]."""
    inside = torch.zeros(n * (n - 1) // 2, n, dtype=dtype)
    for row, (j, k) in zip(inside, itertools.combinations(range(n), 2), strict=True):
        row[j + 1 : k + 1] = 1  # gap j of the cyclic order (g_N, g_1, ...) lies before angle j
    return inside.to(device), (1 - inside).to(device)


def _sines(gaps: Tensor) -> Tensor:
    """sin(|a_j - a_k| / 2) for each pair of angles, from the shorter arc, [pairs, *shape]."""
    inside, outside = _arcs(len(gaps), gaps.dtype, gaps.device)
    arc = torch.minimum(torch.tensordot(inside, gaps, 1), torch.tensordot(outside, gaps, 1))
    return (arc / 2).sin()

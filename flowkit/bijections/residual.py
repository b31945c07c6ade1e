"""A learned step up a gauge-invariant potential of one SU(N) link."""

import functools
import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from flowkit.bijections.base import Bijection, LinkContext
from flowkit.checks import Fraction, Range, checked
from flowkit.groups.sun import SUN
from flowkit.kernels.sun import exp, generators, multiply


class Residual(Bijection[LinkContext]):
    r"""A step up a learned gauge-invariant potential of one SU(N) link V.

    .. math::
        V' &= e^{i w^a T_a} V, \qquad w^a = d^a \phi, \qquad t_i = \mathrm{Tr}\, V R_i \\
        \phi &= \sum_i \left[ \mathrm{Re}(a_i t_i) + \tfrac{1}{2} b_i |t_i|^2 + \tfrac{1}{2} \mathrm{Re}(d_i t_i^2)
        \right]

    d^a is the derivative along exp(i w^a T_a) V; a_i is complex, b_i and d_i are real, all from the network.

    Parameters
    ----------
    n : int
        N of SU(N).
    bound : float
        On the norm of the derivative of w, in (0, 1); the network's coefficients are scaled to keep it.
    tolerance : float
        Of the inverse: the largest change of a matrix element in its last step, never finer than rounding allows,
        1e-13 in double and 2e-6 in single precision.

    Raises
    ------
    ValueError
        For N < 2, a bound outside (0, 1) or a tolerance outside [0, 1).
    RuntimeError
        From `inverse`, where the fixed point is not reached. The bound excludes it for matrices in the group.

    Notes
    -----
    With J_ab the derivative of w^a along T_b and D = (1 - e^{-ad}) / ad, ad = ad(i w^a T_a), the Jacobian is exactly
    det(1 + D J) for each link. ||D|| <= 1 and ||J|| <= sum_i [ |a_i| / 2 + N (|b_i| + |d_i|) ], and the coefficients
    are scaled so that this sum is at most `bound` < 1. The determinant is then positive everywhere, the map one to one
    (SU(N) is compact and simply connected), and V <- exp(-i w^a(V) T_a) V' contracts by `bound` a step or faster.

    References
    ----------
    2305.02402; the leading order of Luescher's trivializing flow, 0907.5491.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> G, rng = fk.SUN(3), torch.Generator().manual_seed(1)
    >>> update = fk.bijections.Residual(3)
    >>> v, r = G.haar((5,), rng, torch.float64), G.haar((5,), rng, torch.float64)
    >>> given = fk.bijections.LinkContext([r], torch.randn(4, 5, generator=rng, dtype=torch.float64))
    >>> y, logdet = update.forward(v, given)
    >>> torch.allclose(update.inverse(y, given)[0], v)
    True
    """

    per_loop = 4

    @checked
    def __init__(self, n: int, bound: Fraction = 0.9, tolerance: Annotated[float, Range(0, 1, "[)")] = 0.0):
        self.group, self.bound, self.tolerance = SUN(n), bound, tolerance

    def _coefficients(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a (complex), b and d, each [loops, sites, batch], within the bound."""
        real, imaginary, b, d = params.reshape(4, -1, *params.shape[1:])
        a = torch.complex(real, imaginary)
        size = (torch.sqrt(real**2 + imaginary**2 + 1e-12) / 2 + self.group.n * (b.abs() + d.abs())).sum(0)
        scale = self.bound * torch.tanh(size) / size
        return a * scale, b * scale, d * scale

    def _slope(self, w: Sequence[Tensor], coefficients: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """M = sum_i (d phi / d t_i) W_i, [sites, batch, N, N], from which w^a = -Im Tr T_a M."""
        a, b, d = coefficients
        t = torch.stack([m.diagonal(dim1=-2, dim2=-1).sum(-1) for m in w])
        return _weighted(a + b * t.conj() + d * t, w)

    def _move(self, matrix: Tensor) -> Tensor:
        """w^a = -Im Tr(T_a M) = -Tr T_a (M - M^dagger) / 2i, [sites, batch, N^2 - 1]."""
        return -self.group.coordinates((matrix - matrix.mH) / 2j) / 2

    def forward(self, x: Tensor, given: LinkContext) -> tuple[Tensor, Tensor]:
        move, jacobian = self._moved(x, given.loops, self._coefficients(given.params))
        return multiply(exp(move), x), torch.linalg.slogdet(jacobian)[1]

    def _moved(
        self, x: Tensor, loops: Sequence[Tensor], coefficients: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The coordinates of the step from x, ``[..., N^2 - 1]``, and the Jacobian of the map there."""
        w = [multiply(x, r) for r in loops]
        matrix = self._slope(w, coefficients)
        move = self._move(matrix)
        return move, self._jacobian(w, matrix, move, coefficients)

    def _jacobian(
        self, w: Sequence[Tensor], matrix: Tensor, move: Tensor, coefficients: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """1 + D J, [sites, batch, N^2 - 1, N^2 - 1]."""
        n = matrix.shape[-1]
        _, b, d = coefficients
        pairs, structure = _tables(n, matrix.dtype, matrix.device)
        m = n * n - 1
        basis = generators(n, matrix.dtype, matrix.device).flatten(1).T
        slopes = 1j * (torch.stack([one.mT.flatten(-2) for one in w], -2) @ basis)  # d_a t = i Tr T_a W
        rows = torch.cat([slopes.real, slopes.imag], -2)  # [sites, batch, 2 loops, m]
        weights = torch.cat([b + d, b - d]).movedim(0, -1)[..., None]
        jacobian = rows.mT @ (weights * rows) - (matrix.flatten(-2) @ pairs).real.view(*move.shape[:-1], m, m)
        minus_ad = (move @ structure).view(*move.shape[:-1], m, m)
        # D J by Horner: J + X/2 (J + X/3 (J + ...)), X = -ad; |ad| <= 2 bounds the terms.
        total = jacobian
        for k in range(_terms(matrix.dtype), 1, -1):
            total = jacobian + minus_ad @ total / k
        return torch.eye(m, dtype=total.dtype, device=total.device) + total

    def inverse(self, y: Tensor, given: LinkContext) -> tuple[Tensor, Tensor]:
        rest, coefficients = given.loops, self._coefficients(given.params)
        with torch.no_grad():
            x = self._solve(y, rest, coefficients)
            _, jacobian = self._moved(x, rest, coefficients)
        # One Newton step from the solution: it changes no value, and carries the gradients with respect to V', the
        # loops and the coefficients (implicit function theorem).
        move = self._move(self._slope([multiply(x, r) for r in rest], coefficients))
        miss = self.group.tangent(multiply(multiply(exp(-move), y), x, adjoint_b=True))
        x = multiply(exp(torch.linalg.solve(jacobian, miss[..., None])[..., 0]), x)
        return x, -torch.linalg.slogdet(self._moved(x, rest, coefficients)[1])[1]

    def _solve(self, v: Tensor, rest: Sequence[Tensor], coefficients: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The fixed point of V = exp(-w(V)) V', to the tolerance."""
        tolerance = max(self.tolerance, 1e-13 if v.dtype == torch.complex128 else 2e-6)
        x, most = v, math.ceil(math.log(tolerance / 10) / math.log(self.bound)) + 10
        for k in range(most):
            matrix = self._slope([multiply(x, r) for r in rest], coefficients)
            before, x = x, multiply(exp(-self._move(matrix)), v)
            # Looking at the change makes the device wait: seldom.
            if k % 4 == 3 and (not x.numel() or bool((x - before).abs().nan_to_num(0.0).amax() <= tolerance)):
                return x
        raise RuntimeError(
            f"The inverse of a residual update did not settle to {tolerance:g} in {most} steps. Are the matrices in "
            "the group? Its `project` brings back what rounding has moved out."
        )

    def __repr__(self) -> str:
        return f"Residual({self.group.n}, bound={self.bound:g}, tolerance={self.tolerance:g})"


def _weighted(weights: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """sum_i weights_i M_i, weights [loops, sites, batch]."""
    total = weights[0, ..., None, None] * matrices[0]
    for k in range(1, len(matrices)):
        total = total + weights[k, ..., None, None] * matrices[k]
    return total


def _terms(dtype: torch.dtype) -> int:
    """Terms of (1 - e^{-ad}) / ad for |ad| <= 2, to rounding."""
    return 22 if dtype == torch.complex128 else 12


@functools.lru_cache
def _tables(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tr T_a T_b M as M.flatten() @ pairs, complex [N^2, m^2], and -ad(w)_cb = w^a f_abc as w @ structure, real
    [m, m^2], for m = N^2 - 1.
    """
    with torch.inference_mode(False):  # or tensors of a cache filled in that mode could not be trained with
        t = generators(n, dtype, device)
        products = torch.einsum("aij,bjk->abik", t, t)
        structure = torch.einsum("abik,cki->abc", products, t)
        structure = -2j * (structure - structure.transpose(0, 1))  # f_abc = -2i Tr [T_a, T_b] T_c
        pairs = products.permute(3, 2, 0, 1).flatten(2).flatten(0, 1)
        return pairs, structure.real.transpose(1, 2).flatten(1).contiguous()

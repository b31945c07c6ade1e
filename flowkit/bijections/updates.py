"""Updates of one SU(N) link V, given the loops through it: what a MatrixCoupling does to its active links.

R_i closes loop i: W_i = V R_i is a closed path from the start of V and back, V's neighbours do not change it, and
S_i = R_i^dagger is the staple. Under a gauge transformation all W_i turn together, W_i -> g W_i g^dagger, so a map that
commutes with conjugation by g is gauge-equivariant. Matrices are [sites, batch, N, N], parameters
[count, sites, batch], all zero the identity (of a Spectral update: of equal weights and no change of angles).
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.bijections.alcove import AlcoveSpline
from flowkit.groups import SUN
from flowkit.kernels.sun import exp, generators, multiply, project, recompose, spectrum


class LinkUpdate(ABC):
    """V -> V' for each active link, with log|det dV'/dV| with respect to Haar measure."""

    @abstractmethod
    def count(self, n: int, loops: int) -> int:
        """Parameters for each link of SU(n) with that many loops through it."""

    @abstractmethod
    def forward(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        """(V', logdet), [sites, batch, N, N] and [sites, batch]; `rest` holds the R_i."""

    @abstractmethod
    def inverse(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        """(V, logdet of the inverse) for V'."""


class Spectral(LinkUpdate):
    """A spline of the eigenangles of the active loop W, V' = W' W^dagger V.

    loop      which loop is active; None takes the learned one, W = V P[sum_i c_i S_i]^dagger with c_i = 1 + the
              network's answer for each link, and P the projection to the group. It jumps where the determinant of
              the sum passes its cut (`flowkit.kernels.sun.project`), for N >= 3, and where the sum is singular: sets
              on which the density has no gradient
    bins      of the splines on the alcove
    order     of the dependence between its coordinates; see AlcoveSpline
    See       2008.05456; 2502.00263 for learned active loops
    """

    def __init__(self, loop: int | None = None, bins: int = 8, order: int = 2):
        self.loop, self.bins, self.order = loop, bins, order
        _spline(2, bins, order)  # refuses what cannot be a spline

    def count(self, n: int, loops: int) -> int:
        if self.loop is not None and not 0 <= self.loop < loops:
            raise ValueError(f"The active loop is one of {loops}, counted from 0; got {self.loop}.")
        return _spline(n, self.bins, self.order).count + (loops if self.loop is None else 0)

    def _map(self, v: Tensor, rest: Sequence[Tensor], params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        spline = _spline(v.shape[-1], self.bins, self.order)
        if self.loop is None:
            close = project(_weighted(1 + params[spline.count :], rest))
            params = params[: spline.count]
        else:
            close = rest[self.loop]
        w = multiply(v, close)
        angles, vectors = spectrum(w)
        move = spline.inverse if inverse else spline.forward
        new, logdet = move(angles.movedim(-1, 0), params)
        return multiply(recompose(w, angles, vectors, new.movedim(0, -1)), close, adjoint_b=True), logdet

    def forward(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(v, rest, params, False)

    def inverse(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        return self._map(v, rest, params, True)

    def __repr__(self) -> str:
        loop = "learned" if self.loop is None else self.loop
        return f"Spectral(loop={loop}, bins={self.bins}, order={self.order})"


class Residual(LinkUpdate):
    """A step up a learned gauge-invariant potential: V' = exp(i w^a T_a) V, w^a = d^a phi, with

        phi = sum_i [ Re(a_i t_i) + b_i |t_i|^2 / 2 + Re(d_i t_i^2) / 2 ],    t_i = Tr V R_i,

    d^a the derivative along exp(i w^a T_a) V; a_i complex, b_i and d_i real, all from the network. With J_ab the
    derivative of w^a along T_b and D = (1 - e^{-ad}) / ad, ad = ad(i w^a T_a), the Jacobian is exactly
    det(1 + D J) for each link.

    ||J|| <= sum_i [ |a_i| / 2 + N (|b_i| + |d_i|) ] and ||D|| <= 1: the network's coefficients are scaled so that this
    sum is at most `bound` < 1. The determinant is then positive everywhere, the map one to one (SU(N) is compact and
    simply connected), and V <- exp(-i w^a(V) T_a) V' contracts by `bound` a step or faster.

    bound     on the sum above, in (0, 1)
    tolerance of the inverse: the largest change of a matrix element in the last step, never finer than rounding
              allows: 1e-13 in double, 2e-6 in single precision
    Raises    ValueError for a bound outside (0, 1) or a tolerance outside [0, 1); RuntimeError where the fixed point is
              not reached, which the bound excludes for matrices that are in the group
    See       2305.02402; the leading order of Luescher's trivializing flow, 0907.5491
    """

    def __init__(self, bound: float = 0.9, tolerance: float = 0.0):
        if not 0 < bound < 1 or not 0 <= tolerance < 1:
            raise ValueError(
                f"Residual needs a bound in (0, 1) and a tolerance in [0, 1); got {bound} and {tolerance}."
            )
        self.bound, self.tolerance = bound, tolerance

    def count(self, n: int, loops: int) -> int:
        return 4 * loops

    def _coefficients(self, n: int, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a (complex), b and d, each [loops, sites, batch], within the bound."""
        real, imaginary, b, d = params.reshape(4, -1, *params.shape[1:])
        a = torch.complex(real, imaginary)
        size = (torch.sqrt(real**2 + imaginary**2 + 1e-12) / 2 + n * (b.abs() + d.abs())).sum(0)
        scale = self.bound * torch.tanh(size) / size
        return a * scale, b * scale, d * scale

    def _slope(self, w: Sequence[Tensor], coefficients: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """M = sum_i (d phi / d t_i) W_i, [sites, batch, N, N], from which w^a = -Im Tr T_a M."""
        a, b, d = coefficients
        t = torch.stack([m.diagonal(dim1=-2, dim2=-1).sum(-1) for m in w])
        return _weighted(a + b * t.conj() + d * t, w)

    def _move(self, matrix: Tensor) -> Tensor:
        """w^a = -Im Tr(T_a M) = -Tr T_a (M - M^dagger) / 2i, [sites, batch, N^2 - 1]."""
        group = SUN(matrix.shape[-1])
        return -group.coordinates((matrix - matrix.mH) / 2j) / 2

    def forward(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        coefficients = self._coefficients(v.shape[-1], params)
        w = [multiply(v, r) for r in rest]
        matrix = self._slope(w, coefficients)
        move = self._move(matrix)
        return multiply(exp(move), v), torch.linalg.slogdet(self._jacobian(w, matrix, move, coefficients))[1]

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

    def inverse(self, v: Tensor, rest: Sequence[Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
        group = SUN(v.shape[-1])
        coefficients = self._coefficients(group.n, params)
        with torch.no_grad():
            x = self._solve(v, rest, coefficients)
            w = [multiply(x, r) for r in rest]
            matrix = self._slope(w, coefficients)
            jacobian = self._jacobian(w, matrix, self._move(matrix), coefficients)
        # One Newton step from the solution: it changes no value, and carries the gradients with respect to V', the
        # loops and the coefficients (implicit function theorem).
        move = self._move(self._slope([multiply(x, r) for r in rest], coefficients))
        miss = group.tangent(multiply(multiply(exp(-move), v), x, adjoint_b=True))
        x = multiply(exp(torch.linalg.solve(jacobian, miss[..., None])[..., 0]), x)
        w = [multiply(x, r) for r in rest]
        matrix = self._slope(w, coefficients)
        return x, -torch.linalg.slogdet(self._jacobian(w, matrix, self._move(matrix), coefficients))[1]

    def _solve(self, v: Tensor, rest: Sequence[Tensor], coefficients: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The fixed point of V = exp(-w(V)) V', to the tolerance."""
        tolerance = max(self.tolerance, 1e-13 if v.dtype == torch.complex128 else 2e-6)
        x, most = v, math.ceil(math.log(tolerance / 10) / math.log(self.bound)) + 10
        for k in range(most):
            matrix = self._slope([multiply(x, r) for r in rest], coefficients)
            before, x = x, multiply(exp(-self._move(matrix)), v)
            # Looking at the change makes the device wait: seldom.
            if k % 4 == 3 and (not x.numel() or bool((x - before).abs().amax() <= tolerance)):
                return x
        raise RuntimeError(
            f"The inverse of a residual update did not settle to {tolerance:g} in {most} steps. Are the matrices in "
            "the group? Its `project` brings back what rounding has moved out."
        )

    def __repr__(self) -> str:
        return f"Residual(bound={self.bound:g}, tolerance={self.tolerance:g})"


def _weighted(weights: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """sum_i weights_i M_i, weights [loops, sites, batch]."""
    total = weights[0, ..., None, None] * matrices[0]
    for k in range(1, len(matrices)):
        total = total + weights[k, ..., None, None] * matrices[k]
    return total


@functools.lru_cache
def _spline(n: int, bins: int, order: int) -> AlcoveSpline:
    return AlcoveSpline(n, bins, order)


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

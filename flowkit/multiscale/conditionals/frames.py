"""Frames of staples, in which the weighted sum of staples is diagonal, and SU(N) matrices with a given first column."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.kernels.native import once
from flowkit.kernels.sun import SEPARATION, eigh, multiply, project, spectrum
from flowkit.multiscale.doubling import Loops


class Frame(NamedTuple):
    """A decomposition J = left diag(scales) e^{i phi} right^dagger of the sum of staples J of each link.

    With Y = left^dagger V right in SU(N), Re Tr V J^dagger = Re Tr Y diag(scales) e^{-i phi}. The columns of left and
    right are fixed up to common phases: left P and right P with one diagonal P are as good, and turn Y into
    P^dagger Y P.

    Attributes
    ----------
    left, right : Tensor
        ``[links, n, n]``, unitary, det right = det left.
    scales : Tensor
        ``[n, links]``, real.
    phase : Tensor or None
        e^{i phi}, ``[links]``; None for 1.
    sines : Tensor or None
        Of two staples, ``[n, links]``: left^dagger (S_1 - S_2) right = -i diag(sines). None for other numbers of them.
    """

    left: Tensor
    right: Tensor
    scales: Tensor
    phase: Tensor | None
    sines: Tensor | None = None

    def turned(self, angles: list[Tensor]) -> "Frame":
        """The frame with left P and right P, P = diag(1, e^{i a_2}, e^{i a_3}, ...) of these angles, each [links]."""
        row = torch.stack([torch.zeros_like(angles[0]), *angles], -1)
        P = _phases(row)
        return self._replace(left=multiply(self.left, P), right=multiply(self.right, P))

    def inside(self, v: Tensor) -> Tensor:
        """Y = left^dagger V right."""
        return multiply(multiply(self.left, v, adjoint_a=True), self.right)

    def outside(self, y: Tensor) -> Tensor:
        """V = left Y right^dagger."""
        return multiply(multiply(self.left, y), self.right, adjoint_b=True)

    def form(self) -> Tensor:
        """diag(scales) e^{-i phi}, its diagonal, [links, n]."""
        scales = self.scales.movedim(0, -1)
        return scales if self.phase is None else scales * self.phase.conj().unsqueeze(-1)


def _phases(angles: Tensor) -> Tensor:
    """diag(e^{i a}) of [links, n]. A product with this matrix is faster than phases broadcast over columns."""
    return torch.diag_embed(torch.polar(torch.ones_like(angles), angles))


class _Vectors(torch.autograd.Function):
    """Given eigenvectors of a unitary u, with their gradient.

    dV = V X with X_jk = (V^dagger du V)_jk / (l_k - l_j) and X_jj = 0; X_jk = 0 for eigenvalues that `spectrum` finds
    equal.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, angles: Tensor, vectors: Tensor) -> Tensor:
        ctx.save_for_backward(angles, vectors, u)
        return vectors.clone()

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        angles, vectors, _ = ctx.saved_tensors
        values = torch.polar(torch.ones_like(angles), angles)
        gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
        equal = gaps.abs() < 1.5 * SEPARATION[vectors.dtype]
        inner = torch.where(
            equal, 0, multiply(vectors, gradients[0], adjoint_a=True) / torch.where(equal, 1, gaps.conj())
        )
        return multiply(multiply(vectors, inner), vectors, adjoint_b=True), None, None


def _outwards(n: int) -> list[int]:
    """The numbers 0 ... n-1 ordered by their distance from the middle: 1, 0, 2 for n = 3."""
    return sorted(range(n), key=lambda j: (abs(2 * j - n + 1), j))


def between(rest: Loops) -> Frame:
    """The frame of S_1 + S_2 for two staples S = R^-1, by the eigenvectors of A = S_2 S_1^dagger.

    With A = U diag(e^{i a}) U^dagger it is ``left = U, right = S_1^dagger U diag(e^{-i a/2}), scales = 2 cos(a/2)``.
    The angles a have sum 0 and lie in the Weyl alcove, the middle one first, then the others outwards. A scale may be
    negative; no phase is needed then, and the frame is smooth except where eigenvalues of A coincide.
    """
    first, second = rest
    around = multiply(second, first, adjoint_a=True)
    angles, vectors = spectrum(around)
    if around.requires_grad:
        vectors = _Vectors.apply(around, angles, vectors)  # type: ignore[no-untyped-call]
    order = _outwards(angles.shape[-1])
    vectors, half = (torch.stack([x[..., j] for j in order], -1) for x in (vectors, angles / 2))
    right = multiply(multiply(first, vectors), _phases(-half))
    half = half.movedim(-1, 0)
    return Frame(vectors, right, 2 * half.cos(), None, 2 * half.sin())


def singular(J: Tensor, difference: Tensor | None = None) -> Frame:
    """The frame of any sum of staples, its singular value decomposition, largest scale first.

    J = W P e^{i phi} with W in SU(N) and P positive; `right` holds the eigenvectors of P, and left = W right. The
    gradient through the frame is that of W and of the eigenvectors; it is finite where scales are equal.

    A sum of SU(2) matrices is a multiple of W and defines no eigenvectors. They are then those of the Hermitian matrix
    (W^dagger (S_1 - S_2) - h.c.) / 2i, `difference` being S_1 - S_2. Without `difference` the frame need not follow
    gauge transformations: a small diagonal matrix is added to P, which separates equal scales, and the first entry of
    each vector is made positive.
    """
    n, W = J.shape[-1], project(J)
    P = multiply(W, J, adjoint_a=True)
    trace = P.diagonal(dim1=-2, dim2=-1).sum(-1)
    if n == 2 and difference is not None:
        turn = multiply(W, difference, adjoint_a=True)
        _, vectors = eigh((turn - turn.mH) / 2j)
        k = trace.real / 2
        return Frame(multiply(W, vectors), vectors, torch.stack([k, k]), None)
    phase = _unit(trace)
    P = P * phase.conj()[..., None, None]
    P = (P + P.mH) / 2
    tilt = 1e-4 * torch.arange(n, 0, -1, dtype=P.real.dtype, device=P.device).diag()
    values, vectors = eigh(P if difference is not None else P + tilt)
    vectors = vectors.flip(-1)
    if difference is None:
        vectors = vectors * _unit(vectors[..., :1, :]).conj()
    return Frame(multiply(W, vectors), vectors, values.flip(-1).movedim(-1, 0), phase)


def _unit(z: Tensor) -> Tensor:
    """z / |z|, and 1 for 0."""
    size = z.abs()
    return torch.where(size == 0, 1, z / torch.where(size == 0, 1, size))


def _quaternion(m: Tensor) -> tuple[Tensor, Tensor]:
    """The first column (a, b) of the real multiple of an SU(2) matrix that is nearest to a 2x2 matrix."""
    return (m[..., 0, 0] + m[..., 1, 1].conj()) / 2, (m[..., 1, 0] - m[..., 0, 1].conj()) / 2


def quaternion(J: Tensor) -> Frame:
    """The frame of any 2x2 matrix, for V in SU(2): left = W, right = 1 and both scales k.

    Re Tr V J^dagger depends on J only through the nearest multiple of an SU(2) matrix, k W.
    """
    a, b = _quaternion(J)
    square = a.real.square() + a.imag.square() + b.real.square() + b.imag.square()
    none = square <= torch.finfo(square.dtype).tiny
    k = torch.where(none, 1, square).sqrt()
    a, b = torch.where(none, 1, a / k), torch.where(none, 0, b / k)
    left = torch.stack([a, -b.conj(), b, a.conj()], -1).view(J.shape)
    k = torch.where(none, 0, k)
    eye = torch.eye(2, dtype=J.dtype, device=J.device).expand_as(J)
    return Frame(left, eye, torch.stack([k, k]), None)


def second_form(frame: Frame, K: Tensor) -> list[Tensor]:
    """The linear form R -> Re Tr R (i K) on SU(2) in the basis of a frame: four real coefficients, each [links].

    They are the components of the quaternion nearest to left^dagger (i K)^dagger.
    """
    a, b = _quaternion(-1j * multiply(frame.left, K.mH, adjoint_a=True))
    return [a.real, a.imag, b.real, b.imag]


def identity(like: Tensor) -> Frame:
    """The frame of J = 1, for links like these."""
    eye = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand_as(like)
    return Frame(eye, eye, like.real.new_ones(like.shape[-1], len(like)), None)


class Column(NamedTuple):
    """A first column of SU(n), a point (e^{i phi} (x + i y), root e_2, ..., root e_n) of the sphere S^{2n-1}.

    The phases of the numbers but the first are not included. All are [links]; e_j >= 0 are the `parts`, whose squares
    add up to 1.
    """

    x: Tensor
    y: Tensor
    root: Tensor
    parts: list[Tensor]


def split(y: Tensor, phase: Tensor | None) -> tuple[Column, list[Tensor]]:
    """The first column of SU(n) matrices [links, n, n] and the phases of all its numbers but the first, in radians."""
    first, *others = y[..., 0].unbind(-1)
    if phase is not None:
        first = first * phase.conj()
    sizes = [z.abs() for z in others]
    root = torch.stack(sizes).square().sum(0).sqrt()
    floor = root.clamp(min=torch.finfo(root.dtype).tiny)
    return Column(first.real, first.imag, root, [size / floor for size in sizes]), [z.angle() for z in others]


def complete(column: Column, phase: Tensor | None) -> Tensor:
    """A matrix E in SU(n), [links, n, n], with a given first column; phase is e^{i phi}::

    | v       0   s root  |    v the first number, s = (-1)^{n-1}
    | root e  B  -s v* e  |    B the last n - 2 columns of the reflection that maps -e to (1, 0, ...)
    """
    x, y, root, parts = column
    if phase is not None:
        x, y = x * phase.real - y * phase.imag, x * phase.imag + y * phase.real
    n, zero = len(parts) + 1, torch.zeros_like(x)
    sign = 1 if n % 2 else -1
    real, imaginary = [x, *[zero] * (n - 2), sign * root], [y, *[zero] * (n - 1)]
    first = parts[0]
    for j, e in enumerate(parts):
        real.append(root * e)
        for k in range(1, n - 1):
            real.append(-parts[k] if j == 0 else float(j == k) - e * parts[k] / (1 + first))
        real.append(-sign * x * e)
        imaginary += [*[zero] * (n - 1), sign * y * e]
    # One stack of all numbers and a transposition is twice as fast as writing them one by one.
    pairs = torch.stack([part for entry in zip(real, imaginary, strict=True) for part in entry]).flatten(1)
    return torch.view_as_complex(pairs.T.contiguous().view(*x.shape, n, n, 2))


def beside(R: Tensor) -> Tensor:
    """The block matrix diag(1, R), [links, n - 1, n - 1] -> [links, n, n]."""
    n = R.shape[-1] + 1
    whole = R.new_zeros(*R.shape[:-2], n, n)
    whole[..., 0, 0] = 1
    whole[..., 1:, 1:] = R
    return whole

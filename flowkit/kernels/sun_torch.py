"""The kernels of sun.py in torch, for every device and every N: their reference, and their fallback without C.

Each function takes and gives plain tensors, matrices [..., N, N], and records no gradients: sun.py calls the function
of the gradient itself. A gradient is dL/dRe + i dL/dIm, as everywhere in torch.
"""

import math

import torch
from torch import Tensor

from flowkit.kernels import jacobi
from flowkit.kernels.algebra import algebra, coordinates
from flowkit.kernels.projection import project as project

TWO_PI = 2 * math.pi


def product(a: Tensor, b: Tensor, adjoint_a: bool, adjoint_b: bool) -> Tensor:
    """op(a) op(b)."""
    return (a.mH if adjoint_a else a) @ (b.mH if adjoint_b else b)


def trace_product(a: Tensor, b: Tensor) -> Tensor:
    """Tr(a b^dagger), [...]."""
    return (a * b.conj()).sum((-2, -1))


def restore(x: Tensor) -> Tensor:
    """x, which is a small distance d off the group, within d^2 of it: one step of the Newton-Schulz iteration for the
    unitary factor, and one for the phase of the determinant.
    """
    y = 1.5 * x - 0.5 * x @ (x.mH @ x)
    phase: Tensor = 1 - (torch.linalg.det(y) - 1) / x.shape[-1]
    return y * phase[..., None, None]


def _between(vectors: Tensor, inner: Tensor) -> Tensor:
    """V M V^dagger."""
    return vectors @ inner @ vectors.mH


def _pairs(values: Tensor) -> tuple[Tensor, Tensor]:
    """(x_j + x_k) / 2 and (x_j - x_k) / 2, [..., N, N]."""
    row, column = values.unsqueeze(-1) / 2, values.unsqueeze(-2) / 2
    return row + column, row - column


def _safe_inverse(x: Tensor) -> Tensor:
    """1 / x, and 0 where x = 0."""
    return torch.where(x == 0, 0, 1 / torch.where(x == 0, 1, x))


def eigh(h: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues [..., N] and eigenvectors as columns; NaN for matrices that are not finite."""
    if h.shape[-1] <= 3:
        return jacobi.eigh(h)
    h, flaw = _finite(h)
    values, vectors = torch.linalg.eigh(h)
    return values + flaw[..., None], vectors + flaw[..., None, None]


def _finite(m: Tensor) -> tuple[Tensor, Tensor]:
    """m with the identity in place of matrices that are not finite, which end the process in some versions of LAPACK,
    and NaN for each of those, 0 for the others, [...].
    """
    flaw = (m - m).abs().sum((-2, -1))
    return torch.where(flaw.isnan()[..., None, None], torch.eye(m.shape[-1], dtype=m.dtype, device=m.device), m), flaw


def eigh_gradient(values: Tensor, vectors: Tensor, g_values: Tensor, g_vectors: Tensor) -> Tensor:
    """V [diag(g) + (V^dagger G)_jk / (l_k - l_j)] V^dagger, Hermitian; 0 for 1 / (l_k - l_j) of equal eigenvalues."""
    inverse = _safe_inverse(values.unsqueeze(-2) - values.unsqueeze(-1))
    whole = _between(vectors, (vectors.mH @ g_vectors) * inverse + torch.diag_embed(g_values))
    return (whole + whole.mH) / 2


def exp(w: Tensor) -> Tensor:
    """exp(i w^a T_a)."""
    if w.shape[-1] == 3:  # cos(|w|/2) + i sin(|w|/2) w.sigma/|w|
        half = torch.linalg.vector_norm(w, dim=-1, keepdim=True)[..., None] / 2
        eye = torch.eye(2, dtype=w.dtype, device=w.device)
        element: Tensor = half.cos() * eye + 1j * torch.sinc(half / math.pi) * algebra(w)
        return element
    values, vectors = eigh(algebra(w))  # matrix_exp waits for the device
    return (vectors * torch.polar(torch.ones_like(values), values).unsqueeze(-2)) @ vectors.mH


def exp_gradient(w: Tensor, g: Tensor) -> Tensor:
    """2 Re Tr(T_a H) / 2 of H_jk = conj(i e^{i s_jk} sinc d_jk) (V^dagger G V)_jk in the eigenbasis of w^a T_a, where
    s = (l_j + l_k) / 2 and d = (l_j - l_k) / 2.
    """
    values, vectors = eigh(algebra(w))
    mean, half = _pairs(values)
    factor = torch.polar(torch.sinc(half / math.pi), -mean) * -1j
    return coordinates(_between(vectors, factor * (vectors.mH @ g @ vectors))) / 2


def log(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """w with exp(w) = u, angles and vectors as `spectrum` gives them, without separation."""
    angles, vectors = spectrum(u, 0.0)
    return coordinates(_between(vectors, torch.diag_embed(angles).to(vectors.dtype))), angles, vectors


def log_gradient(angles: Tensor, vectors: Tensor, g: Tensor) -> Tensor:
    """V [conj(r_jk) (V^dagger 2 g^a T_a V)_jk] V^dagger, r_jk = (a_j - a_k) / (e^{i a_j} - e^{i a_k}), which is
    -i e^{-i (a_j + a_k) / 2} d / sin d for d = (a_j - a_k) / 2; 0 where eigenvalues meet across the cut.
    """
    mean, half = _pairs(angles)
    sine = half.sin()
    near = half.abs() < 1
    ratio = torch.where(near, 1 / torch.sinc(torch.where(near, half, 0) / math.pi), half * _safe_inverse(sine))
    at_cut = ~near & (sine.abs() < 8 * torch.finfo(angles.dtype).eps)
    factor = torch.polar(torch.where(at_cut, 0, ratio), mean) * 1j
    return _between(vectors, factor * (vectors.mH @ (2 * algebra(g)) @ vectors))


def spectrum(u: Tensor, separation: float) -> tuple[Tensor, Tensor]:
    """Angles in the Weyl alcove and eigenvectors; angles closer than `separation` are set that far apart.

    The eigenvectors are those of the Hermitian part of -i e^{-i phi} u, with eigenvalues sin(angle - phi). Two of them
    meet where the angles' mean is phi + pi / 2: phi is chosen away from that.
    """
    phi = _turn(u)
    turned = u * torch.polar(torch.ones_like(phi), -phi)[..., None, None]
    _, vectors = eigh((turned - turned.mH) / 2j)
    angles = (vectors.conj() * (u @ vectors)).sum(-2).angle()
    return _alcove(angles, vectors, separation)


def _turn(u: Tensor) -> Tensor:
    """phi in [0, pi), of few candidates the one that keeps the eigenvalues sin(angle - phi) apart, [...].

    Those of the angles a and b meet where cos((a + b) / 2 - phi) = 0. For SU(3) the product of these cosines over all
    pairs is |p(-e^{-2 i phi})| / 8, p(x) = x^3 - t x^2 + t* x - 1 = det(x - u), t = Tr u: no eigenvalues are needed.
    For SU(2), where a + b = 0, phi = 0 will do.
    """
    n = u.shape[-1]
    trace = u.diagonal(dim1=-2, dim2=-1).sum(-1)
    if n == 2:
        return torch.zeros_like(trace.real)
    if n == 3:
        phi = torch.arange(4, dtype=trace.real.dtype, device=u.device) * (math.pi / 4)
        x, t = torch.polar(-torch.ones_like(phi), -2 * phi), trace.unsqueeze(-1)
        return phi[(((x - t) * x + t.conj()) * x - 1).abs().argmax(-1)]
    angles = torch.linalg.eigvals(_finite(u)[0]).angle()
    first, second = torch.triu_indices(n, n, 1, device=u.device)
    means = (angles[..., first] + angles[..., second]) / 2
    phi = torch.arange(len(first) + 1, dtype=angles.dtype, device=u.device) * (math.pi / (len(first) + 1))
    worst = (means.unsqueeze(-2) - phi.unsqueeze(-1)).cos().abs().amin(-1)
    return phi[worst.argmax(-1)]


def _alcove(angles: Tensor, vectors: Tensor, separation: float) -> tuple[Tensor, Tensor]:
    """Angles whose sum is a multiple of 2 pi, turned so that it is 0, in ascending order, and their vectors."""
    n = angles.shape[-1]
    angles, order = angles.sort(-1)
    rank = torch.arange(n, device=angles.device)
    winding = torch.round(angles.sum(-1, keepdim=True) / TWO_PI)
    angles = angles + TWO_PI * ((rank < -winding).to(angles.dtype) - (rank >= n - winding).to(angles.dtype))
    angles, again = angles.sort(-1)
    order = order.gather(-1, again)
    vectors = vectors.gather(-1, order.unsqueeze(-2).expand(vectors.shape))
    angles = angles - angles.mean(-1, keepdim=True)
    if separation:
        gaps = torch.cat([angles.diff(dim=-1), TWO_PI - (angles[..., -1:] - angles[..., :1])], -1)
        push = (separation - gaps).clamp(min=0)
        widest = torch.nn.functional.one_hot(gaps.argmax(-1), n).to(push.dtype)
        change = push - widest * push.sum(-1, keepdim=True)
        shift = change.cumsum(-1).roll(1, -1)  # its last entry, the sum of all changes, is 0: the first angle's shift
        shift = torch.where(rank == 0, 0, shift)
        angles = angles + shift - shift.mean(-1, keepdim=True)
    return angles, vectors


def spectrum_gradient(angles: Tensor, vectors: Tensor, g: Tensor) -> Tensor:
    """V diag(i g_j e^{i angle_j}) V^dagger, since d angle_j = Im (V^dagger u^dagger du V)_jj."""
    return (vectors * torch.complex(-g * angles.sin(), g * angles.cos()).unsqueeze(-2)) @ vectors.mH


def recompose(vectors: Tensor, new: Tensor) -> Tensor:
    """V diag(e^{i new}) V^dagger."""
    return (vectors * torch.polar(torch.ones_like(new), new).unsqueeze(-2)) @ vectors.mH


def recompose_gradient(angles: Tensor, vectors: Tensor, new: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """V (conj(r_jk) M_jk, j != k) V^dagger to u and Im e^{-i new_j} M_jj to `new`, with M = V^dagger G V,

    r_jk = (e^{i new_j} - e^{i new_k}) / (e^{i angle_j} - e^{i angle_k}), and 1 where angles are equal.
    """
    m = vectors.mH @ g @ vectors
    diagonal = m.diagonal(dim1=-2, dim2=-1)
    g_new = (torch.polar(torch.ones_like(new), -new) * diagonal).imag
    (mean, half), (mean_new, half_new) = _pairs(angles), _pairs(new)
    sine = half.sin()
    equal = sine.abs() < 4 * torch.finfo(angles.dtype).tiny
    ratio = torch.where(equal, 1, half_new.sin() * _safe_inverse(sine))
    factor = torch.polar(ratio, mean - mean_new)
    off = factor * m * (1 - torch.eye(m.shape[-1], dtype=angles.dtype, device=m.device))
    return _between(vectors, off), g_new


def project_gradient(m: Tensor, x: Tensor, g: Tensor) -> Tensor:
    """2 U W [A_jk / (p_j + p_k)] W^dagger, with m = U P, P = W diag(p) W^dagger, x = U up to a phase, and A the
    traceless anti-Hermitian part of x^dagger G in the basis W; 0 where p_j + p_k = 0.
    """
    n = m.shape[-1]
    p = x.mH @ m
    phase = torch.sgn(p.diagonal(dim1=-2, dim2=-1).sum(-1))[..., None, None]
    p = p * phase.conj()
    values, vectors = eigh((p + p.mH) / 2)
    a = x.mH @ g
    a = (a - a.mH) / 2
    a = a - torch.eye(n, dtype=a.dtype, device=a.device) * (a.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None])
    mean, _ = _pairs(values)
    floor = torch.finfo(values.dtype).eps * values[..., -1:, None].clamp(min=0)
    inverse = torch.where(mean <= floor, 0, _safe_inverse(mean))
    return phase * (x @ _between(vectors, inverse * (vectors.mH @ a @ vectors)))

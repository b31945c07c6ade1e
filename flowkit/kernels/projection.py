"""The projection of a matrix to SU(N) in torch, for every device and every N."""

import math

import torch
from torch import Tensor

NEWTON = 9  # steps: they reach rounding from a condition number of 1e16 (Higham, sec. 8.6)


def project(m: Tensor) -> Tensor:
    """m (m^dagger m)^{-1/2}, the phase of its determinant removed in equal parts; the identity for m = 0.

    For N = 2 in closed form; beyond by Newton's iteration, X <- (z X + X^{-dagger} / z) / 2 with z^2 = |X^{-1}| / |X|
    (Higham, Functions of Matrices, 2008, sec. 8.6), in a number of steps that does not depend on m, so that a GPU need
    not wait. A singular matrix is moved by a few rounding errors first, so that it has a polar factor.
    """
    n, real = m.shape[-1], m.dtype.to_real()
    eye = torch.eye(n, dtype=m.dtype, device=m.device)
    scale = m.abs().amax((-2, -1), keepdim=True)
    x = torch.where(scale == 0, eye, m / torch.where(scale == 0, 1, scale))
    if n == 2:
        return _project_2x2(x)
    single = real == torch.float32
    generic = torch.arange(n * n, dtype=real, device=m.device).cos().view(n, n) + eye  # no simple matrix stays singular
    singular = torch.linalg.det(x).abs() < (1e-18 if single else 1e-140)
    x = x + torch.where(singular[..., None, None], generic * (1e-6 if single else 1e-15), 0)
    for _ in range(NEWTON):
        inverse = torch.linalg.inv_ex(x)[0].mH
        z = (torch.linalg.vector_norm(inverse, dim=(-2, -1)) / torch.linalg.vector_norm(x, dim=(-2, -1))).sqrt()
        z = z[..., None, None]
        x = (z * x + inverse / z) / 2
    angle = ((-1j * torch.linalg.det(x)).angle() + math.pi / 2) / n
    u: Tensor = x * torch.polar(torch.ones_like(angle), -angle)[..., None, None]
    return u


def _project_2x2(m: Tensor) -> Tensor:
    """The projection for N = 2: m + (d / |d|) adj(m)^dagger = U tr(H) for m = U H and d = det m."""
    (a, b), (c, d) = (row.unbind(-1) for row in m.unbind(-2))
    angle = ((-1j * (a * d - b * c)).angle() + math.pi / 2) / 2
    half = torch.polar(torch.ones_like(angle), angle)
    p, q = half.conj() * a + half * d.conj(), half.conj() * b - half * c.conj()
    size = torch.hypot(p.abs(), q.abs())
    p, q = p / size, q / size
    return torch.stack([p, q, -q.conj(), p.conj()], -1).view(m.shape)

"""SU(N), as complex matrices."""

import functools
import math

import torch
from torch import Tensor

from flowkit.groups.base import Group


@functools.lru_cache
def generators(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Hermitian T_a with Tr T_a T_b = delta_ab / 2, generalised Gell-Mann / 2, [n^2 - 1, n, n]."""
    basis = []
    for j in range(1, n):
        for i in range(j):
            symmetric, antisymmetric = torch.zeros(2, n, n, dtype=dtype)
            symmetric[i, j] = symmetric[j, i] = 0.5
            antisymmetric[i, j], antisymmetric[j, i] = -0.5j, 0.5j
            basis += [symmetric, antisymmetric]
        diagonal = torch.zeros(n, n, dtype=dtype)
        scale = 1 / math.sqrt(2 * j * (j + 1))
        for i in range(j):
            diagonal[i, i] = scale
        diagonal[j, j] = -j * scale
        basis.append(diagonal)
    return torch.stack(basis).to(device)


class SUN(Group):
    """SU(N) as complex matrices [..., N, N].

    Raises    ValueError for N < 2
    """

    complex = True

    def __init__(self, n: int):
        if not isinstance(n, int) or n < 2:
            raise ValueError(f"SUN needs a whole number N >= 2; got {n!r}.")
        self.n = self.dimension = n
        self.name = f"SU{n}"
        self.matrix_shape = (n, n)
        self.algebra_dim = n * n - 1

    def generators(self, like: Tensor) -> Tensor:
        """T_a, [N^2 - 1, N, N], in the complex dtype and on the device of `like`."""
        return generators(self.n, self.field_dtype(like.dtype), like.device)

    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def inverse(self, a: Tensor) -> Tensor:
        return a.mH

    def algebra(self, w: Tensor) -> Tensor:
        """The Hermitian matrix w^a T_a, [..., N^2 - 1] -> [..., N, N]."""
        t = self.generators(w)
        return (w.to(t.dtype) @ t.flatten(1)).view(*w.shape[:-1], self.n, self.n)

    def coordinates(self, h: Tensor) -> Tensor:
        """w^a = 2 Re Tr(T_a h), the coordinates of the traceless Hermitian part of h, [..., N^2 - 1]."""
        return 2 * (h.flatten(-2) @ self.generators(h).mT.flatten(1).T).real

    def exp(self, w: Tensor) -> Tensor:
        if self.n == 2:  # closed form: exp(i w.sigma/2) = cos(|w|/2) + i sin(|w|/2) w.sigma/|w|
            half = torch.linalg.vector_norm(w, dim=-1, keepdim=True)[..., None] / 2
            eye = torch.eye(2, dtype=self.field_dtype(w.dtype), device=w.device)
            element: Tensor = half.cos() * eye + 1j * torch.sinc(half / math.pi) * self.algebra(w)
            return element
        element = torch.linalg.matrix_exp(1j * self.algebra(w))
        return element

    def log(self, g: Tensor) -> Tensor:
        phases, vectors = torch.linalg.eig(g)
        angles = phases.angle()
        # The principal angles sum to a multiple of 2 pi; SU(N) wants 0: turn the largest back.
        winding = torch.round(angles.sum(-1) / (2 * math.pi))
        order = angles.argsort(-1)
        rank = order.argsort(-1)
        top = rank >= (self.n - winding)[..., None]
        bottom = rank < (-winding)[..., None]
        angles = angles - 2 * math.pi * (top.to(angles.dtype) - bottom.to(angles.dtype))
        h = vectors @ (angles.to(g.dtype)[..., None] * torch.linalg.inv(vectors))
        return self.coordinates(h)

    def tangent(self, g: Tensor) -> Tensor:
        return self.coordinates((g - g.mH) / 2j)

    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=self.field_dtype(like.dtype), device=like.device)
        return eye.expand(*shape, self.n, self.n).clone()

    def haar(self, shape: tuple[int, ...], rng: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        z = torch.randn(*shape, self.n, self.n, generator=rng, device=rng.device, dtype=self.field_dtype(dtype))
        q, r = torch.linalg.qr(z)
        phase = r.diagonal(dim1=-2, dim2=-1)
        q = q * (phase / phase.abs())[..., None, :]  # Haar on U(N); Mezzadri, math-ph/0609050
        return self._unit_determinant(q)

    def project(self, x: Tensor) -> Tensor:
        """M (M^dagger M)^{-1/2}, the phase of its determinant removed in equal parts from all eigenvalues."""
        u, _, vh = torch.linalg.svd(x)
        return self._unit_determinant(u @ vh)

    def _unit_determinant(self, u: Tensor) -> Tensor:
        angle = torch.linalg.det(u).angle() / self.n
        return u * torch.polar(torch.ones_like(angle), -angle)[..., None, None]

    def defect(self, x: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        unitarity = (x.mH @ x - eye).abs().amax((-2, -1))
        determinant = (torch.linalg.det(x) - 1).abs()
        worst = torch.maximum(unitarity, determinant)
        return torch.where(worst.isfinite(), worst, torch.inf)

    def trace(self, x: Tensor) -> Tensor:
        return x.diagonal(dim1=-2, dim2=-1).real.sum(-1) / self.n

    @classmethod
    def example(cls) -> "SUN":
        return SUN(3)

    def __repr__(self) -> str:
        return f"SUN({self.n})"

"""SU(N), as complex matrices."""

import math

import torch
from torch import Tensor

from flowkit.groups.base import Group
from flowkit.kernels import sun as kernels
from flowkit.kernels.sun import algebra, coordinates, generators

__all__ = ["SUN", "generators"]


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
        return generators(self.n, self.field_dtype(like.dtype), like.device).clone()

    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        return kernels.multiply(a, b)

    def inverse(self, a: Tensor) -> Tensor:
        return a.mH

    def algebra(self, w: Tensor) -> Tensor:
        """The Hermitian matrix w^a T_a, [..., N^2 - 1] -> [..., N, N]."""
        return algebra(w)

    def coordinates(self, h: Tensor) -> Tensor:
        """w^a = 2 Re Tr(T_a h), the coordinates of the traceless Hermitian part of h, [..., N^2 - 1]."""
        return coordinates(h)

    def exp(self, w: Tensor) -> Tensor:
        return kernels.exp(w)

    def log(self, g: Tensor) -> Tensor:
        return kernels.log(g)

    def tangent(self, g: Tensor) -> Tensor:
        return self.coordinates((g - g.mH) / 2j)

    def covector(self, x: Tensor, f: Tensor) -> Tensor:
        # dL = Re Tr g^dagger dx with dx = i w^a T_a x
        return 2j * kernels.multiply(algebra(f), x)

    def coordinates_of_gradient(self, x: Tensor, g: Tensor) -> Tensor:
        return self.coordinates(1j * kernels.multiply(x, g.mH)) / 2

    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=self.field_dtype(like.dtype), device=like.device)
        return eye.expand(*shape, self.n, self.n).clone()

    def haar(self, shape: tuple[int, ...], rng: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        kind = self.field_dtype(dtype)
        if self.n == 2:  # a point of the sphere of unit quaternions
            z = torch.randn(*shape, 2, generator=rng, device=rng.device, dtype=kind)
            a, b = (z / torch.linalg.vector_norm(z, dim=-1, keepdim=True)).unbind(-1)
            return torch.stack([a, -b.conj(), b, a.conj()], -1).view(*shape, 2, 2)
        z = torch.randn(*shape, self.n, self.n, generator=rng, device=rng.device, dtype=kind)
        # A z B has the law of z for unitary A and B, and A U B is the projection of A z B; Mezzadri, math-ph/0609050
        return kernels.project(z)

    def project(self, x: Tensor) -> Tensor:
        """M (M^dagger M)^{-1/2}, the phase of its determinant removed in equal parts from all eigenvalues."""
        return kernels.project(x)

    def torus_density(self, angles: Tensor) -> Tensor:
        """Haar measure on the maximal torus, the density of eigenangles a_1, ..., a_N (radians) of sum 0:

        prod_{j<k} 4 sin^2((a_j - a_k) / 2) / [N! (2 pi)^{N-1}],  with respect to da_1 ... da_{N-1} over (-pi, pi]^{N-1}

        angles    [..., N]
        Returns   [...], dimensionless; Weyl's integration formula
        """
        a, b = torch.combinations(torch.arange(self.n, device=angles.device)).unbind(-1)
        sines = ((angles[..., a] - angles[..., b]) / 2).sin()
        return (2 * sines).square().prod(-1) / (math.factorial(self.n) * (2 * math.pi) ** (self.n - 1))

    def defect(self, x: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        unitarity = (x.mH @ x - eye).abs().amax((-2, -1))
        determinant = (torch.linalg.det(x) - 1).abs()
        worst = torch.maximum(unitarity, determinant)
        return torch.where(worst.isfinite(), worst, torch.inf)

    def trace(self, x: Tensor) -> Tensor:
        return x.diagonal(dim1=-2, dim2=-1).real.sum(-1) / self.n

    def __repr__(self) -> str:
        return f"SUN({self.n})"

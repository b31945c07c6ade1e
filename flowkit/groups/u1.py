"""U(1), as angles."""

import math

import torch
from torch import Tensor

from flowkit.groups.base import Group


class U1(Group):
    """U(1) as real angles theta in [-pi, pi); the element is e^{i theta}."""

    name = "U1"
    matrix_shape = ()
    algebra_dim = 1
    dimension = 1
    complex = False

    def wrap(self, x: Tensor) -> Tensor:
        """The angle in [-pi, pi) that equals x modulo 2 pi, with gradient 1.

        Angles inside (-pi, pi) come back bit for bit, which torch.remainder(x + pi, 2 pi) - pi does not do.
        """
        y = x - (2 * math.pi) * torch.round(x / (2 * math.pi)).detach()
        return torch.where(y >= math.pi, y - 2 * math.pi, y)

    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        return self.wrap(a + b)

    def inverse(self, a: Tensor) -> Tensor:
        return self.wrap(-a)

    def exp(self, w: Tensor) -> Tensor:
        return self.wrap(w)

    def log(self, g: Tensor) -> Tensor:
        return self.wrap(g)

    def tangent(self, g: Tensor) -> Tensor:
        return self.wrap(g)

    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def haar(self, shape: tuple[int, ...], rng: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        u = torch.rand(shape, generator=rng, device=rng.device, dtype=dtype)
        return self.wrap((2 * u - 1) * math.pi)

    def project(self, x: Tensor) -> Tensor:
        return self.wrap(x)

    def defect(self, x: Tensor) -> Tensor:
        outside = (x.abs() - math.pi).clamp(min=0)
        return torch.where(x.isfinite(), outside, torch.inf)

    def trace(self, x: Tensor) -> Tensor:
        return x.cos()

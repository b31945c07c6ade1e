"""SU(N), as complex matrices."""

import cmath
import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from flowkit import exact
from flowkit.checks import Range, checked
from flowkit.groups import mean_link, su3_plaquettes, subgroups
from flowkit.groups.base import Group
from flowkit.groups.characters import Characters, sun_characters
from flowkit.groups.decimation import decimated_weight
from flowkit.kernels import sun as kernels
from flowkit.kernels.sun import algebra, coordinates, generators
from flowkit.tasks.randomness import Rng, generator_of


class SUN(Group):
    r"""SU(N) as complex matrices ``[..., N, N]``.

    Parameters
    ----------
    n : int
        N, at least 2.

    Raises
    ------
    ValueError
        For N < 2 or another thing than a whole number.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> G = fk.SUN(3)
    >>> x = G.haar((4,), torch.Generator().manual_seed(1))
    >>> x.shape, bool((G.defect(x) < 1e-5).all())
    (torch.Size([4, 3, 3]), True)
    >>> round(G.one_plaquette_mean(beta=6.0), 4)        # <Re Tr U / 3> of weight e^{2 Re Tr U}
    0.4225
    """

    complex = True
    _kernels: ClassVar[dict[str, str]] = {"SU2": "wilson_su2", "SU3": "wilson_su3"}

    @checked
    def __init__(self, n: Annotated[int, Range(2, 64)]):
        self.n = self.dimension = self.angles = self.centre_order = n
        self.name = f"SU{n}"
        self.matrix_shape = (n, n)
        self.lowest_trace = -math.cos(math.pi / n) if n % 2 else -1.0  # the element of the centre nearest to -1
        self.algebra_dim = n * n - 1
        self.decimated = self.solved_2d = n <= 3

    @classmethod
    def from_name(cls, name: str) -> "SUN | None":
        digits = name.removeprefix("SU")
        known = name.startswith("SU") and digits.isdecimal() and 2 <= int(digits) <= 64
        return cls(int(digits)) if known else None

    @property
    def label(self) -> str:
        return f"SU({self.n})"

    def generators(self, like: Tensor) -> Tensor:
        """T_a, [N^2 - 1, N, N], in the complex dtype and on the device of `like`."""
        return generators(self.n, self.field_dtype(like.dtype), like.device).clone()

    def algebra(self, w: Tensor) -> Tensor:
        """The Hermitian matrix w^a T_a, [..., N^2 - 1] -> [..., N, N]."""
        return algebra(w)

    def coordinates(self, h: Tensor) -> Tensor:
        """w^a = 2 Re Tr(T_a h), the coordinates of the traceless Hermitian part of h, [..., N^2 - 1]."""
        return coordinates(h)

    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        return kernels.multiply(a, b)

    def inverse(self, a: Tensor) -> Tensor:
        return a.mH

    def sphere(self, x: Tensor) -> Tensor:
        if self.n != 2:
            return torch.view_as_real(x.resolve_conj()).flatten(-3) / math.sqrt(self.n)
        # An element is [[a, b], [-b*, a*]], and so is a real multiple of a sum of them.
        return torch.view_as_real(x[..., 0, :].resolve_conj()).flatten(-2)

    def from_sphere(self, x: Tensor) -> Tensor:
        if self.n != 2:
            return super().from_sphere(x)
        a, b = torch.view_as_complex(torch.unflatten(x, -1, (2, 2)).contiguous()).unbind(-1)
        return torch.stack([a, b, -b.conj(), a.conj()], -1).view(*a.shape, 2, 2)

    def mean_element(self, loops: Tensor) -> Tensor:
        square = self.sphere(loops).square().sum(-1)
        if self.n != 2:
            return mean_link.sun_mean(loops, square)
        return loops.mH * mean_link.su2_slope(square)[..., None, None]

    def log_mean_weight(self, square: Tensor) -> Tensor:
        if self.n != 2:
            return mean_link.sun_log_mean_weight(square, self.n)
        return mean_link.su2_log_mean_weight(square)

    def times_centre(self, x: Tensor) -> Tensor:
        return -x if self.n == 2 else cmath.exp(2j * math.pi / self.n) * x

    def exp(self, w: Tensor) -> Tensor:
        return kernels.exp(w)

    def log(self, g: Tensor) -> Tensor:
        return kernels.log(g)

    def tangent(self, g: Tensor) -> Tensor:
        return coordinates((g - g.mH) / 2j)

    def covector(self, x: Tensor, f: Tensor) -> Tensor:
        # dL = Re Tr g^dagger dx with dx = i w^a T_a x
        return 2j * kernels.multiply(algebra(f), x)

    def coordinates_of_gradient(self, x: Tensor, g: Tensor) -> Tensor:
        return coordinates(1j * kernels.multiply(x, g.mH)) / 2

    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=self.field_dtype(like.dtype), device=like.device)
        return eye.expand(*shape, self.n, self.n).clone()

    def haar(self, shape: tuple[int, ...], rng: Rng = None, dtype: torch.dtype | None = None) -> Tensor:
        kind, rng = self.field_dtype(dtype), generator_of(rng)
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

    def restore(self, x: Tensor) -> Tensor:
        return kernels.restore(x)

    def defect(self, x: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        unitarity = (x.mH @ x - eye).abs().amax((-2, -1))
        determinant = (torch.linalg.det(x) - 1).abs()
        worst = torch.maximum(unitarity, determinant)
        return torch.where(worst.isfinite(), worst, torch.inf)

    def trace(self, x: Tensor) -> Tensor:
        return x.diagonal(dim1=-2, dim2=-1).real.sum(-1) / self.n

    def trace_slope(self, x: Tensor) -> Tensor:
        # Re Tr(i T_a x) = -Im Tr(T_a x)
        return coordinates(1j * x) / (2 * self.n)

    def invariants(
        self, loops: Sequence[Tensor | tuple[Tensor, Tensor]], harmonics: int = 1, odd: bool = True
    ) -> Tensor:
        traces = []
        for loop in loops:
            left, right = loop if isinstance(loop, tuple) else (loop, None)
            power = left  # (left right^dagger)^{k-1} left
            for k in range(harmonics):
                if k:
                    power = power if right is None else kernels.multiply(power, right, adjoint_b=True)
                    power = kernels.multiply(power, left)
                if right is None:
                    traces.append(power.diagonal(dim1=-2, dim2=-1).sum(-1))
                else:
                    traces.append(kernels.trace_product(power, right))
        found = torch.stack(traces) / self.n
        return torch.cat([found.real, found.imag]) if odd and self.n > 2 else found.real

    def invariant_count(self, harmonics: int = 1, odd: bool = True) -> int:
        return 2 * harmonics if odd and self.n > 2 else harmonics  # traces of SU(2) are real

    def spectrum(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return kernels.spectrum(x)

    def recompose(self, x: Tensor, angles: Tensor, frame: Tensor, new: Tensor) -> Tensor:
        return kernels.recompose(x, angles, frame, new)

    def characters(self, order: int) -> Characters:
        return sun_characters(self.n, order)

    def heatbath(self, v: Tensor, staples: Tensor, beta: float, rng: torch.Generator) -> Tensor:
        """Each SU(2) subgroup in turn, after Cabibbo and Marinari: exact for SU(2)."""
        return subgroups.heatbath(v, staples, beta, rng)

    def annealed_heatbath(
        self, v: Tensor, staples: Tensor, slope: Tensor, step: float, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return subgroups.annealed_heatbath(v, staples, slope, step, rng)

    def overrelax(self, v: Tensor, staples: Tensor) -> Tensor:
        return subgroups.overrelax(v, staples)

    def one_plaquette(
        self, shape: tuple[int, ...], beta: float, rng: torch.Generator, dtype: torch.dtype | None = None
    ) -> Tensor:
        if not self.solved_2d:
            return super().one_plaquette(shape, beta, rng, dtype)
        n, kind = math.prod(shape), self.field_dtype(dtype)
        if self.n == 3:
            return su3_plaquettes.one_plaquette(n, beta, rng).to(kind).view(*shape, 3, 3)
        kappa = torch.full(shape, beta, dtype=kind.to_real(), device=rng.device)
        return subgroups.matrix(subgroups.su2_element(kappa, rng))

    def first_of_two(self, product: Tensor, beta: float, rng: torch.Generator) -> Tensor:
        """Density ~ exp((beta/N) Re Tr X (1 + D)^dagger): for SU(2) a heatbath step with 1 + D as the staples."""
        if not self.solved_2d:
            return super().first_of_two(product, beta, rng)
        if self.n == 3:
            return su3_plaquettes.first_of_two(product, beta, rng)
        one = self.identity(product.shape[:-2], product)
        return self.heatbath(one, one + product, beta, rng)

    def one_plaquette_mean(self, beta: float) -> float:
        return exact.sun_one_plaquette(self.n, beta)

    def one_plaquette_log_z(self, beta: float) -> float:
        return exact.sun_one_plaquette_log_z(self.n, beta)

    def wilson_loop_2d(self, beta: float, area: int, volume: int) -> float:
        return exact.sun_wilson_loop(self.n, beta, area, volume)

    def log_z_2d(self, beta: float, volume: int) -> float:
        return exact.sun_log_z(self.n, beta, volume)

    def decimated_log_weight(self, plaquettes: Tensor, beta: float, area: int) -> Tensor:
        if not self.decimated:
            return super().decimated_log_weight(plaquettes, beta, area)
        weight = decimated_weight(self.n, plaquettes, beta, area)
        return weight.clamp(min=torch.finfo(weight.dtype).tiny).log() + area * self.one_plaquette_log_z(beta)

    def __repr__(self) -> str:
        return f"SUN({self.n})"

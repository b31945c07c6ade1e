"""U(1), as angles."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from flowkit import exact
from flowkit.groups.base import Group
from flowkit.groups.characters import Characters, whole_order
from flowkit.kernels.heat import heat_angle, heat_log_norm
from flowkit.kernels.native import one_of
from flowkit.tasks.randomness import Rng, generator_of


class U1(Group):
    r"""U(1) as real angles :math:`\theta \in [-\pi, \pi)`; the element is :math:`e^{i \theta}`.

    The coordinate of the algebra is the angle itself, Re Tr of an element its cosine. Only this class wraps angles.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> G = fk.U1()
    >>> G.compose(torch.tensor(3.0), torch.tensor(1.0))      # 4 - 2 pi
    tensor(-2.2832)
    >>> round(G.wilson_loop_2d(beta=2.0, area=1, volume=64), 4)   # the exact plaquette on 8x8
    0.6978
    """

    name, label = "U1", "U(1)"
    matrix_shape = ()
    algebra_dim = 1
    dimension = 1
    complex = False
    abelian = additive = True
    angles = 1
    centre_order = 2  # of -1; every element commutes with all others
    winding = True
    decimated = True
    solved_2d = True
    _kernels: ClassVar[dict[str, str]] = {"U1": "wilson_u1"}

    def wrap(self, x: Tensor) -> Tensor:
        """The angle in [-pi, pi) that equals x modulo 2 pi, with gradient 1.

        Angles inside (-pi, pi) come back bit for bit, which torch.remainder(x + pi, 2 pi) - pi does not do.
        """
        if not x.requires_grad:
            return _Wrap.forward(None, x)
        return one_of(_Wrap, x)

    exp = log = tangent = project = wrap  # an angle is its own coordinate

    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        return self.wrap(a + b)

    def inverse(self, a: Tensor) -> Tensor:
        return self.wrap(-a)

    conjugate = inverse

    def times_centre(self, x: Tensor) -> Tensor:
        return self.wrap(x + math.pi)

    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def haar(self, shape: tuple[int, ...], rng: Rng = None, dtype: torch.dtype | None = None) -> Tensor:
        rng = generator_of(rng)
        u = torch.rand(shape, generator=rng, device=rng.device, dtype=dtype)
        return self.wrap((2 * u - 1) * math.pi)

    def defect(self, x: Tensor) -> Tensor:
        outside = (x.abs() - math.pi).clamp(min=0)
        return torch.where(x.isfinite(), outside, torch.inf)

    def trace(self, x: Tensor) -> Tensor:
        return x.cos()

    def trace_slope(self, x: Tensor) -> Tensor:
        return -x.sin()

    def product(self, factors: Sequence[Tensor], signs: Sequence[int], wrap: bool = True) -> Tensor:
        total = factors[0] if signs[0] > 0 else -factors[0]
        for x, sign in zip(factors[1:], signs[1:], strict=True):
            total = total + x if sign > 0 else total - x
        return self.wrap(total) if wrap else total

    def invariants(
        self, loops: Sequence[Tensor | tuple[Tensor, Tensor]], harmonics: int = 1, odd: bool = True
    ) -> Tensor:
        theta = torch.stack([loop[0] - loop[1] if isinstance(loop, tuple) else loop for loop in loops])
        if harmonics > 1:
            theta = torch.stack([k * theta for k in range(1, harmonics + 1)], 1).flatten(0, 1)
        return torch.cat([theta.cos(), theta.sin()]) if odd else theta.cos()

    def invariant_count(self, harmonics: int = 1, odd: bool = True) -> int:
        return 2 * harmonics if odd else harmonics

    def mean(self, weights: Tensor, elements: Sequence[Tensor]) -> Tensor:
        # Angles are measured from the first one, so that rotating all of them rotates the mean exactly. Where the sum
        # vanishes the gradient of atan2 would be infinite; it is replaced by a finite one.
        first = elements[0]
        real, imaginary = weights[0], torch.zeros_like(first)
        for c, x in zip(weights[1:], elements[1:], strict=True):
            difference = x - first
            real, imaginary = real + c * difference.cos(), imaginary + c * difference.sin()
        tiny = torch.finfo(first.dtype).eps ** 2
        small = real.detach().square() + imaginary.detach().square() < tiny
        return first + torch.atan2(torch.where(small, 0.0, imaginary), torch.where(small, 1.0, real))

    def ambient(self, x: Tensor) -> Tensor:
        return x if x.is_complex() else torch.polar(torch.ones_like(x), x)

    def ambient_slope(self, x: Tensor, w: Tensor) -> Tensor:
        return 1j * w * self.ambient(x)

    def ambient_product(self, factors: Sequence[Tensor], signs: Sequence[int]) -> Tensor:
        total = factors[0] if signs[0] > 0 else factors[0].conj()
        for x, sign in zip(factors[1:], signs[1:], strict=True):
            total = total * (x if sign > 0 else x.conj())
        return total

    def sphere(self, x: Tensor) -> Tensor:
        return torch.view_as_real(self.ambient(x).resolve_conj())

    def from_sphere(self, x: Tensor) -> Tensor:
        return self.wrap(torch.atan2(x[..., 1], x[..., 0]))

    def mean_element(self, loops: Tensor) -> Tensor:
        square = loops.real.square() + loops.imag.square()
        # I_1(k) / (k I_0(k)), by its series where k is small.
        k = square.clamp(min=1e-2).sqrt()
        ratio = torch.special.i1e(k) / (k * torch.special.i0e(k))
        small = (1 - square / 8 * (1 - square / 6 * (1 - square * 11 / 64))) / 2
        return loops.conj() * torch.where(square < 1e-2, small, ratio)

    def log_mean_weight(self, square: Tensor) -> Tensor:
        k = square.clamp(min=torch.finfo(square.dtype).eps).sqrt()
        log: Tensor = torch.special.i0e(k).log() + k
        return log

    def angle(self, x: Tensor) -> Tensor:
        return x

    def spectrum(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., None], x

    def recompose(self, x: Tensor, angles: Tensor, frame: Tensor, new: Tensor) -> Tensor:
        return new[..., 0]

    def characters(self, order: int) -> Characters:
        """cos(n theta), n <= order."""
        reps: list[tuple[int, ...]] = [(n,) for n in range(whole_order(order) + 1)]

        def values(x: Tensor) -> Tensor:
            return torch.cos(x[..., None] * torch.arange(order + 1, dtype=x.dtype, device=x.device))

        return Characters(reps, [1.0] * len(reps), values)

    def heatbath(self, v: Tensor, staples: Tensor, beta: float, rng: torch.Generator) -> Tensor:
        return self.wrap(staples.angle() + von_mises(beta * staples.abs(), rng))

    def annealed_heatbath(
        self, v: Tensor, staples: Tensor, slope: Tensor, step: float, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        after = staples + step * slope
        logw = heat_log_norm(after.abs(), 0) - heat_log_norm(staples.abs(), 0)
        return self.heatbath(v, after, 1.0, rng), logw

    def overrelax(self, v: Tensor, staples: Tensor) -> Tensor:
        return self.wrap(2 * staples.angle() - v)

    def one_plaquette(
        self, shape: tuple[int, ...], beta: float, rng: torch.Generator, dtype: torch.dtype | None = None
    ) -> Tensor:
        return self.wrap(von_mises(torch.full(shape, float(beta), dtype=dtype, device=rng.device), rng))

    def first_of_two(self, product: Tensor, beta: float, rng: torch.Generator) -> Tensor:
        """cos x + cos(D - x) = 2 cos(D/2) cos(x - D/2)."""
        return self.compose(product / 2, von_mises(2 * beta * (product / 2).cos().abs(), rng))

    def one_plaquette_mean(self, beta: float) -> float:
        return exact.u1_plaquette(beta)

    def one_plaquette_log_z(self, beta: float) -> float:
        return beta + math.log(torch.special.i0e(torch.tensor(beta, dtype=torch.float64)))

    def wilson_loop_2d(self, beta: float, area: int, volume: int) -> float:
        return exact.u1_wilson_loop(beta, area, volume)

    def log_z_2d(self, beta: float, volume: int) -> float:
        return exact.u1_log_z(beta, volume)

    def charge_squared_2d(self, beta: float, volume: int) -> float:
        return exact.u1_charge_squared(beta, volume)

    def charge_distribution_2d(self, beta: float, volume: int, charges: Sequence[int]) -> Any:
        return exact.u1_charge_distribution(beta, volume, charges)

    def decimated_log_weight(self, plaquettes: Tensor, beta: float, area: int) -> Tensor:
        if area == 2:  # I_0(2 beta cos(theta/2)), in which nothing cancels
            z = 2 * beta * (plaquettes / 2).cos().abs()
            log: Tensor = z + torch.special.i0e(z).log()
            return log
        weight = torch.ones_like(plaquettes)
        for n, c in enumerate(exact.u1_decimated(beta, area).tolist()[1:], start=1):
            if c < 1e-17:  # and so are those that follow
                break
            weight = weight + 2 * c * (n * plaquettes).cos()
        return weight.clamp(min=torch.finfo(weight.dtype).tiny).log() + area * self.one_plaquette_log_z(beta)


class _Wrap(torch.autograd.Function):
    """The wrapped angle; its backward pass hands the gradient on and costs nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.sub(x, torch.round(x / (2 * math.pi)), alpha=2 * math.pi)
        return torch.where(y.abs() >= math.pi, -math.pi, y)  # by rounding y may lie beyond either end

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def von_mises(kappa: Tensor, rng: torch.Generator) -> Tensor:
    r"""Angles of density :math:`e^{\kappa \cos\theta} / (2 \pi I_0(\kappa))`, by the inverse of their distribution.

    Parameters
    ----------
    kappa : Tensor
        Not negative, dimensionless, ``[...]``; NaN and infinity give NaN.

    Returns
    -------
    Tensor
        Radians in [-pi, pi], in the shape of kappa.
    """
    u = 2 * torch.rand(kappa.shape, generator=rng, device=kappa.device, dtype=kappa.dtype) - 1
    return torch.copysign(heat_angle(u.abs(), kappa, 0), u) + 0 * kappa

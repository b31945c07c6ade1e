"""The law of a link that is linear in the loops through it: its draws, density and slopes, for U(1) and SU(2)."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.groups import SUN, U1, Group
from flowkit.kernels.heat import heat_angle, heat_cdf, heat_log_norm, heat_mean
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops


class Mean(NamedTuple):
    """The length k of the weighted sum of staples, k M, and the element M of the group."""

    k: Tensor
    element: Tensor


class HeatLaw(LinkConditional):
    r"""A heatbath law of a linear combination of staples, for any number of loops through a link of U(1) or SU(2).

    A subclass gives the coefficients and the score. Loops are elements of the group or sums of
    elements, as `Group.ambient` gives them.

    Notes
    -----
    .. math:: q(V | R) = \exp[\tfrac{1}{N} {\rm Re\,Tr}\, V J^\dagger] / Z(|J|), \quad J = \sum_i c_i S_i,
              \quad S_i = R_i^\dagger

    With J = k M, M in the group, V = X M and a the angle of X (U(1): its modulus; SU(2): Tr X = 2 cos a), Z is
    :math:`I_0(k)` for U(1) and :math:`2 I_1(k) / k` for SU(2). The derivatives of log q by the coefficients are

    .. math:: \frac{\partial \log q}{\partial c_i} = \tfrac{1}{N} {\rm Re\,Tr}\,(V - \langle V \rangle) S_i^\dagger,
              \quad \langle V \rangle = A(k) M,

    with A the mean of cos a.
    """

    loops: int

    def __init__(self, group: Group, loops: int):
        super().__init__()
        if group not in (U1(), SUN(2)):
            raise ValueError(f"{type(self).__name__} models links of U1 or SU2; got {group}.")
        self.group, self.loops = group, loops
        self.n = 2 if group.matrix_shape else 0  # Haar measure on the angle is sin^n a da

    @abstractmethod
    def coefficients_of_loops(self) -> Tensor:
        """c_i, [loops]."""

    def _vectors(self, loops: Loops) -> list[Tensor]:
        """The staples as points of R^(n + 2), each [..., n + 2]."""
        if len(loops) != self.loops:
            raise ValueError(f"This model takes {self.loops} loops through each link; got {len(loops)}.")
        G = self.group
        return [G.sphere(G.ambient_product([G.ambient(r)], [-1])) for r in loops]

    def mean(self, loops: Loops) -> Mean:
        """k, [...], and M, a link of the group, where the density is largest; any element where k = 0."""
        return self._mean(self._vectors(loops))

    def _mean(self, vectors: list[Tensor]) -> Mean:
        total = sum(c * x for c, x in zip(self.coefficients_of_loops(), vectors, strict=True))
        assert isinstance(total, Tensor)
        square = total.square().sum(-1)
        none = square <= torch.finfo(square.dtype).tiny  # False for NaN, which stays NaN
        k = torch.where(none, 1, square).sqrt()
        first = torch.zeros_like(total)
        first[..., 0] = 1
        element = self.group.from_sphere(torch.where(none[..., None], first, total / k[..., None]))
        return Mean(torch.where(none, 0, k), element)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of X: its angle in [0, pi]; its sine and cosine, with all digits."""
        if self.n == 0:
            return x.abs(), x.sin().abs(), x.cos()
        a, b = x[..., 0, 0], x[..., 0, 1]
        square = a.imag.square() + b.real.square() + b.imag.square()
        sine = square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
        return torch.atan2(sine, a.real), sine, a.real

    def _turned(self, x: Tensor, angle: Tensor) -> Tensor:
        """X with another angle."""
        if self.n == 0:
            return torch.where(x < 0, -angle, angle)
        _, sine, cosine = self._split(x)
        stretch = angle.sin() / sine  # of the part of X that is no multiple of 1
        eye = torch.eye(2, dtype=x.dtype, device=x.device)
        return stretch[..., None, None] * x + (angle.cos() - stretch * cosine)[..., None, None] * eye

    def _density(self, kappa: Tensor, angle: Tensor) -> Tensor:
        """kappa cos a less its logarithmic norm; written in 1 - cos a, which keeps its digits at large kappa."""
        return -2 * kappa * (angle / 2).sin().square() - heat_log_norm(kappa, self.n, scaled=True)

    def _relative(self, v: Tensor, mean: Mean) -> Tensor:
        """X = V M^-1, an angle in [-pi, pi) for U(1)."""
        x = self.group.compose(v, self.group.inverse(mean.element))
        return x if self.n else U1().wrap(x)

    def _kappa(self, mean: Mean) -> Tensor:
        return mean.k

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        mean = self.mean(loops)
        y, kappa = self._relative(u, mean), self._kappa(mean)
        angle = heat_angle(heat_cdf(self._split(y)[0], 0.0, self.n), kappa, self.n)
        v = self.group.compose(self._turned(y, angle), mean.element)
        return v, -self._density(kappa, angle)

    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        mean = self.mean(loops)
        x, kappa = self._relative(v, mean), self._kappa(mean)
        angle = self._split(x)[0]
        haar = heat_angle(heat_cdf(angle, kappa, self.n), 0.0, self.n)
        return self.group.compose(self._turned(x, haar), mean.element), self._density(kappa, angle)

    def log_prob(self, v: Tensor, loops: Loops) -> Tensor:
        mean = self.mean(loops)
        return self._density(self._kappa(mean), self._split(self._relative(v, mean))[0])

    @torch.no_grad()
    def slopes(self, v: Tensor, loops: Loops) -> Tensor:
        """d log q / d c_i, summed over the links of each field, [batch, loops]."""
        G, vectors = self.group, self._vectors(loops)
        mean = self._mean(vectors)
        off = G.sphere(v) - heat_mean(self._kappa(mean), self.n)[..., None] * G.sphere(mean.element)
        return torch.stack([(x * off).flatten(1).sum(1) for x in vectors], 1)

"""The heatbath-like model of a new link: U(1) and SU(2), where its normaliser has a closed form."""

import math
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.checks import Positive, Range, checked
from flowkit.groups import SUN, U1, Group
from flowkit.kernels.heat import heat_angle, heat_cdf, heat_log_norm, heat_mean
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops


class Mean(NamedTuple):
    """The length k of the weighted sum of staples, k M, and the element M of the group."""

    k: Tensor
    element: Tensor


class HeatbathConditional(LinkConditional):
    r"""The heatbath law of a new link of U(1) or SU(2), for any number of loops.

    Parameters
    ----------
    group : Group
        U(1) or SU(2).
    loops : int
        Number of loops through each link. Each has its own weight, in the order in which they come.
    strength : float
        The strength b at the start, dimensionless: the beta of the theory where all weights are 1.

    Raises
    ------
    ValueError
        For another group, no loops, or a strength that is not positive.

    Notes
    -----
    .. math:: q(V | R) \propto \exp[\tfrac{b}{N} {\rm Re\,Tr}\, V (\sum_i c_i S_i)^\dagger], \quad S_i = R_i^{-1}

    With :math:`\sum_i c_i S_i = k M`, M in the group, V = X M and a the angle of X (U(1): its modulus; SU(2):
    Tr X = 2 cos a),

    .. math::
        \log q &= b k \cos a - \log I_0(b k) && \text{U(1)} \\
        \log q &= b k \cos a - \log[2 I_1(b k) / (b k)] && \text{SU(2)}

    The map u = Y M -> V = X M replaces the angle of Y by the one with the same value of the CDF; X has the sign of Y
    (SU(2): its axis). The parameters are log b, and w with the weights c = loops softmax(w).

    References
    ----------
    Creutz, Phys. Rev. D 21 (1980) 2308; as a model of new links: arXiv:2404.10819.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.multiscale.HeatbathConditional(fk.U1(), strength=1.0)
    >>> v, loops = torch.zeros(1), (torch.zeros(1), torch.zeros(1))
    >>> model.log_prob(v, loops).detach()                                 # 2 - ln I_0(2)
    tensor([1.1760])
    """

    @checked
    def __init__(self, group: Group, loops: Annotated[int, Range(1, 1000)] = 2, strength: Positive = 1.0):
        super().__init__()
        if group not in (U1(), SUN(2)):
            raise ValueError(f"HeatbathConditional models links of U1 or SU2; got {group}.")
        self.group, self.loops = group, loops
        self.n = 2 if group.matrix_shape else 0  # Haar measure on the angle is sin^n a da
        self.log_strength = nn.Parameter(torch.tensor(math.log(strength)))
        if loops > 1:
            self.log_weights = nn.Parameter(torch.zeros(loops))

    def weights(self) -> Tensor:
        """c_i, of mean 1, [loops]."""
        if self.loops == 1:
            return torch.ones_like(self.log_strength).view(1)
        return self.loops * self.log_weights.softmax(0)

    def mean(self, loops: Loops) -> Mean:
        """k, [...], and M, a link of the group, where the density is largest; any element where k = 0."""
        if len(loops) != self.loops:
            raise ValueError(f"This model takes {self.loops} loops through each link; got {len(loops)}.")
        # An element of SU(2) is [[a, b], [-b*, a*]], and so is a real multiple of a sum of them.
        staples = torch.stack([self.group.inverse(r) for r in loops], -1)
        a, b = (staples[..., 0, i, :] for i in (0, 1)) if self.n else (staples.cos(), staples.sin())
        c = self.weights()
        a, b = (a * c).sum(-1), (b * c).sum(-1)
        square = a.real.square() + b.real.square()
        if self.n:
            square = square + a.imag.square() + b.imag.square()
        none = square <= torch.finfo(square.dtype).tiny  # False for NaN, which stays NaN
        k = torch.where(none, 1, square).sqrt()
        a, b = torch.where(none, 1, a / k), torch.where(none, 0, b / k)
        element = torch.stack([a, b, -b.conj(), a.conj()], -1).view(*k.shape, 2, 2) if self.n else torch.atan2(b, a)
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
        return self.log_strength.exp() * mean.k

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
    def score(self, v: Tensor, loops: Loops) -> Tensor:
        mean = self.mean(loops)
        kappa, angle = self._kappa(mean), self._split(self._relative(v, mean))[0]
        average = heat_mean(kappa, self.n)
        scores = [(kappa * (angle.cos() - average)).flatten(1).sum(1)]
        if self.loops > 1:
            # d(k cos a)/dc_i = (1/N) Re Tr V R_i and dk/dc_i = (1/N) Re Tr M R_i
            traces = [
                self.group.trace(self.group.compose(v, r)) - average * self.group.trace(self.group.compose(mean[1], r))
                for r in loops
            ]
            slopes = self.log_strength.exp() * torch.stack([t.flatten(1).sum(1) for t in traces], 1)
            c = self.weights()
            scores += (c * (slopes - (slopes @ c).unsqueeze(1) / self.loops)).unbind(1)
        wanted = [p.requires_grad for p in self.parameters() for _ in range(p.numel())]
        return torch.stack([s for s, want in zip(scores, wanted, strict=True) if want], 1)

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.log_strength.add_(math.log(ratio))

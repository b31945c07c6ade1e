"""A learned isotropic spectrum."""

import torch
from torch import Tensor, nn

from flowkit.lattice import momentum_squared
from flowkit.space import Space, sites
from flowkit.transforms.base import Transform


class FourierScale(Transform):
    """y(p) = g(p^2) x(p) with log g = c_0 - 1/2 log(p^2 + m2) + sum_n c_n T_n(2 p^2 / p^2_max - 1), n = 1 ... order:
    a power spectrum with a learned pole m2 = e^mu and a smooth learned correction, the same on every volume.

    Field     sites, [batch, components, *lattice]
    m2        starting mass squared, dimensionless
    Raises    ValueError for links, m2 <= 0 or order < 0
    """

    def __init__(self, space: Space, m2: float = 1.0, order: int = 3):
        super().__init__(space)
        if space.kind != "sites" or not m2 > 0 or order < 0:
            raise ValueError(f"FourierScale needs sites, m2 > 0 and order >= 0; got {space}, {m2} and {order}.")
        self.order = order
        self.log_m2 = nn.Parameter(torch.tensor(float(m2)).log())
        self.coefficients = nn.Parameter(torch.zeros(order + 1))

    def _log_gain(self) -> Tensor:
        p2 = momentum_squared(self.space.lattice, self.log_m2)
        angle = torch.acos((p2 / (2 * self.space.ndim) - 1).clamp(-1, 1))
        series = torch.stack([torch.cos(n * angle) for n in range(self.order + 1)], -1) @ self.coefficients
        return series - (p2 + self.log_m2.exp()).log() / 2

    def _multiply(self, x: Tensor, log_gain: Tensor) -> tuple[Tensor, Tensor]:
        axes = tuple(range(2, 2 + self.space.ndim))
        y = torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * log_gain.exp(), dim=axes).real
        return y, (self.space.components * log_gain.sum()).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._multiply(x, self._log_gain())

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._multiply(y, -self._log_gain())

    def rebuild(self, space: Space) -> "FourierScale":
        return FourierScale(space, order=self.order)

    @classmethod
    def example(cls) -> "FourierScale":
        return FourierScale(sites((4, 6)), m2=0.7)

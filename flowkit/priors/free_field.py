"""The exact Gaussian of the lattice Laplacian."""

import math

import torch
from torch import Tensor, nn

from flowkit.geometry.lattice import momentum_squared
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior


class FreeField(Prior):
    """r(phi) ~ exp(-phi K phi / 2) with K(p) = 2 (p^2 + m2) / s^2: the free field of the action Phi4(m2, 0),
    rescaled by s. Sampled exactly by FFT, with its exact density.

    Field     sites, [batch, components, *lattice]
    m2        mass squared, dimensionless; `learned=True` makes m2 and the scale s parameters
    Exact     flowkit.exact.free_phi_squared, flowkit.exact.free_log_z
    Raises    ValueError for links or m2 <= 0
    """

    def __init__(self, space: Space, m2: float = 1.0, learned: bool = False):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"FreeField lives on sites; got {space}.")
        if not m2 > 0:
            raise ValueError(f"FreeField needs m2 > 0; got {m2}.")
        self.log_m2 = nn.Parameter(torch.tensor(math.log(m2)), requires_grad=learned)
        self.log_scale = nn.Parameter(torch.tensor(0.0), requires_grad=learned)
        self.learned = learned

    @property
    def m2(self) -> float:
        """Mass squared, dimensionless."""
        return float(self.log_m2.detach().exp())

    def kernel(self) -> Tensor:
        """K(p) = 2 (p^2 + m2) / s^2, [*lattice]: the inverse of the two-point function."""
        p2 = momentum_squared(self.space.lattice, self.log_m2)
        return 2 * (p2 + self.log_m2.exp()) * (-2 * self.log_scale).exp()

    def _multiply(self, x: Tensor, spectrum: Tensor) -> Tensor:
        axes = tuple(range(2, 2 + self.space.ndim))
        product: Tensor = torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * spectrum, dim=axes).real
        return product

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        z = torch.randn(n, *self.space.shape, generator=self._generator(rng), dtype=self.dtype, device=self.device)
        return self._multiply(z, self.kernel().rsqrt())

    def log_prob(self, x: Tensor) -> Tensor:
        kernel = self.kernel()
        quadratic = (self.space.check(x) * self._multiply(x, kernel)).flatten(1).sum(1)
        log_norm = kernel.log().sum() - self.space.volume * math.log(2 * math.pi)
        return (self.space.components * log_norm - quadratic) / 2

    def on(self, space: Space) -> "FreeField":
        other = FreeField(space, self.m2, self.learned).to(self.anchor)
        other.load_state_dict(self.state_dict())
        return other

"""A learned isotropic spectrum, of fields and of their modes, and the zero mode alone."""

import functools
import math
from typing import Any, Self

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

    def fit(self, x: Tensor) -> Self:
        """Set the gain by maximum likelihood: x are fields of the theory, and standard normal variables should give
        fields of their two-point function G(p). Minimises sum_p [G(p) / g(p)^2 + log g(p)^2].

        x         [n, *space.shape]; a short chain does, since few numbers are fitted
        """
        axes = tuple(range(2, 2 + self.space.ndim))
        G = torch.fft.fftn(self.space.check(x.detach()), dim=axes).abs().square().mean((0, 1)) / self.space.volume
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def cost() -> Tensor:
            optimizer.zero_grad()
            log = 2 * self._log_gain()
            value: Tensor = (G.to(log) * (-log).exp() + log).mean()
            value.backward()  # type: ignore[no-untyped-call]
            return value.detach()

        with torch.enable_grad():
            optimizer.step(cost)  # type: ignore[no-untyped-call]
        return self

    def _multiply(self, x: Tensor, log_gain: Tensor) -> tuple[Tensor, Tensor]:
        axes = tuple(range(2, 2 + self.space.ndim))
        half = log_gain[..., : x.shape[-1] // 2 + 1].exp()
        y = torch.fft.irfftn(torch.fft.rfftn(x, dim=axes) * half, s=x.shape[2:], dim=axes)
        return y, (self.space.components * log_gain.sum()).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._multiply(x, self._log_gain())

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._multiply(y, -self._log_gain())

    @property
    def linear(self) -> bool:
        return True

    def transposed(self, covector: Tensor) -> Tensor:
        return self._multiply(covector, self._log_gain())[0]  # symmetric

    def rebuild(self, space: Space) -> "FourierScale":
        return FourierScale(space, order=self.order)

    @classmethod
    def example(cls) -> "FourierScale":
        return FourierScale(sites((4, 6)), m2=0.7)


class FourierModes(FourierScale):
    """y = sum_p g(p^2) z_p e_p with the real orthonormal modes e_p(x) = prod_mu [cos(p_mu x_mu) + sin(p_mu x_mu)] /
    sqrt(L_mu): the map of FourierScale from independent modes, HMC in which is Fourier-accelerated. A product of one
    matrix along each axis, it costs half of a transform there and back.

    Field     z, sites, [batch, components, *lattice], a mode in the place of each momentum p_mu = 2 pi k_mu / L_mu
    Raises    as FourierScale
    See       Batrouni et al., Phys. Rev. D 32 (1985) 2736
    """

    def _modes(self, x: Tensor) -> Tensor:
        """sum_p x_p e_p; its own inverse."""
        out: Tensor = _Modes.apply(x, self.space.lattice)  # type: ignore[no-untyped-call]
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_gain = self._log_gain()
        logdet = (self.space.components * log_gain.sum()).expand(len(x))
        return self._modes(self.space.check(x) * log_gain.exp()), logdet

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        log_gain = self._log_gain()
        logdet = (self.space.components * log_gain.sum()).expand(len(y))
        return self._modes(self.space.check(y)) * (-log_gain).exp(), -logdet

    def transposed(self, covector: Tensor) -> Tensor:
        return self._modes(covector) * self._log_gain().exp()

    def rebuild(self, space: Space) -> "FourierModes":
        return FourierModes(space, order=self.order)

    @classmethod
    def example(cls) -> "FourierModes":
        return FourierModes(sites((4, 6)), m2=0.7)


class ZeroMode(Transform):
    """y = x + (g - 1) mean(x), the mean over the lattice of each component: the magnetisation alone is scaled, with
    logdet = log g a component. HMC in x moves it g times as fast, for two sums over the lattice a force.

    Field     sites, [batch, components, *lattice]
    gain      g > 0 at the start
    Raises    ValueError for links or a gain <= 0
    See       Batrouni et al., Phys. Rev. D 32 (1985) 2736, for all modes
    """

    def __init__(self, space: Space, gain: float = 1.0):
        super().__init__(space)
        if space.kind != "sites" or not 0 < gain < math.inf:
            raise ValueError(f"ZeroMode needs sites and a gain > 0; got {space} and {gain}.")
        self.log_gain = nn.Parameter(torch.tensor(math.log(gain)))

    def fit(self, x: Tensor, frequency: float = 0.5) -> Self:
        """Set g = frequency sqrt(chi), chi that of the fields x: as slow a normal mode, dressed by all others, has
        this frequency in HMC. The others dress it only while they are faster: the nearer the frequency comes to theirs,
        the more it feels the bare force.

        x         [n, *space.shape], in equilibrium
        Raises    ValueError for a frequency <= 0
        """
        if not 0 < frequency < math.inf:
            raise ValueError(f"ZeroMode needs a frequency > 0; got {frequency!r}.")
        chi = self.space.check(x.detach()).flatten(2).mean(2).square().mean() * self.space.volume
        with torch.no_grad():
            self.log_gain.copy_(chi.log() / 2 + math.log(frequency))
        return self

    def _scale(self, x: Tensor, log_gain: Tensor) -> Tensor:
        shift = x.flatten(2).sum(2) * (log_gain.expm1() / self.space.volume)
        return x + shift.view(*shift.shape, *[1] * self.space.ndim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._scale(self.space.check(x), self.log_gain), (self.space.components * self.log_gain).expand(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._scale(self.space.check(y), -self.log_gain), (-self.space.components * self.log_gain).expand(len(y))

    @property
    def linear(self) -> bool:
        return True

    def transposed(self, covector: Tensor) -> Tensor:
        return self._scale(covector, self.log_gain)  # symmetric

    def rebuild(self, space: Space) -> "ZeroMode":
        return ZeroMode(space)

    @classmethod
    def example(cls) -> "ZeroMode":
        return ZeroMode(sites((4, 6)), gain=2.0)


class _Modes(torch.autograd.Function):
    """A symmetric orthogonal matrix along each axis: its gradient is the same product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lattice: tuple[int, ...]) -> Tensor:
        ctx.lattice = lattice
        *outer, last = (_basis(side, x.dtype, x.device) for side in lattice)
        y = (x.reshape(-1, lattice[-1]) @ last).view(x.shape)
        for axis, basis in enumerate(outer, start=2):  # all axes behind this one as one, so that nothing is moved
            y = (basis @ y.flatten(axis + 1)).view(x.shape)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Modes.apply(grads[0], ctx.lattice), None  # type: ignore[no-untyped-call]


@functools.lru_cache(maxsize=64)
def _basis(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[cos(p x) + sin(p x)] / sqrt(side), a symmetric orthogonal matrix, [side, side]; rounded once."""
    with torch.inference_mode(False):
        angle = 2 * math.pi / side * torch.outer(torch.arange(side), torch.arange(side)).double()
        return ((angle.cos() + angle.sin()) / math.sqrt(side)).to(dtype=dtype, device=device)

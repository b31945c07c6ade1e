"""A learned isotropic spectrum, of fields and of their modes, and the lowest modes alone."""

import functools
import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from flowkit.geometry.lattice import format_lattice, momentum_squared, parity as lattice_parity
from flowkit.geometry.space import Space
from flowkit.kernels.scalar_motion import FewModes
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
        known = isinstance(m2, (int, float)) and isinstance(order, int)
        if space.kind != "sites" or not known or not 0 < m2 < math.inf or order < 0:
            raise ValueError(f"FourierScale needs sites, m2 > 0 and order >= 0; got {space}, {m2!r} and {order!r}.")
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
        Raises    ValueError for a single field or fields that are all equal; TypeError or ValueError, as
                  `Space.require`
        """
        axes = tuple(range(2, 2 + self.space.ndim))
        x = _varying(self.space.require(x), type(self).__name__)
        G = torch.fft.fftn(x, dim=axes).abs().square().mean((0, 1)) / self.space.volume
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


class LowModes(Transform):
    """y = x + sum_k (g_k - 1) e_k <e_k, x>: of each component the modes with |k_mu| <= most alone are scaled. e_k are
    those of FourierModes, g_k = g(|k_1|, |k_2|, ...), logdet = sum_k log g_k. HMC in x moves them g_k times as fast,
    for two sums over the lattice a mode and a force; most = 0 is the magnetisation alone.

    Field     sites, [batch, components, *lattice], sides > 2 most
    parity    None for all sites, or 0 or 1 for the sites of this parity alone, sides even and the last one > 4 most;
              the i-th of them in a row is in the i-th place. In front of SiteConditional(moves=1) it is 0, for moves=0
              it is 1: the sites that remain are scaled, the normal numbers of the others are not
    gain      g > 0 of all of them at the start
    Raises    ValueError for links, sides that do not fit, an unknown parity or a gain <= 0
    See       Batrouni et al., Phys. Rev. D 32 (1985) 2736, for all modes
    """

    def __init__(self, space: Space, most: int = 0, parity: int | None = None, gain: float = 1.0):
        super().__init__(space)
        if space.kind != "sites" or not isinstance(gain, (int, float)) or not 0 < gain < math.inf:
            raise ValueError(f"LowModes needs sites and a gain > 0; got {space} and {gain!r}.")
        if parity not in (None, 0, 1) or (parity is not None and any(side % 2 for side in space.lattice)):
            raise ValueError(
                f"LowModes acts on all sites or, of even sides, on parity 0 or 1; got {space}, {parity!r}."
            )
        places = space.lattice if parity is None else (*space.lattice[:-1], space.lattice[-1] // 2)
        if not isinstance(most, int) or not 0 <= 2 * most < min(places):
            raise ValueError(f"LowModes on {format_lattice(places)} places needs 0 <= 2 most < sides; got {most!r}.")
        self.most, self.parity = most, parity
        self.log_gain = nn.Parameter(torch.full([most + 1] * space.ndim, math.log(gain)))

    def _scaled(self, change: Callable[[Tensor], Tensor]) -> FewModes:
        """The map that multiplies mode k by 1 + change(log g_k)."""
        own = torch.arange(-self.most, self.most + 1, device=self.log_gain.device).abs()
        factor: Tensor = change(self.log_gain)
        for axis in range(self.space.ndim):
            factor = factor.index_select(axis, own)
        modes = _low_modes(self.space.lattice, self.most, self.parity, factor.dtype, factor.device)
        return FewModes(*modes, factor.reshape(len(modes[0]), len(modes[1])), self.parity)

    @torch.no_grad()
    def fit(self, x: Tensor, frequency: float = 0.5) -> Self:
        """Set g_k = max(1, frequency sqrt(G_k)), G_k the mean square of mode k, and of all signs of k, in the fields x:
        as slow a normal mode, dressed by all others, has this frequency in HMC. The others dress it only while they are
        faster: the nearer the frequency comes to theirs, the more it feels the bare force.

        x         [n, *space.shape], in equilibrium
        Raises    ValueError for a frequency <= 0, for a single field or fields that are all equal; TypeError or
                  ValueError, as `Space.require`
        """
        if not isinstance(frequency, (int, float)) or not 0 < frequency < math.inf:
            raise ValueError(f"LowModes needs a frequency > 0; got {frequency!r}.")
        flat = _varying(self.space.require(x), "LowModes").to(self.log_gain).flatten(2)
        G = (
            (flat @ self._scaled(torch.exp).products.T)
            .square()
            .mean((0, 1))
            .view([2 * self.most + 1] * self.space.ndim)
        )
        for axis in range(self.space.ndim):
            G = (G + G.flip(axis)).narrow(axis, self.most, self.most + 1) / 2
        self.log_gain.copy_((frequency * G.sqrt()).clamp(min=1).log())
        return self

    def _logdet(self, x: Tensor) -> Tensor:
        copies = self.log_gain.new_full([self.most + 1], 2.0)
        copies[0] = 1.0
        total: Tensor = self.log_gain
        for _ in range(self.space.ndim):
            total = copies @ total
        return (self.space.components * total).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._scaled(torch.expm1)(self.space.check(x)), self._logdet(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._scaled(lambda log: torch.expm1(-log))(self.space.check(y)), -self._logdet(y)

    @property
    def linear(self) -> bool:
        return True

    def transposed(self, covector: Tensor) -> Tensor:
        return self._scaled(torch.expm1)(covector)  # symmetric

    @torch.no_grad()
    def inverse_mass(self) -> FewModes:
        return self._scaled(lambda log: torch.expm1(2 * log))

    def extra_repr(self) -> str:
        least, largest = (f"{float(gain.detach().exp()):.3g}" for gain in self.log_gain.aminmax())
        gains = f"all gains {least}" if least == largest else f"gains {least} to {largest}"
        return f"most={self.most}, parity={self.parity}, {gains}"

    def rebuild(self, space: Space) -> "LowModes":
        return LowModes(space, self.most, self.parity)


def _varying(x: Tensor, who: str) -> Tensor:
    """Fields that gains can be fitted to, [n, ...].

    Raises    ValueError for fewer than two, or where all are equal
    """
    x = x.detach()
    if len(x) < 2 or not (x != x[0]).any():
        got = f"{len(x)} of them" if len(x) < 2 else f"{len(x)} that are all equal"
        raise ValueError(
            f"{who}.fit needs at least two fields, which vary as those of a chain in equilibrium; got {got}."
        )
    return x


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
def _low_modes(
    lattice: tuple[int, ...], most: int, parity: int | None, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Modes -most ... most of all axes but the last, [K, rows], and of the last one, [L, places], and their products at
    all sites, [K L, volume].
    """
    with torch.inference_mode(False):
        own = torch.arange(-most, most + 1, device=device)
        outer = torch.ones(1, 1, dtype=dtype, device=device)
        for side in lattice[:-1]:
            outer = torch.kron(outer, _basis(side, dtype, device)[own % side])
        places = lattice[-1] if parity is None else lattice[-1] // 2
        inner = _basis(places, dtype, device)[own % places]
        products = torch.kron(outer, inner)
        if parity is not None:
            acts = (lattice_parity(lattice) == parity).to(device)
            products = products.new_zeros(len(products), len(acts)).masked_scatter(acts, products)
        return outer, inner, products


@functools.lru_cache(maxsize=64)
def _basis(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[cos(p x) + sin(p x)] / sqrt(side), a symmetric orthogonal matrix, [side, side]; rounded once."""
    with torch.inference_mode(False):
        angle = 2 * math.pi / side * torch.outer(torch.arange(side), torch.arange(side)).double()
        return ((angle.cos() + angle.sin()) / math.sqrt(side)).to(dtype=dtype, device=device)

"""A learned isotropic spectrum, of fields and of their modes, and the lowest modes alone."""

import functools
import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from flowkit.geometry.lattice import format_lattice, momentum_squared, parity as lattice_parity
from flowkit.geometry.space import Space
from flowkit.kernels.scalar_motion import FewModes
from flowkit.transforms.base import Transform


class FourierScale(Transform):
    r"""A learned isotropic spectrum: every Fourier mode of a field is scaled by a function of its lattice momentum.

    .. math::

        y(p) = g(\hat p^2)\, x(p), \qquad
        \log g = c_0 - \tfrac12 \log(\hat p^2 + m^2) + \sum_{n=1}^{\text{order}} c_n T_n(2 \hat p^2 / \hat p^2_\max - 1)

    with Chebyshev polynomials :math:`T_n`. The pole :math:`m^2 = e^\mu` and the coefficients c are learned; they have
    the same meaning on every lattice. White noise followed by this map is a free field with a smooth correction.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    m2 : float
        Mass squared at the start, positive, in units of the inverse lattice spacing squared.
    order : int
        Number of Chebyshev polynomials beyond the constant, 0 or more.

    Raises
    ------
    ValueError
        For links, m2 that is not positive, or a negative order.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> scale = fk.transforms.FourierScale(fk.sites((8, 8)), m2=0.5)
    >>> x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    >>> y, logdet = scale(x)
    >>> bool(torch.allclose(scale.inverse(y)[0], x, atol=1e-5))
    True
    >>> scale.fit(y)                        # maximum likelihood for fields such as y
    FourierScale()
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

    def gain(self) -> Tensor:
        """g at each momentum, [*lattice]."""
        return self._log_gain().exp()

    def fit(self, x: Tensor) -> Self:
        r"""Set the gain by maximum likelihood, so that standard normal variables give fields like x.

        Minimises :math:`\sum_p [ G(p) / g(p)^2 + \log g(p)^2 ]` with the two-point function G(p) of the fields x. Few
        numbers are fitted, so that a short chain is enough.

        Parameters
        ----------
        x : Tensor
            Fields of the theory in equilibrium, ``[n, *space.shape]``, n >= 2.

        Returns
        -------
        FourierScale
            This transform.

        Raises
        ------
        TypeError, ValueError
            For fields of another space, a single field, fields that are all equal, or NaN and infinity.
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

    def rebuild(self, space: Space) -> "FourierScale":
        return FourierScale(space, order=self.order)


class FourierModes(FourierScale):
    r"""Independent Fourier modes as the variables of a field, scaled by a learned isotropic spectrum.

    .. math::

        y = \sum_p g(\hat p^2)\, z_p\, e_p, \qquad
        e_p(x) = \prod_\mu \frac{\cos(p_\mu x_\mu) + \sin(p_\mu x_\mu)}{\sqrt{L_\mu}}

    The modes :math:`e_p` are real and orthonormal (a Hartley transform); g is that of `FourierScale`. HMC in the
    variables z is Fourier-accelerated HMC. The map is a product with one matrix along each axis, which costs half of a
    Fourier transform and its inverse.

    Parameters
    ----------
    space : Space
        Sites. The variables z are fields ``[batch, components, *lattice]`` that hold the mode of momentum
        :math:`p_\mu = 2 \pi k_\mu / L_\mu` in the place k.
    m2, order
        As in `FourierScale`.

    Raises
    ------
    ValueError
        As `FourierScale`.

    References
    ----------
    G. G. Batrouni et al., Phys. Rev. D 32 (1985) 2736.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((8, 8)), m2=-0.5, lam=0.5)
    >>> modes = fk.transforms.FourierModes(action.space, m2=0.5)
    >>> accelerated = fk.HMC(action.pullback(modes))      # chains in z, fields of the theory are stored
    """

    def modes(self, x: Tensor) -> Tensor:
        """sum_p x_p e_p of fields [batch, *space.shape]: a symmetric orthogonal map, its own inverse."""
        out: Tensor = _Modes.apply(x, self.space.lattice)  # type: ignore[no-untyped-call]
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_gain = self._log_gain()
        logdet = (self.space.components * log_gain.sum()).expand(len(x))
        return self.modes(self.space.check(x) * log_gain.exp()), logdet

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        log_gain = self._log_gain()
        logdet = (self.space.components * log_gain.sum()).expand(len(y))
        return self.modes(self.space.check(y)) * (-log_gain).exp(), -logdet

    def rebuild(self, space: Space) -> "FourierModes":
        return FourierModes(space, order=self.order)


class LowModes(Transform):
    r"""Scales the modes of longest wavelength of a field and leaves the others as they are.

    .. math:: y = x + \sum_k (g_k - 1)\, e_k \langle e_k, x \rangle, \qquad |k_\mu| \le \text{most}

    with the modes of `FourierModes` and gains :math:`g_k = g(|k_1|, |k_2|, \ldots)`. HMC in x moves these modes
    :math:`g_k` times as fast, for two sums over the lattice a mode and a force. ``most=0`` is the magnetisation alone.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``, every side above ``2 * most``.
    most : int
        Largest wave number that is scaled.
    parity : {None, 0, 1}
        None for all sites, or the sites of this parity alone; the sides are then even and the last one is above
        ``4 * most``. The i-th site of that parity in a row takes the i-th place of the mode. In front of
        ``SiteConditional(moves=1)`` take 0, for ``moves=0`` take 1: the sites that remain in the theory are scaled, the
        normal variables of the others are not.
    gain : float
        Gain of all these modes at the start, positive.

    Raises
    ------
    ValueError
        For links, sides that do not fit, an unknown parity, or a gain that is not positive.

    References
    ----------
    G. G. Batrouni et al., Phys. Rev. D 32 (1985) 2736, who scale all modes.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> low = fk.transforms.LowModes(fk.sites((4, 4)), most=0, gain=2.0)
    >>> low(torch.ones(1, 1, 4, 4))[0].mean().item()      # the magnetisation is doubled
    2.0
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

    def scaled(self, power: int) -> FewModes:
        """The symmetric linear map that multiplies mode k by g_k^power."""
        own = torch.arange(-self.most, self.most + 1, device=self.log_gain.device).abs()
        factor = torch.expm1(power * self.log_gain)
        for axis in range(self.space.ndim):
            factor = factor.index_select(axis, own)
        modes = _low_modes(self.space.lattice, self.most, self.parity, factor.dtype, factor.device)
        return FewModes(*modes, factor.reshape(len(modes[0]), len(modes[1])), self.parity)

    @torch.no_grad()
    def fit(self, x: Tensor, frequency: float = 0.5) -> Self:
        r"""Set the gains from fields in equilibrium, so that the slowest modes of HMC get one frequency.

        :math:`g_k = \max(1, \omega \sqrt{G_k})` with the mean square :math:`G_k` of mode k over the fields x and over
        the signs of k. A harmonic mode of variance :math:`G_k` then has the frequency :math:`\omega` in HMC. Faster
        modes renormalise the force on slower ones only while their frequencies are well above :math:`\omega`.

        Parameters
        ----------
        x : Tensor
            Fields in equilibrium, ``[n, *space.shape]``, n >= 2.
        frequency : float
            The frequency, positive, in units of the inverse simulation time.

        Returns
        -------
        LowModes
            This transform.

        Raises
        ------
        TypeError, ValueError
            For a frequency that is not positive, fields of another space, a single field, fields that are all equal,
            or NaN and infinity.
        """
        if not isinstance(frequency, (int, float)) or not 0 < frequency < math.inf:
            raise ValueError(f"LowModes needs a frequency > 0; got {frequency!r}.")
        flat = _varying(self.space.require(x), "LowModes").to(self.log_gain).flatten(2)
        G = (flat @ self.scaled(1).products.T).square().mean((0, 1)).view([2 * self.most + 1] * self.space.ndim)
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
        return self.scaled(1)(self.space.check(x)), self._logdet(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.scaled(-1)(self.space.check(y)), -self._logdet(y)

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

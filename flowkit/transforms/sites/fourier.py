"""A learned isotropic spectrum, of fields and of their modes."""

import functools
import math
from typing import Annotated, Any, Self

import torch
from torch import Tensor, nn

from flowkit.checks import Positive, Range, checked
from flowkit.geometry.lattice import momentum_squared
from flowkit.geometry.space import Space
from flowkit.kernels.native import kept_on_cpu
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

    @checked
    def __init__(self, space: Space, m2: Positive = 1.0, order: Annotated[int, Range(0, 1000)] = 3):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"{type(self).__name__} lives on sites; got {space}.")
        self.order = order
        self.log_m2 = nn.Parameter(torch.tensor(m2).log())
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
        x = varying(self.space.require(x), type(self).__name__)
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


def varying(x: Tensor, who: str) -> Tensor:
    """Fields that gains can be fitted to, ``[n, ...]``.

    Raises
    ------
    ValueError
        For fewer than two, or fields that are all equal.
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
        *outer, last = (hartley_basis(side, x.dtype, x.device) for side in lattice)
        y = (x.reshape(-1, lattice[-1]) @ last).view(x.shape)
        for axis, basis in enumerate(outer, start=2):  # all axes behind this one as one, so that nothing is moved
            y = (basis @ y.flatten(axis + 1)).view(x.shape)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Modes.apply(grads[0], ctx.lattice), None  # type: ignore[no-untyped-call]


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def hartley_basis(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[cos(p x) + sin(p x)] / sqrt(side), a symmetric orthogonal matrix, [side, side]; rounded once."""
    angle = 2 * math.pi / side * torch.outer(torch.arange(side), torch.arange(side)).double()
    return ((angle.cos() + angle.sin()) / math.sqrt(side)).to(dtype=dtype, device=device)

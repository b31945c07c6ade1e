"""The modes of longest wavelength of a field, scaled alone."""

import functools
import math
from typing import Self

import torch
from torch import Tensor, nn

from flowkit.checks import Natural, Parity, Positive, checked
from flowkit.geometry.lattice import format_lattice, parity as lattice_parity
from flowkit.geometry.space import Space
from flowkit.kernels.native import kept_on_cpu
from flowkit.kernels.scalar_motion import FewModes
from flowkit.transforms.base import Transform
from flowkit.transforms.sites.fourier import hartley_basis, varying


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

    @checked
    def __init__(self, space: Space, most: Natural = 0, parity: Parity | None = None, gain: Positive = 1.0):
        super().__init__(space)
        if space.kind != "sites" or (parity is not None and any(side % 2 for side in space.lattice)):
            raise ValueError(f"LowModes acts on sites and, for one parity of them, needs even sides; got {space}.")
        places = space.lattice if parity is None else (*space.lattice[:-1], space.lattice[-1] // 2)
        if 2 * most >= min(places):
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
        flat = varying(self.space.require(x), "LowModes").to(self.log_gain).flatten(2)
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


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def _low_modes(
    lattice: tuple[int, ...], most: int, parity: int | None, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Modes -most ... most of all axes but the last, [K, rows], and of the last one, [L, places], and their products at
    all sites, [K L, volume].
    """
    own = torch.arange(-most, most + 1, device=device)
    outer = torch.ones(1, 1, dtype=dtype, device=device)
    for side in lattice[:-1]:
        outer = torch.kron(outer, hartley_basis(side, dtype, device)[own % side])
    places = lattice[-1] if parity is None else lattice[-1] // 2
    inner = hartley_basis(places, dtype, device)[own % places]
    products = torch.kron(outer, inner)
    if parity is not None:
        acts = (lattice_parity(lattice) == parity).to(device)
        products = products.new_zeros(len(products), len(acts)).masked_scatter(acts, products)
    return outer, inner, products

"""The free photon on lifts: the Gaussian of non-compact U(1) links, with its fluxes and monopoles."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor

from flowkit.checks import Positive, Range, checked
from flowkit.geometry import forms
from flowkit.geometry.lattice import momentum_squared
from flowkit.geometry.lift import require_lifts
from flowkit.geometry.settings import settings
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior, Sample
from flowkit.priors.monopoles import DipoleGas, MonopoleGas, PlaquetteGas
from flowkit.tasks.randomness import Rng

TWO_PI = 2 * math.pi
Nats = Annotated[float, Range(-20, 20)]
MOST_NATS = 45.0
"""Fluxes that are less frequent than e^-45 are left out: they are below rounding."""


class LiftedPhoton(Prior):
    r"""Free photons as lifts of U(1) links: real links and whole numbers, with monopoles at their boundary.

    .. math::

        x = dA + 2\pi n = d a + 2\pi n' + 2\pi \Big(h + \frac{f}{L_\mu L_\nu}\Big), \qquad
        r \propto e^{-\frac{b}{2} \sum_P x_P^2}

    a is a transverse Gaussian field, drawn by a Fourier transform, f are the integer fluxes through the planes, and n'
    and h the coexact and constant parts of the Dirac plaquettes. Constant links (torons) are uniform, and a Haar gauge
    transformation is made.

    Parameters
    ----------
    space : Space
        Lifts, of `flowkit.geometry.lifts`.
    b : float
        Coupling of the Gaussian, positive.
    monopoles : float, optional
        Coupling b_m of the gas of monopoles, in three and more dimensions. Without it none are drawn.
    core, tension : float
        Corrections of that gas in nats: how much more frequent a pair of neighbours (in four dimensions, a smallest
        loop) is, and how much less frequent a pair is for each further step between its ends, in three dimensions.

    Raises
    ------
    ValueError
        For another space, monopoles in two dimensions, or more than 10 pairs of them in three; from `log_prob`.

    Notes
    -----
    .. math:: \log r = -\frac{b}{2} \sum_P x_P^2 + \ln P(n) + 2 \pi^2 b\, |n'|^2 - \ln \Theta(h) - \ln Z_A

    with P(n) the probability of the surface over that of the surface for its boundary, :math:`\Theta` the sum over the
    fluxes and, in normalised Haar measure,

    .. math:: \ln Z_A = \tfrac12 \ln \tau + \sum_\mu \ln \frac{2 \pi \sqrt V}{L_\mu}
              + \frac{d - 1}{2} {\sum_p}' \ln \frac{2 \pi}{b\, \hat p^2} - (d V - V + 1) \ln 2 \pi, \qquad
              \tau = {\prod_p}' \hat p^2 / V.

    The density of a lift alone is not computed: the prior is `stochastic`.

    See Also
    --------
    FreePhoton : the links of these lifts.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import lifts
    >>> prior = fk.priors.LiftedPhoton(lifts(fk.links((4, 4, 4), fk.U1())), b=2.0, monopoles=1.0)
    >>> y, logr = prior.sample_and_log_prob(5, 1)
    >>> y.shape, logr.shape
    (torch.Size([5, 6, 4, 4, 4]), torch.Size([5]))
    """

    fluxes: Tensor
    corners: Tensor

    @checked
    def __init__(
        self,
        space: Space,
        b: Positive,
        monopoles: Positive | None = None,
        core: Nats = 0.0,
        tension: Nats = 0.0,
    ):
        super().__init__(space)
        require_lifts("LiftedPhoton", space)
        require_room(space, monopoles)
        self.b, self.monopoles, self.core, self.tension = b, monopoles, core, tension
        self.gas: MonopoleGas | None = None
        if monopoles is not None:
            self.gas = (DipoleGas if space.ndim == 3 else PlaquetteGas)(space.lattice, monopoles, core, tension)
        units = forms.unit_fluxes(space.lattice, torch.zeros((), dtype=torch.float64))
        turns = -(forms.plaquette_sums(units) / TWO_PI).round()  # the plaquettes in the corner, a turn short
        self.register_buffer("fluxes", units.to(self.dtype), persistent=False)
        self.register_buffer("corners", turns.to(self.dtype), persistent=False)
        self.areas = [space.lattice[mu] * space.lattice[nu] for mu, nu in space.planes]
        stiffness = 2 * math.pi**2 * b * space.volume / max(self.areas) ** 2
        self.most = 2 + math.ceil(math.sqrt(MOST_NATS / stiffness))  # of each flux
        self.log_z = self._log_z_transverse()

    def _log_z_transverse(self) -> float:
        """ln Z_A, of all fields without flux and monopoles, in Haar measure."""
        d, volume = self.space.ndim, self.space.volume
        p2 = momentum_squared(self.space.lattice, torch.zeros((), dtype=torch.float64)).flatten()[1:]
        log_tau = float(p2.log().sum()) - math.log(volume)
        torons = sum(math.log(TWO_PI * math.sqrt(volume) / side) for side in self.space.lattice)
        waves = float((TWO_PI / (self.b * p2)).log().sum())
        return log_tau / 2 + torons + (d - 1) / 2 * waves - (d * volume - volume + 1) * math.log(TWO_PI)

    @property
    def stochastic(self) -> bool:
        """True: log r belongs to what was drawn, and not to a lift alone."""
        return True

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        return self.sample_and_log_prob(n, rng).x

    def sample_and_log_prob(self, n: int, rng: Rng = None) -> Sample:
        """n independent lifts, ``[n, *space.shape]``, and log r, ``[n]``."""
        rng, space = self._draws(n, rng), self.space
        dtype, device, planes = self.dtype, self.device, len(space.planes)
        inverse = forms.inverse_laplacian(space.lattice, self.anchor)
        noise = torch.randn(n, planes, *space.lattice, generator=rng, dtype=dtype, device=device) / math.sqrt(self.b)
        links = forms.multiply_spectrum(forms.plaquette_sums_transposed(noise, space.ndim), inverse)
        logs, constant = torch.zeros(n, dtype=dtype, device=device), torch.zeros(n, planes, dtype=dtype, device=device)
        turns = torch.zeros(n, planes, *space.lattice, dtype=dtype, device=device)
        if self.gas is not None:
            turns, gas = (t.to(self.dtype) for t in self.gas.draw(n, rng))
            string = forms.multiply_spectrum(forms.plaquette_sums_transposed(turns, space.ndim), inverse)
            constant = turns.flatten(2).mean(2)
            rest = turns - forms.plaquette_sums(string) - constant.view(n, -1, *[1] * space.ndim)
            links = links - TWO_PI * string
            logs = gas + 2 * math.pi**2 * self.b * rest.square().flatten(1).sum(1)
        flux, log_theta = self._flux(constant, rng)
        links = links + torch.tensordot(flux, self.fluxes, 1)
        turns = turns + torch.tensordot(flux, self.corners, 1)
        x = forms.plaquette_sums(links) + TWO_PI * turns
        links = links + TWO_PI * torch.rand(n, space.ndim, *[1] * space.ndim, generator=rng, dtype=dtype, device=device)
        gauge = TWO_PI * torch.rand(n, 1, *space.lattice, generator=rng, dtype=dtype, device=device)
        links = links + gauge - torch.cat([torch.roll(gauge, -1, 2 + mu) for mu in range(space.ndim)], 1)
        logr = logs - log_theta - self.log_z - self.b / 2 * x.square().flatten(1).sum(1)
        return Sample(torch.cat([links, turns], 1), logr)

    def _flux(self, constant: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Integer fluxes, ``[n, planes]``, beside the constant parts of the surfaces, and ln Theta, ``[n]``."""
        logs = self._log_fluxes(constant)
        chosen = torch.multinomial(torch.softmax(logs, 2).flatten(0, 1), 1, generator=rng).view(constant.shape)
        return (chosen - self.most).to(constant), torch.logsumexp(logs, 2).sum(1)

    def _log_fluxes(self, constant: Tensor) -> Tensor:
        """Minus the energy of each flux from -most to most, ``[n, planes, fluxes]``."""
        numbers = torch.arange(-self.most, self.most + 1, dtype=constant.dtype, device=constant.device)
        angles = TWO_PI * (constant[..., None] + numbers / constant.new_tensor(self.areas)[:, None])
        return -self.b / 2 * self.space.volume * angles.square()

    def log_norm(self) -> float:
        """ln of the sum over all fields without monopoles, ln Theta + ln Z_A."""
        logs = self._log_fluxes(torch.zeros(1, len(self.space.planes), dtype=torch.float64))
        return float(torch.logsumexp(logs, 2).sum()) + self.log_z

    def log_prob(self, x: Tensor) -> Tensor:
        """Raises ValueError: log r belongs to what was drawn."""
        raise ValueError("LiftedPhoton knows the log-density of its own draws alone, and has no log_prob.")

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **settings(self, "space")}


def require_room(space: Space, monopoles: float | None) -> None:
    """Raise ValueError for monopoles in fewer than three dimensions."""
    if monopoles is not None and space.ndim < 3:
        raise ValueError(f"Monopoles need three or more dimensions; got {space}.")

"""The sites of one parity from their exact conditional distribution given the others, and the theory that remains."""

import math

import torch
from torch import Tensor

from flowkit.actions import Action, Pullback, ScalarAction, closed_form
from flowkit.checks import Parity, checked
from flowkit.geometry.lattice import parity
from flowkit.geometry.space import Space
from flowkit.kernels import site_conditional
from flowkit.kernels.scalar_action import neighbours
from flowkit.kernels.site import site
from flowkit.transforms.base import Transform

FARTHEST = 9.0
"""Largest |z|, once in 10^18 draws, that the quantiles are found again for."""


class SiteConditional(Transform):
    r"""Draws the sites of one parity from their exact conditional distribution given their neighbours.

    .. math::

        y_\text{active} = F^{-1}(\Phi(z) \,|\, J), \qquad
        p(x | J) = e^{-a x^2 - g x^4 + J x} / Z(J), \qquad J = h \sum_\text{neighbours} \phi

    F is the distribution function of p and :math:`\Phi` that of a standard normal variable; frozen sites stay. No
    checkerboard coupling can do better, and nothing is trained. Pulled back through this map the action is

    .. math::

        S'(z) = \sum_\text{frozen} (a z^2 + g z^4) - \sum_\text{active} \log Z(J)
                + \sum_\text{active} (z^2 + \log 2\pi)/2 + c\,V.

    The active sites are integrated out: HMC moves the other parity alone, whose theory has fewer modes of short
    wavelength. ``action.pullback(transform)`` returns this closed form.

    Parameters
    ----------
    action : ScalarAction
        :math:`S = \sum_x [ -h \sum_\mu \phi_{x+\mu} \phi_x + a \phi^2 + g \phi^4 + c ]` on even sides, such as `Phi4`.
    moves : {0, 1}
        Parity of the active sites.

    Raises
    ------
    TypeError
        For another action.
    ValueError
        For odd sides, an unknown parity, or a site distribution that cannot be normalised or tabulated: a barrier
        :math:`a^2 / 4g` above about 1.5, or very large fields. `inverse` raises it for a field that has
        :math:`|z| > 9` at a site, which happens once in :math:`10^{18}` draws.

    Notes
    -----
    The tables end at a largest \|J\|, which fields of the theory pass with a probability of :math:`e^{-40}` a site.
    Beyond it the map takes the nearest J of the table. It stays exactly invertible with its own log-Jacobian, but is no
    longer the conditional distribution, and the closed form of S' is no longer its pullback.

    References
    ----------
    M. Luescher, arXiv:0907.5491 (trivializing maps); D. Albandea et al., arXiv:2302.08408 (checkerboard couplings).

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((8, 8)), m2=-0.5, lam=0.5)
    >>> transform = fk.transforms.SiteConditional(action)
    >>> hmc = fk.HMC(action.pullback(transform))          # HMC of one parity
    """

    @checked
    def __init__(self, action: ScalarAction, moves: Parity = 1):
        super().__init__(action.space)
        parity(action.space.lattice)  # which asks for even sides
        h, a, g, _ = action.coefficients
        self.action, self.moves = action, moves
        self.site = site(h, a, g, self.space.ndim)

    def _split(self, x: Tensor) -> tuple[site_conditional.Sublattice, Tensor, Tensor]:
        """Where the active sites are, their fields and J in the domain, each [batch, components, volume / 2]."""
        where = site_conditional.sublattice(self.space.lattice, self.moves, self.space.check(x).device)
        J = site_conditional.source(x, self.site, where).clamp(-self.site.most, self.site.most)
        return where, x.flatten(2).index_select(2, where.active), J

    def _join(self, x: Tensor, where: site_conditional.Sublattice, active: Tensor) -> Tensor:
        return x.flatten(2).index_copy(2, where.active, active).view(x.shape)

    def _log_slope(self, z: Tensor, y: Tensor, J: Tensor) -> Tensor:
        """log |det dy/dz|, [batch]."""
        return -(z * z / 2 + math.log(2 * math.pi) / 2 + self.site.log_density(y, J)).flatten(1).sum(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        graph = torch.is_grad_enabled() and x.requires_grad
        if site_conditional.native(self.space.check(x)) and x.dtype == torch.float32 and not graph:
            return site_conditional.quantile(x, self.site, self.moves)  # as precise as the table
        where, z, J = self._split(x)
        y = self.site.quantile(z, J)
        return self._join(x, where, y), self._log_slope(z, y, J)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        where, own, J = self._split(y)
        z = self.site.normal(own, J)
        bad = own.isfinite() & J.isfinite() & ~(z.abs() <= FARTHEST)  # a NaN that came in goes out as one
        if y.is_cpu and bad.any():  # elsewhere nothing waits for the device, and they become NaN
            raise ValueError(
                f"SiteConditional.inverse needs fields that the theory can draw, |z| <= {FARTHEST:g}; got a site with "
                f"phi = {float(own[bad][0]):.3g} at J = {float(J[bad][0]):.3g}."
            )
        z = torch.where(bad, math.nan, z)
        return self._join(y, where, z), -self._log_slope(z, own, J)

    def extra_repr(self) -> str:
        return f"{self.action!r}, moves={self.moves}"

    def rebuild(self, space: Space) -> "SiteConditional":
        other = self.action.on(space)
        assert isinstance(other, ScalarAction)
        return SiteConditional(other, self.moves)


class SitesIntegrated(Pullback):
    r"""The action that remains when the sites of one parity are integrated out: the pullback of `SiteConditional`.

    Independent normal variables stand in the places of the integrated sites.

    Parameters
    ----------
    action : ScalarAction
        The action of all sites.
    transform : SiteConditional
        The map that draws one parity of them.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((4, 4)), m2=0.5, lam=0.5)
    >>> transform = fk.transforms.SiteConditional(action)
    >>> type(action.pullback(transform)).__name__
    'SitesIntegrated'
    """

    action: ScalarAction
    transform: SiteConditional

    @checked
    def __init__(self, action: ScalarAction, transform: SiteConditional):
        super().__init__(action, transform)
        self.site, self.moves = transform.site, transform.moves
        own = self.space.dof / 2 * math.log(2 * math.pi) / 2
        self._constant = own + action.coefficients[3] * self.space.dof

    def __call__(self, z: Tensor) -> Tensor:
        return site_conditional.action(self.space.check(z), self.site, self.moves) + self._constant

    def force(self, z: Tensor) -> Tensor:
        where = site_conditional.sublattice(self.space.lattice, self.moves, z.device)
        means = torch.zeros_like(z).flatten(2)
        means = means.index_copy(2, where.active, self.site.mean(site_conditional.source(z, self.site, where)))
        h, a, g, _ = self.action.coefficients
        through = h * neighbours(means.view(z.shape)) - z * (2 * a + 4 * g * z * z)
        own = -z.flatten(2).index_select(2, where.active)
        return through.flatten(2).index_copy(2, where.active, own).view(z.shape)


@closed_form.register
def _(transform: SiteConditional, action: Action) -> Pullback | None:
    """Its own action with the active sites integrated out; None for another action."""
    own = transform.action
    same = type(action) is type(own) and action.space == transform.space and own.plain
    return SitesIntegrated(own, transform) if same and action.parameters == own.parameters else None

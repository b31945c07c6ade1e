"""The sites of one parity from their exact conditional distribution given the others, and the theory that remains."""

import math

import torch
from torch import Tensor

from flowkit.actions import ScalarAction
from flowkit.actions.base import Action, Pullback, Turns
from flowkit.geometry.lattice import parity
from flowkit.geometry.space import Space
from flowkit.kernels import scalar_motion, site_conditional
from flowkit.kernels.scalar_action import neighbours
from flowkit.kernels.site import site
from flowkit.transforms.base import Transform

FARTHEST = 9.0
"""Largest |z|, once in 10^18 draws, that the quantiles are found again for."""


class SiteConditional(Transform):
    """y_active = X(z; J) with F(X | J) = Phi(z); y_frozen = z_frozen. F is the distribution function of a site given
    its neighbours, p(x | J) = exp(-a x^2 - g x^4 + J x) / Z(J), J = h sum of the neighbours' fields, and Phi that of a
    standard normal number. No coupling of a checkerboard can do better; pulled back through it the action is

        S'(z) = sum_frozen [ a z^2 + g z^4 ] - sum_active log Z(J) + sum_active [ z^2 + log 2 pi ] / 2 + c volume,

    the active sites are integrated out, and HMC moves the theory of the others alone, which has fewer short modes for
    the long ones to drag along. `action.pullback` returns it in this form.

    Tables end at |J| = site.most, which fields of the theory pass with a probability of e^-40 a site. Behind it the map
    takes the nearest J of the table: with its inverse and log-Jacobian it stays exact as a map, but it is no longer the
    conditional, and the closed form of S', which goes on with its fit of Z, no longer the pullback.

    Field     sites, [batch, components, *lattice], even sides
    action    of scalar fields, S = sum_x [ -h sum_mu phi_{x+mu} phi_x + a phi^2 + g phi^4 + c ]
    moves     parity of the active sites, 0 or 1
    Raises    TypeError for another action; ValueError for odd sides, an unknown parity, or a site whose distribution
              cannot be normalised or tabled: a barrier a^2 / 4 g of more than about 1.5, very large fields;
              `inverse` ValueError for a field that a site has with |z| > 9 only, once in 10^18 draws
    See       Luescher, 0907.5491, for trivializing maps; Albandea et al., 2302.08408, for couplings of checkerboards
    """

    def __init__(self, action: ScalarAction, moves: int = 1):
        if not isinstance(action, ScalarAction):
            raise TypeError(f"SiteConditional needs an action of scalar fields such as Phi4; got {action!r}.")
        if moves not in (0, 1):
            raise ValueError(f"SiteConditional moves the sites of parity 0 or 1; got {moves!r}.")
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
        if bad.any():
            raise ValueError(
                f"SiteConditional.inverse needs fields that the theory can draw, |z| <= {FARTHEST:g}; got a site with "
                f"phi = {float(own[bad][0]):.3g} at J = {float(J[bad][0]):.3g}."
            )
        return self._join(y, where, z), -self._log_slope(z, own, J)

    def pulled_back(self, action: Action) -> Pullback | None:
        """Its own action with the active sites integrated out; None for another action."""
        same = type(action) is type(self.action) and action.space == self.space and self.action.plain
        return SitesIntegrated(self.action, self) if same and action.parameters == self.action.parameters else None

    def extra_repr(self) -> str:
        return f"{self.action!r}, moves={self.moves}"

    def rebuild(self, space: Space) -> "SiteConditional":
        other = self.action.on(space)
        assert isinstance(other, ScalarAction)
        return SiteConditional(other, self.moves)


class SitesIntegrated(Pullback):
    """S'(z) of `SiteConditional`: the sites of one parity are integrated out and independent normal numbers stand in
    their places. A trajectory of HMC is one call of a C kernel on a CPU.
    """

    action: ScalarAction
    transform: SiteConditional

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

    def motion(self, x: Tensor, p: Tensor, turns: Turns) -> tuple[Tensor, Tensor]:
        if not scalar_motion.native(x, p, turns.mass, 1 - self.moves):
            return super().motion(x, p, turns)
        couplings = self.action.coefficients[:3]
        return scalar_motion.motion(x, p, *turns[:3], couplings, turns.mass, (self.site, self.moves))

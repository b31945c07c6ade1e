"""Two-dimensional gauge theory drawn exactly. No flow: nothing in it is learned."""

import math
from typing import Any

import torch
from torch import Tensor

from flowkit.actions.wilson import Wilson
from flowkit.checks import NotNegative, checked
from flowkit.geometry import loops
from flowkit.geometry.space import Space
from flowkit.groups.rejection import first_accepted
from flowkit.priors.base import Prior
from flowkit.priors.bridge import Bridge, known, ordered_product
from flowkit.tasks.randomness import Rng

PLAQUETTES = 2**17
"""Plaquettes that are drawn together."""


class ExactGauge2D(Prior):
    r"""Two-dimensional gauge theory with Wilson's action, drawn exactly: an exact solution and no learned model.

    Every draw is independent of the others, at any coupling, on a lattice of any sides, and its density is

    .. math:: r(U) = \frac{1}{Z}\, e^{-S(U)}, \qquad S = -\frac{\beta}{N} \sum_P \mathrm{Re\,Tr}\, U_P,

    in normalised Haar measure. Use it for exact ensembles to test a method with, for the first states of chains, as
    the prior of a theory with further terms in the action, or as the coarsest prior of a multiscale model.

    Parameters
    ----------
    space : Space
        Links in two dimensions, fields ``[batch, 2, *lattice, *matrix]``, of a group with `solved_2d`: U(1), SU(2) and
        SU(3).
    beta : float
        Coupling, dimensionless, not negative.

    Raises
    ------
    ValueError
        For sites, another number of dimensions, a group whose plaquettes cannot be drawn exactly, or beta < 0.

    Notes
    -----
    On a torus of V plaquettes the theory consists of V independent plaquettes with the law
    :math:`f \propto e^{(\beta/N)\,\mathrm{Re\,Tr}\,P}` and one constraint. With the links of a comb set to 1 by a gauge
    transformation, two links A and B that wind around the torus remain beside the plaquettes, and
    :math:`\prod P = A B A^{-1} B^{-1}` in the order of the comb. A, B and all plaquettes but the last m are drawn
    freely; the last m must have the product D that is left over. This is accepted with probability
    :math:`w_m(D) / w_m(1)`, where :math:`w_m = f * \ldots * f`, and then they are drawn with that product, likewise by
    rejection with exact bounds. A Haar gauge transformation follows. All steps from plaquettes to links are
    translations of the group, whose Jacobian is 1.

    The bridge of m plaquettes costs a few times :math:`w_2(1) \approx f(1) / 2^{d/2}` draws of a plaquette for each
    field, whatever the volume; d is the dimension of the group. w_2(1) is 4 for SU(2) at beta 4, 102 for SU(3) at beta
    12, and grows as :math:`\beta^{d/2}`. The number of tries has no limit. Draws are made in double precision and
    rounded to the dtype of the prior. On a GPU each round of rejection waits for the device.

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    See Also
    --------
    flowkit.Wilson : the action, whose `exact` and `log_z` are those of this prior.
    flowkit.samplers.MarkovPrior : another theory by a Markov chain.

    Examples
    --------
    Independent fields whose mean plaquette is the exact one:

    >>> import torch
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((8, 8), fk.SUN(2)), beta=4.0)
    >>> exact = fk.priors.ExactGauge2D(action.space, beta=4.0)
    >>> ensemble = fk.importance_sample(exact, action, n=1000, rng=1)
    >>> print(f"{ensemble.ess().value:.3f}")              # S + log r is the constant -ln Z
    1.000
    >>> print(ensemble.mean(fk.plaquette))
    0.6582(11)  exact 0.65804727, +0.1 sigma
    """

    @checked
    def __init__(self, space: Space, beta: NotNegative):
        super().__init__(space)
        if space.kind != "links" or space.ndim != 2:
            raise ValueError(f"ExactGauge2D lives on links in two dimensions; got {space}.")
        if not space.group.solved_2d:
            raise ValueError(
                f"ExactGauge2D needs a group whose plaquettes are drawn exactly, such as U1, SU2 or SU3; got {space}."
            )
        self.action = Wilson(space, beta)
        self.beta, self.bridge = self.action.beta, Bridge(space.group, self.action.beta, space.volume)
        self.log_z = known(space.group, "log_z_2d", self.action.log_z())

    @torch.no_grad()
    def sample(self, n: int, rng: Rng = None) -> Tensor:
        """n independent fields, ``[n, *space.shape]``."""
        kind, rng = self.space.group.field_dtype(self.dtype), self._draws(n, rng)
        x = torch.empty(n, *self.space.shape, dtype=kind, device=rng.device)
        for part in torch.split(x, max(1, PLAQUETTES // self.space.volume)) if n else ():
            part.copy_(self._draw(len(part), rng))
        return x.to(self.device)

    def log_prob(self, x: Tensor) -> Tensor:
        """-S(x) - ln Z, ``[batch]``, summed in double precision."""
        S = self.action(self.space.check(x).to(self.space.group.field_dtype(torch.float64)))
        return (-S - self.log_z).to(x.real.dtype)

    def _draw(self, n: int, rng: torch.Generator) -> Tensor:
        """n fields in double precision."""
        G, bridge, volume = self.space.group, self.bridge, self.space.volume
        free = volume - bridge.size

        def propose(which: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            """A and B, the free plaquettes, and the product of the others."""
            k = len(which)
            A, B = G.haar((2, k), rng, torch.float64)
            P = G.one_plaquette((k, free), self.beta, rng, torch.float64)
            D = G.compose(G.compose(A, B), G.inverse(G.compose(B, A)))
            if free:
                D = G.compose(G.inverse(ordered_product(G, P)), D)
            return (A, B, P, D), bridge.chance(D, bridge.size)

        A, B, P, D = first_accepted(n, propose, rng, math.exp(bridge.peaks[bridge.size]), PLAQUETTES // volume)
        P = torch.cat([P, bridge.draw(D, rng)], 1).view(n, *self.space.lattice, *G.matrix_shape).flip(1)
        g = G.haar((n, 1, *self.space.lattice), rng, torch.float64)
        return loops.gauge_transform(self.space, comb_links(self.space, P, A, B), g)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "beta": self.beta}

    def extra_repr(self) -> str:
        return f"{self.space}; beta={self.beta:g}; an exact solution in two dimensions, not a learned flow"


def comb_links(space: Space, P: Tensor, A: Tensor, B: Tensor) -> Tensor:
    r"""The links, in the gauge of a comb, of plaquettes whose ordered product is A B A^-1 B^-1.

    Parameters
    ----------
    P : Tensor
        Plaquettes, ``[n, *lattice, *matrix]``.
    A, B : Tensor
        The links U_0(L_0 - 1, 0) and U_1(0, L_1 - 1), ``[n, *matrix]``.

    Returns
    -------
    Tensor
        ``[n, 2, *lattice, *matrix]``.

    Notes
    -----
    .. math::
        U_0(x, 0) &= 1 \ (x < L_0 - 1), & U_0(x, y+1) &= P(x, y)^{-1}\, U_0(x, y), \\
        U_1(x, y) &= 1 \ (y < L_1 - 1), & U_1(x+1, L_1-1) &= K_x\, U_1(x, L_1-1),

    with :math:`K_x = P(x, 0) \ldots P(x, L_1-1)` and :math:`K_{L_0-1} \ldots K_0 = A B A^{-1} B^{-1}`.
    """
    G, (length, height), n = space.group, space.lattice, len(A)
    U = G.identity((n, 2, length, height), A)
    U[:, 0, -1, 0] = A
    inverse = G.inverse(P)
    for y in range(height - 1):
        U[:, 0, :, y + 1] = G.compose(inverse[:, :, y], U[:, 0, :, y])
    # U_0(x, L_1 - 1)^-1 P(x, L_1 - 1) = U_0(x, 0)^-1 K_x
    K = G.restore(G.compose(G.compose(U[:, 0, :, 0], G.inverse(U[:, 0, :, -1])), P[:, :, -1]))
    U[:, 1, 0, -1] = B
    for x in range(length - 1):
        U[:, 1, x + 1, -1] = G.compose(K[:, x], U[:, 1, x, -1])
    return U

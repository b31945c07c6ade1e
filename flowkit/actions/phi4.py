"""phi^4 theory in the parametrisations in use, and the conversions between them.

All are S = sum_x [ -h sum_mu phi_{x+mu} phi_x + a phi^2 + g phi^4 + c ] in any dimension d:

| class       | h    | a             | g   | c   | used in |
|---|---|---|---|---|---|
| Phi4        | 2    | m2 + 2 d      | lam | 0   | 1904.12072, 2101.08176, 2207.00283 |
| Phi4Hopping | beta | 1 - 2 lam     | lam | lam | 2105.12481, 2302.08408 |
| Phi4Kappa   | kappa| m_sq/2 + kappa d | lam | 0 | normflow (2301.01504) |

Phi4 and Phi4Hopping fix the normalisation of the field in different ways, so that a conversion rescales it:
`action.convert(Phi4)` returns the other action and s with S_other(s phi) = S(phi) + constant.
"""

import math

from flowkit.actions.scalar import ScalarAction
from flowkit.checks import checked
from flowkit.geometry.space import Space, sites


class Phi4(ScalarAction):
    r"""phi^4 theory by its mass, without factors 1/2.

    .. math:: S = \sum_x \left[ \sum_\mu (\phi_{x+\mu} - \phi_x)^2 + m^2 \phi_x^2 + \lambda \phi_x^4 \right]

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    m2 : float
        Bare mass squared, dimensionless; negative in the broken phase.
    lam : float
        Quartic coupling, dimensionless, not negative.

    Raises
    ------
    ValueError
        As `ScalarAction`.

    Notes
    -----
    `exact` knows means of the free theory (lam = 0), of sites that do not interact, and of lattices such as 4x4 in two
    dimensions, where ``flowkit.exact.phi4_transfer_matrix`` takes less than a second; that takes larger ones too.

    References
    ----------
    M. S. Albergo, G. Kanwar and P. E. Shanahan, Phys. Rev. D 100 (2019) 034515, 1904.12072.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((4, 4)), m2=-4.0, lam=8.0)
    >>> action(torch.ones(1, 1, 4, 4))              # (m2 + lam) on each of 16 sites
    tensor([64.])
    >>> round(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.0).exact("susceptibility"), 6)
    0.5
    """

    couplings = ("m2", "lam")
    m2: float
    lam: float

    def __init__(self, space: Space, m2: float, lam: float):
        super().__init__(space, m2=m2, lam=lam)

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        return 2.0, self.m2 + 2 * self.space.ndim, self.lam, 0.0

    @classmethod
    def from_coefficients(cls, space: Space, h: float, a: float, g: float) -> tuple["Phi4", float]:
        if h <= 0:
            raise ValueError(f"Phi4 needs a positive hopping term; got {h}.")
        square = h / 2
        return cls(space, m2=a / square - 2 * space.ndim, lam=g / square**2), math.sqrt(square)


class Phi4Hopping(ScalarAction):
    r"""phi^4 theory by its hopping parameter; lam = infinity would be the Ising model.

    .. math:: S = \sum_x \left[ -\beta \sum_\mu \phi_{x+\mu} \phi_x + \phi_x^2 + \lambda (\phi_x^2 - 1)^2 \right]

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    beta : float
        Hopping parameter, dimensionless.
    lam : float
        Quartic coupling, dimensionless, not negative.

    Raises
    ------
    ValueError
        As `ScalarAction`.

    References
    ----------
    L. Del Debbio, J. Marsh Rossney and M. Wilson, Phys. Rev. D 104 (2021) 094507, 2105.12481.
    D. Albandea et al., 2302.08408.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> action = fk.Phi4Hopping(fk.sites((4, 4)), beta=0.5, lam=0.5)
    >>> action(torch.ones(1, 1, 4, 4))              # (1 - 2 beta) on each of 16 sites
    tensor([0.])
    """

    couplings = ("beta", "lam")
    beta: float
    lam: float

    def __init__(self, space: Space, beta: float, lam: float):
        super().__init__(space, beta=beta, lam=lam)

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        return self.beta, 1 - 2 * self.lam, self.lam, self.lam

    @classmethod
    def from_coefficients(cls, space: Space, h: float, a: float, g: float) -> tuple["Phi4Hopping", float]:
        # a / t = 1 - 2 lam and g / t^2 = lam with t = s^2, so t^2 - a t - 2 g = 0 and t > 0.
        t = (a + math.sqrt(a * a + 8 * g)) / 2
        if t <= 0:
            raise ValueError(f"Phi4Hopping needs lam > 0 or a positive phi^2 term; got a = {a}, g = {g}.")
        return cls(space, beta=h / t, lam=g / t**2), math.sqrt(t)


class Phi4Kappa(ScalarAction):
    r"""phi^4 theory with a factor kappa in front of its kinetic term; kappa = 0 leaves independent sites.

    .. math:: S = \sum_x \left[ \frac{\kappa}{2} \sum_\mu (\phi_{x+\mu} - \phi_x)^2 + \frac{m^2}{2} \phi_x^2
              + \lambda \phi_x^4 \right]

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    kappa : float
        Factor of the kinetic term, dimensionless.
    m_sq : float
        Bare mass squared, dimensionless.
    lam : float
        Quartic coupling, dimensionless, not negative.

    Raises
    ------
    ValueError
        As `ScalarAction`.

    References
    ----------
    J. Komijani and M. K. Marinkovic, 2301.01504; in their package normflow lam is called lambd.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> action = fk.actions.Phi4Kappa(fk.sites((4,)), kappa=1.0, m_sq=1.0, lam=0.25)
    >>> action(torch.ones(1, 1, 4))
    tensor([3.])
    """

    couplings = ("kappa", "m_sq", "lam")
    kappa: float
    m_sq: float
    lam: float

    def __init__(self, space: Space, kappa: float, m_sq: float, lam: float):
        super().__init__(space, kappa=kappa, m_sq=m_sq, lam=lam)

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        return self.kappa, self.m_sq / 2 + self.kappa * self.space.ndim, self.lam, 0.0

    @classmethod
    def from_coefficients(cls, space: Space, h: float, a: float, g: float) -> tuple["Phi4Kappa", float]:
        return cls(space, kappa=h, m_sq=2 * (a - h * space.ndim), lam=g), 1.0


@checked
def as_double_well(m_sq: float, lam: float) -> Phi4Kappa:
    """One variable with S = m_sq/2 phi^2 + lam phi^4 on a lattice of a single site: a double well for m_sq < 0.

    Parameters
    ----------
    m_sq, lam : float
        Couplings, dimensionless, lam not negative.

    Returns
    -------
    Phi4Kappa
        With fields ``[batch, 1, 1]``.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> fk.actions.as_double_well(m_sq=-2.0, lam=0.25)(torch.tensor([[[2 ** 0.5]]]))       # at the bottom of a well
    tensor([-1.0000])
    """
    return Phi4Kappa(sites((1,)), kappa=0.0, m_sq=m_sq, lam=lam)

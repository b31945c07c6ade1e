"""The drift of the free field towards phi^4, in closed form."""

import torch
from torch import Tensor, nn

from flowkit.checks import Count, Natural, NotNegative, Positive, checked
from flowkit.geometry.lattice import momentum_squared
from flowkit.geometry.space import Space
from flowkit.transforms.links.integrated import IntegratedFlow, polynomials


@checked
def gap_mass(space: Space, m2: float, lam: NotNegative) -> float:
    r"""The mass squared of the free field nearest to phi^4, from its self-consistent mean field.

    Parameters
    ----------
    space : Space
        Sites.
    m2, lam : float
        Couplings of `Phi4`, lam > 0 where m2 <= 0.

    Returns
    -------
    float
        M^2 with :math:`M^2 = m^2 + 6 \lambda\, G`, :math:`G = \frac{1}{V} \sum_p \frac{1}{2 (\hat p^2 + M^2)}` the
        variance of a site. It is positive for every lam > 0: the zero mode makes G diverge at M = 0.

    Raises
    ------
    ValueError
        For links, or a free theory without mass.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.transforms.gap_mass(fk.sites((8, 8)), m2=0.0, lam=0.5):.3f}")
    0.482
    """
    if space.kind != "sites" or (lam == 0 and m2 <= 0):
        raise ValueError(f"gap_mass needs sites, and m2 > 0 where lam = 0; got {space}, m2 = {m2}, lam = {lam}.")
    p2 = momentum_squared(space.lattice, torch.zeros((), dtype=torch.float64))
    low, high = 0.0, abs(m2) + 6 * lam + 1.0  # at the upper end G < 1 / 2
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if m2 + 3 * lam * float((1 / (p2 + middle)).mean()) > middle:
            low = middle
        else:
            high = middle
    return high


class FreeFieldDrift(IntegratedFlow):
    r"""A flow of scalar fields along smeared Hermite polynomials of each site, from the free field to phi^4.

    .. math::

        \dot\phi = \frac{1}{2 (\hat p^2 + M^2)} \big[ c_3(t)\, (\phi^3 - 3 G \phi) + c_1(t)\, \phi \big], \qquad
        G = \langle \phi_x^2 \rangle

    with polynomials c(t) of few coefficients.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    m2 : float
        M^2 of the `FreeField` where it begins, positive; `gap_mass` finds the best one.
    lam : float
        Coupling of `Phi4` at whose first-order drift it starts, c_3 = -lam; 0 is the identity.
    degree : int
        Of the polynomials in t.
    steps : int
        Of the integrator.

    Raises
    ------
    ValueError
        For links, or settings outside their ranges.
    RuntimeError
        From `inverse`, where the steps are too few to be undone.

    Notes
    -----
    At the mass of the gap equation the action of phi^4 differs from that of the free field by
    :math:`\lambda \sum_x {:}\phi_x^4{:}` and a constant. The number operator of the Gaussian multiplies :phi^4: by 4,
    so that the velocity :math:`v = C\, \partial \Phi` with :math:`\Phi = -\frac{\lambda}{4} \sum_x {:}\phi_x^4{:}`,
    C the propagator, removes the difference to first order in lam for all momenta. The divergence is
    :math:`G \sum_x [ c_3\, (3 \phi^2 - 3 G) + c_1 ]`: no determinant is computed.

    See Also
    --------
    flowkit.models.free_field_flow, LiftedDrift

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> f = fk.transforms.FreeFieldDrift(fk.sites((4, 4)), m2=0.5, lam=0.5)
    >>> x = fk.FreeField(f.space, m2=0.5).sample(2, torch.Generator().manual_seed(1))
    >>> y, logdet = f(x)
    >>> torch.allclose(f.inverse(y)[0], x, atol=1e-5), bool((f.defect(x).abs() < 1e-3).all())
    (True, True)
    """

    @checked
    def __init__(self, space: Space, m2: Positive, lam: NotNegative = 0.0, degree: Natural = 0, steps: Count = 4):
        super().__init__(space, steps)
        if space.kind != "sites":
            raise ValueError(f"FreeFieldDrift lives on sites; got {space}.")
        self.m2, self.lam, self.degree = m2, lam, degree
        self.variance = float(self._propagator(torch.zeros((), dtype=torch.float64)).mean())
        start = torch.zeros(2, degree + 1, dtype=torch.float64)
        start[0, 0] = -lam
        self.coefficients = nn.Parameter(start.flatten().to(torch.get_default_dtype()))

    def _propagator(self, like: Tensor) -> Tensor:
        return 1 / (2 * (momentum_squared(self.space.lattice, like) + self.m2))

    def _table(self, coefficients: Tensor) -> Tensor:
        return coefficients.view(*coefficients.shape[:-1], 2, self.degree + 1)

    def _slope(self, x: Tensor, theta: Tensor, t: float) -> tuple[Tensor, Tensor]:
        c3, c1 = (one.reshape(-1, *[1] * (x.dim() - 1)) for one in polynomials(theta, t).unbind(-1))
        square, G = x.square(), self.variance
        axes = tuple(range(2, x.dim()))
        push = torch.fft.fftn(x * (c3 * (square - 3 * G) + c1), dim=axes)
        w: Tensor = torch.fft.ifftn(push * self._propagator(x), dim=axes).real
        return w, (G * (c3 * (3 * square - 3 * G) + c1)).flatten(1).sum(1)

    def extra_repr(self) -> str:
        return f"m2={self.m2:.4g}, lam={self.lam}, degree={self.degree}, steps={self.steps}"

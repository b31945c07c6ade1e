"""The free photon made compact, and the coupling of the one nearest to the Wilson action."""

import math
from typing import Any

from torch import Tensor

from flowkit.checks import Positive, checked
from flowkit.geometry.lift import lifts, require_angles
from flowkit.geometry.space import Space
from flowkit.priors.lifted import FromLifts
from flowkit.priors.lifted_photon import LiftedPhoton, require_room


class FreePhoton(FromLifts):
    r"""Free photons on U(1) links: the Gaussian of the lattice Maxwell field with its fluxes, and monopoles beside it.

    .. math::

        x = dA + 2\pi n' + 2\pi \Big(h + \frac{f}{L_\mu L_\nu}\Big), \qquad r \propto e^{-\frac{b}{2} \sum_P x_P^2}

    A is a transverse Gaussian field, drawn by a Fourier transform, f are the integer fluxes through the planes, and n'
    and h the coexact and constant parts of the Dirac plaquettes n. The links are those of x modulo 2 pi, with constant
    links uniform (torons) and a Haar gauge transformation.

    Parameters
    ----------
    space : Space
        Links of U(1) in two or more dimensions, fields ``[batch, mu, *lattice]``, sides of at least 2.
    b : float
        Coupling of the Gaussian, positive: <x^2> is (2 / ndim) / b on a large lattice. `coupling_of` finds the best
        one for the Wilson action.
    monopoles : float, optional
        Coupling b_m of the gas of monopoles, in three and more dimensions. Without it no monopoles are drawn, and
        means by reweighting lack the share of the theory that holds them.

    Raises
    ------
    ValueError
        For another space, a side of 1, monopoles in two dimensions, or more than 10 pairs of them in three.

    Notes
    -----
    Links have many lifts N, with the plaquette angles :math:`\theta_P - 2 \pi N_P`. A theory of links is extended to
    one of links and lifts by :math:`p(N|\theta) = \prod_P e^{-\frac{b}{2} (\theta_P - 2 \pi N_P)^2} / v(\theta_P)`.
    Here :math:`v(\theta) = \sum_k e^{-\frac{b}{2} (\theta - 2 \pi k)^2}` is the weight of the Villain action. The
    log-density of `LiftedPhoton` less ln p is

    .. math:: \log r = \sum_P \ln v(\theta_P) + \ln P(n) + 2 \pi^2 b\, |n'|^2 - \ln \Theta(h) - \ln Z_A

    in normalised Haar measure. In two dimensions there are no monopoles, and this is the exact density of the Villain
    theory. In more the prior is `stochastic`: log r is that of links with their lift, weights of draws have the mean Z,
    and `log_prob` is not known.

    References
    ----------
    J. Villain, J. Physique 36 (1975) 581; T. Banks, R. Myerson and J. Kogut, Nucl. Phys. B 129 (1977) 493.

    See Also
    --------
    flowkit.photon_flow : this prior with a transform towards the Wilson action.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4, 4), fk.U1()), beta=6.0)
    >>> prior = fk.priors.FreePhoton(action.space, b=fk.priors.coupling_of(6.0, 3), monopoles=5.7)
    >>> draws = fk.importance_sample(prior.double(), action, 2000, rng=1)
    >>> draws.ess().value > 0.9
    True
    """

    @checked
    def __init__(self, space: Space, b: Positive, monopoles: Positive | None = None):
        require_angles("FreePhoton", space)
        require_room(space, monopoles)
        photons = LiftedPhoton(lifts(space), b, monopoles)
        super().__init__(photons, b)
        self.b, self.monopoles, self.log_norm = b, monopoles, photons.log_norm()

    @property
    def stochastic(self) -> bool:
        """True in three and more dimensions, where links have more than one class of lifts."""
        return self.space.ndim > 2

    def log_prob(self, x: Tensor) -> Tensor:
        """log r(x), ``[batch]``, in two dimensions.

        Raises
        ------
        ValueError
            In more dimensions, where the density of links alone is not known; and for fields of another space.
        """
        if self.stochastic:
            return super().log_prob(x)
        return -self.villain(self._mine(x)) - self.log_norm

    def on(self, space: Space) -> "FreePhoton":
        return FreePhoton(space, self.b, self.monopoles).to(self.dtype)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "b": self.b, "monopoles": self.monopoles}


@checked
def coupling_of(beta: Positive, ndim: int) -> float:
    r"""The coupling of the Gaussian nearest to the Wilson action of U(1), from its self-consistent mean field.

    Parameters
    ----------
    beta : float
        Coupling of the Wilson action, above e / ndim.
    ndim : int
        Dimensions of the lattice.

    Returns
    -------
    float
        b, the larger solution of :math:`b = \beta\, e^{-1 / (d\, b)}`.

    Raises
    ------
    ValueError
        For a beta so small that there is none.

    Notes
    -----
    It minimises the free energy :math:`\langle S_W - S_b \rangle_b - \ln Z_b` over b, in which
    :math:`\langle \cos x \rangle = e^{-\langle x^2 \rangle / 2}` with :math:`\langle x^2 \rangle = 2 / (d\, b)`.

    Examples
    --------
    >>> import flowkit as fk
    >>> b = fk.priors.coupling_of(2.0, 4)
    >>> print(f"{b:.4f}")
    1.7310
    """
    if not beta * ndim > math.e:
        raise ValueError(f"A free photon is near the Wilson action for beta > {math.e / ndim:.3g}; got beta = {beta}.")
    b, last = beta, math.inf
    while abs(b - last) > 1e-15 * b:
        b, last = (b + beta * math.exp(-1 / (ndim * b))) / 2, b
    return b

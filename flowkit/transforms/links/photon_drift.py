"""The drift of free photons towards the Wilson action, in closed form."""

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from flowkit.checks import Count, NotNegative, Range, checked
from flowkit.geometry import forms
from flowkit.geometry.lift import require_angles
from flowkit.geometry.space import Space
from flowkit.priors.free_photon import coupling_of
from flowkit.transforms.links.integrated import IntegratedFlow, polynomials

NODES = 32  # of the integrals that the drift starts from


class PhotonDrift(IntegratedFlow):
    r"""A flow of U(1) links along smeared forces of their plaquettes, which turns free photons into Wilson's theory.

    .. math::

        \dot\theta = \frac{1}{\hat p^2}\, d^T g(\theta_P) + d^T l(\theta_P), \qquad
        g(x) = \sum_{k=1}^{K} c_k(t) \sin k x, \quad l(x) = \sum_{k=1}^{J} c'_k(t) \sin k x

    with polynomials c(t) of few coefficients. It keeps the symmetries of the lattice and of the gauge field exactly,
    and its weights do not depend on the volume.

    Parameters
    ----------
    space : Space
        Links of U(1) in two or more dimensions, fields ``[batch, mu, *lattice]``, sides of at least 2.
    beta : float
        Where to start: at the first-order drift from `FreePhoton` to the Wilson action of this beta, above e / ndim;
        0 is the identity.
    harmonics : int
        K, of the smeared force.
    local : int
        J, of the force without smearing, which starts at zero.
    degree : int
        Of the polynomials in t.
    steps : int
        Of the integrator.

    Raises
    ------
    ValueError
        For another space, or settings outside their ranges.
    RuntimeError
        From `inverse`, where the steps are too few to be undone.

    Notes
    -----
    Let N be the number operator of the Gaussian of coupling b, whose plaquettes have :math:`\langle x^2 \rangle = s`.
    A velocity :math:`v = C\, \partial \Phi`, C the propagator, with :math:`N \Phi = S_b - S_W + \mathrm{const}` removes
    the difference of the two actions to first order, for all momenta. For plaquettes
    :math:`N^{-1}` acts on each one alone, and :math:`v = (1 / b\, \hat p^2)\, d^T h'` with

    .. math:: h'(x) = -\beta \int_0^1 dr \left[ e^{-s (1 - r^2) / 2} \sin(r x) - e^{-s / 2}\, r x \right].

    The start is the fit of b g by h' over the law of one plaquette. The divergence is
    :math:`\sum_P (D_P\, g' + 4\, l')`, since the diagonal D of :math:`d\, \hat p^{-2}\, d^T` is constant in each plane:
    no determinant is computed. It is integrated with the flow, as that of `TrivializingFlow`, and `defect` estimates
    the error. Training with too few steps lowers the loss by that error instead: measure it again afterwards.

    See Also
    --------
    flowkit.photon_flow, flowkit.transforms.TrivializingFlow

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> f = fk.transforms.PhotonDrift(fk.links((4, 4, 4), fk.U1()), beta=3.0)
    >>> x = f.space.haar(2, torch.Generator().manual_seed(1))
    >>> y, logdet = f(x)
    >>> torch.allclose(f.inverse(y)[1], -logdet, atol=1e-4), bool((f.defect(x).abs() < 0.1).all())
    (True, True)
    """

    @checked
    def __init__(
        self,
        space: Space,
        beta: NotNegative = 0.0,
        harmonics: Annotated[int, Range(1, 16)] = 4,
        local: Annotated[int, Range(0, 16)] = 1,
        degree: Annotated[int, Range(0, 64)] = 1,
        steps: Count = 3,
    ):
        super().__init__(space, steps)
        require_angles("PhotonDrift", space)
        self.beta, self.harmonics, self.local, self.degree = beta, harmonics, local, degree
        like = torch.zeros((), dtype=torch.float64)
        self.diagonal = forms.plane_means(space.lattice, forms.inverse_laplacian(space.lattice, like)).tolist()
        start = torch.zeros(harmonics + local, degree + 1, dtype=torch.float64)
        if beta:
            start[:harmonics, 0] = first_order(beta, space.ndim, harmonics)
        self.coefficients = nn.Parameter(start.flatten().to(torch.get_default_dtype()))

    def _table(self, coefficients: Tensor) -> Tensor:
        return coefficients.view(*coefficients.shape[:-1], -1, self.degree + 1)

    def _slope(self, x: Tensor, theta: Tensor, t: float) -> tuple[Tensor, Tensor]:
        angles = forms.plaquette_sums(x)
        sine, cosine = angles.sin(), angles.cos()
        c = [one.reshape(-1, *[1] * (angles.dim() - 1)) for one in polynomials(theta, t).unbind(-1)]
        smeared, plain = c[: self.harmonics], c[self.harmonics :]
        g, slope = sines(smeared, sine, cosine)
        w = forms.multiply_spectrum(
            forms.plaquette_sums_transposed(g, self.space.ndim), forms.inverse_laplacian(self.space.lattice, x)
        )
        divergence = slope.flatten(2).sum(2) @ x.new_tensor(self.diagonal)
        if plain:
            force, own = sines(plain, sine, cosine)
            w = w + forms.plaquette_sums_transposed(force, self.space.ndim)
            divergence = divergence + 4 * own.flatten(1).sum(1)
        return w, divergence

    def extra_repr(self) -> str:
        return f"beta={self.beta}, {self.harmonics} + {self.local} harmonics, degree={self.degree}, steps={self.steps}"


def sines(c: list[Tensor], sine: Tensor, cosine: Tensor) -> tuple[Tensor, Tensor]:
    """sum_k c_k sin(k x) and its derivative, by the recurrence of Chebyshev."""
    s, k_cos = [sine], [cosine]
    total, slope = c[0] * sine, c[0] * cosine
    before = torch.zeros_like(sine), torch.ones_like(cosine)
    for k in range(2, len(c) + 1):
        s.append(2 * cosine * s[-1] - before[0])
        k_cos.append(2 * cosine * k_cos[-1] - before[1])
        before = s[-2], k_cos[-2]
        total, slope = total + c[k - 1] * s[-1], slope + k * c[k - 1] * k_cos[-1]
    return total, slope


def first_order(beta: float, ndim: int, harmonics: int) -> Tensor:
    """The sine coefficients of h' / b, ``[harmonics]``: a least-squares fit over the Gaussian law of a plaquette."""
    x = torch.linspace(0, math.pi, 501, dtype=torch.float64)
    wanted, s = first_order_force(x, beta, ndim)
    basis = torch.sin(x[:, None] * torch.arange(1, harmonics + 1))
    return fitted(basis, wanted, torch.exp(-(x**2) / (4 * s)))


def first_order_force(x: Tensor, beta: float, ndim: int) -> tuple[Tensor, float]:
    """h'(x) / b of the first-order drift, and s, the variance of a plaquette."""
    b = coupling_of(beta, ndim)
    s = 2 / (ndim * b)
    roots, weights = (torch.from_numpy(one) for one in np.polynomial.legendre.leggauss(NODES))
    r = (roots + 1) / 2
    integrand = torch.exp(-s * (1 - r**2) / 2) * torch.sin(r * x[:, None]) - math.exp(-s / 2) * r * x[:, None]
    return -beta / b * integrand @ weights / 2, s


def fitted(basis: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Coefficients of the columns of a basis by weighted least squares."""
    fit: Tensor = torch.linalg.lstsq(basis * weights[:, None], (wanted * weights)[:, None]).solution
    return fit[:, 0]

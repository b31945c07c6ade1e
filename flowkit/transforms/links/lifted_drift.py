"""The drift of free photons towards the Wilson action, on lifts."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from flowkit.checks import Count, NotNegative, Range, checked
from flowkit.geometry import forms
from flowkit.geometry.lift import lifted_angles, require_lifts, with_links
from flowkit.geometry.space import Space
from flowkit.transforms.links.integrated import IntegratedFlow
from flowkit.transforms.links.photon_drift import first_order_force, fitted, sines

FLOOR = 3e-3
"""The least weight of an angle in the fit of the start, beside 1 at zero: plaquettes near pi are rare and matter."""


class LiftedDrift(IntegratedFlow):
    r"""A flow of lifts of U(1) links along smeared forces of their real angles.

    .. math::

        \dot A = \Big(\frac{1}{\hat p^2} + c\Big)\, d^T g(x), \qquad x = dA + 2 \pi n, \qquad
        g(x) = a_0\, x + \sum_{k=1}^{K} a_k \sin \frac{k x}{2}

    The whole numbers n stay as they are. Other than `PhotonDrift` it moves a plaquette on through pi, so that it serves
    where the Gaussian has too few plaquettes, and it need not be periodic.

    Parameters
    ----------
    space : Space
        Lifts, of `flowkit.geometry.lifts`.
    beta : float
        Where to start: at the first-order drift from `LiftedPhoton` to the Wilson action of this beta, above e / ndim;
        0 is the identity.
    share : float
        The part of that drift which this transform makes, so that several make up the whole.
    harmonics : int
        K.
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
    The start is the fit of h' / b, as in `PhotonDrift`, by g. The divergence is :math:`\sum_P (D_P + 4 c)\, g'(x_P)`
    with the diagonal D of :math:`d\, \hat p^{-2}\, d^T`.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.geometry import lifts
    >>> prior = fk.priors.LiftedPhoton(lifts(fk.links((4, 4, 4), fk.U1())), b=2.6, monopoles=2.5).double()
    >>> f = fk.transforms.LiftedDrift(prior.space, beta=3.0).double()
    >>> y = prior.sample(2, 1)
    >>> bool((f.defect(y).abs() < 0.01).all())
    True
    """

    @checked
    def __init__(
        self,
        space: Space,
        beta: NotNegative = 0.0,
        share: Annotated[float, Range(0, 1, "(]")] = 1.0,
        harmonics: Annotated[int, Range(0, 16)] = 4,
        steps: Count = 1,
    ):
        super().__init__(space, steps)
        require_lifts("LiftedDrift", space)
        self.beta, self.share, self.harmonics = beta, share, harmonics
        like = torch.zeros((), dtype=torch.float64)
        self.diagonal = forms.plane_means(space.lattice, forms.inverse_laplacian(space.lattice, like)).tolist()
        start = torch.zeros(harmonics + 2, dtype=torch.float64)
        if beta:
            x = torch.linspace(0, 2 * math.pi, 801, dtype=torch.float64)
            wanted, s = first_order_force(x, beta, space.ndim)
            waves = torch.sin(x[:, None] / 2 * torch.arange(1, harmonics + 1))
            weights = torch.exp(-(x**2) / (4 * s)) + FLOOR
            start[: harmonics + 1] = share * fitted(torch.cat([x[:, None], waves], 1), wanted, weights)
        self.coefficients = nn.Parameter(start.to(torch.get_default_dtype()))

    def _slope(self, x: Tensor, theta: Tensor, t: float) -> tuple[Tensor, Tensor]:
        angles = lifted_angles(x)
        a = [one.reshape(-1, *[1] * (angles.dim() - 1)) for one in theta.unbind(-1)]
        g, slope = a[0] * angles, a[0].expand(angles.shape)
        if self.harmonics:
            wave, own = sines(a[1:-1], (angles / 2).sin(), (angles / 2).cos())
            g, slope = g + wave, slope + own / 2
        force = forms.plaquette_sums_transposed(g, self.space.ndim)
        smeared = forms.multiply_spectrum(force, forms.inverse_laplacian(self.space.lattice, x))
        sums = slope.flatten(2).sum(2)
        divergence = sums @ x.new_tensor(self.diagonal) + 4 * theta[..., -1] * sums.sum(1)
        return with_links(smeared + a[-1] * force, torch.zeros_like(x)), divergence

    def extra_repr(self) -> str:
        return f"beta={self.beta}, share={self.share:.4g}, {self.harmonics} harmonics, steps={self.steps}"

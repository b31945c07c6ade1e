"""The Villain action of U(1)."""

import math

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Positive, checked
from flowkit.geometry import forms
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry, centre, conjugation, reflection

IMAGES = 3
"""Turns that the weight of a plaquette sums over on each side; the next one is e^(-40 pi^2 b) times as large."""


class Villain(Action):
    r"""The Villain action of U(1) links: each plaquette is a Gaussian wrapped around the circle.

    .. math:: S(\theta) = -\sum_P \ln \sum_{k} e^{-\frac{b}{2} (\theta_P - 2 \pi k)^2}

    Parameters
    ----------
    space : Space
        Links of U(1) in two or more dimensions, fields ``[batch, mu, *lattice]``.
    b : float
        Coupling, dimensionless, positive.

    Raises
    ------
    ValueError
        For another space or b <= 0.

    See Also
    --------
    flowkit.priors.FreePhoton : draws it exactly in two dimensions, and without monopoles in more.

    References
    ----------
    J. Villain, J. Physique 36 (1975) 581.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.actions.Villain(fk.links((4, 4), fk.U1()), b=2.0)
    >>> exact = fk.importance_sample(fk.priors.FreePhoton(action.space, b=2.0).double(), action, 100, rng=1)
    >>> print(f"{exact.ess().value:.6f}")
    1.000000
    """

    couplings = ("b",)

    @checked
    def __init__(self, space: Space, b: Positive):
        super().__init__(space)
        if space.kind != "links" or not space.group.winding or space.ndim < 2:
            raise ValueError(f"Villain lives on links of U1 in two or more dimensions; got {space}.")
        self.b = b

    def _images(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return image_terms(forms.plaquette_sums(self.space.check(x)), self.b)

    def __call__(self, x: Tensor) -> Tensor:
        _, exponents = self._images(x)
        return -torch.logsumexp(exponents, 0).flatten(1).sum(1)

    def force(self, x: Tensor) -> Tensor:
        distances, exponents = self._images(x)
        slope = -self.b * (torch.softmax(exponents, 0) * distances).sum(0)
        return forms.plaquette_sums_transposed(slope, self.space.ndim)

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Charge conjugation, the centre in each direction, reflections."""
        axes = range(self.space.ndim)
        centres = (centre(self.space, mu) for mu in axes)
        return (conjugation(self.space), *centres, *(reflection(self.space, mu) for mu in axes))

    def log_z(self) -> float | None:
        r"""ln Z in Haar measure in two dimensions, :math:`\sum_k \left(e^{-k^2 / 2 b} / \sqrt{2 \pi b}\right)^V`."""
        if self.space.ndim != 2:
            return None
        volume = self.space.volume
        k = torch.arange(-1000, 1001, dtype=torch.float64)
        sums = torch.logsumexp(-(k.square()) * volume / (2 * self.b), 0)
        return float(sums) - volume / 2 * math.log(2 * math.pi * self.b)


def image_terms(x: Tensor, b: float, images: int = IMAGES) -> tuple[Tensor, Tensor]:
    """The distances x - 2 pi k of angles to the nearest full turns, and -b / 2 times their squares, ``[images, ...]``.

    Examples
    --------
    >>> import torch
    >>> from flowkit.actions.villain import image_terms
    >>> distances, _ = image_terms(torch.tensor([7.0]), 1.0)
    >>> distances.flatten() / torch.pi                          # one turn and 0.23 pi
    tensor([ 6.2282,  4.2282,  2.2282,  0.2282, -1.7718, -3.7718, -5.7718])
    """
    near = x - 2 * math.pi * (x / (2 * math.pi)).round()
    turns = 2 * math.pi * torch.arange(-images, images + 1, dtype=x.dtype, device=x.device)
    distances = near - turns.view(-1, *[1] * x.dim())
    return distances, -b / 2 * distances.square()

"""The Wilson action of U(1) on lifts, with free photons at the other end."""

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.villain import image_terms
from flowkit.checks import Positive, Share, checked
from flowkit.geometry.lift import lifted_angles, require_lifts
from flowkit.geometry.space import Space

NEAREST = 1
"""Turns to each side in ln p: the next ones have e^(-39 b') of its weight, and these theories lie in between alone."""


class LiftedWilson(Action):
    r"""Theories of lifts of U(1) links between free photons and the Wilson action.

    .. math:: S_t = \sum_P \Big[ (1 - t)\, \frac{b}{2} x_P^2 - t\, \big(\beta \cos x_P + \ln p(x_P)\big) \Big], \qquad
              p(x) = \frac{e^{-b' x^2 / 2}}{\sum_k e^{-b' (x - 2 \pi k)^2 / 2}}

    Parameters
    ----------
    space : Space
        Lifts, of `flowkit.geometry.lifts`.
    beta : float
        Coupling of the Wilson action, positive.
    b : float
        Coupling of the photons, positive.
    lift : float
        b', of the law of a lift at given links, as in `FromLifts`; positive.
    t : float
        From 0, free photons, to 1.

    Raises
    ------
    ValueError
        For another space, or couplings outside their ranges.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.geometry import lifts
    >>> action = fk.actions.LiftedWilson(lifts(fk.links((2, 2, 2), fk.U1())), beta=2.0, b=1.6, lift=1.1)
    >>> action(torch.zeros(1, *action.space.shape))            # 24 plaquettes of angle 0
    tensor([-48.])
    """

    couplings = ("beta", "b", "lift", "t")

    @checked
    def __init__(self, space: Space, beta: Positive, b: Positive, lift: Positive, t: Share = 1.0):
        super().__init__(space)
        require_lifts("LiftedWilson", space)
        self.beta, self.b, self.lift, self.t = beta, b, lift, t

    def of_angles(self, x: Tensor) -> Tensor:
        """The action of real angles, ``[batch, plane, *lattice]`` to ``[batch]``."""
        _, exponents = image_terms(x, self.lift, NEAREST)
        log_p = -self.lift / 2 * x.square() - torch.logsumexp(exponents, 0)
        terms = (1 - self.t) * self.b / 2 * x.square() - self.t * (self.beta * x.cos() + log_p)
        return terms.flatten(1).sum(1)

    def slope(self, x: Tensor) -> Tensor:
        """dS / dx of each real angle, of the shape of x."""
        distances, exponents = image_terms(x, self.lift, NEAREST)
        log_p = self.lift * ((torch.softmax(exponents, 0) * distances).sum(0) - x)
        return (1 - self.t) * self.b * x + self.t * (self.beta * x.sin() - log_p)

    def __call__(self, x: Tensor) -> Tensor:
        return self.of_angles(lifted_angles(self.space.check(x)))

    def schwinger_dyson(self, x: Tensor) -> Tensor | None:
        """None: a part of a lift is whole numbers."""
        return None

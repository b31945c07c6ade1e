"""The one-matrix model."""

import math
from collections.abc import Sequence

from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry, conjugation
from flowkit.observables import Observable, name_of


class MatrixModel(Action):
    r"""A model of single group elements, each link of the field on its own.

    .. math:: S(U) = -\frac{\beta}{N} \mathrm{Re\,Tr} \sum_k a_k U^k, \qquad k = 1, 2, \dots

    Parameters
    ----------
    space : Space
        Links, fields ``[batch, mu, *lattice, *matrix]``; ``links((1,), SUN(n))`` is one matrix.
    beta : float
        Coupling, dimensionless, of either sign.
    coefficients : sequence of float
        a_1, a_2, ...; for (1,) `exact` knows the trace and `log_z` the integral.

    Raises
    ------
    ValueError
        For sites, a beta that is not a finite number, or no coefficients.

    References
    ----------
    Gross and Witten, Phys. Rev. D 21 (1980) 446; Kanwar et al., 2003.06413, for flows.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> action = fk.MatrixModel(fk.links((1,), fk.SUN(3)), beta=6.0)
    >>> action(action.space.cold(1, like=torch.zeros(1)))
    tensor([-6.])
    >>> round(action.exact("trace"), 4)
    0.4225
    """

    couplings = ("beta", "coefficients")

    @checked
    def __init__(self, space: Space, beta: float, coefficients: Sequence[float] = (1.0,)):
        super().__init__(space)
        if space.kind != "links":
            raise ValueError(f"MatrixModel needs links; got {space}.")
        if not coefficients:
            raise ValueError("MatrixModel needs coefficients (a_1, a_2, ...); got none.")
        self.beta, self.coefficients = beta, tuple(coefficients)

    def __call__(self, x: Tensor) -> Tensor:
        G = self.space.group
        power, total = self.space.check(x), self.coefficients[0] * G.trace(x)
        for a in self.coefficients[1:]:
            power = G.compose(power, x)
            total = total + a * G.trace(power)
        return -self.beta * total.flatten(1).sum(1)

    def force(self, x: Tensor) -> Tensor:
        G = self.space.group
        power, total = x, self.coefficients[0] * G.trace_slope(x)
        for k, a in enumerate(self.coefficients[1:], start=2):
            power = G.compose(power, x)
            total = total + k * a * G.trace_slope(power)
        return self.beta * total

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Charge conjugation; none of a subclass with another formula."""
        return (conjugation(self.space),) if type(self).__call__ is MatrixModel.__call__ else ()

    def exact(self, observable: Observable | str) -> float | None:
        known = name_of(observable) == "trace" and self.coefficients == (1.0,) and self.beta >= 0
        return self.space.group.one_plaquette_mean(self.beta) if known else None

    def log_z(self) -> float | None:
        if self.coefficients != (1.0,) or self.beta < 0:
            return None
        one = self.space.group.one_plaquette_log_z(self.beta)
        return None if one is None else math.prod(self.space.shape[: 1 + self.space.ndim]) * one

"""The one-matrix model."""

import math
from collections.abc import Sequence

from torch import Tensor

from flowkit.actions.base import Action
from flowkit.geometry.space import Space
from flowkit.groups import SUN


class MatrixModel(Action):
    """S(U) = -(beta/N) Re Tr sum_k a_k U^k, k = 1, 2, ..., for each matrix of the field on its own.

    Field     links of SU(N), [batch, mu, *lattice, N, N]; `links((1,), SUN(n))` is one matrix
    Returns   S, dimensionless, [batch]
    Exact     a = (1,): flowkit.exact.sun_one_plaquette
    Raises    ValueError for another group, beta that is not a finite number, or no coefficients
    See       Gross and Witten, Phys. Rev. D 21 (1980) 446; 2003.06413 for flows
    """

    couplings = ("beta", "coefficients")

    def __init__(self, space: Space, beta: float, coefficients: Sequence[float] = (1.0,)):
        super().__init__(space)
        if not isinstance(space.group, SUN):
            raise ValueError(f"MatrixModel needs links of SU(N); got {space}.")
        if not isinstance(beta, (int, float)) or not math.isfinite(beta):
            raise ValueError(f"MatrixModel needs a finite beta; got {beta!r}.")
        if not len(coefficients) or not all(math.isfinite(a) for a in coefficients):
            raise ValueError(f"MatrixModel needs finite coefficients (a_1, a_2, ...); got {coefficients!r}.")
        self.beta, self.coefficients = float(beta), tuple(float(a) for a in coefficients)

    def __call__(self, x: Tensor) -> Tensor:
        power, total = self.space.check(x), self.coefficients[0] * self.space.group.trace(x)
        for a in self.coefficients[1:]:
            power = power @ x
            total = total + a * self.space.group.trace(power)
        return -self.beta * total.flatten(1).sum(1)

    def force(self, x: Tensor) -> Tensor:
        group = self.space.group
        assert isinstance(group, SUN)
        power, total = x, self.coefficients[0] * x
        for k, a in enumerate(self.coefficients[1:], start=2):
            power = power @ x
            total = total + k * a * power
        # dS/dw^a = (beta/N) Im Tr(T_a sum_k k a_k U^k)
        return self.beta / (2 * group.n) * group.coordinates(1j * total)

    def exact(self, name: str) -> float | None:
        if name != "trace" or self.coefficients != (1.0,) or self.beta < 0:
            return None
        from flowkit import exact

        return exact.sun_one_plaquette(self.space.group.dimension, self.beta)

    def log_z(self) -> float | None:
        if self.coefficients != (1.0,) or self.beta < 0:
            return None
        from flowkit import exact

        count = math.prod(self.space.shape[: 1 + self.space.ndim])
        return count * exact.sun_one_plaquette_log_z(self.space.group.dimension, self.beta)

"""What flows in continuous time share: a Runge-Kutta method on links, its inverse, its score and its error."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from flowkit.geometry.space import Space
from flowkit.priors import Prior
from flowkit.transforms.base import Transform
from flowkit.transforms.links.recomputed import Recomputed

CHUNK = 2**14  # links in one graph of a score


class IntegratedFlow(Transform, ABC):
    r"""Links that move with a velocity w(U, t) from t = 0 to t = 1, by a Runge-Kutta method of order 4.

    .. math:: \dot U = i T_a\, w^a(U, t)\, U, \qquad
              \ln \det \frac{dU(1)}{dU(0)} = \int_0^1 dt \sum d^a w^a

    A subclass writes `_slope`, the velocity and its divergence, and sets `coefficients`. The commutator-free method of
    Celledoni, Marthinsen and Owren makes `steps` equal steps, and `inverse` undoes the very steps of `forward`.
    """

    coefficients: nn.Parameter

    def __init__(self, space: Space, steps: int):
        super().__init__(space)
        self.steps = steps

    @abstractmethod
    def _slope(self, x: Tensor, theta: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """The velocity, ``[batch, *space.algebra_shape]``, and its divergence, ``[batch]``, at coefficients that are
        those of the flow, as `_table` gives them, or one set for each field.
        """

    def _table(self, coefficients: Tensor) -> Tensor:
        """The coefficients, ``[..., count]``, as `_slope` takes them."""
        return coefficients

    # ---------------------------------------------------------------- the integrator

    def _turn(self, w: Tensor, x: Tensor) -> Tensor:
        group = self.space.group
        return group.compose(group.exp(w), x)

    def _step(self, x: Tensor, theta: Tensor, t: float, h: float) -> tuple[Tensor, Tensor]:
        """One Runge-Kutta step from t to t + h, and its part of the log-Jacobian."""
        k1, d1 = self._slope(x, theta, t)
        middle = self._turn(h / 2 * k1, x)
        k2, d2 = self._slope(middle, theta, t + h / 2)
        k3, d3 = self._slope(self._turn(h / 2 * k2, x), theta, t + h / 2)
        k4, d4 = self._slope(self._turn(h * (k3 - k1 / 2), middle), theta, t + h)
        both = (k2 + k3) / 6
        x = self._turn(h * (k1 / 4 + both - k4 / 12), x)
        return self._turn(h * (both + k4 / 4 - k1 / 12), x), h / 6 * (d1 + 2 * (d2 + d3) + d4)

    def _run(self, x: Tensor, theta: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """From t = 0 to 1, or back for negative steps."""
        h, total = 1 / steps, x.real.new_zeros(len(x))
        for k in range(abs(steps)):
            time = k * h if steps > 0 else 1 + k * h
            x, logdet = Recomputed.apply(self._step, x, theta, time, h)  # type: ignore[no-untyped-call]
            total = total + logdet
        return x, total

    def trajectory(self, x: Tensor) -> Iterator[tuple[float, Tensor, Tensor]]:
        """The times between the steps of `forward`, 0 and 1 among them, and at each of them fields and log-Jacobian."""
        x, theta, total = self.space.check(x), self._table(self.coefficients), x.real.new_zeros(len(x))
        yield 0.0, x, total
        for k in range(self.steps):
            x, logdet = self._step(x, theta, k / self.steps, 1 / self.steps)
            total = total + logdet
            yield (k + 1) / self.steps, x, total

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(self.space.check(x), self._table(self.coefficients), self.steps)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        theta = self._table(self.coefficients)
        back, total = self._run(self.space.check(y), theta, -self.steps)
        with torch.no_grad():
            x, logdet = self._undo(y, theta)
        if not back.requires_grad:
            return x, -logdet
        # The values of the undone steps, with the gradients of the flow back.
        group = self.space.group
        moved = group.compose(group.compose(x, group.inverse(back.detach())), back)
        return moved, total + (-logdet - total).detach()

    def _undo(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """x and logdet with y the image of x, step by step: the step back starts from an y that is moved by what its
        image misses, which shrinks by O(h^5) each time.
        A RuntimeError says where it does not shrink.
        """
        group, h, size = self.space.group, 1 / self.steps, 0.0
        total = y.real.new_zeros(len(y))
        rounding = 32 * torch.finfo(total.dtype).eps
        for k in reversed(range(self.steps)):
            aim, logdet, last = y, total, math.inf
            x, _ = self._step(aim, theta, (k + 1) * h, -h)
            for _ in range(50):
                image, logdet = self._step(x, theta, k * h, h)
                miss = group.tangent(group.compose(y, group.inverse(image)))
                size = float(miss.abs().nan_to_num(0.0).amax())  # a field that holds NaN has no steps to undo
                if size <= rounding or size >= last / 2:
                    break
                last, aim = size, self._turn(miss, aim)
                x, _ = self._step(aim, theta, (k + 1) * h, -h)
            if size > math.sqrt(rounding):  # far above what rounding leaves, in either precision
                raise RuntimeError(
                    f"{type(self).__name__} cannot undo its steps: what it found misses the field given by {size:.2g}. "
                    f"{self.steps} steps are too few for these coefficients."
                )
            y, total = x, total + logdet
        return y, total

    # ---------------------------------------------------------------- scores and errors

    def score(self, y: Tensor, prior: Prior) -> Tensor:
        """d log q(y) / d theta at fixed y, [batch, coefficients]: each field flows back to the prior under coefficients
        of its own, few fields at a time.
        """
        rows: list[Tensor] = []
        few = max(1, CHUNK // (self.space.volume * self.space.ndim))
        for some in torch.split(self.space.check(y).detach(), few):
            with torch.enable_grad():
                own = self.coefficients.detach().expand(len(some), -1).clone().requires_grad_()
                z, logdet = self._run(some, self._table(own), -self.steps)
                rows += torch.autograd.grad((logdet + prior.log_prob(z)).sum(), own)
        return torch.cat(rows)

    @property
    def exact(self) -> bool:
        """False: the log-Jacobian is integrated."""
        return False

    @torch.no_grad()
    def defect(self, x: Tensor) -> Tensor:
        """What the integrator adds to log q at y = f(x): that of `forward` minus that of the exact flow, [batch].

        Estimated by twice the steps, back from y: the change times 16 / 15. The exact log-Jacobian of so many steps,
        a determinant over the whole lattice, misses that of `forward` by as much, and as steps^-4 too.
        """
        theta = self._table(self.coefficients)
        y, coarse = self._run(self.space.check(x), theta, self.steps)
        _, fine = self._run(y, theta, -2 * self.steps)
        return (-fine - coarse) * 16 / 15


def polynomials(theta: Tensor, t: float) -> Tensor:
    r"""Legendre polynomials on [0, 1] with given coefficients, :math:`\sum_j \theta_{\cdot j}\, P_j(2 t - 1)`.

    Parameters
    ----------
    theta : Tensor
        ``[..., degree + 1]``.

    Returns
    -------
    Tensor
        ``[...]``.
    """
    x, legendre = 2 * t - 1, [1.0, 2 * t - 1]
    for n in range(1, theta.shape[-1] - 1):
        legendre.append(((2 * n + 1) * x * legendre[n] - n * legendre[n - 1]) / (n + 1))
    return theta @ theta.new_tensor(legendre[: theta.shape[-1]])

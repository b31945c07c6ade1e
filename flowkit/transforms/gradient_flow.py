"""Learned trivializing maps: the flow of links down a potential of few Wilson loops."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.groups import U1
from flowkit.space import Space, links
from flowkit.transforms.base import Transform
from flowkit.transforms.loop_potential import loop_potential


class GradientFlow(Transform):
    """The map from t = 0 to t = 1 of the flow of all links at once

        dU/dt = -i T_a d^a S~(U, t) U,    S~(U, t) = sum_k c_k(t) O_k(U),    c_k(t) = t^(n_k - 1) sum_j theta_kj P_j(2t - 1),

    O_k the loops of `flowkit.transforms.loop_potential`, of order n_k, P_j the Legendre polynomials. The coefficient of
    the plaquette is constant, which fixes what t means. The log-Jacobian is the integral of the divergence
    -sum d^a d^a S~, a combination of loops. All symmetries of the lattice and of the gauge field are kept exactly; the
    weights know no volume.

    Integrator  commutator-free Runge-Kutta of order 4 with `steps` equal steps. `inverse` undoes the very steps of
                `forward`, to rounding. The log-Jacobian is that of the exact flow up to O(steps^-4), and no other
                quantity is approximate: `defect` measures the difference field by field. Choose `steps` so that it is
                small beside the spread of log w. Gradients through `inverse` have the same accuracy
    Field     links of U(1) or SU(N), [batch, mu, *lattice, *matrix]

    order     of the loops, 1 (the plaquette) to 3
    degree    of the polynomials
    steps     of the integrator
    beta      where to start: at the first terms of the series of the trivializing flow of the Wilson action with that
              beta, one for order 1 and two for higher ones; 0 is the identity
    Raises    ValueError for another space, a side below order + 1, or settings outside their ranges
    See       Luescher, 0907.5491; Bacchio, Kessel, Schaefer and Vaitl, 2212.08469; Celledoni, Marthinsen and Owren,
              Future Gener. Comput. Syst. 19 (2003) 341
    """

    def __init__(self, space: Space, order: int = 3, degree: int = 0, steps: int = 8, beta: float = 0.0):
        super().__init__(space)
        if degree < 0 or steps < 1 or not 0 <= beta < math.inf:
            raise ValueError(
                f"GradientFlow needs degree >= 0, steps >= 1 and beta >= 0; got {degree}, {steps} and {beta:g}."
            )
        self.potential = loop_potential(space, order)
        self.order, self.degree, self.steps, self.beta = order, degree, steps, beta
        constant, slope = self.potential.series(beta).unbind(1)
        start = torch.zeros(len(self.loops) - 1, degree + 1, dtype=torch.float64)
        start[:, 0] = slope[1:]
        plain = torch.get_default_dtype()
        # A linear part of the plaquette's coefficient is, to this order, another choice of t.
        self.plaquette = nn.Parameter((constant[:1] + slope[:1] / 2).to(plain))
        self.coefficients = nn.Parameter(start.to(plain))

    @property
    def loops(self) -> tuple[str, ...]:
        """The names of the loops, one for each row of `coefficients`."""
        return self.potential.names

    def at(self, t: float) -> Tensor:
        """c_k(t), [loops], dimensionless."""
        return self._at(self._own(), t)

    def _own(self) -> Tensor:
        return self._theta(self.plaquette, self.coefficients)

    def _theta(self, plaquette: Tensor, coefficients: Tensor) -> Tensor:
        """All loops in one table, [..., loops, degree + 1]; in both, [..., 1] and [..., loops - 1, degree + 1]."""
        first = torch.nn.functional.pad(plaquette, (0, self.degree))
        return torch.cat([first[..., None, :], coefficients], -2)

    def _at(self, theta: Tensor, t: float) -> Tensor:
        x, legendre = 2 * t - 1, [1.0, 2 * t - 1]
        for n in range(1, self.degree):
            legendre.append(((2 * n + 1) * x * legendre[n] - n * legendre[n - 1]) / (n + 1))
        powers = theta.new_tensor([t ** (order - 1) for order in self.potential.orders])
        return powers * (theta @ theta.new_tensor(legendre[: self.degree + 1]))

    # ---------------------------------------------------------------- the integrator

    def _slope(self, x: Tensor, theta: Tensor, t: float) -> tuple[Tensor, Tensor]:
        c = self._at(theta, t).unbind(-1)
        w, loops = self.potential.flow(x, c)
        return w, -self.potential.laplacian(loops, c)

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
            x, logdet = _Kept.apply(self._step, x, theta, k * h if steps > 0 else 1 + k * h, h)
            total = total + logdet
        return x, total

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(self.space.check(x), self._own(), self.steps)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        theta = self._own()
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
        """
        group, h = self.space.group, 1 / self.steps
        total = y.real.new_zeros(len(y))
        rounding = 32 * torch.finfo(total.dtype).eps
        for k in reversed(range(self.steps)):
            aim, logdet, last = y, total, math.inf
            x, _ = self._step(aim, theta, (k + 1) * h, -h)
            for _ in range(50):
                image, logdet = self._step(x, theta, k * h, h)
                miss = group.tangent(group.compose(y, group.inverse(image)))
                size = float(miss.abs().amax())
                if size <= rounding or size >= last / 2:
                    break
                last, aim = size, self._turn(miss, aim)
                x, _ = self._step(aim, theta, (k + 1) * h, -h)
            y, total = x, total + logdet
        return y, total

    # ---------------------------------------------------------------- scores and errors

    def score(self, y: Tensor) -> Tensor:
        """d log q(y) / d theta for a prior r = 1, Haar, at fixed y, [batch, coefficients]: each field flows back under
        coefficients of its own.
        """
        with torch.enable_grad():
            own = [p.detach().expand(len(y), *p.shape).clone().requires_grad_() for p in self.parameters()]
            _, logdet = self._run(self.space.check(y).detach(), self._theta(*own), -self.steps)
            gradients = torch.autograd.grad(logdet.sum(), own)
        return torch.cat([g.flatten(1) for g in gradients], 1)

    @torch.no_grad()
    def defect(self, x: Tensor) -> Tensor:
        """The error of `forward`'s log-Jacobian, [batch]: the exact one of the map of `steps` steps minus that, up to
        higher orders. It is estimated as the change with twice the steps, times 16 / 15, of log q at one y.
        """
        theta = self._own()
        y, coarse = self._run(self.space.check(x), theta, self.steps)
        _, fine = self._run(y, theta, -2 * self.steps)
        return (-fine - coarse) * 16 / 15

    def rebuild(self, space: Space) -> "GradientFlow":
        return GradientFlow(space, self.order, self.degree, self.steps, self.beta)

    def extra_repr(self) -> str:
        return f"{len(self.loops)} loops, order={self.order}, degree={self.degree}, steps={self.steps}"

    @classmethod
    def example(cls) -> "GradientFlow":
        return GradientFlow(links((4, 5), U1()), degree=1, steps=64)


class _Kept(torch.autograd.Function):
    """A step that the backward pass does again instead of keeping what lies between its ends."""

    @staticmethod
    def forward(ctx: Any, step: Callable[..., tuple[Tensor, Tensor]], x: Tensor, theta: Tensor, t: float, h: float) -> Any:
        ctx.save_for_backward(x, theta)
        ctx.step, ctx.times = step, (t, h)
        return step(x, theta, t, h)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[1:3]
        with torch.enable_grad():
            inputs = [p.detach().requires_grad_(need) for p, need in zip(ctx.saved_tensors, wanted, strict=True)]
            out = ctx.step(*inputs, *ctx.times)
            found = iter(torch.autograd.grad(out, [p for p in inputs if p.requires_grad], gradients))
        return (None, *(next(found) if need else None for need in wanted), None, None)

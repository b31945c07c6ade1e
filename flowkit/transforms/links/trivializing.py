"""Learned trivializing maps: the flow of links down a potential of few Wilson loops."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from flowkit.checks import Count, NotNegative, Range, checked
from flowkit.geometry.space import Space
from flowkit.priors import Prior
from flowkit.transforms.base import Transform
from flowkit.transforms.links.loop_potential import loop_potential
from flowkit.transforms.links.recomputed import Recomputed

CHUNK = 2**14  # links in one graph of a score


class TrivializingFlow(Transform):
    r"""The flow of all links at once down a learned potential of few Wilson loops, from t = 0 to t = 1.

    .. math::
        \dot U &= -i T_a\, d^a \tilde S(U, t)\, U, \qquad \tilde S(U, t) = \sum_k c_k(t)\, O_k(U), \\
        c_k(t) &= t^{n_k - 1} \sum_j \theta_{kj}\, P_j(2 t - 1)

    O_k are the loops of `flowkit.transforms.links.loop_potential`, of order n_k, and P_j Legendre polynomials. The
    coefficient of the plaquette is constant, which fixes what t means. All symmetries of the lattice and of the gauge
    field are kept exactly, and the weights do not depend on the volume.

    Parameters
    ----------
    space : Space
        Links of U(1) or SU(N), fields ``[batch, mu, *lattice, *matrix]``.
    order : int
        Of the loops, 1 (the plaquette alone) to 3.
    degree : int
        Of the polynomials of the loops of second order; one less for those of third.
    steps : int
        Of the integrator.
    beta : float
        Where to start: at the first terms of the series of the trivializing flow of the Wilson action with that beta,
        one for order 1 and two for higher ones; 0 is the identity.

    Raises
    ------
    ValueError
        For another space, a side below order + 1, or settings outside their ranges.
    RuntimeError
        From `inverse`, where the steps are too few to be undone.

    Notes
    -----
    A commutator-free Runge-Kutta method of order 4 integrates the flow in `steps` equal steps, and `inverse` undoes the
    very steps of `forward`, to rounding. The log-Jacobian is that of the continuous flow, the integral of the
    divergence :math:`-\sum d^a d^a \tilde S`, by the same rule. It differs from the log-determinant of the map that
    `forward` computes by O(steps^-4), and so does all that uses it: weights, the theory that HMC on a pullback samples,
    and gradients through `inverse`. `defect` estimates the difference field by field. Ensembles keep its rms, and their
    means have a note where it may shift them by more than a tenth of their error. Choose `steps` so that it is small
    beside the spread of log w, and measure again after training.

    References
    ----------
    Luescher, 0907.5491; Bacchio, Kessel, Schaefer and Vaitl, 2212.08469; Celledoni, Marthinsen and Owren, Future Gener.
    Comput. Syst. 19 (2003) 341.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> f = fk.transforms.TrivializingFlow(fk.links((4, 4), fk.U1()), order=1, beta=2.0)
    >>> f.loops, f.at(0.5)                                    # -beta / 4 of the plaquette
    (('cos',), tensor([-0.5000], grad_fn=<MulBackward0>))
    >>> x = f.space.haar(2, torch.Generator().manual_seed(1))
    >>> bool((f.defect(x).abs() < 0.01).all())
    True
    """

    places: Tensor

    @checked
    def __init__(
        self,
        space: Space,
        order: int = 3,
        degree: Annotated[int, Range(0, 64)] = 1,
        steps: Count = 8,
        beta: NotNegative = 0.0,
    ):
        super().__init__(space)
        self.potential = loop_potential(space, order)
        self.order, self.degree, self.steps, self.beta = order, degree, steps, beta
        # A linear part of the plaquette's coefficient is, to this order, another choice of t.
        constant, slope = self.potential.series(beta).unbind(1)
        start = torch.zeros(len(self.loops), degree + 1, dtype=torch.float64)
        start[:, 0] = slope
        start[0, 0] = constant[0] + slope[0] / 2
        free = [k * (degree + 1) + j for k, n in enumerate(self._degrees()) for j in range(n + 1)]
        self.register_buffer("places", torch.tensor(free), persistent=False)
        self.coefficients = nn.Parameter(start.flatten()[free].to(torch.get_default_dtype()))

    def _degrees(self) -> list[int]:
        """The degree of each loop's polynomial."""
        return [0 if order == 1 else max(0, self.degree + 2 - order) for order in self.potential.orders]

    @property
    def loops(self) -> tuple[str, ...]:
        """The names of the loops, one for each row of `coefficients`."""
        return self.potential.names

    def at(self, t: float) -> Tensor:
        """The coefficient c_k(t) of each loop in the potential at flow time t in [0, 1], ``[loops]``."""
        return self._at(self._table(self.coefficients), t)

    def _table(self, coefficients: Tensor) -> Tensor:
        """theta, [..., loops, degree + 1], of the free ones, [..., count]."""
        shape = len(self.loops), self.degree + 1
        zero = coefficients.new_zeros(*coefficients.shape[:-1], math.prod(shape))
        return zero.index_copy(-1, self.places, coefficients).view(*coefficients.shape[:-1], *shape)

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
            time = k * h if steps > 0 else 1 + k * h
            x, logdet = Recomputed.apply(self._step, x, theta, time, h)  # type: ignore[no-untyped-call]
            total = total + logdet
        return x, total

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
                    f"TrivializingFlow cannot undo its steps: what it found misses the field given by {size:.2g}. "
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

    def extra_repr(self) -> str:
        return f"{len(self.loops)} loops, order={self.order}, degree={self.degree}, steps={self.steps}"

"""Learned trivializing maps: the flow of links down a potential of few Wilson loops."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from flowkit.checks import Count, NotNegative, Range, checked
from flowkit.geometry.space import Space
from flowkit.transforms.links.integrated import IntegratedFlow, polynomials
from flowkit.transforms.links.loop_potential import loop_potential


class TrivializingFlow(IntegratedFlow):
    r"""The flow of all links at once down a learned potential of few Wilson loops, from t = 0 to t = 1.

    .. math::
        \dot U &= -i T_a\, d^a \tilde S(U, t)\, U, \qquad \tilde S(U, t) = \sum_k c_k(t)\, O_k(U), \\
        c_k(t) &= t^{n_k - 1} \sum_j \theta_{kj}\, P_j(2 t - 1)

    O_k are the loops of `flowkit.transforms.links.loop_potential`, of order n_k, and P_j Legendre polynomials. All
    symmetries of the lattice and of the gauge field are kept exactly, and the weights do not depend on the volume. For
    U(1) and SU(2) they are all that the series has: up to order 3 in three dimensions 39 and 17.

    Parameters
    ----------
    space : Space
        Links of U(1) or SU(N), fields ``[batch, mu, *lattice, *matrix]``.
    order : int
        Of the loops, 1 (the plaquette alone) to 3.
    degree : int
        Of the polynomials of the loops of second order; one less for each order more. That of the plaquette is
        constant, which fixes what t means.
    steps : int
        Of the integrator.
    beta : float
        Where to start: at the first terms of the series of the trivializing flow of the Wilson action with that beta,
        one for order 1 and two for higher ones; 0 is the identity.
    path : bool
        Whether t is that of the theories exp(-t S), as `flowkit.train.ContinuityStep` needs it: the polynomials of all
        loops, the plaquette among them, then have the same degree.

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
        path: bool = False,
    ):
        super().__init__(space, steps)
        self.potential = loop_potential(space, order)
        self.order, self.degree, self.beta, self.path = order, degree, beta, path
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
        if self.path:
            return [self.degree] * len(self.potential.orders)
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
        powers = theta.new_tensor([t ** (order - 1) for order in self.potential.orders])
        return powers * polynomials(theta, t)

    def _slope(self, x: Tensor, theta: Tensor, t: float) -> tuple[Tensor, Tensor]:
        c = self._at(theta, t).unbind(-1)
        w, loops = self.potential.flow(x, c)
        return w, -self.potential.laplacian(loops, c)

    def continuity(self, x: Tensor, slope: Tensor, t: float) -> Tensor:
        r"""How each coefficient changes log w per unit of flow time, where the theory at t is exp(-t S).

        .. math:: A_{kj} = \frac{\partial}{\partial\theta_{kj}} \left(\sum d^a w^a - t \sum w^a d^a S\right)

        Parameters
        ----------
        x : Tensor
            Fields, ``[batch, *space.shape]``.
        slope : Tensor
            d^a S, ``[batch, *space.algebra_shape]``.
        t : float
            The flow time.

        Returns
        -------
        Tensor
            ``[batch, coefficients]``.
        """
        loops, slopes = self.potential.along(x, slope)
        changes = t * slopes - self.potential.laplacians(loops)  # of c_k: w = -dS~
        weights = self._at(self._table(torch.eye(len(self.places)).to(self.coefficients)), t)
        return changes @ weights.to(changes).T

    def extra_repr(self) -> str:
        return f"{len(self.loops)} loops, order={self.order}, degree={self.degree}, steps={self.steps}"

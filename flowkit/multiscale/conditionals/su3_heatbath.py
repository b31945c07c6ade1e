"""The heatbath law of a link of SU(3): its normaliser by quadrature, and draws column by column."""

import functools
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from flowkit.checks import Range, checked
from flowkit.groups import SUN
from flowkit.kernels.native import kept_on_cpu
from flowkit.multiscale.conditionals.by_columns import ColumnConditional
from flowkit.multiscale.conditionals.columns import Cube, HaarColumn, HeatColumn
from flowkit.multiscale.conditionals.frames import Column, Frame, singular
from flowkit.multiscale.conditionals.sine_law import SineLaw, angles
from flowkit.multiscale.conditionals.tilts import inside
from flowkit.multiscale.doubling import Loops

FIRST, SECOND, THIRD = 20, 5, 3
"""Nodes of the quadrature in the angle a of x = cos a, in y / sin a and in t."""
FINE = 16
"""Nodes of the densities of y / sin a and of t from which one link is drawn."""


class SU3Column(HaarColumn):
    r"""The first column of Y in SU(3) of density :math:`\propto e^{\mathrm{Re\,Tr}\, Y D e^{-i \phi}}`, exactly.

    Notes
    -----
    With the coordinates of `HaarColumn`, :math:`z = x + i y` and t, the remaining SU(2) matrix integrates to

    .. math::
        e^{D_1 x} \frac{I_1(2k)}{k}, \qquad
        4 k^2 = t\, |D_2 + D_3 z'|^2 + (1 - t)\, |D_3 + D_2 z'|^2, \qquad z' = e^{3 i \phi} z

    Over y and t Gauss' rules integrate it, over a the trapezoidal one, which converges as a Fourier series does.
    """

    def __init__(self) -> None:
        super().__init__(3)

    @staticmethod
    def weight(scales: Tensor, turn: Tensor, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """ln of the weight of a column, less the sum of all scales; turn holds the two parts of e^{3 i phi}."""
        a, b, c = scales
        size, cross = x * x + y * y, b * c
        along = turn[0] * x - turn[1] * y
        square = (b * b + c * c) * ((1 + size) / 2) + (b * b - c * c) * ((1 - size) * (t - 0.5)) + 2 * cross * along
        # With the square root's slope finite at 0.
        k = (square.clamp(min=0) + torch.finfo(square.dtype).eps ** 2).sqrt()
        log: Tensor = a * (x - 1) + k - b - c + (2 * torch.special.i1e(k) / k).log()
        return log

    def over_a(self, scales: Tensor, turn: Tensor) -> Tensor:
        """The density of the angle a at `angles`, times a constant, [nodes, links]."""
        rule, rows = _rule(SECOND, THIRD, scales.dtype, scales.device), []
        for a in angles(FIRST, scales):
            x, sine = a.cos(), a.sin()
            y, t = (row[:, None] for row in rule[:2])
            log = self.weight(scales[:, None], turn[:, None], x, sine * y, t)
            rows.append(sine**4 * (rule[2] @ log.exp()))
        return torch.stack(rows)

    def log_norm(self, scales: Tensor, turn: Tensor) -> Tensor:
        """ln of the Haar integral of the weight, less the sum of the scales, [links]."""
        mean = self.over_a(scales, turn).mean(0) * (8 / 3)  # sin^4 has the mean 3 / 8
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()

    def _turn(self, frame: Frame) -> Tensor:
        assert frame.phase is not None
        turn = frame.phase**3
        return torch.stack([turn.real, turn.imag])

    def _laws(self, frame: Frame, turn: Tensor, x: Tensor, sine: Tensor) -> SineLaw:
        """The law of b with y = -sin a cos b, given a."""
        rule = _rule(1, 4, x.dtype, x.device)
        b = angles(FINE, x)
        y = -sine * b.cos()[:, None]
        log = self.weight(frame.scales[:, None, None], turn[:, None, None], x, y, rule[1][:, None, None])
        return SineLaw.of(b.sin()[:, None] ** 3 * torch.einsum("t,tml->ml", rule[2], log.exp()), True)

    def _last(self, frame: Frame, turn: Tensor, x: Tensor, y: Tensor) -> SineLaw:
        """The law of b with t = (1 - cos b) / 2, given x and y."""
        b = angles(FINE, x)
        log = self.weight(frame.scales[:, None], turn[:, None], x, y, (1 - b.cos()[:, None]) / 2)
        return SineLaw.of(b.sin()[:, None] * log.exp(), True)

    def sample_and_log_prob(
        self, cube: Cube, frame: Frame, gate: Tensor | None, context: list[Tensor]
    ) -> tuple[Column, list[Tensor], Tensor]:
        turn, units = self._turn(frame), [inside(u) for u in cube.units]
        over_a = self.over_a(frame.scales, turn)
        a = SineLaw.of(over_a, False).angle(units[0])
        x, sine = a.cos(), a.sin()
        c = -self._laws(frame, turn, x, sine).angle(units[1]).cos()
        y, root = sine * c, sine * (1 - c.square()).clamp(min=0).sqrt()
        t = (1 - self._last(frame, turn, x, y).angle(units[2]).cos()) / 2
        column = Column(x, y, root, [(1 - t).clamp(min=0).sqrt(), t.clamp(min=0).sqrt()])
        return column, cube.phases, self._density(frame, turn, over_a, x, y, t)

    def read(
        self, column: Column, phases: list[Tensor], frame: Frame, gate: Tensor | None, context: list[Tensor]
    ) -> tuple[Cube, Tensor]:
        x, y, root, parts = column
        turn = self._turn(frame)
        over_a, sine = self.over_a(frame.scales, turn), torch.hypot(y, root)
        first = SineLaw.of(over_a, False).cdf(torch.atan2(sine, x))[0]
        second = self._laws(frame, turn, x, sine).cdf(torch.atan2(root, -y))[0]
        last = self._last(frame, turn, x, y).cdf(2 * torch.atan2(parts[1], parts[0]))[0]
        units = [inside(u) for u in (first, second, last)]
        return Cube(units, phases), self._density(frame, turn, over_a, x, y, parts[1].square())

    def _density(self, frame: Frame, turn: Tensor, over_a: Tensor, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        norm = (over_a.mean(0) * (8 / 3)).clamp(min=torch.finfo(x.dtype).tiny).log()
        return self.weight(frame.scales, turn, x, y, t) - norm


class SU3HeatbathConditional(ColumnConditional):
    r"""The heatbath law of a linear combination of staples for SU(3), as `LinearHeatbathConditional` for SU(2).

    Parameters
    ----------
    loops : int
        Number of loops through each link. Each has its own coefficient, 0 at the start: Haar measure.

    Raises
    ------
    ValueError
        For no loops, and in use for another number of them.

    Notes
    -----
    .. math:: q(V | R) = \frac{1}{Z(J)} \exp[\tfrac{1}{3} {\rm Re\,Tr}\, V J^\dagger], \quad J = \sum_i c_i S_i,
              \quad S_i = R_i^\dagger

    Loops are elements of the group or sums of elements, as `DressedStaples` gives them. Z is computed by quadrature
    from the singular values of J and the phase of its determinant: ln Z to 1e-5 where those of J / 3 are below 8. A
    link is drawn column by column in the frame of J, see `SU3Column`. The likelihood of given links is concave in the
    coefficients, and

    .. math:: \frac{\partial \log q}{\partial c_i} = \tfrac{1}{3} {\rm Re\,Tr}\,(V - \langle V \rangle) S_i^\dagger

    References
    ----------
    N. Cabibbo and E. Marinari, Phys. Lett. B 119 (1982) 387, for the same law by a Markov chain.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.multiscale.SU3HeatbathConditional(loops=1)
    >>> _ = model.coefficients.data.fill_(3.0)
    >>> one = torch.eye(3, dtype=torch.complex64)[None]
    >>> model.log_prob(one, (one,)).detach(), 3 - fk.SUN(3).one_plaquette_log_z(3.0)
    (tensor([2.7114]), 2.711436...)
    """

    @checked
    def __init__(self, loops: Annotated[int, Range(1, 1000)] = 2):
        super().__init__()
        self.coefficients = nn.Parameter(torch.zeros(loops))
        self._first = SU3Column()
        self._set(SUN(3), loops, [HeatColumn(2, 0, 0, (), turns=False, learned=False)])

    def _own(self) -> list[HaarColumn]:
        return [self._first, *super()._own()]

    def _start(self, loops: Loops) -> tuple[Frame, None, list[Tensor]]:
        return self._frame(self._flat(loops)), None, []

    def _frame(self, loops: Loops) -> Frame:
        J = sum(c * r for c, r in zip(self.coefficients / 3, loops, strict=True))
        assert isinstance(J, Tensor)
        return singular(J.mH, J)

    def log_prob(self, v: Tensor, loops: Loops) -> Tensor:
        flat = self._flat(loops)
        frame = self._frame(flat)
        V = v.flatten(0, -3)
        exponent = sum(c * _inner(V, r) for c, r in zip(self.coefficients, flat, strict=True))
        norm = self._first.log_norm(frame.scales, self._first._turn(frame))
        log: Tensor = exponent - frame.scales.sum(0) - norm
        return log.view(v.shape[:-2])

    @torch.no_grad()
    def score(self, v: Tensor, loops: Loops) -> Tensor:
        if not self.coefficients.requires_grad:
            return v.real.new_zeros(len(v), 0)
        off = v - self.mean(loops)
        return torch.stack([_inner(off, r).flatten(1).sum(1) for r in loops], 1)

    def mean(self, loops: Loops) -> Tensor:
        """The mean of V, in the shape of a loop, from the slopes of ln Z; no gradient reaches it."""
        frame = self._frame(self._flat(loops))
        assert frame.phase is not None
        scales, turn = frame.scales.detach(), self._first._turn(frame).detach()
        with torch.enable_grad():
            scales.requires_grad_()
            turn.requires_grad_()
            norm = self._first.log_norm(scales, turn)
            slopes, turned = torch.autograd.grad(norm.sum(), (scales, turn))
        # e^{-i phi} Y_jj has the real part d ln Z / dD_j, and D_j times its imaginary part is the same for all j.
        part = (turn[0] * turned[1] - turn[1] * turned[0]) / scales.clamp(min=torch.finfo(scales.dtype).tiny)
        with torch.no_grad():
            diagonal = torch.complex(slopes + 1, part).movedim(0, -1) * frame.phase[:, None]
            return frame.outside(torch.diag_embed(diagonal)).view(loops[0].shape)

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.coefficients.mul_(ratio)


def _inner(v: Tensor, loop: Tensor) -> Tensor:
    """Re Tr V R / 3, [links]."""
    group = SUN(3)
    return group.trace(group.compose(v, loop))


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def _rule(second: int, third: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Nodes of c with the weight (1 - c^2), of t in [0, 1], and weights of sum 1: [3, nodes]."""
    c, outer = _jacobi(second)
    t, inner = np.polynomial.legendre.leggauss(third)
    rows = [np.repeat(c, third), np.tile((t + 1) / 2, second), np.outer(outer, inner / 2).ravel()]
    return torch.tensor(np.stack(rows), dtype=torch.float64).to(device, dtype)


def _jacobi(
    m: int,
) -> tuple["np.ndarray[tuple[int], np.dtype[np.float64]]", "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    """Gauss' rule of the weight 3 (1 - c^2) / 4 on [-1, 1], from the recursion of its polynomials."""
    k = np.arange(1, m)
    beta = np.sqrt(k * (k + 2) / ((2 * k + 1) * (2 * k + 3)))
    nodes, vectors = np.linalg.eigh(np.diag(beta, 1) + np.diag(beta, -1))
    return nodes, vectors[0] ** 2

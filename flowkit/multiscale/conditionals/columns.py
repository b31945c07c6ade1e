"""The first column of an SU(n) matrix: coordinates in which Haar measure is uniform, and a heat law with splines."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowkit.bijections.splines import CircleSpline, IntervalSpline
from flowkit.kernels.heat import heat_angle, heat_cdf, heat_log_norm
from flowkit.multiscale.conditionals.frames import Column, Frame
from flowkit.multiscale.conditionals.tilts import (
    inside,
    ratio_gain,
    side,
    side_cdf,
    side_gain,
    tilted,
    tilted_side,
    tilted_side_cdf,
)
from flowkit.nets import PointwiseNet


class Cube(NamedTuple):
    """Coordinates of one column in which Haar measure is uniform, each [links].

    `units` in [0, 1] belong to the polar angle a, to the second coordinate c and to n - 2 ratios of moduli; `phases` in
    [-pi, pi) to all numbers but the first.
    """

    units: list[Tensor]
    phases: list[Tensor]


class HaarColumn:
    """The first column of an SU(n) matrix with Haar measure, a uniform point (x + i y, v_2, ..., v_n) on S^{2n-1}.

    x = cos a, where a has the density sin^{2n-2} a; y = c sin a, where c has the density (1 - c^2)^{n-2}. The moduli
    follow one after another: |v_k|^2 is the fraction 1 - s^{1/m} of what is left of the norm, with s uniform and m the
    number of moduli that follow. The phases of v_2, ..., v_n are uniform.
    """

    def __init__(self, n: int, bins: int = 0):
        self.n = n
        if bins:
            self.interval, self.circle = IntervalSpline(bins), CircleSpline(bins)

    def parameters_of(self, k: int, context: list[Tensor]) -> Tensor | None:
        """Parameters of the spline of unit k (k = n: of the phase), given what is known so far; None for no spline."""
        return None

    def kappa(self, frame: Frame, params: Tensor | None) -> Tensor:
        """The coefficient kappa of the weight exp(kappa cos a), [links]; params are those of unit 0."""
        return torch.zeros_like(frame.scales[0])

    def side_law(self, x: Tensor, sine: Tensor, frame: Frame) -> tuple[Tensor | None, Tensor] | None:
        """(linear, square) of the factor 1 + linear c + square c^2 in the density of c, given x; None for no factor."""
        return None

    def ratio_law(self, x: Tensor, y: Tensor, frame: Frame) -> Tensor | None:
        """The slope of a factor exp(slope |v_3|^2 / (|v_2|^2 + |v_3|^2)), n = 3, given x and y; None for no factor."""
        return None

    def bend(self, u: Tensor, params: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor | float]:
        """A unit moved by its spline, and the logarithm of the slope."""
        if params is None:
            return u, 0.0
        return (self.interval.inverse if inverse else self.interval.forward)(u, params[: self.interval.count])

    def turn(self, phase: Tensor, gate: Tensor, context: list[Tensor], inverse: bool) -> tuple[Tensor, Tensor | float]:
        """The phase of v_2 moved by its spline, the identity where `gate` is 0, and the logarithm of the slope."""
        params = self.parameters_of(self.n, context)
        if params is None:
            return phase, 0.0
        return (self.circle.inverse if inverse else self.circle.forward)(phase, gate * params)

    def sample_and_log_prob(
        self, cube: Cube, frame: Frame, gate: Tensor | None, context: list[Tensor]
    ) -> tuple[Column, list[Tensor], Tensor]:
        """The column, the phases of v_2, ..., and log q of both; what is drawn is appended to `context`."""
        params = self.parameters_of(0, context)
        kappa = self.kappa(frame, params)
        u, slope = self.bend(cube.units[0], params, False)
        a = heat_angle(inside(u), kappa, 2 * self.n - 2)
        x, sine = a.cos(), a.sin()
        logq = kappa * (x - 1) - heat_log_norm(kappa, 2 * self.n - 2, scaled=True) - slope
        context += [x, sine]
        u, slope = self.bend(cube.units[1], self.parameters_of(1, context), False)
        law = self.side_law(x, sine, frame)
        c = side(inside(u), self.n) if law is None else tilted_side(inside(u), *law)
        logq = logq - slope + side_gain(c, law)
        column = Column(x, sine * c, sine * (1 - c.square()).clamp(min=0).sqrt(), [])
        context += [column.y, column.root]
        left = torch.ones_like(x)
        for k, unit in enumerate(cube.units[2:]):
            u, slope = self.bend(unit, self.parameters_of(2 + k, context), False)
            tilt = self.ratio_law(x, column.y, frame)
            keep = inside(u) ** (1 / (self.n - 2 - k)) if tilt is None else tilted(inside(u), tilt)
            column.parts.append((left * (1 - keep)).clamp(min=0).sqrt())
            left, logq = left * keep, logq - slope + ratio_gain(keep, tilt)
            context += [u]
        column.parts.append(left.sqrt())
        phases = cube.phases
        if gate is not None:
            phase, slope = self.turn(phases[0], gate * (1 - c.square()).clamp(min=0).sqrt(), context, False)
            phases, logq = [phase], logq - slope
        return column, phases, logq

    def read(
        self, column: Column, phases: list[Tensor], frame: Frame, gate: Tensor | None, context: list[Tensor]
    ) -> tuple[Cube, Tensor]:
        """The cube of a column and its phases, and log q: the inverse of `draw`."""
        x, y, root, parts = column
        params = self.parameters_of(0, context)
        kappa = self.kappa(frame, params)
        sine = torch.hypot(y, root)
        u, slope = self.bend(inside(heat_cdf(torch.atan2(sine, x), kappa, 2 * self.n - 2)), params, True)
        units, logq = [u], kappa * (x - 1) - heat_log_norm(kappa, 2 * self.n - 2, scaled=True) + slope
        context += [x, sine]
        c = y / sine.clamp(min=torch.finfo(x.dtype).tiny)
        law = self.side_law(x, sine, frame)
        flat = side_cdf(c, self.n)[0] if law is None else tilted_side_cdf(c, *law)[0]
        u, slope = self.bend(inside(flat), self.parameters_of(1, context), True)
        units, logq = [*units, u], logq + slope + side_gain(c, law)
        context += [y, root]
        left = torch.ones_like(x)
        for k, part in enumerate(parts[:-1]):
            rest = (left - part.square()).clamp(min=0)
            keep, tilt = rest / left.clamp(min=torch.finfo(x.dtype).tiny), self.ratio_law(x, y, frame)
            flat = inside(keep ** (self.n - 2 - k) if tilt is None else (keep * tilt).expm1() / tilt.expm1())
            u, slope = self.bend(flat, self.parameters_of(2 + k, context), True)
            units, logq, left = [*units, u], logq + slope + ratio_gain(keep, tilt), rest
            context += [flat]
        if gate is not None:
            phase, slope = self.turn(phases[0], gate * (1 - c.square()).clamp(min=0).sqrt(), context, True)
            phases, logq = [phase], logq + slope
        return Cube(units, phases), logq


class HeatColumn(nn.Module, HaarColumn):
    r"""The first column with the weight exp(kappa cos a) and splines of the coordinates of `HaarColumn`.

    Parameters
    ----------
    n : int
        Of SU(n).
    bins : int
        Of the splines; 0 for none.
    features : int
        Count of numbers known before this column.
    hidden : sequence of int
        Channels of the hidden layers of the networks, from all numbers known to the parameters of each spline and to
        the logarithm of the strength.
    turns : bool
        Whether the phase of v_2 has a spline; it is uniform otherwise.
    learned : bool
        Whether kappa has a learned strength.

    Notes
    -----
    For n = 3 let z = x + i y, :math:`|v_2|^2 = (1 - |z|^2)(1 - t)` and :math:`|v_3|^2 = (1 - |z|^2)\, t`. The exact
    weight of the column is :math:`e^{D_1 x} Z(k)` with :math:`Z(k) = I_1(2k) / k` of the remaining SU(2) matrix and

    .. math::
        4 k^2 = 2 D_2 D_3 {\rm Re}\, e^{3 i \phi} z + (D_2^2 + D_3^2) \frac{1 + |z|^2}{2}
        + (D_2^2 - D_3^2) (1 - |z|^2) (t - \tfrac12)

    with D the weighted scales. ln Z is expanded to first order in :math:`k^2` for one number after the other, with the
    later ones at their means. That gives kappa, the factor 1 + linear c + square c^2 in the density of c, and the
    slope of t. They are bounded: |linear| < 0.9, square <= 8 and |slope| <= 30.

    For other n, :math:`\kappa = D_1 + h s / (n - 1)` with :math:`s = D_2 + \dots + D_n` and h = s / (|s| + n).
    With h = 1 the width is that of the exact law at weak coupling, with h = 0 that at strong coupling, where the other
    columns average out. For n = 2, h = 1 is exact. A learned strength, 1 at the start, multiplies kappa.
    """

    log_strength: Tensor

    def __init__(self, n: int, bins: int, features: int, hidden: Sequence[int], turns: bool, learned: bool = True):
        nn.Module.__init__(self)
        HaarColumn.__init__(self, n, bins)
        if learned:
            self.log_strength = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_strength", torch.zeros(()), persistent=False)
        self.nets = nn.ModuleList()
        if bins:
            counts = [self.interval.count + 1, *[self.interval.count] * (n - 1)]
            inputs = [features, features + 2, *range(features + 4, features + n + 2)]
            if turns:
                counts, inputs = [*counts, self.circle.count], [*inputs, features + n + 2]
            for size, count in zip(inputs, counts, strict=True):
                self.nets.append(PointwiseNet([size, *hidden, count], "silu"))

    def parameters_of(self, k: int, context: list[Tensor]) -> Tensor | None:
        return self.nets[k](torch.stack(context)) if self.nets else None

    def kappa(self, frame: Frame, params: Tensor | None) -> Tensor:
        log = self.log_strength if params is None else self.log_strength + params[-1]
        if self.n == 3:
            return log.exp() * self._mean_law(frame)
        others = frame.scales[1:].sum(0)
        if self.n > 2:
            others = others / (self.n - 1) * (others / (others.abs() + self.n))
        return log.exp() * (frame.scales[0] + others).clamp(min=0)

    @staticmethod
    def _slope(square: Tensor) -> Tensor:
        """d ln Z / d k^2 = I_2(2k) / (k I_1(2k)) as a function of k^2, within 2.3 %."""
        return torch.reciprocal(0.75 + (6.25 + 4 * square).sqrt() / 2)

    def _pull(self, frame: Frame, along: Tensor, size: Tensor) -> Tensor:
        """`_slope` at t = 1/2, of along = Re e^{3 i phi} z and size = |z|^2."""
        _, b, c = frame.scales
        return self._slope(b * c * along / 2 + (b * b + c * c) * (1 + size) / 8)

    def _mean_law(self, frame: Frame) -> Tensor:
        """kappa for n = 3: D_1 and the slope of ln Z at the mean of x, which depends on kappa; by iteration."""
        a, b, c = frame.scales
        cross, squares = b * c / 2, (b * b + c * c) / 5
        if frame.phase is not None:
            cross = cross * (frame.phase**3).real
        x = torch.full_like(a, 0.5)
        kappa: Tensor = a
        for _ in range(3):
            k2 = cross * x + squares * (3 + 2 * x * x) / 4  # |z|^2 = (1 + 4 x^2) / 5 for the mean of c^2
            kappa = torch.relu(a + (cross + squares * x) * self._slope(k2))
            x = kappa / (2.5 + (12.25 + kappa * kappa).sqrt())  # I_3 / I_2 within 1.5 %
        return kappa

    def side_law(self, x: Tensor, sine: Tensor, frame: Frame) -> tuple[Tensor | None, Tensor] | None:
        if self.n != 3:
            return None
        _, b, c = frame.scales
        turn = None if frame.phase is None else frame.phase**3
        along = x if turn is None else x * turn.real
        pull = self._pull(frame, along, x * x + sine * sine / 5)
        linear = None if turn is None else -0.9 * torch.tanh(pull * b * c / 1.8 * turn.imag * sine)
        return linear, (pull * sine * sine * (b * b + c * c) / 8).clamp(max=8)

    def ratio_law(self, x: Tensor, y: Tensor, frame: Frame) -> Tensor | None:
        if self.n != 3:
            return None
        _, b, c = frame.scales
        turn = None if frame.phase is None else frame.phase**3
        along, size = x if turn is None else x * turn.real - y * turn.imag, x * x + y * y
        slope = self._pull(frame, along, size) * (b * b - c * c) * (1 - size) / 4
        tiny = torch.finfo(slope.dtype).eps ** 0.5
        return torch.where(slope.abs() < tiny, tiny, slope.clamp(-30, 30))

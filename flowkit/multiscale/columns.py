"""The first column of an SU(n) matrix: coordinates in which Haar measure is flat, and a heat law with splines."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowkit.kernels.heat import heat_angle, heat_cdf, heat_log_norm
from flowkit.multiscale.frames import Column
from flowkit.nets import ConvNet
from flowkit.transforms import CircleSpline, IntervalSpline


class Cube(NamedTuple):
    """Coordinates of one column in which Haar measure is flat: `units` in [0, 1], of the polar angle, of the second
    coordinate and of n - 2 ratios of moduli, and the phases of all numbers but the first, in [-pi, pi); all [links].
    """

    units: list[Tensor]
    phases: list[Tensor]


def _inside(u: Tensor) -> Tensor:
    """u away from 0 and 1, by less than a draw in its precision can tell."""
    eps = torch.finfo(u.dtype).eps
    return u.clamp(eps / 8, 1 - eps / 2)


def _side(u: Tensor, n: int) -> Tensor:
    """c in [-1, 1] with CDF u for the density (1 - c^2)^{n-2}."""
    t = 2 * u - 1
    if n == 2:
        return t
    if n == 3:  # t = (3 c - c^3) / 2
        return 2 * (t.asin() / 3).sin()
    with torch.no_grad():
        low, high = torch.full_like(u, -1), torch.ones_like(u)
        for _ in range(60 if u.dtype == torch.float64 else 30):
            c = (low + high) / 2
            below = _side_cdf(c, n)[0] < u
            low, high = torch.where(below, c, low), torch.where(below, high, c)
        slope = _side_cdf(c, n)[1]
    return c + (u - u.detach()) / slope  # bisection has converged; the gradient of the implicit function theorem


def _side_cdf(c: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The CDF of `_side` and its density."""
    terms = [math.comb(n - 2, k) * (-1) ** k / (2 * k + 1) for k in range(n - 1)]
    norm, square, total = 2 * sum(terms), c.square(), torch.zeros_like(c)
    for term in reversed(terms):
        total = total * square + term
    return 0.5 + c * total / norm, (1 - square).clamp(min=0) ** (n - 2) / norm


class HaarColumn:
    """The first column of an SU(n) matrix with Haar measure, a point (x + i y, v_2, ..., v_n) of the sphere S^{2n-1}:

        x = cos a,   a with the density sin^{2n-2} a;    y = c sin a,   c with the density (1 - c^2)^{n-2}

    and of what is left the fractions |v_2|^2, |v_3|^2, ..., each of what the ones before leave, 1 - s^{1/m} with m the
    number of those that follow and s flat. Phases of v_2, ..., v_n are flat.
    """

    def __init__(self, n: int, bins: int = 0):
        self.n = n
        if bins:
            self.interval, self.circle = IntervalSpline(bins), CircleSpline(bins)

    def parameters_of(self, k: int, context: list[Tensor]) -> Tensor | None:
        """Parameters of the spline of unit k, and of that of the phase for k = n, given the numbers known so far."""
        return None

    def kappa(self, scales: Tensor, params: Tensor | None) -> Tensor:
        """kappa in the weight exp(kappa cos a), [links]; params are those of unit 0."""
        return torch.zeros_like(scales[0])

    def bend(self, u: Tensor, params: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor | float]:
        """A spline of a unit and the logarithm of its slope."""
        if params is None:
            return u, 0.0
        return (self.interval.inverse if inverse else self.interval.forward)(u, params[: self.interval.count])

    def turn(self, phase: Tensor, gate: Tensor, context: list[Tensor], inverse: bool) -> tuple[Tensor, Tensor | float]:
        """A spline of the phase of v_2, the identity where `gate` is 0, and the logarithm of its slope."""
        params = self.parameters_of(self.n, context)
        if params is None:
            return phase, 0.0
        return (self.circle.inverse if inverse else self.circle.forward)(phase, gate * params)

    def draw(
        self, cube: Cube, scales: Tensor, gate: Tensor | None, context: list[Tensor]
    ) -> tuple[Column, list[Tensor], Tensor]:
        """The column, the phases of v_2, ..., and log q of both; `context` grows by what is drawn."""
        params = self.parameters_of(0, context)
        kappa = self.kappa(scales, params)
        u, slope = self.bend(cube.units[0], params, False)
        a = heat_angle(_inside(u), kappa, 2 * self.n - 2)
        x, sine = a.cos(), a.sin()
        logq = kappa * (x - 1) - heat_log_norm(kappa, 2 * self.n - 2, scaled=True) - slope
        context += [x, sine]
        u, slope = self.bend(cube.units[1], self.parameters_of(1, context), False)
        c = _side(_inside(u), self.n)
        logq = logq - slope
        column = Column(x, sine * c, sine * (1 - c.square()).clamp(min=0).sqrt(), [])
        context += [column.y, column.root]
        left = torch.ones_like(x)
        for k, unit in enumerate(cube.units[2:]):
            u, slope = self.bend(unit, self.parameters_of(2 + k, context), False)
            keep = _inside(u) ** (1 / (self.n - 2 - k))
            column.parts.append((left * (1 - keep)).sqrt())
            left, logq = left * keep, logq - slope
            context += [u]
        column.parts.append(left.sqrt())
        phases = cube.phases
        if gate is not None:
            phase, slope = self.turn(phases[0], gate * (1 - c.square()).clamp(min=0).sqrt(), context, False)
            phases, logq = [phase], logq - slope
        return column, phases, logq

    def read(
        self, column: Column, phases: list[Tensor], scales: Tensor, gate: Tensor | None, context: list[Tensor]
    ) -> tuple[Cube, Tensor]:
        """The cube of a column and its phases, and log q: the inverse of `draw`."""
        x, y, root, parts = column
        params = self.parameters_of(0, context)
        kappa = self.kappa(scales, params)
        sine = torch.hypot(y, root)
        u, slope = self.bend(_inside(heat_cdf(torch.atan2(sine, x), kappa, 2 * self.n - 2)), params, True)
        units, logq = [u], kappa * (x - 1) - heat_log_norm(kappa, 2 * self.n - 2, scaled=True) + slope
        context += [x, sine]
        c = y / sine.clamp(min=torch.finfo(x.dtype).tiny)
        u, slope = self.bend(_inside(_side_cdf(c, self.n)[0]), self.parameters_of(1, context), True)
        units, logq = [*units, u], logq + slope
        context += [y, root]
        left = torch.ones_like(x)
        for k, part in enumerate(parts[:-1]):
            rest = (left - part.square()).clamp(min=0)
            flat = _inside((rest / left.clamp(min=torch.finfo(x.dtype).tiny)) ** (self.n - 2 - k))
            u, slope = self.bend(flat, self.parameters_of(2 + k, context), True)
            units, logq, left = [*units, u], logq + slope, rest
            context += [flat]
        if gate is not None:
            phase, slope = self.turn(phases[0], gate * (1 - c.square()).clamp(min=0).sqrt(), context, True)
            phases, logq = [phase], logq + slope
        return Cube(units, phases), logq


class HeatColumn(nn.Module, HaarColumn):
    """The first column with the weight exp(kappa cos a) and splines of the flat coordinates of HaarColumn.

    kappa = strength (D_1 + h s / (n - 1)), s = D_2 + ... + D_n, D the weighted scales and h = s / (|s| + n). h = 1 is
    the width of the exact law at weak coupling, and h = 0 that at strong coupling, where the other columns average to
    nothing; for n = 2 h = 1 is exact.

    n         of SU(n)
    bins      of the splines; 0 leaves them out
    features  numbers known before this column
    hidden    layers of the networks from all that is known to the parameters of each spline and to log strength
    turns     the phase of v_2 is not flat and has a spline
    """

    def __init__(self, n: int, bins: int, features: int, hidden: Sequence[int], turns: bool):
        nn.Module.__init__(self)
        HaarColumn.__init__(self, n, bins)
        self.log_strength = nn.Parameter(torch.zeros(()))
        self.nets = nn.ModuleList()
        if bins:
            counts = [self.interval.count + 1, *[self.interval.count] * (n - 1)]
            inputs = [features, features + 2, *range(features + 4, features + n + 2)]
            if turns:
                counts, inputs = [*counts, self.circle.count], [*inputs, features + n + 2]
            one = torch.zeros(1, dtype=torch.long)
            for size, count in zip(inputs, counts, strict=True):
                self.nets.append(ConvNet((1,), [(size, one)], one, count, hidden, kernel=1).shrink(0.0))

    def parameters_of(self, k: int, context: list[Tensor]) -> Tensor | None:
        return self.nets[k]([torch.stack(context).unsqueeze(1)]).squeeze(1) if self.nets else None

    def kappa(self, scales: Tensor, params: Tensor | None) -> Tensor:
        log = self.log_strength if params is None else self.log_strength + params[-1]
        others = scales[1:].sum(0)
        if self.n > 2:
            others = others / (self.n - 1) * (others / (others.abs() + self.n))
        return log.exp() * (scales[0] + others).clamp(min=0)

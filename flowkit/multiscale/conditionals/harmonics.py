"""A new link of U(1) whose log-density is a trigonometric polynomial with the phases of its loops."""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.checks import Count, Range, checked
from flowkit.groups import U1
from flowkit.kernels.implicit import root
from flowkit.multiscale.conditionals import tables
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops


class _Table(NamedTuple):
    """The density and its integral at the nodes of each link, [..., cells + 1]."""

    density: Tensor
    cdf: Tensor


class HarmonicConditional(LinkConditional):
    r"""A new link of U(1) with one coefficient for each loop, of any harmonic of it.

    Parameters
    ----------
    harmonics : sequence of int
        The harmonic n_i of each loop.
    cells : int
        Intervals of the table, a power of two and at least 16 for each harmonic.

    Raises
    ------
    ValueError
        For no loops, or another number of cells.

    Notes
    -----
    .. math:: \log q(V | R) = \sum_i c_i |R_i| \cos[n_i (\theta + \arg R_i)] - \ln Z, \quad V = e^{i \theta}

    Loops are angles, or complex numbers R_i whose modulus is the weight of the term. The weight exp(...) is tabulated
    at the nodes of a grid that turns with the phase of the sum of all loops with n_i = 1, and interpolated linearly.
    The density is therefore normalised exactly and is exactly that of the samples.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.multiscale.HarmonicConditional((1, 1))
    >>> _ = model.coefficients.data.copy_(torch.tensor([1.0, 1.0]))
    >>> v, loops = torch.zeros(1), (torch.zeros(1), torch.zeros(1))
    >>> model.log_prob(v, loops).detach()                                 # 2 - ln I_0(2) is 1.1760
    tensor([1.1760])
    """

    group = U1()
    waves: Tensor

    @checked
    def __init__(self, harmonics: Sequence[Count] = (1, 1), cells: Annotated[int, Range(16, 2**12)] = 64):
        super().__init__()
        if not harmonics or cells & (cells - 1) or cells < 16 * max(harmonics):
            raise ValueError(
                "HarmonicConditional needs loops, and cells a power of two, at least 16 for each harmonic; "
                f"got {tuple(harmonics)} and {cells}."
            )
        self.harmonics, self.cells = tuple(harmonics), cells
        self.coefficients = nn.Parameter(torch.zeros(len(harmonics)))
        n = torch.arange(1, max(harmonics) + 1, dtype=torch.float64)
        phi = torch.linspace(-math.pi, math.pi, cells + 1, dtype=torch.float64)
        phases = n[:, None] * phi
        waves = torch.stack([phases.cos(), phases.sin()]).to(torch.get_default_dtype())
        self.register_buffer("waves", waves, persistent=False)  # [2, harmonics, nodes]

    def _frame(self, loops: Loops) -> tuple[Tensor, list[Tensor]]:
        """The angle of the grid's middle, and each loop's R^n / |R|^{n - 1} turned to it, complex."""
        if len(loops) != len(self.harmonics):
            raise ValueError(f"This model takes {len(self.harmonics)} loops through each link; got {len(loops)}.")
        R = [self.group.ambient(r) for r in loops]
        first = [r for r, n in zip(R, self.harmonics, strict=True) if n == 1] or R
        total = sum(first[1:], first[0])
        tiny = torch.finfo(total.real.dtype).tiny
        none = total.real.square() + total.imag.square() <= tiny  # False for NaN, which stays NaN
        frame = -torch.atan2(torch.where(none, 0, total.imag), torch.where(none, 1, total.real))
        turn = torch.polar(torch.ones_like(frame), frame)
        powers = []
        for r, n in zip(R, self.harmonics, strict=True):
            r = r * turn
            power = r
            if n > 1:
                unit = r / (r.real.square() + r.imag.square() + tiny**0.5).sqrt()
                for _ in range(n - 1):
                    power = power * unit
            powers.append(power)
        return frame, powers

    def _table(self, powers: list[Tensor]) -> _Table:
        by_harmonic: list[Tensor | None] = [None] * self.waves.shape[1]
        for c, power, n in zip(self.coefficients, powers, self.harmonics, strict=True):
            before = by_harmonic[n - 1]
            by_harmonic[n - 1] = c * power if before is None else before + c * power
        log: Tensor | None = None
        for n, a in enumerate(by_harmonic):
            if a is not None:  # Re a e^{i n phi}
                one = a.real[..., None] * self.waves[0, n] - a.imag[..., None] * self.waves[1, n]
                log = one if log is None else log + one
        assert log is not None
        p = tables.weights(log, (-1,))
        cdf = torch.cumsum((p[..., 1:] + p[..., :-1]) / (2 * self.cells), -1)
        norm = cdf[..., -1:]
        return _Table(p / norm, nn.functional.pad(cdf / norm, (1, 0)))

    def _law(self, table: _Table, x: Tensor) -> tuple[Tensor, Tensor]:
        """The density and the CDF at x = (phi + pi) / 2 pi."""
        cell, part = tables.interval(x * self.cells, self.cells)
        p, q = (_at(table.density, cell + k) for k in (0, 1))
        density, mass = tables.linear(p, q, part)
        return density, _at(table.cdf, cell) + mass / self.cells

    @torch.no_grad()
    def _invert(self, table: _Table, u: Tensor) -> Tensor:
        """x at which the CDF is u."""
        cell = tables.node_below(lambda node: _at(table.cdf, node), u, self.cells)
        p, q = (_at(table.density, cell + k) for k in (0, 1))
        return (cell + tables.part_below(p, q, (u - _at(table.cdf, cell)) * self.cells)) / self.cells

    def _place(self, v: Tensor, frame: Tensor) -> Tensor:
        """(phi + pi) / 2 pi, in [0, 1)."""
        return (self.group.wrap(v - frame) + math.pi) / (2 * math.pi)

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, powers = self._frame(loops)
        table, part = self._table(powers), self._place(u, frame)

        def missed(x: Tensor, u: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
            density, cdf = self._law(_Table(*tensors), x)
            return cdf - u, density

        x = root(missed, self._invert(table, part), part, *table)
        return self.group.wrap(frame + (2 * x - 1) * math.pi), -self._law(table, x)[0].log()

    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, powers = self._frame(loops)
        density, cdf = self._law(self._table(powers), self._place(v, frame))
        return self.group.wrap(frame + (2 * cdf - 1) * math.pi), density.log()

    @torch.no_grad()
    def score(self, v: Tensor, loops: Loops) -> Tensor:
        if not self.coefficients.requires_grad:
            return v.new_zeros(len(v), 0)
        frame, powers = self._frame(loops)
        density = self._table(powers).density
        cell, part = tables.interval(self._place(v, frame) * self.cells, self.cells)
        near = _at(density, cell) * (1 - part), _at(density, cell + 1) * part
        share = near[1] / (near[0] + near[1])
        # d log p / d c at the nodes is Re power e^{i n phi} less its mean by the rule of the table.
        mean = density[..., :-1] @ self.waves[..., :-1].flatten(0, 1).T / self.cells
        at = [torch.lerp(wave[:, cell], wave[:, cell + 1], share) for wave in self.waves]
        off = torch.stack(at) - torch.unflatten(mean.movedim(-1, 0), 0, (2, -1))
        terms = [p.real * off[0, n - 1] - p.imag * off[1, n - 1] for p, n in zip(powers, self.harmonics, strict=True)]
        return torch.stack([term.flatten(1).sum(1) for term in terms], 1)

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.coefficients.mul_(ratio)

    def extra_repr(self) -> str:
        return f"harmonics={self.harmonics}, cells={self.cells}"


def _at(table: Tensor, node: Tensor) -> Tensor:
    """The number at a node of each link's table."""
    return table.gather(-1, node[..., None])[..., 0]

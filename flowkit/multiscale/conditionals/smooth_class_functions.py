"""Class functions of U(1) whose density has a continuous slope, for HMC in base variables."""

import math
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.checks import Count, Range, checked
from flowkit.kernels.class_link import class_link, serves
from flowkit.multiscale.conditionals import tables
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.conditionals.class_functions import ClassFunctionConditional
from flowkit.multiscale.doubling import Loops


class _Row(NamedTuple):
    """The place of each link's |W| in the table, as for linear interpolation, and the weights of the four numbers that
    a cubic in |W| takes: value and slope on this row, value and slope on the next one.
    """

    start: Tensor
    t: Tensor
    weights: tuple[Tensor, Tensor, Tensor, Tensor]


class _Table(NamedTuple):
    """At the nodes of |W| and phi, slopes in units of the steps."""

    nodes: Tensor
    """[nodes, 4]: the density, its slopes in phi and in W, its mixed derivative."""
    cdf: Tensor
    """[nodes, 2]: the integral of the density, and its slope in W."""


class SmoothClassFunctionConditional(ClassFunctionConditional):
    """A `ClassFunctionConditional` whose log q has a continuous slope, for HMC in base variables.

    The weight is interpolated by cubics in phi and in ``|W|`` that take its values and its slopes at the nodes. So
    log q and the map of base variables have continuous slopes, and the force of a pullback is as smooth as the theory.
    With linear interpolation the jumps of the slope lower the acceptance of HMC where the density is small.

    The parameters are those of `ClassFunctionConditional`. The score has no closed form: train a
    `ClassFunctionConditional` and take its weights, by `of`, or by `smoothed` for all of a model.

    Parameters
    ----------
    harmonics : int
        Number of coefficients.
    cells : int
        Intervals of the table in phi, a power of two and at least 8 for each harmonic.

    Notes
    -----
    The density is normalised exactly and is exactly that of the samples: its CDF is a quartic in each cell, and is
    inverted by bisection over the nodes and Newton's method in the cell.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> trained = fk.multiscale.ClassFunctionConditional(harmonics=2, cells=64)
    >>> _ = trained.coefficients.data.copy_(torch.tensor([1.0, 0.0]))
    >>> smooth = fk.multiscale.SmoothClassFunctionConditional.of(trained)
    >>> smooth.log_prob(torch.zeros(1), (torch.zeros(1), torch.zeros(1))).detach()      # 2 - ln I_0(2) is 1.1760
    tensor([1.1760])
    """

    score = LinkConditional.score
    sin_w: Tensor
    sin_phi: Tensor

    @checked
    def __init__(self, harmonics: Count = 16, cells: Annotated[int, Range(8, 2**14)] = 256):
        super().__init__(harmonics, cells)
        n = torch.arange(1, harmonics + 1, dtype=torch.float64)
        half_w = torch.linspace(0, math.pi / 2, self.rows + 1, dtype=torch.float64)
        phi = torch.linspace(-math.pi, math.pi, cells + 1, dtype=torch.float64)
        dtype = torch.get_default_dtype()
        # -d cos(n W/2) / d row and -d cos(n phi) / d cell
        to_row, to_cell = n / 2 * (math.pi / self.rows), n * (2 * math.pi / cells)
        self.register_buffer("sin_w", ((half_w[:, None] * n).sin() * to_row).to(dtype), persistent=False)
        self.register_buffer("sin_phi", ((phi[:, None] * n).sin() * to_cell).to(dtype), persistent=False)
        self._kept: tuple[tuple[Any, ...], _Table] | None = None

    def _table(self) -> _Table:  # type: ignore[override]
        even, odd = 2 * self.coefficients * self.cos_w, -2 * self.coefficients * self.sin_w
        log, log_w = even @ self.cos_phi.T, odd @ self.cos_phi.T
        log_phi, log_both = -even @ self.sin_phi.T, -odd @ self.sin_phi.T
        p = tables.weights(log, (1,))
        # The slopes in phi cancel in the sum over a period: the integral of the cubics is the mean of the nodes.
        p = p / p[:, 1:].mean(1, keepdim=True)
        log_w = log_w - (p * log_w)[:, 1:].mean(1, keepdim=True)  # each row stays normalised as W moves
        nodes = torch.stack([p, p * log_phi, p * log_w, p * (log_phi * log_w + log_both)], -1)
        value, slope = nodes[..., ::2], nodes[..., 1::2]  # of the density and of its slope in W
        mass = (value[:, 1:] + value[:, :-1]) / 2 + (slope[:, :-1] - slope[:, 1:]) / 12
        cdf = nn.functional.pad(mass.cumsum(1) / self.cells, (0, 0, 1, 0))
        return _Table(nodes.flatten(0, 1), cdf.flatten(0, 1))

    def _row(self, w: Tensor) -> _Row:  # type: ignore[override]
        index, t = tables.interval(w.abs() * (self.rows / math.pi), self.rows)
        u = 1 - t
        return _Row(index * (self.cells + 1), t, ((1 + 2 * t) * u * u, t * u * u, (3 - 2 * t) * t * t, -u * t * t))

    def _nodes(self, table: Tensor, row: _Row, cell: Tensor) -> Tensor:
        """The k values of a table [nodes, 2 k] of values and their slopes in |W|, at the nodes `cell`, cubic in |W|."""
        place = row.start + cell
        near, far = (table[at].movedim(-1, 0) for at in (place, place + self.cells + 1))
        k = table.shape[1] // 2
        a, b, c, d = row.weights
        return a * near[:k] + b * near[k:] + c * far[:k] + d * far[k:]

    def _ends(self, table: _Table, row: _Row, cell: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The density and its slope in phi at the left end of the cell, then at its right end."""
        left, right = (self._nodes(table.nodes, row, cell + k) for k in (0, 1))
        return left[0], left[1], right[0], right[1]

    def _law(self, table: _Table, row: _Row, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        cell, t = self._cell(x)
        ends, below = self._ends(table, row, cell), self._nodes(table.cdf, row, cell)[0]
        return _cubic(*ends, t), below + _quartic(*ends, t) / self.cells

    @torch.no_grad()
    def _invert(self, table: _Table, row: _Row, u: Tensor) -> Tensor:  # type: ignore[override]
        cell = tables.node_below(lambda node: self._nodes(table.cdf, row, node)[0], u, self.cells)
        ends = self._ends(table, row, cell)
        mass = (u - self._nodes(table.cdf, row, cell)[0]) * self.cells
        t = tables.part_below(ends[0], ends[2], mass)
        for _ in range(NEWTON):
            slope = _cubic(*ends, t).clamp(min=torch.finfo(t.dtype).tiny)
            t = (t - (_quartic(*ends, t) - mass) / slope).clamp(0, 1)
        return (cell + t) / self.cells

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        table = self._known_table()
        left, right = loops
        w = self.group.wrap(left - right)
        frame = w / 2 - left
        place = self._place(u, frame)
        if not serves(place, w, table.nodes):
            return super().forward(u, loops)
        x, logq = class_link(place, w, *table, self.cells)
        return self.group.wrap(frame + (2 * x - 1) * math.pi), -logq

    def _known_table(self) -> _Table:
        """The table, kept while the weights do not change."""
        c = self.coefficients
        if c.requires_grad:
            return self._table()
        key = (c.data_ptr(), c._version, c.dtype, c.device)
        if self._kept is None or self._kept[0] != key:
            self._kept = (key, self._table())
        return self._kept[1]

    @classmethod
    def of(cls, model: ClassFunctionConditional, cells: int = 256) -> "SmoothClassFunctionConditional":
        """The smooth form of a model with a copy of its weights, with at least `cells` intervals."""
        one = cls(model.harmonics, max(cells, 1 << (8 * model.harmonics - 1).bit_length())).to(model.coefficients)
        one.load_state_dict(model.state_dict())
        one.coefficients.requires_grad_(model.coefficients.requires_grad)
        return one


NEWTON = 4  # steps from the root for a density linear in the cell, whose error is of second order


def _cubic(p: Tensor, dp: Tensor, q: Tensor, dq: Tensor, t: Tensor) -> Tensor:
    """The cubic on [0, 1] with values p, q and slopes dp, dq at its ends."""
    u = 1 - t
    return p * (1 + 2 * t) * u * u + dp * t * u * u + q * (3 - 2 * t) * t * t - dq * u * t * t


def _quartic(p: Tensor, dp: Tensor, q: Tensor, dq: Tensor, t: Tensor) -> Tensor:
    """The integral of that cubic from 0 to t."""
    rise, bend = q - p, dp + dq
    return t * (p + t * (dp / 2 + t * (rise - (bend + dp) / 3 + t * (bend - 2 * rise) / 4)))

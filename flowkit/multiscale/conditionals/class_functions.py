"""The exact form of a new link between two loops, in two dimensions: U(1)."""

import math
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.checks import Count, Range, checked
from flowkit.groups import U1
from flowkit.kernels.implicit import root
from flowkit.multiscale.conditionals import tables
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops


class _Row(NamedTuple):
    """The place of each link's |W| in the table: the flat index of a row, and the part t of the way to the next one."""

    start: Tensor
    t: Tensor


class _Table(NamedTuple):
    """The density and its integral over phi at the nodes of |W| and phi, each [rows + 1, cells + 1]."""

    density: Tensor
    cdf: Tensor


class ClassFunctionConditional(LinkConditional):
    r"""A new link of U(1) whose density is a class function of each of its two plaquettes.

    In two dimensions this family contains the exact answer, because the effective action of each scale is a class
    function of its plaquettes. Zero coefficients give Haar measure.

    Parameters
    ----------
    harmonics : int
        Number of coefficients c_n, the parameters.
    cells : int
        Intervals of the table in phi, a power of two and at least 8 for each harmonic.

    Raises
    ------
    ValueError
        For no harmonics, or another number of cells.

    Notes
    -----
    .. math:: \log q(V | R) = f(P_l) + f(P_r) - \ln Z(W), \quad f(\theta) = \sum_{n=1}^{\rm harmonics} c_n \cos n\theta

    with the plaquettes :math:`P = \phi \pm W/2`, the coarse plaquette :math:`W = P_l - P_r`, and
    :math:`V = R_l^{-1} e^{i (W/2 + \phi)}`.

    The weight is tabulated on `cells` intervals of phi times cells/4 intervals of :math:`|W|`, and interpolated
    linearly in both. The density is therefore normalised exactly and is exactly that of the samples: its CDF is
    quadratic in each cell, and is inverted by bisection over the nodes and a square root.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.multiscale.ClassFunctionConditional(harmonics=2, cells=64)
    >>> _ = model.coefficients.data.copy_(torch.tensor([1.0, 0.0]))     # f = cos, as in Wilson's action at beta = 1
    >>> model.log_prob(torch.zeros(1), (torch.zeros(1), torch.zeros(1))).detach()       # 2 - ln I_0(2) is 1.1760
    tensor([1.1760])
    """

    group = U1()
    cos_w: Tensor
    cos_phi: Tensor

    @checked
    def __init__(self, harmonics: Count = 16, cells: Annotated[int, Range(8, 2**14)] = 512):
        super().__init__()
        if cells & (cells - 1) or cells < 8 * harmonics:
            raise ValueError(
                "ClassFunctionConditional needs cells a power of two, at least 8 for each harmonic; "
                f"got {harmonics} and {cells}."
            )
        self.harmonics, self.cells, self.rows = harmonics, cells, cells // 4
        self.coefficients = nn.Parameter(torch.zeros(harmonics))
        n = torch.arange(1, harmonics + 1, dtype=torch.float64)
        half_w = torch.linspace(0, math.pi / 2, self.rows + 1, dtype=torch.float64)
        phi = torch.linspace(-math.pi, math.pi, cells + 1, dtype=torch.float64)
        dtype = torch.get_default_dtype()
        self.register_buffer("cos_w", (half_w[:, None] * n).cos().to(dtype), persistent=False)
        self.register_buffer("cos_phi", (phi[:, None] * n).cos().to(dtype), persistent=False)

    def _table(self) -> _Table:
        # f(phi + W/2) + f(phi - W/2) = sum_n 2 c_n cos(n W/2) cos(n phi)
        log = (2 * self.coefficients * self.cos_w) @ self.cos_phi.T
        p = tables.weights(log, (1,))
        cdf = torch.cumsum((p[:, 1:] + p[:, :-1]) / (2 * self.cells), 1)
        norm = cdf[:, -1:]
        return _Table(p / norm, nn.functional.pad(cdf / norm, (1, 0)))

    def _row(self, w: Tensor) -> _Row:
        index, t = tables.interval(w.abs() * (self.rows / math.pi), self.rows)
        return _Row(index * (self.cells + 1), t)

    def _at(self, table: Tensor, row: _Row, cell: Tensor) -> Tensor:
        """The table at the nodes `cell` of phi, linear in W."""
        flat, place = table.flatten(), row.start + cell
        return torch.lerp(flat[place], flat[place + self.cells + 1], row.t)

    def _cell(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The cell of x = (phi + pi) / 2 pi and the part of it to the left of x."""
        return tables.interval(x * self.cells, self.cells)

    def _law(self, table: _Table, row: _Row, x: Tensor) -> tuple[Tensor, Tensor]:
        """The density and the CDF at x = (phi + pi) / 2 pi."""
        cell, part = self._cell(x)
        p, q = (self._at(table.density, row, cell + k) for k in (0, 1))
        density, mass = tables.linear(p, q, part)
        return density, self._at(table.cdf, row, cell) + mass / self.cells

    @torch.no_grad()
    def _invert(self, table: _Table, row: _Row, u: Tensor) -> Tensor:
        """x at which the CDF is u."""
        cell = tables.node_below(lambda node: self._at(table.cdf, row, node), u, self.cells)
        p, q = (self._at(table.density, row, cell + k) for k in (0, 1))
        return (cell + tables.part_below(p, q, (u - self._at(table.cdf, row, cell)) * self.cells)) / self.cells

    def _frame(self, loops: Loops) -> tuple[Tensor, Tensor]:
        """The link at phi = 0, W/2 - R_left, and W."""
        left, right = loops
        w = self.group.wrap(left - right)
        return w / 2 - left, w

    def _place(self, v: Tensor, frame: Tensor) -> Tensor:
        """(phi + pi) / 2 pi, in [0, 1)."""
        return (self.group.wrap(v - frame) + math.pi) / (2 * math.pi)

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, w = self._frame(loops)
        table, part, row = self._table(), self._place(u, frame), self._row(w)

        def missed(x: Tensor, u: Tensor, w: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
            density, cdf = self._law(type(table)(*tensors), self._row(w), x)
            return cdf - u, density

        x = root(missed, self._invert(table, row, part), part, w, *table)
        return self.group.wrap(frame + (2 * x - 1) * math.pi), -self._law(table, row, x)[0].log()

    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, w = self._frame(loops)
        density, cdf = self._law(self._table(), self._row(w), self._place(v, frame))
        return self.group.wrap(frame + (2 * cdf - 1) * math.pi), density.log()

    @torch.no_grad()
    def score(self, v: Tensor, loops: Loops) -> Tensor:
        frame, w = self._frame(loops)
        density, row = self._table().density, self._row(w)
        cell, part = self._cell(self._place(v, frame))
        # d log p / dc_n at the nodes: 2 cos(n W/2) (cos(n phi) - <cos(n phi)>), the mean by the rule of the table
        weights = density / self.cells
        mean = weights[:, :-1] @ self.cos_phi[:-1]  # the first and the last node are the same
        slope = 2 * self.cos_w[:, None] * (self.cos_phi - mean[:, None])
        places = [row.start + cell + k for k in (0, 1, self.cells + 1, self.cells + 2)]
        factors = [(1 - row.t) * (1 - part), (1 - row.t) * part, row.t * (1 - part), row.t * part]
        return tables.score(density.flatten(), slope.flatten(0, 1), places, factors)

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.coefficients.mul_(ratio)

"""The exact form of a new link between two loops, in two dimensions: U(1)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowkit.groups import U1
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops


class _Row(NamedTuple):
    """Where each link reads the table: from the flat index `start` and one row further, at the part `t` of the way."""

    start: Tensor
    t: Tensor


class _Table(NamedTuple):
    """Density and its integral at the nodes, each [rows + 1, cells + 1] of W >= 0 and phi."""

    density: Tensor
    cdf: Tensor


class ClassFunctionConditional(LinkConditional):
    """log q(V | R) = f(P_left) + f(P_right) - ln Z(W), f(theta) = sum_n c_n cos(n theta), n = 1 ... harmonics.

    For U(1). W = P_left - P_right is the coarse plaquette, V = R_left^-1 e^{i (W/2 + phi)}, and so P = phi +- W/2. In
    two dimensions this contains the exact answer: the effective action of each scale is a class function of its
    plaquettes.

    exp(f + f) is tabulated on `cells` intervals of phi times cells/4 intervals of |W|, bilinear between the nodes, so
    that the density is normalised exactly and is exactly that of the draws: the CDF is quadratic in each cell and
    inverted by bisection and a square root. c = 0 is Haar.

    harmonics     number of c_n
    cells         of the table; 1/cells is its step in units of 2 pi
    Raises        ValueError for harmonics < 1, or cells that are no power of two or resolve the harmonics badly
    """

    group = U1()
    cos_w: Tensor
    cos_phi: Tensor

    def __init__(self, harmonics: int = 16, cells: int = 512):
        super().__init__()
        if harmonics < 1 or cells & (cells - 1) or cells < 8 * harmonics:
            raise ValueError(
                "ClassFunctionConditional needs harmonics >= 1 and cells a power of two, at least 8 for each harmonic; "
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
        # The floor stands for weights that no draw will ever see, and keeps log q finite in single precision.
        p = (log - log.detach().amax(1, keepdim=True)).exp().clamp(min=1e-30)
        cdf = torch.cumsum((p[:, 1:] + p[:, :-1]) / (2 * self.cells), 1)
        norm = cdf[:, -1:]
        return _Table(p / norm, nn.functional.pad(cdf / norm, (1, 0)))

    def _row(self, w: Tensor) -> _Row:
        place = w.abs() * (self.rows / math.pi)
        index = place.detach().long().clamp(max=self.rows - 1)
        return _Row(index * (self.cells + 1), place - index)

    def _at(self, table: Tensor, row: _Row, cell: Tensor) -> Tensor:
        """The table at the nodes `cell` of phi, linear in W."""
        flat, place = table.flatten(), row.start + cell
        return torch.lerp(flat[place], flat[place + self.cells + 1], row.t)

    def _cell(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The cell of x = (phi + pi) / 2 pi and the part of it to the left of x."""
        place = x * self.cells
        cell = place.detach().long().clamp(0, self.cells - 1)
        return cell, place - cell

    def _density(self, table: _Table, row: _Row, x: Tensor) -> Tensor:
        cell, part = self._cell(x)
        return torch.lerp(self._at(table.density, row, cell), self._at(table.density, row, cell + 1), part)

    def _integral(self, table: _Table, row: _Row, x: Tensor) -> Tensor:
        cell, part = self._cell(x)
        p, q = (self._at(table.density, row, cell + k) for k in (0, 1))
        return self._at(table.cdf, row, cell) + part * (p + part * (q - p) / 2) / self.cells

    @torch.no_grad()
    def _invert(self, table: _Table, row: _Row, u: Tensor) -> Tensor:
        """x with integral(x) = u."""
        cell, step = torch.zeros_like(row.start), self.cells // 2
        while step:
            cell = torch.where(self._at(table.cdf, row, cell + step) <= u, cell + step, cell)
            step //= 2
        p, q = (self._at(table.density, row, cell + k) for k in (0, 1))
        return (cell + part_below(p, q, (u - self._at(table.cdf, row, cell)) * self.cells)) / self.cells

    def _frame(self, rest: Loops) -> tuple[Tensor, _Row]:
        """W/2 - R_left, the link at phi = 0, and the rows of W."""
        left, right = rest
        w = self.group.wrap(left - right)
        return w / 2 - left, self._row(w)

    def _place(self, v: Tensor, frame: Tensor) -> Tensor:
        """(phi + pi) / 2 pi, in [0, 1)."""
        return (self.group.wrap(v - frame) + math.pi) / (2 * math.pi)

    def from_base(self, u: Tensor, rest: Loops) -> tuple[Tensor, Tensor]:
        frame, row = self._frame(rest)
        table, part = self._table(), self._place(u, frame)
        x = self._invert(table, row, part)
        if table.cdf.requires_grad or row.t.requires_grad or part.requires_grad:
            # A Newton step from the solution: no change of value, the gradients of the implicit function theorem.
            x = x - (self._integral(table, row, x) - part) / self._density(table, row, x).detach()
        logq = self._density(table, row, x).log()
        return self.group.wrap(frame + (2 * x - 1) * math.pi), logq

    def to_base(self, v: Tensor, rest: Loops) -> tuple[Tensor, Tensor]:
        frame, row = self._frame(rest)
        table, x = self._table(), self._place(v, frame)
        u = self.group.wrap(frame + (2 * self._integral(table, row, x) - 1) * math.pi)
        return u, self._density(table, row, x).log()

    def log_prob(self, v: Tensor, rest: Loops) -> Tensor:
        frame, row = self._frame(rest)
        return self._density(self._table(), row, self._place(v, frame)).log()

    @torch.no_grad()
    def score(self, v: Tensor, rest: Loops) -> Tensor:
        frame, row = self._frame(rest)
        density = self._table().density
        cell, part = self._cell(self._place(v, frame))
        # d log p / dc_n at the nodes: 2 cos(n W/2) (cos(n phi) - <cos(n phi)>), the mean by the table's own rule
        weights = density / self.cells
        mean = weights[:, :-1] @ self.cos_phi[:-1]  # the first and the last node are one
        slope = 2 * self.cos_w[:, None] * (self.cos_phi - mean[:, None])
        # p is bilinear in its four nodes: each contributes its share of p
        corners = [row.start + cell + k for k in (0, 1, self.cells + 1, self.cells + 2)]
        factors = [(1 - row.t) * (1 - part), (1 - row.t) * part, row.t * (1 - part), row.t * part]
        flat = density.flatten()
        shares = [flat[place] * factor for place, factor in zip(corners, factors, strict=True)]
        total = shares[0] + shares[1] + shares[2] + shares[3]
        places = torch.stack(corners, 1).flatten(1)
        return nn.functional.embedding_bag(
            places,
            slope.flatten(0, 1),
            per_sample_weights=(torch.stack(shares, 1) / total.unsqueeze(1)).flatten(1),
            mode="sum",
        )

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.coefficients.mul_(ratio)


def part_below(p: Tensor, q: Tensor, mass: Tensor) -> Tensor:
    """The part d in [0, 1] of a cell that holds `mass`, p d + (q - p) d^2 / 2, where the density goes from p to q; in
    the form that does not cancel.
    """
    mass = mass.clamp(min=0)
    root = (p * p + 2 * (q - p) * mass).clamp(min=0).sqrt()
    return (2 * mass / (p + root)).clamp(max=1)

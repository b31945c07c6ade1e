"""The exact form of a new link between two loops, in two dimensions: SU(2).

The file is long because one density needs its coordinates, its tables, its inversion and its score side by side.
"""

import functools
import itertools
import math
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.checks import Range, checked
from flowkit.groups import SUN
from flowkit.groups.characters import complete
from flowkit.kernels.heat import heat_angle, heat_cdf
from flowkit.kernels.implicit import root
from flowkit.kernels.native import kept_on_cpu
from flowkit.kernels.sun import multiply
from flowkit.multiscale.conditionals import tables
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.doubling import Loops

Cells = Annotated[int, Range(1, 1024)]
"""Intervals of a table along one axis."""


class _Frame(NamedTuple):
    """The matrix M, the axis n, and the place of h in the table: a row and the part of the way to the next row."""

    mean: Tensor
    axis: Tensor
    start: Tensor
    t: Tensor


class _Tables(NamedTuple):
    """At the nodes of h, a and |c|, [rows + 1, angles + 1, polars + 1]: the density, and its integral over |c| from 0.
    At the nodes of h and a: the density of a, which is its integral over all |c|, and the CDF of a.
    """

    density: Tensor
    polar: Tensor
    marginal: Tensor
    cdf: Tensor


class SU2ClassFunctionConditional(LinkConditional):
    r"""A new link of SU(2) whose density is a class function of each of its two plaquettes.

    In two dimensions this family contains the exact answer, because the effective action of each scale is a class
    function of its plaquettes. Zero coefficients give Haar measure.

    Parameters
    ----------
    characters : int
        Number of coefficients c_n, the parameters.
    angles, polars, rows : int
        Intervals of the table in a, in :math:`|c|` and in h; angles and polars are powers of two.

    Raises
    ------
    ValueError
        For no characters, or other numbers of intervals.

    Notes
    -----
    .. math:: \log q(V | R) = f(P_l) + f(P_r) - \ln Z(h), \quad f(P) = \sum_n c_n \frac{U_n(P)}{n + 1}

    with :math:`P = \frac12 {\rm Re\,Tr}\, V R` and the Chebyshev polynomials :math:`U_n`, the characters of SU(2). Let
    S_l and S_r be the staples, M the SU(2) matrix along S_l + S_r, :math:`\cos h = |S_l + S_r| / 2` and n the axis of
    :math:`S_r S_l^\dagger`. Then

    .. math::
        V &= Y M, \quad Y = \cos a + i \sigma \cdot [c\, n + \sqrt{1 - c^2}\, e] \sin a \\
        P_{l, r} &= \cos a \cos h \mp c \sin a \sin h

    The direction e, orthogonal to n, is uniform, and q is a density of the angle a and the polar cosine c.

    The weight is tabulated at nodes of h, a and :math:`|c|` and interpolated linearly in h, in the Haar measure
    :math:`s = (a - \sin a \cos a) / \pi` of a, and in c. The density is therefore normalised exactly and is that of
    the samples: the CDFs are quadratic in each cell, and are inverted by bisection over the nodes and a square root.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> group, rng = fk.SUN(2), torch.Generator().manual_seed(1)
    >>> model = fk.multiscale.SU2ClassFunctionConditional(characters=2)
    >>> loops = (group.haar((4,), rng), group.haar((4,), rng))
    >>> v, logq = model.sample_and_log_prob(loops, rng)
    >>> v.shape, bool(logq.abs().max() < 1e-5)                           # Haar measure at the start
    (torch.Size([4, 2, 2]), True)
    """

    group = SUN(2)
    basis: Tensor
    nodes: Tensor

    @checked
    def __init__(
        self, characters: Annotated[int, Range(1, 64)] = 12, angles: Cells = 256, polars: Cells = 16, rows: Cells = 64
    ):
        super().__init__()
        if any(n < 2 or n & (n - 1) for n in (angles, polars)):
            raise ValueError(
                f"SU2ClassFunctionConditional needs angles and polars, powers of two; got {angles} and {polars}."
            )
        self.characters, self.angles, self.polars, self.rows = characters, angles, polars, rows
        self.coefficients = nn.Parameter(torch.zeros(characters))
        dtype = torch.get_default_dtype()
        basis = _basis(characters, angles, polars, rows, dtype).to(self.coefficients.device)
        self.register_buffer("basis", basis, persistent=False)
        a = torch.linspace(0, math.pi, angles + 1, dtype=torch.float64)
        self.register_buffer("nodes", heat_cdf(a, 0.0, 2).to(dtype), persistent=False)

    def _tables(self) -> _Tables:
        log = (self.coefficients @ self.basis).view(self.rows + 1, self.angles + 1, self.polars + 1)
        p = tables.weights(log, (1, 2))
        polar = nn.functional.pad(torch.cumsum((p[..., 1:] + p[..., :-1]) / (2 * self.polars), -1), (1, 0))
        marginal = polar[..., -1]
        pieces = (marginal[:, 1:] + marginal[:, :-1]) / 2 * self.nodes.diff()
        cdf = nn.functional.pad(torch.cumsum(pieces, -1), (1, 0))
        norm = cdf[:, -1:]
        return _Tables(p / norm[..., None], polar / norm[..., None], marginal / norm, cdf / norm)

    # -- reading the tables: `row` is the flat index of a row, `k` a node of a, `j` one of |c|

    def _at(self, table: Tensor, frame: _Frame, k: Tensor) -> Tensor:
        """A table of a at the nodes k, linear in h."""
        flat, place, width = table.flatten(), frame.start * (self.angles + 1) + k, self.angles + 1
        return torch.lerp(flat[place], flat[place + width], frame.t)

    def _deep(self, table: Tensor, frame: _Frame, k: Tensor, part: Tensor, j: Tensor) -> Tensor:
        """A table of a and |c| at the nodes j, linear in h and s."""
        flat, width = table.flatten(), self.polars + 1
        place, row = (frame.start * (self.angles + 1) + k) * width + j, (self.angles + 1) * width
        low = torch.lerp(flat[place], flat[place + width], part)
        return torch.lerp(low, torch.lerp(flat[place + row], flat[place + row + width], part), frame.t)

    def _cell(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """The cell of s and the part of it to the left of s."""
        k = torch.searchsorted(self.nodes, s.detach().contiguous(), right=True).sub(1).clamp(0, self.angles - 1)
        low, high = self.nodes[k], self.nodes[k + 1]
        return k, (s - low) / (high - low)

    def _polar_cell(self, c: Tensor) -> tuple[Tensor, Tensor]:
        return tables.interval(c * self.polars, self.polars)

    def _marginal_cdf(self, table: _Tables, frame: _Frame, s: Tensor) -> tuple[Tensor, Tensor]:
        """The density and the CDF of s."""
        k, part = self._cell(s)
        p, q = (self._at(table.marginal, frame, k + i) for i in (0, 1))
        density, mass = tables.linear(p, q, part)
        return density, self._at(table.cdf, frame, k) + (self.nodes[k + 1] - self.nodes[k]) * mass

    def _polar_cdf(self, table: _Tables, frame: _Frame, s: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The density of (s, |c|) and its integral over |c| from 0."""
        (k, part), (j, rest) = self._cell(s), self._polar_cell(c)
        p, q = (self._deep(table.density, frame, k, part, j + i) for i in (0, 1))
        density, mass = tables.linear(p, q, rest)
        return density, self._deep(table.polar, frame, k, part, j) + mass / self.polars

    @torch.no_grad()
    def _invert(self, table: _Tables, frame: _Frame, u: Tensor, polar: Tensor) -> tuple[Tensor, Tensor]:
        """(s, |c|) whose CDFs are u and `polar`."""
        k = tables.node_below(lambda node: self._at(table.cdf, frame, node), u, self.angles)
        width = self.nodes[k + 1] - self.nodes[k]
        p, q = (self._at(table.marginal, frame, k + i) for i in (0, 1))
        part = tables.part_below(p, q, (u - self._at(table.cdf, frame, k)) / width)
        s = self.nodes[k] + width * part
        target = polar * torch.lerp(p, q, part)
        j = tables.node_below(lambda node: self._deep(table.polar, frame, k, part, node), target, self.polars)
        p, q = (self._deep(table.density, frame, k, part, j + i) for i in (0, 1))
        rest = tables.part_below(p, q, (target - self._deep(table.polar, frame, k, part, j)) * self.polars)
        return s, (j + rest) / self.polars

    # -- the frame of the staples

    def _frame(self, loops: Loops) -> _Frame:
        if len(loops) != 2:
            raise ValueError(f"SU2ClassFunctionConditional needs two loops through each link; got {len(loops)}.")
        left, right = (r.mH for r in loops)
        total, apart = right + left, right - left
        size, gap = _size(total), _size(apart)
        tiny = 4 * torch.finfo(size.dtype).eps
        # Opposite staples define no M and equal ones no axis: any choice orthogonal to the other will do.
        turned = torch.stack([1j * apart[..., 0, :], -1j * apart[..., 1, :]], -2)
        mean = torch.where((size > tiny)[..., None, None], total / size[..., None, None], turned / gap[..., None, None])
        axis = _vector(multiply(apart, mean, adjoint_b=True)) / gap[..., None]
        pole = torch.zeros_like(axis)
        pole[..., 2] = 1
        axis = nn.functional.normalize(torch.where((gap > tiny)[..., None], axis, pole), dim=-1)
        place = torch.atan2(gap, size) * (2 * self.rows / math.pi)
        return _Frame(mean, axis, *tables.interval(place, self.rows))

    def _coordinates(self, v: Tensor, frame: _Frame) -> tuple[Tensor, Tensor, Tensor]:
        """s, c and e, [..., 3], of Y = V M^dagger."""
        y = multiply(v, frame.mean, adjoint_b=True)
        vector = _vector(y)
        sine = vector.norm(dim=-1)
        a = torch.atan2(sine, y[..., 0, 0].real)
        along = (vector * frame.axis).sum(-1)
        across = vector - along[..., None] * frame.axis
        c = (along / sine.clamp(min=torch.finfo(sine.dtype).tiny)).clamp(-1, 1)
        return heat_cdf(a, 0.0, 2), c, nn.functional.normalize(across, dim=-1)

    def _link(self, s: Tensor, c: Tensor, e: Tensor, frame: _Frame) -> Tensor:
        """V of its coordinates."""
        a = heat_angle(s, 0.0, 2)
        vector = c[..., None] * frame.axis + (1 - c * c).clamp(min=0).sqrt()[..., None] * e
        x, y, z = (a.sin()[..., None] * vector).unbind(-1)
        diagonal, corner = torch.complex(a.cos(), z), torch.complex(y, x)
        top, bottom = torch.stack([diagonal, corner], -1), torch.stack([-corner.conj(), diagonal.conj()], -1)
        return multiply(torch.stack([top, bottom], -2), frame.mean)

    # -- the model

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, table = self._frame(loops), self._tables()
        base, c, e = self._coordinates(u, frame)
        s, polar = self._invert(table, frame, base.detach(), c.detach().abs())

        def missed(s: Tensor, base: Tensor, t: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
            density, cdf = self._marginal_cdf(_Tables(*tensors), frame._replace(t=t), s)
            return cdf - base, density

        def polar_missed(c: Tensor, part: Tensor, s: Tensor, t: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
            own, moved = _Tables(*tensors), frame._replace(t=t)
            density, cdf = self._polar_cdf(own, moved, s, c)
            return cdf - part * self._marginal_cdf(own, moved, s)[0], density

        s = root(missed, s, base, frame.t, *table)
        polar = root(polar_missed, polar, c.abs(), s, frame.t, *table)
        density, _ = self._polar_cdf(table, frame, s, polar)
        return self._link(s, torch.where(c < 0, -polar, polar), e, frame), -density.log()

    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, table = self._frame(loops), self._tables()
        s, c, e = self._coordinates(v, frame)
        marginal, base = self._marginal_cdf(table, frame, s)
        density, cdf = self._polar_cdf(table, frame, s, c.abs())
        polar = (cdf / marginal).clamp(max=1)
        return self._link(base.clamp(0, 1), torch.where(c < 0, -polar, polar), e, frame), density.log()

    def log_prob(self, v: Tensor, loops: Loops) -> Tensor:
        frame = self._frame(loops)
        s, c, _ = self._coordinates(v, frame)
        return self._polar_cdf(self._tables(), frame, s, c.abs())[0].log()

    @torch.no_grad()
    def score(self, v: Tensor, loops: Loops) -> Tensor:
        frame, density = self._frame(loops), self._tables().density
        s, c, _ = self._coordinates(v, frame)
        (k, part), (j, along) = self._cell(s), self._polar_cell(c.abs())
        # d log p / dc_n at the nodes: the basis less its mean by the rule of the table
        weight = nn.functional.pad(self.nodes.diff(), (1, 1))
        weight = (weight[1:] + weight[:-1]) / 2
        ends = torch.ones(self.polars + 1, dtype=weight.dtype, device=weight.device)
        ends[0] = ends[-1] = 0.5
        measured = density * weight[:, None] * ends / self.polars
        grid = self.basis.view(self.characters, *density.shape)
        slope = grid - torch.einsum("nrkj,rkj->nr", grid, measured)[..., None, None]
        places, factors = [], []
        for row, node, end in itertools.product((0, 1), repeat=3):
            places.append(((frame.start + row) * (self.angles + 1) + k + node) * (self.polars + 1) + j + end)
            factors.append(_side(frame.t, row) * _side(part, node) * _side(along, end))
        return tables.score(density.flatten(), slope.flatten(1).T.contiguous(), places, factors)

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.coefficients.mul_(ratio)


@functools.lru_cache
@kept_on_cpu()
def _basis(characters: int, angles: int, polars: int, rows: int, dtype: torch.dtype) -> Tensor:
    """The characters of both loops at the nodes of h, a and |c|, [characters, nodes], for all models."""
    h = torch.linspace(0, math.pi / 2, rows + 1, dtype=torch.float64)[:, None, None]
    a = torch.linspace(0, math.pi, angles + 1, dtype=torch.float64)[:, None]
    c = torch.linspace(0, 1, polars + 1, dtype=torch.float64)
    near, far = a.cos() * h.cos(), a.sin() * h.sin() * c
    return (_characters(near - far, characters) + _characters(near + far, characters)).flatten(1).to(dtype)


def _characters(x: Tensor, count: int) -> Tensor:
    """U_n(x) / (n + 1), n = 1 ... count, of 2 x = Tr P."""
    one = torch.ones_like(x)
    return torch.stack([h / (n + 1) for n, h in enumerate(complete([one, 2 * x, one], count)) if n])


def _side(t: Tensor, end: int) -> Tensor:
    return t if end else 1 - t


def _size(m: Tensor) -> Tensor:
    """|q| of a real multiple of an SU(2) matrix; its gradient at 0 is finite."""
    square = m[..., 0, :].abs().square().sum(-1)
    return square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()


def _vector(m: Tensor) -> Tensor:
    """v of m = v_0 + i sigma . v, [..., 3]."""
    return torch.stack([m[..., 0, 1].imag, m[..., 0, 1].real, m[..., 0, 0].imag], -1)

r"""Exact draws of plaquettes of SU(3) from Wilson's weight, by rejection with proved bounds.

**One plaquette**, of density :math:`f(U) \propto e^{b\,\mathrm{Re\,Tr}\,U}` with :math:`b = \beta / 3`. Its eigenangles
:math:`\alpha_1, \alpha_2, \alpha_3 = -\alpha_1 - \alpha_2` have the density

.. math:: g = \prod_{i<j} 2\,(1 - \cos(\alpha_i - \alpha_j))\; e^{b \sum_i (\cos\alpha_i - 1)},

its eigenvectors are a Haar matrix V. The square of :math:`(\alpha_1, \alpha_2)` is divided into cells. In a cell each
angle and each difference runs over an interval, on which the largest value of its factor is known; the product of
these bounds g. A cell is chosen in proportion to bound times area, a point in it uniformly, and the point is accepted
with probability g / bound.

**Two plaquettes of product D.** The first, X, has the density
:math:`f(X)\, f(X^{-1} D) \propto e^{b\,\mathrm{Re\,Tr}\,X (1 + D)^\dagger}`. With
:math:`D = V e^{i\theta} V^\dagger`, :math:`\sum_i \theta_i = 0`, and :math:`X = V e^{i\theta/2}\, Y V^\dagger` it is
:math:`e^{b \sum_i h_i \mathrm{Re}\,Y_{ii}}`, :math:`h_i = 2 \cos(\theta_i / 2)`. Y is drawn as one plaquette of
coupling :math:`h \beta`, h near the least :math:`h_i` and not negative. Since :math:`|\mathrm{Re}\,Y_{ii}| \le 1` the
remaining factor is at most :math:`e^{b \sum_i |h_i - h|}`, and Y is accepted with the ratio of the two.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.groups.rejection import first_accepted
from flowkit.kernels import sun as kernels

CELLS = 256
"""Intervals of an angle."""
STEPS = 16
"""Couplings h between 0 and 2 for which Y is drawn."""
CHUNK = 32768
"""Draws at once, whose matrices fit into a cache."""


class Cells(NamedTuple):
    """A bound of g that is constant in cells."""

    edges: Tensor
    """Of the intervals of an angle, ``[cells + 1]``, radians."""
    bound: Tensor
    """Of g, ``[cells^2]``."""
    total: Tensor
    """Sum of bound times area up to each cell, ``[cells^2]``."""
    rate: float
    """Roughly the share of points that is accepted."""


def density(angles: tuple[Tensor, ...], b: float) -> Tensor:
    """g of three eigenangles ``[...]`` each."""
    x, y, z = angles
    haar = (1 - (x - y).cos()) * (1 - (y - z).cos()) * (1 - (z - x).cos())
    return 8 * haar * (b * (x.cos() + y.cos() + z.cos() - 3)).exp()


def highest_cosine(low: Tensor, high: Tensor) -> Tensor:
    """The largest cosine on the intervals [low, high]."""
    turn = 2 * math.pi
    peak = torch.ceil(low / turn) * turn <= high
    return torch.where(peak, 1.0, torch.maximum(low.cos(), high.cos()))


@functools.lru_cache(maxsize=4 * STEPS)
def cells(b: float, device: torch.device) -> Cells:
    """The cells of coupling b; their sides are shorter where g is large."""
    with torch.inference_mode(False):
        t = torch.linspace(-math.pi / 2, math.pi / 2, CELLS + 1, dtype=torch.float64, device=device)
        edges = 2 * (t.tan() / math.sqrt(1 + b)).atan()
        low, high = edges[:-1], edges[1:]
        x, y = (low[:, None], high[:, None]), (low[None], high[None])
        z = -x[1] - y[1], -x[0] - y[0]
        exponent = sum((highest_cosine(*one) for one in (x, y, z)), torch.zeros((), device=device)) - 3
        bound = 8 * (b * exponent).exp()
        for one, other in ((x, y), (y, z), (z, x)):  # 1 - cos = 1 + cos of the angle turned by pi
            bound = bound * (1 + highest_cosine(one[0] - other[1] + math.pi, one[1] - other[0] + math.pi))
        area = (high - low)[:, None] * (high - low)
        total = (bound * area).flatten().cumsum(0)
        middle = (low + high) / 2
        inside = density((middle[:, None], middle[None], -middle[:, None] - middle), b) * area
        return Cells(edges, bound.flatten(), total, float(inside.sum() / total[-1]))


def eigenangles(n: int, b: float, rng: torch.Generator) -> Tensor:
    """Independent triples of density g, ``[n, 3]``, float64."""
    table, missing = cells(b, rng.device), n
    found = [table.edges.new_empty(0, 3)]
    while missing > 0:
        k = int(missing / table.rate * 1.01) + 16
        u = torch.rand(4, k, generator=rng, device=rng.device, dtype=torch.float64)
        cell = torch.searchsorted(table.total, u[0] * table.total[-1]).clamp(max=CELLS**2 - 1)
        rows = cell // CELLS, cell % CELLS
        x, y = (torch.lerp(table.edges[j], table.edges[j + 1], w) for j, w in zip(rows, u[1:3], strict=True))
        z = -x - y
        accepted = u[3] * table.bound[cell] < density((x, y, z), b)
        found.append(torch.stack([x, y, z], -1)[accepted][:missing])
        missing -= len(found[-1])
    return torch.cat(found)


def one_plaquette(n: int, beta: float, rng: torch.Generator) -> Tensor:
    """Independent elements of density ~ exp((beta/3) Re Tr U), complex128 ``[n, 3, 3]``."""
    found = torch.empty(n, 3, 3, dtype=torch.complex128, device=rng.device)
    for part in torch.split(found, CHUNK):
        angles = eigenangles(len(part), beta / 3, rng)
        phases = torch.polar(torch.ones_like(angles), angles)
        frame = kernels.project(torch.randn(part.shape, generator=rng, device=rng.device, dtype=part.dtype))
        part.copy_(kernels.multiply(frame * phases[:, None, :], frame, adjoint_b=True))
    return found


def first_of_two(product: Tensor, beta: float, rng: torch.Generator) -> Tensor:
    """X of density ~ f(X) f(X^-1 D) for each product D, ``[n, 3, 3]``, drawn in double precision."""
    theta, frame = kernels.spectrum(product.to(torch.complex128))
    h = 2 * (theta / 2).cos()
    step = (h.amin(1) * (STEPS / 2)).floor().clamp(0, STEPS)

    def propose(which: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        chosen = step[which]
        Y = frame.new_empty(len(which), 3, 3)
        for one in sorted(set(chosen.tolist())):
            mine = (chosen == one).nonzero()[:, 0]
            Y[mine] = one_plaquette(len(mine), beta * one * 2 / STEPS, rng)
        excess = h[which] - chosen[:, None] * (2 / STEPS)
        diagonal = Y.diagonal(dim1=-2, dim2=-1).real
        return (Y,), (beta / 3 * (excess * diagonal - excess.abs()).sum(1)).exp()

    (Y,) = first_accepted(len(product), propose, rng, tries=8)
    half = torch.polar(torch.ones_like(theta), theta / 2)
    X = kernels.multiply(frame * half[:, None, :], kernels.multiply(Y, frame, adjoint_b=True))
    return X.to(product.dtype)

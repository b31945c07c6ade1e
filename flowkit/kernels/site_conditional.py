"""The sites of one parity given the others, or integrated out: sums over the lattice of what `site` knows of each.

On a CPU by a C kernel, one pass over memory; elsewhere, or without a compiler, through torch with the same results.
"""

import ctypes
import functools
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.kernels.native import REALS, library, plain, takes
from flowkit.kernels.scalar_action import _unit_steps, outer_rows, scalar_force
from flowkit.kernels.site import SPACING, WIDEST, Site, table


class Sublattice(NamedTuple):
    """Where the sites of one parity are."""

    first: Tensor
    """The place of the first of them in each row (all axes but the last), 0 or 1, [rows]."""
    active: Tensor
    """Their flat indices, [volume / 2]."""
    frozen: Tensor
    """Those of all others."""


@functools.lru_cache(maxsize=64)
def sublattice(lattice: tuple[int, ...], moves: int, device: torch.device) -> Sublattice:
    """The sites of parity `moves`."""
    with torch.inference_mode(False):
        axes = torch.meshgrid(*[torch.arange(side, device=device) for side in lattice], indexing="ij")
        odd = (sum(axes, torch.zeros(lattice, dtype=torch.long, device=device)) + moves) % 2
        first = odd.flatten(0, -2)[:, 0] if len(lattice) > 1 else odd[:1]
        return Sublattice(first.clone(), *((odd.flatten() == i).nonzero()[:, 0] for i in (0, 1)))


def native(x: Tensor) -> bool:
    """Whether the C kernel serves."""
    return takes("site_conditional", x)


def action(z: Tensor, site: Site, moves: int) -> Tensor:
    """sum_frozen [ a x^2 + g x^4 ] + sum_active [ z^2 / 2 - W(J) ] of [batch, components, *lattice], [batch]."""
    lattice = tuple(z.shape[2:])
    where = sublattice(lattice, moves, z.device)
    if native(z) and not (torch.is_grad_enabled() and z.requires_grad):
        z, out = plain(z), z.new_empty(z.shape[:2], dtype=torch.float64)
        around = outer_rows(lattice, _unit_steps(len(lattice)))
        sizes = z.shape[0] * z.shape[1], len(where.first), lattice[-1], 2 * (len(lattice) - 1)
        pointers = [t.data_ptr() for t in (z, around, where.first, site.log_ratio, out)]
        _function("action", z.dtype)(*pointers, *sizes, site.couplings[0], site.a, site.g, site.log_z)
        return out.sum(1).to(z.dtype)
    flat = z.flatten(2)
    x, own = flat.index_select(2, where.frozen), flat.index_select(2, where.active)
    square = x * x
    terms = square * (site.a + site.g * square) + own * own / 2 - site.log_partition(source(z, site, where))
    return terms.flatten(1).sum(1)


def source(z: Tensor, site: Site, where: Sublattice) -> Tensor:
    """J = h times the sum of the neighbours of each active site, [batch, components, volume / 2]."""
    return site.couplings[0] * neighbours(z).flatten(2).index_select(2, where.active)


def neighbours(x: Tensor) -> Tensor:
    """The sum of the neighbours of each site."""
    return scalar_force(x, 1.0, 0.0, 0.0)


def quantile(z: Tensor, site: Site, moves: int) -> tuple[Tensor, Tensor]:
    """X(z, J) at the active sites and z at the others, and log|det|, [batch], by the C kernel, from the table."""
    lattice = tuple(z.shape[2:])
    where, values = sublattice(lattice, moves, z.device), table(site.couplings, z.dtype, z.device)
    z, out = plain(z), torch.empty_like(z, memory_format=torch.contiguous_format)
    logdet = z.new_empty(z.shape[:2], dtype=torch.float64)
    around = outer_rows(lattice, _unit_steps(len(lattice)))
    sizes = z.shape[0] * z.shape[1], len(where.first), lattice[-1], 2 * (len(lattice) - 1), *values.shape[:2]
    pointers = [t.data_ptr() for t in (z, around, where.first, site.log_ratio, values, out, logdet)]
    numbers = site.couplings[0], site.a, site.g, site.log_z, WIDEST, 1 / SPACING, site.most
    _function("quantile", z.dtype)(*pointers, *sizes, *numbers)
    return out, logdet.sum(1).to(z.dtype)


@functools.cache
def _function(name: str, dtype: torch.dtype) -> "ctypes._NamedFuncPointer":
    function: ctypes._NamedFuncPointer = getattr(library("site_conditional"), f"{name}_{REALS[dtype]}")
    pointers, whole, real = {"action": (5, 4, 4), "quantile": (7, 6, 7)}[name]
    function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * whole + [ctypes.c_double] * real
    function.restype = None
    return function

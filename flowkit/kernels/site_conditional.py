"""The sites of one parity given the others, or integrated out: sums over the lattice of what `site` knows of each.

On a CPU by a C kernel, one pass over memory; elsewhere, or without a compiler, through torch with the same results.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowkit.kernels.native import call, kept_on_cpu, plain, takes
from flowkit.kernels.scalar_action import neighbours
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
    """The sites of parity `moves`, found on the CPU, so that no device is waited for."""
    with torch.inference_mode(False):
        axes = torch.meshgrid(*[torch.arange(side, device="cpu") for side in lattice], indexing="ij")
        odd = (sum(axes, torch.zeros(lattice, dtype=torch.long, device="cpu")) + moves) % 2
        first = odd.flatten(0, -2)[:, 0] if len(lattice) > 1 else odd[:1]
        found = first.clone(), *((odd.flatten() == i).nonzero()[:, 0] for i in (0, 1))
        return Sublattice(*(index.to(device) for index in found))


@functools.lru_cache(maxsize=64)
@kept_on_cpu()
def outer_rows(lattice: tuple[int, ...]) -> Tensor:
    """The row (all axes but the last) next to each row forward along each of its axes, then backward, [2 axes, rows];
    [0, 1] where there is one row.
    """
    places = torch.arange(math.prod(lattice[:-1])).view(lattice[:-1])
    shifted = [torch.roll(places, step, axis).flatten() for step in (-1, 1) for axis in range(places.dim())]
    return torch.stack(shifted) if shifted else torch.empty(0, 1, dtype=torch.long)


def native(x: Tensor) -> bool:
    """Whether the C kernel serves."""
    return takes("site_conditional", x)


def action(z: Tensor, site: Site, moves: int) -> Tensor:
    """sum_frozen [ a x^2 + g x^4 ] + sum_active [ z^2 / 2 - W(J) ] of [batch, components, *lattice], [batch]."""
    lattice = tuple(z.shape[2:])
    where = sublattice(lattice, moves, z.device)
    if native(z) and not (torch.is_grad_enabled() and z.requires_grad):
        z, out = plain(z), z.new_empty(z.shape[:2], dtype=torch.float64)
        around = outer_rows(lattice)
        sizes = z.shape[0] * z.shape[1], len(where.first), lattice[-1], 2 * (len(lattice) - 1)
        numbers = map(float, (site.couplings[0], site.a, site.g, site.log_z))
        call("site_conditional", "action", z.dtype, z, around, where.first, site.log_ratio, out, *sizes, *numbers)
        return out.sum(1).to(z.dtype)
    flat = z.flatten(2)
    x, own = flat.index_select(2, where.frozen), flat.index_select(2, where.active)
    square = x * x
    terms = square * (site.a + site.g * square) + own * own / 2 - site.log_partition(source(z, site, where))
    return terms.flatten(1).sum(1)


def source(z: Tensor, site: Site, where: Sublattice) -> Tensor:
    """J = h times the sum of the neighbours of each active site, [batch, components, volume / 2]."""
    return site.couplings[0] * neighbours(z).flatten(2).index_select(2, where.active)


def quantile(z: Tensor, site: Site, moves: int) -> tuple[Tensor, Tensor]:
    """X(z, J) at the active sites and z at the others, and log|det|, [batch], by the C kernel, from the table."""
    lattice = tuple(z.shape[2:])
    where, values = sublattice(lattice, moves, z.device), table(site.couplings, z.dtype, z.device)
    z, out = plain(z), torch.empty_like(z, memory_format=torch.contiguous_format)
    logdet = z.new_empty(z.shape[:2], dtype=torch.float64)
    around = outer_rows(lattice)
    sizes = z.shape[0] * z.shape[1], len(where.first), lattice[-1], 2 * (len(lattice) - 1), *values.shape[:2]
    tensors = z, around, where.first, site.log_ratio, values, out, logdet
    numbers = map(float, (site.couplings[0], site.a, site.g, site.log_z, WIDEST, 1 / SPACING, site.most))
    call("site_conditional", "quantile", z.dtype, *tensors, *sizes, *numbers)
    return out, logdet.sum(1).to(z.dtype)

"""Trajectories of scalar fields: drifts x += d v and kicks v += k C F(x) in turn, with C = 1 or 1 but for a few modes.

On a CPU a C kernel keeps a field in the cache from the first drift to the last.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit.kernels.native import call, kept_on_cpu, plain, takes
from flowkit.kernels.site import Site, site
from flowkit.kernels.site_conditional import outer_rows, sublattice


@dataclass(frozen=True)
class FewModes:
    """C x = x + sum_{k,l} factor[k, l] e_k f_l <e_k f_l, x> for each component, symmetric and 1 but for a few modes."""

    outer: Tensor
    """e_k, orthonormal on the places of all axes but the last, [K, rows]."""
    inner: Tensor
    """f_l, orthonormal on the places of the last axis, [L, side], or of half of them."""
    products: Tensor
    """e_k f_l at all sites, 0 where it does not act, [K L, volume]."""
    factor: Tensor
    """[K, L]"""
    parity: int | None = None
    """Of the sites that it acts on, or None for all; the i-th of a row is in the i-th place."""

    def __call__(self, x: Tensor) -> Tensor:
        """C x of fields [batch, components, *lattice]."""
        flat = x.reshape(-1, self.products.shape[1])
        modes = (flat @ self.products.T) * self.factor.flatten()
        return torch.addmm(flat, modes, self.products).view(x.shape)


def native(x: Tensor, v: Tensor, mass: Callable[[Tensor], Tensor] | None, parity: int | None = None) -> bool:
    """Whether the C kernel serves: it knows no gradients, and as inverse mass matrix few modes of that parity alone."""
    if x.shape != v.shape or not takes("scalar_motion", x, v):
        return False
    if torch.is_grad_enabled() and (x.requires_grad or v.requires_grad):
        return False
    return mass is None or (
        isinstance(mass, FewModes)
        and mass.parity == parity
        and (mass.products.dtype, mass.products.device) == (x.dtype, x.device)
        and mass.products.shape[1] == math.prod(x.shape[2:])
    )


@torch.no_grad()
def motion(
    x: Tensor,
    v: Tensor,
    drifts: Sequence[float],
    kicks: Sequence[float],
    step: float | Tensor,
    couplings: tuple[float, float, float],
    mass: Callable[[Tensor], Tensor] | None = None,
    out: tuple[Site, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Where (x, v), [batch, components, *lattice], go under the force of `scalar_action`; one more drift than kicks.

    step         unit of drifts and kicks, one for all or [batch, 1, ...]
    couplings    (h, a, g)
    mass         C, `FewModes`, or None for 1
    out          the sites of this parity are integrated out, and unit oscillators stand in their places
    """
    assert mass is None or isinstance(mass, FewModes)
    x, v = plain(x).clone(), plain(v).clone()
    lattice = tuple(x.shape[2:])
    around = outer_rows(lattice)
    with kept_on_cpu():
        steps = torch.as_tensor(step, dtype=torch.float64).reshape(-1, 1).expand(x.shape[:2]).contiguous()
        plan = [torch.tensor(numbers, dtype=torch.float64) for numbers in (list(drifts), list(kicks))]
    tables = [None] * 4 if mass is None else _padded(mass)
    sizes = x.shape[0] * x.shape[1], math.prod(lattice[:-1]), lattice[-1], 2 * (len(lattice) - 1), len(kicks)
    frozen = None if out is None else sublattice(lattice, 1 - out[1], x.device).first
    ratio = None if out is None else _ratio(out[0].couplings, x.dtype)
    tensors = x, v, around, *plan, steps, *tables, frozen, ratio
    modes = (0, 0) if mass is None else mass.factor.shape
    call("scalar_motion", "trajectory", x.dtype, *tensors, *sizes, *modes, *map(float, couplings))
    return x, v


def _padded(modes: FewModes) -> list[Tensor]:
    """e [rows, K], f [L, > side + 1], f [side, >= L] and the factor [K, >= L], padded as the kernel reads them."""
    wide = _wide(modes.inner.dtype)

    def up(t: Tensor, least: int) -> Tensor:
        return F.pad(t, (0, -(-least // wide) * wide - t.shape[-1])).contiguous()

    count, side = modes.inner.shape
    return [modes.outer.T.contiguous(), up(modes.inner, side + 2), up(modes.inner.T, count), up(modes.factor, count)]


@functools.cache
def _wide(dtype: torch.dtype) -> int:
    """Numbers in a vector of the kernel."""
    return call("scalar_motion", "wide", dtype)


@functools.lru_cache(maxsize=32)
@kept_on_cpu()
def _ratio(couplings: tuple[float, float, float, int], dtype: torch.dtype) -> Tensor:
    """h <phi> / s as a ratio of polynomials of s^2, s the sum of the neighbours: N, then D without its first 1."""
    one, square = site(*couplings), couplings[0] ** 2
    N, D = one.ratio_float if dtype == torch.float32 else one.ratio
    scale = (square or 1.0) ** -torch.arange(len(N), dtype=torch.float64)
    return torch.cat([square * N * scale, (D * scale)[1:]]).to(dtype)

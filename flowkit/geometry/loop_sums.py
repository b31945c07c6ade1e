"""Plaquettes and rectangles of 1x2 links, summed over a field with weights, and the derivatives of the sum.

For fields that are known to fit their space, as in `paths`. On a CPU plaquettes of the groups that have a kernel, and
their slopes, are those of `flowkit.kernels.wilson`, unless a derivative is asked for.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.geometry import paths
from flowkit.geometry.closed_paths import Loop, link_index, staple_index
from flowkit.geometry.space import Space
from flowkit.kernels import wilson
from flowkit.kernels.native import kept_on_cpu


@functools.lru_cache(maxsize=8)
@kept_on_cpu()
def staple_table(space: Space) -> Tensor:
    """Each link and the links of its staples, [links, 1 + 6 (ndim - 1)]."""
    sites = torch.arange(space.volume)
    directions = ((mu * space.volume + sites, staple_index(space, mu, sites)) for mu in range(space.ndim))
    return wilson.link_table(tuple(directions)).rows


@functools.lru_cache(maxsize=8)
@kept_on_cpu()
def plaquette_table(space: Space) -> Tensor:
    """The links of the plaquette a b c^-1 d^-1 in each plane and at each site, numbered mu * volume + site."""
    sites = torch.arange(space.volume)
    steps = [Loop.rectangle(mu, nu).steps(space.ndim) for mu, nu in space.planes]
    return torch.cat([link_index(space, sites, one).T for one in steps]).contiguous()


def _kernel(space: Space, U: Tensor, c1: float) -> str | None:
    """The kernel that takes these plaquettes, or None."""
    kernel = space.group.wilson_kernel
    return kernel if kernel is not None and not c1 and space.planes and wilson.native(kernel, U) else None


def loop_sum(space: Space, U: Tensor, c0: float = 1.0, c1: float = 0.0) -> Tensor:
    """c0 times the sum of Re Tr P / N over all plaquettes, and c1 times that over all rectangles, [batch]."""
    kernel = _kernel(space, U, c1)
    if kernel is not None:
        return _times(c0, wilson.trace_sum(kernel, U, plaquette_table(space)))
    total = torch.zeros(len(U), dtype=U.real.dtype, device=U.device)
    for mu, nu in space.planes:
        for r, t, weight in _shapes(c0, c1):
            traces = space.group.trace(paths.rectangle(space, U, mu, nu, r, t, wrap=False))
            total = total + _times(weight, traces.flatten(1).sum(1))
    return total


def loop_slopes(
    space: Space, U: Tensor, c0: float = 1.0, c1: float = 0.0, directions: Sequence[int] | None = None
) -> Tensor:
    """The derivative of `loop_sum` by each link, d/dw^a at exp(w) U, [batch, directions, *lattice, *algebra_axes].

    With `directions` only loops and links of these directions count.
    """
    chosen = range(space.ndim) if directions is None else directions
    kernel = _kernel(space, U, c1)
    if kernel is not None and [*chosen] == [*range(space.ndim)]:
        return wilson.force(kernel, U, staple_table(space), c0, space.group.algebra_shape(U.shape))
    if space.group.abelian:
        return _slopes_of_loops(space, U, c0, c1, chosen)
    G, slopes = space.group, []
    for mu in chosen:
        found = [one for nu in chosen if nu != mu for one in _staples(space, U, mu, nu, c0, c1)]
        slopes.append(G.trace_slope(G.compose(paths.link(U, mu), G.inverse(sum(found[1:], found[0])))))
    return torch.cat(slopes, 1)


def _slopes_of_loops(space: Space, U: Tensor, c0: float, c1: float, chosen: Sequence[int]) -> Tensor:
    """Where elements commute the slope of a loop is the same for all of its links, up to the sign."""
    sums: dict[int, Tensor] = {}
    for mu, nu in space.planes:
        if mu not in chosen or nu not in chosen:
            continue
        for r, t, weight in _shapes(c0, c1):
            slope = space.group.trace_slope(paths.rectangle(space, U, mu, nu, r, t, wrap=False))
            slope = _times(weight, slope)
            along, across = slope - paths.shift(slope, nu, -t), slope - paths.shift(slope, mu, -r)
            for step in range(r):
                sums[mu] = _plus(sums.get(mu), paths.shift(along, mu, -step) if step else along, 1)
            for step in range(t):
                sums[nu] = _plus(sums.get(nu), paths.shift(across, nu, -step) if step else across, -1)
    return torch.cat([sums[mu] for mu in chosen], 1)


def _staples(space: Space, U: Tensor, mu: int, nu: int, c0: float, c1: float) -> list[Tensor]:
    """The staples of U_mu that close plaquettes and rectangles in the plane (mu, nu), with their weights."""
    G = space.group
    upper, lower = paths.staples(space, U, mu, nu)
    found = [_times(c0, upper), _times(c0, lower)]
    if not c1:
        return found
    a, b = paths.link(U, mu), paths.link(U, nu)
    ahead = paths.shift(b, mu)
    tall = G.compose(G.compose(b, paths.shift(upper, nu)), G.inverse(ahead))
    deep = paths.shift(G.compose(G.compose(G.inverse(b), lower), ahead), nu, -1)
    rest = [tall, deep]
    for one in (upper, lower):  # two links along mu: the staple of the next or of the last link, beside this one
        rest.append(G.compose(one, paths.shift(G.compose(one, G.inverse(a)), mu)))
        rest.append(G.compose(paths.shift(G.compose(G.inverse(a), one), mu, -1), one))
    return [*found, *(_times(c1, one) for one in rest)]


def _shapes(c0: float, c1: float) -> list[tuple[int, int, float]]:
    return [(1, 1, c0), *([(2, 1, c1), (1, 2, c1)] if c1 else [])]


def _times(weight: float, x: Tensor) -> Tensor:
    return x if weight == 1 else weight * x


def _plus(total: Tensor | None, x: Tensor, sign: int) -> Tensor:
    if total is None:
        return x if sign > 0 else -x
    return total + x if sign > 0 else total - x

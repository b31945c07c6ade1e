r"""Links with Wilson's action on a CPU, in C for U(1), SU(2) and SU(3): heatbath and overrelaxation, plaquettes.

.. math:: S(U) = -\frac{\beta}{N} \sum_P \mathrm{Re\,Tr}\, U_P

Links are numbered mu * volume + site. Random numbers are a function of a key, of the link and of the chain, so that
neither the number of threads nor that of chains changes them.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from flowkit.kernels.native import REALS, call, kept_on_cpu, library, plain
from flowkit.kernels.site_conditional import outer_rows


class LinkTable(NamedTuple):
    """Links and their staples, one sublattice after the other."""

    rows: Tensor
    """A link, and the three links of each of its staples, those above and below the link in turn, [links, 1 + 3 n]."""
    parts: Tensor
    """Where each sublattice starts in `rows`, and their end, [parts + 1]."""


def native(name: str | None, x: Tensor) -> bool:
    """Whether the kernels of `name`.c can be had and take the fields x; they know no derivatives."""
    if name is None or not x.is_cpu or x.dtype.to_real() not in REALS or (torch.is_grad_enabled() and x.requires_grad):
        return False
    if unpack_dual(x).tangent is not None:  # type: ignore[no-untyped-call]
        return False
    try:
        x.data_ptr()
    except RuntimeError:  # transforms of torch.func have no numbers of their own
        return False
    return library(name) is not None


@functools.lru_cache(maxsize=8)
@kept_on_cpu()
def link_table(parts: tuple[tuple[Any, ...], ...]) -> LinkTable:
    """The table of sublattices, each (active [n], legs [planes, 2, 3, n], ...); one table for the same tensors."""
    rows = [torch.cat([active[None], legs.flatten(0, 2)]) for active, legs, *_ in parts]
    ends = torch.tensor([0, *(part.shape[1] for part in rows)]).cumsum(0)
    return LinkTable(torch.cat(rows, 1).T.to("cpu").contiguous(), ends)


def _key(rng: torch.Generator) -> Tensor:
    """What the random numbers of one call are a function of."""
    return torch.empty(1, dtype=torch.int64, device="cpu").random_(generator=rng)


@torch.no_grad()
def sweeps(
    name: str, x: Tensor, table: LinkTable, beta: float, heatbath: int, overrelaxation: int, rng: torch.Generator
) -> None:
    """Sweeps of heatbath, then of overrelaxation, over all links of fields x, contiguous, which are changed in place.

    Matrices are brought back to the group after the last sweep.
    """
    key = _key(rng)
    links, staples = x[:1].numel() // RECORDS[name], table.rows.shape[1] // 3
    sizes = len(x), links, len(table.parts) - 1, staples, heatbath, overrelaxation, torch.get_num_threads()
    call(name, "sweeps", x.dtype, x, *table, key, *sizes, float(beta))


@torch.no_grad()
def force(name: str, x: Tensor, rows: Tensor, beta: float, shape: tuple[int, ...]) -> Tensor:
    """The force on each link in algebra coordinates, of that shape; `rows` of a `LinkTable` with all links."""
    found = torch.empty(shape, dtype=x.dtype.to_real(), device="cpu")
    sizes = len(x), x[:1].numel() // RECORDS[name], rows.shape[1] // 3
    call(name, "force", x.dtype, plain(x), rows, found, *sizes, float(beta))
    return found


def moves(name: str | None, x: Tensor, p: Tensor) -> bool:
    """Whether `motion` serves, which is written for U(1)."""
    return name == "wilson_u1" and x.dtype == p.dtype and x.shape == p.shape and native(name, x) and native(name, p)


@torch.no_grad()
def motion(
    x: Tensor,
    p: Tensor,
    plaquettes: Tensor,
    drifts: Sequence[float],
    kicks: Sequence[float],
    step: float | Tensor,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """Where angles x and momenta p, [batch, ndim, *lattice], go by drifts x += d p and kicks p += k F(x) in turn.

    step         unit of drifts and kicks, one for all or [batch, 1, ...]
    plaquettes   [count, 4], as of `trace_sum`
    """
    x, p = plain(x).clone(), plain(p).clone()
    with kept_on_cpu():
        steps = torch.as_tensor(step, dtype=torch.float64).reshape(-1).expand(len(x)).contiguous()
        plan = [torch.tensor(numbers, dtype=torch.float64) for numbers in (list(drifts), list(kicks))]
    lattice = tuple(x.shape[2:])
    sizes = len(x), x.shape[1], math.prod(lattice[:-1]), lattice[-1], len(plaquettes), len(kicks)
    call("wilson_u1", "trajectory", x.dtype, x, p, plaquettes, outer_rows(lattice), *plan, steps, *sizes, float(beta))
    return x, p


@torch.no_grad()
def anneal(
    name: str,
    x: Tensor,
    table: LinkTable,
    betas: Sequence[float],
    grown: Tensor,
    overrelaxation: int,
    rng: torch.Generator,
) -> Tensor | None:
    """Heatbath sweeps along betas of fields x, contiguous, which are changed in place: ln of their weights, [batch].

    The coupling of the planes of each sublattice grows by a quarter of the way to the next beta before its links are
    drawn; grown [sublattices, planes] is the part of the way that lies behind. None, and x as it was, where the steps
    are too wide for a weight that is integrated by Gauss' rule.
    """
    staples = table.rows.shape[1] // 3
    widest = max(abs(b - a) for a, b in itertools.pairwise(betas)) / 4 * staples
    largest = max(betas) * staples * FACTORS[name]
    if widest > 0.7 or largest > 58:
        return None
    with kept_on_cpu():
        logw, path = torch.zeros(len(x), dtype=torch.float64), torch.tensor(betas, dtype=torch.float64)
    key = _key(rng)
    links, terms = x[:1].numel() // RECORDS[name], math.ceil(1.4 * largest) + 14
    sizes = len(x), links, len(table.parts) - 1, staples, len(betas) - 1, overrelaxation, terms, torch.get_num_threads()
    call(name, "anneal", x.dtype, x, *table, key, path, grown.contiguous(), logw, *sizes)
    return logw


@torch.no_grad()
def trace_sum(name: str, x: Tensor, plaquettes: Tensor) -> Tensor:
    """The sum of Re Tr U_P / N of each field, [batch]; plaquettes [count, 4] lists the links of a b c^-1 d^-1."""
    with kept_on_cpu():
        sums = torch.empty(len(x), dtype=torch.float64)
        scratch = torch.empty(len(x) * (len(plaquettes) // 2 + 1), dtype=torch.float64)
    links = x[:1].numel() // RECORDS[name]
    call(name, "traces", x.dtype, plain(x), plaquettes, sums, scratch, len(x), links, len(plaquettes))
    return sums.to(x.dtype.to_real())


RECORDS = {"wilson_u1": 1, "wilson_su2": 4, "wilson_su3": 9}
"""Numbers of a link."""
FACTORS = {"wilson_u1": 1.0, "wilson_su2": 1.0, "wilson_su3": 2 / 3}
"""Of the staples in the concentration of the law that an angle is drawn from."""

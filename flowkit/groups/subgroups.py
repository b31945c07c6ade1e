r"""Heatbath and overrelaxation of a matrix of SU(N) by its SU(2) subgroups.

With A the sum of the staples of a link V, the part of :math:`V A^\dagger` in the SU(2) subgroup of rows i < j is k u
with k >= 0 and u in SU(2). The update is V -> a V with a in the subgroup. Heatbath: w is drawn from
:math:`e^{(2 \beta k / N)\,\mathrm{Re}\, w_{11}}`, and a = w u^-1. Overrelaxation: a = u^-2, which leaves the action
unchanged. Elements [[a, b], [-b*, a*]] of SU(2) are pairs (a, b).

References
----------
Creutz, Phys. Rev. D 21 (1980) 2308; Cabibbo and Marinari, Phys. Lett. B 119 (1982) 387.
"""

import math
from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from flowkit.kernels.heat import heat_angle, heat_log_norm

SU2 = tuple[Tensor, Tensor]


def heatbath(v: Tensor, staples: Tensor, beta: float, rng: torch.Generator) -> Tensor:
    """V anew in each SU(2) subgroup in turn, from exp((beta/N) Re Tr V A^dagger), [..., N, N]."""

    def draw(k: Tensor, u: SU2) -> SU2:
        return times(su2_element(2 * beta / v.shape[-1] * k, rng), inverse(u))

    return _over_subgroups(v, staples, draw)


def overrelax(v: Tensor, staples: Tensor) -> Tensor:
    """V reflected in each SU(2) subgroup in turn, [..., N, N]."""
    return _over_subgroups(v, staples, lambda k, u: times(inverse(u), inverse(u)))


def annealed_heatbath(
    v: Tensor, staples: Tensor, slope: Tensor, step: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """As `Group.annealed_heatbath`: each SU(2) subgroup in turn, with an equal part of the step."""
    n = v.shape[-1]
    pairs = list(combinations(range(n), 2))
    v, w, ws = v.clone(), v @ staples.mH, v @ slope.mH
    logw, h = torch.zeros_like(v[..., 0, 0].real), step / len(pairs)
    for i, j in pairs:
        inside = (ws[..., i, i] + ws[..., j, j]).real
        rest = ws.diagonal(dim1=-2, dim2=-1).real.sum(-1) - inside if n > 2 else 0
        before, w = 2 / n * _part(w, i, j)[0], w + h * ws
        k, u = _part(w, i, j)
        kappa = 2 / n * k
        logw = logw + h / n * rest + heat_log_norm(kappa, 2) - heat_log_norm(before, 2)
        a = times(su2_element(kappa, rng), inverse(u))
        for m in (v, w, ws):
            _turn(m, i, j, a)
    return v, logw


def su2_element(kappa: Tensor, rng: torch.Generator) -> SU2:
    """Elements of density exp(kappa Re a) in Haar measure, by the inverse of the distribution of their angle.

    Parameters
    ----------
    kappa : Tensor
        Not negative, dimensionless, ``[...]``; NaN and infinity give NaN.

    Returns
    -------
    tuple of Tensor
        a and b, complex, ``[...]``.
    """
    u, z, phi = torch.rand(3, *kappa.shape, generator=rng, device=kappa.device, dtype=kappa.dtype).unbind(0)
    angle, z = heat_angle(u, kappa, 2) + 0 * kappa, 2 * z - 1
    radius = angle.sin().clamp(min=0)
    return torch.complex(angle.cos(), radius * z), torch.polar(radius * (1 - z * z).sqrt(), 2 * math.pi * phi)


def matrix(x: SU2) -> Tensor:
    """The matrix [[a, b], [-b*, a*]], [..., 2, 2]."""
    a, b = x
    return torch.stack([a, b, -b.conj(), a.conj()], -1).view(*a.shape, 2, 2)


def times(x: SU2, y: SU2) -> SU2:
    """The product x y."""
    (a, b), (c, d) = x, y
    return a * c - b * d.conj(), a * d + b * c.conj()


def inverse(x: SU2) -> SU2:
    """The inverse of x."""
    a, b = x
    return a.conj(), -b


def _part(w: Tensor, i: int, j: int) -> tuple[Tensor, SU2]:
    """k and u: the part of w in the SU(2) subgroup of rows i < j is k u."""
    p = (w[..., i, i] + w[..., j, j].conj()) / 2
    q = (w[..., i, j] - w[..., j, i].conj()) / 2
    k = (p.abs().square() + q.abs().square()).sqrt()
    safe = k.clamp(min=torch.finfo(k.dtype).tiny)
    vanishes = k <= 0  # then every u is right; NaN stays NaN
    return k, (torch.where(vanishes, 1, p / safe), torch.where(vanishes, 0, q / safe))


def _turn(m: Tensor, i: int, j: int, x: SU2) -> None:
    """m -> x m in place, with x in the subgroup of rows i < j."""
    (a, b), upper, lower = x, m[..., i, :], m[..., j, :]
    m[..., i, :], m[..., j, :] = (
        a[..., None] * upper + b[..., None] * lower,
        a.conj()[..., None] * lower - b.conj()[..., None] * upper,
    )


def _over_subgroups(v: Tensor, staples: Tensor, choose: Callable[[Tensor, SU2], SU2]) -> Tensor:
    """V -> a V for a = choose(k, u) in each SU(2) subgroup in turn."""
    v, w = v.clone(), v @ staples.mH
    pairs = list(combinations(range(v.shape[-1]), 2))
    for i, j in pairs:
        a = choose(*_part(w, i, j))
        for m in (v, w) if (i, j) != pairs[-1] else (v,):  # the last w is not read
            _turn(m, i, j, a)
    return v

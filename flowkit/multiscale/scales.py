"""How far a multiscale model is from the exact theory at each of its scales, in two dimensions."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit import exact, stats
from flowkit.actions import Wilson
from flowkit.geometry import loops
from flowkit.geometry.space import Space
from flowkit.groups import SUN, U1
from flowkit.groups.characters import complete, schur
from flowkit.multiscale.hierarchy import Multiscale
from flowkit.stats import Estimate


def decimated_action(space: Space, beta: float, area: int, x: Tensor) -> Tensor:
    """S_A(U) = -sum_P ln sum_r d_r u_r^A chi_r(U_P), the exact action of a coarse field of the Wilson theory, [batch],
    in double precision.

    Each plaquette of `space` stands for `area` fine ones, whose other links are integrated out: integrating one link
    between two plaquettes squares u_r = c_r/d_r. Z is that of the fine lattice at every scale; area 1 is the Wilson
    action. The sum alternates in sign: its relative error is about 1e-16 max(w)/w of a plaquette's weight w, which is
    largest at area 2. There U(1) has the closed form I_0(2 beta cos(theta/2)), in which nothing cancels.

    Raises    ValueError for another group than U(1), SU(2) and SU(3) at area > 1, or other than two dimensions
    """
    if space.kind != "links" or space.ndim != 2:
        raise ValueError(f"The decimated action is known for links in two dimensions; got {space}.")
    group = space.group
    x = x.to(torch.promote_types(x.dtype, torch.float64))
    if area == 1:
        return Wilson(space, beta)(x)
    P = loops.plaquettes(space, x)
    if isinstance(group, U1) and area == 2:
        z = 2 * beta * (P / 2).cos().abs()
        log: Tensor = z + torch.special.i0e(z).log()
        return -log.flatten(1).sum(1)
    if isinstance(group, U1):
        weight = torch.ones_like(P)
        for n, c in enumerate(exact.u1_decimated(beta, area).tolist()[1:], start=1):
            weight = weight + 2 * c * (n * P).cos()
        scale = area * (beta + math.log(torch.special.i0e(torch.tensor(beta, dtype=torch.float64))))
    elif isinstance(group, SUN) and group.dimension in (2, 3):
        weight = _sun_weight(group.dimension, beta, area, P)
        scale = area * exact.sun_one_plaquette_log_z(group.dimension, beta)
    else:
        raise ValueError(f"The decimated action is known for U1, SU2 and SU3; got {space}.")
    return -(weight.clamp(min=torch.finfo(weight.dtype).tiny).log() + scale).flatten(1).sum(1)


def _sun_weight(n: int, beta: float, area: int, P: Tensor) -> Tensor:
    """sum_r d_r (u_r/u_0)^A Re chi_r(P), n = 2 or 3."""
    coefficients = exact.sun_decimated(n, beta, area)
    t = P.diagonal(dim1=-2, dim2=-1).sum(-1)
    one = torch.ones_like(t)
    h = complete([one, t, one] if n == 2 else [one, t, t.conj(), one], max(rep[0] for rep in coefficients) + 1)
    weight = torch.zeros_like(t.real)
    for rep, c in coefficients.items():
        weight = weight + c * schur(rep, h).real
    return weight


def log_weights_by_scale(model: Multiscale, action: Wilson, x: Tensor) -> list[tuple[Space, Tensor]]:
    """log w_j = -S_A(x_j) - log q_j(x_j) of the coarse field x_j at each scale, coarse to fine, each [batch]
    in double precision.

    S_A is the exact action of that scale (`decimated_action`), so that w_j weighs the model that ends there against
    the exact marginal law of x_j. Every w_j has the mean Z of the fine lattice, and KL_j = ln Z - <log w_j> and
    1/ESS_j = <w_j^2>/<w_j>^2 grow from coarse to fine up to those of the whole model: a difference of KL belongs to
    one doubling.

    x         draws of the model
    Raises    ValueError for a model and an action on different spaces, or as `decimated_action`
    """
    if model.space != action.space:
        raise ValueError(f"Weights need a model and an action of one space; got {model.space} and {action.space}.")
    found = []
    for space, field, logq in model.scales(x):
        area = model.space.volume // space.volume
        found.append((space, -decimated_action(space, action.beta, area, field) - logq))
    return found


class ScaleNumbers(NamedTuple):
    """One scale of a model in plain numbers, all dimensionless.

    lattice     its sides
    plaquettes  [fields, *lattice], float32: angles in [-pi, pi) for U(1), Re Tr P / N for SU(N)
    kl          KL_j, the divergence of the model that ends here from the exact law of this scale
    added       KL_j - KL_{j-1}, what the doubling that ends here adds; KL_0 itself at the coarsest scale
    ess         ESS_j of the model that ends here
    """

    lattice: tuple[int, ...]
    plaquettes: NDArray[np.float32]
    kl: Estimate
    added: Estimate
    ess: Estimate


class ByScale(NamedTuple):
    """All scales of a model, coarse to fine, with the group, as "U(1)" or "SU(3)", and the coupling."""

    group: str
    beta: float
    scales: tuple[ScaleNumbers, ...]


@torch.no_grad()
def by_scale(model: Multiscale, action: Wilson, x: Tensor, fields: int = 8) -> ByScale:
    """The fields of a model and its distance from the exact theory, scale by scale, as `panels.Multiscale` shows them.

    KL_j = <r_j - 1 - ln r_j>,  r_j = w_j / Z,  ESS_j = <w_j>^2 / <w_j^2>,  w_j as `log_weights_by_scale`, Z exact

    Where the ESS is below 1/2 the draws may lack the largest weights, and r_j - 1, whose mean is zero, is left out.
    Elsewhere it takes away most of the noise: of a small KL the rounding of log q, for one.

    x         independent draws of the model; 8,192 or more for the ESS
    fields    how many of them keep their plaquettes
    Raises    TypeError for another model or action; ValueError for fewer than one field, or as `log_weights_by_scale`
    """
    if not isinstance(model, Multiscale) or not isinstance(action, Wilson) or action.space.ndim != 2:
        names = f"{type(model).__name__} and {action!r}"
        raise TypeError(
            f"by_scale needs a Multiscale model of links and Wilson's action in two dimensions; got {names}."
        )
    if not 1 <= fields <= len(x):
        raise ValueError(f"by_scale keeps from 1 to {len(x)} of these fields; got {fields}.")
    log_z = action.log_z()
    assert log_z is not None  # known wherever the decimated actions are
    pictures = [_plaquettes(scale.space, scale.x) for scale in model.scales(x[:fields])]
    found: list[ScaleNumbers] = []
    before = np.zeros(len(x))
    for picture, (space, logw) in zip(pictures, log_weights_by_scale(model, action, x), strict=True):
        log_ratio = logw.cpu().numpy() - log_z
        ess = stats.ess(log_ratio)
        now = np.expm1(log_ratio) - log_ratio if ess.value >= 0.5 else -log_ratio
        kl, added = stats.estimate(now, S=0), stats.estimate(now - before, S=0)
        found.append(ScaleNumbers(space.lattice, picture, kl, added, ess))
        before = now
    return ByScale(_name(action.space), action.beta, tuple(found))


def _name(space: Space) -> str:
    return f"SU({space.group.dimension})" if isinstance(space.group, SUN) else "U(1)"


def _plaquettes(space: Space, x: Tensor) -> NDArray[np.float32]:
    P = loops.plaquettes(space, x)[:, 0]
    if isinstance(space.group, SUN):
        P = P.diagonal(dim1=-2, dim2=-1).real.mean(-1)
    found: NDArray[np.float32] = P.float().cpu().numpy()
    return found

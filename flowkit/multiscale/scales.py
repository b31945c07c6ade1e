"""How far a multiscale model is from the exact theory at each of its scales, in two dimensions."""

import math

import torch
from torch import Tensor

from flowkit import exact, loops
from flowkit.actions import Wilson
from flowkit.groups import SUN, U1
from flowkit.multiscale.hierarchy import Multiscale
from flowkit.space import Space


def decimated_action(space: Space, beta: float, area: int, x: Tensor) -> Tensor:
    """S_A(U) = -sum_P ln sum_r d_r u_r^A chi_r(U_P), the exact action of a coarse field of the Wilson theory, [batch].

    Each plaquette of `space` stands for `area` fine ones, whose other links are integrated out: integrating one link
    between two plaquettes squares u_r = c_r/d_r. Z is that of the fine lattice at every scale; area 1 is the Wilson
    action. The sum alternates in sign: its relative error is about 1e-16 max(w)/w of a plaquette's weight w.

    Raises    ValueError for another group than U(1), SU(2) and SU(3), or other than two dimensions
    """
    if space.kind != "links" or space.ndim != 2:
        raise ValueError(f"The decimated action is known for links in two dimensions; got {space}.")
    group = space.group
    if area == 1:
        return Wilson(space, beta)(x)
    P = loops.plaquettes(space, x)
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
    """sum_r d_r (u_r/u_0)^A Re chi_r(P), n = 2 or 3, by Jacobi and Trudi: chi = h_a, or h_a h_b - h_{a+1} h_{b-1}."""
    coefficients = exact.sun_decimated(n, beta, area)
    t = P.diagonal(dim1=-2, dim2=-1).sum(-1)
    # h_k = t h_{k-1} - conj(t) h_{k-2} + h_{k-3} for n = 3, h_k = t h_{k-1} - h_{k-2} for n = 2
    h = [torch.ones_like(t), t]
    for k in range(2, max(rep[0] for rep in coefficients) + 2):
        lower = h[k - 2] if n == 2 else t.conj() * h[k - 2] - (h[k - 3] if k > 2 else 0)
        h.append(t * h[k - 1] - lower)
    weight = torch.zeros_like(t.real)
    for rep, c in coefficients.items():
        a, b = rep[0], rep[1]
        character = h[a] * h[b] - h[a + 1] * h[b - 1] if b else h[a]
        weight = weight + c * character.real
    return weight


def log_weights_by_scale(model: Multiscale, action: Wilson, x: Tensor) -> list[tuple[Space, Tensor]]:
    """log w_j = -S_A(x_j) - log q_j(x_j) of the coarse field x_j at each scale, coarse to fine, each [batch].

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

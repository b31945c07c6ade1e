"""Products of links of fields that are known to fit their space: what actions, forces and doublings compute with.

The functions of `loops` are the same ones for fields from anywhere, which they check first.
"""

import torch
from torch import Tensor

from flowkit.geometry.space import Space


def shift(x: Tensor, mu: int, n: int = 1) -> Tensor:
    """x(site) -> x(site + n mu), periodic."""
    return torch.roll(x, -n, 2 + mu)


def link(U: Tensor, mu: int) -> Tensor:
    """The links of direction mu, [batch, 1, *lattice, *matrix]."""
    return U.narrow(1, mu, 1)


def line(space: Space, U: Tensor, mu: int, length: int) -> Tensor:
    """The straight product of `length` links of direction mu."""
    one = link(U, mu)
    product = one
    for step in range(1, length):
        product = space.group.compose(product, shift(one, mu, step))
    return product


def rectangle(space: Space, U: Tensor, mu: int, nu: int, r: int = 1, t: int = 1, wrap: bool = True) -> Tensor:
    """The r x t Wilson loop in the plane (mu, nu) that starts at each site."""
    a, b = line(space, U, mu, r), line(space, U, nu, t)
    return space.group.product((a, shift(b, mu, r), shift(a, nu, t), b), (1, 1, -1, -1), wrap)


def staples(space: Space, U: Tensor, mu: int, nu: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower staple of U_mu in the plane (mu, nu)."""
    return staples_of(space, link(U, mu), link(U, nu), mu, nu)


def staples_of(space: Space, a: Tensor, b: Tensor, mu: int, nu: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower staple made of links a of direction mu and b of direction nu."""
    G = space.group
    upper = G.compose(G.compose(b, shift(a, nu)), G.inverse(shift(b, mu)))
    lower = shift(G.compose(G.compose(G.inverse(b), a), shift(b, mu)), nu, -1)
    return upper, lower


def staple_list(space: Space, U: Tensor, mu: int) -> list[Tensor]:
    """All 2 (ndim - 1) staples of U_mu."""
    return [s for nu in range(space.ndim) if nu != mu for s in staples(space, U, mu, nu)]

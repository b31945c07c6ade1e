"""The weight of a plaquette of SU(2) and SU(3) whose inner links are integrated over, in two dimensions."""

import functools

import torch
from torch import Tensor

from flowkit import exact
from flowkit.groups.characters import complete


def decimated_weight(n: int, plaquettes: Tensor, beta: float, area: int) -> Tensor:
    """sum_r d_r (u_r/u_0)^A chi_r of plaquettes ``[..., N, N]`` of area A, ``[...]``, for N = 2 and 3."""
    t = plaquettes.diagonal(dim1=-2, dim2=-1).sum(-1)
    one = torch.ones_like(t)
    elementary = [one, t, one] if n == 2 else [one, t, t.conj(), one]
    table = _decimated(n, beta, area).to(t)
    h = torch.stack(complete(elementary, len(table) - 1), -1)
    return (h @ table * h).sum(-1).real


@functools.lru_cache(maxsize=256)
def _decimated(n: int, beta: float, area: int) -> Tensor:
    """The matrix M with sum_r d_r (u_r/u_0)^A chi_r = sum_ij h_i M_ij h_j, for N = 2 and 3; h as of `complete`.

    chi_r = h_a h_b - h_{a+1} h_{b-1} for a diagram of rows a >= b; with one row it is h_a.
    """
    coefficients = exact.sun_decimated(n, beta, area)
    size = 2 + max(rep[0] for rep in coefficients)
    with torch.inference_mode(False):
        table = torch.zeros(size, size, dtype=torch.float64)
    for rep, c in coefficients.items():
        a, b = rep[0], rep[1] if n == 3 else 0
        table[a, b] += c
        if b:
            table[a + 1, b - 1] -= c
    return table

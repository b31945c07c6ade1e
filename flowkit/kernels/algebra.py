r"""The algebra of SU(N): generators, and the coordinates of a Hermitian matrix in them."""

import functools
import math

import torch
from torch import Tensor


@functools.lru_cache
def generators(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    r"""Hermitian generators :math:`T_a`, the generalised Gell-Mann matrices over 2.

    Parameters
    ----------
    n : int
        N of SU(N).
    dtype : torch.dtype
        Complex.
    device : torch.device

    Returns
    -------
    Tensor
        ``[n^2 - 1, n, n]``; kept, and not to be changed in place.

    Notes
    -----
    .. math:: \mathrm{Tr}\, T_a T_b = \tfrac{1}{2} \delta_{ab}

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.sun import generators
    >>> t = generators(2, torch.complex64, torch.device("cpu"))
    >>> 2 * t[2].real                      # the Pauli matrices
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """
    with torch.inference_mode(False):  # or tensors of a cache filled in that mode could not be trained with
        basis = []
        for j in range(1, n):
            for i in range(j):
                symmetric, antisymmetric = torch.zeros(2, n, n, dtype=dtype, device="cpu")
                symmetric[i, j] = symmetric[j, i] = 0.5
                antisymmetric[i, j], antisymmetric[j, i] = -0.5j, 0.5j
                basis += [symmetric, antisymmetric]
            diagonal = torch.zeros(n, n, dtype=dtype, device="cpu")
            scale = 1 / math.sqrt(2 * j * (j + 1))
            for i in range(j):
                diagonal[i, i] = scale
            diagonal[j, j] = -j * scale
            basis.append(diagonal)
        return torch.stack(basis).to(device)


def algebra(w: Tensor) -> Tensor:
    """The Hermitian matrix w^a T_a, real [..., N^2 - 1] -> complex [..., N, N]."""
    n = math.isqrt(w.shape[-1] + 1)
    t = generators(n, w.dtype.to_complex(), w.device)
    return (w.to(t.dtype) @ t.flatten(1)).view(*w.shape[:-1], n, n)


def coordinates(h: Tensor) -> Tensor:
    """w^a = 2 Re Tr(T_a h), the coordinates of the traceless Hermitian part of h, [..., N, N] -> [..., N^2 - 1]."""
    t = generators(h.shape[-1], h.dtype, h.device)
    return 2 * (h.flatten(-2) @ t.mT.flatten(1).T).real

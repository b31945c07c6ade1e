"""Rational functions with positive coefficients: the fit of one to numbers, and its values."""

import numpy as np
import torch
from torch import Tensor


def quotient(ratio: Tensor, t: Tensor) -> Tensor:
    """N(t) / D(t), coefficients [2, degree + 1], the highest first."""
    top, bottom = (row.tolist() for row in ratio)
    N, D = torch.full_like(t, top[0]), torch.full_like(t, bottom[0])
    for n, d in zip(top[1:], bottom[1:], strict=True):
        N, D = N * t + n, D * t + d
    return N / D


def rational(f: np.ndarray, t: np.ndarray, degree: int) -> Tensor:
    """N / D with the least relative error, [2, degree + 1], the highest coefficient first and D monic; of as low a
    degree as 1e-12 needs, and expanded by a factor after it.
    """
    cheb, width = np.polynomial.chebyshev, t.max()
    kept = None
    for n in range(degree + 1):
        P, weight = cheb.chebvander(2 * t / width - 1, n), 1 / f
        for _ in range(8):  # Sanathanan and Koerner, IEEE Trans. Autom. Control 8 (1963) 56
            A = np.concatenate([P * weight[:, None], -(f * weight)[:, None] * P[:, 1:]], 1)
            c = np.linalg.lstsq(A, f * weight * P[:, 0], rcond=None)[0]
            N, D = c[: n + 1], np.append(1.0, c[n + 1 :])
            weight = 1 / (f * (P @ D))
        line = np.polynomial.Polynomial([-1, 2 / width])
        top, bottom = (
            np.asarray(cheb.Chebyshev(c)(line).convert(kind=np.polynomial.Polynomial).coef[::-1], float) for c in (N, D)
        )
        if len(top) < n + 1 or len(bottom) < n + 1 or (top <= 0).any() or (bottom <= 0).any():
            break
        kept = np.stack([top, bottom]) / bottom[0]
        if np.abs((P @ N) / (P @ D) / f - 1).max() < 1e-12:
            break
    assert kept is not None  # a constant is positive
    for _ in range(degree + 1 - kept.shape[1]):
        kept = np.stack([np.convolve(row, [1.0, width]) for row in kept])
    return torch.from_numpy(kept.copy())

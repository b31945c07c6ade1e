"""Eigenvalues and eigenvectors of Hermitian 2x2 and 3x3 matrices by Jacobi rotations, number by number.

A rotation of the rows and columns p < q makes H_pq = 0: with d = H_qq - H_pp, its tangent t is the smaller root of
t^2 + t d / |H_pq| - 1 = 0, its phase that of H_pq. Real arithmetic and a fixed number of sweeps over all pairs, so that
a compiler fuses each; equal eigenvalues and matrices that are diagonal already need no care.
"""

import torch
from torch import Tensor

from flowkit.kernels.compilation import compiled

SWEEPS = {2: 1, 3: 5}  # four reach rounding in double precision
Number = tuple[Tensor, Tensor]  # real and imaginary part


def _times(a: Number, b: Number) -> Number:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _turn(c: Tensor, s: Number, y: Number, z: Number) -> tuple[Number, Number]:
    """c y - s* z and s y + c z."""
    (a, b), (d, e) = _times((s[0], -s[1]), z), _times(s, y)
    return (c * y[0] - a, c * y[1] - b), (d + c * z[0], e + c * z[1])


@compiled
def _sweep(x: Tensor, h: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One rotation for each pair.

    x         the diagonal, [n, ...]
    h         the matrix, real and imaginary parts, of which the numbers above the diagonal are read, [2, n, n, ...]
    v         the vectors, [2, n, n, ...]
    """
    n = len(x)
    diagonal = list(x.unbind(0))
    upper: dict[tuple[int, int], Number] = {(j, k): (h[0, j, k], h[1, j, k]) for j in range(n) for k in range(j + 1, n)}
    vectors: list[list[Number]] = [[(v[0, j, k], v[1, j, k]) for k in range(n)] for j in range(n)]
    zero, one = torch.zeros_like(diagonal[0]), torch.ones_like(diagonal[0])
    tiny = 1e-30 if x.dtype == torch.float32 else 1e-200  # a square that is nothing beside 1, and no denormal number
    for p, q in list(upper):
        re, im = upper[p, q]
        d, size = diagonal[q] - diagonal[p], re * re + im * im
        none = size < tiny
        bottom = torch.where(none, one, d.abs() + torch.sqrt(d * d + 4 * size))
        f = torch.where(none, zero, torch.where(d < 0, -2 * one, 2 * one) / bottom)
        c = 1 / torch.sqrt(1 + f * f * size)
        s = (f * c * re, f * c * im)
        diagonal[p], diagonal[q] = diagonal[p] - f * size, diagonal[q] + f * size
        upper[p, q] = (zero, zero)
        for row in vectors:
            row[p], row[q] = _turn(c, s, row[p], row[q])
        for r in set(range(n)) - {p, q}:
            rp, rq = (upper[r, k] if r < k else (upper[k, r][0], -upper[k, r][1]) for k in (p, q))
            for k, new in zip((p, q), _turn(c, s, rp, rq), strict=True):
                upper[min(r, k), max(r, k)] = new if r < k else (new[0], -new[1])
    square = [upper.get((j, k), (zero, zero)) for j in range(n) for k in range(n)]
    flat = [number for row in vectors for number in row]
    parts = [torch.stack([number[i] for number in numbers]) for numbers in (square, flat) for i in (0, 1)]
    return torch.stack(diagonal), torch.stack(parts[:2]).view(h.shape), torch.stack(parts[2:]).view(v.shape)


def eigh(h: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues [..., n] and eigenvectors as columns, [..., n, n], for n = 2 and 3."""
    n, parts = h.shape[-1], torch.view_as_real(h.resolve_conj())
    size = parts.abs().amax((-3, -2, -1))  # so that squares neither overflow nor vanish
    size = torch.where(size > 0, size, 1)
    numbers = (parts / size[..., None, None, None]).movedim((-1, -3, -2), (0, 1, 2)).contiguous()
    x = torch.stack([numbers[0, j, j] for j in range(n)])
    v = torch.zeros_like(numbers)
    for j in range(n):
        v[0, j, j] = 1
    # On a CPU torch.compile takes longer than most runs, and there is C.
    sweep = _sweep if h.is_cuda else _sweep.__wrapped__  # type: ignore[attr-defined]
    for _ in range(SWEEPS[n]):
        x, numbers, v = sweep(x, numbers, v)
    values, order = x.movedim(0, -1).sort(-1)
    vectors = torch.complex(v[0], v[1]).movedim((0, 1), (-2, -1))
    return values * size[..., None], vectors.gather(-1, order.unsqueeze(-2).expand(vectors.shape))

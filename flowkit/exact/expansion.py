r"""The character expansion of Wilson's weight for SU(N), and one matrix with this weight.

.. math:: e^{\frac{\beta}{N} \mathrm{Re\,Tr}\, U} = \sum_r c_r\, \chi_r(U), \qquad u_r = c_r / d_r

r is a representation of dimension :math:`d_r`, given by the row lengths of its Young diagram.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from flowkit.checks import checked
from flowkit.exact.common import NEGLIGIBLE, Array, Coupling, Rank, cutoff, scaled_bessel

Rep = tuple[int, ...]
"""Row lengths of a Young diagram with N rows, the last one 0."""


def character_coefficients(n: int, beta: float, reps: Sequence[Rep]) -> Array:
    r"""e^{-beta} c_r of representations, ``[reps]``.

    .. math:: c_r = \int dU\, \chi_r(U)\, e^{\frac{\beta}{N} \mathrm{Re\,Tr}\, U}
              = \sum_q \det_{ij} I_{\lambda_j - j + i + q}(\beta/N)

    Every term of the sum over q is positive: it is the U(N) coefficient of chi_r det^q.
    """
    x = beta / n
    rows = np.array(reps)
    cut = cutoff(x)
    shift = np.arange(-cut - rows.max(), cut + 1)
    i = np.arange(n)
    order = np.abs(rows[:, None, None, :] + shift[:, None, None] + i[:, None] - i)  # [reps, q, i, j]
    table = scaled_bessel(np.arange(order.max() + 1), x)
    total: Array = np.linalg.det(table[order]).sum(axis=1)
    return total


def dimension(rep: Rep) -> int:
    """d_r, Weyl's formula: product over i < j of (lambda_i - lambda_j + j - i) / (j - i)."""
    pairs = [(i, j) for i in range(len(rep)) for j in range(i + 1, len(rep))]
    return math.prod(rep[i] - rep[j] + j - i for i, j in pairs) // math.prod(j - i for i, j in pairs)


def times_box(rep: Rep, step: int) -> Iterator[Rep]:
    """Representations in r x fundamental (step = 1) or r x antifundamental (step = -1), each once."""
    for i in range(len(rep)):
        rows = [*rep[:i], rep[i] + step, *rep[i + 1 :]]
        if all(a >= b for a, b in pairwise(rows)):
            yield tuple(row - rows[-1] for row in rows)


def ratios(n: int, beta: float, volume: int) -> dict[Rep, float]:
    """u_r/u_0, u_r = c_r/d_r, for all r with (u_r/u_0)^V > 1e-17 and all their neighbours by one box."""
    trivial: Rep = (0,) * n
    norm = character_coefficients(n, beta, [trivial])[0]
    known, frontier = {trivial: 1.0}, [trivial]
    while frontier:
        fresh = sorted({new for rep in frontier for step in (1, -1) for new in times_box(rep, step)} - known.keys())
        frontier = []
        for start in range(0, len(fresh), 256):  # bounds the memory of the determinants
            chunk = fresh[start : start + 256]
            for rep, c in zip(chunk, character_coefficients(n, beta, chunk) / norm, strict=True):
                known[rep] = max(0.0, float(c)) / dimension(rep)
                if known[rep] ** volume > NEGLIGIBLE:
                    frontier.append(rep)
    return known


@checked
def sun_one_plaquette(n: Rank, beta: Coupling) -> float:
    r"""Mean of Re Tr U / N for one matrix of SU(N) with Wilson's weight.

    Parameters
    ----------
    n : int
        N of SU(N), at least 2.
    beta : float
        Coupling, dimensionless, not negative.

    Returns
    -------
    float
        The mean, in [0, 1]; also the plaquette of the infinite two-dimensional lattice.

    Raises
    ------
    ValueError
        For an n below 2 or a beta below 0.

    Notes
    -----
    The weight is :math:`e^{\frac{\beta}{N} \mathrm{Re\,Tr}\, U}`, and

    .. math:: \Big\langle \frac{1}{N} \mathrm{Re\,Tr}\, U \Big\rangle = \frac{c_\mathrm{fund}}{N c_0}.

    References
    ----------
    D. J. Gross and E. Witten, Phys. Rev. D 21 (1980) 446.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.sun_one_plaquette(2, 2.2):.6f} {fk.exact.sun_one_plaquette(3, 6.0):.6f}")
    0.464479 0.422532
    """
    trivial, fundamental = character_coefficients(n, beta, [(0,) * n, (1,) + (0,) * (n - 1)])
    return float(fundamental / (n * trivial))


@checked
def sun_one_plaquette_log_z(n: Rank, beta: Coupling) -> float:
    r"""ln of the normalisation of Wilson's weight for one matrix of SU(N).

    Parameters
    ----------
    n : int
        N of SU(N), at least 2.
    beta : float
        Coupling, dimensionless, not negative.

    Returns
    -------
    float
        The logarithm, in normalised Haar measure.

    Raises
    ------
    ValueError
        For an n below 2 or a beta below 0.

    Notes
    -----
    .. math:: \ln \int dU\, e^{\frac{\beta}{N} \mathrm{Re\,Tr}\, U} = \ln c_0

    References
    ----------
    D. J. Gross and E. Witten, Phys. Rev. D 21 (1980) 446.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.sun_one_plaquette_log_z(3, 6.0):.6f}")
    1.235890
    """
    return beta + math.log(character_coefficients(n, beta, [(0,) * n])[0])

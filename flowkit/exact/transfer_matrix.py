"""phi^4 on small lattices in two dimensions, by its transfer matrix."""

import math
from collections.abc import Sequence
from functools import cache, reduce
from typing import NamedTuple

import numpy as np

from flowkit.checks import Count, NotNegative, Positive, checked
from flowkit.exact.common import Array, Indices
from flowkit.exact.scalars import check_potential, sides_of, site_grid

MAX_STATES = 66_000
"""States of a row in the transfer matrix: 16 points a site at 4 sites, half a minute."""


class Phi4Exact(NamedTuple):
    """What `phi4_transfer_matrix` returns: exact results of a lattice.

    Parameters
    ----------
    phi_squared : float
        <phi^2> in lattice units.
    susceptibility : float
        <(sum_x phi_x)^2> / V in lattice units.
    log_z : float
        ln Z, in flat measure.

    Examples
    --------
    >>> import flowkit as fk
    >>> exact = fk.exact.phi4_transfer_matrix((1, 2), m2=0.0, lam=1.0)
    >>> print(f"{exact.phi_squared:.6f} {exact.susceptibility:.6f}")
    0.257207 0.419578
    """

    phi_squared: float
    susceptibility: float
    log_z: float


def _gauss_rule(phi: Array, weight: Array, points: int) -> tuple[Array, Array]:
    """Gauss nodes and weights, each [points], of an even weight of unit sum.

    The recursion of its orthonormal polynomials p_k is Stieltjes', the nodes are eigenvalues (Golub and Welsch), the
    weights 1 / sum_k p_k^2: accurate even where tiny, as squared entries of the eigenvectors would not be.
    """
    from scipy.linalg import eigh_tridiagonal

    norm = np.ones(points)
    previous, current = np.zeros_like(phi), np.ones_like(phi)
    for k in range(1, points):
        step = phi * current - (k > 1) * norm[k - 1] * previous
        norm[k] = math.sqrt(weight @ step**2)
        previous, current = current, step / norm[k]
    nodes = eigh_tridiagonal(np.zeros(points), norm[1:], eigvals_only=True)
    nodes = (nodes - nodes[::-1]) / 2
    previous, current = np.zeros(points), np.ones(points)
    christoffel = np.ones(points)
    for k in range(1, points):
        previous, current = current, (nodes * current - (k > 1) * norm[k - 1] * previous) / norm[k]
        christoffel += current**2
    return nodes, 1 / christoffel


def _row_orbits(width: int, points: int) -> tuple[Indices, Indices]:
    """One row state of every orbit under rotation, reflection and phi -> -phi, and the orbits' sizes."""
    index = np.arange(points**width).reshape((points,) * width)
    images = [np.moveaxis(index, range(width), np.roll(range(width), shift)) for shift in range(width)]
    images += [image.transpose() for image in images]
    images += [image[(slice(None, None, -1),) * width] for image in images]
    states, sizes = np.unique(reduce(np.minimum, images), return_counts=True)
    return states, sizes


def _phi4_trace(width: int, length: int, phi: Array, weight: Array) -> tuple[float, float, float]:
    """<phi^2>, chi and ln Tr T^length with T = D^{1/2} K D^{1/2} over rows of `width` sites on the nodes `phi`.

    K = prod_i e^{-(phi_i - phi_i')^2} acts site by site. Since T commutes with the symmetries of a row, the traces
    Tr M T^t M T^{length-t} = sum_a M_a sum_b M_b (T^t)_{ba} (T^{length-t})_{ba} need only one state a of each orbit.
    """
    field = np.stack(np.meshgrid(*[phi] * width, indexing="ij"))
    # K holds the links to the next rows whole; of the others, e^{-(phi - phi')^2} has e^{-2 phi^2} for each site, and
    # the Gauss weight brings e^{-3 phi^2} already: what is left is e^{2 phi phi' + phi^2}.
    log_row = np.log(weight)[np.indices(field.shape[1:])].sum(0)
    log_row += (2 * field * np.roll(field, 1, axis=0) + field**2).sum(0)
    peak = log_row.max()
    half = np.exp((log_row - peak) / 2)
    kernel = np.exp(-((phi[:, None] - phi) ** 2))

    def apply(rows: Array) -> Array:
        rows = rows * half
        for _ in range(width):  # each product moves the next axis to the end: after `width` of them all are in order
            rows = np.tensordot(rows, kernel, axes=([1], [0]))
        result: Array = rows * half
        return result

    x = half[None]
    for _ in range(30):  # only a scale near the largest eigenvalue, against overflow of T^length
        x = apply(x / np.linalg.norm(x))
    scale = float(np.linalg.norm(x))

    magnetisation, square = field.sum(0).ravel(), (field**2).sum(0).ravel()
    states, sizes = _row_orbits(width, len(phi))
    batch = max(1, 2**22 // (half.size * (length + 1)))
    z = phi2 = chi = 0.0
    for start in range(0, len(states), batch):
        a, size = states[start : start + batch], sizes[start : start + batch]
        x = np.zeros((len(a), half.size))
        x[np.arange(len(a)), a] = 1.0
        powers = [x.reshape(-1, *half.shape)]
        for _ in range(max(1, length - 1)):
            powers.append(apply(powers[-1]) / scale)
        flat = [power.reshape(len(a), -1) for power in powers]
        returns = size * np.einsum("ab,ab->a", flat[length // 2], flat[length - length // 2])
        z += float(returns.sum())
        phi2 += float(returns @ square[a])
        chi += float(returns @ magnetisation[a] ** 2)
        for t in range(1, length):
            pair = np.einsum("ab,ab,b->a", flat[t], flat[length - t], magnetisation)
            chi += float((size * magnetisation[a]) @ pair)
    return phi2 / (z * width), chi / (z * width), math.log(z) + length * (math.log(scale) + float(peak))


@checked
def phi4_transfer_matrix(
    lattice: Sequence[Count], m2: float, lam: NotNegative, *, tolerance: Positive = 1e-9, states: Count = MAX_STATES
) -> Phi4Exact:
    r"""Exact results of phi^4 on a small periodic lattice in two dimensions.

    Parameters
    ----------
    lattice : sequence of int
        Two sides, the shorter at most 4 sites.
    m2 : float
        Mass squared in lattice units.
    lam : float
        Quartic coupling, not negative.
    tolerance : float
        Relative change of the results, ln Z absolutely, below which two more points a site are the last ones.
    states : int
        Most states of a row: points a site to the power of its sites. Time grows as their square.

    Returns
    -------
    Phi4Exact
        <phi^2>, susceptibility and ln Z, far closer than `tolerance`.

    Raises
    ------
    ValueError
        For another lattice, parameters without a finite integral, and parameters for which the points do not converge:
        weakly coupled light fields need more points than a row of 4 sites can hold.

    Notes
    -----
    .. math:: Z = \mathrm{Tr}\, T^L

    T acts along the longer side on rows of the shorter one. Each site has the Gauss points of :math:`e^{-(m^2+3)\phi^2
    - \lambda\phi^4}`, about its distribution between its neighbours (4 in place of 3 would be the neighbours at 0); the
    rest of the Boltzmann factor is smooth. The number of points grows by 2 until no result moves by more than
    `tolerance`. About 10 are needed for 1e-9, with which 4x4 takes seconds.

    References
    ----------
    G. H. Golub and J. H. Welsch, Math. Comp. 23 (1969) 221.

    Examples
    --------
    >>> import flowkit as fk
    >>> exact = fk.exact.phi4_transfer_matrix((1, 4), m2=-1.0, lam=1.0)
    >>> print(f"{exact.phi_squared:.6f} {exact.susceptibility:.6f} {exact.log_z:.6f}")
    0.369437 0.988946 1.884475
    """
    who = "phi4_transfer_matrix"
    sides = sides_of(who, lattice)
    if len(sides) != 2 or min(sides) > 4:
        raise ValueError(f"{who} needs two sides, the shorter at most 4 sites; got {'x'.join(map(str, sides))}.")
    check_potential(who, m2, lam)
    width, length = sorted(sides)
    phi, weight, log_norm = site_grid(m2 + 3, lam)
    last = np.full(3, math.inf)
    points = 6
    while points**width <= states and points <= 60:
        result = np.array(_phi4_trace(width, length, *_gauss_rule(phi, weight, points)))
        if np.all(np.abs(result - last) < tolerance * np.array([result[0], result[1], 1.0])):
            return Phi4Exact(float(result[0]), float(result[1]), float(result[2]) + width * length * log_norm)
        last, points = result, points + 2
    raise ValueError(f"{who} needs parameters that converge within {points - 2} points per site on a row of {width} "
                     f"sites; got m2 = {m2}, lam = {lam}, still moving.")  # fmt: skip


QUICK = 1e-6, 32_768
"""Tolerance, and states of a row times rows, of `quick_phi4`: under half a second."""


@cache
def quick_phi4(lattice: tuple[int, ...], m2: float, lam: float) -> Phi4Exact | None:
    """What `phi4_transfer_matrix` gives in well under a second, or None; computed once."""
    if len(lattice) != 2 or min(lattice) > 4:
        return None
    tolerance, most = QUICK
    try:
        with np.errstate(all="ignore"):
            return phi4_transfer_matrix(lattice, m2, lam, tolerance=tolerance, states=most // max(lattice))
    except ValueError:  # no finite integral, or more points are needed
        return None

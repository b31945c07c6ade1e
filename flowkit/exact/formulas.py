"""Exact answers to compare a simulation with: 2D gauge theory on a torus, free and small interacting scalar fields.

Every function takes plain numbers and returns plain numbers, all dimensionless. Conventions:
    U(1)     S = -beta sum_P cos(theta_P);      SU(N)     S = -(beta/N) sum_P Re Tr U_P;     normalised Haar measure
    scalars  S = sum_x [ sum_mu (phi_{x+mu} - phi_x)^2 + m2 phi^2 + lam phi^4 ]  (no factor 1/2);     flat measure
`volume` is the number of plaquettes of a periodic two-dimensional lattice, None for the infinite one. Sums run over
representations in double precision, scaled by the leading one, so large volumes and beta = 0 need no special care.
One file, though long: every function is a formula, and all share the same few sums.

See Migdal, Sov. Phys. JETP 42 (1975) 413; Gross and Witten, Phys. Rev. D 21 (1980) 446; Drouffe and Zuber,
Phys. Rep. 102 (1983) 1; Bonati and Rossi, Phys. Rev. D 99 (2019) 054503 (topological charge in two dimensions).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Rep = tuple[int, ...]  # rows of a Young diagram, the last one 0

_NEGLIGIBLE = 1e-17  # relative weight below which a representation is dropped
_MAX_STATES = 66_000  # states of one row in the scalar transfer matrix: 16 points per site at 4 sites, half a minute


def _whole(who: str, name: str, value: SupportsIndex, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{who} needs a whole number {name} >= {least}; got {value!r}.") from None
    if number < least:
        raise ValueError(f"{who} needs a whole number {name} >= {least}; got {number}.")
    return number


def _check_beta(who: str, beta: float) -> None:
    if not 0 <= beta < math.inf:
        raise ValueError(f"{who} needs a finite beta >= 0; got {beta}.")


def _check_area(who: str, area: SupportsIndex, volume: int | None) -> int:
    number = _whole(who, "area", area, 0)
    if volume is not None and number > volume:
        raise ValueError(f"{who} needs area <= volume; got area {number} on a lattice of {volume} plaquettes.")
    return number


# ---------------------------------------------------------------- U(1) in two dimensions


def _cutoff(beta: float) -> int:
    """Order beyond which I_n(beta) / I_0(beta) < 1e-20: Gaussian fall-off at large beta, factorial at small."""
    return math.ceil(40 + 12 * math.sqrt(beta))


def _scaled_bessel(order: Any, x: float) -> Any:
    """exp(-x) I_order(x)."""
    from scipy.special import ive  # takes longer to import than the rest of flowkit

    return ive(order, x)


def _bessel(beta: float, orders: Indices) -> Array:
    """I_n(beta) / I_0(beta) for whole n of either sign, [*orders.shape]."""
    ratio: Array = _scaled_bessel(np.abs(orders), beta) / _scaled_bessel(0, beta)
    return ratio


def u1_log_z(beta: float, volume: int) -> float:
    """ln Z with Z = sum_n I_n(beta)^V, in normalised Haar measure.

    Raises ValueError for a negative beta or a volume that is not a whole number >= 1.
    """
    _check_beta("u1_log_z", beta)
    volume = _whole("u1_log_z", "volume", volume, 1)
    cut = _cutoff(beta)
    ratio = _bessel(beta, np.arange(-cut, cut + 1))
    return float(volume * (beta + math.log(_scaled_bessel(0, beta))) + math.log(np.sum(ratio**volume)))


def u1_plaquette(beta: float, volume: int | None = None) -> float:
    """P = <cos theta_P> = sum_n I_n^{V-1} I_n' / Z; I_1/I_0 in infinite volume.

    Raises ValueError for a negative beta or a volume that is not a whole number >= 1.
    """
    _check_beta("u1_plaquette", beta)
    volume = None if volume is None else _whole("u1_plaquette", "volume", volume, 1)
    return u1_wilson_loop(beta, 1, volume)


def u1_wilson_loop(beta: float, area: int, volume: int | None = None) -> float:
    """W(A) = sum_n I_n^{V-A} I_{n+1}^A / Z, the contractible loop around A plaquettes; (I_1/I_0)^A in infinite volume.

    Raises ValueError for a negative beta, a volume that is not a whole number >= 1, an area outside 0 .. volume.
    """
    _check_beta("u1_wilson_loop", beta)
    volume = None if volume is None else _whole("u1_wilson_loop", "volume", volume, 1)
    area = _check_area("u1_wilson_loop", area, volume)
    if volume is None:
        return float(_bessel(beta, np.array(1)) ** area)
    cut = _cutoff(beta)
    ratio = _bessel(beta, np.arange(-cut, cut + 1))
    return float(np.sum(ratio[:-1] ** (volume - area) * ratio[1:] ** area) / np.sum(ratio**volume))


def u1_decimated(beta: float, area: int) -> Array:
    """[I_n(beta)/I_0(beta)]^A, n = 0, 1, ...: Fourier coefficients of a plaquette that `area` plaquettes have become.

    Raises ValueError for a negative beta or an area that is not a whole number >= 1.
    """
    _check_beta("u1_decimated", beta)
    area = _whole("u1_decimated", "area", area, 1)
    coefficients: Array = _bessel(beta, np.arange(_cutoff(beta) + 1)) ** area
    return coefficients


def u1_charge_squared(beta: float, volume: int) -> float:
    """<Q^2> = -(V/4pi^2) sum_n [f_n^{V-1} f_n'' + (V-1) f_n^{V-2} f_n'^2] / Z,  Q = (1/2pi) sum_P theta_P.

    f(nu) = int_{-pi}^{pi} dphi/2pi e^{beta cos phi} cos(nu phi) is band-limited and equals I_n at whole nu, so that
    f(nu) = sum_m I_m sinc(nu - m) exactly (the sampling theorem), and its derivatives at whole nu are
    f_n' = sum_{m != n} I_m (-1)^{n-m}/(n-m),  f_n'' = -pi^2/3 I_n - 2 sum_{m != n} I_m (-1)^{n-m}/(n-m)^2.
    Absolute accuracy about 1e-16 V.

    Raises ValueError for a negative beta or a volume that is not a whole number >= 1.
    """
    _check_beta("u1_charge_squared", beta)
    volume = _whole("u1_charge_squared", "volume", volume, 1)
    if volume <= 2:  # |Q| < V/2 leaves Q = 0 alone
        return 0.0
    cut = _cutoff(beta)
    orders = np.arange(-cut, cut + 1)
    f = _bessel(beta, orders)
    gap = orders[:, None] - orders[None, :]
    inverse = np.where(gap == 0, 0.0, (-1.0) ** gap / np.where(gap == 0, 1, gap))
    first = inverse @ f
    second = -(math.pi**2) / 3 * f - 2 * np.abs(inverse) * inverse * np.sign(gap) @ f
    total = np.sum(f ** (volume - 1) * second + (volume - 1) * f ** (volume - 2) * first**2)
    return max(0.0, float(-volume / (4 * math.pi**2) * total / np.sum(f**volume)))


def _u1_theta_vacuum(beta: float, volume: int, charges: Indices) -> tuple[Array, Array]:
    """P(Q), and P(Q) times the plaquette in sector Q, both [len(charges)], for volume >= 3.

    Z(theta) = sum_n f(n + theta/2pi)^V is a trigonometric polynomial of degree < V/2, so a finite Fourier sum over
    theta inverts it without error; fewer angles suffice where P(Q) <= V^(1/2) exp(-2 Q^2/V) (Hoeffding) is negligible.
    """
    angles = min(volume, int(np.max(np.abs(charges), initial=0)) + math.ceil(5 * math.sqrt(volume)) + 10)
    cut = _cutoff(beta)
    orders = np.arange(-cut, cut + 1)
    ratio = _bessel(beta, orders)
    derivative = (_bessel(beta, orders - 1) + _bessel(beta, orders + 1)) / 2
    # Between whole numbers f falls only like 1/nu: the smaller the volume, the more terms.
    terms = int(np.sum(ratio[cut:] ** volume > _NEGLIGIBLE)) + min(1000, math.ceil(10 ** (16 / (volume - 1)))) + 1
    k = np.arange(angles) - angles // 2
    power, slope = np.zeros(angles), np.zeros(angles)
    for n in range(-terms, terms + 1):
        sinc = np.sinc(n + k[:, None] / angles - orders)
        f = sinc @ ratio
        power += f**volume
        slope += f ** (volume - 1) * (sinc @ derivative)
    wave = np.cos(2 * math.pi / angles * (charges[:, None] * k % angles)) / angles
    norm = np.sum(ratio**volume)
    return wave @ power / norm, wave @ slope / norm


def u1_charge_distribution(beta: float, volume: int, charges: Sequence[int] | Indices) -> Array:
    """P(Q) = int_{-pi}^{pi} dtheta/2pi e^{-i theta Q} Z(theta)/Z(0), [len(charges)], to about 1e-10 or better.

    With plaquette angles in [-pi, pi) and Q = (1/2pi) sum_P theta_P, a weight e^{i theta Q} shifts the Fourier label of
    the constraint sum_P theta_P in 2 pi Z, hence Z(theta) = sum_n f(n + theta/2pi)^V with f as in u1_charge_squared.

    Raises ValueError for a negative beta, a volume that is not a whole number >= 1, a charge that is not whole.
    """
    who = "u1_charge_distribution"
    _check_beta(who, beta)
    volume = _whole(who, "volume", volume, 1)
    q = _charges(who, charges)
    if volume <= 2:
        return np.where(q == 0, 1.0, 0.0)
    inside = 2 * np.abs(q) < volume
    result = np.zeros(len(q))
    result[inside] = np.maximum(_u1_theta_vacuum(beta, volume, q[inside])[0], 0.0)
    return result


def u1_plaquette_in_sector(beta: float, volume: int, charge: int) -> float:
    """<cos theta_P> among configurations of topological charge Q alone: (1/V) d ln P(Q) Z / d beta.

    What a chain whose charge never moves measures in place of u1_plaquette.

    Raises ValueError for a negative beta, a volume that is not a whole number >= 1, a charge that is not whole, and
    for a sector that no configuration reaches (|Q| >= V/2) or of a probability under 1e-8, lost in rounding.
    """
    who = "u1_plaquette_in_sector"
    _check_beta(who, beta)
    volume = _whole(who, "volume", volume, 1)
    q = _charges(who, [charge])
    if volume <= 2 and q[0] == 0:
        return u1_plaquette(beta, volume)
    if 2 * abs(q[0]) >= volume:
        raise ValueError(f"{who} needs |charge| < volume/2; got charge {q[0]} on a lattice of {volume} plaquettes.")
    weight, product = _u1_theta_vacuum(beta, volume, q)
    if weight[0] < 1e-8:
        raise ValueError(f"{who} needs a sector of probability >= 1e-8; got charge {q[0]} with about {weight[0]:.0e}.")
    return float(product[0] / weight[0])


def _charges(who: str, charges: Sequence[int] | Indices) -> Indices:
    try:
        return np.array([operator.index(q) for q in charges], dtype=np.int64)
    except TypeError:
        raise ValueError(f"{who} needs whole-number charges; got {charges!r}.") from None


# ---------------------------------------------------------------- SU(N) in two dimensions


def _characters(n: int, beta: float, reps: Sequence[Rep]) -> Array:
    """e^{-beta} c_r, c_r = int dU chi_r(U) e^{(beta/N) Re Tr U} = sum_q det[I_{lambda_j - j + i + q}(beta/N)], [reps].

    Every term of the sum over q is positive: it is the U(N) coefficient of chi_r det^q.
    """
    x = beta / n
    rows = np.array(reps)
    cut = _cutoff(x)
    shift = np.arange(-cut - rows.max(), cut + 1)
    i = np.arange(n)
    order = np.abs(rows[:, None, None, :] + shift[:, None, None] + i[:, None] - i)  # [reps, q, i, j]
    table = _scaled_bessel(np.arange(order.max() + 1), x)
    total: Array = np.linalg.det(table[order]).sum(axis=1)
    return total


def _dimension(rep: Rep) -> int:
    """d_r, Weyl's formula: product over i < j of (lambda_i - lambda_j + j - i) / (j - i)."""
    pairs = [(i, j) for i in range(len(rep)) for j in range(i + 1, len(rep))]
    return math.prod(rep[i] - rep[j] + j - i for i, j in pairs) // math.prod(j - i for i, j in pairs)


def _times_box(rep: Rep, step: int) -> Iterator[Rep]:
    """Representations in r x fundamental (step = 1) or r x antifundamental (step = -1), each once."""
    for i in range(len(rep)):
        rows = [*rep[:i], rep[i] + step, *rep[i + 1 :]]
        if all(a >= b for a, b in pairwise(rows)):
            yield tuple(row - rows[-1] for row in rows)


def _ratios(n: int, beta: float, volume: int) -> dict[Rep, float]:
    """u_r/u_0, u_r = c_r/d_r, for all r with (u_r/u_0)^V > 1e-17 and all their neighbours by one box."""
    trivial: Rep = (0,) * n
    norm = _characters(n, beta, [trivial])[0]
    known, frontier = {trivial: 1.0}, [trivial]
    while frontier:
        fresh = sorted({new for rep in frontier for step in (1, -1) for new in _times_box(rep, step)} - known.keys())
        frontier = []
        for start in range(0, len(fresh), 256):  # bounds the memory of the determinants
            chunk = fresh[start : start + 256]
            for rep, c in zip(chunk, _characters(n, beta, chunk) / norm, strict=True):
                known[rep] = max(0.0, float(c)) / _dimension(rep)
                if known[rep] ** volume > _NEGLIGIBLE:
                    frontier.append(rep)
    return known


def sun_one_plaquette(n: int, beta: float) -> float:
    """<Re Tr U / N> of one matrix of weight e^{(beta/N) Re Tr U}: c_fund / (N c_0).

    Raises ValueError for n < 2 or a negative beta.
    """
    n = _whole("sun_one_plaquette", "n", n, 2)
    _check_beta("sun_one_plaquette", beta)
    trivial, fundamental = _characters(n, beta, [(0,) * n, (1,) + (0,) * (n - 1)])
    return float(fundamental / (n * trivial))


def sun_one_plaquette_log_z(n: int, beta: float) -> float:
    """ln int dU e^{(beta/N) Re Tr U} = ln c_0, in normalised Haar measure.

    Raises ValueError for n < 2 or a negative beta.
    """
    n = _whole("sun_one_plaquette_log_z", "n", n, 2)
    _check_beta("sun_one_plaquette_log_z", beta)
    return beta + math.log(_characters(n, beta, [(0,) * n])[0])


def sun_decimated(n: int, beta: float, area: int) -> dict[Rep, float]:
    """d_r (u_r/u_0)^A of all r that count: character coefficients of a plaquette that `area` plaquettes have become.

    Raises ValueError for n < 2, a negative beta or an area that is not a whole number >= 1.
    """
    n = _whole("sun_decimated", "n", n, 2)
    _check_beta("sun_decimated", beta)
    area = _whole("sun_decimated", "area", area, 1)
    return {rep: _dimension(rep) * u**area for rep, u in _ratios(n, beta, area).items()}


def sun_log_z(n: int, beta: float, volume: int) -> float:
    """ln Z with Z = sum_r u_r^V, u_r = c_r/d_r, in normalised Haar measure.

    Raises ValueError for n < 2, a negative beta or a volume that is not a whole number >= 1.
    """
    n = _whole("sun_log_z", "n", n, 2)
    _check_beta("sun_log_z", beta)
    volume = _whole("sun_log_z", "volume", volume, 1)
    total = math.fsum(u**volume for u in _ratios(n, beta, volume).values())
    return volume * sun_one_plaquette_log_z(n, beta) + math.log(total)


def sun_plaquette(n: int, beta: float, volume: int | None = None) -> float:
    """P = <Re Tr U_P / N> = (1/V) d ln Z / d beta, the Wilson loop of area 1; u_fund/u_0 in infinite volume.

    Raises ValueError for n < 2, a negative beta or a volume that is not a whole number >= 1.
    """
    n = _whole("sun_plaquette", "n", n, 2)
    _check_beta("sun_plaquette", beta)
    volume = None if volume is None else _whole("sun_plaquette", "volume", volume, 1)
    return sun_wilson_loop(n, beta, 1, volume)


def sun_wilson_loop(n: int, beta: float, area: int, volume: int | None = None) -> float:
    """W(A) = (1/NZ) sum_r sum_{r' in r x fund} (d_{r'}/d_r) u_r^{V-A} u_{r'}^A, the contractible loop of A plaquettes.

    The disc inside the loop gives sum_{r'} d_{r'} u_{r'}^A chi_{r'}(U), the torus with a hole outside it
    sum_r d_r^{-1} u_r^{V-A} chi_r(U^dagger); the integral with Tr U / N counts r' in r x antifund, and conjugating all
    representations turns antifund into fund. Infinite volume: (u_fund/u_0)^A. At A = V the loop is the boundary of
    the cut-open torus, a commutator, and W -> 1/N^2 where only r' = 0 survives.

    Raises ValueError for n < 2, a negative beta, a volume that is not a whole number >= 1, an area outside 0 .. volume.
    """
    n = _whole("sun_wilson_loop", "n", n, 2)
    _check_beta("sun_wilson_loop", beta)
    volume = None if volume is None else _whole("sun_wilson_loop", "volume", volume, 1)
    area = _check_area("sun_wilson_loop", area, volume)
    if volume is None:
        return sun_one_plaquette(n, beta) ** area
    u = _ratios(n, beta, volume)
    pairs = ((rep, new) for rep in u for new in _times_box(rep, 1) if new in u)
    total = math.fsum(_dimension(b) / _dimension(a) * u[a] ** (volume - area) * u[b] ** area for a, b in pairs)
    return total / (n * math.fsum(value**volume for value in u.values()))


# ---------------------------------------------------------------- any dimension, strong coupling


def plaquette_strong_coupling(group: str, beta: float, ndim: int) -> float:
    """P = u + [C(d,3)/C(d,2)] 6 K u^5 du/dbeta, K = 2, 4, 18 for group "U1", "SU2", "SU3"; u the one-plaquette mean.

    The first correction to independent plaquettes, from the surface of a cube: for small beta alone; exact at d = 2.
    du/dbeta is the variance of the one-plaquette mean, from c_r of the representations in fund x fund, fund x antifund.

    Raises ValueError for an unknown group, a negative beta or ndim < 2.
    """
    who = "plaquette_strong_coupling"
    _check_beta(who, beta)
    ndim = _whole(who, "ndim", ndim, 2)
    if group not in ("U1", "SU2", "SU3"):
        raise ValueError(f'{who} knows the groups "U1", "SU2", "SU3"; got {group!r}.')
    if group == "U1":
        k = 2
        u, double = _bessel(beta, np.array([1, 2]))
        square = (1 + double) / 2
    else:
        k, n = {"SU2": (4, 2), "SU3": (18, 3)}[group]
        zeros = (0,) * (n - 2)
        adjoint = (2,) + (1,) * (n - 2) + (0,)
        reps = [(0,) * n, (1, 0, *zeros), (2, 0, *zeros), (1, 1, *zeros), adjoint]
        one, fundamental, symmetric, antisymmetric, adj = _characters(n, beta, reps)
        u = fundamental / (n * one)
        square = (symmetric + antisymmetric + one + adj) / (2 * one * n**2)
    return float(u + (ndim - 2) / 3 * 6 * k * u**5 * (square - u**2))


# ---------------------------------------------------------------- scalars


def _propagator(who: str, lattice: Sequence[int], m2: float) -> Array:
    sides = _sides(who, lattice)
    if not 0 < m2 < math.inf:
        raise ValueError(f"{who} needs a finite m2 > 0, or the zero mode is unbounded; got {m2}.")
    p2 = np.zeros(sides)
    for sin2 in np.meshgrid(*[4 * np.sin(math.pi * np.arange(side) / side) ** 2 for side in sides], indexing="ij"):
        p2 += sin2
    return 0.5 / (p2 + m2)


def free_propagator(lattice: Sequence[int], m2: float) -> Array:
    """G(p) = 1/[2 (p^2 + m2)], p^2 = sum_mu 4 sin^2(p_mu/2), [*lattice] at p_mu = 2 pi k_mu/L_mu (the order of an FFT).

    G(p) = <|sum_x e^{-ipx} phi_x|^2> / V, so <phi_x phi_0> is its inverse FFT.

    Raises ValueError for an empty lattice, a side that is not a whole number >= 1, or m2 <= 0.
    """
    return _propagator("free_propagator", lattice, m2)


def free_phi_squared(lattice: Sequence[int], m2: float) -> float:
    """<phi^2> = (1/V) sum_p G(p). Raises ValueError as free_propagator does."""
    return float(np.mean(_propagator("free_phi_squared", lattice, m2)))


def free_susceptibility(m2: float) -> float:
    """chi = <(sum_x phi_x)^2> / V = G(0) = 1/(2 m2), on every lattice. Raises ValueError for m2 <= 0."""
    return float(_propagator("free_susceptibility", (1,), m2)[0])


def free_log_z(lattice: Sequence[int], m2: float) -> float:
    """ln Z = sum_p (1/2) ln[2 pi G(p)], in flat measure. Raises ValueError as free_propagator does."""
    return float(0.5 * np.sum(np.log(2 * math.pi * _propagator("free_log_z", lattice, m2))))


class OneSiteMoments(NamedTuple):
    """<phi^2>, <phi^4> and ln Z (flat measure) of one variable."""

    phi_squared: float
    phi_fourth: float
    log_z: float


class Phi4Exact(NamedTuple):
    """<phi^2>, chi = <(sum_x phi_x)^2>/V and ln Z (flat measure) of a lattice."""

    phi_squared: float
    susceptibility: float
    log_z: float


def _sides(who: str, lattice: Sequence[int]) -> tuple[int, ...]:
    if len(lattice) == 0:
        raise ValueError(f"{who} needs a lattice of at least one side; got {lattice!r}.")
    return tuple(_whole(who, "lattice side", side, 1) for side in lattice)


def _check_potential(who: str, m2: float, lam: float) -> None:
    if not (math.isfinite(m2) and 0 <= lam < math.inf and (lam > 0 or m2 > 0)):
        raise ValueError(f"{who} needs lam > 0, or lam = 0 and m2 > 0, both finite; got m2 = {m2}, lam = {lam}.")


def _site_grid(m2: float, lam: float) -> tuple[Array, Array, float]:
    """Uniform grid phi, weights e^{-m2 phi^2 - lam phi^4} of unit sum, and the log of the integral.

    The trapezoidal rule converges faster than any power for such a weight. The grid ends where it is e^-300 of its
    peak.
    """
    drop = 300.0
    if m2 >= 0:
        edge2 = 2 * drop / (m2 + math.sqrt(m2**2 + 4 * lam * drop))
    else:
        edge2 = -m2 / (2 * lam) + math.sqrt(drop / lam)
    phi = np.linspace(-math.sqrt(edge2), math.sqrt(edge2), 2**14)
    exponent = -m2 * phi**2 - lam * phi**4
    peak = float(exponent.max())
    weight = np.exp(exponent - peak)
    total = float(weight.sum())
    return phi, weight / total, peak + math.log(total * (phi[1] - phi[0]))


def one_site_moments(m2: float, lam: float) -> OneSiteMoments:
    """Moments of one variable of weight e^{-m2 phi^2 - lam phi^4}: at m2 < 0 a double well, minima phi^2 = -m2/(2 lam).

    Raises ValueError unless lam > 0, or lam = 0 and m2 > 0.
    """
    _check_potential("one_site_moments", m2, lam)
    phi, weight, log_z = _site_grid(m2, lam)
    return OneSiteMoments(float(weight @ phi**2), float(weight @ phi**4), log_z)


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


def phi4_transfer_matrix(lattice: Sequence[int], m2: float, lam: float) -> Phi4Exact:
    """<phi^2>, chi and ln Z = ln Tr T^L of interacting phi^4 on a small periodic 2D lattice, by its transfer matrix.

    T acts along the longer side on rows of the shorter one, at most 4 sites wide. Every site has the Gauss points of
    e^{-(m2+3) phi^2 - lam phi^4}, about its distribution between its neighbours (4 would be the neighbours at 0); the
    rest of the Boltzmann factor is smooth. The number of points grows by 2 until no result moves by more than 1e-9 of
    itself (ln Z: absolutely): 10 or so, at which 4x4 takes seconds. Weakly coupled light fields need more points than
    a row of 4 sites can hold.

    Raises ValueError for a lattice that is not two sides >= 1 with the shorter <= 4, parameters without a finite
    integral, and parameters for which the points do not converge.
    """
    who = "phi4_transfer_matrix"
    sides = _sides(who, lattice)
    if len(sides) != 2 or min(sides) > 4:
        raise ValueError(f"{who} needs two sides, the shorter at most 4 sites; got {'x'.join(map(str, sides))}.")
    _check_potential(who, m2, lam)
    width, length = sorted(sides)
    phi, weight, log_norm = _site_grid(m2 + 3, lam)
    last = np.full(3, math.inf)
    points = 6
    while points**width <= _MAX_STATES and points <= 60:
        result = np.array(_phi4_trace(width, length, *_gauss_rule(phi, weight, points)))
        if np.all(np.abs(result - last) < 1e-9 * np.array([result[0], result[1], 1.0])):
            return Phi4Exact(float(result[0]), float(result[1]), float(result[2]) + width * length * log_norm)
        last, points = result, points + 2
    raise ValueError(f"{who} needs parameters that converge within {points - 2} points per site on a row of {width} "
                     f"sites; got m2 = {m2}, lam = {lam}, still moving.")  # fmt: skip

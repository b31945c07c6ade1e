"""The exact formulas against tabulated values, direct integrals and each other."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import iv, ive

from flowkit import exact

MASSIVE = (-4.0, 8.0)


def agrees(value: float, printed: str) -> bool:
    """True if `value` rounds to every digit of `printed`."""
    digits = len(printed.split(".")[1])
    return abs(value - float(printed)) <= 0.5000001 * 10.0**-digits


# ---------------------------------------------------------------- tables

# beta, P(infinite), P(8x8), <Q^2> 8x8, <Q^2> 16x16, W(2x2) on 8x8
U1_TABLE = [
    (1, ".446389966", ".446389966", "2.60071911", "10.4028764", ".0397061424"),
    (2, ".697774658", ".697774658", "1.23929891", "4.95719568", ".237061360"),
    (4, ".863522611", ".863530043", ".482015930", "1.93387854", ".556098621"),
    (6, ".912359304", ".912454915", ".279200845", "1.19470145", ".694000012"),
    (8, ".935235494", ".935477091", ".167771013", ".870057809", ".768088573"),
    (12, ".957381405", ".957798595", ".0549709155", ".564902843", ".845820935"),
    (16, ".968227755", ".968652807", ".0166331094", ".415351172", ".884886790"),
]
# N, beta, P(infinite), P(4x4)
SUN_TABLE = [
    (2, 1, ".240193724", ".240193724"),
    (2, 1.8, ".399372380", ".399372563"),
    (2, 2.2, ".464479025", ".464480550"),
    (2, 2.7, ".532970734", ".532980576"),
    (2, 8, ".819249410", ".820306823"),
    (3, 1, ".0601265548", ".0601265548"),
    (3, 4, ".279619149", ".279619150"),
    (3, 6, ".422531740", ".422532057"),
    (3, 12, ".677672037", ".677819673"),
]


@pytest.mark.parametrize(("beta", "infinite", "small", "q2", "q2_large", "loop"), U1_TABLE)
def test_u1_table(beta: float, infinite: str, small: str, q2: str, q2_large: str, loop: str) -> None:
    assert agrees(exact.u1_plaquette(beta), infinite)
    assert agrees(exact.u1_plaquette(beta, 64), small)
    assert agrees(exact.u1_charge_squared(beta, 64), q2)
    assert agrees(exact.u1_charge_squared(beta, 256), q2_large)
    assert agrees(exact.u1_wilson_loop(beta, 4, 64), loop)


def test_u1_frozen_sectors_and_log_z() -> None:
    assert agrees(exact.u1_charge_distribution(6, 64, [0])[0], ".726288")
    assert agrees(exact.u1_plaquette_in_sector(6, 64, 0), ".91382438")
    assert agrees(exact.u1_plaquette_in_sector(6, 64, 1), ".90891931")
    assert agrees(exact.u1_plaquette_in_sector(6, 64, -1), ".90891931")
    assert agrees(exact.u1_log_z(2, 256), "210.94235")
    assert agrees(exact.u1_log_z(2, 256) + 512 * math.log(2 * math.pi), "1151.93540")  # flat measure d theta


@pytest.mark.parametrize(("n", "beta", "infinite", "small"), SUN_TABLE)
def test_sun_table(n: int, beta: float, infinite: str, small: str) -> None:
    assert agrees(exact.sun_plaquette(n, beta), infinite)
    assert agrees(exact.sun_plaquette(n, beta, 16), small)


def test_sun_wilson_loop_table() -> None:
    assert agrees(exact.sun_wilson_loop(2, 2.2, 4), ".0465440776")
    assert agrees(exact.sun_wilson_loop(3, 6, 4), ".0318740574")


def test_free_field_table() -> None:
    assert agrees(exact.free_phi_squared((8, 8), 1), ".12708700")
    assert agrees(exact.free_phi_squared((16, 16), 0.25), ".18847906")
    assert agrees(exact.free_phi_squared((8, 8, 8), 0.25), ".10634465")
    assert agrees(exact.free_log_z((8, 8), 1), "-11.62288526")
    assert exact.free_susceptibility(0.25) == 2.0


def test_interacting_table() -> None:
    result = exact.phi4_transfer_matrix((3, 3), *MASSIVE)
    assert agrees(result.phi_squared, ".1544041920")
    assert agrees(result.susceptibility, ".6043693753")
    result = exact.phi4_transfer_matrix((4, 4), *MASSIVE)
    assert agrees(result.phi_squared, ".147746")
    assert agrees(result.susceptibility, ".683968")
    # S = -beta sum phi phi' + phi^2 + lambda (phi^2 - 1)^2 at lambda = 1/2 is m2 = -4, lam = lambda (2/beta)^2 for the
    # field phi sqrt(beta/2).
    beta = 0.645
    result = exact.phi4_transfer_matrix((3, 3), -4.0, 0.5 * (2 / beta) ** 2)
    assert agrees(2 / beta * result.phi_squared, ".856336956")
    assert agrees(2 / beta * result.susceptibility, "5.343999888")


# Monte Carlo value and error on 4^4 (SU(3)) and 8^4 (U(1)), at betas where the next order is below the error
@pytest.mark.parametrize(
    ("group", "beta", "value", "error"),
    [("SU3", 1, 0.060213, 0.000074), ("SU3", 2, 0.128804, 0.000090), ("U1", 0.5, 0.24576, 0.00024)],
)
def test_strong_coupling_meets_monte_carlo(group: str, beta: float, value: float, error: float) -> None:
    assert abs(exact.plaquette_strong_coupling(group, beta, 4) - value) < 3 * error


# ---------------------------------------------------------------- U(1) identities


def slope(log_z: Callable[[float], float], beta: float, step: float = 1e-3) -> float:
    """d ln Z / d beta, five points."""
    return float(
        (8 * (log_z(beta + step) - log_z(beta - step)) - log_z(beta + 2 * step) + log_z(beta - 2 * step)) / (12 * step)
    )


@pytest.mark.parametrize(("beta", "volume"), [(0.3, 1), (2.0, 2), (6.0, 12), (20.0, 64)])
def test_u1_plaquette_is_slope_of_log_z(beta: float, volume: int) -> None:
    numeric = slope(lambda b: exact.u1_log_z(b, volume), beta) / volume
    assert exact.u1_plaquette(beta, volume) == pytest.approx(numeric, abs=1e-10)


@pytest.mark.parametrize(
    ("beta", "volume"), [(0.0, 3), (0.0, 4), (0.3, 5), (1.0, 12), (6.0, 64), (50.0, 64), (4.0, 4096)]
)
def test_u1_charge_distribution_moments(beta: float, volume: int) -> None:
    charges = np.arange(-min(volume, 300), min(volume, 300) + 1)
    p = exact.u1_charge_distribution(beta, volume, charges)
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1, abs=1e-10)
    assert p @ charges == pytest.approx(0, abs=1e-8)
    assert p @ charges**2 == pytest.approx(exact.u1_charge_squared(beta, volume), rel=1e-8, abs=1e-10)


def test_u1_sectors_average_to_plaquette() -> None:
    charges = range(-4, 5)
    p = exact.u1_charge_distribution(2.0, 36, charges)
    inside = [exact.u1_plaquette_in_sector(2.0, 36, q) for q in charges]
    assert p @ inside == pytest.approx(exact.u1_plaquette(2.0, 36), abs=2 * (1 - p.sum()) + 1e-12)


def test_u1_sector_plaquette_is_slope_of_sector_weight() -> None:
    def log_weight(beta: float) -> float:
        return exact.u1_log_z(beta, 16) + math.log(exact.u1_charge_distribution(beta, 16, [1])[0])

    assert exact.u1_plaquette_in_sector(3.0, 16, 1) == pytest.approx(slope(log_weight, 3.0) / 16, abs=1e-9)


def test_u1_uniform_angles_by_hand() -> None:
    # beta = 0, three plaquettes: Q = +-1 needs two uniform angles summing beyond +-pi, a corner 1/8 of their square.
    assert exact.u1_charge_distribution(0, 3, [-1, 0, 1, 2]) == pytest.approx([1 / 8, 3 / 4, 1 / 8, 0], abs=1e-12)
    assert exact.u1_charge_squared(0, 3) == pytest.approx(1 / 4, abs=1e-14)
    assert exact.u1_charge_squared(0, 100) == pytest.approx(100 / 12)  # independent: V <x^2>, x uniform in [-1/2, 1/2)


def test_u1_charge_of_three_plaquettes_by_direct_integral() -> None:
    beta, grid = 1.3, (np.arange(1200) + 0.5) / 1200 * 2 * np.pi - np.pi
    a, b = np.meshgrid(grid, grid)
    weight = np.exp(beta * (np.cos(a) + np.cos(b) + np.cos(a + b)))
    outside = weight[np.abs(a + b) > np.pi].sum() / weight.sum()  # the third angle wraps, Q = +-1
    assert exact.u1_charge_squared(beta, 3) == pytest.approx(outside, abs=1e-3)


def test_u1_small_tori() -> None:
    # One plaquette is a commutator of two phases, cos = 1; two are each other's inverses, weight e^{2 beta cos}.
    assert exact.u1_plaquette(1.7, 1) == pytest.approx(1, abs=1e-14)
    assert exact.u1_log_z(1.7, 1) == pytest.approx(1.7, abs=1e-14)
    assert exact.u1_plaquette(1.7, 2) == pytest.approx(iv(1, 3.4) / iv(0, 3.4))
    assert exact.u1_charge_squared(1.7, 2) == 0
    assert list(exact.u1_charge_distribution(1.7, 2, [-1, 0, 1])) == [0, 1, 0]
    assert exact.u1_plaquette_in_sector(1.7, 2, 0) == exact.u1_plaquette(1.7, 2)


def test_u1_wilson_loop_limits() -> None:
    assert exact.u1_wilson_loop(3.0, 0, 10) == pytest.approx(1)
    assert exact.u1_wilson_loop(3.0, 10, 10) == pytest.approx(1)  # the loop around the whole torus is trivial
    assert exact.u1_wilson_loop(3.0, 3, 10) == pytest.approx(exact.u1_wilson_loop(3.0, 7, 10))  # inside or outside
    assert exact.u1_wilson_loop(1.0, 5, 4096) == pytest.approx(exact.u1_wilson_loop(1.0, 5), rel=1e-12)
    assert exact.u1_wilson_loop(3.0, 4) == pytest.approx(exact.u1_plaquette(3.0) ** 4)


@pytest.mark.parametrize("beta", [0.0, 1e-6, 50.0])
def test_u1_extremes_stay_finite(beta: float) -> None:
    volume = 256 * 256
    infinite = float(ive(1, beta) / ive(0, beta))
    assert exact.u1_plaquette(beta, volume) == pytest.approx(infinite, abs=1e-12)
    assert exact.u1_log_z(beta, volume) == pytest.approx(volume * (beta + math.log(ive(0, beta))), rel=1e-12)
    spread = exact.u1_charge_squared(beta, volume)
    assert 0 < spread <= volume / 12
    p = exact.u1_charge_distribution(beta, volume, [0, 5])
    assert p[0] == pytest.approx(1 / math.sqrt(2 * math.pi * spread), rel=2e-2)  # nearly Gaussian, <Q^2> > 30
    assert exact.u1_plaquette_in_sector(beta, volume, 0) == pytest.approx(infinite, abs=1e-4)


# ---------------------------------------------------------------- SU(N) identities


@pytest.mark.parametrize("beta", [0.1, 2.2, 50.0])
def test_su2_one_plaquette_closed_form(beta: float) -> None:
    assert exact.sun_one_plaquette(2, beta) == pytest.approx(ive(2, beta) / ive(1, beta), rel=1e-12)
    log_z = beta + math.log(2 * ive(1, beta) / beta)
    assert exact.sun_one_plaquette_log_z(2, beta) == pytest.approx(log_z, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("beta", "volume", "area"), [(2.2, 16, 1), (2.2, 16, 4), (8.0, 9, 5), (8.0, 9, 9), (1.0, 1, 1)]
)
def test_su2_wilson_loop_by_dimension_sum(beta: float, volume: int, area: int) -> None:
    # d x 2 = (d + 1) + (d - 1), u_d = 2 I_d(beta) / beta
    u = [0.0] + [float(ive(d, beta) / ive(1, beta)) / d * d for d in range(1, 60)]
    z = sum(value**volume for value in u[1:])
    pairs = [(d, e) for d in range(1, 59) for e in (d - 1, d + 1) if e > 0]
    total = sum(e / d * u[d] ** (volume - area) * u[e] ** area for d, e in pairs)
    assert exact.sun_wilson_loop(2, beta, area, volume) == pytest.approx(total / (2 * z), rel=1e-11)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_one_plaquette_by_weyl_integration(n: int) -> None:
    beta, points = 3.0, 32
    angles = np.stack(np.meshgrid(*[np.arange(points) * 2 * np.pi / points] * (n - 1), indexing="ij"))
    phases = np.exp(1j * np.concatenate([angles, -angles.sum(0, keepdims=True)]))
    haar = np.prod([np.abs(phases[i] - phases[j]) ** 2 for i, j in itertools.combinations(range(n), 2)], axis=0)
    mean_trace = phases.real.sum(0) / n
    weight = haar * np.exp(beta * mean_trace)
    assert exact.sun_one_plaquette(n, beta) == pytest.approx((weight * mean_trace).sum() / weight.sum(), rel=1e-12)
    assert exact.sun_one_plaquette_log_z(n, beta) == pytest.approx(math.log(weight.sum() / haar.sum()), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "beta", "volume"),
    [(2, 1.0, 1), (2, 8.0, 4), (3, 6.0, 2), (3, 12.0, 16), (4, 9.0, 4), (5, 12.0, 6), (3, 50.0, 64)],
)
def test_sun_plaquette_is_slope_of_log_z(n: int, beta: float, volume: int) -> None:
    numeric = slope(lambda b: exact.sun_log_z(n, b, volume), beta) / volume
    assert exact.sun_plaquette(n, beta, volume) == pytest.approx(numeric, abs=1e-10)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_sun_wilson_loop_limits(n: int) -> None:
    assert exact.sun_wilson_loop(n, 5.0, 0, 6) == pytest.approx(1, rel=1e-12)
    assert exact.sun_wilson_loop(n, 2.0, 3, 1024) == pytest.approx(exact.sun_plaquette(n, 2.0) ** 3, rel=1e-12)
    # Around a large torus only the commutator of its two Haar-distributed windings is left: <Tr>/N = 1/N^2.
    assert exact.sun_wilson_loop(n, 2.0, 1024, 1024) == pytest.approx(1 / n**2, rel=1e-12)
    assert exact.sun_plaquette(n, 0.0, 1) == pytest.approx(1 / n**2)
    assert exact.sun_plaquette(n, 0.0, 16) == exact.sun_plaquette(n, 0.0) == 0


def test_sun_log_z_of_two_by_hand() -> None:
    # SU(2), beta -> 0: u_0 = 1 + beta^2/8, u_fund = beta/4, hence ln Z = beta^2/4 + beta^2/16 for two plaquettes.
    beta = 1e-4
    assert exact.sun_log_z(2, beta, 2) / beta**2 == pytest.approx(1 / 4 + 1 / 16, rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("beta", [0.0, 1e-6, 50.0])
def test_sun_extremes_stay_finite(n: int, beta: float) -> None:
    volume = 256 * 256
    assert exact.sun_plaquette(n, beta, volume) == pytest.approx(exact.sun_one_plaquette(n, beta), rel=1e-12)
    assert exact.sun_log_z(n, beta, volume) == pytest.approx(volume * exact.sun_one_plaquette_log_z(n, beta), rel=1e-12)


@pytest.mark.parametrize(("group", "n"), [("U1", 1), ("SU2", 2), ("SU3", 3)])
def test_strong_coupling_formula(group: str, n: int) -> None:
    def u(beta: float) -> float:
        return exact.u1_plaquette(beta) if n == 1 else exact.sun_one_plaquette(n, beta)

    beta, k = 0.8, {1: 2, 2: 4, 3: 18}[n]
    assert exact.plaquette_strong_coupling(group, 0.0, 4) == 0
    assert exact.plaquette_strong_coupling(group, beta, 2) == pytest.approx(u(beta), rel=1e-12)
    for ndim, ratio in ((3, 1 / 3), (4, 4 / 6)):
        correction = ratio * 6 * k * u(beta) ** 5 * slope(u, beta)
        assert exact.plaquette_strong_coupling(group, beta, ndim) == pytest.approx(u(beta) + correction, rel=1e-10)


# ---------------------------------------------------------------- scalars


def test_free_propagator_inverts_the_action() -> None:
    lattice, m2 = (3, 4), 0.7
    covariance = np.fft.ifftn(exact.free_propagator(lattice, m2)).real
    # S = phi (m2 - Laplacian) phi, so 2 (m2 - Laplacian) applied to <phi_x phi_0> is a delta.
    neighbours = sum(np.roll(covariance, step, axis) for axis in (0, 1) for step in (1, -1))
    delta = 2 * ((m2 + 4) * covariance - neighbours)
    assert delta == pytest.approx(np.eye(12)[0].reshape(lattice), abs=1e-14)
    assert covariance[0, 0] == pytest.approx(exact.free_phi_squared(lattice, m2))
    assert exact.free_propagator(lattice, m2)[0, 0] == pytest.approx(exact.free_susceptibility(m2))


@pytest.mark.parametrize("lattice", [(6,), (2, 5), (3, 2, 4)])
def test_free_phi_squared_is_slope_of_log_z(lattice: tuple[int, ...]) -> None:
    numeric = slope(lambda m2: exact.free_log_z(lattice, m2), 1.3) / math.prod(lattice)
    assert exact.free_phi_squared(lattice, 1.3) == pytest.approx(-numeric, abs=1e-10)


@pytest.mark.parametrize("lattice", [(1, 1), (1, 5), (2, 2), (5, 2), (3, 4), (3, 40)])
def test_transfer_matrix_of_free_field(lattice: tuple[int, int]) -> None:
    result = exact.phi4_transfer_matrix(lattice, 1.0, 0.0)
    assert result.phi_squared == pytest.approx(exact.free_phi_squared(lattice, 1.0), rel=1e-8)
    assert result.susceptibility == pytest.approx(exact.free_susceptibility(1.0), rel=1e-8)
    assert result.log_z == pytest.approx(exact.free_log_z(lattice, 1.0), abs=1e-8)


@pytest.mark.parametrize(("m2", "lam"), [(-4.0, 8.0), (-10.0, 2.0), (2.0, 0.1)])
def test_transfer_matrix_by_direct_integral(m2: float, lam: float) -> None:
    edge = math.sqrt(max(0.0, -m2) / (2 * lam) + math.sqrt(40 / lam))
    grid = np.linspace(-edge, edge, 48)
    a, b, c, d = np.meshgrid(grid, grid, grid, grid, indexing="ij", sparse=True)
    links = 2 * ((a - b) ** 2 + (a - c) ** 2 + (b - d) ** 2 + (c - d) ** 2)  # side 2: two links between neighbours
    action = links + sum(m2 * x**2 + lam * x**4 for x in (a, b, c, d))
    weight = np.exp(action.min() - action)
    result = exact.phi4_transfer_matrix((2, 2), m2, lam)
    assert result.phi_squared == pytest.approx((weight * a**2).sum() / weight.sum(), rel=1e-8)
    assert result.susceptibility == pytest.approx((weight * (a + b + c + d) ** 2).sum() / weight.sum() / 4, rel=1e-8)
    log_z = math.log(weight.sum() * (grid[1] - grid[0]) ** 4) - action.min()
    assert result.log_z == pytest.approx(log_z, abs=1e-8)


def test_transfer_matrix_identities() -> None:
    def log_z(m2: float) -> float:
        return exact.phi4_transfer_matrix((3, 4), m2, 5.0).log_z

    wide, tall = exact.phi4_transfer_matrix((4, 3), -4.0, 5.0), exact.phi4_transfer_matrix((3, 4), -4.0, 5.0)
    assert wide == tall
    assert tall.phi_squared == pytest.approx(-slope(log_z, -4.0, 0.01) / 12, abs=1e-7)
    # A 1x1 lattice is linked to itself alone: one free-standing variable.
    single, site = exact.phi4_transfer_matrix((1, 1), -4.0, 5.0), exact.one_site_moments(-4.0, 5.0)
    assert single.phi_squared == pytest.approx(site.phi_squared, rel=1e-9)
    assert single.log_z == pytest.approx(site.log_z, abs=1e-9)


@pytest.mark.parametrize(("m2", "lam"), [(1.0, 0.0), (0.0, 1.0), (-4.0, 8.0), (-6.0, 1.5), (-400.0, 50.0), (3.0, 1e-9)])
def test_one_site_moments(m2: float, lam: float) -> None:
    depth = m2**2 / (4 * lam) if m2 < 0 else 0.0

    def integral(power: int) -> float:
        peak = math.sqrt(max(0.0, -m2) / (2 * lam)) if lam else 0.0
        cuts = sorted({0.0, peak, peak + 0.5, peak + 8.0})
        parts = itertools.pairwise(cuts)
        density = [
            quad(
                lambda x: x**power * math.exp(-m2 * x**2 - lam * x**4 - depth),
                lo,
                hi,
                epsabs=1e-14,
                epsrel=1e-12,
                limit=200,
            )[0]
            for lo, hi in parts
        ]
        return 2 * math.fsum(density)

    result = exact.one_site_moments(m2, lam)
    assert result.phi_squared == pytest.approx(integral(2) / integral(0), rel=1e-9)
    assert result.phi_fourth == pytest.approx(integral(4) / integral(0), rel=1e-9)
    assert result.log_z == pytest.approx(math.log(integral(0)) + depth, rel=1e-9)
    # Schwinger-Dyson: <phi dS/dphi> = 1
    assert 2 * m2 * result.phi_squared + 4 * lam * result.phi_fourth == pytest.approx(1, abs=1e-8)


# ---------------------------------------------------------------- messages

HALF: Any = 0.5  # where a whole number belongs
BAD_CALLS: list[tuple[Callable[[], object], str]] = [
    (lambda: exact.u1_plaquette(-1), "u1_plaquette needs beta, a number in [0, 1e+06]; got "),
    (lambda: exact.u1_plaquette(math.nan, 4), "u1_plaquette needs beta, a number in [0, 1e+06]; got "),
    (lambda: exact.u1_plaquette(1, 0), "u1_plaquette needs volume, a whole number >= 1"),
    (lambda: exact.u1_log_z(1, HALF), "u1_log_z needs volume, a whole number >= 1"),
    (lambda: exact.u1_log_z(math.inf, 2), "u1_log_z needs beta, a number in [0, 1e+06]; got "),
    (lambda: exact.u1_wilson_loop(1, 9, 4), "u1_wilson_loop needs area <= volume; got area 9 on a lattice of 4"),
    (lambda: exact.u1_wilson_loop(1, -1), "u1_wilson_loop needs area, a whole number >= 0"),
    (lambda: exact.u1_charge_squared(-0.1, 4), "u1_charge_squared needs beta, a number in [0, 1e+06]; got "),
    (lambda: exact.u1_charge_squared(1, -4), "u1_charge_squared needs volume, a whole number >= 1"),
    (
        lambda: exact.u1_charge_distribution(1, 4, [HALF]),
        "u1_charge_distribution needs charges, a sequence, each a whole number; got [0.5].",
    ),
    (lambda: exact.u1_plaquette_in_sector(1, 4, 2), "needs |charge| < volume/2; got charge 2 on a lattice of 4"),
    (lambda: exact.u1_plaquette_in_sector(6, 64, 9), "u1_plaquette_in_sector needs a sector of probability >= 1e-8;"),
    (lambda: exact.sun_plaquette(1, 1), "sun_plaquette needs n, a whole number in [2, 64]; got 1."),
    (lambda: exact.sun_plaquette(3, -1, 4), "sun_plaquette needs beta, a number in [0, 1e+06]; got "),
    (lambda: exact.sun_log_z(3, 1, 0), "sun_log_z needs volume, a whole number >= 1"),
    (lambda: exact.sun_wilson_loop(3, 1, 5, 4), "sun_wilson_loop needs area <= volume; got area 5 on a lattice of 4"),
    (lambda: exact.sun_one_plaquette(2, -2), "sun_one_plaquette needs beta, a number in [0, 1e+06]; got "),
    (lambda: exact.sun_one_plaquette_log_z(0, 2), "sun_one_plaquette_log_z needs n, a whole number in [2, 64]; got 0."),
    (lambda: exact.plaquette_strong_coupling("SU4", 1, 4), 'knows the groups "U1", "SU2", "SU3"; got \'SU4\'.'),
    (
        lambda: exact.plaquette_strong_coupling("U1", 1, 1),
        "plaquette_strong_coupling needs ndim, a whole number in [2, 100]; got 1",
    ),
    (lambda: exact.free_propagator((), 1), "free_propagator needs a lattice of at least one side"),
    (
        lambda: exact.free_phi_squared((4, 0), 1),
        "free_phi_squared needs lattice, a sequence, each a whole number >= 1; got (4, 0).",
    ),
    (lambda: exact.free_log_z((4, 4), 0), "free_log_z needs m2, a finite number > 0; got 0."),
    (lambda: exact.free_susceptibility(-1), "free_susceptibility needs m2, a finite number > 0; got -1"),
    (
        lambda: exact.one_site_moments(-1, 0),
        "one_site_moments needs lam > 0, or lam = 0 and m2 > 0, both finite; got m2 = -1",
    ),
    (lambda: exact.phi4_transfer_matrix((3, 3), 1, -1), "phi4_transfer_matrix needs lam, a finite number >= 0; got -1"),
    (lambda: exact.phi4_transfer_matrix((5, 6), 1, 1), "needs two sides, the shorter at most 4 sites; got 5x6."),
    (lambda: exact.phi4_transfer_matrix((3,), 1, 1), "needs two sides, the shorter at most 4 sites; got 3."),
    (lambda: exact.phi4_transfer_matrix((2, 2), 1e-4, 0), "needs parameters that converge within 60 points per site"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS, ids=[message[:40] for _, message in BAD_CALLS])
def test_bad_input_is_a_sentence(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert str(caught.value).endswith(".")

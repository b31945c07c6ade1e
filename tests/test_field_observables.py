"""Loops, correlators and functions of means against plain loops over sites and against exact results."""

import itertools
import math

import autograd
import numpy as np
import pyerrors
import pytest
import torch

import flowkit as fk
from flowkit import observables as obs, testing
from flowkit.observables import as_observable

F64 = torch.float64
GROUPS = [fk.U1(), fk.SUN(2), fk.SUN(3)]


def links_of(space, seed=1, n=2):
    """Fields, and their links as complex matrices of numpy, [batch, mu, *lattice, N, N]."""
    U = space.haar(n, testing.seeded(seed), F64)
    matrices = U.numpy() if space.group.matrix_shape else np.exp(1j * U.numpy())[..., None, None]
    return U, matrices


def walk(field, lattice, site, moves):
    """The product of the links of one field along moves (direction, sign), and the last site."""
    x, product = list(site), np.eye(field.shape[-1])
    for mu, sign in moves:
        if sign < 0:
            x[mu] = (x[mu] - 1) % lattice[mu]
        one = field[(mu, *x)]
        product = product @ (one if sign > 0 else one.conj().T)
        if sign > 0:
            x[mu] = (x[mu] + 1) % lattice[mu]
    return product, tuple(x)


def trace(matrix):
    return np.trace(matrix) / len(matrix)


def sites_of(lattice):
    return list(itertools.product(*map(range, lattice)))


def slow_loop(field, lattice, mu, nu, r, t):
    moves = [(mu, 1)] * r + [(nu, 1)] * t + [(mu, -1)] * r + [(nu, -1)] * t
    return np.mean([trace(walk(field, lattice, x, moves)[0]).real for x in sites_of(lattice)])


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_wilson_loops_are_those_of_plain_loops_over_sites(group):
    space = fk.links((3, 2, 4), group)
    U, fields = links_of(space)
    for time, (r, t) in ((0, (2, 3)), (1, (3, 2))):
        table = obs.wilson_loops(space, U, r, t, time)
        others = [mu for mu in range(3) if mu != time]
        for b, i, j in itertools.product(range(2), range(r), range(t)):
            slow = [slow_loop(fields[b], space.lattice, mu, time, i + 1, j + 1) for mu in others]
            assert abs(float(table[b, i, j]) - np.mean(slow)) < 1e-12
    for plane in ((0, 2), (2, 0)):
        one = fk.wilson_loop(2, 3, plane)(space, U)
        assert abs(float(one[1]) - slow_loop(fields[1], space.lattice, *plane, 2, 3)) < 1e-12


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_polyakov_loops_and_their_correlator_are_those_of_plain_loops(group):
    space = fk.links((3, 2, 4), group)
    U, fields = links_of(space)
    for mu, along in ((0, 2), (1, 0)):
        loops = {}
        for x in sites_of(space.lattice):
            moves = [(mu, 1)] * space.lattice[mu]
            loops[x] = trace(walk(fields[1], space.lattice, x, moves)[0])  # the trace depends on the other sites alone
        mean = np.mean(list(loops.values()))
        for part, value in (("real", mean.real), ("imaginary", mean.imag), ("modulus", abs(mean))):
            assert abs(float(obs.polyakov(mu, part)(space, U)[1]) - value) < 1e-12
        for r, value in enumerate(obs.polyakov_correlator(space, U, mu, along)[1].tolist()):
            moved = {x: tuple((k + r * (nu == along)) % space.lattice[nu] for nu, k in enumerate(x)) for x in loops}
            assert abs(value - np.mean([(loops[x] * loops[moved[x]].conj()).real for x in loops])) < 1e-12


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_in_two_dimensions_the_area_law_is_exact(group):
    space, beta, n = fk.links((4, 3), group), 2.0, 4000
    U = fk.priors.ExactGauge2D(space, beta=beta).sample(n, testing.seeded(3))
    assert_means(obs.wilson_loops(space, U, 2, 3), [[group.wilson_loop_2d(beta, r * t, 12) for t in (1, 2, 3)]
                                                    for r in (1, 2)])  # fmt: skip
    action = fk.Wilson(space, beta)
    for plane, sides in (((0, 1), (3, 2)), ((1, 0), (2, 3))):  # three links along 0 and two along 1
        name = fk.wilson_loop(*sides, plane)
        assert action.exact(name) == group.wilson_loop_2d(beta, 6, 12)
        assert_means(name(space, U), action.exact(name))
    if group.abelian:
        C = obs.polyakov_correlator(space, U, mu=1, along=0)
        assert_means(C, [1.0, *(group.wilson_loop_2d(beta, 3 * r, 12) for r in (1, 2, 3))])


def assert_means(samples, exact, sigma=4.5):
    """The means of independent samples [n, ...] against exact ones."""
    error = samples.double().std(0) / math.sqrt(len(samples))
    off = (samples.double().mean(0) - torch.tensor(exact, dtype=F64)).abs()
    assert (off <= sigma * error + 1e-6).all(), (off / error).max()


def test_two_point_functions_are_those_of_plain_loops():
    space = fk.sites((4, 3, 2), components=2)
    x = torch.randn(2, *space.shape, generator=testing.seeded(2), dtype=F64)
    phi = x[1].numpy()
    for time, momentum in ((0, ()), (1, (1, 1)), (2, (2, -1))):
        others = [nu for nu in range(3) if nu != time]
        p = [2 * np.pi * k / space.lattice[nu] for k, nu in zip(momentum or (0, 0), others, strict=True)]
        slow = np.zeros(space.lattice[time])
        for a, b in itertools.product(sites_of(space.lattice), repeat=2):
            phase = sum(q * (a[nu] - b[nu]) for q, nu in zip(p, others, strict=True))
            slow[(a[time] - b[time]) % len(slow)] += np.cos(phase) * (phi[(..., *a)] * phi[(..., *b)]).sum() / 24
        fast = obs.two_point(space, x, time, momentum)[1]
        assert np.abs(fast.numpy() - slow).max() < 1e-12
        assert abs(float(obs.correlator(1, time, momentum)(space, x)[1]) - slow[1]) < 1e-12
        full = [0, 0, 0]
        for k, nu in zip(momentum or (0, 0), others, strict=True):
            full[nu] = k
        assert abs(float(obs.structure_factor(tuple(full))(space, x)[1]) - slow.sum()) < 1e-12  # frequency 0


def test_a_free_field_has_its_propagator_mass_and_length():
    space, m2, n = fk.sites((8, 4)), 0.3, 20_000
    x = fk.FreeField(space, m2=m2).sample(n, testing.seeded(4)).detach()
    for k in (0, 1):
        p0, p1 = 2 * np.pi * np.arange(8) / 8, 2 * np.pi * k / 4
        G = 1 / (2 * (4 * np.sin(p0 / 2) ** 2 + 4 * np.sin(p1 / 2) ** 2 + m2))
        exact = (np.cos(np.outer(np.arange(8), p0)) * G).mean(1)
        assert_means(obs.two_point(space, x, 0, (k,)), exact)
        mass = 2 * np.arcsinh(np.sqrt(m2 + 4 * np.sin(p1 / 2) ** 2) / 2)
        assert np.abs(obs.effective_mass(exact) - mass).max() < 1e-9  # a cosh at every distance
        assert_means(obs.structure_factor((1, k))(space, x), G[1])
    zero, one = (float(1 / (2 * (p2 + m2))) for p2 in (0.0, 4 * np.sin(np.pi / 8) ** 2))
    assert abs(obs.second_moment_length(zero, one, 8) - m2**-0.5) < 1e-12


def test_powers_of_the_magnetisation_and_binder_cumulant_of_a_free_field():
    """Moments of a Gaussian m of variance s: with two components |m|^2 is exponential."""
    space, n = fk.sites((4, 4), components=2), 40_000
    x = fk.FreeField(space, m2=0.5).sample(n, testing.seeded(5)).detach()
    s = 1 / (2 * 0.5 * 16)
    second, fourth = (obs.magnetization_power(k)(space, x) for k in (2, 4))
    assert_means(obs.magnetization_power(1)(space, x), math.sqrt(math.pi * s / 2))
    assert_means(second, 2 * s)
    assert_means(fourth, 8 * s * s)
    assert abs(obs.binder_cumulant(2 * s, 8 * s * s) - 1 / 3) < 1e-12


def test_the_potential_of_an_area_law_with_a_perimeter():
    W = [[math.exp(-0.2 * r * t - 0.1 * (r + t) + 0.3 * t / r) for t in (1, 2, 3)] for r in (1, 2, 3, 4)]
    V = obs.static_potential(W)
    assert np.abs(V - [[0.2 * r + 0.1 - 0.3 / r] * 2 for r in (1, 2, 3, 4)]).max() < 1e-12
    assert np.abs(obs.fit_potential(V[:, 1], errors=[1, 2, 1, 3]) - [0.1, 0.3, 0.2]).max() < 1e-12
    with pytest.raises(ValueError, match=r"^fit_potential takes V\(R\), \[R\], and positive errors"):
        obs.fit_potential(V[:, 1], errors=[1, 2, 0, 3])


FUNCTIONS = [
    (obs.effective_mass, np.cosh(0.4 * (np.arange(5) - 2.2))),
    (lambda c: obs.effective_mass(c, "log"), np.exp(-0.4 * np.arange(4.0))),
    (obs.static_potential, np.exp(-0.3 * np.arange(1.0, 5) ** 1.1)),
    (obs.fit_potential, np.array([0.3, 0.5, 0.9, 1.0])),
    (lambda g: obs.second_moment_length(g[0], g[1], 8), np.array([2.0, 0.8])),
    (lambda m: obs.binder_cumulant(m[0], m[1]), np.array([0.4, 0.3])),
    (lambda e: obs.t0(np.linspace(0.5, 3, 6), e), 0.15 / np.linspace(0.5, 3, 6) ** 0.8),
    (lambda e: obs.w0(np.linspace(0.5, 3, 6), e), 0.15 / np.linspace(0.5, 3, 6) ** 0.8),
]


@pytest.mark.parametrize(("function", "x"), FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_errors_are_carried_through_functions_of_means(function, x):
    """By autograd, against differences; and the Obs of pyerrors, whose error is that of these derivatives."""
    total = lambda x: np.sum(function(x)) if isinstance(x, np.ndarray) else autograd.numpy.sum(function(x))  # noqa: E731
    slope = autograd.grad(total)(x)
    for k, unit in enumerate(np.eye(len(x))):
        assert abs((total(x + 1e-5 * unit) - total(x - 1e-5 * unit)) / 2e-5 - slope[k]) < 1e-5
    rng = np.random.default_rng(1)
    means = np.array([pyerrors.Obs([v + 1e-3 * rng.normal(size=500)], ["a"]) for v in x])
    out = np.sum(function(means))
    out.gamma_method(S=0)
    linear = sum(float(s) * m for s, m in zip(slope, means, strict=True))
    linear.gamma_method(S=0)
    assert out.dvalue == pytest.approx(linear.dvalue, rel=0.02)  # the mean is off by a thousandth


NAMES = """wilson_loop_2x3_10 polyakov_1_imaginary polyakov_0_modulus correlator_2_1 correlator_2_0_p_-1_2
structure_factor_0_1 magnetization_power_4"""


@pytest.mark.parametrize("name", NAMES.split())
def test_a_name_finds_its_observable(name):
    assert as_observable(name).name == name


def test_what_is_not_defined_is_refused():
    sites, links = fk.sites((4, 2)), fk.links((4, 2), fk.U1())
    x, U = torch.zeros(1, 1, 4, 2), torch.zeros(1, 2, 4, 2)
    for call, message in [
        (lambda: obs.two_point(links, U), "two_point is measured on sites; got Links U1"),
        (lambda: obs.two_point(sites, x, 2), r"takes a direction below 2 and a momentum of 1 entries; got 2 and \(\)"),
        (lambda: obs.correlator(4)(sites, x), "has distances below 4; got 4"),
        (lambda: obs.structure_factor((1,))(sites, x), r"has 2 entries; got \(1,\)"),
        (lambda: obs.wilson_loops(links, U, 3, 2), "sides 1 to those of the lattice are measured; got 3x2"),
        (lambda: obs.t0(range(1, 6), [0.1] * 5, level=3.0), "t^2 E does not reach 3 from below at flow times 1 to 5"),
        (lambda: obs.effective_mass("abc"), r"takes an array \[..., 3 or more\] of numbers; got 'abc'"),
    ]:
        with pytest.raises(ValueError, match=message.replace("^", r"\^")):
            call()

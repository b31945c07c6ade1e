"""Improved actions: against plain loops, their slopes, a transfer matrix, and integrals over the group."""

import functools
import itertools

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.actions import RectangleAction, dbw2, iwasaki, symanzik

F64 = torch.float64
GROUPS = [fk.U1(), fk.SUN(2), fk.SUN(3)]


def plain(space, field, path):
    """The sum over sites of Re Tr / N of one path (direction, sign) ..., on one field of numpy."""
    total = 0.0
    for start in itertools.product(*map(range, space.lattice)):
        x, product = list(start), np.eye(space.group.dimension, dtype=complex)
        for mu, sign in path:
            if sign < 0:
                x[mu] = (x[mu] - 1) % space.lattice[mu]
            link = np.atleast_2d(field[(mu, *x)])
            product = product @ (link if sign > 0 else link.conj().T)
            if sign > 0:
                x[mu] = (x[mu] + 1) % space.lattice[mu]
        total += np.trace(product).real / space.group.dimension
    return total


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_action_is_that_of_plain_loops(group):
    space = fk.links((3, 2, 4), group)
    U = space.haar(1, testing.seeded(1), F64)
    field = U[0].numpy() if group.matrix_shape else np.exp(1j * U[0].numpy())
    sums = {}
    for r, t in ((1, 1), (1, 2), (2, 1)):
        paths = [[(mu, 1)] * r + [(nu, 1)] * t + [(mu, -1)] * r + [(nu, -1)] * t for mu, nu in space.planes]
        sums[r, t] = sum(plain(space, field, path) for path in paths)
    for make, c1 in ((symanzik, -1 / 12), (iwasaki, -0.331), (dbw2, -1.4088)):
        exact = -1.7 * ((1 - 8 * c1) * sums[1, 1] + c1 * (sums[1, 2] + sums[2, 1]))
        assert abs(float(make(space, 1.7)(U)) - exact) < 1e-11
    torch.testing.assert_close(RectangleAction(space, 1.7, 0.0)(U), fk.Wilson(space, 1.7)(U), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("lattice", [(2, 3), (3, 4, 2), (3, 2, 2, 3)], ids=str)
def test_the_force_is_the_slope_of_the_action(lattice, group):
    """Along random directions, by differences; sides of 2 hold a link twice in one rectangle."""
    space = fk.links(lattice, group)
    action, rng, h = RectangleAction(space, 1.3, -0.4), testing.seeded(2), 1e-5
    x = space.haar(4, rng, F64)
    w = torch.randn(4, *space.algebra_shape, generator=rng, dtype=F64)
    slope = (action(group.move(x, w, h)) - action(group.move(x, w, -h))) / (2 * h)
    assert (slope + (action.force(x) * w).flatten(1).sum(1)).abs().max() < 1e-6


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("lattice", [(4, 8), (4, 4, 4)], ids=str)
def test_a_heatbath_sees_all_staples_of_links_that_share_no_loop(lattice, group):
    """S is linear in each link of a sublattice, with the sum of its staples, also when all of them move at once."""
    action = dbw2(fk.links(lattice, group), 0.7)
    bath, rng = fk.Heatbath(action), testing.seeded(3)
    x, fresh = (action.space.haar(2, rng, F64) for _ in range(2))
    links, other = (y.reshape(2, -1, *group.matrix_shape) for y in (x, fresh))
    active = torch.cat([part.active for part in bath.parts])
    assert active.sort().values.equal(torch.arange(links.shape[1]))
    for part in bath.parts:
        A, moved = bath.staple_sum(links, part), links.clone()
        moved[:, part.active] = other[:, part.active]
        V, W = (group.ambient(y[:, part.active]) for y in (links, moved))
        dot = ((W - V) * A.conj()).real.sum((-2, -1)) if group.matrix_shape else ((W - V) * A.conj()).real
        predicted = -action.beta / group.dimension * dot.sum(1)
        assert (action(moved.view(x.shape)) - action(x) - predicted).abs().max() < 1e-10
        overrelaxed = links.clone()
        overrelaxed[:, part.active] = bath.reflect(links[:, part.active], A)
        assert (action(overrelaxed.view(x.shape)) - action(x)).abs().max() < 1e-10


@functools.cache
def exact_means(k0, k1, side=4, m=6):
    """The plaquette and the rectangle of U(1) on 4x4 with weights k0 and k1 of their cosines, by a transfer matrix.

    In two dimensions the angles of plaquettes are independent but for their sum, 0 modulo 2 pi, and rectangles couple
    neighbours. On multiples of 2 pi / m the integrals are exact up to the m-th Bessel function.
    """
    angle = 2 * np.pi * np.arange(m) / m
    bond = np.exp(k1 * np.cos(angle[:, None] + angle))
    row = np.stack(np.meshgrid(*[angle] * side, indexing="ij")).reshape(side, -1)
    plaquettes, rectangles = np.cos(row).sum(0), np.cos(row + np.roll(row, -1, 0)).sum(0)
    weight = np.exp(k0 * plaquettes + k1 * rectangles)
    between = functools.reduce(np.kron, [bond] * side)
    sums = np.zeros(3)
    for k in range(m // 2 + 1):  # the sum over k of exp(i k sum of angles) is the constraint, k and -k alike
        D = weight * np.exp(1j * k * row.sum(0))
        two = (D[:, None] * between).reshape(*[m] * side, -1)  # rows two apart: the bonds of one row, axis by axis
        for axis in range(side):
            two = np.moveaxis(np.tensordot(bond, two, (1, axis)), 0, axis)
        two = two.reshape(len(D), -1)
        joint = (two * two.T * D).sum(1) * D
        for i, inserted in enumerate((1, plaquettes / side, rectangles / side)):
            sums[i] += (1 if k in (0, m / 2) else 2) * (joint * inserted).sum().real
    return sums[1] / sums[0], sums[2] / sums[0]


def test_the_transfer_matrix_gives_wilsons_loops():
    action = fk.Wilson(fk.links((4, 4), fk.U1()), 0.5)
    assert exact_means(0.5, 0.0) == pytest.approx(
        [action.exact("plaquette"), action.exact("wilson_loop_1x2")], abs=2e-5
    )


LOOPS = ("wilson_loop_1x2", "wilson_loop_2x1")
SMALL = iwasaki(fk.links((4, 4), fk.U1()), 0.15)
RUNS = {"heatbath": fk.Heatbath(SMALL), "HMC": fk.HMC(SMALL)}


@pytest.mark.parametrize("sampler", RUNS.values(), ids=RUNS)
def test_chains_have_the_means_of_the_transfer_matrix(sampler):
    plaquette, rectangle = exact_means(SMALL.beta * SMALL.c0, SMALL.beta * SMALL.c1)
    run = fk.run(sampler, 100, chains=400, thermalise=10, rng=5, observe=["plaquette", *LOOPS], keep=False)
    assert run.mean("plaquette").within(plaquette, sigmas=4)
    for name in LOOPS:
        assert run.mean(name).within(rectangle, sigmas=4)
        assert not run.mean(name).within((SMALL.beta * SMALL.c0 / 2) ** 2, sigmas=10)  # without rectangles


@pytest.mark.parametrize("group", GROUPS[1:], ids=str)
def test_the_strong_coupling_series_is_that_of_integrals_over_the_group(group):
    r"""To second order in two dimensions, from int t^2 = k and int t^3 = m of t = Re Tr U / N.

    The leading terms are beta c0 k and beta c1 k. A plaquette, its neighbour and the rectangle of both give k^2.
    """
    k, m = {2: (1 / 4, 0), 3: (1 / 18, 1 / 108)}[group.dimension]
    action = dbw2(fk.links((4, 4), group), 0.02)
    a, b = action.beta * action.c0, action.beta * action.c1
    exact = torch.tensor([a * k + 4 * a * b * k**2 + a * a * m / 2, b * k + a * a * k**2 + b * b * m / 2])
    run = fk.run(fk.Heatbath(action, 0), 5, chains=1500, thermalise=4, rng=6)
    x = run.x.flatten(0, 1)
    values = torch.stack([fk.plaquette(action.space, x), fk.wilson_loop(1, 2)(action.space, x)])
    chains = values.view(2, 5, 1500).mean(1)
    error = chains.std(1) / 1500**0.5
    assert ((chains.mean(1) - exact).abs() < 4 * error + a**3 * k**2).all()
    assert (exact.abs() > 5 * error)[0]


@pytest.mark.parametrize(("lattice", "group"), [((4, 4, 4), fk.U1()), ((4, 4), fk.SUN(2)), ((4, 4), fk.SUN(3))])
def test_hmc_and_heatbath_agree_and_keep_the_schwinger_dyson_identity(lattice, group):
    """At a coupling where the plaquette is far from its first order; errors from chains that know nothing of others."""
    action = symanzik(fk.links(lattice, group), 1.0 * group.dimension**2)
    means = []
    for sampler in (fk.Heatbath(action), fk.HMC(action)):
        run = fk.run(sampler, 5, chains=64, thermalise=20, rng=7, dtype=F64)
        x = run.x.flatten(0, 1)
        values = [action.schwinger_dyson(x), fk.plaquette(action.space, x), fk.wilson_loop(1, 2)(action.space, x)]
        chains = torch.stack(values).view(3, 5, 64).mean(1)
        means.append((chains.mean(1), chains.std(1) / 8))
        assert abs(means[-1][0][0]) < 4 * means[-1][1][0]
    (a, da), (b, db) = means
    assert ((a - b).abs() < 4 * (da**2 + db**2).sqrt()).all()
    assert a[1] > 0.3
    assert da[1] < 0.01


def test_what_is_not_defined_is_refused():
    with pytest.raises(ValueError, match="Heatbath of rectangles needs lattice sides that are multiples of 4; got 4x6"):
        fk.Heatbath(symanzik(fk.links((4, 6), fk.U1()), 1.0))
    with pytest.raises(ValueError, match="RectangleAction lives on links in two or more dimensions; got Sites"):
        RectangleAction(fk.sites((4, 4)), 1.0)
    assert symanzik(fk.links((4, 2), fk.U1()), 1.0).schwinger_dyson(torch.zeros(1, 2, 4, 2)) is None
    fk.Heatbath(RectangleAction(fk.links((2, 3), fk.U1()), 1.0, 0.0))  # the plaquettes alone, on their lattices

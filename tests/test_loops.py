"""Loops: gauge invariance, staples, known fields, charges."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.geometry import charge, lattice, loops
from flowkit.geometry.closed_paths import Loop, link_index

F64 = torch.float64
SPACES = [
    fk.links(sides, group)
    for sides in ((4, 6), (2, 3, 4), (3, 4, 5, 6))  # sides of 2 hide the sign of a shift
    for group in (fk.U1(), fk.SUN(2), fk.SUN(3))
]  # fmt: skip


def rough(space, n=2, seed=1):
    return space.haar(n, testing.seeded(seed), F64)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_traces_of_loops_are_gauge_invariant(space):
    """Every shape of loop, and links themselves are not."""
    U, act = rough(space), testing.symmetry(space, "gauge", testing.seeded(5))
    V, trace = act(U), space.group.trace

    def measured(x):
        shapes = [loops.rectangle(space, x, mu, nu, 2, 1) for mu in range(space.ndim) for nu in range(space.ndim)
                  if mu != nu]  # fmt: skip
        winding = [loops.polyakov(space, x, mu) for mu in range(space.ndim)]
        return torch.cat([trace(t).flatten(1) for t in [loops.plaquettes(space, x), *shapes, *winding]], 1)

    assert (measured(V) - measured(U)).abs().max() < 1e-12
    assert (trace(V) - trace(U)).abs().max() > 0.1
    assert measured(U).std() > 0.1


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_staples_close_the_plaquettes(space):
    """V upper^-1 is the plaquette on the +nu side; V lower^-1 is conjugate to the inverse of the other."""
    U, G = rough(space), space.group
    for mu in range(space.ndim):
        assert len(loops.staple_list(space, U, mu)) == 2 * (space.ndim - 1)
        for nu in range(space.ndim):
            if mu == nu:
                continue
            V = loops.link(U, mu)
            upper, lower = loops.staples(space, U, mu, nu)
            above = G.compose(V, G.inverse(upper))
            assert testing.difference(G, above, loops.plaquette(space, U, mu, nu)).abs().max() < 1e-12
            below = G.trace(G.compose(V, G.inverse(lower)))
            plaquette = lattice.shift(G.trace(loops.plaquette(space, U, mu, nu)), nu, -1)
            assert (below - plaquette).abs().max() < 1e-12
            # both are parallel to the link: they transform as it does
            act = testing.symmetry(space, "gauge", testing.seeded(6))
            moved = loops.staples(space, act(U), mu, nu)[1]
            whole = U.clone()
            whole[:, mu : mu + 1] = lower
            assert testing.difference(G, moved, act(whole)[:, mu : mu + 1]).abs().max() < 1e-12


def test_the_action_is_linear_in_a_link_through_its_staples():
    """S(V) = -(beta/N) Re Tr V (sum S)^dagger + constant."""
    space, beta = fk.links((4, 3, 2), fk.SUN(3)), 2.1
    U, action = rough(space), fk.Wilson(space, beta)
    new = U.clone()
    new[:, 1, 2, 0, 1] = space.group.haar((2,), testing.seeded(9), F64)
    total = sum(loops.staple_list(space, U, 1))[:, 0, 2, 0, 1]
    change = -beta * space.group.trace((new - U)[:, 1, 2, 0, 1] @ total.mH)
    assert (action(new) - action(U) - change).abs().max() < 1e-11


def constant_field(space, angle):
    """U(1) links with theta_1(x) = angle * x_0: every 1x1 plaquette of the plane (0, 1) is `angle`."""
    x0 = lattice.coordinates(space.lattice)[0].view(1, *space.lattice).to(F64)
    U = torch.zeros(1, *space.shape, dtype=F64)
    U[:, 1] = angle * x0
    return space.group.project(U)


def test_area_law_of_a_constant_field():
    """In a constant field strength f the r x t loop is exp(i f r t), in both orders of the plane up to the sign."""
    space = fk.links((8, 6), fk.U1())
    f = 2 * math.pi / 8  # periodic: f L_0 is a multiple of 2 pi
    U = constant_field(space, f)
    for r, t in ((1, 1), (2, 1), (3, 2), (5, 4)):
        for mu, nu, sign in ((0, 1, 1), (1, 0, -1)):
            loop = loops.rectangle(space, U, mu, nu, *((r, t) if mu == 0 else (t, r)))
            assert space.group.wrap(loop - sign * f * r * t).abs().max() < 1e-12


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_wilson_loops_link_by_link(space):
    """The mean over all sites and planes (mu < nu), r along mu and t along nu, of products along a list of steps."""
    U, G, everywhere = rough(space), space.group, torch.arange(space.volume)
    flat = U.flatten(1, 1 + space.ndim)
    for r, t in ((1, 1), (2, 1), (1, 2), (1, 3)):
        traces = []
        for mu, nu in space.planes:
            steps = Loop.rectangle(mu, nu, r, t).steps(space.ndim)
            around = [flat[:, index] for index in link_index(space, everywhere, steps)]
            traces.append(G.trace(G.product(around, [sign for *_, sign in steps])))
        assert (fk.wilson_loop(r, t)(space, U) - torch.cat(traces, 1).mean(1)).abs().max() < 1e-13


def test_gauge_transformations_move_both_ends_of_a_link():
    """U_mu(x) -> g(x) U_mu(x) g(x + mu)^-1, at one link of a rough field."""
    space = fk.links((2, 3, 4), fk.SUN(3))
    U, g = rough(space), space.group.haar((2, 1, *space.lattice), testing.seeded(2), F64)
    came = loops.gauge_transform(space, U, g)[:, 1, 1, 2, 3]
    assert (came - g[:, 0, 1, 2, 3] @ U[:, 1, 1, 2, 3] @ g[:, 0, 1, 0, 3].mH).abs().max() < 1e-13


def test_charge_of_a_constant_field():
    """Plaquettes 2 pi k / L_0 on L_0 x L_1 sites carry k L_1 units of flux."""
    space = fk.links((8, 3), fk.U1())
    for k in (-3, -1, 0, 1, 3):
        U = constant_field(space, 2 * math.pi * k / 8)
        assert fk.topological_charge(space, U) == pytest.approx(3 * k)
        assert fk.charge_squared(space, U) == pytest.approx(9 * k * k)


def check_charge_is_whole():
    space = fk.links((6, 5), fk.U1())
    U = rough(space, 50)
    total = charge.charge_density_2d(space, U).flatten(1).sum(1)
    assert (total - total.round()).abs().max() < 1e-12
    assert len(total.round().unique()) > 2
    assert (charge.charge_density_2d(space, U).abs() <= 0.5).all()


def test_charge_of_rough_fields_is_a_whole_number():
    check_charge_is_whole()


def test_charge_is_odd_under_a_reflection():
    space = fk.links((6, 5), fk.U1())
    U = rough(space, 20)
    assert torch.equal(fk.topological_charge(space, space.group.inverse(U)), -fk.topological_charge(space, U))


def abelian_4d(space, numbers):
    """SU(2) links exp(i sigma_3 theta) with constant plaquettes a in the plane (0, 1) and b in (2, 3)."""
    a, b = (2 * math.pi * k / space.lattice[axis] for k, axis in zip(numbers, (0, 2), strict=True))
    x = lattice.coordinates(space.lattice).view(4, *space.lattice).to(F64)
    theta = torch.zeros(1, 4, *space.lattice, dtype=F64)
    theta[:, 1], theta[:, 3] = a * x[0], b * x[2]
    w = torch.zeros(*theta.shape, 3, dtype=F64)
    w[..., 2] = 2 * theta  # exp(i w sigma_3 / 2)
    return space.group.exp(w), a, b


@pytest.mark.parametrize("numbers", [(1, 1), (1, -1), (-2, 1)])
def test_clover_charge_of_a_constant_abelian_field(numbers):
    """F_01 = sigma_3 sin a and F_23 = sigma_3 sin b exactly, so q = (8 / 32 pi^2) 2 sin a sin b at every site."""
    space = fk.links((6, 2, 5, 3), fk.SUN(2))
    U, a, b = abelian_4d(space, numbers)
    q = charge.charge_density_4d(space, U)
    assert q.shape == (1, 1, *space.lattice)
    expected = math.sin(a) * math.sin(b) / (2 * math.pi**2)
    assert (q - expected).abs().max() < 1e-13
    F = charge.clover(space, U, 0, 1)
    assert (F - torch.diag(torch.tensor([1j, -1j], dtype=F.dtype)) * math.sin(a)).abs().max() < 1e-13
    assert (charge.clover(space, U, 1, 0) + F).abs().max() < 1e-13
    assert fk.topological_charge(space, U) == pytest.approx(expected * space.volume)


@pytest.mark.parametrize(("plane", "dual"), [((0, 1), (2, 3)), ((0, 2), (3, 1)), ((0, 3), (1, 2))])
def test_clover_charge_counts_every_pair_of_planes_with_the_sign_of_epsilon(plane, dual):
    space = fk.links((4, 4, 4, 4), fk.SUN(2))
    x = lattice.coordinates(space.lattice).view(4, *space.lattice).to(F64)
    w = torch.zeros(1, *space.algebra_shape, dtype=F64)
    a = 2 * math.pi / 4
    w[:, plane[1], ..., 2], w[:, dual[1], ..., 2] = 2 * a * x[plane[0]], 2 * a * x[dual[0]]
    q = charge.charge_density_4d(space, space.group.exp(w))
    assert (q - math.sin(a) ** 2 / (2 * math.pi**2)).abs().max() < 1e-13


def test_clover_by_its_four_leaves():
    """(Q - Q^dagger) / 8 without its trace, Q the four plaquettes that turn from mu to nu around x, link by link."""
    space = fk.links((2, 3, 5, 4), fk.SUN(3))
    U, everywhere = rough(space, 1), torch.arange(space.volume)
    flat, eye = U.flatten(1, 5)[0], torch.eye(3, dtype=U.dtype)
    for mu, nu in ((0, 1), (2, 3), (3, 1)):
        total = 0
        for s, t in ((1, 1), (1, -1), (-1, -1), (-1, 1)):  # to the side s of mu and t of nu, and always the same way
            path = [(mu, s), (nu, t), (mu, -s), (nu, -t)] if s == t else [(nu, t), (mu, s), (nu, -t), (mu, -s)]
            leaf, place = eye, [0] * 4
            for axis, sign in path:
                place[axis] -= sign < 0
                link = flat[link_index(space, everywhere, [(axis, tuple(place), sign)])[0]]
                leaf = leaf @ (link if sign > 0 else link.mH)
                place[axis] += sign > 0
            total = total + leaf
        anti = (total - total.mH) / 8
        anti = anti - anti.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * eye
        assert (charge.clover(space, U, mu, nu).flatten(0, 5) - anti).abs().max() < 1e-13


def test_clover_charge_is_gauge_invariant():
    space = fk.links((2, 3, 2, 3), fk.SUN(3))
    U, act = rough(space), testing.symmetry(space, "gauge", testing.seeded(5))
    assert (charge.charge_density_4d(space, act(U)) - charge.charge_density_4d(space, U)).abs().max() < 1e-13


def test_polyakov_loop():
    space = fk.links((4, 6), fk.U1())
    U = torch.zeros(1, *space.shape, dtype=F64)
    U[:, 0], U[:, 1] = 0.1, 0.2
    assert loops.polyakov(space, U, 0).shape == (1, 1, 1, 6)
    assert loops.polyakov(space, U, 1).shape == (1, 1, 4, 1)
    assert fk.observables.polyakov(0)(space, U) == pytest.approx(math.cos(0.4))
    assert fk.observables.polyakov(1)(space, U) == pytest.approx(math.cos(1.2))


def test_observables_of_a_cold_field():
    for space in SPACES:
        cold = space.cold(2, like=torch.empty(0, dtype=F64))
        for obs in (fk.plaquette, fk.observables.trace, fk.wilson_loop(2, 1), fk.observables.polyakov(0)):
            assert obs(space, cold).tolist() == [1, 1], obs
    assert repr(fk.plaquette) == "Observable(plaquette: plaquette Re Tr P / N)"
    assert repr(fk.susceptibility) == "Observable(susceptibility: (Σφ)² / V)"
    assert repr(fk.Observable("sign", "sign", fk.magnetization.function)) == "Observable(sign)"


def test_observables_of_scalars():
    space = fk.sites((2, 3), components=2)
    x = torch.arange(12, dtype=F64).view(1, 2, 2, 3)
    assert fk.magnetization(space, x) == pytest.approx(5.5)
    assert fk.phi_squared(space, x) == pytest.approx(506 / 12)
    assert fk.susceptibility(space, x) == pytest.approx(66**2 / 12)
    with pytest.raises(ValueError, match="holds fields"):
        fk.phi_squared(space, x[:, :1])


def test_bad_input():
    space = fk.links((4, 4), fk.U1())
    U = rough(space)
    for mu, nu, r, t, message in (
        (0, 0, 1, 1, "A plane has two directions"),
        (0, 1, 0, 1, "needs [rt], a whole number >= 1; got 0"),
        (0, 1, 1, -1, "needs [rt], a whole number >= 1; got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            loops.rectangle(space, U, mu, nu, r, t)
    with pytest.raises(ValueError, match="has no plane and so no plaquette"):
        loops.plaquettes(fk.links((4,), fk.U1()), torch.zeros(1, 1, 4))
    with pytest.raises(
        ValueError, match=r"transformation of Links U1 on 4x4 is \[2, 1, 4, 4\]; got Tensor \[2, 4, 4\]"
    ):
        loops.gauge_transform(space, U, torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match=r"defined for SU\(N\) links in four dimensions"):
        fk.topological_charge(fk.links((2, 2, 2), fk.U1()), torch.zeros(1, 3, 2, 2, 2))


# ---------------------------------------------------------------- closed paths


def walk(space, U, steps, base):
    """The product of a list of steps from one site, the slow way."""
    G, total = space.group, None
    for direction, offset, sign in steps:
        at = tuple((b + o) % size for b, o, size in zip(base, offset, space.lattice, strict=True))
        one = U[(slice(None), direction, *at)]
        one = one if sign > 0 else G.inverse(one)
        total = one if total is None else G.compose(total, one)
    return total


@pytest.mark.parametrize("below", [False, True])
def test_steps_of_a_loop_make_a_closed_loop_of_its_area(below):
    """The steps join end to end, and in U(1) and SU(3) they give the rectangle at x, or the one below with the
    direction that starts with the active link.
    """
    for group in (fk.U1(), fk.SUN(3)):
        space = fk.links((5, 4, 3), group)
        U, base = rough(space), (1, 2, 0)
        for mu, nu, r, t in ((0, 1, 1, 1), (0, 2, 2, 1), (1, 0, 3, 2), (2, 1, 1, 3)):
            steps = Loop.rectangle(mu, nu, r, t, below).steps(space.ndim)
            assert steps[0] == (mu, (0, 0, 0), 1)
            place = [0, 0, 0]
            for direction, offset, sign in steps:
                if sign < 0:
                    place[direction] -= 1
                assert tuple(place) == offset
                if sign > 0:
                    place[direction] += 1
            assert place == [0, 0, 0]
            came = walk(space, U, steps, base)
            start = list(base)
            start[nu] -= t if below else 0
            at = tuple(s % size for s, size in zip(start, space.lattice, strict=True))
            rectangle = loops.rectangle(space, U, mu, nu, r, t)[(slice(None), 0, *at)]
            assert (group.trace(came) - group.trace(rectangle)).abs().max() < 1e-12
            if group == fk.U1():  # the loop below runs the other way round
                assert group.wrap(came - (-rectangle if below else rectangle)).abs().max() < 1e-12

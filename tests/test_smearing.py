"""The Wilson flow and smearing: against plain loops over sites, free fields, known charges, and the order of errors."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import flowkit as fk
from flowkit import observables as obs, smearing, testing
from flowkit.geometry import field_strength, plaquettes
from flowkit.smearing import gradient_flow as module

F64 = torch.float64
GROUPS = [fk.U1(), fk.SUN(2), fk.SUN(3)]


def smooth(space, size=0.4, n=1, seed=1):
    """Links near the identity."""
    w = size * torch.randn(n, *space.algebra_shape, generator=testing.seeded(seed), dtype=F64)
    return space.group.exp(w)


def matrices(space, U):
    """Links of the first field as matrices of numpy by direction and site, and a function that reads them anywhere."""
    values = U[0].numpy() if space.group.matrix_shape else np.exp(1j * U[0].numpy())[..., None, None]
    return {(mu, *x): values[(mu, *x)] for mu in range(space.ndim) for x in sites_of(space)}


def sites_of(space):
    return list(itertools.product(*map(range, space.lattice)))


def moved(space, x, mu, n=1):
    return tuple((k + n * (nu == mu)) % side for nu, (k, side) in enumerate(zip(x, space.lattice, strict=True)))


def slow_staples(space, a, b, mu, nu, x):
    """Both staples at x of links a of direction mu and b of direction nu, dictionaries by site."""
    ahead, down = moved(space, x, mu), moved(space, x, nu, -1)
    upper = b[x] @ a[moved(space, x, nu)] @ b[ahead].conj().T
    return upper, b[down].conj().T @ a[down] @ b[moved(space, ahead, nu, -1)]


def by_direction(space, links):
    return [{x: links[mu, *x] for x in sites_of(space)} for mu in range(space.ndim)]


def require_equal(space, U, links, tolerance=1e-12):
    found = matrices(space, U)
    assert max(np.abs(found[key] - links[key]).max() for key in links) < tolerance


def projected(m):
    u, _, v = np.linalg.svd(m)
    polar = u @ v
    return polar if len(m) == 1 else polar / np.linalg.det(polar) ** (1 / len(m))


def slow_ape(space, links, alpha):
    by, new = by_direction(space, links), {}
    for mu, x in itertools.product(range(space.ndim), sites_of(space)):
        found = [s for nu in range(space.ndim) if nu != mu for s in slow_staples(space, by[mu], by[nu], mu, nu, x)]
        new[mu, *x] = projected((1 - alpha) * by[mu][x] + alpha / len(found) * sum(found))
    return new


def antihermitian(m):
    anti = (m - m.conj().T) / 2
    return anti if len(m) == 1 else anti - np.trace(anti) / len(m) * np.eye(len(m))


def slow_slope(space, links):
    """Sum of P(S U^dagger) over the staples S of each link."""
    by, slope = by_direction(space, links), {}
    for mu, x in itertools.product(range(space.ndim), sites_of(space)):
        found = [s for nu in range(space.ndim) if nu != mu for s in slow_staples(space, by[mu], by[nu], mu, nu, x)]
        slope[mu, *x] = antihermitian(sum(found) @ by[mu][x].conj().T)
    return slope


def slow_hyp(space, links, alphas):
    """The three steps of four dimensions, or the last two in three, written out."""
    by = by_direction(space, links)

    def step(alpha, mu, partners):
        """Links of direction mu, given (nu, links of direction mu, links of direction nu) for each plane."""
        new = {}
        for x in sites_of(space):
            found = [s for nu, a, b in partners for s in slow_staples(space, a, b, mu, nu, x)]
            new[x] = projected((1 - alpha) * by[mu][x] + alpha / len(found) * sum(found))
        return new

    directions = range(space.ndim)
    others = lambda *known: [nu for nu in directions if nu not in known]  # noqa: E731
    if space.ndim == 4:
        bar = {(mu, frozenset((nu, rho))): step(alphas[2], mu, [(eta, by[mu], by[eta]) for eta in others(mu, nu, rho)])
               for mu in directions for nu in others(mu) for rho in others(mu, nu)}  # fmt: skip
        tilde = {(mu, nu): step(alphas[1], mu, [(rho, bar[mu, frozenset((rho, nu))], bar[rho, frozenset((nu, mu))])
                                                for rho in others(mu, nu)])
                 for mu in directions for nu in others(mu)}  # fmt: skip
    else:
        tilde = {(mu, nu): step(alphas[-1], mu, [(rho, by[mu], by[rho]) for rho in others(mu, nu)])
                 for mu in directions for nu in others(mu)}  # fmt: skip
    done = [step(alphas[0], mu, [(nu, tilde[mu, nu], tilde[nu, mu]) for nu in others(mu)]) for mu in directions]
    return {(mu, *x): done[mu][x] for mu in directions for x in sites_of(space)}


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("lattice", [(3, 4), (3, 2, 4)], ids=str)
def test_ape_and_stout_are_those_of_plain_loops(lattice, group):
    space = fk.links(lattice, group)
    U = smooth(space)
    links = matrices(space, U)
    require_equal(space, smearing.ape(space, U, 0.6, steps=2), slow_ape(space, slow_ape(space, links, 0.6), 0.6))
    slope = slow_slope(space, links)
    require_equal(space, smearing.stout(space, U, 0.12), {k: expm(0.12 * slope[k]) @ links[k] for k in links})


@pytest.mark.parametrize(
    ("lattice", "group"), [((3, 2, 4), fk.U1()), ((3, 2, 4), fk.SUN(3)), ((3, 2, 2, 2), fk.SUN(2))]
)
def test_hyp_is_that_of_plain_loops(lattice, group):
    space = fk.links(lattice, group)
    U = smooth(space)
    alphas = (0.7, 0.5, 0.35)[: space.ndim - 1]
    require_equal(space, smearing.hyp(space, U, alphas), slow_hyp(space, matrices(space, U), alphas))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_step_of_the_flow_is_that_of_plain_loops(group):
    """Luescher's W1, W2 and W3, with matrix exponentials."""
    space, h = fk.links((3, 2, 4), group), 0.1
    U = smooth(space, 1.0)
    w0 = matrices(space, U)
    z0 = slow_slope(space, w0)
    w1 = {k: expm(h * z0[k] / 4) @ w0[k] for k in w0}
    z1 = slow_slope(space, w1)
    w2 = {k: expm(h * (8 / 9 * z1[k] - 17 / 36 * z0[k])) @ w1[k] for k in w0}
    z2 = slow_slope(space, w2)
    w3 = {k: expm(h * (3 / 4 * z2[k] - 8 / 9 * z1[k] + 17 / 36 * z0[k])) @ w2[k] for k in w0}
    require_equal(space, smearing.wilson_flow(space, U, h, step=h), w3)
    assert torch.equal(smearing.wilson_flow(space, U, 0.0), U)


@pytest.mark.parametrize("group", GROUPS[:2], ids=str)
def test_a_weak_field_decays_mode_by_mode(group):
    """exp(-p^2 t) for each plaquette mode of lattice momentum p, whatever the gauge."""
    space, t = fk.links((4, 3, 5), group), 0.3
    U = smooth(space, 1e-5)
    p2 = fk.geometry.momentum_squared(space.lattice, torch.zeros(1, dtype=F64))

    def modes(x):
        angles = group.tangent(plaquettes(space, x))
        return torch.fft.fftn(angles, dim=(2, 3, 4))

    decay = (-p2 * t).exp().reshape(1, 1, *space.lattice, *[1] * len(group.algebra_axes))
    off = modes(smearing.wilson_flow(space, U, t, step=0.002)) - decay * modes(U)
    assert off.abs().max() < 2e-5 * modes(U).abs().max()


@pytest.mark.parametrize("c1", [0.0, -1 / 12])
def test_the_flow_is_integrated_to_third_order(c1):
    space = fk.links((3, 3, 4), fk.SUN(3))
    U = space.haar(1, testing.seeded(3), F64)
    end = partial(smearing.wilson_flow, space, U, 0.4, c1=c1)
    best = end(step=0.4 / 96)
    errors = [float((end(step=0.4 / n) - best).abs().max()) for n in (8, 16, 32)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert 2.7 < orders[1] < 3.3, orders


def test_the_adaptive_step_keeps_its_tolerance(monkeypatch):
    space = fk.links((3, 3, 4), fk.SUN(2))
    U = space.haar(1, testing.seeded(4), F64)
    best, counts, steps = smearing.wilson_flow(space, U, 2.0, step=2.0 / 400), [], []

    def counted(space, x, h, c1=0.0, inner=module.runge_kutta):
        steps.append(h)
        return inner(space, x, h, c1)

    monkeypatch.setattr(module, "runge_kutta", counted)
    for tolerance in (1e-3, 1e-5):
        steps.clear()
        fields = list(smearing.flow_fields(space, U, (0.7, 2.0), tolerance=tolerance))
        assert (fields[1] - best).abs().max() < 3 * tolerance
        assert max(steps) > 3 * min(steps)  # the field is smooth in the end
        counts.append(len(steps))
    assert counts[0] < counts[1] < 400


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_energy_falls_by_the_square_of_the_slope(group):
    """d/dt sum E = -sum w^2, w the velocity in algebra coordinates; E of both kinds on weak fields is F^2 / 4."""
    space, h = fk.links((3, 4, 5), group), 1e-3
    U, E = smooth(space, 0.8), obs.energy_density()
    middle = smearing.wilson_flow(space, U, h)
    w = group.tangent(group.compose(smearing.wilson_flow(space, middle, h, step=h), group.inverse(middle))) / h
    v = group.tangent(group.compose(middle, group.inverse(U))) / h
    fall = (E(space, smearing.wilson_flow(space, middle, h)) - E(space, U)) * space.volume / (2 * h)
    assert float(fall) == pytest.approx(-float((w * v).sum()), rel=1e-4)
    weak = smooth(space, 1e-4)
    F = [group.tangent(fk.geometry.rectangle(space, weak, mu, nu)) for mu, nu in space.planes]
    exact = sum(float(one.square().sum()) for one in F) / (2 * space.volume)
    assert float(E(space, weak)) == pytest.approx(exact, rel=1e-3)
    if group.matrix_shape:
        strength = field_strength(space, U, 0, 2)
        assert torch.allclose(1j * group.algebra(strength), fk.geometry.clover(space, U, 0, 2), atol=1e-12)


def test_the_flow_keeps_the_charge_in_two_dimensions_and_ends_at_constant_flux():
    space = fk.links((8, 8), fk.U1())
    U = fk.priors.ExactGauge2D(space, beta=3.0).sample(200, testing.seeded(6)).double()
    Q = fk.topological_charge(space, U)
    assert Q.abs().max() >= 2
    history = obs.flow_history(space, U, [fk.topological_charge, obs.energy_density()], (0.0, 1.0, 30.0), step=0.05)
    assert torch.equal(history[:, 0, 2], history[:, 0, 1])  # smooth fields keep it; rough ones may lose it before
    assert (history[:, 0, 1] == Q).double().mean() > 0.95
    end = 1 - (2 * math.pi * history[:, 0, 2] / space.volume).cos()
    assert (history[:, 1, 2] - end).abs().max() < 1e-8
    assert torch.equal(obs.flowed(fk.topological_charge, 1.0, step=0.05)(space, U), history[:, 0, 1])


def constant_flux(lattice, planes):
    """SU(2) links with the plaquette exp(i phi sigma_3) in some planes, phi = 2 pi over their area."""
    angles = torch.zeros(4, *lattice, dtype=F64)
    x = torch.meshgrid(*map(torch.arange, lattice), indexing="ij")
    for mu, nu in planes:
        phi = 2 * math.pi / (lattice[mu] * lattice[nu])
        angles[nu] += phi * x[mu]
        angles[mu] -= torch.where(x[mu] == lattice[mu] - 1, phi * lattice[mu] * x[nu], 0)
    w = torch.zeros(1, 4, *lattice, 3, dtype=F64)
    w[0, ..., 2] = 2 * angles
    return fk.SUN(2).exp(w)


def test_the_clover_charge_of_a_flowed_field_of_charge_two():
    """Constant fluxes in two planes: F = sin phi, and the charge V sin^2 phi / (2 pi^2), nearly 2."""
    space = fk.links((4, 4, 4, 4), fk.SUN(2))
    U = constant_flux(space.lattice, [(0, 1), (2, 3)])
    s = math.sin(2 * math.pi / 16)
    exact = 256 * s**2 / (2 * math.pi**2)
    assert float(fk.topological_charge(space, U)) == pytest.approx(exact, rel=1e-10)
    assert float(obs.energy_density("clover")(space, U)) == pytest.approx(4 * s**2, rel=1e-10)
    rough = space.group.move(U, 0.3 * torch.randn(1, *space.algebra_shape, generator=testing.seeded(7), dtype=F64), 1.0)
    measured = obs.flowed(fk.topological_charge, 1.0, tolerance=1e-3)
    assert abs(float(fk.topological_charge(space, rough)) - exact) > 0.1
    assert float(measured(space, rough)) == pytest.approx(exact, rel=0.02)


SMEARINGS = {
    "ape": partial(smearing.ape, alpha=0.6, steps=2),
    "stout": partial(smearing.stout, rho=0.11, steps=2),
    "hyp": smearing.hyp,
    "flow": partial(smearing.wilson_flow, t=0.2, step=0.1),
    "Symanzik flow": partial(smearing.wilson_flow, t=0.1, step=0.1, c1=-1 / 12),
}


@pytest.mark.parametrize("smear", SMEARINGS.values(), ids=SMEARINGS)
@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("lattice", [(3, 4), (4, 3, 2), (3, 2, 2, 2)], ids=str)
def test_smearing_commutes_with_gauge_transformations(lattice, group, smear):
    space = fk.links(lattice, group)
    U = smooth(space, 0.5, n=2)
    act = testing.symmetry(space, "gauge", testing.seeded(8))
    smeared = smear(space, U)
    assert testing.difference(group, smear(space, act(U)), act(smeared)).abs().max() < 1e-11
    assert group.defect(smeared).max() < 1e-12
    assert (fk.plaquette(space, smeared) > fk.plaquette(space, U)).all()


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_weak_smearing_is_linear_in_its_weight(group):
    """To first order APE of alpha is stout of rho = alpha / (number of staples), and both a step of the flow."""
    space = fk.links((4, 3, 2), group)
    U = smooth(space, 0.2)
    velocity = group.tangent(group.compose(smearing.wilson_flow(space, U, 1e-6), group.inverse(U))) / 1e-6
    for rho in (1e-3, 1e-4):
        stout = group.tangent(group.compose(smearing.stout(space, U, rho), group.inverse(U))) / rho
        assert (stout - velocity).abs().max() < 2e-3 * rho / 1e-3
    weak = smooth(space, 1e-4)  # APE normalises the mean, which weak fields do not feel
    change = [smear(space, weak) for smear in (partial(smearing.ape, alpha=4e-2), partial(smearing.stout, rho=1e-2))]
    assert testing.difference(group, *change).abs().max() < 1e-9
    assert torch.allclose(smearing.stout(space, U, 0.0), U, atol=1e-15)
    assert testing.difference(group, smearing.ape(space, U, 0.0), U).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["ape", "stout", "hyp"])
def test_spatial_smearing_is_smearing_of_each_time_slice(name):
    space, slice_ = fk.links((2, 3, 4, 2), fk.SUN(2)), fk.links((3, 4, 2), fk.SUN(2))
    U, smear = smooth(space), getattr(smearing, name)
    spatial = smear(space, U, directions=(1, 2, 3))
    assert torch.equal(spatial[:, 0], U[:, 0])
    for t in range(2):
        assert torch.allclose(spatial[:, 1:, t], smear(slice_, U[:, 1:, t]), atol=1e-13)


def test_in_two_dimensions_hyp_is_ape():
    space = fk.links((3, 4), fk.SUN(3))
    U = smooth(space)
    assert torch.equal(smearing.hyp(space, U, (0.4,)), smearing.ape(space, U, 0.4))
    observed = obs.smeared(fk.plaquette, partial(smearing.ape, alpha=0.4), "ape")
    assert torch.equal(observed(space, U), fk.plaquette(space, smearing.ape(space, U, 0.4)))
    assert observed.name == "plaquette_ape"


def test_what_is_not_defined_is_refused():
    space, line = fk.links((3, 4, 2), fk.U1()), fk.links((4,), fk.U1())
    U, one = torch.zeros(1, 3, 3, 4, 2), torch.zeros(1, 1, 4)
    for call, message in [
        (lambda: smearing.hyp(space, U, (0.4,)), r"hyp in 3 directions takes 2 alphas; got \(0.4,\)"),
        (lambda: smearing.ape(space, U, directions=(1,)), r"ape needs two directions or more; got \[1\]"),
        (lambda: smearing.stout(space, U, directions=(1, 3)), "needs one of the directions 0 to 2, .*; got 3"),
        (lambda: smearing.wilson_flow(line, one, 1.0), "The Wilson flow needs plaquettes; got Links U1 on 4"),
        (lambda: smearing.wilson_flow(space, U, 1.0, tolerance=1e-7), "tolerance of the Wilson flow of torch.float32"),
        (lambda: smearing.flow_fields(space, U, (1.0, 0.5)), r"Flow times do not fall; got \(1.0, 0.5\)"),
        (lambda: obs.flow_history(space, U, [], (1.0,)), "flow_history takes observables and flow times"),
        (lambda: obs.energy_density()(line, one), "has no plane and so no energy density"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()

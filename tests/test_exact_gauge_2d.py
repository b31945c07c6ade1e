"""Two-dimensional gauge theory drawn exactly: density, means against exact values at every site, what it serves."""

import functools
import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.exact.expansion import ratios, times_box
from flowkit.geometry import gauge_transform, plaquettes, rectangle
from flowkit.geometry.loops import polyakov
from flowkit.groups import su3_plaquettes
from flowkit.groups.rejection import first_accepted
from flowkit.priors.bridge import Bridge, ordered_product

F64 = torch.float64
DRAWS = 3000
U1, SU2, SU3 = fk.U1(), fk.SUN(2), fk.SUN(3)
THEORIES = [((4, 5), U1, 3.0), ((5, 4), SU2, 5.0), ((3, 4), SU3, 9.0)]
theories = pytest.mark.parametrize(("lattice", "group", "beta"), THEORIES, ids=lambda value: str(value))


@functools.cache
def drawn(lattice, group, beta, n=DRAWS):
    prior = fk.priors.ExactGauge2D(fk.links(lattice, group), beta).double()
    return prior.space, prior.sample(n, testing.seeded(3))


def pulls(values, expected):
    """Deviations of the means of columns, [draws, ...] -> [...], in standard errors."""
    return (values.mean(0) - expected) / (values.std(0) / math.sqrt(len(values)))


def require_pulls(values, expected):
    found = pulls(values, expected)
    assert found.abs().max() < 4.5
    if found.numel() > 4:
        assert found.square().mean().sqrt() < 1.7  # of numbers that are correlated


@theories
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_the_density_is_that_of_the_theory(lattice, group, beta, dtype):
    """-S - ln Z, of draws and of any field, to rounding errors of a plaquette."""
    action = fk.Wilson(fk.links(lattice, group), beta)
    prior = fk.priors.ExactGauge2D(action.space, beta).to(dtype)
    x, logq = prior.sample_and_log_prob(7, testing.seeded())
    assert x.dtype == group.field_dtype(dtype)
    assert logq.dtype == dtype
    wide = group.field_dtype(F64)
    bound = (1e-12 if dtype == F64 else 1e-6 * beta) * action.space.volume
    assert (logq + action(x.to(wide)) + action.log_z()).abs().max() < bound
    other = action.space.haar(7, testing.seeded(), dtype)
    assert (prior.log_prob(other) + action(other.to(wide)) + action.log_z()).abs().max() < bound


@theories
def test_loops_at_every_site(lattice, group, beta):
    """The comb of the construction has seams, and the law of the fields has none."""
    space, U = drawn(lattice, group, beta)
    for r, t in ((1, 1), (2, 2), (1, 3)):
        traces = group.trace(rectangle(space, U, 0, 1, r, t))[:, 0]
        require_pulls(traces, group.wilson_loop_2d(beta, r * t, space.volume))


def polyakov_correlator(group, beta, area, volume):
    """<Tr L(0) Tr L(R)^*> of two parallel Polyakov loops, between which lie A and V - A plaquettes."""
    if group == U1:
        return exact.u1_wilson_loop(beta, area, volume)
    u = ratios(group.n, beta, volume)
    pairs = [(rep, new) for rep in u for new in times_box(rep, 1) if new in u]
    return sum(u[a] ** (volume - area) * u[b] ** area for a, b in pairs) / sum(x**volume for x in u.values())


@theories
@pytest.mark.parametrize("mu", [0, 1])
def test_polyakov_loops(lattice, group, beta, mu):
    """Their mean vanishes by the centre symmetry; |Tr L|^2 and correlations at a distance R have exact values."""
    space, U = drawn(lattice, group, beta)
    L = polyakov(space, U, mu).squeeze(2 + mu)[:, 0]
    trace = torch.polar(torch.ones_like(L), L) if group == U1 else L.diagonal(dim1=-2, dim2=-1).sum(-1)
    require_pulls(trace.real, 0.0)
    for distance in (0, 1, 2)[group == U1 :]:
        both = (trace * trace.roll(-distance, 1).conj()).real
        require_pulls(both, polyakov_correlator(group, beta, distance * space.lattice[mu], space.volume))


def test_topological_charge():
    """<Q^2> and P(Q), at a coupling where a Markov chain would have to tunnel."""
    space, U = drawn((4, 5), U1, 3.0)
    Q = fk.topological_charge(space, U)
    require_pulls(Q.square(), exact.u1_charge_squared(3.0, 20))
    charges = [-1, 0, 1]
    expected = torch.as_tensor(exact.u1_charge_distribution(3.0, 20, charges))
    require_pulls(torch.stack([(q == Q).to(F64) for q in charges], 1), expected)


@theories
def test_draws_are_gauge_invariant(lattice, group, beta):
    """A link alone is uniform on the group, at the seams as elsewhere; the density does not change."""
    space, U = drawn(lattice, group, beta)
    trace = group.trace(U)
    require_pulls(trace, 0.0)
    require_pulls(trace.square(), {1: 1 / 2, 2: 1 / 4, 3: 1 / 18}[group.dimension])
    prior = fk.priors.ExactGauge2D(space, beta).double()
    g = group.haar((5, 1, *lattice), testing.seeded(), F64)
    moved = gauge_transform(space, U[:5], g)
    assert (prior.log_prob(moved) - prior.log_prob(U[:5])).abs().max() < 1e-11


@pytest.mark.parametrize(
    ("lattice", "group", "beta"),
    [((1, 1), SU2, 2.0), ((1, 4), U1, 2.0), ((3, 1), SU3, 5.0), ((2, 2), SU3, 6.0), ((2, 1), SU2, 4.0)],
    ids=str,
)
def test_lattices_with_short_sides(lattice, group, beta):
    """The mean action is -d ln Z / d ln beta, of a torus whose plaquettes may hold one link twice."""
    space, U = drawn(lattice, group, beta)
    h = 1e-4
    slope = (group.log_z_2d(beta + h, space.volume) - group.log_z_2d(beta - h, space.volume)) / (2 * h)
    require_pulls(group.trace(plaquettes(space, U)).flatten(1).sum(1)[:, None], slope)


def test_no_coupling_is_haar_measure_and_a_large_volume_is_exact():
    prior = fk.priors.ExactGauge2D(fk.links((3, 4), SU3), 0.0).double()
    x, logq = prior.sample_and_log_prob(500, testing.seeded())
    assert logq.abs().max() < 1e-12
    require_pulls(SU3.trace(x), 0.0)
    action = fk.Wilson(fk.links((128, 128), SU2), 8.0)
    prior = fk.priors.ExactGauge2D(action.space, 8.0)
    x, logq = prior.double().sample_and_log_prob(8, testing.seeded())
    assert SU2.defect(x).max() < 1e-12
    assert abs(pulls(fk.plaquette(action.space, x), action.exact("plaquette"))) < 6  # Student's t of 7
    assert (logq + action(x) + action.log_z()).abs().max() < 1e-12 * action.space.volume


# -- laws of plaquettes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [U1, SU2, SU3], ids=str)
@pytest.mark.parametrize("beta", [0.0, 1.0, 12.0, 60.0])
def test_characters_of_one_plaquette(group, beta):
    """<chi_r> / d_r = u_r / u_0 in every representation up to three boxes."""
    chi = group.characters(3)
    P = group.one_plaquette((20_000,), beta, testing.seeded(), F64)
    if group == U1:
        expected = exact.u1_decimated(beta, 1)[:4].tolist()
    else:
        known = exact.sun_decimated(group.n, beta, 1)
        pairs = [(known.get((*rep, 0), 0.0), d) for rep, d in zip(chi.reps, chi.dimensions, strict=True)]
        expected = [c / d for c, d in pairs]
    require_pulls(chi(P)[:, 1:], torch.tensor(expected[1:], dtype=F64))


@pytest.mark.parametrize("group", [U1, SU2, SU3], ids=str)
def test_dtype_and_shape_of_plaquettes(group):
    """The default dtype where none is given, also for a coupling that is a whole number."""
    P = group.one_plaquette((2, 3), 4, testing.seeded())
    assert P.shape == (2, 3, *group.matrix_shape)
    assert P.dtype == group.field_dtype(torch.get_default_dtype())


@pytest.mark.parametrize("b", [0.0, 0.7, 4.0, 30.0])
def test_the_bound_of_cells_holds(b):
    """At random points, at corners and in the middle of edges."""
    table, count = su3_plaquettes.cells(b, torch.device("cpu")), su3_plaquettes.CELLS
    low, high = table.edges[:-1], table.edges[1:]
    bound = table.bound.view(count, count) * (1 + 1e-12)
    shares = [(u, v) for u in (0.0, 0.5, 1.0) for v in (0.0, 0.5, 1.0)] + torch.rand(
        20, 2, generator=testing.seeded(), dtype=F64
    ).tolist()
    for u, v in shares:
        x, y = torch.lerp(low, high, u)[:, None], torch.lerp(low, high, v)[None]
        assert (su3_plaquettes.density((x, y, -x - y), b) <= bound).all()
    assert table.rate > 0.75


def test_the_highest_cosine_of_an_interval():
    low = 20 * torch.rand(2000, generator=testing.seeded(), dtype=F64) - 10
    high = low + 3 * torch.rand(2000, generator=testing.seeded(2), dtype=F64)
    found = torch.stack([torch.lerp(low, high, k / 1000).cos() for k in range(1001)]).amax(0)
    gap = su3_plaquettes.highest_cosine(low, high) - found
    assert gap.min() > -1e-15
    assert gap.max() < 0.0015**2 / 2


@pytest.mark.parametrize("angles", [(0.3, -0.5), (2.9, 0.4), (2.0, 2.1), (0.0, 0.0)], ids=str)
def test_the_first_of_two_plaquettes_of_su3_at_a_given_product(angles):
    """Against an average over Haar measure with weights, also near the centre, where 1 + D has negative roots."""
    n, beta = 20_000, 3.0
    theta = torch.tensor([*angles, -sum(angles)], dtype=F64)
    V = SU3.haar((), testing.seeded(2), F64)
    D = V @ torch.diag(torch.polar(torch.ones_like(theta), theta)) @ V.mH
    X = SU3.first_of_two(D.expand(n, 3, 3).contiguous(), beta, testing.seeded())
    H = SU3.haar((10 * n,), testing.seeded(), F64)

    def weigh(x):
        return SU3.trace(x) + SU3.trace(x.mH @ D)

    w = (beta * weigh(H)).exp()
    for f in (SU3.trace, lambda x: SU3.trace(x @ D), lambda x: SU3.trace(x).square(), lambda x: x[:, 0, 1].real):
        mean = (w * f(H)).sum() / w.sum()
        error = (w * (f(H) - mean)).square().sum().sqrt() / w.sum()
        gap = f(X).mean() - mean
        assert gap.abs() < 4.5 * (error.square() + f(X).var() / n).sqrt()


@pytest.mark.parametrize(("group", "beta"), [(U1, 4.0), (SU2, 4.0), (SU3, 6.0)], ids=str)
def test_plaquettes_of_a_bridge(group, beta):
    """They have the given product, and one mean that is a slope of the weight of all of them."""
    bridge, n, h = Bridge(group, beta, 1000), 4000, 1e-4
    D = group.exp(0.4 * torch.randn(group.algebra_shape(group.matrix_shape), generator=testing.seeded(), dtype=F64))
    P = bridge.draw(group.identity((n,), D) * 0 + D, testing.seeded())
    assert P.shape == (n, bridge.size, *group.matrix_shape)
    assert bridge.size > 4
    product = ordered_product(group, P)
    testing.require_same_field(group, product, D.expand(product.shape), "the product of the bridge", 1e-12)
    up, down = (group.decimated_log_weight(D, b, bridge.size) for b in (beta + h, beta - h))
    require_pulls(group.trace(P), (up - down) / (2 * h) / bridge.size)


def test_the_first_accepted_proposal_is_of_its_own_law():
    """Laws with very different acceptance, each uniform on [0, chance]."""
    n = 4000
    chance = torch.tensor([0.9, 0.003], dtype=F64)

    def propose(which):
        u = torch.rand(len(which), generator=rng, dtype=F64)
        return (u, which), (u < chance[which % 2]).to(F64)

    rng = testing.seeded()
    u, which = first_accepted(n, propose, rng, tries=2.0)
    assert torch.equal(which, torch.arange(n))
    for parity in (0, 1):
        require_pulls(u[parity::2, None], chance[parity] / 2)


def test_rejection_goes_on_as_long_as_it_takes():
    """2,000 rounds of one law that is hardly ever accepted."""
    rounds = 0

    def propose(which):
        nonlocal rounds
        rounds += 1
        return (which,), torch.full((len(which),), float(rounds > 2000), dtype=F64)

    (found,) = first_accepted(1, propose, testing.seeded(), tries=3.0, width=4)
    assert rounds == 2001
    assert found.tolist() == [0]


# -- what it serves for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "beta"), [(U1, 2.0), (SU2, 3.0), (SU3, 5.0)], ids=str)
def test_independence_metropolis_accepts_everything(group, beta):
    action = fk.Wilson(fk.links((4, 5), group), beta)
    prior = fk.priors.ExactGauge2D(action.space, beta)
    ensemble = fk.run(fk.IndependenceMetropolis(prior, action), n=40, chains=8, rng=1, observe=[fk.plaquette])
    assert ensemble.series["accept"].double().mean() > 0.995  # of actions summed in single precision
    assert ensemble.mean(fk.plaquette).within(sigmas=4)


def test_starts_of_chains_are_thermalised():
    action = fk.Wilson(fk.links((4, 6), SU2), 4.0)
    start = fk.priors.ExactGauge2D(action.space, 4.0).sample(512, testing.seeded())
    ensemble = fk.run(fk.HMC(action), n=4, start=start, rng=1, observe=[fk.plaquette])
    for step in ensemble.series["plaquette"].double():
        require_pulls(step[:, None], action.exact("plaquette"))


def test_the_prior_of_an_action_with_a_further_term():
    """A further Wilson term, so that the exact answer is known."""
    space = fk.links((4, 5), U1)
    action = fk.Wilson(space, 2.0) + fk.Wilson(space, 0.3)
    ensemble = fk.importance_sample(fk.priors.ExactGauge2D(space, 2.0), action, 4000, rng=1)
    assert ensemble.ess().value == pytest.approx(
        math.exp(2 * U1.log_z_2d(2.3, 20) - U1.log_z_2d(2.0, 20) - U1.log_z_2d(2.6, 20)), rel=0.05
    )
    assert ensemble.mean(fk.plaquette).within(U1.wilson_loop_2d(2.3, 1, 20), sigmas=4)


def test_the_coarsest_prior_of_a_multiscale_model():
    """With Haar links in between, the coarse part has the law of the coarse theory."""
    coarse = fk.priors.ExactGauge2D(fk.links((3, 4), SU2), 2.0).double()
    doubling = fk.multiscale.LinkDoubling(coarse.space, mu=0)
    prior = fk.priors.Embedded(coarse, doubling)
    x, logq = prior.sample_and_log_prob(1000, testing.seeded())
    testing.require_close(logq, coarse.log_prob(doubling.split(x)[0]), "log q of the coarse part")
    assert prior.on(prior.space.on((12, 8))).coarse.space.lattice == (6, 8)


def test_a_group_that_promises_more_than_it_knows(monkeypatch):
    for name in ("one_plaquette_log_z", "log_z_2d"):
        with monkeypatch.context() as patch:
            patch.setattr(fk.U1, name, lambda *_: None)
            with pytest.raises(
                ValueError, match=rf"U\(1\) has solved_2d = True, and then needs {name} too; it gave None"
            ):
                fk.priors.ExactGauge2D(fk.links((4, 4), U1), 1.0)


def test_description():
    prior = fk.priors.ExactGauge2D(fk.links((4, 5), SU3), 6)
    assert prior.describe() == {"kind": "ExactGauge2D", "space": prior.space.describe(), "beta": 6.0}
    assert "Links SU3 on 4x5; beta=6; an exact solution in two dimensions, not a learned flow" in repr(prior)
    assert prior.on(fk.links((3, 3), SU3)).beta == 6.0
    assert prior.sample(0, testing.seeded()).shape == (0, *prior.space.shape)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: fk.priors.ExactGauge2D(fk.sites((4, 4)), 1.0), "ExactGauge2D lives on links in two dimensions; got Sites"),
    (lambda: fk.priors.ExactGauge2D(fk.links((4, 4, 4), U1), 1.0), "links in two dimensions; got Links U1 on 4x4x4"),
    (lambda: fk.priors.ExactGauge2D(fk.links((4, 4), fk.SUN(4)), 1.0),
     "needs a group whose plaquettes are drawn exactly, such as U1, SU2 or SU3; got Links SU4 on 4x4"),
    (lambda: fk.priors.ExactGauge2D(fk.links((4, 4), U1), -1.0), "needs beta, a finite number >= 0; got -1.0"),
    (lambda: fk.priors.ExactGauge2D(fk.links((4, 4), U1), math.nan), "needs beta, a finite number >= 0; got nan"),
    (lambda: fk.priors.ExactGauge2D(fk.links((4, 4), U1), "6"), "needs beta, a finite number >= 0; got '6'"),
    (lambda: fk.SUN(4).one_plaquette((2,), 1.0, testing.seeded()), r"SU\(4\) does not say how a plaquette is drawn"),
    (lambda: fk.SUN(4).first_of_two(torch.eye(4)[None], 1.0, testing.seeded()), r"SU\(4\) does not say how two plaq"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

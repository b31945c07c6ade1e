"""Flows: densities of their own draws, other lattices, composition, unbiased weights, exact means at small volume."""

import json
import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, stats, testing, transforms
from flowkit.priors import Sample
from flowkit.testing import example
from flowkit.train import losses

F64 = torch.float64


def trained(flow, action, steps=60, batch=256, lr=1e-2, seed=1):
    """A flow in float64 after a few steps: near enough to the target for weights of finite variance."""
    torch.manual_seed(seed)
    return fk.Trainer(flow.double(), action, batch=batch, lr=lr).fit(steps, progress=False).flow


FLOWS = {
    "example": lambda: example(fk.Flow),
    "scalar": lambda: fk.scalar_flow(fk.sites((4, 2))),
    "scalar 3D": lambda: fk.scalar_flow(fk.sites((2, 4, 2))),
    "gauge": lambda: fk.gauge_flow(fk.links((4, 2), fk.U1()), bins=4, hidden=(4,)),
    "gauge, odd sides": lambda: fk.gauge_flow(fk.links((6, 5), fk.U1()), bins=3, hidden=(4,)),
    "gauge, two odd sides": lambda: fk.gauge_flow(fk.links((3, 2), fk.U1()), bins=3, hidden=(4,)),
    "gauge 3D": lambda: fk.gauge_flow(fk.links((4, 4, 2), fk.U1()), bins=3, hidden=(4,)),
    "SU2": lambda: matrix_flow((4, 2), 2, updates=2),
    "SU3, odd sides": lambda: matrix_flow((3, 5), 3),
    "SU4": lambda: matrix_flow((2, 3), 4),
    "SU3 3D": lambda: matrix_flow((2, 4, 2), 3),
    "SU2 4D": lambda: matrix_flow((2, 2, 2, 4), 2),
}
GAUGE = [name for name in FLOWS if name.startswith(("gauge", "SU"))]


def matrix_flow(sides, n, updates=1):
    return fk.gauge_flow(fk.links(sides, fk.SUN(n)), bins=3, hidden=(4,), updates=updates)


def check_density(name):
    torch.manual_seed(3)
    flow = FLOWS[name]()
    for f, tolerance in ((flow, 2e-3), (testing.randomised(flow, testing.seeded()), 1e-7)):
        draw = f.sample_and_log_prob(4, testing.seeded())
        assert isinstance(draw, Sample)
        f.space.check(draw.x)
        testing.require_close(f.log_prob(draw.x), draw.logq, name, tolerance)
        assert torch.equal(f.sample(4, testing.seeded()), draw.x)


@pytest.mark.parametrize("name", FLOWS)
def test_density_of_its_own_draws(name):
    """log_prob(draw.x) is draw.logq, in both precisions, as made and with other weights."""
    check_density(name)


@pytest.mark.parametrize("name", GAUGE)
def test_gauge_flows_are_gauge_invariant(name):
    flow = FLOWS[name]()
    testing.check_equivariance(flow.transform, testing.symmetry(flow.space, "gauge", testing.seeded(5)))
    x = testing.fields(flow.space, 3, testing.seeded())
    flow, act = testing.randomised(flow, testing.seeded()), testing.symmetry(flow.space, "gauge", testing.seeded(6))
    testing.require_close(flow.log_prob(act(x)), flow.log_prob(x), "log q under gauge", 1e-8)


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2)], ids=str)
@pytest.mark.parametrize("sides", [(2, 2), (4, 4), (3, 2), (6, 5), (8, 6), (7, 3)])
def test_gauge_flow_moves_every_plaquette(sides, group):
    """All but the one that the others fix: V - 1 links move, each in one coupling."""
    flow = fk.gauge_flow(fk.links(sides, group), bins=2, hidden=(2,))
    moved = torch.cat([step.active for step in flow.transform.steps])
    assert len(moved) == math.prod(sides) - 1
    assert len(moved.unique()) == len(moved)


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2), fk.SUN(3)], ids=str)
@pytest.mark.parametrize("sides", [(4, 4, 2), (2, 2, 2, 4)], ids=str)
def test_gauge_flow_moves_every_link_beyond_two_dimensions(sides, group):
    """Each link in one coupling, and half of a direction in each."""
    flow = fk.gauge_flow(fk.links(sides, group), bins=2, hidden=(2,))
    assert len(flow.transform.steps) == 2 * len(sides)
    moved = torch.cat([step.active for step in flow.transform.steps])
    assert sorted(moved.tolist()) == list(range(len(sides) * math.prod(sides)))
    assert {len(step.active) for step in flow.transform.steps} == {math.prod(sides) // 2}


def test_gauge_flow_starts_near_haar_measure():
    """A fresh flow moves links a little, by its learned updates: ln q is near 0."""
    for n in (2, 3):
        torch.manual_seed(1)
        flow = fk.gauge_flow(fk.links((4, 4), fk.SUN(n)), bins=4, hidden=(8,)).double()
        logq = flow.sample_and_log_prob(200, testing.seeded()).logq.detach()
        assert 0 < logq.abs().max() < 4
        assert stats.ess(-logq).value > 0.5


@pytest.mark.parametrize("name", ["scalar", "gauge"])
def test_logdet_of_the_whole_flow(name):
    torch.manual_seed(3)
    flow = testing.randomised(FLOWS[name](), testing.seeded(), 0.2)
    x = testing.fields(flow.space, 2, testing.seeded())
    testing.require_close(testing.jacobian(flow.transform, x), flow.transform(x)[1], name, 1e-8)


def test_on_a_bigger_volume():
    """Weights are copied bit for bit and not shared; the new flow knows its own density and precision."""
    for name, sides in (("scalar", (8, 4)), ("gauge", (8, 4)), ("gauge 3D", (4, 4, 4)), ("SU2", (8, 4)),
                        ("SU3, odd sides", (6, 5)), ("SU3 3D", (4, 4, 4)), ("SU2 4D", (4, 2, 2, 4))):  # fmt: skip
        flow = testing.randomised(FLOWS[name](), testing.seeded())
        big = flow.on(flow.space.on(sides))
        assert big.space.lattice == sides
        if isinstance(flow.transform, fk.Chain):
            assert len(big.transform.steps) == len(flow.transform.steps)
        state = big.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in flow.state_dict().items())
        assert not {p.data_ptr() for p in flow.parameters()} & {p.data_ptr() for p in big.parameters()}
        draw = big.sample_and_log_prob(2, testing.seeded())
        testing.require_close(big.log_prob(draw.x), draw.logq, name, 1e-7)
        assert draw.logq.dtype == draw.x.real.dtype == F64


def test_dtype_and_device_are_those_of_the_prior():
    space = fk.sites((4, 2))
    flow = fk.Flow(fk.Normal(space).double(), transforms.Affine(space).double())
    assert flow.dtype == flow.sample_and_log_prob(2, testing.seeded()).x.dtype == F64
    assert flow.on(fk.sites((2, 2))).dtype == F64


def test_a_flow_is_a_prior():
    """The densities of a flow of a flow are those of the chained transform."""
    space = fk.sites((4, 2))
    a, b = (testing.randomised(fk.CheckerboardCoupling(space, k, start=1.0), testing.seeded(k)) for k in (0, 1))
    nested = fk.Flow(fk.Flow(fk.Normal(space), a), b).double()
    flat = fk.Flow(fk.Normal(space), fk.Chain(a, b)).double()
    one, other = nested.sample_and_log_prob(5, testing.seeded()), flat.sample_and_log_prob(5, testing.seeded())
    assert (one.x - other.x).abs().max() < 1e-12
    assert (one.logq - other.logq).abs().max() < 1e-10
    assert (nested.log_prob(one.x) - one.logq).abs().max() < 1e-8
    testing.check_prior(nested)


def test_pullback_of_the_trained_theory_is_the_prior():
    """Where q = p, the pulled-back action is that of the prior: S(f(z)) - logdet + log r(z) = -ln Z."""
    space = fk.sites((4, 2))
    flow = fk.Flow(
        fk.FreeField(space, m2=0.8), testing.randomised(transforms.Affine(space, shift=False), testing.seeded())
    )
    flow = flow.double()
    s = float(flow.transform.log_scale.detach().exp())
    target = fk.actions.Phi4Kappa(space, kappa=2 / s**2, m_sq=2 * 0.8 / s**2, lam=0.0)  # the free field, rescaled by s
    z = testing.fields(space, 5, testing.seeded())
    excess = flow.pullback(target)(z) + flow.prior.log_prob(z)
    assert (excess + target.log_z()).abs().max() < 1e-5


def check_weights(name, action, n=20_000):
    """E_q[w] = Z, and a reweighted mean is the exact one: both within 3.5 errors, with weights worth something."""
    flow = flow_for(name, action)
    with torch.no_grad():
        x, logq = flow.sample_and_log_prob(n, testing.seeded(9))
        logw = -action(x) - logq
    ess = stats.ess(logw)
    assert 0.1 < ess.value <= 1, f"{name}: ESS {ess}"
    z = stats.log_z(logw)
    assert abs(z.pull(action.log_z())) < 3.5, f"{name}: ln Z = {z}, {action.log_z():.5f} is exact"
    kinds = {"Real": [fk.phi_squared], "U1": [fk.plaquette, fk.charge_squared]}
    loops = [fk.plaquette] + [fk.wilson_loop(2, 2)] * (min(action.space.lattice) > 2)
    for obs in kinds.get(action.space.group.name, loops):
        mean = stats.reweighted(obs(action.space, x), logw, S=0.0)
        assert abs(mean.pull(action.exact(obs.name))) < 3.5, f"{name}: <{obs.name}> = {mean}"
    return x, logw


_flows = {}


def flow_for(name, action):
    if name not in _flows:
        torch.manual_seed(3)
        gauge = action.space.kind == "links"
        flow = fk.gauge_flow(action.space, 4, (6,)) if gauge else fk.scalar_flow(action.space, 2, 4, (6,))
        _flows[name] = trained(flow, action, 50)
    return _flows[name]


THEORIES = {
    "U1 4x2": fk.Wilson(fk.links((4, 2), fk.U1()), beta=1.5),
    "U1 3x2": fk.Wilson(fk.links((3, 2), fk.U1()), beta=1.5),
    "SU2 2x2": fk.Wilson(fk.links((2, 2), fk.SUN(2)), beta=2.0),
    "SU2 3x3": fk.Wilson(fk.links((3, 3), fk.SUN(2)), beta=1.5),
    "SU3 3x2": fk.Wilson(fk.links((3, 2), fk.SUN(3)), beta=2.0),
    "free": fk.Phi4(fk.sites((4, 2)), m2=0.5, lam=0.0),
}


@pytest.mark.parametrize("name", THEORIES)
def test_weights_are_unbiased(name):
    check_weights(name, THEORIES[name])


def test_interacting_scalars_against_the_transfer_matrix():
    action = fk.Phi4(fk.sites((2, 4)), m2=-1.0, lam=0.8)
    known = exact.phi4_transfer_matrix((2, 4), -1.0, 0.8)
    flow = trained(fk.scalar_flow(action.space, 2, 4, (6,)), action, 60)
    with torch.no_grad():
        x, logq = flow.sample_and_log_prob(20_000, testing.seeded(9))
        logw = -action(x) - logq
    assert abs(stats.log_z(logw).pull(known.log_z)) < 3.5
    for obs, value in ((fk.phi_squared, known.phi_squared), (fk.susceptibility, known.susceptibility)):
        mean = stats.reweighted(obs(action.space, x), logw, S=0.0)
        assert abs(mean.pull(value)) < 3.5, f"<{obs.name}> = {mean}, {value:.5f} is exact"


def test_weights_in_three_dimensions():
    """Z from a flow that knows nothing of the action, against Z from Haar links."""
    space = fk.links((2, 2, 2), fk.U1())
    torch.manual_seed(1)
    flow = fk.gauge_flow(space, bins=3, hidden=(4,)).double()
    action = fk.Wilson(space, beta=0.3)
    with torch.no_grad():
        x, logq = flow.sample_and_log_prob(4000, testing.seeded())
        U = space.haar(40_000, testing.seeded(2), F64)
        z = stats.log_z(-action(x) - logq)
        reference = stats.log_z(-action(U))
    assert abs(z.value - reference.value) < 4 * math.hypot(z.error, reference.error)


def test_gradients_reach_every_parameter():
    for name in ("scalar", "gauge", "gauge 3D", "SU2", "SU3 3D", "SU2 4D"):
        flow = testing.randomised(FLOWS[name](), testing.seeded())
        action = fk.Wilson(flow.space, 1.0) if flow.space.kind == "links" else fk.Phi4(flow.space, 0.5, 0.5)
        testing.require_gradients(flow, losses.path_gradient(flow, action, 8, testing.seeded()).value, name)
        testing.require_gradients(flow, losses.reverse_kl(flow, action, 8, testing.seeded()).value, name)


def test_description_is_plain_data():
    for make in FLOWS.values():
        flow = make()
        data = json.loads(json.dumps(flow.describe()))
        assert data["parameters"] == sum(p.numel() for p in flow.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: fk.Flow(fk.Normal(fk.sites((4, 2))), transforms.Affine(fk.sites((2, 4)))),
            "prior and transform of one space",
        ),
        (lambda: fk.gauge_flow(fk.sites((4, 4))), "gauge_flow builds flows for links of U1"),
        (lambda: fk.gauge_flow(fk.links((4,), fk.SUN(2))), "flows for links of U1 or SUN in two or more dimensions"),
        (lambda: fk.gauge_flow(fk.links((4, 1), fk.SUN(2))), "gauge_flow needs sides of at least 2"),
        (lambda: fk.gauge_flow(fk.links((4, 3, 4), fk.SUN(3))), "even ones beyond two dimensions"),
        (
            lambda: fk.gauge_flow(fk.links((4, 4), fk.SUN(3)), updates=0),
            "gauge_flow needs updates, a whole number in .1, 1000. or None; got 0",
        ),
        (
            lambda: fk.gauge_flow(fk.links((4, 4), fk.U1()), updates=2),
            "gauge_flow takes updates for SU.N. alone; got 2 for U1",
        ),
        (
            lambda: fk.gauge_flow(fk.links((4, 4), fk.SUN(3)), bins=1),
            "needs bins, a whole number .* or None; got 1",
        ),
        (lambda: fk.gauge_flow(fk.links((4,), fk.U1())), "flows for links of U1 or SUN in two or more dimensions"),
        (lambda: fk.gauge_flow(fk.links((1, 4), fk.U1())), "gauge_flow needs sides of at least 2"),
        (lambda: fk.gauge_flow(fk.links((4, 4, 3), fk.U1())), "even ones beyond two dimensions"),
        (lambda: fk.scalar_flow(fk.sites((4, 3))), "A checkerboard needs even lattice sides"),
        (lambda: fk.scalar_flow(fk.links((4, 4), fk.U1())), "needs sites"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

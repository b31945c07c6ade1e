"""The force of a pullback: right, made in one pass forward and one back, and fit for HMC."""

import copy
import time

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.actions import Action, Pullback
from flowkit.models import multiscale_flow

pytestmark = pytest.mark.usefixtures("double")


def gauge(group, lattice=(2, 4), beta=1.3):
    space = fk.links(lattice, group)
    return fk.Wilson(space, beta), fk.gauge_flow(space, bins=4, hidden=(6,)).transform


def scalar(lattice=(4, 2)):
    space = fk.sites(lattice)
    return fk.Phi4(space, m2=-1.0, lam=1.0), fk.scalar_flow(space, layers=2, bins=4, hidden=(6,)).transform


def multiscale(group):
    space = fk.links((2, 4), group)
    return fk.Wilson(space, 1.3), multiscale_flow(space).flattened().transform


PAIRS = {
    "U1": lambda: gauge(fk.U1()),
    "U1 in 3D": lambda: gauge(fk.U1(), (2, 2, 4)),
    "SU2": lambda: gauge(fk.SUN(2)),
    "SU3": lambda: gauge(fk.SUN(3)),
    "scalar": scalar,
    "multiscale U1": lambda: multiscale(fk.U1()),
    "multiscale SU2": lambda: multiscale(fk.SUN(2)),
    "multiscale SU3": lambda: multiscale(fk.SUN(3)),
}


def pulled(name):
    torch.manual_seed(1)
    action, transform = PAIRS[name]()
    return action.pullback(testing.randomised(transform, testing.seeded(3), 0.2))


@pytest.mark.parametrize("name", PAIRS)
def test_it_is_the_derivative_of_the_action_in_z(name):
    """By autograd through exp, the map and the action, and by central differences along a direction of the group."""
    action = pulled(name)
    G, rng = action.space.group, testing.seeded(4)
    z = testing.fields(action.space, 4, rng)
    force = action.force(z)
    assert force.shape == (4, *action.space.algebra_shape)
    testing.require_close(force, Action.force(action, z), f"{name}: against autograd", 1e-9)
    w, step = torch.randn(force.shape, generator=rng), 1e-6
    ahead, behind = (action(G.compose(G.exp(s * step * w), z)).detach() for s in (1, -1))
    testing.require_close((force * w).flatten(1).sum(1), (behind - ahead) / (2 * step), f"{name}: differences", 1e-5)
    testing.require_independent_batch(lambda t: action.force(t).flatten(1), z, name)
    assert not force.requires_grad


@pytest.mark.parametrize("name", ["U1", "SU2", "SU3", "scalar"])
def test_single_precision(name):
    action = pulled(name)
    z = testing.fields(action.space, 3, testing.seeded(4))
    wanted = action.force(z)
    single = Pullback(action.action, copy.deepcopy(action.transform).float())
    came = single.force(z.to(action.space.group.field_dtype(torch.float32)))
    assert came.dtype == torch.float32
    testing.require_close(came.double(), wanted, f"{name} in float32", 1e-3)


# ---------------------------------------------------------------- no work twice


class CountedAction(fk.Wilson):
    values = forces = 0

    def __call__(self, x):
        type(self).values += 1
        return super().__call__(x)

    def force(self, x):
        type(self).forces += 1
        return super().force(x)


def test_one_pass_and_one_force_for_each_kick():
    """A trajectory of n kicks costs n forces of the theory and n + 1 passes, the last one for its action."""
    action, transform = gauge(fk.U1())
    counted = CountedAction(action.space, 1.3)
    passes = []
    transform.register_forward_hook(lambda *_: passes.append(1))
    hmc = fk.HMC(counted.pullback(transform), length=0.5, steps=5)
    state = hmc.init(hmc.start(3, testing.seeded(1)))
    passes.clear()
    CountedAction.values = CountedAction.forces = 0
    hmc.step(state, testing.seeded(2))
    assert (len(passes), CountedAction.forces, CountedAction.values) == (6, 5, 1)


def test_weights_are_constants(monkeypatch):
    """No gradient of a weight is computed, and none of them is touched."""
    torch.manual_seed(1)
    action, transform = gauge(fk.U1(), (2, 2, 4))

    def never(*_):
        raise AssertionError("a gradient of weights was computed")

    monkeypatch.setattr("flowkit.nets.convolution.site_weight_gradient", never)
    z = testing.fields(action.space, 2, testing.seeded(1))
    action.pullback(transform).force(z)
    assert all(p.requires_grad and p.grad is None for p in transform.parameters())
    with pytest.raises(AssertionError, match="gradient of weights"):
        transform(z)[1].sum().backward()  # the alarm works


def test_it_follows_training_and_dtype():
    """The weights of the moment count, in whatever precision they are."""
    action, transform = gauge(fk.U1())
    pull = action.pullback(transform)
    z = testing.fields(action.space, 2, testing.seeded(1))
    before = pull.force(z)
    with torch.no_grad():
        for p in transform.parameters():
            p.add_(0.3)
    after = pull.force(z)
    assert (after - before).abs().max() > 1e-2
    testing.require_close(after, Action.force(pull, z), "after an update")
    transform.float()
    assert pull.force(z.float()).dtype == torch.float32
    other = copy.deepcopy(pull)
    with torch.no_grad():
        for p in transform.parameters():
            p.zero_()
    testing.require_close(other.force(z.float()).double(), after, "a copy has weights of its own", 1e-3)


def test_a_map_that_moves_nothing_and_a_constant_volume():
    """Maps whose log-Jacobian has no graph, and plain functions, are maps too."""
    action = fk.Phi4(fk.sites((4,)), m2=1.0, lam=0.5)
    z = testing.fields(action.space, 3, testing.seeded(1))
    shifted = action.pullback(lambda t: (t + 1, torch.zeros(len(t))))
    testing.require_close(shifted.force(z), action.force(z + 1), "a shift")
    testing.require_close(action.pullback(lambda t: (t, torch.zeros(len(t)))).force(z), action.force(z), "identity")


# ---------------------------------------------------------------- HMC on it


@pytest.mark.parametrize("name", ["U1", "SU2", "SU3", "scalar"])
def test_trajectories_are_reversible(name):
    action = pulled(name)
    hmc = fk.HMC(action, length=0.4, steps=5)
    rng = testing.seeded(2)
    z = hmc.start(3, rng)
    p = hmc.momenta(z, rng)
    there, q = hmc.trajectory(z, p)
    assert testing.difference(action.space.group, there, z).abs().max() > 0.1
    back, minus = hmc.trajectory(there, -q)
    testing.require_same_field(action.space.group, back, z, f"{name}: back again", 1e-9)
    testing.require_close(-minus, p, f"{name}: its momenta", 1e-9)


@pytest.mark.parametrize("name", ["U1", "SU2", "scalar"])
def test_trajectories_keep_the_volume_of_phase_space(name):
    """|det d(z', p') / d(z, p)| = 1, by central differences in algebra coordinates."""
    action = pulled(name)
    G, shape, dof = action.space.group, action.space.algebra_shape, action.space.dof
    hmc = fk.HMC(action, length=0.1, steps=2)
    rng = testing.seeded(2)
    z = hmc.start(1, rng)
    p = hmc.momenta(z, rng)
    end, _ = hmc.trajectory(z, p)
    step, unit = 1e-6, torch.eye(2 * dof)
    ends = []
    for sign in (1, -1):
        w, q = (sign * step * half.reshape(-1, *shape) for half in unit.split(dof, 1))
        x, momenta = hmc.trajectory(G.compose(G.exp(w), z.expand(2 * dof, *z.shape[1:])), p + q)
        ends.append(torch.cat([testing.difference(G, x, end).flatten(1), momenta.flatten(1)], 1))
    matrix = (ends[0] - ends[1]) / (2 * step)
    assert abs(float(torch.linalg.slogdet(matrix)[1])) < 1e-5


@pytest.mark.parametrize(("name", "n"), [("U1", 2000), ("SU2", 1000), ("SU3", 2000)])
def test_the_mean_of_exp_minus_dh_is_one(name, n):
    """From fields of the theory: Haar fields with weights exp(-S), seen in the coordinates of the map."""
    torch.manual_seed(1)
    action, transform = PAIRS[name]()
    action, transform = action.at(beta=0.5), testing.randomised(transform, testing.seeded(3), 0.1)
    with torch.no_grad():
        x = action.space.haar(n, testing.seeded(6))
        weight = (-action(x)).exp()
        z = transform.inverse(x)[0]
    hmc = fk.HMC(action.pullback(transform), length=0.3, steps=2)
    _, info = hmc.step(hmc.init(z), testing.seeded(7))
    assert info["dH"].abs().mean() > 0.01
    excess = weight * torch.expm1(-info["dH"]) / weight.mean()
    error = float(excess.std()) / n**0.5
    assert abs(float(excess.mean())) < 4 * error
    assert error < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["U1", "SU2", "SU3", "scalar"])
def test_what_a_force_costs(name):
    """A pass forward and one back: a few times what a pass alone costs."""
    action = pulled(name)
    z = testing.fields(action.space, 256, testing.seeded(1))

    def seconds(call):
        call()
        start = time.process_time()
        for _ in range(5):
            call()
        return (time.process_time() - start) / 5

    with torch.no_grad():
        ratio = seconds(lambda: action.force(z)) / seconds(lambda: action(z))
    print(f"{name}: a force costs {ratio:.2f} forward passes")
    assert ratio < 6


# ---------------------------------------------------------------- precision


@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=["float", "double"])
@pytest.mark.parametrize("made", [torch.float32, torch.float64], ids=["float", "double"])
@pytest.mark.parametrize("name", ["U1", "SU3", "scalar", "multiscale U1"])
def test_a_chain_starts_in_the_precision_of_the_map(name, made, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        S = pulled(name)
        S.transform.to(made)
        for action in (S, 0.5 * S, S + S.action.pullback(S.transform)):
            hmc = fk.HMC(action, steps=2)
            assert hmc.start(2, testing.seeded()).real.dtype == made
            assert hmc.start(2, testing.seeded(), hot=False).real.dtype == made
        assert fk.run(fk.HMC(S, steps=2), 2, chains=2, thermalise=0, rng=1, max_bad=1.0).x.real.dtype == made
        other = torch.float64 if made == torch.float32 else torch.float32
        start = fk.HMC(S.action).start(2, testing.seeded(), dtype=other)
        with pytest.raises(
            ValueError, match=rf"This pullback by \w+ computes in {made} on cpu; got {start.dtype} fields"
        ):
            fk.run(fk.HMC(S, steps=2), 2, start=start, thermalise=0, rng=1)
        assert fk.HMC(S.action).start(2, testing.seeded()).real.dtype == default
    finally:
        torch.set_default_dtype(before)

"""All clusters of plaquettes of U(1), and training by the continuity equation."""

import pytest
import torch

import flowkit as fk
from flowkit import stats, testing
from flowkit.geometry.clusters import link_charges, orbits
from flowkit.train import ContinuityStep
from flowkit.transforms import TrivializingFlow
from flowkit.transforms.links.loop_potential import loop_potential

pytestmark = pytest.mark.usefixtures("double")


def test_an_orbit_has_the_charges_of_each_of_its_clusters():
    for level in orbits(3, order=3):
        for orbit in level:
            charges = [sorted(q * q for q in link_charges(cluster).values()) for cluster in orbit.clusters]
            assert all(sum(one) == orbit.squared_charge for one in charges)
            assert all(one == charges[0] for one in charges)


@pytest.mark.parametrize("lattice", [(4, 4), (4, 4, 4)], ids=str)
def test_the_series_does_not_lead_out_of_the_clusters(lattice):
    """sum d^a S d^a O of each loop of order 2 is a combination of all loops up to order 3, and a constant."""
    action = fk.Wilson(fk.links(lattice, fk.U1()), 1.0)
    potential = loop_potential(action.space, 3)
    x = action.space.haar(2 * len(potential.names), testing.seeded())
    loops, slopes = potential.along(x, -action.force(x))
    basis = torch.cat([loops, torch.ones(len(x), 1)], 1)
    second = torch.tensor(potential.orders) <= 2
    target = slopes[:, second]
    fitted = basis @ torch.linalg.lstsq(basis, target).solution
    testing.require_close(fitted, target, "the slope along the force", 1e-9)
    third = basis[:, [*torch.nonzero(second).flatten().tolist(), -1]]
    missed = third @ torch.linalg.lstsq(third, target).solution - target
    assert missed.abs().max() > 1


CASES = [((4, 5), fk.U1(), 3), ((3, 3, 3), fk.U1(), 2), ((3, 4), fk.SUN(2), 2), ((3, 4), fk.SUN(3), 2)]


@pytest.mark.parametrize(("lattice", "group", "order"), CASES, ids=str)
def test_the_slope_along_a_direction_against_differences(lattice, group, order):
    potential = loop_potential(fk.links(lattice, group), order)
    x = potential.space.haar(2, testing.seeded())
    w, h = torch.randn(group.algebra_shape(x.shape), generator=testing.seeded(2)), 1e-5
    loops, slopes = potential.along(x, w)
    ends = [potential.along(group.compose(group.exp(sign * h * w), x), w)[0] for sign in (1, -1)]
    count = len(potential.names)
    testing.require_close(slopes, ((ends[0] - ends[1]) / (2 * h))[:, :count], "the slope", 1e-6)
    c = torch.randn(count, generator=testing.seeded(3)).unbind()
    force, values = potential.flow(x, c)
    testing.require_close(slopes @ torch.stack(c), -(force * w).flatten(1).sum(1), "its sum", 1e-10)
    expected = potential.laplacian(values, c)
    testing.require_close(potential.laplacians(loops) @ torch.stack(c), expected, "the Laplacians", 1e-10)


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2)], ids=str)
def test_the_rows_of_the_continuity_equation_add_up_to_the_weight(group):
    """d log w / dt = A theta - S along a trajectory, by Simpson's rule over 24 steps."""
    space = fk.links((3, 3), group)
    action = fk.Wilson(space, 1.0)
    f = TrivializingFlow(space, order=2, degree=2, steps=24, beta=0.9, path=True)
    with torch.no_grad():
        f.coefficients.add_(0.01 * torch.randn(f.coefficients.shape, generator=testing.seeded(4)))
        walk = list(f.trajectory(space.haar(3, testing.seeded())))
        rates = [f.continuity(x, -action.force(x), t) @ f.coefficients - action(x) for t, x, _ in walk]
        _, x, logdet = walk[-1]
        weights = torch.tensor([1.0, *[4.0, 2.0] * 11, 4.0, 1.0]) / 72
        testing.require_close(weights @ torch.stack(rates), logdet - action(x), "log w", 1e-4)


def test_flow_time_is_that_of_the_path():
    """With the series alone, half of the flow towards beta ends near the theory of beta / 2."""
    space = fk.links((4, 4), fk.U1())
    f = TrivializingFlow(space, order=2, degree=2, steps=4, beta=0.8, path=True)
    with torch.no_grad():
        _, _, (t, x, logdet), *_ = f.trajectory(space.haar(256, testing.seeded()))
    assert t == 0.5
    logw = [logdet - fk.Wilson(space, beta)(x) for beta in (0.4, 0.8)]
    assert stats.ess(logw[0].numpy()).value > 0.97 > 0.8 > stats.ess(logw[1].numpy()).value


def test_two_fits_in_three_dimensions():
    """Of 39 loops the natural gradient would need many more samples: from an ESS of some .3 of the series."""
    action = fk.Wilson(fk.links((4, 4, 4), fk.U1()), 0.7)
    series = TrivializingFlow(action.space, degree=2, steps=2, beta=0.7, path=True)
    flow = fk.Flow(fk.Haar(action.space), series)
    trainer = fk.Trainer(flow, action, batch=96, method=ContinuityStep(ridge=1e-5), seed=1)
    ess = trainer.fit(2, progress=False).history["ess"]
    draws = fk.importance_sample(flow, action, 128, rng=2, keep=False).ess()
    assert draws.value > max(0.85, ess[0]), (draws, ess)


def test_a_fit_of_matrices():
    action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), 2.0)
    flow = fk.Flow(fk.Haar(action.space), TrivializingFlow(action.space, degree=2, steps=3, beta=1.5, path=True))
    trainer = fk.Trainer(flow, action, batch=128, method=ContinuityStep(), seed=1)
    ess = trainer.fit(2, progress=False).history["ess"]
    assert ess[1] > max(0.9, ess[0])


@pytest.mark.parametrize("make", [
    lambda space: fk.gauge_flow(space),
    lambda space: fk.Flow(fk.Flow(fk.Haar(space), TrivializingFlow(space, order=1)), TrivializingFlow(space, order=1)),
])  # fmt: skip
def test_other_flows_are_refused(make):
    action = fk.Wilson(fk.links((4, 4), fk.U1()), 1.0)
    with pytest.raises(ValueError, match="ContinuityStep trains a TrivializingFlow on Haar measure; got "):
        fk.Trainer(make(action.space), action, method=ContinuityStep())


@pytest.mark.parametrize("group", [fk.U1(), pytest.param(fk.SUN(2), marks=pytest.mark.slow)], ids=str)
def test_the_laplacian_in_four_dimensions(group):
    """By second differences at the links of one site, for a field that is the same at all sites."""
    potential = loop_potential(fk.links((4, 4, 4, 4), group), 3)
    x = testing.tile(potential.space, fk.links((1, 1, 1, 1), group).haar(1, testing.seeded()))
    w = torch.zeros(group.algebra_shape(x.shape))
    h, total = 1e-3, 0.0
    loops, _ = potential.along(x, w)
    for mu in range(4):
        for k in range(w[0, 0, 0, 0, 0, 0].numel()):
            w.zero_()
            w[0, mu, 0, 0, 0, 0].view(-1)[k] = h
            ends = [potential.along(group.compose(group.exp(sign * w), x), w)[0] for sign in (1, -1)]
            total = total + potential.space.volume * (ends[0] + ends[1] - 2 * loops) / h**2
    testing.require_close(potential.laplacians(loops), total, "the Laplacians", 1e-3)

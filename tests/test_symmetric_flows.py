"""Flows that respect the symmetries of an action: exactly even densities, and mixtures over the images of any flow."""

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.multiscale import SiteDoubling
from flowkit.priors import Symmetrised

EVEN = {
    "scalar_flow": lambda: fk.scalar_flow(fk.sites((4, 6)), 2, 4, (6,)),
    "scalar_flow, 3D, two components": lambda: fk.scalar_flow(fk.sites((2, 4, 2), components=2), 2, 4, (6,)),
    "multiscale": lambda: fk.scalar_multiscale_flow(fk.sites((8, 8)), couplings=2, bins=4, hidden=(6,)),
    "multiscale, odd": lambda: fk.scalar_multiscale_flow(fk.sites((6, 10)), bins=4, hidden=(6,), least=3),
}


@pytest.mark.parametrize("name", EVEN)
def test_default_scalar_flows_are_even(name):
    flow = testing.randomised(EVEN[name](), testing.seeded())
    x = flow.sample(5, testing.seeded(2))
    testing.require_close(flow.log_prob(-x), flow.log_prob(x), name)


@pytest.mark.parametrize("z2", [False, True])
def test_doublings_of_sites_can_be_odd(z2):
    level = SiteDoubling(fk.sites((4, 8)), bins=4, hidden=(6,), kernel=3, z2=z2)
    testing.check_transform(level)
    act = testing.symmetry(level.space, "z2", testing.seeded())
    if z2:
        testing.check_equivariance(level, act)
    else:
        with pytest.raises(AssertionError, match="f\\(g x\\)"):
            testing.check_equivariance(level, act)


def test_a_broken_symmetry_does_not_trap_the_default_flow():
    """Deep in the broken phase: both minima are drawn, and chi, most of it <phi>^2 within a minimum, is exact."""
    action = fk.Phi4(fk.sites((2, 4)), m2=-4.0, lam=1.0)
    torch.manual_seed(1)
    flow = fk.scalar_flow(action.space, 2, 4, (8,))
    fk.Trainer(flow, action, batch=128, lr=5e-3, seed=1).fit(120, progress=False)
    draws = fk.importance_sample(flow, action, 8192, rng=1, observe=[fk.magnetization, fk.susceptibility], keep=False)
    assert draws.ess().value > 0.5
    assert abs(draws.mean(fk.magnetization).pull(0.0)) < 4
    assert abs(draws.mean(fk.susceptibility).pull(exact.phi4_transfer_matrix((2, 4), -4.0, 1.0).susceptibility)) < 4


def test_a_field_needs_a_flow_without_the_symmetry():
    flow = testing.randomised(fk.scalar_flow(fk.sites((4, 2)), 2, 4, (6,), symmetric=False), testing.seeded())
    x = flow.sample(5, testing.seeded(2))
    assert (flow.log_prob(-x) - flow.log_prob(x)).abs().max() > 1e-2


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(3)], ids=str)
def test_a_gauge_flow_is_averaged_over_centre_and_conjugation(group):
    """The density of the mixture has each symmetry, its samples have its density, and an unfair flow becomes fair."""
    action = fk.Wilson(fk.links((2, 3), group), beta=2.0)
    inner = testing.randomised(fk.gauge_flow(action.space, bins=3, hidden=(4,)), testing.seeded(), 1.0)
    some = [one for one in action.symmetries if one.name in ("charge conjugation", "centre in direction 1")]
    flow = Symmetrised(inner, some)
    x, logq = flow.sample_and_log_prob(6, testing.seeded())
    testing.require_close(flow.log_prob(x), logq, "log q of draws", 1e-7)
    for one in some:
        testing.require_close(flow.log_prob(one.apply(x)), logq, one.name, 1e-7)
    assert (inner.log_prob(some[0].apply(x)) - inner.log_prob(x)).abs().max() > 1e-3
    testing.require_gradients(flow, fk.losses.path_gradient(flow, action, 8, testing.seeded()).value, "path gradient")


class Aside(fk.Normal):
    """Of unit width around a learned mean."""

    def __init__(self, space):
        super().__init__(space)
        self.mean = torch.nn.Parameter(torch.tensor([0.4]))

    def log_prob(self, x):
        return super().log_prob(x - self.mean)

    def score(self, x):
        return (x - self.mean).flatten(1).sum(1, keepdim=True)


def models_with_a_score():
    yield fk.multiscale_flow(fk.links((2, 2), fk.U1()), terms=3), fk.Wilson(fk.links((2, 2), fk.U1()), beta=1.0)
    yield Aside(fk.sites((2, 2))), fk.Phi4(fk.sites((2, 2)), m2=1.0, lam=0.5)  # whose images differ in their density


@pytest.mark.parametrize(("inner", "action"), list(models_with_a_score()), ids=["links", "sites"])
def test_score_of_a_mixture(inner, action):
    flow = Symmetrised(testing.randomised(inner, testing.seeded()), action.symmetries[:2])
    x = flow.sample(3, testing.seeded(2)).detach()
    weights = [p for p in flow.parameters() if p.requires_grad]
    rows = [torch.cat([g.flatten() for g in torch.autograd.grad(one, weights, retain_graph=True)])
            for one in flow.log_prob(x)]  # fmt: skip
    testing.require_close(flow.score(x), torch.stack(rows), "score", 1e-6)


def test_draws_of_a_mixture_stand_at_every_image():
    """Two components around 1 become four quadrants, each with a quarter of the draws."""
    space, n = fk.sites((2, 3), components=2), 4000
    aside = fk.Flow(fk.Normal(space, 0.1), fk.transforms.Affine(space))
    torch.nn.init.ones_(aside.transform.shift)
    flow = Symmetrised(aside, fk.Phi4(space, m2=1.0, lam=0.5).symmetries)
    for x in (flow.sample(n, testing.seeded()), flow.sample_and_log_prob(n, testing.seeded(2)).x):
        first, second = (x.flatten(2).mean(2) > 0).long().unbind(1)
        shares = torch.bincount(2 * first + second, minlength=4) / n
        assert (shares - 0.25).abs().max() < 5 * (0.25 * 0.75 / n) ** 0.5


def test_mixtures_share_the_weights_of_other_lattices():
    flow = Symmetrised(
        fk.gauge_flow(fk.links((2, 2), fk.U1()), bins=3), fk.Wilson(fk.links((2, 2), fk.U1()), 1.0).symmetries
    )
    assert flow.size == 2**5
    assert flow.describe()["symmetries"][0] == "charge conjugation"
    phi = fk.scalar_flow(fk.sites((4, 2)), 2, 4, (6,))
    big = phi.on(fk.sites((8, 4)))
    x = big.sample(3, testing.seeded())
    assert torch.allclose(big.log_prob(-x), big.log_prob(x), atol=1e-3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda flow, some: Symmetrised(flow.transform, some), TypeError, "needs prior, a prior or flow; got Chain"),
        (lambda flow, some: Symmetrised(flow, ()), ValueError, "at least one symmetry; action.symmetries"),
        (
            lambda flow, some: Symmetrised(flow, [torch.neg]),
            TypeError,
            r"a symmetry such as action.symmetries\[0\]; got",
        ),
    ],
)
def test_bad_input(make, error, message):
    action = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)
    with pytest.raises(error, match=message):
        make(fk.scalar_flow(action.space, 1, 3, (4,)), action.symmetries)

"""Markov kernels as steps of flows: Jarzynski's weights against exact partition functions, and what is refused."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.samplers import MarkovKernel, annealed_flow
from flowkit.train import losses

U1 = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)


def path(action, levels):
    return [action.at(beta=action.beta * k / levels) for k in range(1, levels + 1)]


MAKERS = {
    "hmc": lambda action: fk.HMC(action, steps=4),
    "heatbath": fk.Heatbath,
    "a factory": fk.HMC(U1, length=0.7, steps=3).of_action,
}


@pytest.mark.parametrize("name", MAKERS)
def test_jarzynski_gives_the_partition_function(name):
    """2D U(1) from Haar measure to beta = 1: <w> = Z, and reweighted means, against exact values."""
    flow = annealed_flow(fk.Haar(U1.space), path(U1, 12), MAKERS[name])
    draws = fk.importance_sample(flow, U1, 6000, rng=1, observe=(fk.plaquette, fk.charge_squared), keep=False)
    log_z = fk.stats.log_z(draws.series["logw"])
    assert abs(log_z.pull(U1.log_z())) < 3.5, f"ln Z = {log_z}; {U1.log_z():.4f} is exact"
    assert log_z.error < 0.05
    for o in (fk.plaquette, fk.charge_squared):
        assert draws.mean(o).within(sigmas=3.5), draws.mean(o)


def test_more_steps_dissipate_less():
    """The ESS rises with the number of theories on the way, from plain importance sampling of Haar fields."""
    ess = [
        fk.importance_sample(annealed_flow(fk.Haar(U1.space), path(U1, k), fk.Heatbath), U1, 2000, rng=2).ess().value
        for k in (1, 4, 24)
    ]
    assert ess[0] < 0.05 < ess[1] < ess[2]
    assert ess[2] > 0.6


def test_scalars_from_a_trained_map():
    """A flow as prior, and kernels behind its map: the free field's ln Z."""
    space = fk.sites((4, 2))
    action = fk.actions.Phi4Kappa(space, kappa=0.4, m_sq=1.8, lam=0.0)
    torch.manual_seed(1)
    inner = fk.Flow(fk.Normal(space, 0.6), fk.CheckerboardCoupling(space, 0)).double()
    flow = annealed_flow(inner, [action] * 3, fk.HMC)
    chain = fk.Flow(fk.Normal(space, 0.6).double(), fk.Chain(inner.transform, *flow.transform))
    for one in (flow, chain):
        assert one.stochastic
        assert one.normalised
        with torch.no_grad():
            x, logq = one.sample_and_log_prob(4000, testing.seeded())
        log_z = fk.stats.log_z(-action(x) - logq)
        assert abs(log_z.pull(action.log_z())) < 3.5
    assert not inner.stochastic
    assert fk.Flow(flow, fk.transforms.Affine(space)).stochastic  # through its prior


def test_independence_metropolis_proposes_paths():
    flow = annealed_flow(fk.Haar(U1.space), path(U1, 8), fk.Heatbath)
    sampler = fk.IndependenceMetropolis(flow, U1, chunk=4)
    ensemble = fk.run(sampler, 300, chains=16, thermalise=10, rng=1, observe=(fk.plaquette,))
    assert ensemble.mean(fk.plaquette).within(sigmas=3.5)
    assert 0.3 < ensemble.series["accept"].mean() < 0.95
    assert 0.1 < ensemble.ess().value < 1
    rng = testing.seeded()
    state = sampler.begin(3, rng)
    assert torch.equal(state.logw, -U1(state.x) - state.logq)
    with pytest.raises(ValueError, match="density of a path alone; log_prob needs the density of a field"):
        sampler.init(state.x)
    with pytest.raises(ValueError, match="density of a path alone"):
        ensemble.logw_under(flow)


def test_a_flow_with_kernels_is_shown_layer_by_layer():
    flow = annealed_flow(fk.Haar(U1.space), path(U1, 3), fk.Heatbath)
    numbers = fk.ensemble.layer_numbers(flow, U1, n=200, fields=2)
    assert numbers.names == ("prior", "Heatbath", "Heatbath", "Heatbath")
    values = [one.value for one in numbers.kl]
    assert values[0] > values[1] > values[2] > 0  # a bound on KL, the dissipated work
    assert abs(values[3] - values[2]) < 1e-5  # a kernel of the theory itself changes no weight
    entries = list(flow.transform.by_layer(flow.prior.sample(3, testing.seeded()), testing.seeded(2)))
    y, heat = flow.transform.push(flow.prior.sample(3, testing.seeded()), testing.seeded(2))
    assert torch.equal(entries[-1].x, y)
    testing.require_close(entries[-1].logdet, heat, "heat of all layers")


def test_other_kernels_keep_the_contract():
    """A heatbath obeys stationarity alone: its sweeps go through the links in one order."""
    space = fk.links((2, 3), fk.SUN(2))
    testing.check_markov_kernel(MarkovKernel(fk.Heatbath(fk.Wilson(space, 1.0))), reversible=False)
    scalar = fk.actions.Phi4Kappa(fk.sites((2, 3)), kappa=0.2, m_sq=2.0, lam=0.0)
    testing.check_markov_kernel(MarkovKernel(fk.HMC(scalar, steps=3)))


class Leaky(fk.HMC):
    """Accepts everything."""

    def step(self, state, rng):
        x, _ = self.trajectory(state.x, self.momenta(state.x, rng))
        return type(state)(x, self.action(x)), {}


class Shrinking(MarkovKernel):
    def push(self, x, rng):
        y, heat = super().push(x, rng)
        return y, -heat


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (MarkovKernel(Leaky(U1.on(fk.links((2, 3), fk.U1())).at(beta=0.8), 2.0, steps=2)), "does not keep the mean"),
        (Shrinking(fk.HMC(U1.on(fk.links((2, 3), fk.U1())).at(beta=0.8))), "its heat"),
    ],
)
def test_the_contract_finds_bugs(kernel, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_markov_kernel(kernel)


def test_on_another_lattice():
    flow = annealed_flow(fk.Haar(U1.space), path(U1, 2), fk.HMC(U1, length=0.7, steps=3).of_action)
    big = flow.on(fk.links((6, 4), fk.U1()))
    kernel = big.transform.steps[1]
    assert kernel.sampler.action.parameters == {"beta": 1.0}
    assert (kernel.sampler.length, kernel.sampler.steps, kernel.space.lattice) == (0.7, 3, (6, 4))
    assert fk.importance_sample(big, U1.on(big.space), 10, rng=1).x.shape == (10, 1, 2, 6, 4)


def test_steps_of_a_kernel():
    kernel = MarkovKernel(fk.Heatbath(U1), steps=3)
    x = U1.space.haar(2, testing.seeded())
    y, _ = kernel.push(x, testing.seeded(1))
    rng, z = testing.seeded(1), x
    for _ in range(3):
        z, _ = MarkovKernel(fk.Heatbath(U1)).push(z, rng)
    assert torch.equal(y, z)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: MarkovKernel(U1), "MarkovKernel needs sampler, a sampler such as HMC"),
    (lambda: MarkovKernel(fk.HMC(U1), steps=0), "MarkovKernel needs steps, a whole number >= 1; got 0"),
    (lambda: annealed_flow(fk.Haar(U1.space), [], fk.HMC), "at least one action to anneal through"),
    (lambda: annealed_flow(fk.Haar(fk.links((2, 2), fk.U1())), [U1], fk.HMC), "prior and transform of one space"),
    (lambda: losses.path_gradient(annealed_flow(fk.Haar(U1.space), [U1], fk.HMC), U1, 4, testing.seeded()),
     "density of a path alone"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_weights_do_not_depend_on_how_a_draw_is_made():
    """log w is that of Jarzynski, -S(x_n) - log r(x_0) + sum of heats, here by hand."""
    actions = path(U1, 2)
    flow = annealed_flow(fk.Haar(U1.space), actions, fk.Heatbath)
    x, logq = flow.sample_and_log_prob(5, testing.seeded(3))
    rng = testing.seeded(3)
    z = U1.space.haar(5, rng)
    heat = torch.zeros(5)
    for action in actions:
        y = fk.Heatbath(action).step(fk.Heatbath(action).init(z), rng)[0].x
        heat, z = heat + action(y) - action(z), y
    assert torch.equal(x, z)
    assert torch.allclose(logq, -heat, atol=1e-4)
    assert math.isfinite(float(heat.sum()))


def test_an_annealed_coarse_theory_inside_a_multiscale_model():
    """The path of the coarse field counts in the weights of the fine one: <w> = Z, exact in two dimensions."""
    coarse = fk.links((2, 2), fk.U1())
    annealed = annealed_flow(fk.Haar(coarse), [fk.Wilson(coarse, beta) for beta in (0.25, 0.5)], fk.HMC)
    doubling = fk.multiscale.LinkDoubling(coarse, 0)
    new = fk.multiscale.NewLinks(doubling, fk.multiscale.ClassFunctionConditional(4))
    flow, action = fk.Flow(fk.priors.Embedded(annealed, doubling), new), fk.Wilson(doubling.fine, 0.5)
    assert flow.stochastic
    ensemble = fk.importance_sample(flow, action, 8192, rng=1, keep=False)
    assert fk.stats.log_z(ensemble.series["logw"].numpy()).within(action.log_z(), 4)
    with pytest.raises(ValueError, match="the joint density of a path alone; log_prob needs"):
        flow.log_prob(flow.sample(2, testing.seeded()))

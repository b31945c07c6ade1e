"""Means say what is wrong: runs with a known fault are noted, healthy ones are not."""

import math

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit import stats, testing
from flowkit.actions import Action
from flowkit.ensemble.diagnosis import monitors, usual_k, vanishing
from flowkit.samplers.stationary import LONGEST, Stationary
from flowkit.studies.silent_truth import cases, results

U1 = fk.Wilson(fk.links((8, 8), fk.U1()), 2.0)
FREE = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.0)
CASES = {case.label: case for case in cases()}


def ar1(a, n, chains, rng):
    x = rng.normal(size=(n, chains))
    for t in range(1, n):
        x[t] = a * x[t - 1] + math.sqrt(1 - a * a) * x[t]
    return x


# -- tests of chains -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "chains"), [(400, 16), (64, 64), (2000, 4), (2000, 1)])
@pytest.mark.parametrize("a", [-0.5, 0.0, 0.6])
def test_chains_in_equilibrium_raise_no_alarm(n, chains, a):
    """Three tests at 0.1 % each: of 150 sets at most four (binomial)."""
    rng = np.random.default_rng([7, n, chains])
    alarms = sum(bool(stats.agreement(ar1(a, n, chains, rng)).notes) for _ in range(150))
    assert alarms <= 4


def test_p_values_are_uniform():
    rng = np.random.default_rng(8)
    found = [stats.agreement(ar1(0.5, 200, 12, rng)) for _ in range(1000)]
    for name in ("start_p", "drift_p", "chains_p"):
        p = np.array([getattr(one, name) for one in found])
        for level in (0.02, 0.1, 0.5):
            assert abs((p < level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 1000) + 0.01 * (level > 0.05)


@pytest.mark.parametrize("chains", [1, 3, 16])
def test_a_start_that_shows_is_told(chains):
    x = ar1(0.5, 1000, chains, np.random.default_rng(9))
    x += 4 * np.exp(-np.arange(1000) / 30)[:, None]
    assert "not thermalised" in stats.agreement(x).notes[0]


def test_a_drift_is_told():
    x = ar1(0.5, 400, 16, np.random.default_rng(10))
    x[200:] += 0.3
    assert any("not thermalised" in note or "drifts" in note for note in stats.agreement(x).notes)


def test_chains_in_places_of_their_own_are_told():
    x = ar1(0.5, 400, 16, np.random.default_rng(11))
    x[:, 8:] += 0.5
    found = stats.agreement(x)
    assert found.notes[0].startswith("chains disagree")
    assert found.rhat > 1.02
    assert stats.agreement(ar1(0.5, 400, 16, np.random.default_rng(11))).rhat < 1.01


def test_chains_that_never_moved_are_named():
    x = ar1(0.5, 400, 16, np.random.default_rng(12))
    x[:, 4:] = x[0, 4:]
    assert stats.agreement(x).notes == ("12 of 16 chains never changed (number 4, 5, 6, 7, ...)",)


@pytest.mark.parametrize("a", [-0.8, -0.5, -0.2])
def test_anticorrelated_chains_have_tau_int_below_one_half(a):
    rng, tau = np.random.default_rng(13), (1 + a) / (2 - 2 * a)
    found = [stats.estimate(ar1(a, 400, 8, rng)) for _ in range(300)]
    assert np.mean([one.tau_int for one in found]) == pytest.approx(tau, rel=0.06)
    assert abs(np.mean([one.within(0.0, 1.0) for one in found]) - 0.683) < 0.08


def test_the_shape_of_a_tail_is_found():
    """Exponential proposals of another rate give weights with a Pareto tail of known shape."""
    rng = np.random.default_rng(14)
    for k in (0.3, 0.5, 0.8):
        found = [stats.pareto_k(k * rng.exponential(size=20_000)) for _ in range(20)]
        assert np.mean(found) == pytest.approx(k, abs=0.03)
    assert stats.pareto_k(rng.uniform(size=2000)) < 0
    assert math.isnan(stats.pareto_k(np.zeros(1000)))


@pytest.mark.parametrize("n", [1000, 6400])
@pytest.mark.parametrize("sigma", [0.3, 0.6, 0.75])
def test_harmless_weights_are_seldom_told(sigma, n):
    """Log-normal weights, for which independence Metropolis has right errors; 5 % of 200, and three errors above."""
    rng, told = np.random.default_rng(1), 0
    for _ in range(200):
        logw = sigma * rng.normal(size=n)
        told += stats.pareto_k(logw) > usual_k(stats.ess(logw).value, n)
    assert told <= 10 + 3 * math.sqrt(9.5)


def test_a_gaussian_flow_that_is_too_narrow_is_told():
    """Proposals of variance v for a normal target: log w = (1 - v) z^2 / 2, k = 1 - v, ESS = sqrt(2 v - 1) / v."""
    rng, v, told = np.random.default_rng(1), 0.6, 0
    for _ in range(100):
        logw = (1 - v) / 2 * np.square(rng.normal(size=6400))
        told += stats.pareto_k(logw) > usual_k(stats.ess(logw).value, 6400)
    assert told > 90


# -- thermalisation --------------------------------------------------------------------------------------------


def test_a_run_thermalises_by_default():
    ensemble = fk.run(fk.HMC(U1), 120, chains=64, rng=1, keep=False, observe=[fk.plaquette])
    mean = ensemble.mean(fk.plaquette)
    assert ensemble.provenance["thermalise"] >= 64
    assert mean.note == ""
    assert mean.within()


def test_a_slow_chain_thermalises_longer():
    slow = fk.run(fk.HMC(FREE, length=0.05, steps=2), 20, rng=1, keep=False)
    assert slow.provenance["thermalise"] > fk.run(fk.HMC(FREE), 20, rng=1, keep=False).provenance["thermalise"]


def test_a_thermalisation_ends():
    endless, steps = Stationary(), 1
    while not endless.reached(torch.full((4,), float(steps)) + torch.rand(4)):
        steps += 1
    assert steps == LONGEST


# -- identities and symmetries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", testing.concrete(Action))
def test_the_identity_is_a_divergence(kind):
    """sum_i (v_i dS/dx_i - dv_i/dx_i) by differences, v = x on sites and v = grad S on links."""
    action = testing.example(kind)
    space, G, h = action.space, action.space.group, 1e-4
    rng = torch.Generator().manual_seed(1)
    links = space.kind == "links"
    x = space.haar(1, rng, torch.float64) if links else torch.randn(1, *space.shape, generator=rng).double()
    found = action.schwinger_dyson(x)
    if found is None:
        pytest.skip("no identity is known")
    if not links:
        assert torch.allclose(found, -(x * action.force(x)).sum() - x[0].numel())
        return
    gradient = -action.force(x)
    second = 0.0
    for i in range(gradient[0].numel()):
        w = torch.zeros_like(gradient).flatten()
        w[i] = h
        w = w.view_as(gradient)
        there, back = (-action.force(G.compose(G.exp(v), x)) for v in (w, -w))
        second += float((there - back).flatten()[i]) / (2 * h)
    assert float(found) == pytest.approx(float(gradient.square().sum()) - second, rel=1e-5)


def test_observables_that_vanish_by_a_symmetry_are_known():
    assert vanishing(U1, [fk.plaquette, fk.observables.topological_charge, fk.observables.polyakov(0)]) == [
        "topological_charge",
        "polyakov_0",
    ]
    assert vanishing(None, [fk.magnetization]) == []


def test_the_flux_is_the_charge_of_each_plane():
    space = fk.links((4, 6, 4), fk.U1())
    x = space.haar(5, torch.Generator().manual_seed(1), torch.float64)
    for one in monitors(space):
        mu, nu = map(int, one.name[-2:])
        across = ({0, 1, 2} - {mu, nu}).pop()
        plane = x[:, [mu, nu]].select(2 + across, 0)
        flat = fk.links(tuple(plane.shape[2:]), fk.U1())
        assert torch.equal(one(space, x), fk.observables.topological_charge(flat, plane))


# -- whole runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "share"),
    [
        ("frozen: HMC, U(1) 8x8, beta 7", 0.95),
        ("frozen: heatbath, U(1) 8x8, beta 7, cold", 0.7),
        ("hot start: HMC, U(1) 8x8, beta 2", 0.95),
        ("a mode that stays: HMC of fixed length", 0.7),
        ("short: HMC, U(1), 30 steps of 4 chains", 0.95),
        ("one of two wells: a flow, phi^4", 0.95),
        ("two wells: HMC, phi^4", 0.95),
        ("heavier tail: a narrower free field", 0.5),
    ],
)
def test_a_fault_is_noted(label, share):
    _, noted = results(CASES[label], 10, 5)
    assert noted.mean() >= share


@pytest.mark.parametrize("label", ["heatbath, U(1) 4x4, beta 2", "HMC, free field", "Metropolis, a wider free field"])
def test_healthy_runs_are_silent(label):
    pulls, noted = results(CASES[label], 40, 5)
    assert noted.mean() <= 0.05
    assert abs((np.abs(pulls[~noted]) <= 1).mean() - 0.69) < 0.25


def test_weighted_draws_of_one_well_are_noted():
    well = fk.Phi4(fk.sites((4, 4)), m2=-4.0, lam=1.0)
    flow = CASES["one of two wells: a flow, phi^4"].make().flow
    mean = fk.importance_sample(flow, well, 4000, rng=1).mean(fk.magnetization)
    assert "0 by a symmetry" in mean.note
    assert mean.exact == 0.0

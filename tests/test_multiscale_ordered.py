"""New links in stages, models shared among scales, multiscale models as priors, in three dimensions and for SU(3)."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.geometry import loops
from flowkit.models import multiscale_flow
from flowkit.multiscale import HeatAngleConditional, HeatbathConditional, LinkDoubling, levels
from flowkit.train.level_methods import LevelGradient
from flowkit.train.levels import LevelStep
from flowkit.transforms import Chain

U1, SU2, SU3 = fk.U1(), fk.SUN(2), fk.SUN(3)


pytestmark = pytest.mark.usefixtures("double")


def stack(flow, levels):
    """A multiscale model of (doubling, models), coarse to fine, on a coarsest prior."""
    for doubling, models in levels:
        flow = fk.Flow(fk.priors.Embedded(flow, doubling), fk.multiscale.NewLinks(doubling, models))
    return flow


def rough(model, size=0.3, seed=5):
    return testing.randomised(model, testing.seeded(seed), size)


def spatial(group, order, lattice=(1, 2, 2), ways=(0,), strength=1.0):
    """A model in three dimensions, with a heatbath-like model for each stage."""
    model = fk.Haar(fk.links(lattice, group))
    for mu in ways:
        doubling = LinkDoubling(model.space, mu, order)
        models = [HeatbathConditional(group, stage.loops, strength) for stage in doubling.stages]
        model = stack(model, [(doubling, models)])
    return model


# ---------------------------------------------------------------- stages


@pytest.mark.parametrize("group", [U1, SU2], ids=str)
@pytest.mark.parametrize(("lattice", "mu"), [((1, 2, 4), 0), ((2, 3, 2), 0), ((2, 4, 2), 1), ((2, 2, 1, 4), 1)])
def test_stages_cover_all_links_and_their_loops_are_plaquettes(group, lattice, mu, rng):
    doubling = LinkDoubling(fk.links(lattice, group), mu, order="colours")
    covered = torch.cat([stage.links for stage in doubling.stages]).sort().values
    assert torch.equal(covered, torch.arange((len(lattice) - 1) * doubling.coarse.volume))
    x = doubling.fine.haar(2, rng)
    coarse, first, new = doubling.split(x)
    known = doubling.loops(coarse, first)
    for stage in doubling.stages:
        links = doubling.take(stage, new)
        traces = [group.trace(group.compose(links, r)) for r in doubling.given(stage, known, new)]
        expected = []
        for rho in (mu, *stage.planes):
            # The fine plaquettes in the plane (nu, rho) on both sides of the links at the odd sites.
            p = group.trace(loops.plaquette(doubling.fine, x, *sorted((stage.nu, rho))))
            below = torch.roll(p, 1, 2 + rho)
            for one in (p, below) if rho != mu else (below, p):
                odd = torch.unflatten(one, 2 + mu, (-1, 2)).unbind(3 + mu)[1]
                flat = odd.flatten(1)[:, stage.links % doubling.coarse.volume]
                expected.append(flat)
        assert len(traces) == stage.loops == len(expected)
        for came, wanted in zip(traces, expected, strict=True):
            testing.require_close(came, wanted, f"the loops of the stage along {stage.nu}", 1e-12)


def test_later_stages_see_earlier_links_alone(rng):
    """Loops of a stage do not change with its own links, nor with those of later stages."""
    doubling = LinkDoubling(fk.links((2, 2, 4), SU2), 0, order="colours")
    coarse, first, new = doubling.split(doubling.fine.haar(2, rng))
    known = doubling.loops(coarse, first)
    assert any(stage.planes for stage in doubling.stages)
    for i, stage in enumerate(doubling.stages):
        other = new
        for later in doubling.stages[i:]:
            links = doubling.take(later, other)
            other = doubling.put(later, other, SU2.haar(tuple(links.shape[:2]), rng))
        for a, b in zip(doubling.given(stage, known, new), doubling.given(stage, known, other), strict=True):
            testing.require_close(a.real, b.real, "loops of a stage", 1e-12)


@pytest.mark.parametrize("group", [U1, SU2], ids=str)
@pytest.mark.parametrize("order", ["together", "directions", "colours", "cells", "hierarchical"])
def test_density_in_three_dimensions(group, order):
    model = rough(spatial(group, order, strength=0.4), 0.1)
    x, logq = model.sample_and_log_prob(50, testing.seeded())
    testing.require_close(model.log_prob(x), logq, "log_prob of a draw", 1e-9)
    z, logdet = model.transform.inverse(x)
    testing.require_close(logdet, logq, "log|dz/dx|", 1e-9)
    testing.require_same_field(group, model.transform(z)[0], x, "forward(inverse(x))", 1e-7)
    act = testing.symmetry(model.space, "gauge", testing.seeded(5))
    y = model.space.haar(5, testing.seeded(2))
    testing.require_close(model.log_prob(act(y)), model.log_prob(y), "log q of g x", 1e-10)
    with torch.no_grad():
        weights = (-model.sample_and_log_prob(20_000, testing.seeded(4)).logq).exp()
    error = float(weights.std()) / math.sqrt(len(weights))
    assert error < 0.05
    assert abs(float(weights.mean()) - 1) < 4 * error


def test_an_order_lowers_the_kl():
    """U(1) in three dimensions: the links of a scale given those before them, beside all at once, equally trained."""
    excess = {}
    for order in ("together", "colours"):
        model = spatial(U1, order, (2, 2, 2), (0, 1, 2))
        action = fk.Wilson(model.space, 1.0)
        trainer = fk.Trainer(model, action, batch=128, loss="reverse_kl", lr=0.1, schedule=fk.schedules.Cosine())
        trainer.fit(40, progress=False)
        with torch.no_grad():
            x, logq = model.sample_and_log_prob(2000, testing.seeded(3))
            excess[order] = logq + action(x)
    gain = float(excess["together"].mean() - excess["colours"].mean())
    error = math.hypot(*(float(e.std()) / math.sqrt(len(e)) for e in excess.values()))
    assert gain > 5 * error


def test_stages_need_a_model_each():
    doubling = LinkDoubling(fk.links((1, 2, 2), U1), 0, order="colours")
    with pytest.raises(ValueError, match=r"A doubling in 4 stages needs a model for each; got 1\."):
        fk.multiscale.NewLinks(doubling, HeatbathConditional(U1))


def test_models_of_stages_stay_in_order_on_another_lattice():
    model = rough(spatial(U1, "colours", strength=0.4), 0.3)
    x = model.space.haar(3, testing.seeded())
    testing.require_close(model.on(model.space).log_prob(x), model.log_prob(x), "log q on the same lattice", 1e-12)
    larger = model.on(model.space.on([2 * side for side in model.space.lattice]))
    for mine, theirs in zip(levels(model), levels(larger), strict=True):
        for one, other in zip(mine.models, theirs.models, strict=True):
            assert (one.loops, one.weights().tolist()) == (other.loops, other.weights().tolist())
            assert torch.equal(one.log_strength, other.log_strength)


# ---------------------------------------------------------------- shared weights


def test_scales_may_share_a_model():
    shared, model = HeatbathConditional(U1), fk.Haar(fk.links((1, 1), U1))
    for mu in (0, 1, 0):
        model = stack(model, [(LinkDoubling(model.space, mu), shared)])
    model = rough(model)
    assert len(list(model.parameters())) == 2
    x = model.sample_and_log_prob(4, testing.seeded()).x.detach()
    rows = [torch.autograd.grad(one, list(model.parameters()), retain_graph=True) for one in model.log_prob(x)]
    slopes = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    testing.require_close(model.score(x), slopes, "the score of shared weights", 1e-9)
    larger = model.on(fk.links((8, 4), U1))
    first, second, third = (level.models[0] for level in levels(larger))
    assert first is second is third is not levels(model)[0].models[0]
    testing.require_close(first.log_strength, levels(model)[0].models[0].log_strength, "the strength", 1e-12)
    model.load_state_dict(larger.state_dict())
    smaller = model.on(fk.links((2, 1), U1))  # the second doubling has no even side there
    assert [level.space.lattice for level in levels(smaller)] == [(2, 1)]


# ---------------------------------------------------------------- SU(3), and priors of fine flows


def test_su3_density():
    model = rough(multiscale_flow(fk.links((2, 2), SU3), strength=1.0), 0.2)
    assert all(isinstance(level.models[0], HeatAngleConditional) for level in levels(model))
    x, logq = model.sample_and_log_prob(20, testing.seeded())
    testing.require_close(model.log_prob(x), logq, "log_prob of a draw", 1e-8)
    act = testing.symmetry(model.space, "gauge", testing.seeded(5))
    testing.require_close(model.log_prob(act(x)), model.log_prob(x), "log q of g x", 1e-10)
    with torch.no_grad():
        q = model.log_prob(model.space.haar(20_000, testing.seeded(3))).exp()
    error = float(q.std()) / math.sqrt(len(q))
    assert error < 0.05
    assert abs(float(q.mean()) - 1) < 4 * error


def test_su3_level_by_level():
    """beta = 4 on 4x4 in a few seconds: a high ESS, and the plaquette."""
    torch.manual_seed(1)
    action = fk.Wilson(fk.links((4, 4), SU3), 4.0)
    model = multiscale_flow(action.space, coarsest=fk.Haar(fk.links((2, 2), SU3)), strength=4.0).float()
    trainer = fk.Trainer(model, action, batch=512, method=LevelStep(160, LevelGradient(kl_fraction=0.0)))
    trainer.fit(160, progress=False)
    with torch.no_grad():
        ensemble = fk.importance_sample(model, action, 4096, rng=3, observe=(fk.plaquette,), keep=False)
    assert ensemble.ess().value > 0.9
    mean = ensemble.mean(fk.plaquette)
    assert mean.within(mean.exact, sigmas=3), mean


@pytest.mark.parametrize("group", [U1, SU2], ids=str)
def test_a_multiscale_model_is_the_prior_of_a_fine_flow(group):
    """Flow(multiscale, couplings): its density is the draws', both parts learn, and it gains on the model alone."""
    space = fk.links((4, 4), group)
    model = multiscale_flow(space, terms=1, coarsest=fk.Haar(fk.links((2, 2), group)))
    flow = fk.Flow(model, Chain(*fk.gauge_flow(space).transform.steps[-2:]))
    action = fk.Wilson(space, 2.0)
    trainer = fk.Trainer(flow, action, batch=64, loss="reverse_kl", lr=0.03)
    trainer.fit(40, progress=False)
    assert trainer.history["loss"][-10:].mean() < trainer.history["loss"][:5].mean() - 1
    assert float(levels(flow)[-1].models[0].coefficients.detach().abs().max()) > 0.1  # 0 at the start
    x, logq = flow.sample_and_log_prob(20, testing.seeded())
    testing.require_close(flow.log_prob(x), logq, "log_prob of a draw", 1e-7)
    with torch.no_grad():
        x, logq = flow.sample_and_log_prob(2000, testing.seeded(1))
    w = (-action(x) - logq).softmax(0)
    plaquette = fk.plaquette(space, x)
    mean = float((w * plaquette).sum())
    error = float((w * (plaquette - mean)).square().sum().sqrt())
    assert abs(mean - action.exact("plaquette")) < 4 * error

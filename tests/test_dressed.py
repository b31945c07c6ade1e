"""Dressed staples: orders, contexts, densities and training of multiscale models in three and four dimensions."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.geometry import loops
from flowkit.multiscale import (
    DressedStaples,
    HarmonicConditional,
    LinearHeatbathConditional,
    LinkDoubling,
    NewLinks,
    SU3HeatbathConditional,
    levels,
)
from flowkit.multiscale.dressed_plan import six_links

U1, SU2, SU3 = fk.U1(), fk.SUN(2), fk.SUN(3)
GROUPS = [U1, SU2, SU3]
FAST = [U1, SU2, pytest.param(SU3, marks=pytest.mark.slow)]
ORDERS = ["directions", "colours", "cells", "hierarchical"]

pytestmark = pytest.mark.usefixtures("double")


def level(group, lattice=(2, 2, 2), mu=1, order="hierarchical", size=0.3, **settings):
    """One doubling of Haar links, drawn from dressed staples with rough coefficients."""
    doubling = LinkDoubling(fk.links(lattice, group), mu, order)
    context = DressedStaples(1.3, (1,) * len(lattice), **{"loops": 6, "strengths": (1.0, 0.4), **settings})
    models = []
    for stage in doubling.stages:
        count = len(context.terms(doubling, stage))
        if group == U1:
            models.append(HarmonicConditional((1,) * count))
        else:
            models.append(SU3HeatbathConditional(count) if group == SU3 else LinearHeatbathConditional(group, count))
    new = testing.randomised(NewLinks(doubling, models, context), testing.seeded(7), size)
    return fk.Flow(fk.priors.Embedded(fk.Haar(doubling.coarse), doubling), new)


# ---------------------------------------------------------------- orders and contexts


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("lattice", "mu"), [((2, 4, 2), 0), ((1, 2, 8), 1), ((2, 3, 2), 2), ((2, 2, 1, 4), 3)])
def test_every_new_link_is_drawn_once(order, lattice, mu):
    doubling = LinkDoubling(fk.links(lattice, U1), mu, order)
    drawn = torch.cat([stage.links for stage in doubling.stages])
    assert torch.equal(drawn.sort().values, torch.arange((len(lattice) - 1) * doubling.coarse.volume))
    assert all({doubling.across[int(i) // doubling.coarse.volume] for i in s.links} == {s.nu} for s in doubling.stages)
    assert len({stage.kind for stage in doubling.stages}) == len(doubling.stages)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_complete_loops_are_loops_of_the_field(group, rng):
    """V R of the last stage: the sum of both plaquettes of each plane; and a loop of six links."""
    flow = level(group, (4, 2, 4), 1)
    doubling, context = flow.transform.doubling, flow.transform.context
    x = doubling.fine.haar(3, rng)
    coarse, first, new = doubling.split(x)
    stage, space = doubling.stages[-1], doubling.fine
    terms = context.terms(doubling, stage)
    given = dict(
        zip(terms, context.given(doubling, stage, context.begin(doubling, coarse, first), new, terms), strict=True)
    )
    v, sites = doubling.take(stage, new), doubling.places[stage.links] % space.volume

    def trace(name):
        return (group.sphere(v) * group.sphere(group.ambient_product([group.ambient(given[name])], [-1]))).sum(-1)

    for rho in (mu for mu in range(3) if mu != stage.nu):
        p = group.trace(loops.plaquette(space, x, *sorted((stage.nu, rho))))
        both = (p + torch.roll(p, 1, 2 + rho)).flatten(1)[:, sites]
        testing.require_close(trace(f"complete {rho}"), both, f"plaquettes in the plane of {rho}", 1e-12)
    rho = 0
    wide = group.trace(loops.rectangle(space, x, stage.nu, rho, 2, 1)).flatten(1)[:, sites]
    there = f"path +{stage.nu} +{rho} -{stage.nu} -{stage.nu} -{rho}"
    testing.require_close(trace(there), wide, "a rectangle", 1e-12)


def test_loops_of_six_links_in_two_dimensions():
    """The six rectangles through a link: two across, and along it two on either side."""
    assert len(six_links(0, 2)) == 6
    for steps in six_links(1, 4):
        visited = [(0, 1, 0, 0)]
        for mu, base, sign in steps:
            start = visited[-1]
            assert base == (start if sign > 0 else tuple(x - (axis == mu) for axis, x in enumerate(start)))
            visited.append(tuple(x + sign * (axis == mu) for axis, x in enumerate(start)))
        assert visited[-1] == (0,) * 4
        assert len(set(visited)) == 6


def test_mean_elements():
    """<V> of the density exp(Re Tr(V R) / N), by numerical integration over the angle."""
    a = (torch.arange(20000) + 0.5) / 20000 * math.pi
    for group, n in ((U1, 0), (SU2, 2)):
        for k in (1e-3, 0.09, 0.7, 1.3, 12.0):
            weight = (k * a.cos() - k).exp() * a.sin() ** n
            R = k * group.ambient(group.identity((1,), torch.zeros(1)))
            came = group.sphere(group.mean_element(R))[0]
            assert came[0] == pytest.approx(float((weight * a.cos()).sum() / weight.sum()), rel=1e-7)
            assert came[1:].abs().max() < 1e-14


def test_mean_elements_of_su3():
    """Exact for multiples of elements; elsewhere near the mean of the exact law, which is the slope of its ln Z."""
    rng = testing.seeded()
    for k in (1e-3, 0.5, 2.0, 6.0, 30.0):
        R = k * SU3.haar((1,), rng)
        assert float(SU3.trace(SU3.compose(SU3.mean_element(R), R))) == pytest.approx(
            k * SU3.one_plaquette_mean(k), rel=1e-5
        )
        assert float(SU3.log_mean_weight(torch.tensor(k * k))) == pytest.approx(SU3.one_plaquette_log_z(k), rel=1e-4)
    for k, most in ((0.5, 0.003), (2.0, 0.03)):
        R = k * (SU3.haar((200,), rng) + SU3.haar((200,), rng))
        model = SU3HeatbathConditional(1)
        model.coefficients.data.fill_(1.0)
        exact = model.mean((R,))
        off = (SU3.mean_element(R) - exact).abs().square().sum((-1, -2)).mean().sqrt()
        assert float(off) < most * float(exact.abs().square().sum((-1, -2)).mean().sqrt())


def test_the_norm_of_the_law_of_su3():
    """Beside the exact integral of one plaquette, and beside a mean over Haar-distributed links; 0 without staples."""
    model, one = SU3HeatbathConditional(1), torch.eye(3, dtype=torch.complex128)[None]
    for k in (0.0, 1.0, 6.0, 15.0):
        model.coefficients.data.fill_(k)
        expected = k - SU3.one_plaquette_log_z(k)
        assert float(model.log_prob(one, (one,)).detach()) == pytest.approx(expected, abs=1e-6)
    model.coefficients.data.fill_(2.0)
    R = (SU3.haar((1,), testing.seeded(1)) + SU3.haar((1,), testing.seeded(2))).expand(20000, 3, 3)
    v = SU3.haar((20000,), testing.seeded(3))
    weight = model.log_prob(v, (R,)).detach().exp()
    assert abs(float(weight.mean()) - 1) < 4 * float(weight.std()) / math.sqrt(len(weight))
    drawn = model.sample_and_log_prob((R,), testing.seeded(4))[0].detach()
    mean, error = drawn.mean(0), drawn.real.std(0) / math.sqrt(len(drawn))
    assert bool(((mean - model.mean((R[:1],))[0]).real.abs() < 4.5 * error).all())


# ---------------------------------------------------------------- densities


@pytest.mark.parametrize("group", FAST, ids=str)
@pytest.mark.parametrize(
    ("lattice", "order"),
    [((1, 2, 2), "hierarchical"), ((2, 1, 4), "cells"), ((1, 2, 1, 2), "colours"), ((2, 2), "cells")],
)
def test_the_density(group, lattice, order):
    """log_prob is that of the draws and of the map, it is gauge-invariant, and E_q[1/q] = 1."""
    flow = level(group, lattice, 0, order, 0.1)
    x, logq = flow.sample_and_log_prob(50, testing.seeded())
    testing.require_close(flow.log_prob(x), logq, "log_prob of a draw", 1e-9)
    z, logdet = flow.transform.inverse(x)
    testing.require_close(logdet, logq, "log|dz/dx|", 1e-9)
    testing.require_same_field(group, flow.transform(z)[0], x, "forward(inverse(x))", 1e-7)
    act = testing.symmetry(flow.space, "gauge", testing.seeded(5))
    y = flow.space.haar(5, testing.seeded(2))
    testing.require_close(flow.log_prob(act(y)), flow.log_prob(y), "log q of g x", 1e-10)
    with torch.no_grad():
        weights = (-flow.sample_and_log_prob(8000, testing.seeded(4)).logq).exp()
    error = float(weights.std()) / math.sqrt(len(weights))
    assert error < 0.1
    assert abs(float(weights.mean()) - 1) < 4 * error


@pytest.mark.parametrize("group", [U1, SU2], ids=str)
def test_loops_with_missing_links(group):
    """They are terms of early stages; log q is that of the draws and gauge-invariant. Without rounds there are none."""
    doubling = LinkDoubling(fk.links((2, 2, 2), group), 0, "hierarchical")

    def counts(**settings):
        context = DressedStaples(1.3, (1, 1, 1), loops=6, **settings)
        return [sum(t.startswith("path") for t in context.terms(doubling, stage)) for stage in doubling.stages]

    complete, every = counts(), counts(incomplete=True)
    assert every == [44] * len(every)
    assert complete[0] < 44
    assert counts(incomplete=True, rounds=0) == complete
    flow = level(group, (2, 1, 2), 0, "cells", 0.1, incomplete=True, strengths=(1.0,))
    x, logq = flow.sample_and_log_prob(20, testing.seeded())
    testing.require_close(flow.log_prob(x), logq, "log_prob of a draw", 1e-9)
    act = testing.symmetry(flow.space, "gauge", testing.seeded(5))
    testing.require_close(flow.log_prob(act(x)), logq, "log q of g x", 1e-9)


@pytest.mark.parametrize("group", FAST, ids=str)
def test_the_contract_of_a_transform(group):
    new = level(group, (1, 2, 2), 0, "cells", 0.2, rounds=1, loops=4, strengths=(1.0,)).transform
    testing.check_transform(new, local=False, periodic=False)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_score_is_the_slope_of_log_q(group):
    """By finite differences in every coefficient of a stage, and by autograd in all of them."""
    flow = level(group, (1, 2, 2), 0)
    x = flow.sample(3, testing.seeded()).detach()
    score = flow.score(x)
    rows = [torch.autograd.grad(one, list(flow.parameters()), retain_graph=True) for one in flow.log_prob(x)]
    expected = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    testing.require_close(score, expected, "the score", 1e-9)
    first = next(flow.parameters())
    for i in range(len(first)):
        logs = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                first[i] += step
                logs.append(flow.log_prob(x))
                first[i] -= step
        testing.require_close((logs[0] - logs[1]) / 2e-5, score[:, i], "a difference of log q", 1e-7)


@pytest.mark.parametrize("group", FAST, ids=str)
def test_weights_have_the_mean_z(group):
    """E_q[w] = Z on 2x2x2, beside the mean of exp(-S) over Haar-distributed fields, which knows no model."""
    action = fk.Wilson(fk.links((2, 2, 2), group), 0.5)
    flow = testing.randomised(fk.multiscale_flow(action.space, strength=0.5), testing.seeded(7), 0.03)
    with torch.no_grad():
        x, logq = flow.sample_and_log_prob(8000, testing.seeded(3))
        ours = (-action(x) - logq).exp()
        plain = (-action(action.space.haar(60_000, testing.seeded(4)))).exp()
    means = [(float(w.mean()), float(w.std()) / math.sqrt(len(w))) for w in (ours, plain)]
    (mine, error), (other, noise) = means
    assert noise < 0.05 * other
    assert error < 0.02 * mine
    assert abs(mine - other) < 4 * math.hypot(error, noise)


def test_missing_links_are_replaced_by_their_mean_in_a_stiff_field():
    """All known links 1, beta large: the dressed staples of a plane are nearly 2, as complete ones are."""
    doubling = LinkDoubling(fk.links((1, 4, 4), U1), 0, "hierarchical")
    coarse, first, new = doubling.split(doubling.fine.cold(1, like=torch.zeros(1)))
    context, stage = DressedStaples(50.0, (1, 1, 1), rounds=2), doubling.stages[0]
    terms = context.terms(doubling, stage)
    loops = context.given(doubling, stage, context.begin(doubling, coarse, first), new, terms)
    given = {term: loop.real.item() for term, loop in zip(terms, loops, strict=True)}
    assert given["complete 0"] == pytest.approx(2)
    for rounds in (1, 2):
        assert given[f"dressed 2 by 1 in {rounds}"] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("lattice", "expected"), [((4, 4, 4), [7.4, 3.3, 0.39, 0.095, 0.004]), ((2, 2, 2, 2), None), ((4, 8), [0] * 5)]
)
def test_what_orders_lose_for_free_photons(lattice, expected):
    """Later links that see earlier ones lose less; in two dimensions nothing is lost."""
    space = fk.links(lattice, U1)
    found = [fk.multiscale.free_field_loss(space, order) for order in ("together", *ORDERS)]
    assert found == sorted(found, reverse=True) or lattice == (4, 8)
    if expected:
        assert found == pytest.approx(expected, rel=0.02, abs=1e-3)


def test_a_photon_field_on_other_sides_is_refused():
    with pytest.raises(ValueError, match=r"whose sides are powers of two; got Links U1 on 2x3x2\."):
        fk.multiscale.free_field_loss(fk.links((2, 3, 2), U1), "cells")


# ---------------------------------------------------------------- other lattices


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_weights_of_one_lattice_serve_others(group):
    """The finest levels of 2x2x4 have the coefficients of 2x2x2, kind by kind; draws and log_prob agree there."""
    flow = testing.randomised(fk.multiscale_flow(fk.links((2, 2, 2), group), strength=1.2), testing.seeded(7), 0.1)
    x = flow.space.haar(3, testing.seeded())
    testing.require_close(flow.on(flow.space).log_prob(x), flow.log_prob(x), "log q on the same lattice", 1e-12)
    larger = flow.on(fk.links((4, 4, 4), group))
    assert [new.space.lattice for new in levels(larger)] == [(4, 2, 2), (4, 4, 2), (4, 4, 4)]
    x, logq = larger.sample_and_log_prob(4, testing.seeded())
    testing.require_close(larger.log_prob(x), logq, "log_prob of a draw", 1e-9)
    for mine, theirs in zip(levels(flow), levels(larger), strict=True):
        assert mine.state_dict().keys() == theirs.state_dict().keys()
        assert len(theirs.models) > len(mine.models)
        kinds = [stage.kind for stage in mine.doubling.stages]
        for stage, model in zip(theirs.doubling.stages, theirs.models, strict=True):
            if stage.kind in kinds:
                own = mine.models[kinds.index(stage.kind)]
                assert torch.equal(own.coefficients, model.coefficients)


def test_another_coupling():
    """Coefficients and the coupling of the means both follow; those of complete plaquettes at the start are beta."""
    space = fk.links((2, 2, 2), SU2)
    flow = fk.multiscale.strengthened(fk.multiscale_flow(space, strength=1.0), 1.5)
    expected = fk.multiscale_flow(space, strength=1.5)
    assert [level.context for level in levels(flow)] == [level.context for level in levels(expected)]
    x = space.haar(3, testing.seeded())
    testing.require_close(flow.log_prob(x), expected.log_prob(x), "log q at 1.5 times the coupling", 1e-10)


# ---------------------------------------------------------------- training


def fields(action, n, seed=1):
    chains = fk.run(fk.Heatbath(action), 4, chains=n // 4, thermalise=30, every=3, rng=seed)
    return chains.x.reshape(-1, *action.space.shape)


@pytest.mark.parametrize("group", FAST, ids=str)
def test_fisher_scoring_finds_the_maximum(group, monkeypatch):
    """There the score of every coefficient has mean zero over the fields, and a step more changes nothing."""
    action = fk.Wilson(fk.links((2, 2, 2), group), 1.0)
    x = fields(action, 800)
    flow = fk.models.dressed_flow(action.space, 1.0, rounds=1, loops=4, ahead=False, powers=False)
    method = fk.train.MaximumLikelihoodStep(x, iterations=12, ridge=1e-6)
    monkeypatch.setattr("flowkit.train.fisher_scoring.PRIOR_LINKS", 0.0)  # the likelihood alone
    trainer = fk.Trainer(flow, action, batch=800, method=method).fit(method.steps, progress=False)
    s = flow.score(x)
    testing.require((s.mean(0).abs() < 1e-3 * s.square().mean(0).sqrt() + 1e-6).all(), "The likelihood has a slope.")
    before = flow.log_prob(x).mean().detach()
    trainer.fit(method.steps, progress=False)
    assert abs(float((flow.log_prob(x).mean() - before).detach())) < 1e-4
    generator = testing.seeded(9)
    for _ in range(3):  # and nearby weights are less likely
        other = flow.on(flow.space)
        with torch.no_grad():
            for p in other.parameters():
                p.add_(0.05 * torch.randn(p.shape, generator=generator))
        assert float(other.log_prob(x).mean().detach()) < float(before)


def test_the_weak_prior_holds_what_fields_leave_open():
    """Ten fields determine few of the coefficients; the others stay small, and new fields are likelier than by Haar."""
    action = fk.Wilson(fk.links((2, 2, 2), U1), 1.0)
    flow, method = fk.multiscale_flow(action.space), fk.train.MaximumLikelihoodStep(fields(action, 12), iterations=15)
    fk.Trainer(flow, action, batch=12, method=method).fit(method.steps, progress=False)
    assert max(float(p.detach().abs().max()) for p in flow.parameters()) < 5
    assert float(flow.log_prob(fields(action, 400, 3)).mean().detach()) > 0


@pytest.mark.parametrize("group", FAST, ids=str)
def test_training_reaches_a_high_ess(group):
    """2x2x2 at beta = 1.5, with the plaquette of an own heatbath."""
    action = fk.Wilson(fk.links((2, 2, 2), group), 1.5)
    flow, method = fk.multiscale_flow(action.space, strength=1.5), fk.train.MaximumLikelihoodStep(fields(action, 2000))
    fk.Trainer(flow, action, batch=1000, method=method).fit(method.steps, progress=False)
    with torch.no_grad():
        ensemble = fk.importance_sample(flow, action, 2000, rng=3, observe=(fk.plaquette,), keep=False)
    assert ensemble.ess().value > 0.9
    p = fk.plaquette(action.space, fields(action, 8000, 5))
    mine, error = ensemble.mean(fk.plaquette), float(p.std()) / math.sqrt(len(p) / 2)
    assert abs(mine.value - float(p.mean())) < 4 * math.hypot(mine.error, error)


def test_what_cannot_be_trained_so():
    space = fk.links((2, 2, 2), U1)
    x, action = space.haar(4, testing.seeded()), fk.Wilson(space, 1.0)
    step = fk.train.MaximumLikelihoodStep
    flat = fk.Wilson(fk.links((4, 4), U1), 1.0)
    with pytest.raises(ValueError, match="needs a multiscale model of links without couplings; got a Chain"):
        fk.Trainer(fk.gauge_flow(flat.space), flat, method=step(flat.space.haar(4, testing.seeded())))
    with pytest.raises(ValueError, match=r"holds fields \[batch, 3, 2, 2, 2\]; got \[4, 3, 2, 2\]"):
        fk.Trainer(fk.multiscale_flow(space), action, method=step(x[..., 0]))
    with pytest.raises(ValueError, match=r"loops of 4 or 6 links; got DressedStaples"):
        DressedStaples(1.0, (1, 1, 1), loops=5)
    with pytest.raises(ValueError, match='links of one direction at a time; the order is "together"'):
        fk.models.dressed_flow(space, 1.0, order="together")


@pytest.mark.parametrize("strength", [3.0, 12.0, 24.0, 36.0])
def test_draws_of_su3_links_have_their_density(strength):
    """The mean of a link is the slope of ln Z, and the weights of a nearby law have the mean 1, at every strength."""
    G, n = fk.SUN(3), 8000
    near = SU3HeatbathConditional(loops=1).double()
    law = SU3HeatbathConditional(loops=1).double()
    law.coefficients.data.fill_(strength)
    near.coefficients.data.fill_(0.9 * strength)
    turned = G.haar((n,), torch.Generator().manual_seed(5), torch.float64)
    for J in (torch.eye(3, dtype=turned.dtype).expand(n, 3, 3), 0.8 * torch.eye(3) + 0.2 * turned):
        V, logq = law.sample_and_log_prob((J,), torch.Generator().manual_seed(1))
        off = G.trace(G.compose(V - law.mean((J,)), J))
        assert abs(off.mean()) < 4 * off.std() / n**0.5
        ratio = (near.log_prob(V, (J,)) - logq).exp()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / n**0.5

"""Staple-conditional flows of new links, and their training level by level with a natural gradient."""

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.bijections import EigenangleSpline, LinkContext, OddCircleSpline, Residual
from flowkit.models import multiscale_flow
from flowkit.multiscale import (
    HeatAngleConditional,
    HeatbathConditional,
    StapleConditional,
    levels,
    strengthened,
)
from flowkit.nets import PointwiseNet
from flowkit.samplers.heatbath import one_plaquette
from flowkit.train.levels import LevelStep
from flowkit.train.natural_levels import LevelNaturalGradient

U1, SU2, SU3 = fk.U1(), fk.SUN(2), fk.SUN(3)


pytestmark = pytest.mark.usefixtures("double")


def odd(bins=8, loop=None):
    return EigenangleSpline(U1, loop, spline=OddCircleSpline(bins))


def heat(group, loops=2, strength=0.4):
    if group == SU3:
        return HeatAngleConditional(3, loops=loops, strength=strength, splines=False)
    return HeatbathConditional(group, loops=loops, strength=strength)


def flow(group, loops=2, kind=StapleConditional):
    if group == U1:
        return kind(heat(U1, loops), (odd(3), odd(3, 0)), loops, harmonics=2)
    return kind(heat(group, loops), (Residual(group.n), EigenangleSpline(group, bins=3)), loops, harmonics=1)


def links_of(model, shape=(3, 4), seed=1):
    draw = testing.seeded(seed)
    rest = tuple(model.group.haar(shape, draw) for _ in range(model.loops))
    return model.group.haar(shape, draw), rest


def rough(model, size=0.3):
    return testing.randomised(model, testing.seeded(5), size)


# ---------------------------------------------------------------- the density


@pytest.mark.parametrize("loops", [2, 3])
@pytest.mark.parametrize("group", [U1, SU2, SU3], ids=str)
def test_contract(group, loops):
    """Base variables and back, log q against autograd, E_Haar q = E_q 1/q = 1, equivariance, the score."""
    testing.check_conditional(flow(group, loops), loops, 1000)


def test_contract_of_any_circular_spline_with_a_network():
    testing.check_conditional(
        StapleConditional(heat(U1), (EigenangleSpline(U1, bins=3),), harmonics=2, hidden=(4,)), 2, 1000
    )


@pytest.mark.parametrize("group", [U1, SU2, SU3], ids=str)
def test_contract_with_longer_loops(group):
    updates = (odd(3), odd(3, 3)) if group == U1 else (Residual(group.n), EigenangleSpline(group, 2, bins=3))
    testing.check_conditional(StapleConditional(heat(group), updates, harmonics=1, windings=1), 2, 1000)


@pytest.mark.parametrize("group", [U1, SU2, SU3], ids=str)
def test_it_starts_at_its_prior(group):
    model = flow(group)
    v, rest = links_of(model)
    testing.require_close(model.log_prob(v, rest), model.prior.log_prob(v, rest), "log q", 1e-12)
    drawn, _ = model(v, rest)
    testing.require_same_field(group, drawn, model.prior(v, rest)[0], "links", 1e-10)


@pytest.mark.parametrize("loops", [2, 3])
def test_even_splines_respect_charge_conjugation(loops):
    model = rough(flow(U1, loops))
    v, rest = links_of(model)
    turned = model.log_prob(U1.inverse(v), tuple(U1.inverse(r) for r in rest))
    testing.require_close(turned, model.log_prob(v, rest), "log q of the conjugate", 1e-10)
    other = rough(StapleConditional(heat(U1, loops), (EigenangleSpline(U1),), loops))
    difference = other.log_prob(U1.inverse(v), tuple(U1.inverse(r) for r in rest)) - other.log_prob(v, rest)
    assert difference.abs().max() > 1e-3


def frozen(kind):
    """SU(3) with a prior that stands still."""
    model = rough(kind(heat(SU3), (Residual(3), EigenangleSpline(SU3, bins=3)), harmonics=1))
    model.prior.requires_grad_(False)
    return model


def check_score(model):
    """For the parameters that are trained, against autograd field by field."""
    v, rest = links_of(model)
    own = [p for p in model.parameters() if p.requires_grad]
    rows = [torch.autograd.grad(one, own, retain_graph=True) for one in model.log_prob(v, rest).sum(1)]
    expected = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    testing.require_close(model.score(v, rest), expected, "the score", 1e-9)


def test_the_score_leaves_out_a_frozen_prior():
    check_score(frozen(StapleConditional))
    model = rough(StapleConditional(heat(U1), hidden=(3,)))
    model.net.biases[0].requires_grad_(False)
    check_score(model)
    model.net.requires_grad_(False)
    check_score(model)


def test_the_score_needs_that_of_the_prior():
    model = flow(SU3)
    assert not model.scored
    assert flow(SU2).scored
    model.prior.requires_grad_(False)
    assert model.scored
    model.prior.requires_grad_(True)
    with pytest.raises(ValueError, match="HeatAngleConditional has no score in closed form"):
        model.score(*links_of(model))


@pytest.mark.parametrize("group", [U1, SU2], ids=str)
def test_a_field_of_staple_flows(group):
    """Normalised, gauge-invariant, and its score sums those of all scales."""
    space = fk.links((2, 4), group)
    model = rough(multiscale_flow(space, links=lambda _: flow(group)), 0.1)
    x, logq = model.sample_and_log_prob(4, testing.seeded(2))
    testing.require_close(model.log_prob(x), logq, "log q", 1e-9)
    act = testing.symmetry(space, "gauge", testing.seeded(5))
    testing.require_close(model.log_prob(act(x)), logq, "log q of g x", 1e-10)
    rows = [torch.autograd.grad(one, list(model.parameters()), retain_graph=True) for one in model.log_prob(x.detach())]
    expected = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    testing.require_close(model.score(x.detach()), expected, "the score", 1e-8)


def test_ordered_doublings_take_flows_of_four_loops():
    """In 3D later stages see four loops through each link."""
    doubling = fk.multiscale.LinkDoubling(fk.links((2, 1, 2), U1), 1, order="colours")
    models = [rough(flow(U1, stage.loops)) for stage in doubling.stages]
    assert {stage.loops for stage in doubling.stages} == {2, 4}
    model = fk.Flow(fk.priors.Embedded(fk.Haar(doubling.coarse), doubling), fk.multiscale.NewLinks(doubling, models))
    x, logq = model.sample_and_log_prob(3, testing.seeded())
    testing.require_close(model.log_prob(x), logq, "log q", 1e-10)
    testing.require_close(model.transform(model.transform.inverse(x)[0])[1], -logq, "logdet", 1e-9)


# ---------------------------------------------------------------- training


def trained(group, beta, side, steps, batch):
    space = fk.links((side, side), group)
    updates = (odd(),) if group == U1 else (Residual(group.n), EigenangleSpline(group, bins=4))

    def links(level):
        return StapleConditional(HeatbathConditional(group, strength=beta / 2**level), updates, harmonics=3)

    method = LevelStep(steps, LevelNaturalGradient(), pool=4096)
    return fk.Trainer(multiscale_flow(space, links=links), fk.Wilson(space, beta), batch=batch, method=method)


def test_the_natural_gradient_reaches_the_exact_conditionals():
    """U(1), 4x4, beta = 3: ESS and plaquette."""
    trainer = trained(U1, 3.0, 4, 100, 2048).fit(100, progress=False)
    ensemble = fk.importance_sample(trainer.flow, trainer.action, 4096, rng=7, observe=(fk.plaquette,), keep=False)
    assert ensemble.ess().value > 0.995
    mean = ensemble.mean(fk.plaquette)
    assert mean.within(mean.exact, sigmas=3), mean
    assert trainer.history["loss"][-1] < 1e-4


def test_su2_reaches_the_exact_conditionals():
    trainer = trained(SU2, 2.2, 4, 60, 1024).fit(60, progress=False)
    ensemble = fk.importance_sample(trainer.flow, trainer.action, 2048, rng=7, observe=(fk.plaquette,), keep=False)
    assert ensemble.ess().value > 0.995
    mean = ensemble.mean(fk.plaquette)
    assert mean.within(mean.exact, sigmas=3), mean


def test_a_resumed_run_equals_the_unbroken_one(tmp_path):
    whole = trained(U1, 2.0, 4, 24, 256).fit(24, progress=False)
    trained(U1, 2.0, 4, 24, 256).fit(9, progress=False, checkpoint=tmp_path / "run")
    resumed = trained(U1, 2.0, 4, 24, 256).load(tmp_path / "run").fit(15, progress=False)
    for ours, theirs in zip(whole.flow.parameters(), resumed.flow.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def kl_of_a_link(model, beta):
    """Half the variance of log w of links between two plaquettes at beta."""
    G, rng = model.group, testing.seeded(3)
    A = G.compose(*(one_plaquette(G, beta, 512, rng, torch.float64) for _ in range(2)))
    A = A.repeat(8, *[1] * (A.dim() - 1))
    v, logq = model.sample_and_log_prob((A, G.identity((len(A),), A)), rng)
    logw = beta * (G.trace(v) + G.trace(G.compose(v, A))) - logq
    return float(logw.detach().view(8, -1).var(0).mean() / 2)


@pytest.mark.parametrize("group", [U1, SU2, SU3], ids=str)
def test_a_start_from_a_nearby_beta(group):
    """Links of beta = 4 made for 5: the finest ones are as good there as they were; all others are moved along."""
    model = multiscale_flow(
        fk.links((4, 4), group), links=lambda level: StapleConditional(heat(group, strength=4.0 / 2**level))
    )
    nearby = strengthened(model, 5.0 / 4.0)
    old, new = (levels(one)[-1].models[0] for one in (model, nearby))
    assert kl_of_a_link(new, 5.0) < max(2e-12, 2 * kl_of_a_link(old, 4.0))
    assert kl_of_a_link(new, 5.0) < kl_of_a_link(old, 5.0) / 5
    for level, step in enumerate(reversed(levels(nearby))):
        (other,) = step.models
        expected = heat(group, strength=5.0 / 2**level).log_prob(*links_of(other))
        testing.require_close(other.log_prob(*links_of(other)), expected, "log q", 1e-12)


def test_a_start_of_class_functions_from_a_nearby_beta():
    for group in (U1, SU2):
        model = multiscale_flow(fk.links((2, 2), group))
        rough(model, 0.1)
        for ours, theirs in zip(model.parameters(), strengthened(model, 1.5).parameters(), strict=True):
            testing.require_close(theirs, 1.5 * ours, "coefficients", 1e-12)
    with pytest.raises(ValueError, match=r"needs ratio, a finite number > 0; got 0."):
        strengthened(model, 0.0)


# ---------------------------------------------------------------- bad input


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="needs updates, or None for the usual one"):
        StapleConditional(heat(U1), ())
    with pytest.raises(ValueError, match=r"needs loops, a whole number in \[2, 1000\]; got 1"):
        StapleConditional(heat(U1), loops=1)
    with pytest.raises(ValueError, match=r"does not move links of U1\(\)"):
        StapleConditional(heat(U1), (EigenangleSpline(SU2),))
    with pytest.raises(ValueError, match=r"does not move links of SUN\(2\)"):
        StapleConditional(heat(SU2), (odd(),))
    with pytest.raises(ValueError, match=r"one of 2, counted from 0; got 2\."):
        StapleConditional(heat(U1), (odd(loop=2),))
    with pytest.raises(ValueError, match=r"needs bins, a whole number in .2, 500.; got 1\."):
        odd(1)
    model = flow(U1, 3)
    v, rest = links_of(model)
    with pytest.raises(ValueError, match=r"made for 3 loops through each link; got 2\."):
        model.log_prob(v, rest[:2])
    with pytest.raises(ValueError, match=r"channels in, hidden ones and channels out; got \(3,\)\."):
        PointwiseNet([3])
    with pytest.raises(ValueError, match="An activation is one of"):
        PointwiseNet([3, 2], "sine")
    with pytest.raises(ValueError, match=r"needs max_kl_per_link, a finite number > 0; got 0.0"):
        LevelNaturalGradient(0.0, wide=0.1)
    space = fk.links((2, 2), SU3)
    action = fk.Wilson(space, 1.0)
    with pytest.raises(ValueError, match="needs a model with a score; HeatAngleConditional has none"):
        fk.Trainer(multiscale_flow(space), action, method=LevelStep(10, LevelNaturalGradient()))


# ---------------------------------------------------------------- planted mistakes


class ForgottenJacobian(StapleConditional):
    """The Jacobian of the last update is left out, on both ways."""

    def _run(self, v, rest, params, inverse):
        v, total = super()._run(v, rest, params, inverse)
        return v, total * 0.9


class WrongOrder(StapleConditional):
    """The inverse undoes the first update first."""

    def _run(self, v, rest, params, inverse):
        if not inverse:
            return super()._run(v, rest, params, inverse)
        total = torch.zeros_like(params[0])
        for update, own in zip(self.updates, torch.split(params, self.counts), strict=True):
            v, logdet = update.inverse(v, LinkContext(rest, own))
            total = total + logdet
        return v, total


class NotInvariant(StapleConditional):
    """The network sees a loop that does not close."""

    def _features(self, rest):
        found = super()._features(rest)
        return torch.cat([found[:-1], rest[0][None].cos()])


class ForgottenPrior(StapleConditional):
    """The score forgets that the updates move the link at which the prior is taken."""

    def score(self, v, rest):
        start = v.clone()
        return torch.cat([self.prior.score(start, rest), super().score(v, rest)[:, 3:]], 1)


@pytest.mark.parametrize("kind", [ForgottenJacobian, WrongOrder, NotInvariant, ForgottenPrior])
def test_planted_mistakes_are_found(kind):
    with pytest.raises(AssertionError):
        testing.check_conditional(flow(U1, kind=kind), 2, 1000)

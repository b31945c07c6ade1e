"""Level by level: characters, one-plaquette draws, the learned effective action, resumed runs."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ive

import flowkit as fk
from flowkit import exact, testing
from flowkit.multiscale import levels
from flowkit.samplers.heatbath import one_plaquette
from flowkit.storage import CheckpointError
from flowkit.train.level_methods import LevelFit, LevelGradient
from flowkit.train.levels import LevelStep
from flowkit.train.natural_levels import LevelNaturalGradient

U1, SU2, SU3 = fk.U1(), fk.SUN(2), fk.SUN(3)


pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize(("group", "order"), [(U1, 5), (SU2, 4), (SU3, 3), (fk.SUN(4), 2)], ids=str)
def test_characters_are_orthogonal(group, order):
    """Means of Re chi_r Re chi_s / (d_r d_s) over Haar: 0 for r != s; the trivial one is 1."""
    basis = group.characters(order)
    found = basis(group.haar((20000,), testing.seeded(), torch.float64))
    products = found[:, :, None] * found[:, None]
    mean, error = products.mean(0), products.std(0) / math.sqrt(20000)
    off = ~torch.eye(len(basis.reps), dtype=torch.bool)
    assert (mean[off].abs() < 5 * error[off]).all()
    assert torch.equal(found[:, 0], torch.ones(20000))
    one = basis(group.identity((1,), torch.zeros((), dtype=torch.float64)))
    testing.require_close(one, torch.ones_like(one), "chi_r(1) / d_r", 1e-12)


EXPECTED = [
    (U1, exact.u1_plaquette(3.0)),
    (SU2, exact.sun_one_plaquette(2, 3.0)),
    (SU3, exact.sun_one_plaquette(3, 3.0)),
]


@pytest.mark.parametrize(("group", "expected"), EXPECTED, ids=["U1", "SU2", "SU3"])
def test_one_plaquette(group, expected):
    found = group.trace(one_plaquette(group, 3.0, 20000, testing.seeded(), torch.float64))
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / math.sqrt(20000)


def run(steps, beta=1.0, seed=1, plan=100, **options):
    space = fk.links((4, 4), U1)
    method = LevelStep(plan, LevelGradient(lr=0.05), pool=1024, **options)
    trainer = fk.Trainer(fk.multiscale_flow(space, 6), fk.Wilson(space, beta), batch=256, method=method, seed=seed)
    return trainer if not steps else trainer.fit(steps, progress=False)


def test_the_learned_effective_action_is_exact():
    """f_1 = ln sum_n I_n(beta)^2 cos(n theta), up to a constant."""
    trainer = run(400, plan=400)
    theta = torch.linspace(-2, 2, 41)
    n = np.arange(1, 30)
    u = torch.from_numpy((ive(n, 1.0) / ive(0, 1.0)) ** 2)
    truth = (1 + 2 * (u * torch.cos(theta[:, None] * torch.from_numpy(n))).sum(1)).log()
    gap = trainer.method.effective(1, theta) - truth
    assert float(gap.std()) < 0.02 < float(truth.std())
    level, ess = trainer.history["level"], trainer.history["ess"]
    assert sorted(set(level)) == [0, 1, 2, 3]
    assert np.isfinite(ess).sum() == 4
    assert ess[np.isfinite(ess)][-1] > 0.9


@pytest.mark.parametrize("kl_fraction", [0.0, 1.0])
def test_the_two_losses_of_single_links(kl_fraction):
    """Half of the variance of log w, or ln <w> - <log w>, over the links that share an A; the mean over A of it."""
    flow, beta = testing.randomised(fk.multiscale_flow(fk.links((2, 2), U1), 4), testing.seeded()), 1.5
    model, method = levels(flow)[0].models[0], LevelGradient(kl_fraction=kl_fraction)
    method.prepare(flow, [model])
    pool = U1.haar((4096,), testing.seeded(2))
    fit = LevelFit(model, lambda x: beta * U1.trace(x), U1, pool, draws=8, now=0, count=10)
    rng = testing.seeded(3)
    V, (A, zero), logw = fit.sample(fit.some(16, rng), rng)
    expected = beta * (V + A).cos() + beta * V.cos() - model.log_prob(V, (A, zero))
    testing.require_close(logw.flatten(), expected, "log w", 1e-9)
    of_one = [expected[a == A] for a in A.unique()]
    assert [len(w) for w in of_one] == [8] * 16
    if kl_fraction:
        loss = torch.stack([w.exp().mean().log() - w.mean() for w in of_one]).mean()
    else:
        loss = torch.stack([w.var() for w in of_one]).mean() / 2
    testing.require_close(method.improve(fit, 128, 1.0, testing.seeded(3)).loss, loss, "loss", 1e-9)


def test_a_pool_holds_products_of_independent_plaquettes():
    """A of level j is a product of 2^(j + 1) of them, <cos A> = (I_1 / I_0)^(2^(j + 1))."""
    method, space = LevelStep(4, shares=(1, 1, 1, 1), pool=2**17), fk.links((4, 4), U1)
    trainer = fk.Trainer(fk.multiscale_flow(space, 4), fk.Wilson(space, 2.0), batch=64, method=method)
    for level in range(2):
        trainer.fit(1, progress=False)
        cosine = method.pool.cos()
        error = float(cosine.std()) / math.sqrt(len(cosine) / 2)  # a plaquette stands in two of them
        assert abs(float(cosine.mean()) - exact.u1_wilson_loop(2.0, 2 ** (level + 1))) < 4 * error


def test_a_step_that_makes_kl_worse_is_undone_with_more_damping():
    group, model = U1, fk.multiscale.ClassFunctionConditional(4)
    method, pool = LevelNaturalGradient(), group.haar((512,), testing.seeded(2))
    method.prepare(model, [model])
    rng = testing.seeded(3)

    def improve(now):
        before = [p.clone() for p in model.parameters()], float(method.damping)
        fit = LevelFit(model, lambda x: 1.5 * group.trace(x), group, pool, draws=8, now=now, count=100)
        method.improve(fit, 512, 1.0, rng)
        return before

    for step in range(4):
        known, damping = improve(step)
        assert not any(torch.equal(a, b) for a, b in zip(known, model.parameters(), strict=True))
        assert float(method.damping) == (damping if step else method.damping_first) / 2
    with torch.no_grad():
        for p in model.parameters():
            p.add_(20.0)  # far from the target
    _, damping = improve(4)
    assert all(torch.equal(a, b) for a, b in zip(known, model.parameters(), strict=True))
    assert float(method.damping) == 8 * damping


def test_a_resumed_run_equals_the_unbroken_one(tmp_path):
    whole = run(60)
    run(41, seed=1).save(tmp_path / "run")
    resumed = run(0, seed=5).load(tmp_path / "run").fit(19, progress=False)
    for ours, theirs in zip(whole.flow.parameters(), resumed.flow.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(whole.method.coefficients, resumed.method.coefficients)


def test_a_checkpoint_of_another_method_or_plan_is_refused(tmp_path):
    run(41, plan=60).save(tmp_path / "run")
    space = fk.links((4, 4), U1)
    for steps, improver in ((60, LevelNaturalGradient()), (61, LevelGradient(lr=0.05))):
        method = LevelStep(steps, improver, pool=1024)
        trainer = fk.Trainer(fk.multiscale_flow(space, 6), fk.Wilson(space, 1.0), batch=256, method=method)
        before = [p.clone() for p in trainer.flow.parameters()]
        with pytest.raises(CheckpointError, match=r"a plan of 6. steps by .*got the state of one of 60 steps"):
            trainer.load(tmp_path / "run")
        assert all(torch.equal(a, b) for a, b in zip(before, trainer.flow.parameters(), strict=True))


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="LevelStep needs"):
        LevelStep(0)
    with pytest.raises(ValueError, match=r"LevelGradient needs kl_fraction, a number in \[0, 1\]; got 1.5"):
        LevelGradient(kl_fraction=1.5)
    space = fk.links((4, 4), U1)
    with pytest.raises(ValueError, match=r"LevelStep trains a multiscale model of links in 2D; got Flow\."):
        fk.Trainer(fk.gauge_flow(space), fk.Wilson(space, 1.0), method=LevelStep(10))
    with pytest.raises(ValueError, match="needs order, a whole number >= 1"):
        U1.characters(0)

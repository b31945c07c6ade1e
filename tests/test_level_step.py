"""Level by level: characters, one-plaquette draws, the learned effective action, resumed runs."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ive

import flowkit as fk
from flowkit import exact, testing
from flowkit.samplers.heatbath import one_plaquette
from flowkit.storage import CheckpointError
from flowkit.train.level_methods import LevelGradient
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
    with pytest.raises(ValueError, match=r"LevelStep needs steps >= 1, draws >= 2"):
        LevelStep(0)
    with pytest.raises(ValueError, match=r"LevelGradient needs kl_fraction in \[0, 1\]; got 1.5"):
        LevelGradient(kl_fraction=1.5)
    space = fk.links((4, 4), U1)
    with pytest.raises(ValueError, match=r"LevelStep trains a multiscale model of links in 2D; got Flow\."):
        fk.Trainer(fk.gauge_flow(space), fk.Wilson(space, 1.0), method=LevelStep(10))
    with pytest.raises(ValueError, match="Characters need a whole order >= 1; got 0"):
        U1.characters(0)

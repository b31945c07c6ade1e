"""While a trainer changes a flow others get copies of it, no second trainer starts, and gradients are their own."""

import copy
import threading
import warnings

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit.ensemble import Job, layer_numbers
from flowkit.tasks.in_training import frozen

SPACE = fk.sites((4, 4))
ACTION = fk.Phi4(SPACE, m2=1.0, lam=0.5)
LINKS = fk.links((4, 4), fk.U1())
WILSON = fk.Wilson(LINKS, beta=1.0)


def small(seed=1, **options):
    torch.manual_seed(seed)
    return fk.Trainer(fk.scalar_flow(SPACE, 1, 3, (4,)), ACTION, batch=8, seed=1, **options)


@pytest.fixture
def paused():
    """A trainer that holds after a few steps of many."""
    trainer, reached = small(), threading.Event()
    trainer.callbacks.append(lambda t: (t.pause(), reached.set()) if t.step >= 3 else None)  # between two steps
    trainer.start(10**6)
    assert reached.wait(60)
    yield trainer
    trainer.stop()
    trainer.wait()


METHODS = {
    "Adam": lambda: small(),
    "natural gradient": lambda: fk.Trainer(
        fk.multiscale_flow(LINKS, terms=2), WILSON, batch=16, method=fk.NaturalGradientStep()
    ),
    "level by level": lambda: fk.Trainer(
        fk.multiscale_flow(LINKS, terms=2), WILSON, batch=64, method=fk.train.LevelStep(40, fk.train.LevelGradient())
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_others_change_nothing(method):
    """backward() and zero_grad() in another thread, between any two operations of a step."""
    alone = METHODS[method]().fit(20, progress=False)
    trainer = METHODS[method]()
    x = trainer.flow.sample(2, torch.Generator().manual_seed(1)).detach()
    trainer.start(20)
    others = 0
    while trainer.status == "running":
        trainer.flow.log_prob(x).sum().backward()
        trainer.flow.zero_grad()
        others += 1
    trainer.wait()
    assert others
    np.testing.assert_array_equal(trainer.history["loss"], alone.history["loss"])
    for mine, other in zip(trainer.flow.parameters(), alone.flow.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_step_leaves_the_gradients_of_the_module_alone():
    trainer = small()
    for p in trainer.flow.parameters():
        p.grad = torch.ones_like(p)
    trainer.fit(2, progress=False)
    assert all((p.grad == 1).all() for p in trainer.flow.parameters())


def test_a_second_trainer_is_refused_until_the_first_ends(paused):
    second = fk.Trainer(paused.flow, ACTION, batch=8)
    nested = fk.Flow(paused.flow, fk.transforms.Affine(SPACE))
    third = fk.Trainer(nested, ACTION, batch=8)
    for other in (second, third):
        with pytest.raises(RuntimeError, match=r"is being trained already, by Trainer\(.*\) at step \d+; stop"):
            other.start(1)
        assert other.status == "idle"
    paused.stop()
    paused.wait()
    assert second.fit(1, progress=False).status == "finished"


SAMPLING = {
    "run": lambda flow: fk.run(fk.IndependenceMetropolis(flow, ACTION), 2, chains=2, rng=1),
    "run through a flow": lambda flow: fk.run(fk.HMC(ACTION.pullback(flow.transform)), 2, chains=2, rng=1),
    "start": lambda flow: fk.start(fk.IndependenceMetropolis(flow, ACTION), 2, chains=2, rng=1).wait().ensemble,
    "Flow.sample": lambda flow: flow.sample(4, rng=1),
    "importance_sample": lambda flow: fk.importance_sample(flow, ACTION, 4, rng=1),
    "posterior": lambda flow: _model(flow).posterior.sample(3, rng=1),
    "weighted posterior": lambda flow: _model(flow).posterior.weighted(3, rng=1),
    "density of the posterior": lambda flow: _model(flow).posterior.log_prob(torch.zeros(2, *SPACE.shape)),
    "chains of a model": lambda flow: _model(flow).mcmc.sample(3, chains=2, rng=1),
}


def _model(flow):
    model = fk.Model(flow.prior, flow.transform, ACTION)
    return model


def numbers(result):
    return result if isinstance(result, torch.Tensor) else result.series["S"]


@pytest.mark.parametrize("name", SAMPLING)
def test_what_samples_a_flow_in_training_says_so_and_takes_a_copy(name, paused):
    before = copy.deepcopy(paused.flow)
    with pytest.warns(UserWarning, match=rf"a copy of the weights at step {paused.step} of a training that goes on"):
        found = SAMPLING[name](paused.flow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = SAMPLING[name](before)
    assert torch.equal(numbers(found), numbers(expected))


def test_the_warning_points_at_the_line_of_the_caller(paused):
    with pytest.warns(UserWarning, match="samples a copy") as caught:
        fk.importance_sample(paused.flow, ACTION, 4, rng=1)
    assert caught[0].filename == __file__


def test_pictures_of_the_moment_do_not_warn(paused):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert layer_numbers(paused.flow, ACTION, n=4, fields=2).names


def test_callbacks_see_the_flow_itself():
    seen = []

    def look(trainer):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fk.importance_sample(trainer.flow, ACTION, 4, rng=1)
            seen.append(frozen(trainer.flow, "a test") is trainer.flow)

    trainer = small(callbacks=[look]).fit(2, progress=False)
    assert seen == [True, True]
    assert trainer.error is None


def test_callbacks_that_look_at_each_other():
    """Each of two trainings waits for a copy of the other's weights at every step, and both end."""
    one, other = small(), small()
    one.callbacks.append(lambda _: frozen(other.flow))
    other.callbacks.append(lambda _: frozen(one.flow))
    for trainer in (one, other):
        trainer.start(20)
    for trainer in (one, other):
        trainer.wait(60)
        assert (trainer.status, trainer.error) == ("finished", None)


def test_copies_are_taken_between_two_steps():
    """Each copy has the weights of one step, never some of one step and some of the next."""
    trainer, known = small(), set()

    def fingerprint(flow):
        return torch.cat([p.detach().flatten() for p in flow.parameters()]).numpy().tobytes()

    known.add(fingerprint(trainer.flow))
    trainer.callbacks.append(lambda t: known.add(fingerprint(t.flow)))
    trainer.start(10**6)
    taken = [fingerprint(frozen(trainer.flow)) for _ in range(50)]
    trainer.stop()
    trainer.wait()
    assert len(set(taken)) > 1
    assert set(taken) <= known


def test_a_job_keeps_its_flow_when_a_training_begins():
    trainer = small()
    job = Job(fk.IndependenceMetropolis(trainer.flow, ACTION), 200, chains=2, rng=1)
    expected = fk.run(fk.IndependenceMetropolis(copy.deepcopy(trainer.flow), ACTION), 200, chains=2, rng=1)
    job.start()
    trainer.fit(20, progress=False)
    assert torch.equal(job.wait().ensemble.series["S"], expected.series["S"])

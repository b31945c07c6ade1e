"""A trainer takes no checkpoint that it could not have written itself, and writes none that it would not take."""

import os

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.storage import CheckpointError, checkpoint, load_weights
from flowkit.testing import concrete
from flowkit.train import (
    ContinuityStep,
    LevelMethod,
    LevelNaturalGradient,
    LevelStep,
    MaximumLikelihoodStep,
    TrainingError,
    TrainingStep,
    schedules,
)
from flowkit.train.state import check_adam

SITES, LINKS = fk.sites((2, 2)), fk.links((4, 4), fk.U1())


def adam(**options):
    torch.manual_seed(1)
    flow = fk.Flow(fk.Normal(SITES), fk.transforms.Affine(SITES))
    return fk.Trainer(flow, fk.Phi4(SITES, m2=1.0, lam=0.5), batch=4, **options)


def links(method):
    torch.manual_seed(1)
    flow = fk.multiscale_flow(LINKS, terms=2)
    return fk.Trainer(flow, fk.Wilson(LINKS, 1.0), batch=64, method=method)


def likelihood():
    torch.manual_seed(1)
    space = fk.links((2, 2, 2), fk.U1())
    x = space.haar(8, torch.Generator().manual_seed(2))
    return fk.Trainer(fk.multiscale_flow(space), fk.Wilson(space, 1.0), batch=8, method=MaximumLikelihoodStep(x))


def continuity():
    series = fk.transforms.TrivializingFlow(LINKS, order=1, steps=2, path=True)
    return fk.Trainer(fk.Flow(fk.Haar(LINKS), series), fk.Wilson(LINKS, 1.0), batch=8, method=ContinuityStep())


METHODS = {
    "MaximumLikelihoodStep": likelihood,
    "GradientStep": lambda: adam(amsgrad=True, schedule=schedules.Plateau(patience=1)),
    "NaturalGradientStep": lambda: links(fk.NaturalGradientStep()),
    "ContinuityStep": continuity,
    "LevelStep": lambda: links(LevelStep(8, pool=64, fields=4)),
    "LevelGradient": lambda: links(LevelStep(8, pool=64, fields=4)),
    "LevelNaturalGradient": lambda: links(LevelStep(8, LevelNaturalGradient(), pool=64, fields=4)),
}


def test_every_method_is_checked():
    assert {cls.__name__ for kind in (TrainingStep, LevelMethod) for cls in concrete(kind)} == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_state_is_checked_before_it_is_used(name):
    testing.check_method(METHODS[name])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 9])
def test_a_level_method_is_taken_up_at_every_step(tmp_path, steps):
    """Also where the step before was the last of its level, whose weights are still kept."""
    make = METHODS["LevelNaturalGradient"]
    make().fit(steps, progress=False, checkpoint=tmp_path)
    whole, resumed = make().fit(12, progress=False), make().load(tmp_path).fit(12 - steps, progress=False)
    assert whole.history["loss"].tolist() == resumed.history["loss"].tolist()


def changed(tensors, name, change):
    return {
        n: change(t.clone()) if n.startswith("method.") and n.endswith(f".{name}") else t for n, t in tensors.items()
    }


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("exp_avg_sq", lambda t: t * 0 - 1, "lies in"),
        ("max_exp_avg_sq", lambda t: t * 0 - 1, "lies in"),
        ("exp_avg_sq", lambda t: t * torch.inf, "NaN or infinity"),
        ("exp_avg", lambda t: t * 0 + 3e38, "larger than its exp_avg_sq allows"),
        ("exp_avg_sq", lambda t: t * 0, "larger than its exp_avg_sq allows"),
        ("step", lambda t: t * 0 - 1, "lies in"),
        ("step", lambda t: t * 0 + 1e30, "lies in"),
        ("step", lambda t: t * 0 + 0.5, "whole number"),
    ],
)
def test_moments_that_no_gradients_give_are_refused(tmp_path, name, change, message):
    adam(amsgrad=True).fit(3, progress=False).save(tmp_path / "good")
    tensors, meta = checkpoint.load(tmp_path / "good")
    checkpoint.save(tmp_path / "bad", changed(tensors, name, change), meta)
    with pytest.raises(CheckpointError, match=message):
        adam(amsgrad=True).load(tmp_path / "bad")


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.9, 0.999), (0.5, 0.9), (0.99, 0.9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12])
def test_moments_of_any_gradients_are_taken(betas, dtype, scale):
    """Single large gradients, gradients of one sign, and gradients whose squares are zero in single precision."""
    weight, rng = torch.zeros(40, dtype=dtype, requires_grad=True), testing.seeded()
    optimizer = torch.optim.Adam([weight], lr=1e-3, betas=betas, fused=True)
    for _ in range(60):
        size = 10 ** (4 * torch.randn(40, generator=rng).clamp(-2, 2) / 2)
        weight.grad = (scale * size * (torch.randn(40, generator=rng) + 1)).to(dtype)
        optimizer.step()
        found = {f"w.{key}": value for key, value in optimizer.state[weight].items()}
        check_adam(found, {"w": weight}, betas, amsgrad=False)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path, bad):
    good = adam().fit(2, progress=False)
    good.save(tmp_path / "good")
    tensors, meta = checkpoint.load(tmp_path / "good")
    name = next(name for name in tensors if name.startswith("flow."))
    tensors[name].view(-1)[-1] = bad
    checkpoint.save(tmp_path / "bad", tensors, meta)
    for load in (adam().load, lambda path: load_weights(adam().flow, path)):
        with pytest.raises(CheckpointError, match=rf"holds weights that are NaN or infinite: {name[5:]}\."):
            load(tmp_path / "bad")
    with torch.no_grad():
        next(good.flow.parameters()).view(-1)[-1] = bad
    with pytest.raises(CheckpointError, match=r"is left as it was: the weights .* are NaN or infinite"):
        good.save(tmp_path / "good")
    assert checkpoint.load(tmp_path / "good")[1]["step"] == 2


@pytest.mark.parametrize("make", [adam, lambda **options: adam(amsgrad=True, **options)])
@pytest.mark.parametrize("lr", [100.0])
def test_a_rate_that_blows_training_up_leaves_finite_weights_and_says_so(tmp_path, make, lr):
    trainer = make(lr=lr, clip=None)
    with pytest.raises(TrainingError, match="The weights are finite, and every checkpoint is kept"):
        trainer.fit(30, checkpoint=tmp_path, every=1, progress=False)
    assert all(bool(p.isfinite().all()) for p in trainer.flow.parameters())
    assert load_weights(adam().flow, tmp_path) is not None


def test_a_message_names_weights_that_are_not_finite(tmp_path):
    class Bad(type(adam().method)):
        def step(self, flow, action, batch, lr_factor, rng):
            report = super().step(flow, action, batch, lr_factor, rng)
            with torch.no_grad():
                self.parameters[0].fill_(torch.nan)
            return report

    trainer = adam(method=Bad())
    with pytest.raises(TrainingError, match=r"The weights \S+ are NaN or infinite, and every checkpoint is kept"):
        trainer.fit(1, checkpoint=tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="holds no commit"):
        checkpoint.load(tmp_path)


def test_what_is_loaded_is_what_was_hashed(tmp_path):
    """A file that another program writes to afterwards changes nothing, also where it becomes shorter."""
    checkpoint.save(tmp_path, {"a": torch.zeros(100_000)}, {})
    tensors, _ = checkpoint.load(tmp_path)
    file = next(tmp_path.rglob("*.safetensors"))
    with file.open("r+b") as stream:
        stream.seek(-4, os.SEEK_END)
        stream.write(b"1234")
        stream.truncate(4096)
    assert float(tensors["a"].abs().sum()) == 0


def test_a_generator_that_gives_zeros_is_refused(tmp_path):
    adam().fit(1, progress=False).save(tmp_path / "good")
    tensors, meta = checkpoint.load(tmp_path / "good")
    for change in (lambda t: t[24:5016].zero_(), lambda t: t[:24].zero_()):
        state = tensors["rng"].clone()
        change(state)
        checkpoint.save(tmp_path / "bad", {**tensors, "rng": state}, meta)
        with pytest.raises(CheckpointError, match="is no checkpoint of this trainer"):
            adam().load(tmp_path / "bad")

"""The trainer: what it records, how it stops, what it keeps, and runs that go on bit for bit."""

import copy
import json
import math
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import flowkit as fk
from flowkit import stats, transforms
from flowkit.storage.checkpoint import CheckpointError
from flowkit.storage.disk import Disk
from flowkit.storage.store import Store
from flowkit.tasks.randomness import stream
from flowkit.train import GradientStep, Report, TrainingError, TrainingStep, losses, schedules
from flowkit.train.losses import Loss
from flowkit.train.weights import acceptance, log_ess

SPACE = fk.sites((4, 2))
ACTION = fk.Phi4(SPACE, m2=0.5, lam=0.6)


def small_flow(seed=1, space=SPACE, hidden=(3,)):
    torch.manual_seed(seed)
    return fk.Flow(
        fk.Normal(space, 0.6), fk.Chain(fk.CheckerboardCoupling(space, 0, hidden=hidden), transforms.Affine(space))
    )


def small_trainer(flow=None, action=ACTION, **options):
    return fk.Trainer(flow or small_flow(), action, **{"batch": 16, **options})


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.flow.parameters()])


def fit(trainer, steps, **options):
    return trainer.fit(steps, progress=False, **options)


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.002)


# ---------------------------------------------------------------- what is recorded


def test_history():
    action = fk.Phi4(SPACE, m2=0.5, lam=0.0)
    trainer = small_trainer(action=action, lr=2e-3)
    assert (trainer.status, trainer.step, trainer.total, trainer.error) == ("idle", 0, 0, None)
    assert fit(trainer, 12) is trainer
    assert (trainer.status, trainer.step, trainer.total, trainer.error) == ("finished", 12, 12, None)
    h = trainer.history
    assert h.columns == ("step", "loss", "ess", "kl", "acceptance", "grad_norm", "lr", "samples_per_s", "level")
    assert h["step"].tolist() == list(range(12))
    assert ((h["ess"] > 0) & (h["ess"] <= 1 + 1e-6)).all()
    assert ((h["acceptance"] > 0) & (h["acceptance"] <= 1)).all()
    assert (h["grad_norm"] > 0).all()
    assert (h["lr"] == 2e-3).all()
    assert (h["samples_per_s"] > 0).all()
    # KL = E[log q + S] + ln Z where Z is known
    assert h["kl"] == pytest.approx(h["loss"] + action.log_z())
    assert h["kl"].mean() > 0


def test_training_lowers_the_loss():
    trainer = fit(small_trainer(lr=2e-2, batch=64), 80)
    assert trainer.history["loss"][-10:].mean() < trainer.history["loss"][:10].mean() - 0.5


@pytest.mark.parametrize("loss", ["reverse_kl", "path_gradient", "ess"])
def test_kl_does_not_depend_on_what_is_minimised(loss):
    """The same weights and draws have the same KL divergence, whatever the loss is."""
    action = fk.Phi4(SPACE, m2=0.5, lam=0.0)
    trainer = fit(small_trainer(action=action, loss=loss, seed=3), 1)
    flow = small_flow()
    logw = losses.reverse_kl(flow, action, 16, stream(3, "training")).logw
    assert trainer.history["kl"][0] == pytest.approx(float(-logw.mean()) + action.log_z(), rel=1e-4)


def test_recorded_numbers_are_those_of_the_batch():
    trainer = fit(small_trainer(loss="reverse_kl", seed=3), 1)
    value, logw = losses.reverse_kl(small_flow(), ACTION, 16, stream(3, "training"))
    w = (logw - logw.max()).double().exp()
    h = trainer.history
    assert h["loss"][0] == pytest.approx(float(value.detach()), rel=1e-5)
    assert h["ess"][0] == pytest.approx(float(w.mean() ** 2 / (w**2).mean()), rel=1e-4)
    assert h["kl"][0] == pytest.approx(float(-logw.mean()) + ACTION.log_z(), rel=1e-4)  # ln Z by the transfer matrix


def test_the_same_seed_gives_the_same_run():
    one, same, other = (fit(small_trainer(seed=s), 5) for s in (1, 1, 2))
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


def test_learning_rate_and_coupling_follow_their_schedules():
    space = fk.links((4, 2), fk.U1())
    trainer = fk.Trainer(
        fk.gauge_flow(space, 3, (3,)), fk.Wilson(space, beta=2.0), batch=8, lr=1e-2,
        schedule=schedules.Cosine(warmup=2, final=0.1), anneal=schedules.Anneal("beta", 1.0, 4),
    )  # fmt: skip
    fit(trainer, 8)
    expected = [1e-2 * min(1, (k + 1) / 3) * (0.1 + 0.45 * (1 + math.cos(math.pi * k / 8))) for k in range(8)]
    assert trainer.history["lr"] == pytest.approx(expected)
    assert trainer.history["beta"].tolist() == [1.0, 1.25, 1.5, 1.75, 2, 2, 2, 2]
    kl = trainer.history["kl"]
    assert np.isnan(kl[:4]).all()  # ln Z of the target says nothing about another coupling
    assert np.isfinite(kl[4:]).all()


def test_clipping():
    """Updates with clip c are those of a gradient scaled to norm c; a generous clip changes nothing."""
    free, wide, tight = (fit(small_trainer(clip=clip, lr=1e-2), 3) for clip in (None, 1e6, 1e-12))
    assert torch.equal(weights(free), weights(wide))
    start = torch.cat([p.detach().flatten() for p in small_flow().parameters()])
    assert (weights(tight) - start).abs().max() < 1e-3 * (weights(free) - start).abs().max()
    assert tight.history["grad_norm"][0] == free.history["grad_norm"][0]  # recorded before the clip


def test_the_update_is_adams():
    """One step against torch's own Adam on the same loss."""
    flow = small_flow()
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3, betas=(0.9, 0.99))
    rng = stream(5, "training")
    for _ in range(3):
        optimizer.zero_grad()
        losses.path_gradient(flow, ACTION, 16, rng).value.backward()
        optimizer.step()
    trainer = fit(small_trainer(lr=3e-3, clip=None, seed=5), 3)
    expected = torch.cat([p.detach().flatten() for p in flow.parameters()])
    assert (weights(trainer) - expected).abs().max() < 1e-6


# ---------------------------------------------------------------- schedules


def test_plateau_lowers_the_rate_when_the_loss_stays():
    plateau = schedules.Plateau(patience=3, gamma=0.5, lowest=0.2, smooth=1.0)
    factors = [plateau.factor(k, 99, loss) for k, loss in enumerate([math.nan, 3, 2, 1, *[1] * 12])]
    assert factors == [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2]


def test_steps_and_constant():
    steps = schedules.Steps((2, 4), gamma=0.1)
    assert [steps.factor(k, 9, 0.0) for k in range(6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert [schedules.Constant(warmup=3).factor(k, 9, 0.0) for k in range(5)] == [0.25, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.Constant(-1), "Constant needs warmup, a whole number >= 0; got -1"),
        (lambda: schedules.Cosine(final=2.0), "Cosine needs (warmup|final|steps), a"),
        (lambda: schedules.Steps((4, 2)), "Steps needs rising milestones"),
        (lambda: schedules.Plateau(gamma=1.0), "Plateau needs (patience|gamma|lowest|smooth), a"),
        (lambda: schedules.Anneal("beta", 1.0, 0), "Anneal needs steps, a whole number >= 1; got 0"),
        (lambda: schedules.Anneal("beta", math.inf, 3), "Anneal needs start, a finite number; got inf"),
    ],
)
def test_bad_schedules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------- NaN


class Cracks(nn.Module):
    """Wraps a loss: from step `at` on the loss, or the gradient of the parameters alone, is NaN."""

    def __init__(self, at, value=True):
        super().__init__()
        self.at, self.value, self.calls = at, value, 0

    def forward(self, flow, action, n, rng):
        loss = losses.reverse_kl(flow, action, n, rng)
        self.calls += 1
        if self.calls <= self.at:
            return loss
        if self.value:
            return Loss(loss.value * math.nan, loss.logw)
        scale = flow.transform.steps[1].log_scale
        return Loss(loss.value + torch.sqrt(scale.sum() * 0), loss.logw)  # finite, with an infinite slope times zero


@pytest.mark.parametrize("value", [True, False])
def test_nan_stops_with_the_step_and_the_parameters(value, tmp_path):
    trainer = small_trainer(loss=Cracks(5, value))
    reference = fit(small_trainer(loss="reverse_kl"), 5)
    where = "transform" if value else r"transform\.steps\.1"
    with pytest.raises(TrainingError, match=rf"stopped at step 5: .*not finite in {where}"):
        fit(trainer, 20, checkpoint=tmp_path / "run", every=2)
    assert trainer.status == "failed"
    assert trainer.error.startswith("Training stopped at step 5")
    assert (trainer.step, len(trainer.history)) == (5, 5)
    assert torch.equal(weights(trainer), weights(reference)), "the weights are not those of the last good step"
    resumed = small_trainer(loss="reverse_kl").load(tmp_path / "run")
    assert resumed.step == 4
    if not value:
        assert "prior" not in trainer.error


def test_after_a_nan_training_can_go_on():
    cracks = Cracks(3)
    trainer = small_trainer(loss=cracks)
    with pytest.raises(TrainingError):
        fit(trainer, 10)
    cracks.at = 99
    fit(trainer, 2)
    assert (trainer.status, trainer.step, trainer.error) == ("finished", 5, None)
    assert trainer.history["step"].tolist() == [0, 1, 2, 3, 4]


def test_an_error_in_the_loss_is_reported():
    def broken(flow, action, n, rng):
        raise ZeroDivisionError("no such loss")

    trainer = small_trainer(loss=broken)
    with pytest.raises(TrainingError, match="ZeroDivisionError: no such loss") as caught:
        fit(trainer, 3)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert trainer.status == "failed"


# ---------------------------------------------------------------- start, pause, stop, interrupt


def test_pause_resume_stop():
    trainer = small_trainer()
    trainer.pause()
    trainer.resume()
    trainer.stop()
    assert trainer.status == "idle"  # nothing runs, nothing happens
    trainer.start(100_000)
    assert trainer.status == "running"
    until(lambda: trainer.step > 3)
    trainer.pause()
    assert trainer.status == "paused"
    time.sleep(0.1)  # the step under way ends
    held = trainer.step
    time.sleep(0.1)
    assert trainer.step == held == len(trainer.history)
    trainer.resume()
    until(lambda: trainer.step > held + 3)
    trainer.pause()
    trainer.stop()
    trainer.wait(20)
    assert trainer.status == "stopped"
    assert trainer.step == len(trainer.history) < trainer.total


def test_start_while_running_is_refused():
    trainer = small_trainer().start(100_000)
    try:
        with pytest.raises(RuntimeError, match=r"is running at step .*; stop it or wait for its end first"):
            trainer.start(5)
        with pytest.raises(RuntimeError, match="This trainer is running; stop it before it loads"):
            trainer.load("nowhere")
        with pytest.raises(RuntimeError, match=r"A running trainer saves with start\(checkpoint=...\)"):
            trainer.save("nowhere")
    finally:
        trainer.stop()
        trainer.wait(20)
    assert fit(trainer, 2).status == "finished"


def test_wait_with_a_timeout_returns_while_it_runs():
    trainer = small_trainer().start(100_000)
    began = time.monotonic()
    trainer.wait(0.2)
    assert 0.15 < time.monotonic() - began < 5
    assert trainer.status == "running"
    trainer.stop()
    trainer.wait(20)


def test_stop_and_go_equals_the_unbroken_run():
    trainer = small_trainer().start(6)
    trainer.wait()
    fit(trainer, 4)
    assert torch.equal(weights(trainer), weights(fit(small_trainer(), 10)))


INTERRUPT = """
import signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
import flowkit as fk
space = fk.sites((4, 2))
flow = fk.Flow(fk.Normal(space), fk.transforms.Affine(space))
trainer = fk.Trainer(flow, fk.Phi4(space, m2=0.5, lam=0.6), batch=8)
def press():
    while trainer.step < 5:
        time.sleep(0.01)
    signal.raise_signal(signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
if sys.argv[1] == "fit":
    trainer.fit(10_000_000, progress=False)
else:
    trainer.start(10_000_000)
    trainer.wait()
print(trainer.status, 5 <= trainer.step == len(trainer.history), trainer.error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
@pytest.mark.parametrize("how", ["fit", "wait"])
def test_an_interrupt_means_stop(how):
    done = subprocess.run([sys.executable, "-c", INTERRUPT, how], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "stopped True None", done.stderr


def test_an_interrupt_in_this_process():
    trainer = small_trainer()

    def press():
        until(lambda: trainer.step > 2)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job of a shell
    try:
        threading.Thread(target=press, daemon=True).start()
        fit(trainer, 10_000_000)
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.status == "stopped"
    assert trainer.step == len(trainer.history) > 2


@pytest.mark.filterwarnings("ignore:The callback")
def test_a_failing_callback_is_dropped_and_named():
    seen = []

    def good(trainer):
        seen.append(trainer.step)

    def bad(trainer):
        raise OSError("no such plot")

    trainer = small_trainer(callbacks=[bad, good])
    trainer.start(4)
    trainer.wait()
    assert trainer.status == "finished"
    assert trainer.error == "The callback bad failed and was dropped: no such plot"
    assert seen == [1, 2, 3, 4]
    assert trainer.callbacks == [good]


def test_a_callback_may_stop_the_run():
    trainer = small_trainer(callbacks=[lambda t: t.stop() if t.step >= 3 else None])
    fit(trainer, 1000)
    assert (trainer.status, trainer.step) == ("stopped", 3)


def test_another_training_step():
    """A step of one's own shares history, schedule and checkpoints."""

    class Shrink(TrainingStep):
        def prepare(self, flow):
            self.names = ["all"]

        def step(self, flow, action, batch, lr_factor, rng):
            loss = losses.reverse_kl(flow, action, batch, rng)
            with torch.no_grad():
                for p in flow.parameters():
                    p.mul_(0.9)
            return Report(loss.value.detach(), loss.logw, torch.ones(1))

        def learning_rate(self, lr_factor):
            return 0.1 * lr_factor

        def state(self):
            return {}, {}

        def load_state(self, tensors, meta):
            assert not tensors

    trainer = fit(fk.Trainer(small_flow(), ACTION, batch=8, method=Shrink()), 3)
    assert trainer.history["grad_norm"].tolist() == [1, 1, 1]
    assert trainer.history["lr"].tolist() == pytest.approx([0.1] * 3)


# ---------------------------------------------------------------- checkpoints


RUNS = {
    "plain": dict,
    "amsgrad, decay, cosine": lambda: {"amsgrad": True, "weight_decay": 1e-3, "schedule": schedules.Cosine(steps=10)},
    "plateau": lambda: {"schedule": schedules.Plateau(patience=1, gamma=0.5, smooth=0.5), "clip": None},
    "annealed": lambda: {"anneal": schedules.Anneal("m2", 2.0, 7), "loss": "reverse_kl"},
}  # fmt: skip


def same_history(one, other):
    columns = [c for c in one.history.columns if c != "samples_per_s"]
    return all(np.array_equal(one.history[c], other.history[c], equal_nan=True) for c in columns)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_equals_the_unbroken_one(name, dtype, tmp_path):
    """Bit for bit: weights, history, and the draws that come next."""
    whole = fit(small_trainer(small_flow().to(dtype), **RUNS[name]()), 10)
    fit(small_trainer(small_flow().to(dtype), **RUNS[name]()), 6, checkpoint=tmp_path / "run", every=4)
    resumed = small_trainer(small_flow(seed=9).to(dtype), **RUNS[name](), seed=77).load(tmp_path / "run")
    assert (resumed.status, resumed.step, len(resumed.history)) == ("stopped", 6, 6)
    fit(resumed, 4)
    assert weights(resumed).dtype == dtype
    assert torch.equal(weights(whole), weights(resumed))
    assert same_history(whole, resumed)
    assert torch.equal(whole.rng.get_state(), resumed.rng.get_state())


def test_a_folder_of_another_kind_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    trainer = small_trainer()
    with pytest.raises(CheckpointError, match=r"other files \(thesis\.tex\), and a checkpoint was to be written"):
        trainer.start(5, checkpoint=tmp_path)
    assert (trainer.status, trainer.step) == ("idle", 0)


def test_checkpoints_while_it_runs(tmp_path):
    trainer = small_trainer().start(7, checkpoint=tmp_path / "run", every=3)
    trainer.wait()
    assert Store(tmp_path / "run").names() == ("commit-000003", "commit-000002")
    assert small_trainer().load(tmp_path / "run").step == 7


def test_saving_soon_while_it_runs_and_where_it_cannot(tmp_path):
    trainer = small_trainer().start(100_000)
    until(lambda: trainer.step > 3)
    trainer.save_soon(tmp_path / "run")
    until(lambda: trainer.saved_step is not None)
    assert trainer.status == "running"
    (tmp_path / "file").write_text("no folder")
    trainer.save_soon(tmp_path / "file")
    until(lambda: trainer.error is not None)
    assert "file" in trainer.error
    assert trainer.status == "running"
    saved = trainer.saved_step
    trainer.stop()
    assert trainer.wait(20).status == "stopped"
    again = small_trainer().load(tmp_path / "run")
    assert again.step == saved == len(again.history)
    trainer.save_soon(tmp_path / "end")  # one that does not run saves at once
    assert trainer.saved_step == trainer.step
    assert small_trainer().load(tmp_path / "end").step == trainer.step


def test_saving_by_hand(tmp_path):
    trainer = fit(small_trainer(), 3)
    assert trainer.save(tmp_path / "run") == "commit-000001"
    assert torch.equal(weights(small_trainer(small_flow(5)).load(tmp_path / "run")), weights(trainer))


def test_saving_while_paused_waits_for_the_step_under_way(tmp_path):
    inside = threading.Event()

    def slow(flow, action, n, rng):
        loss = losses.reverse_kl(flow, action, n, rng)
        inside.set()
        time.sleep(0.3)
        return loss

    trainer = small_trainer(loss=slow).start(100)
    inside.wait(20)
    trainer.pause()
    trainer.save(tmp_path / "run")
    saved = small_trainer(loss=slow).load(tmp_path / "run")
    time.sleep(0.5)
    assert (saved.step, len(saved.history)) == (trainer.step, len(trainer.history)), "a step was saved half done"
    assert torch.equal(weights(saved), weights(trainer))
    trainer.stop()
    trainer.wait(20)


def check_refused(tmp_path, trainer, message):
    """Refused in a sentence, with everything as it was."""
    fit(small_trainer(), 3).save(tmp_path / "run")
    before, state, step = weights(trainer), trainer.rng.get_state(), trainer.step
    with pytest.raises(CheckpointError, match=message):
        trainer.load(tmp_path / "run")
    assert torch.equal(weights(trainer), before)
    assert torch.equal(trainer.rng.get_state(), state)
    assert trainer.step == step


REFUSED = {
    "another flow": (lambda: small_trainer(small_flow(hidden=(4,))), "holds the weights of another flow"),
    "another action": (lambda: small_trainer(action=fk.Phi4(SPACE, m2=0.5, lam=0.7)),
                       r"was trained with the action Phi4\(.*lam=0.6\); this trainer's action is Phi4\(.*lam=0.7\)"),
    "another batch": (lambda: small_trainer(batch=8), "trained with the batch 16; this trainer's batch is 8"),
    "another optimiser": (lambda: small_trainer(amsgrad=True), "is no checkpoint of this trainer"),
    "another schedule": (lambda: small_trainer(schedule=schedules.Plateau()), "the state of another schedule"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_checkpoints_of_others_are_refused(name, tmp_path):
    make, message = REFUSED[name]
    check_refused(tmp_path, make(), message)


def test_weights_alone_are_loaded_bit_for_bit(tmp_path):
    """Another action, batch and step do not matter; another lattice neither, where no weight depends on it."""
    trainer, states = small_trainer(amsgrad=True), []
    for _ in range(2):
        fit(trainer, 2).save(tmp_path)
        states.append(copy.deepcopy(trainer.flow.state_dict()))
    last, before = Store(tmp_path).names()
    for flow, name, state in (
        (small_flow(2), None, states[1]),
        (small_flow(2), last, states[1]),
        (small_flow(2), before, states[0]),
        (small_flow(2, space=fk.sites((6, 4))), None, states[1]),
    ):
        assert fk.storage.load_weights(flow, tmp_path, name) is flow
        assert flow.state_dict().keys() == state.keys()
        assert all(torch.equal(t, state[name]) for name, t in flow.state_dict().items())


def test_weights_of_another_flow_are_refused(tmp_path):
    fit(small_trainer(), 1).save(tmp_path / "run")
    for flow, message in (
        (small_flow(hidden=(4,)), r"another flow: .* is \[3\] of torch.float32 there and \[4\] of .* here\."),
        (small_flow().double(), r"another flow: .* of torch.float32 there and .* of torch.float64 here\."),
        (fk.scalar_flow(SPACE, layers=1), r"another flow: .* there and .* here\."),
    ):
        state = copy.deepcopy(flow.state_dict())
        with pytest.raises(CheckpointError, match=message):
            fk.storage.load_weights(flow, tmp_path / "run")
        assert all(torch.equal(t, state[name]) for name, t in flow.state_dict().items())
    with pytest.raises(CheckpointError, match="nothing does not exist"):
        fk.storage.load_weights(small_flow(), tmp_path / "nothing")
    fk.run(fk.HMC(ACTION), 2, chains=2, rng=1).save(tmp_path / "chains")
    with pytest.raises(CheckpointError, match="chains holds an ensemble, and a checkpoint was to be read"):
        fk.storage.load_weights(small_flow(), tmp_path / "chains")
    with pytest.raises(TypeError, match=r"needs a flow, then a folder; got Trainer\."):
        fk.storage.load_weights(small_trainer(), tmp_path / "run")


def test_a_folder_without_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="holds no commit"):
        small_trainer().load(tmp_path)


def test_a_full_disk_keeps_the_last_commit_and_names_it(tmp_path, monkeypatch):
    trainer = fit(small_trainer(), 3, checkpoint=tmp_path / "run")
    write = Disk.write

    def full(self, path, data):
        if path.name.endswith("safetensors"):
            raise OSError(28, "No space left on device", str(path))
        write(self, path, data)

    monkeypatch.setattr(Disk, "write", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*commit-000001 is its last commit"):
        fit(trainer, 4, checkpoint=tmp_path / "run", every=2)
    assert trainer.status == "failed"
    assert trainer.step == 4  # what was learnt since stays in the trainer
    monkeypatch.undo()
    assert small_trainer().load(tmp_path / "run").step == 3
    trainer.save(tmp_path / "run")
    assert small_trainer().load(tmp_path / "run").step == 4


def test_meta_data_is_plain(tmp_path):
    fit(small_trainer(), 2).save(tmp_path / "run")
    meta = json.loads((tmp_path / "run" / "commit-000001" / "checkpoint.json").read_text())
    assert meta["meta"]["action"] == repr(ACTION)


# ---------------------------------------------------------------- refusals


class Unnormalised(fk.Normal):
    normalised = False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: fk.Trainer(small_flow(), fk.Phi4(fk.sites((2, 4)), 1.0, 1.0)),
            "A flow trains towards an action of its",
        ),
        (lambda: small_trainer(batch=1), "Trainer needs batch, a whole number >= 2; got 1"),
        (lambda: small_trainer(lr=0.0), "needs lr, a number in .0, 100.; got"),
        (lambda: small_trainer(clip=0.0), "needs (clip|weight_decay), a finite number"),
        (lambda: small_trainer(loss="mse"), "A loss is one of"),
        (
            lambda: small_trainer(anneal=schedules.Anneal("beta", 1.0, 3)),
            r"coupling of the action \(m2, lam\); got 'beta'",
        ),
        (
            lambda: small_trainer(fk.Flow(fk.Normal(SPACE), transforms.Affine(SPACE)).requires_grad_(False)),
            "a flow with param",
        ),
        (lambda: small_trainer(fk.Flow(Unnormalised(SPACE), transforms.Affine(SPACE))), "needs log q.*not normalised"),
        (lambda: small_trainer().start(0), "needs steps, a whole number >= 1; got 0"),
        (
            lambda: small_trainer().start(5, every=0),
            "needs every, a whole number >= 1; got 0",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_options_raise():
    with pytest.raises(TypeError, match="learning_rate"):
        small_trainer(learning_rate=1e-3)


def test_options_of_the_optimiser_beside_a_step_of_ones_own_are_refused():
    with pytest.raises(ValueError, match="are options of GradientStep; give them to it"):
        small_trainer(method=GradientStep(), lr=1.0)


def test_acceptance_column_is_that_of_a_chain_in_equilibrium():
    """sum_{i != j} min(w_i, w_j) / ((n - 1) sum_i w_i), counted pair by pair; pairs of plain draws would give more."""
    logw = 1.3 * torch.randn(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    w = logw.exp()
    pairs = (torch.minimum(w[:, None], w[None]).sum() - w.sum()) / (499 * w.sum())
    torch.testing.assert_close(acceptance(logw), pairs)
    assert (logw.roll(1) - logw).clamp(max=0).exp().mean() > pairs + 0.05


@pytest.mark.parametrize("spread", [0.0, 0.1, 3.0, 300.0])
def test_batch_and_ensemble_share_the_formulas_of_the_weights(spread):
    """float64 on tensors equals numpy's; float32 with log w of several thousand keeps ESS and acceptance in range."""
    logw = 6000 + spread * torch.randn(256, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = log_ess(logw).exp(), acceptance(logw)
    theirs = stats.ess(logw.numpy()).value, stats.acceptance_from_logw(logw.numpy()).value
    assert [float(x) for x in ours] == pytest.approx(theirs, rel=1e-10)
    single = logw.float()
    exact = single.double()
    assert 0 < log_ess(single).exp() <= 1
    assert 0 < acceptance(single) <= 1
    torch.testing.assert_close(log_ess(single).double(), log_ess(exact), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(acceptance(single).double(), acceptance(exact), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [2, 3, 255, 20_000])
@pytest.mark.parametrize("level", [-6000.0, 6000.0, 3e5])
def test_nearly_equal_weights_in_single_precision(n, level):
    """Rounding of 6,000 in float32 is 2.4e-4: neither number may leave (0, 1], nor miss 1 by more."""
    logw = (level + 1e-4 * torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)).float()
    noise = float(logw.double().std()) + 1e-6
    for value in (log_ess(logw).exp(), acceptance(logw)):
        assert 1 - 4 * noise < float(value) <= 1
    for theirs in (stats.ess(logw.numpy()), stats.acceptance_from_logw(logw.numpy())):
        assert 1 - 4 * noise < theirs.value <= 1


def test_history_of_a_perfect_flow_of_a_large_volume():
    """-S and log q are several thousand each; ESS and acceptance of their difference stay at most 1."""
    space = fk.sites((96, 80))
    flow, action = fk.FreeField(space, m2=0.5, learned=True), fk.Phi4(space, m2=0.5, lam=0.0)
    history = fk.Trainer(flow, action, batch=16, lr=1e-9).fit(4, progress=False).history
    assert abs(action.log_z()) > 500
    for name in ("ess", "acceptance"):
        assert ((history[name] > 0.9) & (history[name] <= 1)).all(), history[name]


def test_the_annealed_coupling_names_its_column(tmp_path):
    trainer = fit(small_trainer(anneal=schedules.Anneal("m2", 2.0, 4)), 5)
    assert trainer.history["m2"].tolist() == [2.0, 1.625, 1.25, 0.875, 0.5]
    assert "beta" not in trainer.history.columns
    trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match="is no checkpoint of this trainer: A History of step"):
        small_trainer(anneal=schedules.Anneal("lam", 2.0, 4)).load(tmp_path)

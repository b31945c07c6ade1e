"""Training: a step, and a trainer that repeats it in a thread, with a history, pause and stop, and checkpoints.

A training step is a small object of its own, so that every way to train (gradients of a loss, natural gradient, level
by level) shares history, schedules, panels and checkpoints.
"""

import copy
import math
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.priors import Prior
from flowkit.storage import checkpoint as files
from flowkit.tasks.background import Background
from flowkit.tasks.history import History
from flowkit.train.losses import LossFunction, named, path_gradient
from flowkit.train.schedules import Anneal, Constant, Schedule

COLUMNS = ("step", "loss", "ess", "kl", "acceptance", "grad_norm", "lr", "samples_per_s", "beta", "level")
PathLike = str | os.PathLike[str]


class TrainingError(RuntimeError):
    """Training that cannot go on; the message names the step and what went wrong."""


class Report(NamedTuple):
    """What one step leaves behind, on the flow's device: nothing here waits for it."""

    loss: Tensor
    """Loss before the update, []."""
    logw: Tensor | None
    """log w = -S - log q of whole fields, [batch]; None where the step drew none."""
    norms: Tensor
    """Norm of the gradient of each parameter, [parameters]."""
    level: float = math.nan
    """The scale that the step trained, 0 the finest; NaN where it trained all."""


class TrainingStep(ABC):
    """One way to improve a flow: `step` draws a batch and updates the parameters once."""

    names: list[str]
    """Names of the parameters in the order of `Report.norms`."""
    parameters: list[Tensor]

    @abstractmethod
    def prepare(self, flow: Prior) -> None:
        """Take hold of the flow's parameters; called once, by the trainer."""

    def _take_parameters(self, flow: Prior) -> None:
        """Set `names` and `parameters` to what the flow lets be trained.

        Raises    ValueError for a flow without log q, or with nothing to train
        """
        if not (flow.normalised or flow.up_to_constant):
            raise ValueError("Training needs log q, and the flow's prior is not normalised.")
        trainable = [(name, p) for name, p in flow.named_parameters() if p.requires_grad]
        if not trainable:
            raise ValueError("Training needs a flow with parameters; got one with none.")
        self.names, self.parameters = [name for name, _ in trainable], [p for _, p in trainable]

    @abstractmethod
    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        """Draw, update, report. An update that is not finite must leave the parameters finite."""

    @abstractmethod
    def learning_rate(self, lr_factor: float) -> float:
        """The learning rate at that factor of the schedule."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that a resumed run needs, as tensors and plain data."""

    @abstractmethod
    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Take up a state that `state` gave."""


class GradientStep(TrainingStep):
    """Adam on the gradient of a loss.

    lr            learning rate
    clip          largest norm of the whole gradient; None leaves it as it is
    amsgrad       keeps the largest second moment (Reddi et al., 1904.09237)
    weight_decay  L2 term, dimensionless
    """

    def __init__(
        self,
        loss: LossFunction | str = path_gradient,
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        clip: float | None = 10.0,
        amsgrad: bool = False,
        weight_decay: float = 0.0,
    ):
        if not lr > 0 or (clip is not None and not clip > 0) or weight_decay < 0:
            raise ValueError(
                f"GradientStep needs lr > 0, clip > 0 and weight_decay >= 0; got {lr}, {clip} and {weight_decay}."
            )
        self.loss = named(loss) if isinstance(loss, str) else loss
        self.lr, self.betas, self.clip, self.amsgrad, self.weight_decay = lr, betas, clip, amsgrad, weight_decay

    def prepare(self, flow: Prior) -> None:
        self._take_parameters(flow)
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=self.lr,
            betas=self.betas,
            amsgrad=self.amsgrad,
            weight_decay=self.weight_decay,
            fused=True,
        )

    def step(self, flow: Prior, action: Action, batch: int, lr_factor: float, rng: torch.Generator) -> Report:
        self.optimizer.zero_grad()
        loss = self.loss(flow, action, batch, rng)
        loss.value.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        norms = torch.stack(torch._foreach_norm(gradients))
        total = torch.linalg.vector_norm(norms)
        finite = total.isfinite() & loss.value.detach().isfinite()
        limit = math.inf if self.clip is None else self.clip
        # Fused Adam divides by grad_scale and skips an update that found_inf marks, with no wait for the device.
        self.optimizer.grad_scale = (total / limit).clamp(min=1.0).float()  # type: ignore[attr-defined]
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(lr_factor)
        self.optimizer.step()
        return Report(loss.value.detach(), loss.logw, norms)

    def learning_rate(self, lr_factor: float) -> float:
        return self.lr * lr_factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {
            f"{name}.{key}": value
            for name, parameter in zip(self.names, self.parameters, strict=True)
            for key, value in self.optimizer.state[parameter].items()
        }
        return tensors, {}

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        wanted = {"step", "exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if self.amsgrad else [])}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            # Of the parameter's own dtype and device, as Adam makes them; its step counter stays float32.
            mine = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
            mine = {key: t for key, t in mine.items() if "." not in key}
            if set(mine) not in (set(), wanted):  # none: no step was made yet
                raise ValueError(f"Adam keeps {', '.join(sorted(wanted))} of {name}; got {', '.join(sorted(mine))}")
            self.optimizer.state[parameter] = {key: t.clone().to(parameter.device) for key, t in mine.items()}


def _acceptance(logw: Tensor) -> Tensor:
    """Acceptance of independence Metropolis in equilibrium, sum_ij min(w_i, w_j) / (n sum_i w_i), from n draws, [].

    The chain stands at x ~ p, not at a draw of q, so that the average over its place carries the weight w_i.
    """
    n = len(logw)
    w = torch.softmax(logw, 0).sort().values
    ranks = torch.arange(n, dtype=w.dtype, device=w.device)
    return (w * (2 * (n - ranks) - 1)).sum() / n


def _quality(report: Report) -> tuple[Tensor, Tensor, Tensor]:
    """ESS, acceptance and E_q[log q + S], each []; NaN where the step drew no whole fields."""
    logw = report.logw
    if logw is None:
        unknown = torch.full_like(report.loss, math.nan)
        return unknown, unknown, unknown
    ess = (2 * torch.logsumexp(logw, 0) - torch.logsumexp(2 * logw, 0)).exp() / len(logw)
    return ess, _acceptance(logw), -logw.mean()


class Trainer(Background):
    """Trains a flow towards an action: `fit(steps)` blocks, `start(steps)` runs in a thread.

    flow        any Prior with parameters
    action      the target, on the same space
    batch       draws in a step
    loss, lr, clip, amsgrad, weight_decay  options of GradientStep; or give another TrainingStep as `step`
    schedule    factor on the learning rate
    anneal      moves one coupling to its value in the action
    seed        of the draws; the same seed gives the same run
    callbacks   called as f(trainer) after every recorded step; one that fails is dropped, and `error` says so
    Raises      TypeError if `flow` is no Prior; ValueError where flow and action live on different spaces, or an
                option does not fit
    """

    what = "trainer"
    failure = TrainingError

    def __init__(
        self,
        flow: Prior,
        action: Action,
        *,
        batch: int = 256,
        loss: LossFunction | str = path_gradient,
        lr: float = 3e-3,
        clip: float | None = 10.0,
        amsgrad: bool = False,
        weight_decay: float = 0.0,
        step: TrainingStep | None = None,
        schedule: Schedule | None = None,
        anneal: Anneal | None = None,
        seed: int = 1,
        callbacks: Sequence[Callable[["Trainer"], object]] = (),
    ):
        if not isinstance(flow, Prior) or not isinstance(action, Action):
            names = f"{type(flow).__name__} and {type(action).__name__}"
            raise TypeError(f"Trainer needs a flow (any Prior), then an action; got {names}.")
        if flow.space != action.space:
            raise ValueError(f"A flow trains towards an action of its space; got {flow.space} and {action.space}.")
        if not isinstance(batch, int) or batch < 2:
            raise ValueError(f"Trainer needs a batch of at least 2 draws; got {batch!r}.")
        if not hasattr(seed, "__index__") or not 0 <= seed < 2**64:
            raise ValueError(f"Trainer needs a seed, a whole number >= 0 of at most 64 bits; got {seed!r}.")
        if anneal is not None and anneal.coupling not in action.parameters:
            has = ", ".join(action.parameters) or "none"
            raise ValueError(f"Anneal names a coupling of the action ({has}); got {anneal.coupling!r}.")
        usual = GradientStep(loss, lr, clip=clip, amsgrad=amsgrad, weight_decay=weight_decay)
        if step is not None and vars(usual) != vars(GradientStep()):
            raise ValueError("loss, lr, clip, amsgrad and weight_decay belong to GradientStep; give them to the step.")
        super().__init__(callbacks)
        self.flow, self.action, self.batch = flow, action, batch
        self.training_step = step or usual
        self.training_step.prepare(flow)
        self.schedule, self.anneal = schedule or Constant(), anneal
        self.rng = torch.Generator(flow.device).manual_seed(int(seed))
        self.history = History(COLUMNS)
        self.step = self.total = 0
        self.saved_step: int | None = None
        self._save_to: PathLike | None = None
        self._log_z = action.log_z() if flow.normalised else None
        self._whole = threading.RLock()  # held while a step changes weights, optimiser and history
        self._pending: list[tuple[int, float, float, float, Tensor, Tensor]] = []
        self._clock = 0.0

    def __repr__(self) -> str:
        return f"Trainer({type(self.flow).__name__} towards {self.action!r})"

    # -- running ---------------------------------------------------------------------------------------------------

    def start(self, steps: int, *, checkpoint: PathLike | None = None, every: int = 100) -> "Trainer":
        """Train `steps` more steps in a thread, after a stop too; with `checkpoint`, commit there every so many steps
        and at the end.

        Raises    RuntimeError while a run goes on; ValueError for steps or every that are no whole numbers >= 1;
                  flowkit.storage.checkpoint.CheckpointError for a folder that holds something else
        """
        if not (hasattr(steps, "__index__") and hasattr(every, "__index__")) or steps < 1 or every < 1:
            raise ValueError(f"Training needs whole numbers steps >= 1 and every >= 1; got {steps!r} and {every!r}.")
        self._check_ended()
        if checkpoint is not None:
            files.refuse_others(checkpoint)
        self.total = self.step + int(steps)
        self._begin(lambda: self._run(checkpoint, every))
        return self

    def fit(
        self, steps: int, *, checkpoint: PathLike | None = None, every: int = 100, progress: bool = True
    ) -> "Trainer":
        """`start` and `wait`, with a progress bar. An interrupt means stop and keeps all that was learnt."""
        from tqdm.auto import tqdm

        first = self.step
        self.start(steps, checkpoint=checkpoint, every=every)
        with tqdm(total=steps, disable=not progress, unit="step") as bar:
            try:
                while not self._ended.wait(0.2):
                    bar.update(self.step - first - bar.n)
                    if len(self.history):  # the newest numbers beside the bar
                        bar.set_postfix(
                            loss=f"{self.history.last('loss'):.4g}",
                            ess=f"{self.history.last('ess'):.3f}",
                            refresh=False,
                        )
            except KeyboardInterrupt:
                self.stop()
                self._ended.wait()
            bar.update(self.step - first - bar.n)
        return self.wait()

    def _where(self) -> str:
        return f" at step {self.step}"

    def _run(self, checkpoint: PathLike | None, every: int) -> bool:
        self._clock = time.perf_counter()
        while self.step < self.total and not self._stop.is_set():
            if not self._go.is_set():
                with self._whole:
                    self._flush()
                self._go.wait()
                self._clock = time.perf_counter()
                continue
            with self._whole:
                self._one()
            self._save_if_asked()
            if checkpoint is not None and self.step % every == 0 and self.step < self.total:
                self._flush()
                self.save(checkpoint)
        self._flush()
        if checkpoint is not None:
            self.save(checkpoint)
        self._save_if_asked()  # last: one may be asked for while the checkpoint is written
        return self.step >= self.total

    def _one(self) -> None:
        action = self.anneal.action(self.action, self.step) if self.anneal else self.action
        factor = self.schedule.factor(self.step, self.total, self._last_loss())
        report = self.training_step.step(self.flow, action, self.batch, factor, self.rng)
        row = torch.stack([report.loss, torch.linalg.vector_norm(report.norms), *_quality(report)])
        beta = float(action.parameters.get(self.anneal.coupling if self.anneal else "beta", math.nan))
        rate = self.training_step.learning_rate(factor)
        self._pending.append((self.step, rate, beta, report.level, row, report.norms))
        self.step += 1
        # A host that waits for the device at every step would slow a GPU down; a CPU does not care.
        if len(self._pending) >= (1 if self.flow.device.type == "cpu" else 16):
            self._flush()

    def _last_loss(self) -> float:
        return float(self.history.since(len(self.history) - 1)["loss"][0]) if len(self.history) else math.nan

    def _flush(self) -> None:
        """Move what the steps left on the device into the history."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        rows = torch.stack([row for *_, row, _ in pending]).tolist()
        now = time.perf_counter()
        rate = self.batch * len(pending) / max(now - self._clock, 1e-9)
        self._clock = now
        for (step, lr, beta, level, _, norms), (loss, norm, ess, accept, excess) in zip(pending, rows, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                bad = [
                    name
                    for name, n in zip(self.training_step.names, norms.tolist(), strict=True)
                    if not math.isfinite(n)
                ]
                where = ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in bad)) or "no parameter yet"
                self.step = step  # the history ends with the last good step
                raise TrainingError(
                    f"Training stopped at step {step}: the loss is {loss:.4g}, the gradient not finite in {where}. "
                    "The weights are finite and every checkpoint is kept; try a smaller lr or clip."
                )
            at_target = self.anneal is None or step >= self.anneal.steps
            kl = excess + self._log_z if self._log_z is not None and at_target else math.nan
            self.history.append(
                step=step,
                loss=loss,
                ess=ess,
                kl=kl,
                acceptance=accept,
                grad_norm=norm,
                lr=lr,
                samples_per_s=rate,
                beta=beta,
                level=level,
            )
        self._call_back()

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save(self, path: PathLike) -> str:
        """Commit weights, optimiser, generator, schedule and history to the folder `path`; returns the commit's name.

        Raises    flowkit.storage.checkpoint.CheckpointError where that cannot be done; RuntimeError from another thread
                  while the run goes on
        """
        if threading.current_thread() is not self._thread and self.status in ("running", "stopping"):
            raise RuntimeError("A running trainer saves with start(checkpoint=...) or save_soon; or pause it first.")
        with self._whole:  # a pause lets the step under way end
            self._flush()
            commit = files.save(path, *self._contents())
            self.saved_step = self.step
            return commit

    def save_soon(self, path: PathLike) -> None:
        """`save` from any thread: a running trainer saves after the present step. `saved_step` tells that it has; where
        that cannot be done the training goes on, and `error` says why.

        Raises    flowkit.storage.checkpoint.CheckpointError of a trainer that does not run
        """
        with self._turn:
            if self.status in ("running", "stopping"):
                self._save_to = path
                return
        self.save(path)

    def _save_if_asked(self) -> None:
        path, self._save_to = self._save_to, None
        if path is None:
            return
        try:
            self.save(path)
        except files.CheckpointError as error:
            self.error = str(error)

    def _contents(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain data of a checkpoint."""
        tensors = {f"flow.{name}": value for name, value in self.flow.state_dict().items()}
        step_tensors, step_meta = self.training_step.state()
        tensors |= {f"step.{name}": value for name, value in step_tensors.items()}
        tensors["rng"] = self.rng.get_state()
        for name, column in self.history.as_arrays().items():
            tensors[f"history.{name}"] = torch.from_numpy(column)
        meta = {
            "step": self.step,
            "total": self.total,
            "batch": self.batch,
            "training_step": type(self.training_step).__name__,
            "step_meta": step_meta,
            "schedule": self.schedule.state(),
            "action": repr(self.action),
            "space": self.flow.space.describe(),
        }
        return tensors, meta

    def load(self, path: PathLike) -> "Trainer":
        """Take up a run that `save` wrote; on the CPU with as many threads the rest equals the unbroken run bit for
        bit.

        Raises    flowkit.storage.checkpoint.CheckpointError where the files are damaged or belong to another flow or
                  action; `load_weights` asks for the same flow alone
        """
        if not self._ended.is_set():
            raise RuntimeError(f"This trainer is {self.status}; stop it before it loads a checkpoint.")
        tensors, meta = files.load(path)
        flow_state = files.weights(self.flow, tensors, path)
        if meta.get("action") != repr(self.action):
            raise files.CheckpointError(
                f"{path} was trained towards {meta.get('action')}; this trainer's action is {self.action!r}."
            )
        if meta.get("training_step") != type(self.training_step).__name__ or meta.get("batch") != self.batch:
            raise files.CheckpointError(
                f"{path} was trained by {meta.get('training_step')} with batch {meta.get('batch')}; this trainer has "
                f"{type(self.training_step).__name__} and {self.batch}."
            )
        history = {k.removeprefix("history."): t.numpy() for k, t in tensors.items() if k.startswith("history.")}
        step_tensors = {k.removeprefix("step."): t for k, t in tensors.items() if k.startswith("step.")}
        before = (
            copy.deepcopy(self.flow.state_dict()),
            self.training_step.state(),
            self.rng.get_state(),
            self.schedule.state(),
        )
        try:
            rows = History.from_arrays(COLUMNS, history)
            step, total = int(meta["step"]), int(meta["total"])
            self._take_up(flow_state, (step_tensors, meta["step_meta"]), tensors["rng"], meta["schedule"])
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            self._take_up(*before)
            raise files.CheckpointError(f"{path} is no checkpoint of this trainer: {error}.") from error
        self.history, self.step, self.total = rows, step, total
        self.status, self.error, self._pending = "stopped", None, []
        return self

    def _take_up(
        self, flow: dict[str, Tensor], step: tuple[dict[str, Tensor], dict[str, Any]], rng: Tensor, schedule: Any
    ) -> None:
        self.flow.load_state_dict(flow)
        self.training_step.load_state(*step)
        self.rng.set_state(rng)
        self.schedule.load_state(schedule)

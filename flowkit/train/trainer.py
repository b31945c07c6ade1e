"""The trainer: repeats a training step in a thread, with history, schedules, pause and stop, and checkpoints.

This file is long because what a thread shares with its callers, and the lock around it, stand in one class.
"""

import math
import threading
from collections.abc import Callable, Sequence
from typing import Annotated

from flowkit.actions import Action
from flowkit.checks import LARGEST, Count, NotNegative, Positive, Range, Rate, Seed, checked
from flowkit.priors import Prior
from flowkit.storage.checkpoint import CheckpointError
from flowkit.storage.store import Store
from flowkit.storage.weights import not_finite, said_of
from flowkit.tasks.background import Background
from flowkit.tasks.in_training import Training
from flowkit.tasks.progress import progress_bar
from flowkit.tasks.randomness import stream
from flowkit.tasks.ranks import any_of, by_first, equal, ranks
from flowkit.train import resume
from flowkit.train.gradient_step import GradientStep
from flowkit.train.losses import LossFunction, path_gradient
from flowkit.train.parts import part_of
from flowkit.train.record import Recorder, TrainingError
from flowkit.train.resume import PathLike
from flowkit.train.schedules import Anneal, Constant, Schedule
from flowkit.train.step import TrainingStep

LOOK = 0.1
"""Seconds between two looks of a paused rank at the others."""


class Trainer(Background):
    r"""Trains a flow towards an action: `fit(steps)` blocks, `start(steps)` runs in a thread.

    Parameters
    ----------
    flow : Prior
        Any distribution with parameters; they are changed in place.
    action : Action
        The target exp(-S) / Z, on the flow's space.
    batch : int
        Samples in a step, at least 2.
    loss, lr, clip, amsgrad, weight_decay
        Options of `GradientStep`, the usual method.
    method : TrainingStep, optional
        Another method, in place of these options.
    schedule : Schedule, optional
        Factor on the learning rate.
    anneal : Anneal, optional
        Moves one coupling to its value in the action.
    seed : int
        Seed of the samples, >= 0; the same seed gives the same run.
    callbacks : sequence of callable
        Called as f(trainer) after every recorded step.

    Attributes
    ----------
    history : History
        One row for each step. Columns: step, loss, ess, kl (nats), acceptance, grad_norm, lr, samples_per_s, a column
        with the name of the annealed coupling (or "beta" where the action has a coupling of that name), level.
    step, total : int
        Steps that were made, and where the run ends.

    Raises
    ------
    TypeError, ValueError
        For other kinds of arguments, different spaces of flow and action, or an option that does not fit.

    Notes
    -----
    Each step draws a batch. Its log-weights log w = -S - log q give ESS, acceptance and, where ln Z is known,

    .. math:: \mathrm{KL}(q \Vert p) = E_q[\log q + S] + \ln Z.

    Within `flowkit.train.joined` several processes divide the gradients of each batch, and their history is that of one
    process to rounding. A transform that only maps is given each rank's rows of the prior's draws. Where drawing and
    mapping are one, as in multiscale flows, every rank draws the whole batch and keeps its rows: of such a flow the
    ranks share the work of the gradients alone. All make the same calls; pause and stop of one hold for all.

    Examples
    --------
    >>> import flowkit as fk
    >>> space = fk.sites((4, 4))
    >>> flow = fk.Flow(fk.FreeField(space, m2=3.0, learned=True), fk.transforms.Affine(space))
    >>> trainer = fk.Trainer(flow, fk.Phi4(space, m2=0.5, lam=0.0), lr=3e-2)
    >>> kl = trainer.fit(60, progress=False).history["kl"]
    >>> print(f"{kl[0]:.1f} -> {kl[-1]:.1f} nats")
    1.2 -> 0.1 nats
    >>> trainer.status, trainer.step
    ('finished', 60)
    """

    what = "trainer"
    failure = TrainingError

    @checked
    def __init__(
        self,
        flow: Prior,
        action: Action,
        *,
        batch: Annotated[int, Range(2, LARGEST)] = 256,
        loss: LossFunction | str = path_gradient,
        lr: Rate = 3e-3,
        clip: Positive | None = 10.0,
        amsgrad: bool = False,
        weight_decay: NotNegative = 0.0,
        method: TrainingStep | None = None,
        schedule: Schedule | None = None,
        anneal: Anneal | None = None,
        seed: Seed = 1,
        callbacks: Sequence[Callable[["Trainer"], object]] = (),
    ):
        if flow.space != action.space:
            raise ValueError(f"A flow trains towards an action of its space; got {flow.space} and {action.space}.")
        flow.space.batch(batch)
        if anneal is not None and anneal.coupling not in action.parameters:
            has = ", ".join(action.parameters) or "none"
            raise ValueError(f"Anneal names a coupling of the action ({has}); got {anneal.coupling!r}.")
        usual = GradientStep(loss, lr, clip=clip, amsgrad=amsgrad, weight_decay=weight_decay)
        if method is not None and vars(usual) != vars(GradientStep()):
            raise ValueError("loss, lr, clip, amsgrad and weight_decay are options of GradientStep; give them to it.")
        super().__init__(callbacks)
        self.flow, self.action, self.batch = flow, action, batch
        self.method = method or usual
        self.method.prepare(flow)
        self.schedule, self.anneal = schedule or Constant(), anneal
        self.seed, self.rng = seed, stream(seed, "training", device=flow.device)
        self._parts = resume.Parts(flow, self.method, self.rng, self.schedule)
        self._facts = {"action": repr(action), "method": type(self.method).__name__, "batch": batch}
        self.step = self.total = 0
        self.saved_step, self._save_to = None, None  # type: tuple[int | None, PathLike | None]
        coupling = anneal.coupling if anneal else "beta" if "beta" in action.parameters else None
        log_z = action.log_z() if flow.normalised else None
        self._recorder = Recorder(coupling, self.method.names, batch, log_z, flow.device)
        self.history = self._recorder.history
        self._training = Training(f"{self!r}", flow.parameters())
        self._whole = self._training.whole  # held while a step changes weights, optimiser and history

    def __repr__(self) -> str:
        return f"Trainer({type(self.flow).__name__} towards {self.action!r})"

    @property
    def annealed(self) -> float:
        """How much of the way to the theory is done, in [0, 1]: of `anneal`, and of a method that anneals."""
        return min(self.method.annealed, self.step / self.anneal.steps if self.anneal else 1.0)

    @checked
    def start(self, steps: Count, *, checkpoint: PathLike | None = None, every: Count = 100) -> "Trainer":
        """Train `steps` more steps in a thread, also after a stop; return at once.

        With `checkpoint`, a folder, commit a checkpoint there after `every` steps and at the end. Raises RuntimeError
        while a run goes on, this one's or that of another trainer of the same weights, and CheckpointError for a folder
        that holds something else or is used by another run. Whoever samples the flow meanwhile gets a copy of its
        present weights.
        """
        self._check_ended()
        if checkpoint is not None:
            self._require_named()
        self._training.begin()
        try:
            self._together()
            work = resume.within(None if ranks().rank else checkpoint, lambda: self._run(checkpoint, every))
        except BaseException:
            self._training.end()
            raise
        self.total = self.step + steps
        self._begin(work)
        return self

    @checked
    def fit(
        self, steps: Count, *, checkpoint: PathLike | None = None, every: Count = 100, progress: bool = True
    ) -> "Trainer":
        """`start` and `wait`, with a progress bar. An interrupt stops the run and keeps all that was learnt."""
        first = self.step
        with progress_bar(steps, progress) as bar:  # before the thread: whoever interrupts finds this one waiting
            self.start(steps, checkpoint=checkpoint, every=every)

            def show() -> None:
                bar.set_postfix({name: f"{self.history.last(name):.4g}" for name in ("loss", "ess")}, refresh=False)
                bar.update(self.step - first - bar.n)

            self._wait(None, show)
            show()
        return self

    def _require_named(self) -> None:
        """Raise CheckpointError for an action whose text does not tell it from others of its class."""
        if not self.action.identified:
            name = type(self.action).__name__
            raise CheckpointError(
                f"A checkpoint names its action; {name} does not list all that it is made with in `couplings`."
            )

    def _together(self) -> None:
        """Divide the batch among the ranks, which begin with the weights and the generator of rank 0."""
        world = ranks().world
        if world > 1 and (self.batch % world or not self.method.divisible):
            why = f"a batch of {self.batch} is no multiple of {world}"
            why = why if self.method.divisible else f"{type(self.method).__name__} does not divide its batch"
            raise ValueError(f"{world} ranks train on equal parts of a batch; {why}.")
        self._part = part_of(self.flow)
        rng = self.rng.get_state()
        equal([*self.flow.state_dict().values(), rng])
        self.rng.set_state(rng)

    def _where(self) -> str:
        return f" at step {self.step}"

    def _run(self, checkpoint: PathLike | None, every: int) -> bool:
        try:
            return self._train(checkpoint, every)
        finally:
            self._training.end()

    def _train(self, checkpoint: PathLike | None, every: int) -> bool:
        self._recorder.start_clock()
        while self.step < self.total:
            stop, hold = any_of(self._stop.is_set(), not self._go.is_set())
            if stop:
                break
            if hold:
                self._tell(self._flush)
                self._go.wait(None if ranks().world == 1 else LOOK)
                self._recorder.start_clock()
                continue
            self._training.let_others_look()
            self._tell(self._one)
            self._save_if_asked()
            if checkpoint is not None and self.step % every == 0 and self.step < self.total:
                self.save(checkpoint)
        self._tell(self._flush)
        if not_finite(weights := self.flow.state_dict()):
            raise TrainingError(f"Training ended at step {self.step}. {said_of(weights)}")
        if checkpoint is not None:
            self.save(checkpoint)
        self._save_if_asked()  # last: one may be asked for while the checkpoint is written
        return self.step >= self.total

    def _tell(self, change: Callable[[], bool]) -> None:
        """Make a change that nobody may look into; then, if it gave new rows, call back while others may: a callback
        that waits for the weights of another training holds up nobody.
        """
        with self._whole:
            new = change()
        if new:
            self._call_back()

    def _one(self) -> bool:
        action = self.anneal.action(self.action, self.step) if self.anneal else self.action
        last = self.history.since(max(0, len(self.history) - 1))["loss"]
        factor = self.schedule.factor(self.step, self.total, float(last[0]) if len(last) else math.nan)
        report = self.method.step(self._part, action, self.batch, factor, self.rng)
        at_target = self.anneal is None or self.step >= self.anneal.steps
        full = self._recorder.add(self.step, self.method.learning_rate(factor), action, at_target, report)
        self.step += 1
        self._training.step = self.step
        return full and self._flush()

    def _flush(self) -> bool:
        """Move the rows that are still on the device into the history; whether there were any."""
        try:
            return self._recorder.flush()
        except TrainingError as error:
            self.step = len(self.history)
            raise TrainingError(f"{error} {said_of(self.flow.state_dict())}") from None

    def save(self, path: PathLike) -> str:
        """Commit weights, optimiser, generator, schedule and history to the folder `path`; returns the commit's name.

        Raises RuntimeError from another thread while the run goes on, and CheckpointError where it cannot be done. Of
        several ranks all call it, and rank 0 writes.
        """
        return self._save(path, by_first)

    def _save(self, path: PathLike, by: Callable[[Callable[[], str], type[Exception]], str]) -> str:
        if threading.current_thread() is not self._thread and self.status in ("running", "stopping"):
            raise RuntimeError("A running trainer saves with start(checkpoint=...) or save_soon; or pause it first.")
        self._require_named()
        with self._whole:  # a pause lets the step under way end
            new = self._flush()
            facts = {**self._facts, "step": self.step, "total": self.total}
            commit = by(lambda: resume.save(path, self._parts, self.history, facts), CheckpointError)
            self.saved_step = self.step
        if new:
            self._call_back()
        return commit

    def save_soon(self, path: PathLike) -> None:
        """`save` from any thread: a running trainer saves after the present step, and sets `saved_step`, or `error`."""
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
            self._save(path, lambda work, _: work())  # the other ranks may not have been asked
        except CheckpointError as error:
            self.error = str(error)

    def load(self, path: PathLike, *, missing_ok: bool = False) -> "Trainer":
        """Take up a run that `save` wrote; with `missing_ok`, only where the folder holds a checkpoint.

        On a CPU with as many threads, it then equals an unbroken run bit for bit. Raises CheckpointError for damaged
        files, or another flow, action or method; `load_weights` asks for the same flow alone.
        """
        if not self._ended.is_set():
            raise RuntimeError(f"This trainer is {self.status}; stop it before it loads a checkpoint.")
        self._require_named()
        if missing_ok and not Store(path).has_commit():
            return self
        self.history, self.step, self.total = resume.load(path, self._parts, self.history.columns, self._facts)
        self._recorder.begin(self.history)
        self.status, self.error = "stopped", None
        return self

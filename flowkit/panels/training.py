"""The training panel: curves of a run while it runs, and the buttons that start, pause and stop it."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, Protocol

import ipywidgets

from flowkit.checks import Count, Often, checked
from flowkit.panels.base import Panel
from flowkit.panels.colours import BLACK, BLUE, GREEN, PURPLE, VERMILION
from flowkit.panels.control import Controls, Runs, Watched, status_of
from flowkit.panels.curves import Run, pictures
from flowkit.panels.pictures import Axis, Curve, Picture
from flowkit.panels.stream import Feed, LiveCurves, gather
from flowkit.tasks.history import History

STEP = Axis("step", "training step")

CURVES = (
    Curve("loss", "Loss", "loss", BLUE, headline=True),
    Curve("ess", "ESS of a batch", "ESS", GREEN, range=(0.0, 1.0), headline=True),
    Curve("kl", "KL divergence", "KL", PURPLE, log=True, show="known", headline=True),
    Curve("acceptance", "Acceptance", "acceptance", GREEN, range=(0.0, 1.0), show="known"),
    Curve("grad_norm", "Gradient norm", "gradient", VERMILION, log=True),
    Curve("lr", "Learning rate", "rate", BLACK),
    Curve("samples_per_s", "Speed", "speed", BLACK, unit="samples/s"),
    Curve("level", "Scale in training, 0 the finest", "level", BLACK, unit="", show="varies"),
)


class Trained(Watched, Protocol):
    """What is read of a trainer."""

    history: History


class Trains(Trained, Runs, Protocol):
    """What the panel needs of a trainer: what is read of it, and ways to control the run that return at once."""


def curve_of(column: str) -> Curve:
    """How a column of a history is drawn; one without a curve of its own is a coupling, drawn once it changes."""
    known = {curve.column: curve for curve in CURVES}
    return known.get(column) or Curve(column, f"Coupling {column}", column, PURPLE, show="varies")


class Training(Panel):
    """Live curves of a training run with Start, Pause / Resume, Stop and Checkpoint.

    Parameters
    ----------
    trainer : Trainer
        Or anything with the attributes of `Trains`. Its history needs the columns step and loss; of the others (ess,
        kl, acceptance, grad_norm, lr, samples_per_s, level) those that it has are drawn. Any other column is taken as
        the coupling of a schedule, and drawn once it changes.
    steps : int
        What the Start button trains for; the field beside it changes that.
    per_second : float
        Updates of the curves a second at most, 1 to 20. The run itself only appends to its history.
    checkpoint : str, Path or None
        Folder of the Checkpoint button, which is there where the trainer has `save_soon`; None for no button.

    Raises
    ------
    TypeError
        For an object that is no trainer.
    ValueError
        For steps or per_second out of range.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((2, 2)), m2=1.0, lam=0.5)
    >>> trainer = fk.Trainer(fk.scalar_flow(action.space), action, batch=4)
    >>> panel = fk.panels.Training(trainer, steps=500)   # the last line of a cell
    >>> panel
    Training(Trainer)
    >>> panel.snapshot().data[1:4]                       # what a saved notebook keeps
    b'PNG'
    """

    @checked
    def __init__(
        self,
        trainer: Trains,
        *,
        steps: Count = 1000,
        per_second: Often = 8.0,
        checkpoint: str | Path | None = "checkpoint",
    ):
        lacking = [name for name in ("history", "status", "error", "step", "total") if not hasattr(trainer, name)]
        actions = ("start", "pause", "resume", "stop")
        lacking += [f"{name}()" for name in actions if not callable(getattr(trainer, name, None))]
        if lacking:
            raise TypeError(f"Training shows a trainer; {type(trainer).__name__} has no {', '.join(lacking)}.")
        if not isinstance(trainer.history, History) or not {"step", "loss"} <= set(trainer.history.columns):
            raise TypeError(
                f"Training reads a flowkit History with the columns step and loss; "
                f"{type(trainer).__name__}.history is {trainer.history!r}."
            )
        self.trainer = trainer
        self.steps, self.per_second, self.checkpoint = steps, per_second, checkpoint
        order = [curve.column for curve in CURVES]
        columns = [name for name in trainer.history.columns if name != "step"]
        columns.sort(key=lambda name: order.index(name) if name in order else len(order) - 1)
        self._curves = [curve_of(name) for name in columns]
        self._columns = ("step", *columns)

    def _pictures(self) -> list[Picture]:
        run = Run("", BLUE, self._columns, gather(self.trainer.history, self._columns))
        return pictures(self._curves, [run], STEP)

    def _title(self) -> str:
        return f"Training {self.trainer.status}, step {self.trainer.step:,} of {self.trainer.total:,}"

    def _notes(self) -> list[str]:
        return [note for note in (self.trainer.error, self._annealing()) if note]

    def _annealing(self) -> str:
        """How far the target has come, of a run that has halted before it was the theory."""
        done = 1.0 if self.trainer.status in ("running", "stopping") else getattr(self.trainer, "annealed", 1.0)
        if done >= 1 or not self.trainer.step:
            return ""
        return f"annealing is at {100 * done:.0f} %: the flow is on its way to the theory, and its ESS and KL with it"

    def _status(self) -> dict[str, Any]:
        saved = getattr(self.trainer, "saved_step", None)
        said = [self._annealing(), "" if saved is None else f"checkpoint of step {saved:,}"]
        return {**status_of(self.trainer), "text": "; ".join(filter(None, said))}

    def _make_widget(self) -> ipywidgets.Widget:
        controls = Controls(self.trainer, self.steps, self.checkpoint)
        me = weakref.proxy(self)  # the view must not hold the panel, see `LiveCurves.stream`

        def status() -> dict[str, Any]:
            now = me._status()
            controls.follow(now["state"])
            return {**now, "error": now["error"] or controls.refused}

        feed = Feed(lambda: me.trainer.history, status, self._columns)
        curves = LiveCurves([feed], self._curves, [STEP], title="Training, live")
        box = ipywidgets.VBox([controls.box, curves], layout=ipywidgets.Layout(width="100%"))
        curves.stream(self.per_second, self, box)
        return box

    def __repr__(self) -> str:
        return f"Training({type(self.trainer).__name__})"

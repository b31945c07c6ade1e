"""The training panel: curves of a run while it runs, and the buttons that start, pause and stop it."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, Protocol

import ipywidgets
import plotly.graph_objects as go
from IPython.display import Image

from flowkit.panels.base import Panel
from flowkit.panels.colours import BLACK, BLUE, GREEN, PURPLE, VERMILION
from flowkit.panels.control import Controls
from flowkit.panels.curves import Axis, Curve, Run, pictures
from flowkit.panels.ess_kl import Trained
from flowkit.panels.feed import Feed
from flowkit.panels.pictures import Picture, plotly_figure, png
from flowkit.panels.stream import LiveCurves
from flowkit.panels.thin import gather
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
    Curve("level", "Scale in training, 0 the finest", "level", BLACK, show="varies"),
)


class Trains(Trained, Protocol):
    """What the panel needs of a trainer: what is read of it, and ways to control the run that return at once."""

    def start(self, steps: int) -> Any: ...
    def pause(self) -> Any: ...
    def resume(self) -> Any: ...
    def stop(self) -> Any: ...


class Training(Panel):
    """Live curves of a training run with Start, Pause / Resume, Stop and Checkpoint.

    trainer      anything with the attributes of `Trains`; its history needs the columns step and loss, and of the other
                 curves (ess, kl, acceptance, grad_norm, lr, samples_per_s, level) those that it has are drawn; any
                 other column is the coupling of that name
    steps        what the Start button trains for; the field beside it changes that
    per_second   updates of the picture, 1 to 20 a second; the run itself only appends to its history
    checkpoint   folder of the Checkpoint button, which is there where the trainer has `save_soon`; None: no button
    """

    def __init__(
        self,
        trainer: Trains,
        *,
        steps: int = 1000,
        per_second: float = 8.0,
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
        if steps < 1 or not 1 <= per_second <= 20:
            raise ValueError(f"Training needs steps >= 1 and per_second in 1 to 20; got {steps} and {per_second}.")
        self.trainer = trainer
        self.steps = steps
        self.per_second = per_second
        self.checkpoint = checkpoint
        known = {curve.column: curve for curve in CURVES}
        # Any other column is a coupling, by its own name.
        own = {name: Curve(name, f"Coupling {name}", name, PURPLE, show="varies") for name in trainer.history.columns}
        self._curves = [known.get(name, own[name]) for name in trainer.history.columns if name != "step"]
        self._columns = ("step", *(curve.column for curve in self._curves))

    def figure(self) -> go.Figure:
        return plotly_figure(self._pictures(), self._title())

    def snapshot(self) -> Image:
        return png(self._pictures(), self._title())

    def _pictures(self) -> list[Picture]:
        run = Run("", BLUE, self._columns, gather(self.trainer.history, self._columns))
        return pictures(self._curves, [run], STEP)

    def _title(self) -> str:
        return f"Training {self.trainer.status}, step {self.trainer.step:,} of {self.trainer.total:,}"

    def _notes(self) -> list[str]:
        return [self.trainer.error] if self.trainer.error else []

    def _status(self) -> dict[str, Any]:
        trainer = self.trainer
        error = None if trainer.error is None else str(trainer.error)
        status = {"state": str(trainer.status), "step": int(trainer.step), "total": int(trainer.total), "error": error}
        saved = getattr(trainer, "saved_step", None)
        return status if saved is None else {**status, "text": f"checkpoint of step {saved:,}"}

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

"""The row of buttons that starts, pauses and stops a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import ipywidgets

from flowkit.panels.base import let_subshell_answer


class Watched(Protocol):
    """What is read of a run."""

    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def step(self) -> int: ...
    @property
    def total(self) -> int: ...


class Runs(Watched, Protocol):
    """What is controlled: methods that set events and return at once."""

    def start(self, *args: Any, **kwargs: Any) -> Any: ...
    def pause(self) -> Any: ...
    def resume(self) -> Any: ...
    def stop(self) -> Any: ...


def status_of(run: Watched) -> dict[str, Any]:
    """State, step, total and error of a run, as a page shows them."""
    error = None if run.error is None else str(run.error)
    return {"state": str(run.status), "step": int(run.step), "total": int(run.total), "error": error}


class Controls:
    """Start, Pause / Resume and Stop of one run. A click only calls the run's methods.

    Parameters
    ----------
    run : Runs
        What is controlled.
    steps : int or None
        What Start runs for, with a field to change it; None where the run knows that itself.
    checkpoint : str, Path or None
        Folder of a button that calls ``run.save_soon(folder)``; None for no such button.
    name : str
        Stands before the buttons.
    room : int
        Width of the name in letters, the same for runs below each other.
    """

    def __init__(
        self, run: Runs, steps: int | None = None, checkpoint: str | Path | None = None, name: str = "", room: int = 0
    ):
        self._state = ""
        self.refused: str | None = None  # why the last click was refused; a callback's exception would go unseen
        of = f" {name}" if name else ""
        beginning = "for this many steps" if steps else "from the beginning"
        self.pause = self._button("pause", f"Pause{of} after the current step, or go on", lambda: self._turn(run))
        self.stop = self._button("stop", f"Stop{of} after the current step; the steps done are kept", run.stop)
        if steps is None:
            self.start = self._button("start", f"Run{of} {beginning}", run.start, "play")
            shown = [self.start, self.pause, self.stop]
        else:
            look = {"layout": ipywidgets.Layout(width="150px"), "style": {"description_width": "40px"}}
            field = ipywidgets.BoundedIntText(value=steps, min=1, max=1_000_000_000, description="steps", **look)
            let_subshell_answer(field)
            self.start = self._button("start", f"Run{of} {beginning}", lambda: run.start(steps=field.value), "play")
            shown = [self.start, self.pause, self.stop, field]
        save = getattr(run, "save_soon", None)
        if checkpoint is not None and save is not None:
            words = f"Save the whole run after the current step, in {checkpoint}"
            shown.append(self._button("checkpoint", words, lambda: save(checkpoint), "save"))
        if name:
            wide = ipywidgets.Layout(width=f"{0.85 * max(len(name), room) + 1:.3g}ch", min_width="8ch")
            shown.insert(0, ipywidgets.Label(name, layout=wide))
        self.box = ipywidgets.HBox(shown, layout=ipywidgets.Layout(flex_flow="row wrap"))
        self.follow(str(run.status))

    def _button(self, name: str, tooltip: str, action: Callable[[], Any], icon: str = "") -> ipywidgets.Button:
        wide = ipywidgets.Layout(width="130px" if len(name) > 8 else "100px")
        button = ipywidgets.Button(description=name.capitalize(), icon=icon or name, tooltip=tooltip, layout=wide)
        button.add_class(f"fk-{name}")
        let_subshell_answer(button)
        button.on_click(lambda _: self._call(action))
        return button

    @staticmethod
    def _turn(run: Runs) -> None:
        (run.resume if run.status == "paused" else run.pause)()

    def _call(self, action: Callable[[], Any]) -> None:
        try:
            action()
            self.refused = None
        except Exception as refusal:
            self.refused = f"{type(refusal).__name__}: {refusal}"

    def follow(self, state: str) -> None:
        """Offer what the state allows."""
        if state == self._state:
            return
        self._state = state
        going = state in ("running", "paused")
        self.start.disabled = going or state == "stopping"
        self.pause.disabled = self.stop.disabled = not going
        paused = state == "paused"
        self.pause.description, self.pause.icon = ("Resume", "play") if paused else ("Pause", "pause")

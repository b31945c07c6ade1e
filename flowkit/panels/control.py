"""The row of buttons that starts, pauses and stops a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import ipywidgets

from flowkit.panels.base import let_subshell_answer


class Runs(Protocol):
    """What is controlled: methods that set events and return at once."""

    @property
    def status(self) -> str: ...
    def start(self, *args: Any, **kwargs: Any) -> Any: ...
    def pause(self) -> Any: ...
    def resume(self) -> Any: ...
    def stop(self) -> Any: ...


class Controls:
    """Start, Pause / Resume and Stop of one run. A click only calls the run's methods.

    steps         what Start runs for, with a field to change it; None where the run knows that itself
    checkpoint    folder of a button that calls `run.save_soon(folder)`; None for no such button
    name          stands before the buttons
    room          width of the name in letters, the same for runs below each other
    """

    def __init__(
        self, run: Runs, steps: int | None = None, checkpoint: str | Path | None = None, name: str = "", room: int = 0
    ):
        self._run = run
        self._state = ""
        self.refused: str | None = None  # why the last click was refused; a callback's exception would go unseen
        of = f" {name}" if name else ""
        self.start = self._button(
            "start", "play", f"Run{of}" + (" for this many steps" if steps else " from the beginning")
        )
        self.pause = self._button("pause", "pause", f"Pause{of} after the step under way, or go on")
        self.stop = self._button("stop", "stop", f"Stop{of} after the step under way; what was done is kept")
        self.pause.on_click(lambda _: self._call(run.resume if run.status == "paused" else run.pause))
        self.stop.on_click(lambda _: self._call(run.stop))
        shown: list[ipywidgets.Widget] = [self.start, self.pause, self.stop]
        if steps is None:
            self.start.on_click(lambda _: self._call(run.start))
        else:
            field = ipywidgets.BoundedIntText(value=steps, min=1, max=1_000_000_000, description="steps")
            field.layout = ipywidgets.Layout(width="150px")
            field.style = {"description_width": "40px"}
            let_subshell_answer(field)
            self.start.on_click(lambda _: self._call(lambda: run.start(steps=field.value)))
            shown.append(field)
        save = getattr(run, "save_soon", None)
        if checkpoint is not None and save is not None:
            button = self._button(
                "checkpoint", "save", f"Save all of the run after the step under way, in {checkpoint}"
            )
            button.layout.width = "130px"
            button.on_click(lambda _: self._call(lambda: save(checkpoint)))
            shown.append(button)
        if name:
            label = ipywidgets.Label(name)
            label.layout = ipywidgets.Layout(width=f"{0.85 * max(len(name), room) + 1:.3g}ch", min_width="8ch")
            shown.insert(0, label)
        self.box = ipywidgets.HBox(shown, layout=ipywidgets.Layout(flex_flow="row wrap"))
        self.follow(str(run.status))

    @staticmethod
    def _button(name: str, icon: str, tooltip: str) -> ipywidgets.Button:
        button = ipywidgets.Button(description=name.capitalize(), icon=icon, tooltip=tooltip)
        button.layout = ipywidgets.Layout(width="100px")
        button.add_class(f"fk-{name}")
        let_subshell_answer(button)
        return button

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

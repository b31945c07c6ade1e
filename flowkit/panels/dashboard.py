"""The dashboard: the panels that fit what is there, in tabs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from IPython.display import Image
from matplotlib import image

from flowkit.actions import Wilson
from flowkit.ensemble import Ensemble, draw
from flowkit.ensemble.job import Job
from flowkit.flow import Flow
from flowkit.multiscale import by_scale, levels
from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.chain import Chain
from flowkit.panels.ess_kl import EssKl
from flowkit.panels.field import Field
from flowkit.panels.flow_layers import FlowLayers
from flowkit.panels.multiscale import Multiscale
from flowkit.panels.training import Training
from flowkit.train import Trainer

DRAWS = 1024  # behind the numbers of a multiscale model


class Place(NamedTuple):
    """A tab: its title, how its panel is made, anew from what it shows now where that may change, and what is said of
    making it anew.
    """

    title: str
    make: Callable[[Panel | None], Panel]
    again: str | None = None


class Dashboard(Panel):
    """The panels that fit, one a tab: of a trainer its curves and what its flow does, of a run its fields, of all runs
    side by side their histories, of several trainers ESS and KL.

    A button above what shows a flow draws it again, with the weights of that moment; while a training goes on these may
    change on the way.

    sources    trainers, ensembles, jobs of `start`, panels, or dictionaries of any of them by their names
    Raises     TypeError where there is nothing to show, or for a source of another kind
    """

    def __init__(self, *sources: Any):
        self._places = list(_places(sources))
        if not self._places:
            raise TypeError("Dashboard shows trainers, ensembles with configurations, and panels; got none.")
        titles = [place.title for place in self._places]
        self._titles = [
            f"{title} {titles[: i + 1].count(title)}" if titles.count(title) > 1 else title
            for i, title in enumerate(titles)
        ]
        self._panels = [place.make(None) for place in self._places]

    @property
    def panels(self) -> dict[str, Panel]:
        """The panels by their titles."""
        return dict(zip(self._titles, self._panels, strict=True))

    def _make_widget(self) -> ipywidgets.Widget:
        tabs = ipywidgets.Tab([self._box(i) for i in range(len(self._panels))], titles=self._titles)
        tabs.add_class("fk-dashboard")
        let_subshell_answer(tabs)
        return tabs

    def _box(self, i: int) -> ipywidgets.Widget:
        panel, again = self._panels[i], self._places[i].again
        if again is None:
            return ipywidgets.VBox([panel.widget])
        button = ipywidgets.Button(description="Draw again", icon="refresh", tooltip=again)
        button.add_class("fk-again")
        let_subshell_answer(button)
        said = ipywidgets.Label()  # a callback's exception would go unseen
        box = ipywidgets.VBox([ipywidgets.HBox([button, said]), panel.widget])

        def anew(_: Any) -> None:
            button.disabled, said.value = True, ""
            try:
                self._panels[i] = self._places[i].make(self._panels[i])
                box.children = (box.children[0], self._panels[i].widget)
            except Exception as reason:
                said.value = f"{type(reason).__name__}: {reason}"
            button.disabled = False

        button.on_click(anew)
        return box

    def _shown(self) -> int:
        index = self.widget.selected_index if "widget" in self.__dict__ else 0
        return index or 0

    def figure(self) -> go.Figure:
        """The figure of the panel in front."""
        return self._panels[self._shown()].figure()

    def _figures(self) -> list[go.Figure]:
        return [figure for panel in self._panels for figure in panel._figures()]

    def _notes(self) -> list[str]:
        return [note for panel in self._panels for note in panel._notes()]

    def snapshot(self) -> Image:
        """All panels, one below the other."""
        pictures = [image.imread(io.BytesIO(panel.snapshot().data))[..., :3] for panel in self._panels]
        width = max(picture.shape[1] for picture in pictures)
        wide = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=1) for p in pictures]
        file = io.BytesIO()
        image.imsave(file, np.concatenate(wide), format="png")
        return Image(data=file.getvalue(), format="png", alt=repr(self))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        for panel in self._panels:
            panel.close()
        super().close()

    def __repr__(self) -> str:
        return f"Dashboard({', '.join(self._titles)})"


def _places(sources: Sequence[Any]) -> Iterator[Place]:
    """The panels that fit.

    Raises    TypeError for a source of another kind
    """
    named: list[tuple[str, Any]] = []
    for source in sources:
        named += [(str(name), one) for name, one in source.items()] if isinstance(source, dict) else [("", source)]
    for name, source in named:
        if isinstance(source, Panel):
            yield _given(name or type(source).__name__, source)
        elif isinstance(source, Trainer):
            yield from _of_trainer(f"{name}: " if name else "", source)
        elif isinstance(source, Ensemble):
            if source.x is not None:
                yield _given(f"{name}: Fields" if name else "Fields", Field(source))
        elif not isinstance(source, Job):
            raise TypeError(f"Dashboard shows trainers, ensembles, jobs and panels; got {type(source).__name__}.")
    runs = [
        (name, one) for name, one in named if isinstance(one, Job) or (isinstance(one, Ensemble) and not one.weighted)
    ]
    if runs:
        yield _given("Chains", Chain(_by_name(runs, "run")))
    trainers = [(name, one) for name, one in named if isinstance(one, Trainer)]
    if len(trainers) > 1:
        yield _given("ESS and KL", EssKl(_by_name(trainers, "trainer")))


def _by_name(sources: list[tuple[str, Any]], kind: str) -> dict[str, Any]:
    return {name or f"{kind} {i}": source for i, (name, source) in enumerate(sources, start=1)}


def _given(title: str, panel: Panel) -> Place:
    return Place(title, lambda _: panel)


def _of_trainer(prefix: str, trainer: Trainer) -> Iterator[Place]:
    yield _given(f"{prefix}Training", Training(trainer))
    if isinstance(trainer.flow, Flow):
        words = "Walk through the flow with its present weights"
        yield Place(f"{prefix}Layers", lambda old: _layers(trainer, old), words)
    if levels(trainer.flow) and isinstance(trainer.action, Wilson) and _solved(trainer.action):
        words = "Draw from the model with its present weights"
        yield Place(f"{prefix}Scales", lambda old: _scales(trainer, old), words)


def _solved(action: Wilson) -> bool:
    """Whether the exact laws of its coarse fields are known."""
    space = action.space
    return space.ndim == 2 and space.group.decimated


def _layers(trainer: Trainer, old: Panel | None) -> Panel:
    if isinstance(old, FlowLayers):
        old.refresh()
        return old
    assert isinstance(trainer.flow, Flow)
    return FlowLayers(trainer.flow, trainer.action)


def _scales(trainer: Trainer, old: Panel | None) -> Panel:
    model, action = trainer.flow, trainer.action
    assert isinstance(action, Wilson)
    drawn = draw(model, action, DRAWS, rng=1).x
    assert drawn is not None
    fresh = Multiscale(by_scale(model, action, drawn[:, 0].to(model.device)))
    if old is not None:
        old.close()
    return fresh

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

from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.chain import Chain
from flowkit.panels.ess_kl import EssKl
from flowkit.panels.field import Field
from flowkit.panels.flow_layers import FlowLayers
from flowkit.panels.multiscale import Multiscale
from flowkit.panels.training import Training


class Place(NamedTuple):
    """A tab: its title and its panel; how that is made anew from what it shows now, and what the button says of it."""

    title: str
    panel: Panel
    again: Callable[[Panel], Panel] | None = None
    words: str = ""


class Dashboard(Panel):
    """The panels that fit, one a tab: of a trainer its curves and what its flow does, of a run its fields, of all runs
    side by side their histories, of several trainers ESS and KL.

    A button above what shows a flow draws it again, with its present weights; while a training goes on these may change
    on the way.

    Parameters
    ----------
    *sources
        Trainers, ensembles, jobs of `start`, panels, or dictionaries of any of them by their names.

    Attributes
    ----------
    panels : dict
        The panels by their titles.

    Raises
    ------
    TypeError
        Where there is nothing to show, or for a source of another kind.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=1.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 8, chains=2, observe=[fk.plaquette], rng=1)
    >>> fk.panels.Dashboard({"heatbath": ensemble})
    Dashboard(heatbath: Fields, Chains)
    """

    def __init__(self, *sources: Any):
        places = list(_places(sources))
        if not places:
            raise TypeError("Dashboard shows trainers, ensembles with configurations, and panels; got none.")
        every, self._places = [place.title for place in places], dict[str, Place]()
        for i, place in enumerate(places):
            number = f" {every[: i + 1].count(place.title)}" if every.count(place.title) > 1 else ""
            self._places[place.title + number] = place
        self.panels = {title: place.panel for title, place in self._places.items()}

    def _make_widget(self) -> ipywidgets.Widget:
        tabs = ipywidgets.Tab([self._box(title) for title in self.panels], titles=list(self.panels))
        tabs.add_class("fk-dashboard")
        let_subshell_answer(tabs)
        return tabs

    def _box(self, title: str) -> ipywidgets.Widget:
        panel, (_, _, again, words) = self.panels[title], self._places[title]
        if again is None:
            return ipywidgets.VBox([panel.widget])
        button = ipywidgets.Button(description="Draw again", icon="refresh", tooltip=words)
        button.add_class("fk-again")
        let_subshell_answer(button)
        said = ipywidgets.Label()  # a callback's exception would go unseen
        box = ipywidgets.VBox([ipywidgets.HBox([button, said]), panel.widget])

        def anew(_: Any) -> None:
            button.disabled, said.value = True, ""
            try:
                self.panels[title] = again(self.panels[title])
                box.children = (box.children[0], self.panels[title].widget)
            except Exception as reason:
                said.value = f"{type(reason).__name__}: {reason}"
            button.disabled = False

        button.on_click(anew)
        return box

    def figure(self) -> go.Figure:
        """The figure of the panel in front."""
        index = self.widget.selected_index if "widget" in self.__dict__ else 0
        return list(self.panels.values())[index or 0].figure()

    def _figures(self) -> list[go.Figure]:
        return [figure for panel in self.panels.values() for figure in panel._figures()]

    def _notes(self) -> list[str]:
        return [note for panel in self.panels.values() for note in panel._notes()]

    def snapshot(self) -> Image:
        """All panels, one below the other."""
        pictures = [image.imread(io.BytesIO(panel.snapshot().data))[..., :3] for panel in self.panels.values()]
        width = max(picture.shape[1] for picture in pictures)
        wide = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=1) for p in pictures]
        file = io.BytesIO()
        image.imsave(file, np.concatenate(wide), format="png")
        return Image(data=file.getvalue(), format="png", alt=repr(self))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        for panel in self.panels.values():
            panel.close()
        super().close()

    def __repr__(self) -> str:
        return f"Dashboard({', '.join(self.panels)})"


def _kind(source: object) -> str:
    """What a source is, told by what it offers: "panel", "trainer", "job", "ensemble"; empty for anything else."""
    offers = {"trainer": ("flow", "history"), "job": ("sampler", "history"), "ensemble": ("series", "weighted")}
    if isinstance(source, Panel):
        return "panel"
    return next((kind for kind, names in offers.items() if all(hasattr(source, name) for name in names)), "")


def _places(sources: Sequence[Any]) -> Iterator[Place]:
    """The panels that fit; raises TypeError for a source of another kind."""
    named: list[tuple[str, Any]] = []
    for source in sources:
        named += [(str(name), one) for name, one in source.items()] if isinstance(source, dict) else [("", source)]
    for name, source in named:
        match _kind(source):
            case "panel":
                yield Place(name or type(source).__name__, source)
            case "trainer":
                yield from _of_trainer(f"{name}: " if name else "", source)
            case "ensemble" if source.x is not None:
                yield Place(f"{name}: Fields" if name else "Fields", Field(source))
            case "":
                raise TypeError(f"Dashboard shows trainers, ensembles, jobs and panels; got {type(source).__name__}.")
    runs = _by_name(named, "run", lambda one: _kind(one) == "job" or (_kind(one) == "ensemble" and not one.weighted))
    if runs:
        yield Place("Chains", Chain(runs))
    trainers = _by_name(named, "trainer", lambda one: _kind(one) == "trainer")
    if len(trainers) > 1:
        yield Place("ESS and KL", EssKl(trainers))


def _by_name(named: list[tuple[str, Any]], kind: str, wanted: Callable[[Any], bool]) -> dict[str, Any]:
    chosen = [(name, one) for name, one in named if wanted(one)]
    return {name or f"{kind} {i}": one for i, (name, one) in enumerate(chosen, start=1)}


def _of_trainer(prefix: str, trainer: Any) -> Iterator[Place]:
    yield Place(f"{prefix}Training", Training(trainer))
    try:
        layers = FlowLayers(trainer.flow, trainer.action)
    except TypeError:  # what is trained has no layers
        pass
    else:
        yield Place(f"{prefix}Layers", layers, _walk_again, "Walk through the flow with its present weights")
    if (scales := _scales(trainer)) is not None:
        words = "Sample the model with its present weights"
        yield Place(f"{prefix}Scales", scales, lambda old: _scales(trainer, old) or old, words)


def _walk_again(layers: Panel) -> Panel:
    assert isinstance(layers, FlowLayers)
    layers.refresh()
    return layers


def _scales(trainer: Any, old: Panel | None = None) -> Multiscale | None:
    from flowkit.ensemble.scales import scale_numbers

    if (numbers := scale_numbers(trainer.flow, trainer.action)) is None:
        return None
    if old is not None:
        old.close()
    return Multiscale(numbers)

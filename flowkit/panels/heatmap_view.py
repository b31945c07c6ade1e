"""What the heatmap panels share with the page: the numbers they show, and the widget that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from flowkit.panels.base import Bundled
from flowkit.panels.pictures import Style
from flowkit.stats import Estimate

if TYPE_CHECKING:
    from flowkit.ensemble.labels import Quantity


class HeatmapView(anywidget.AnyWidget):
    """The live view. All numbers are in its traits, so that a second view, a reloaded page and a saved notebook have
    them too, and no message is needed.

    Attributes
    ----------
    values : bytes
        float32, the fields of one value of the main slider after those of another, each [others, parts, *lattice].
    content : dict
        All else that does not change with the sliders, as `HeatmapPanel` makes it.
    main, other, part : int
        The field that is shown, and which part of it.
    plane, at : int, list
        The plane (mu, nu) of the picture, an entry of `content["axes"]`, and the site that it goes through.
    """

    _esm = Bundled("heatmap.js")
    _css = Bundled("live.css")
    values = traitlets.Bytes(b"").tag(sync=True)
    content = traitlets.Dict().tag(sync=True)
    main = traitlets.Int().tag(sync=True)
    other = traitlets.Int().tag(sync=True)
    plane = traitlets.Int().tag(sync=True)
    part = traitlets.Int().tag(sync=True)
    at = traitlets.List(traitlets.Int()).tag(sync=True)

    @traitlets.validate("main", "other", "plane", "part")
    def _within(self, proposal: Any) -> int:
        name, value = proposal.trait.name, int(proposal.value)
        count = self.content["counts"][name]
        if not 0 <= value < count:
            raise traitlets.TraitError(f"{name} is a number from 0 to {count - 1}; got {value}.")
        return value

    @traitlets.validate("at")
    def _on_the_lattice(self, proposal: Any) -> list[int]:
        site, lattice = list(proposal.value), self.content["lattices"][-1]
        if len(site) != len(lattice) or not all(0 <= x < side for x, side in zip(site, lattice, strict=True)):
            raise traitlets.TraitError(f"at is a site of the lattice {lattice}; got {site}.")
        return site

    def __repr__(self) -> str:
        return f"HeatmapView({self.content['title']})"


class ChoiceView(HeatmapView):
    """A view with controls that ask the kernel for other numbers.

    Attributes
    ----------
    asked : dict
        What the controls stand at: numbers, lists of numbers.
    answer : dict
        "asked": what the numbers that are shown, or the refusal, belong to; "refusal": a sentence, or nothing.
    """

    asked = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)


class Shown(NamedTuple):
    """What is in the picture: fields `main` and `other`, the plane (mu, nu) through the site `at`, and the part."""

    main: int
    other: int
    plane: int
    part: int
    at: tuple[int, ...]


class Chart(NamedTuple):
    """Numbers against the main slider, [others, mains], with errors where they have some."""

    label: str
    short: str
    colour: str
    style: Style
    values: NDArray[np.float64]
    errors: NDArray[np.float64] | None = None
    range: tuple[float, float] | None = None


def repeated(estimates: Sequence[Estimate], others: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and errors, [others, mains], of estimates that are the same for every field; no error bar for NaN."""
    pairs = np.array([(one.value, one.error) for one in estimates]).T
    values, errors = (np.tile(row, (others, 1)) for row in (pairs[0], np.nan_to_num(pairs[1])))
    return values, errors


class Heatmaps(NamedTuple):
    """What a panel of heatmaps shows, in plain numbers and text.

    Attributes
    ----------
    title : str
        What the fields are.
    fields : list of arrays
        For each value of the main slider [others, parts, *lattice]. The lattices may differ, and are drawn over the
        extent of the last one.
    quantity : Quantity
        What the numbers are.
    ticks, words, places : list of str
        Of each value of the main slider: a short label, the same in words, and what stands beside the slider.
    axis, unit : str
        What the charts are drawn against; what is counted has no unit.
    charts : list of (label, short, colour, style, values, errors)
        Numbers against the main slider, [others, mains].
    others : list of str
        What stands beside the other slider.
    beside : list of str
        What the line of numbers says of it; empty where its place says all.
    kept : str
        What it goes through, as a sentence.
    lines : list of str
        A line of numbers for each value of the main slider, in place of the one made of the charts.
    by_plane : bool
        Whether the parts of a field are its planes.
    part : str
        What else the parts are.
    controls : list of dict
        Of a `ChoiceView`, one for each entry of `asked`: its "name", its "kind" ("select", "checks", "numbers" or
        "number"), and "options", "labels", or the limits "min" and "max".
    note : str
        A sentence above the picture.
    """

    title: str
    fields: list[NDArray[np.float32]]
    quantity: Quantity
    ticks: list[str]
    words: list[str]
    places: list[str]
    axis: str
    charts: list[Chart]
    others: list[str]
    unit: str = ""
    beside: Sequence[str] = ()
    kept: str = ""
    lines: Sequence[str] = ()
    by_plane: bool = False
    part: str = "component"
    controls: Sequence[dict[str, Any]] = ()
    note: str = ""

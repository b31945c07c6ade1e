"""The widget that shows slices of fields."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from flowkit.panels.stream import bundle


class FieldView(anywidget.AnyWidget):
    """The live view. All numbers are in its traits, so that a second view, a reloaded page and a saved notebook have
    them too, and no message is needed.

    values          float32, [others, mains, parts, *lattice]; `shape` is the first three of these
    main, other     the field that is shown; `names` says what they count, and what the parts are
    plane, at       the plane (mu, nu) of the picture, an entry of `axes`, and the site it goes through
    part            what is shown of a field; the plane says it where `by_plane`
    charts          pictures of numbers against `main`, with values [others][mains]
    ends            what stands left and right of a strip of small pictures, one for every main; empty for no strip
    """

    _esm = bundle("field.js")
    _css = bundle("live.css")
    values = traitlets.Bytes(b"").tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)
    lattice = traitlets.List(traitlets.Int()).tag(sync=True)
    axes = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    by_plane = traitlets.Bool().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    labels = traitlets.Dict().tag(sync=True)
    colours = traitlets.Dict().tag(sync=True)
    charts = traitlets.List(traitlets.Dict()).tag(sync=True)
    ends = traitlets.List(traitlets.Unicode()).tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    what = traitlets.Unicode().tag(sync=True)
    main = traitlets.Int().tag(sync=True)
    other = traitlets.Int().tag(sync=True)
    plane = traitlets.Int().tag(sync=True)
    part = traitlets.Int().tag(sync=True)
    at = traitlets.List(traitlets.Int()).tag(sync=True)

    @traitlets.validate("main", "other", "plane", "part")
    def _within(self, proposal: Any) -> int:
        name, value = proposal.trait.name, int(proposal.value)
        others, mains, parts = self.shape
        count = {"main": mains, "other": others, "plane": len(self.axes), "part": parts}[name]
        if not 0 <= value < count:
            raise traitlets.TraitError(f"{name} is a number from 0 to {count - 1}; got {value}.")
        return value

    @traitlets.validate("at")
    def _on_the_lattice(self, proposal: Any) -> list[int]:
        site = list(proposal.value)
        if len(site) != len(self.lattice) or not all(0 <= x < side for x, side in zip(site, self.lattice, strict=True)):
            raise traitlets.TraitError(f"at is a site of the lattice {self.lattice}; got {site}.")
        return site

    def __repr__(self) -> str:
        return f"FieldView({self.title})"

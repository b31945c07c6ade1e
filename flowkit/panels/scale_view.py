"""The widget that shows a field at every scale."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from flowkit.panels.stream import bundle


class ScaleView(anywidget.AnyWidget):
    """The live view. All numbers are in its traits, so that a second view, a reloaded page and a saved notebook have
    them too, and no message is needed.

    scale, field    what is shown; they may be set from either side
    plaquettes      float32, scale after scale, each [fields, *lattice]
    """

    _esm = bundle("multiscale.js")
    _css = bundle("live.css")
    scale = traitlets.Int().tag(sync=True)
    field = traitlets.Int().tag(sync=True)
    lattices = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    fields = traitlets.Int(1).tag(sync=True)
    plaquettes = traitlets.Bytes(b"").tag(sync=True)
    colours = traitlets.Dict().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    lines = traitlets.List(traitlets.Unicode()).tag(sync=True)
    charts = traitlets.List(traitlets.Dict()).tag(sync=True)

    @traitlets.validate("scale", "field")
    def _within(self, proposal: Any) -> int:
        name, value = proposal.trait.name, int(proposal.value)
        count = len(self.lattices) if name == "scale" else self.fields
        if not 0 <= value < count:
            raise traitlets.TraitError(f"{name} is a number from 0 to {count - 1}; got {value}.")
        return value

    def __repr__(self) -> str:
        return f"ScaleView({self.title})"

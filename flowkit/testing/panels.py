"""The contract of a panel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowkit.testing.common import require

if TYPE_CHECKING:
    from flowkit.panels import Panel


def check_panel(panel: Panel) -> None:
    """Check a panel: a text that stays the same, a figure, and a snapshot that is a PNG; then close it, with all that
    it has made for the page.

    Parameters
    ----------
    panel : Panel
        Not closed yet.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> space = fk.links((2, 4), fk.U1())
    >>> testing.check_panel(fk.panels.Field(space.haar(2, testing.seeded()), space))
    """
    who, text = type(panel).__name__, repr(panel)
    require(text == repr(panel) and not re.search(r"0x[0-9a-f]+|\n", text), f"{who}: {text!r} is no stable line.")
    data = panel.snapshot().data
    require(isinstance(data, bytes) and data.startswith(b"\x89PNG\r\n"), f"{who}: its snapshot is no PNG.")
    require(len(panel.figure().to_json()) > 100, f"{who}: its figure is empty.")
    before = set(_widgets())
    bundle = panel._repr_mimebundle_()
    shown = bundle[0] if isinstance(bundle, tuple) else bundle
    require(shown["text/plain"] == text, f"{who}: it shows other text than its repr.")
    panel.close()
    left = [type(widget).__name__ for name, widget in _widgets().items() if name not in before]
    require(not left, f"{who}: closed, it leaves {', '.join(sorted(left))}.")


def _widgets() -> dict[str, object]:
    """The widgets that are open in this process, by their names."""
    from ipywidgets.widgets import widget

    return dict(widget._instances)

"""The contract of a panel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowkit.testing.common import require

if TYPE_CHECKING:
    from flowkit.panels import Panel


def check_panel(panel: Panel) -> None:
    """A stable repr, a figure, and a snapshot that is a PNG."""
    who, text = type(panel).__name__, repr(panel)
    require(text == repr(panel) and not re.search(r"0x[0-9a-f]+|\n", text), f"{who}: {text!r} is no stable line.")
    data = panel.snapshot().data
    require(isinstance(data, bytes) and data.startswith(b"\x89PNG\r\n"), f"{who}: its snapshot is no PNG.")
    require(len(panel.figure().to_json()) > 100, f"{who}: its figure is empty.")
    bundle = panel._repr_mimebundle_()
    shown = bundle[0] if isinstance(bundle, tuple) else bundle
    require(shown["text/plain"] == text, f"{who}: it shows other text than its repr.")
    panel.close()

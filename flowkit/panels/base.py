"""What every panel is: a view of plain numbers that a notebook shows live and keeps as a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import plotly.graph_objects as go
from IPython.display import Image

from flowkit.panels.drawing import plotly_figure, png
from flowkit.panels.pictures import Picture

STATIC = Path(__file__).parent / "static"


def bundle(name: str) -> str:
    """The text of a built front-end file.

    Raises
    ------
    FileNotFoundError
        Where the front end is not built, with the way to build it.
    """
    path = STATIC / name
    if not path.is_file():
        raise FileNotFoundError(
            f"The panels' front end is not built: {path} is missing. In a checkout run "
            "`python flowkit/panels/frontend/build.py`; an installed package brings it along."
        )
    return path.read_text(encoding="utf-8")


class Bundled:
    """An attribute of a widget's class whose value is a built front-end file, read when the first widget is made.

    So pictures that are drawn without a page need no front end.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, widget: object, owner: type) -> Any:
        return self if widget is None else bundle(self.name)


def let_subshell_answer(widget: ipywidgets.Widget) -> None:
    """Let clicks and requests reach the kernel while a cell runs, as in `trainer.wait()`.

    JupyterLab 4.4+ sends what a page says to a subshell, a thread beside the cell's. ipykernel 7.4 turns it back to the
    loop that last wrote to the widget, which the running cell holds. Our callbacks only set events or send rows and may
    run in any thread, so they keep the page's choice. Elsewhere this attribute is never read.
    """
    if widget.comm is not None:
        widget.comm._reply_subshell_for = lambda data, default: default


def close_all(widget: ipywidgets.Widget) -> None:
    """Close a widget and all that lie in it, their layouts and styles among them."""
    widgets, seen = [widget], set[int]()
    while widgets:
        one = widgets.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        held = [getattr(one, name, None) for name in ("layout", "style")]
        widgets.extend(
            inner for inner in (*held, *getattr(one, "children", ())) if isinstance(inner, ipywidgets.Widget)
        )
        one.close()


class Panel(ABC):
    """A view of plain numbers: no physics, no torch.

    As the last expression of a cell a panel shows itself; `widget` puts it into layouts
    (``VBox([a.widget, b.widget])``). The widget is made when it is first asked for, so that a panel without a display
    costs nothing. A live panel needs no `close`: it is kept while a page shows it, and a few seconds after its last
    view is gone, as when its cell is run again, it stops to stream and is released.

    A new panel gives its live view in `_make_widget`, and the pictures and the title from which `figure` and `snapshot`
    are drawn in `_pictures` and `_title`.

    Examples
    --------
    >>> import flowkit as fk
    >>> panel = fk.panels.EssKl({"flow": [{"beta": 1.0, "ess": 0.9}, {"beta": 2.0, "ess": 0.7}]})
    >>> isinstance(panel, fk.panels.Panel), panel.snapshot().data[1:4]
    (True, b'PNG')
    """

    columns = 4
    """Pictures in a row of a snapshot, at most."""

    @cached_property
    def widget(self) -> ipywidgets.Widget:
        """The live view; the same one at every call."""
        return self._make_widget()

    @abstractmethod
    def _make_widget(self) -> ipywidgets.Widget: ...

    def _pictures(self) -> Sequence[Picture]:
        """The numbers so far as pictures."""
        return ()

    def _title(self) -> str:
        return repr(self)

    def figure(self) -> go.Figure:
        """The numbers so far as an explorable plotly figure, which a notebook keeps."""
        return plotly_figure(self._pictures(), self._title())

    def snapshot(self) -> Image:
        """The numbers so far as a png, which remains when the kernel is closed, on GitHub and in an exported page."""
        return png(self._pictures(), self._title(), self.columns)

    def _notes(self) -> list[str]:
        """Lines of plain text that a saved page shows above the figure."""
        return []

    def _figures(self) -> list[go.Figure]:
        """What a saved page shows."""
        return [self.figure()]

    def save_html(self, path: str | Path) -> Path:
        """Write the figure as one page that opens without a network; plotly is inside, about 5 MB.

        Parameters
        ----------
        path : str or Path
            The file; folders on the way are made.

        Returns
        -------
        Path
            The same path.

        Raises
        ------
        OSError
            Where the page cannot be written, as where `path` is a folder.
        """
        path = Path(path)
        if path.is_dir():
            raise IsADirectoryError(f"A page is written to a file such as {path / 'panel.html'}; {path} is a folder.")
        pages = [one.to_html(full_html=False, include_plotlyjs=i == 0) for i, one in enumerate(self._figures())]
        lines = "".join(f"<p>{escape(line)}</p>" for line in self._notes())
        page = (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(repr(self))}</title></head>\n'
            f'<body style="font-family: system-ui, sans-serif; margin: 1.5em">{lines}{"".join(pages)}</body></html>\n'
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise OSError(f"{path} could not be written: {error.strerror or error}.") from error
        return path

    def close(self) -> None:
        """Close the live view. The numbers remain, and `widget` makes a new view."""
        if "widget" in self.__dict__:
            close_all(self.__dict__.pop("widget"))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        bundle = self.widget._repr_mimebundle_(include=include, exclude=exclude)
        # ipywidgets' own text lists every trait, seconds and ids among them; nbval compares this text.
        data, *metadata = bundle if isinstance(bundle, tuple) else (bundle,)
        data["text/plain"] = repr(self)
        return (data, *metadata) if metadata else data

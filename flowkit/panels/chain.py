"""The chain panel: histories, charges and autocorrelations of several samplers side by side, while they run."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from IPython.display import Image

from flowkit.observables import Observable, name_of
from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.chain_numbers import Charges, Correlation, charge_picture
from flowkit.panels.colours import RUNS
from flowkit.panels.control import Controls
from flowkit.panels.curves import Axis, Curve, Run, pictures
from flowkit.panels.feed import Feed
from flowkit.panels.pictures import MARKERS, Picture, plotly_figure, png
from flowkit.panels.sources import CHARGE, CHARGE_SQUARED, CLOCK, ChainRows, shared_theory, source
from flowkit.panels.stream import LiveCurves
from flowkit.panels.thin import gather
from flowkit.tasks.history import History

if TYPE_CHECKING:
    from flowkit.ensemble import Ensemble
    from flowkit.ensemble.job import Job

AXES = {
    "step": Axis("step", "stored step"),
    "forces": Axis("forces", "force evaluations"),
    "seconds": Axis("seconds", "time", "s"),
}
LABELS = {
    CHARGE: ("Topological charge Q", "Q"),
    CHARGE_SQUARED: ("Q²", "Q²"),
    "plaquette": ("Plaquette", "plaquette"),
    "S": ("Action S", "S"),
    "accept": ("Acceptance", "acceptance"),
    "magnetization": ("Magnetization φ̄", "φ̄"),
    "phi_squared": ("φ²", "φ²"),
}


class Chain(Panel):
    """Histories of one chain, the histogram of Q, and autocorrelation functions with their windows, run beside run.

    runs               a Job of `start` or an Ensemble of `run`, or several by name; Jobs have Start, Pause and Stop
    observe            names of the series to draw, or observables (of an ensemble that kept its configurations); by
                       default what all runs have observed, Q and the plaquette first, else the action
    chain              the one whose history is drawn; histograms and autocorrelations are of all
    autocorrelation    name of the series; by default Q² where Q is observed, else the first series
    x                  horizontal axis of the histories: step, forces (one through a flow costs more than one of the
                       theory alone), or seconds
    per_second         updates of the picture a second, 1 to 20; fewer where they would take over .3 % of a core
    Exact              where all runs have one theory: means that the action knows, P(Q) for U(1) in two dimensions
    Raises             TypeError for anything but runs; ValueError for weighted draws, for names that a run does not
                       have, or numbers out of range
    """

    def __init__(
        self,
        runs: Job | Ensemble | Mapping[str, Job | Ensemble],
        *,
        observe: Sequence[Observable | str] | None = None,
        chain: int = 0,
        autocorrelation: str | None = None,
        x: str = "step",
        per_second: float = 8.0,
    ):
        named = dict(runs) if isinstance(runs, Mapping) else {"": runs}
        if not named:
            raise ValueError("Chain needs at least one run; got none.")
        self._sources = [source(run, observe or ()) for run in named.values()]
        self.names = [name or "chain" for name in named]
        self._looks = [(name, RUNS[i % len(RUNS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(self.names)]
        self._series = self._choose(observe)
        self._correlated = autocorrelation or (CHARGE_SQUARED if self._all_have(CHARGE_SQUARED) else self._series[0])
        for name in (*self._series, self._correlated):
            self._require(name)
        fewest = min(one.chains for one in self._sources)
        if not 0 <= chain < fewest or not 1 <= per_second <= 20:
            raise ValueError(
                f"Chain needs a chain of 0 to {fewest - 1} and per_second in 1 to 20; got {chain} and {per_second}."
            )
        self._axes = [
            AXES["step"],
            *(AXES[name] for name in ("forces", "seconds") if all(getattr(s, name) for s in self._sources)),
        ]
        if x not in [axis.column for axis in self._axes]:
            raise ValueError(f"These runs have the axes {', '.join(a.column for a in self._axes)}; got {x!r}.")
        self._axes.sort(key=lambda axis: axis.column != x)
        self.chain, self.per_second = chain, per_second
        self._rows: list[ChainRows | None] = [None] * len(self._sources)
        self._counted: list[History | None] = [None] * len(self._sources)
        self._correlated_of: list[History | None] = [None] * len(self._sources)
        self._charges = [Charges(one.chains) for one in self._sources]
        self._correlations = [Correlation() for _ in self._sources]
        self._correlation: list[Picture] = []
        # The live view counts and correlates in threads, and a figure may be asked for meanwhile.
        self._locks = threading.Lock(), threading.Lock()
        self._warm = False
        self._curves = self._make_curves()

    # -- what is there ---------------------------------------------------------------------------------------------

    def _choose(self, observe: Sequence[Observable | str] | None) -> list[str]:
        if observe is not None:
            return [name_of(obs) for obs in observe]
        common = [name for name in self._sources[0].known if self._all_have(name)]
        first = [name for name in (CHARGE, "plaquette") if name in common]
        aside = ("S", "accept", "invalid", "dH", "logq", "logw", "logw_proposed", *first)
        return [*first, *(name for name in common if name not in aside)] or ["S"]

    def _all_have(self, name: str) -> bool:
        return all(one.has(name) for one in self._sources)

    def _require(self, name: str) -> None:
        for run, one in zip(self.names, self._sources, strict=True):
            if not one.has(name):
                raise ValueError(f"The run {run!r} has the series {', '.join(one.known)}; got {name!r}.")

    def _make_curves(self) -> list[Curve]:
        curves = []
        every = tuple(range(len(self._sources)))
        action = shared_theory(self._sources)
        for name in self._series:
            label, short = LABELS.get(name, (name.replace("_", " ").capitalize(), name))
            exact = None if action is None or name == CHARGE else action.exact(name)
            if name != CHARGE:
                references = () if exact is None else (("exact", exact),)
                curves.append(Curve(name, label, short, headline=True, references=references, runs=every))
            else:  # side by side, for lines that jump hide each other
                for i, run in enumerate(self.names):
                    title = f"Charge Q, {run}" if len(self.names) > 1 else label
                    curves.append(Curve(name, title, short, headline=True, steps=True, runs=(i,)))
        return curves

    def _rows_of(self, i: int) -> ChainRows:
        """Rows of run i, the same object until the run begins again or another chain is drawn."""
        rows, one = self._rows[i], self._sources[i]
        if rows is None or rows.clock is not one.clock or rows.chain != self.chain:
            rows = self._rows[i] = ChainRows(one, self._series, self.chain)
        return rows

    # -- pictures --------------------------------------------------------------------------------------------------

    def _charge_pictures(self) -> list[Picture]:
        """The share of each charge, counted up to now."""
        with self._locks[0]:
            for i, one in enumerate(self._sources):
                if self._counted[i] is not one.clock:
                    self._counted[i], self._charges[i] = one.clock, Charges(one.chains)
                self._charges[i].update(one.series(CHARGE)[: len(one.clock)])
            return [charge_picture(self._sources, self._charges, self._looks)]

    def _correlation_pictures(self) -> list[Picture]:
        """Autocorrelation functions with their windows."""
        with self._locks[1]:
            if not self._warm:  # what the Gamma method needs takes seconds to import, at best before a run begins
                Correlation().update(np.arange(16.0) % 3)
                self._warm = True
            news = not self._correlation
            for i, one in enumerate(self._sources):
                if self._correlated_of[i] is not one.clock:
                    self._correlated_of[i], self._correlations[i], news = one.clock, Correlation(), True
                n, correlation = len(one.clock), self._correlations[i]
                if correlation.due(n, going=one.status()["state"] in ("running", "stopping")):
                    correlation.update(one.series(self._correlated)[:n])
                    news = True
            if news:
                self._correlation = [self._correlation_picture()]
            return self._correlation

    def _correlation_picture(self) -> Picture:
        label = LABELS.get(self._correlated, (self._correlated, self._correlated))[1]
        layers, windows = [], []
        for (name, colour, marker), correlation in zip(self._looks, self._correlations, strict=True):
            if correlation.n:
                layers.append(correlation.layer(colour, name, marker))
            if correlation.window:
                windows.append((float(correlation.window), colour))
        title, unit = f"Autocorrelation of {label}", "dimensionless"
        return Picture(title, unit, f"stored steps ({unit})", layers, verticals=windows, key=True)

    def _makers(self) -> list[Callable[[Chain], list[Picture]]]:
        return [*([Chain._charge_pictures] if CHARGE in self._series else []), Chain._correlation_pictures]

    def _pictures(self) -> list[Picture]:
        columns = (*CLOCK, *self._series)
        runs = [
            Run(name, colour, columns, gather(self._rows_of(i), columns))
            for i, (name, colour, _) in enumerate(self._looks)
        ]
        return [
            *pictures(self._curves, runs, self._axes[0]),
            *(picture for maker in self._makers() for picture in maker(self)),
        ]

    def _title(self) -> str:
        action = shared_theory(self._sources)
        parts = [] if action is None else [repr(action)]
        parts += [f"{name}: {len(s.clock):,} steps" for name, s in zip(self.names, self._sources, strict=True)]
        return "; ".join([*parts, f"drawn: chain {self.chain}"])

    def figure(self) -> go.Figure:
        return plotly_figure(self._pictures(), self._title())

    def snapshot(self) -> Image:
        return png(self._pictures(), self._title(), columns=3)

    def _notes(self) -> list[str]:
        errors = [(name, one.job and one.job.error) for name, one in zip(self.names, self._sources, strict=True)]
        return [f"{name}: {error}" for name, error in errors if error]

    # -- the live view ---------------------------------------------------------------------------------------------

    def _make_widget(self) -> ipywidgets.Widget:
        rows, feeds = [], []
        me = weakref.proxy(self)  # the view must not hold the panel, see `LiveCurves.stream`
        several = len(self._sources) > 1
        for i, (name, colour, _) in enumerate(self._looks):
            job, controls = self._sources[i].job, None
            if job is not None:
                controls = Controls(job, name=name if several else "", room=max(map(len, self.names)))
                rows.append(controls.box)
            feeds.append(
                Feed(
                    lambda i=i: me._rows_of(i),  # type: ignore[misc]
                    lambda i=i, controls=controls: me._status(i, controls),  # type: ignore[misc]
                    (*CLOCK, *self._series),
                    name if several else "",
                    colour,
                )
            )
        makers = [partial(maker, me) for maker in self._makers()]
        curves = LiveCurves(feeds, self._curves, self._axes, makers, "Markov chains, live")
        for i in range(len(makers) - 1):  # an autocorrelation may take long, and comes when it is there
            curves.draw_pictures(i)
        fewest = min(one.chains for one in self._sources)
        if fewest > 1:
            choice = ipywidgets.BoundedIntText(value=self.chain, min=0, max=fewest - 1, description="chain drawn")
            choice.layout, choice.style = ipywidgets.Layout(width="160px"), {"description_width": "85px"}
            let_subshell_answer(choice)
            choice.observe(lambda change: setattr(me, "chain", int(change["new"])), "value")
            rows.append(choice)
        box = ipywidgets.VBox([*rows, curves], layout=ipywidgets.Layout(width="100%"))
        curves.stream(self.per_second, self, box)
        return box

    def _status(self, i: int, controls: Controls | None) -> dict[str, Any]:
        one, count = self._sources[i], self._charges[i]
        status = one.status()
        if controls is not None:
            controls.follow(status["state"])
            status["error"] = status["error"] or controls.refused
        if CHARGE in self._series and count.taken > 1:
            rate = count.changes / ((count.taken - 1) * one.chains)
            status["text"] = f"Q changes {rate:.2g} times a step" if rate else "Q never changed"
        return status

    def __repr__(self) -> str:
        return f"Chain({', '.join(self.names)}; {', '.join(self._series)})"

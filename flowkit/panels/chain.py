"""The chain panel: histories, charges and autocorrelations of several samplers side by side, while they run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np

from flowkit.checks import Natural, Often, check, checked
from flowkit.panels.base import Panel, let_subshell_answer
from flowkit.panels.chain_run import CLOCK, ChainRows, ChainRun, correlate
from flowkit.panels.colours import BLACK, RUNS
from flowkit.panels.control import Controls
from flowkit.panels.curves import Run, pictures
from flowkit.panels.pictures import MARKERS, Axis, Curve, Layer, Picture
from flowkit.panels.stream import Feed, LiveCurves, gather

if TYPE_CHECKING:
    from flowkit.ensemble import Ensemble
    from flowkit.ensemble.job import Job
    from flowkit.observables import Observable

AXES = {
    "step": Axis("step", "stored step"),
    "forces": Axis("forces", "force evaluations"),
    "seconds": Axis("seconds", "time", "s"),
}


class Chain(Panel):
    """Histories of one chain, the shares of the topological charges, and autocorrelation functions, run beside run.

    Parameters
    ----------
    runs : Job or Ensemble, or a mapping of names to them
        Runs of `start`, which have Start, Pause and Stop, or ensembles of `run`.
    observe : sequence of str or Observable
        Names of the series to draw, or observables that an ensemble with configurations measures now. By default what
        all runs have observed, Q and the plaquette first; where nothing was observed, the action.
    chain : int
        The one whose history is drawn. Shares and autocorrelations are of all chains.
    autocorrelation : str
        Name of the series; by default Q² where Q is observed, else the first series.
    x : str
        Horizontal axis of the histories: "step"; "forces", where one evaluation through a flow costs more than one of
        the theory alone; or "seconds".
    per_second : float
        Updates of the curves a second at most, 1 to 20.

    Raises
    ------
    TypeError
        For anything but runs.
    ValueError
        For weighted samples, names of series that a run does not have, and numbers out of range.

    Notes
    -----
    Where all runs sample one theory, the exact means that the action knows are drawn as dashed lines, and the exact
    P(Q), which is known for U(1) in two dimensions, beside the shares.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=1.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 8, chains=2, observe=[fk.plaquette], rng=1)
    >>> fk.panels.Chain({"heatbath": ensemble}, x="seconds")
    Chain(heatbath; topological_charge, plaquette)
    """

    columns = 3

    @checked
    def __init__(
        self,
        runs: Job | Ensemble | Mapping[str, Job | Ensemble],
        *,
        observe: Sequence[Observable | str] | None = None,
        chain: Natural = 0,
        autocorrelation: str | None = None,
        x: str = "step",
        per_second: Often = 8.0,
    ):
        from flowkit.ensemble.chain_numbers import CHARGE, CHARGE_SQUARED, chain_numbers, label

        check("Chain", "observe", Sequence[Any] | None, observe)
        named = dict(runs) if isinstance(runs, Mapping) else {"": runs}
        if not named:
            raise ValueError("Chain needs at least one run; got none.")
        numbers = [chain_numbers(run, observe or ()) for run in named.values()]
        self.names = [name or "chain" for name in named]
        if observe is None:
            self._series = [name for name in numbers[0].shown() if all(one.has(name) for one in numbers)] or ["S"]
        else:
            self._series = [str(getattr(obs, "name", obs)) for obs in observe]
        squared = all(one.has(CHARGE_SQUARED) for one in numbers)
        correlated = autocorrelation or (CHARGE_SQUARED if squared else self._series[0])
        for name in (*self._series, correlated):
            for run, one in zip(self.names, numbers, strict=True):
                if not one.has(name):
                    raise ValueError(f"The run {run!r} has the series {', '.join(one.known)}; got {name!r}.")
        self.fewest = min(one.chains for one in numbers)
        if not 0 <= chain < self.fewest or not 1 <= per_second <= 20:
            needed = f"a chain of 0 to {self.fewest - 1} and per_second in 1 to 20"
            raise ValueError(f"Chain needs {needed}; got {chain} and {per_second}.")
        self._axes = [axis for name, axis in AXES.items() if all(name in one.clocks for one in numbers)]
        if x not in [axis.column for axis in self._axes]:
            raise ValueError(f"These runs have the axes {', '.join(a.column for a in self._axes)}; got {x!r}.")
        self._axes.sort(key=lambda axis: axis.column != x)
        self.chain, self.per_second = chain, per_second
        self._charge = CHARGE if CHARGE in self._series else ""
        self._correlated = label(correlated)[1]
        self._runs = [
            ChainRun(name, RUNS[i % len(RUNS)], MARKERS[i % len(MARKERS)], one, self._charge, correlated)
            for i, (name, one) in enumerate(zip(self.names, numbers, strict=True))
        ]
        # What is exact, where all runs sample one theory.
        self._theory = numbers[0] if len({one.theory for one in numbers}) == 1 else None
        self._counted, self._correlated_at = None, None  # type: tuple[object, object]
        self._shares, self._correlations = [], []  # type: tuple[list[Picture], list[Picture]]
        self._curves = [curve for name in self._series for curve in self._curves_of(name, *label(name))]

    def _curves_of(self, name: str, words: str, short: str) -> list[Curve]:
        every = tuple(range(len(self._runs)))
        if name != self._charge:
            exact = None if self._theory is None else self._theory.exact(name)
            references = () if exact is None else (("exact", exact),)
            return [Curve(name, words, short, headline=True, references=references, runs=every)]
        # Charges side by side, for lines that jump hide each other.
        titles = [f"Charge Q, {run}" for run in self.names] if len(every) > 1 else [words]
        return [Curve(name, title, short, headline=True, steps=True, runs=(i,)) for i, title in enumerate(titles)]

    # -- pictures --------------------------------------------------------------------------------------------------

    def _charge_pictures(self) -> list[Picture]:
        """The share of each charge, counted up to now; the same list where nothing was counted."""
        counted = [run.count() for run in self._runs]
        if counted != self._counted:
            self._counted, self._shares = counted, [self._share_picture()]
        return self._shares

    def _share_picture(self) -> Picture:
        middle = (len(self._runs) - 1) / 2
        layers = [run.share_layer(0.18 * (i - middle)) for i, run in enumerate(self._runs) if run.charges.taken]
        reach = max([1, *(int(abs(q)) for one in layers for q in np.rint(one.x[one.y > 0]))])
        charges = range(-reach - 1, reach + 2)
        known = None if self._theory is None else self._theory.exact_shares(charges)
        if known is not None:
            layers.append(Layer(np.array(charges, dtype=float), known, BLACK, "outline", "exact"))
        limits = (0.0, 1.0) if reach < 2 else None
        return Picture("Share of each Q", "", "Q", layers, range=limits)

    def _correlation_pictures(self) -> list[Picture]:
        """Autocorrelation functions with their windows; the same list where nothing was added."""
        if self._correlated_at is None:  # what the Gamma method needs takes seconds to import, at best before a run
            correlate(np.arange(16.0) % 3)
        at = [run.correlate() for run in self._runs]
        if at != self._correlated_at:
            layers = [run.correlation_layer() for run, (_, n) in zip(self._runs, at, strict=True) if n]
            windows = [(float(run.correlation.window), run.colour) for run in self._runs if run.correlation.window]
            look: dict[str, Any] = {"verticals": windows, "key": True}
            title = f"Autocorrelation of {self._correlated}"
            self._correlations = [Picture(title, "", "stored steps", layers, **look)]
            self._correlated_at = at
        return self._correlations

    def _makers(self) -> list[Callable[[Chain], list[Picture]]]:
        return [*([Chain._charge_pictures] if self._charge else []), Chain._correlation_pictures]

    def _pictures(self) -> list[Picture]:
        columns = (*CLOCK, *self._series)
        rows = [(run, run.rows(self._series, self.chain)) for run in self._runs]
        runs = [Run(run.name, run.colour, columns, gather(one, columns)) for run, one in rows]
        counts = [picture for maker in self._makers() for picture in maker(self)]
        return [*pictures(self._curves, runs, self._axes[0]), *counts]

    def _title(self) -> str:
        theory = [self._theory.theory] if self._theory is not None and self._theory.theory else []
        steps = [f"{run.name}: {len(run.numbers.clock()):,} steps" for run in self._runs]
        return "; ".join([*theory, *steps, f"drawn: chain {self.chain}"])

    def _notes(self) -> list[str]:
        errors = [(run.name, run.numbers.status()["error"]) for run in self._runs]
        return [f"{name}: {error}" for name, error in errors if error]

    # -- the live view ---------------------------------------------------------------------------------------------

    def _make_widget(self) -> ipywidgets.Widget:
        rows, feeds = [], []
        me = weakref.proxy(self)  # the view must not hold the panel, see `LiveCurves.stream`
        several = len(self._runs) > 1
        for i, run in enumerate(self._runs):
            job, controls = run.numbers.job, None
            if job is not None:
                controls = Controls(job, name=run.name if several else "", room=max(map(len, self.names)))
                rows.append(controls.box)
            history = partial(Chain._rows_of, me, i)
            status = partial(Chain._status, me, i, controls)
            feeds.append(Feed(history, status, (*CLOCK, *self._series), run.name if several else "", run.colour))
        makers = [partial(maker, me) for maker in self._makers()]
        curves = LiveCurves(feeds, self._curves, self._axes, makers, "Markov chains, live")
        for i in range(len(makers) - 1):  # an autocorrelation may take long, and comes when it is there
            curves.draw_pictures(i)
        if self.fewest > 1:
            look = {"layout": ipywidgets.Layout(width="160px"), "style": {"description_width": "85px"}}
            choice = ipywidgets.BoundedIntText(self.chain, max=self.fewest - 1, description="chain drawn", **look)
            let_subshell_answer(choice)
            choice.observe(lambda change: setattr(me, "chain", int(change["new"])), "value")
            rows.append(choice)
        box = ipywidgets.VBox([*rows, curves], layout=ipywidgets.Layout(width="100%"))
        curves.stream(self.per_second, self, box)
        return box

    def _rows_of(self, i: int) -> ChainRows:
        return self._runs[i].rows(self._series, self.chain)

    def _status(self, i: int, controls: Controls | None) -> dict[str, Any]:
        run = self._runs[i]
        status, count = run.numbers.status(), run.charges
        if controls is not None:
            controls.follow(status["state"])
            status["error"] = status["error"] or controls.refused
        if self._charge and count.taken > 1:
            rate = count.changes / ((count.taken - 1) * run.numbers.chains)
            status["text"] = f"Q changes {rate:.2g} times per step" if rate else "Q never changed"
        return status

    def __repr__(self) -> str:
        return f"Chain({', '.join(self.names)}; {', '.join(self._series)})"

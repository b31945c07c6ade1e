"""Chains that run in a thread: started, paused, stopped, and watched while they grow."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from flowkit.checks import Count, checked, settings_of
from flowkit.ensemble.columns import Columns
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.ensemble.recording import Recording
from flowkit.ensemble.runs import run
from flowkit.samplers.chain import Steps
from flowkit.stats import Floats
from flowkit.tasks.background import Background
from flowkit.tasks.history import History
from flowkit.tasks.in_training import frozen

COLUMNS = ("step", "seconds", "forces", "accept")


class Job(Background):
    """`run(sampler, n, ...)` in a thread, with `pause`, `resume`, `stop` and `wait`; it gives the same bit for bit.

    Parameters
    ----------
    sampler : Sampler
        Each run works on a copy of it, which is `job.sampler` from then on and is tuned in its place.
    n : int
        Stored steps of the whole run.
    callbacks : sequence of callable
        Called as f(job) after every stored step; one that fails is dropped, and `error` says so.
    **settings
        Those of `run`: chains, thermalise, every, rng, observe, keep, start, max_bad, max_bytes.

    Attributes
    ----------
    history : History
        One row for each stored step: step (from 1), seconds (of the stored steps, pauses left out), forces (evaluations
        of one chain, where the sampler counts them), accept (the mean of all chains).
    step, total : int
        Stored steps so far, and of the whole run.
    warm, thermalise : int
        Steps of the thermalisation so far, and in all; `thermalise` is None where the run decides.

    Raises
    ------
    TypeError
        For a setting that `run` does not have.
    ValueError
        For numbers out of range.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> job = fk.ensemble.Job(fk.HMC(action), 100, chains=4, thermalise=10, rng=1).start()
    >>> job.wait().ensemble
    Ensemble(100 stored steps x 4 chains of Links U1 on 4x4; S, accept, dH, topological_charge)
    >>> job.status, job.step, job.warm
    ('finished', 100, 10)
    """

    what = "run"
    failure = EnsembleError

    @checked
    def __init__(
        self, sampler: Steps, n: Count, *, callbacks: Sequence[Callable[[Job], object]] = (), **settings: Any
    ) -> None:
        super().__init__(callbacks)
        known = inspect.signature(run).parameters
        for name in settings:
            if name not in known or name in ("sampler", "n", "progress", "each"):
                raise TypeError(f"A job takes the settings of run, without progress and each; got {name!r}.")
        settings = settings_of(run, "A job", settings)
        numbers = {name: settings.get(name, known[name].default) for name in ("chains", "every", "thermalise")}
        self._given, self.settings = sampler, {"thermalise": numbers["thermalise"], **settings}
        self.total, self.every = n, numbers["every"]
        self.thermalise: int | None = numbers["thermalise"]
        self.chains = len(settings["start"]) if settings.get("start") is not None else numbers["chains"]
        self._reset()

    def _reset(self) -> None:
        self.sampler = self._given
        self.history = History(COLUMNS)
        self.warm, self._paused = 0, 0.0
        self._columns: Columns | None = None
        self._ensemble: Ensemble | None = None

    def __repr__(self) -> str:
        return f"Job({self.sampler!r}, n={self.total})"

    @property
    def step(self) -> int:
        return len(self.history)

    @property
    def ensemble(self) -> Ensemble:
        """What `run` gives; of a stopped or failed run, what it gives for the steps that were stored.

        Of a failed one, ``provenance["ended"]`` says where it failed.

        Raises
        ------
        EnsembleError
            Before the end, and where nothing was stored.
        """
        if self._ensemble is None:
            raise EnsembleError(
                f"The ensemble of a run is there at its end; this one is {self.status}{self._where()}"
                f"{f': {self.error}' if self.error else '.'}"
            )
        return self._ensemble

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the series so far: what is observed, S, accept, and what the sampler tells."""
        return () if self._columns is None else tuple(name for name in self._columns.series if name != "invalid")

    def values(self, name: str) -> Floats:
        """A series as far as it has come, ``[steps, chains]``, without a copy.

        Raises
        ------
        EnsembleError
            For a name that is not among `series`.
        """
        if self._columns is None or name not in self.series:
            raise EnsembleError(f"This run has the series {', '.join(self.series) or 'none yet'}; got {name!r}.")
        return self._columns[name]

    def start(self) -> Job:
        """Run in a thread; after an end, once more from the beginning.

        Raises
        ------
        RuntimeError
            While it runs.
        """
        self._check_ended()
        self._reset()
        # A training that begins while the chains run must not change what proposes.
        self.sampler = frozen(self.sampler, "A run of chains", always=True)
        self._begin(self._run)
        return self

    def _where(self) -> str:
        return f" at stored step {self.step} of {self.total}"

    def _run(self) -> bool:
        recording = Recording(self.sampler, self.total, **self.settings)
        self.sampler = recording.chains.sampler
        try:
            while self._may_go_on() and (point := next(recording, None)) is not None:
                if point.warm:
                    self.warm, self._paused = self.warm + 1, 0.0  # the clock begins after the thermalisation
                if point.stored:
                    self._stored(recording.columns)
            if recording.columns.taken:
                self._keep(recording.ensemble(), recording.columns)
        except BaseException:
            if (so_far := recording.rescued("failed")) is not None:
                self._keep(so_far, recording.columns)
            raise
        return self.step == self.total

    def _keep(self, ensemble: Ensemble, columns: Columns) -> None:
        self._stored(columns)  # rows that still lay on the device
        ensemble.provenance["seconds"] = self.history.last("seconds")
        self._ensemble = ensemble

    def _may_go_on(self) -> bool:
        """Wait while the run is paused; whether it was not stopped."""
        if not self._go.is_set():
            begun = time.perf_counter()
            self._go.wait()
            self._paused += time.perf_counter() - begun
        return not self._stop.is_set()

    def _stored(self, columns: Columns) -> None:
        """A row of the history for each step that has come off the device since the last one."""
        seconds = time.perf_counter() - columns.begun - self._paused
        before = self.history.last("seconds") if self.step else 0.0
        self._columns = columns
        forces = getattr(self.sampler, "forces", None)
        first, new = self.step, columns.filled - self.step
        for i in range(1, new + 1):
            self.history.append(
                step=first + i,
                seconds=before + (seconds - before) * i / new,
                forces=math.nan if forces is None else (first + i) * self.every * forces,
                accept=float(columns["accept"][first + i - 1].mean()),
            )
            self._call_back()


@checked
def start(sampler: Steps, n: Count, *, callbacks: Sequence[Callable[[Job], object]] = (), **settings: Any) -> Job:
    """Run chains of a sampler in a thread and return at once.

    Parameters
    ----------
    sampler, n, callbacks, **settings
        As `Job`.

    Returns
    -------
    Job
        Running; ``job.wait().ensemble`` is what `run` gives.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> job = fk.start(fk.Heatbath(action), 50, chains=4, rng=1)
    >>> len(job.wait().ensemble)
    50
    """
    return Job(sampler, n, callbacks=callbacks, **settings).start()

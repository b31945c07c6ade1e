"""Chains that run in a thread: started, paused, stopped, and watched while they grow."""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from flowkit.ensemble.ensemble import (
    Columns,
    Ensemble,
    EnsembleError,
    Steps,
    check_numbers,
    check_sampler,
    generator_of,
    run,
)
from flowkit.observables import listed
from flowkit.samplers.base import State
from flowkit.stats import Floats
from flowkit.tasks.background import Background
from flowkit.tasks.history import History

COLUMNS = ("step", "seconds", "forces", "accept")


class _Stopped(Exception):  # noqa: N818 (it is no error)
    """Leaves a run that has stored nothing yet."""


class Job(Background):
    """`run(sampler, n, ...)` in a thread, with `pause`, `resume`, `stop` and `wait`; what it gives is the same bit for
    bit.

    sampler      each run works on a copy of it, `job.sampler`, which is tuned in its place
    settings     those of `run`: chains, thermalise, every, rng, observe, keep, start, max_bad, max_bytes
    callbacks    called as f(job) after every stored step; one that fails is dropped, and `error` says so
    history      one row for each stored step, plain numbers: step (from 1), seconds (of the stored steps, pauses left
                 out), forces (evaluations of one chain, where the sampler counts them), accept (the mean of all chains)
    step, total  stored steps so far, and of the whole run; `warm` counts the steps of the thermalisation
    Raises       TypeError for a setting that `run` does not have, ValueError for numbers out of range
    """

    what = "run"
    failure = EnsembleError

    def __init__(
        self, sampler: Steps, n: int, *, callbacks: Sequence[Callable[[Job], object]] = (), **settings: Any
    ) -> None:
        super().__init__(callbacks)
        check_sampler(sampler)
        listed(settings.get("observe", ()))
        known = inspect.signature(run).parameters
        for name in settings:
            if name not in known or name in ("sampler", "n", "progress", "each"):
                raise TypeError(f"A job takes the settings of run, without progress and each; got {name!r}.")
        numbers = {name: settings.get(name, known[name].default) for name in ("chains", "every", "thermalise")}
        check_numbers(n, **numbers)
        generator_of(settings.get("rng"), "cpu")
        self._given, self.settings = sampler, settings
        self.total, self.thermalise, self.every = n, numbers["thermalise"], numbers["every"]
        self.chains = len(settings["start"]) if settings.get("start") is not None else numbers["chains"]
        self._reset()

    def _reset(self) -> None:
        self.sampler = copy.copy(self._given)
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
        """What `run` gives; of a stopped run, what it gives for the steps that were stored.

        Raises    EnsembleError before the end, and where nothing was stored
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
        """A series as far as it has come, [steps, chains], without a copy.

        Raises    EnsembleError for a name that is not among `series`
        """
        if self._columns is None or name not in self.series:
            raise EnsembleError(f"This run has the series {', '.join(self.series) or 'none yet'}; got {name!r}.")
        return self._columns[name]

    def start(self) -> Job:
        """Run in a thread; after an end, once more from the beginning.

        Raises    RuntimeError while it runs
        """
        self._check_ended()
        self._reset()
        self._begin(self._run)
        return self

    def _where(self) -> str:
        return f" at stored step {self.step} of {self.total}"

    def _run(self) -> bool:
        step = self.sampler.step

        def watched(state: State, rng: torch.Generator) -> tuple[State, dict[str, torch.Tensor]]:
            self._hold()
            return step(state, rng)

        # On the copy alone, and seen by `tune` too, which steps for as long as the thermalisation takes.
        vars(self.sampler)["step"] = watched
        try:
            self._ensemble = run(self.sampler, self.total, each=self._each, **self.settings)
        except _Stopped:
            return False
        finally:
            del vars(self.sampler)["step"]
        self._ensemble.provenance["seconds"] = self.history.last("seconds")
        return self.step == self.total

    def _hold(self) -> None:
        """Wait while the run is paused; leave it where it was stopped with nothing stored."""
        if not self._go.is_set():
            begun = time.perf_counter()
            self._go.wait()
            self._paused += time.perf_counter() - begun if self.warm == self.thermalise else 0.0
        if self._columns is None:
            if self._stop.is_set():
                raise _Stopped
            self.warm = min(self.warm + 1, self.thermalise)

    def _each(self, columns: Columns) -> bool:
        now = time.perf_counter()
        self._columns = columns
        forces = getattr(self.sampler, "forces", None)
        self.history.append(
            step=columns.filled,
            seconds=now - columns.begun - self._paused,
            forces=math.nan if forces is None else columns.filled * self.every * forces,
            accept=float(columns["accept"][-1].mean()),
        )
        self._call_back()
        return self._stop.is_set()


def start(sampler: Steps, n: int, *, callbacks: Sequence[Callable[[Job], object]] = (), **settings: Any) -> Job:
    """Run chains of a sampler in a thread and return at once: `job = start(sampler, 10_000, rng=1)`.

    Arguments and errors are those of `Job`; `job.wait().ensemble` is what `run` gives.
    """
    return Job(sampler, n, callbacks=callbacks, **settings).start()

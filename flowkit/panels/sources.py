"""Markov chains as a panel reads them: plain numbers of a run that goes on, or of an ensemble that is complete."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.ensemble import Ensemble, EnsembleError
from flowkit.ensemble.job import Job
from flowkit.panels.thin import Floats
from flowkit.tasks.history import History

if TYPE_CHECKING:
    from flowkit.actions import Action
    from flowkit.observables import Observable

CHARGE, CHARGE_SQUARED = "topological_charge", "charge_squared"
CLOCK = ("step", "seconds", "forces")


class Source(ABC):
    """One run: its clock, its series [n, chains], its state, and the theory that it samples.

    known      names of the series that are or will be there, as they are observed
    forces     whether force evaluations are counted; seconds, whether time is
    job        what the buttons control; None for an ensemble
    """

    chains: int
    known: tuple[str, ...]
    forces: bool
    seconds: bool
    theory: Action | None
    job: Job | None = None

    @property
    @abstractmethod
    def clock(self) -> History:
        """One row for each stored step; another object when the run began again."""

    @abstractmethod
    def _series(self, name: str) -> Floats: ...

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """State, step, total and error, as a page shows them."""

    def has(self, name: str) -> bool:
        """Whether the series is or will be there; Q² is where Q is."""
        return name in (*self.known, "S", "accept") or (name == CHARGE_SQUARED and CHARGE in self.known)

    def series(self, name: str) -> Floats:
        """A series as far as it has come, [n, chains]; [0, chains] where nothing is stored yet."""
        if name == CHARGE_SQUARED and name not in self.known:
            return self._series(CHARGE) ** 2
        return self._series(name)


class JobSource(Source):
    """A run in a thread."""

    def __init__(self, job: Job):
        self.job, self._job = job, job
        self.chains = job.chains
        self.known = tuple(obs.name for obs in job.settings.get("observe", ()))
        self.forces, self.seconds = getattr(job.sampler, "forces", None) is not None, True
        action = getattr(job.sampler, "action", None)
        self.theory = None if action is None else action.theory

    @property
    def clock(self) -> History:
        return self._job.history

    def _series(self, name: str) -> Floats:
        # Rows of the clock are written after those of the series.
        try:
            return self._job.values(name)
        except EnsembleError:  # nothing is stored yet, or the run begins again at this moment
            return np.empty((0, self.chains))

    def status(self) -> dict[str, Any]:
        job = self._job
        status = {"state": job.status, "step": job.step, "total": job.total, "error": job.error}
        if job.status in ("running", "paused") and not job.step and job.thermalise:
            status["text"] = f"thermalising, {job.warm:,} of {job.thermalise:,}"
        return status


class EnsembleSource(Source):
    """A run that is complete; where it recorded no force evaluations or seconds, their columns are NaN."""

    def __init__(self, ensemble: Ensemble, observe: Sequence[Observable | str]):
        if ensemble.weighted:
            raise ValueError("Chain shows Markov chains; weighted draws of a flow have no Monte Carlo time.")
        self.chains, self.theory = ensemble.chains, ensemble.action
        self._numbers: dict[str, Floats] = {name: values.numpy() for name, values in ensemble.series.items()}
        for obs in observe:
            if not isinstance(obs, str):
                self._numbers[obs.name] = ensemble.history(obs).numpy()
        self.known = tuple(self._numbers)
        n, provenance = len(ensemble), ensemble.provenance
        sampler = provenance.get("sampler")
        forces = sampler.get("forces_per_trajectory", math.nan) if isinstance(sampler, dict) else math.nan
        seconds = provenance.get("seconds", math.nan)
        self.forces, self.seconds = math.isfinite(forces), math.isfinite(seconds)
        step = np.arange(1.0, n + 1)
        clock = {"step": step, "seconds": step * seconds / n, "forces": step * forces * provenance.get("every", 1)}
        self._clock = History.from_arrays(CLOCK, clock)

    @property
    def clock(self) -> History:
        return self._clock

    def _series(self, name: str) -> Floats:
        return self._numbers[name]

    def status(self) -> dict[str, Any]:
        n = len(self._clock)
        return {"state": "finished", "step": n, "total": n, "error": None}


def source(run: Job | Ensemble, observe: Sequence[Observable | str]) -> Source:
    """What a panel reads of a run.

    Raises    TypeError for anything else; ValueError for weighted draws
    """
    if isinstance(run, Job):
        return JobSource(run)
    if isinstance(run, Ensemble):
        return EnsembleSource(run, observe)
    raise TypeError(f"Chain shows runs of start() and ensembles; got {type(run).__name__}.")


def shared_theory(sources: Sequence[Source]) -> Action | None:
    """The theory that all of them sample; None where there are several, or one is not known."""
    theories = {repr(source.theory): source.theory for source in sources}
    return next(iter(theories.values())) if len(theories) == 1 else None


class ChainRows:
    """Clock and one chain's values as rows that only grow."""

    def __init__(self, source: Source, names: Sequence[str], chain: int):
        self._source, self._names, self.chain = source, names, chain
        self.clock = source.clock

    def __len__(self) -> int:
        return len(self.clock)

    def since(self, start: int) -> Mapping[str, Floats]:
        clock = self.clock.since(start)
        n = len(clock["step"])
        columns = {name: clock[name] for name in CLOCK}
        for name in self._names:
            values = self._source.series(name)[start : start + n, self.chain]
            # A run that began again meanwhile has other series; its clock is another one too, and comes next.
            columns[name] = values if len(values) == n else np.full(n, np.nan)
        return columns

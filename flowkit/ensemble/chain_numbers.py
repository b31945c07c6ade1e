"""Markov chains in plain numbers, as `panels.Chain` draws them, while a run goes on or after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from flowkit.actions import Action, Wilson
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.ensemble.job import Job
from flowkit.groups import Group
from flowkit.observables import Observable
from flowkit.stats import Floats
from flowkit.tasks.history import History

CHARGE, CHARGE_SQUARED = "topological_charge", "charge_squared"
CLOCK = ("step", "seconds", "forces")
LABELS = {
    CHARGE: ("Topological charge Q", "Q"),
    CHARGE_SQUARED: ("Q²", "Q²"),
    "plaquette": ("Plaquette", "plaquette"),
    "S": ("Action S", "S"),
    "accept": ("Acceptance", "acceptance"),
    "magnetization": ("Magnetization φ̄", "φ̄"),
    "phi_squared": ("φ²", "φ²"),
}
ASIDE = ("S", "accept", "invalid", "dH", "logq", "logw", "logw_proposed")
"""Series that are drawn where they are asked for by name."""


@dataclass(frozen=True, eq=False)
class ChainNumbers:
    r"""A run of Markov chains in plain numbers and text: what `panels.Chain` reads.

    Parameters
    ----------
    chains : int
        Number of chains.
    known : tuple of str
        Names of the series that the run records, or will record.
    clocks : tuple of str
        Columns of the clock that are counted: "step", and "forces" and "seconds" where the run knows them.
    action : Action or None
        The theory whose fields are sampled.
    clock : callable
        Gives a `History` with the columns step (from 1), seconds (s) and forces (evaluations of one chain), one row for
        each stored step; another object once the run has begun again.
    values : callable
        Gives the series of a name, float64 ``[n, chains]``, as far as it has come.
    status : callable
        Gives the state, the step, the total and the error as a dictionary.
    job : Job or None
        What Start, Pause and Stop control; None for an ensemble.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.chain_numbers import chain_numbers
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=1.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 4, chains=2, observe=[fk.topological_charge], rng=1)
    >>> numbers = chain_numbers(ensemble)
    >>> numbers.shown(), numbers.values("topological_charge").shape
    (['topological_charge'], (4, 2))
    """

    chains: int
    known: tuple[str, ...]
    clocks: tuple[str, ...]
    action: Action | None
    clock: Callable[[], History]
    values: Callable[[str], Floats]
    status: Callable[[], dict[str, Any]]
    job: Job | None = None

    @property
    def theory(self) -> str:
        """The action as text; empty where it is not known."""
        return "" if self.action is None else repr(self.action)

    def has(self, name: str) -> bool:
        """Whether the series of that name is or will be there. Q² is there where Q is."""
        return name in (*self.known, "S", "accept") or (name == CHARGE_SQUARED and CHARGE in self.known)

    def series(self, name: str) -> Floats:
        """The series of a name as far as it has come, ``[n, chains]``."""
        if name == CHARGE_SQUARED and name not in self.known:
            squared: Floats = self.values(CHARGE) ** 2
            return squared
        return self.values(name)

    def shown(self) -> list[str]:
        """Names of the series to draw unless others are chosen: Q and the plaquette first, else the action alone."""
        first = [name for name in (CHARGE, "plaquette") if name in self.known]
        return [*first, *(name for name in self.known if name not in (*ASIDE, *first))] or ["S"]

    def exact(self, name: str) -> float | None:
        """The exact mean of an observable in the infinite chain, where the action knows it."""
        return None if self.action is None or name == CHARGE else self.action.exact(name)

    def exact_shares(self, charges: Sequence[int]) -> Floats | None:
        """The exact P(Q) of each charge, where it is known: for U(1) in two dimensions."""
        action = self.action
        if not isinstance(action, Wilson) or action.space.ndim != 2:
            return None
        return _exact_charges(action.space.group, float(action.beta), action.space.volume, tuple(charges))


def label(name: str) -> tuple[str, str]:
    """The label of a series and a short one, as for "topological_charge": ("Topological charge Q", "Q")."""
    return LABELS.get(name, (name.replace("_", " ").capitalize(), name))


@lru_cache(maxsize=64)
def _exact_charges(group: Group, beta: float, volume: int, charges: tuple[int, ...]) -> Floats | None:
    found: Floats | None = group.charge_distribution_2d(beta, volume, charges)
    return found


def chain_numbers(run: Job | Ensemble, observe: Sequence[Observable | str] = ()) -> ChainNumbers:
    """The plain numbers of a run that goes on, or of an ensemble that is complete.

    Parameters
    ----------
    run : Job or Ensemble
        A run of `start`, or what `run` gives.
    observe : sequence of Observable or str
        Observables that an ensemble with configurations measures in addition; names are ignored here.

    Returns
    -------
    ChainNumbers

    Raises
    ------
    TypeError
        For anything but a job or an ensemble.
    ValueError
        For weighted samples, which have no Monte Carlo time.
    """
    if isinstance(run, Job):
        return _of_job(run)
    if isinstance(run, Ensemble):
        return _of_ensemble(run, observe)
    raise TypeError(f"Chain shows runs of start() and ensembles; got {type(run).__name__}.")


def _of_job(job: Job) -> ChainNumbers:
    def values(name: str) -> Floats:
        # Rows of the clock are written after those of the series.
        try:
            return job.values(name)
        except EnsembleError:  # nothing is stored yet, or the run begins again at this moment
            return np.empty((0, job.chains))

    def status() -> dict[str, Any]:
        found = {"state": job.status, "step": job.step, "total": job.total, "error": job.error}
        if job.status in ("running", "paused") and not job.step and job.thermalise != 0:
            most = "" if job.thermalise is None else f" of {job.thermalise:,}"
            found["text"] = f"thermalising, step {job.warm:,}{most}"
        return found

    counted = getattr(job.sampler, "forces", None) is not None
    action = getattr(job.sampler, "action", None)
    return ChainNumbers(
        job.chains,
        tuple(obs.name for obs in job.settings.get("observe", ())),
        ("step", *(["forces"] if counted else []), "seconds"),
        None if action is None else action.theory,
        lambda: job.history,
        values,
        status,
        job,
    )


def _of_ensemble(ensemble: Ensemble, observe: Sequence[Observable | str]) -> ChainNumbers:
    """Where it recorded no force evaluations or seconds, their columns are NaN."""
    if ensemble.weighted:
        raise ValueError("Chain shows Markov chains; weighted draws of a flow have no Monte Carlo time.")
    numbers = {name: values.numpy() for name, values in ensemble.series.items()}
    numbers |= {obs.name: ensemble.history(obs).numpy() for obs in observe if not isinstance(obs, str)}
    n, provenance = len(ensemble), ensemble.provenance
    sampler = provenance.get("sampler")
    forces = sampler.get("forces_per_trajectory", math.nan) if isinstance(sampler, dict) else math.nan
    a_step = {"forces": forces * provenance.get("every", 1), "seconds": provenance.get("seconds", math.nan) / n}
    step = np.arange(1.0, n + 1)
    clock = History.from_arrays(CLOCK, {"step": step} | {name: step * size for name, size in a_step.items()})
    return ChainNumbers(
        ensemble.chains,
        tuple(numbers),
        ("step", *(name for name, size in a_step.items() if math.isfinite(size))),
        ensemble.action,
        lambda: clock,
        numbers.__getitem__,
        lambda: {"state": "finished", "step": n, "total": n, "error": None},
    )

"""Runs: chains of a sampler made into an ensemble."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from flowkit.checks import Bytes, Count, Natural, Seed, Share, checked
from flowkit.ensemble.chains import Chains
from flowkit.ensemble.columns import (
    MOST_BYTES,
    Columns,
    check_plain,
    progress_bar,
    provenance_of,
    room_for,
    rows_in_a_move,
)
from flowkit.ensemble.diagnosis import monitors, vanishing
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.observables import Observables
from flowkit.samplers.chain import Point, Steps

IDENTITIES = 64
"""Stored steps of a run on which the Schwinger-Dyson identity is measured."""


class Recording:
    """An iterator over the steps of a run that stores every `every`-th one.

    The loop over it may end at any time; `ensemble` then holds what was stored. `run` iterates to the end, and a `Job`
    stops where it is told.

    Parameters
    ----------
    sampler, n, observe, keep, max_bad, max_bytes
        As `run`.
    **settings
        Those of `run` for its `Chains`: rng, chains, thermalise, every, start.

    Attributes
    ----------
    columns : Columns
        The series so far.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.runs import Recording
    >>> recording = Recording(fk.Heatbath(fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)), 100, chains=2, rng=1)
    >>> for point in recording:
    ...     if recording.columns.filled == 3:
    ...         break
    >>> len(recording.ensemble())
    3
    """

    @checked
    def __init__(
        self,
        sampler: Steps,
        n: Count,
        *,
        observe: Observables = (),
        keep: bool = True,
        max_bad: Share = 0.01,
        max_bytes: Bytes = MOST_BYTES,
        **settings: Any,
    ):
        self.n, self.max_bad = n, max_bad
        self.chains = Chains(sampler, **settings)
        check_plain(type(sampler).__name__, sampler.describe())
        fields = self.chains.first.x
        observed = [*observe, *(one for one in monitors(self.chains.space) if one not in observe)]
        self.columns = Columns(n, self.chains.chains, observed, self.chains.space, rows_in_a_move(fields.device))
        self._vanishing = vanishing(self.chains.action, observed)
        self._identity: list[Tensor] = []
        self.columns.x = room_for(n, fields, max_bytes) if keep else None
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Point]:
        return self

    @torch.no_grad()
    def __next__(self) -> Point:
        columns = self.columns
        if columns.taken == self.n:
            raise StopIteration
        point = next(self.chains)
        if point.warm:
            columns.begun = time.perf_counter()  # the thermalisation is not counted
        if not point.stored:
            return point
        x, values = self.chains.measured(point)
        if columns.taken % max(1, self.n // IDENTITIES) == 0:
            self._test(x)
        columns.store(x, values)
        if columns.filled == columns.taken:
            self.chains.check(columns.filled, self.n, self.max_bad)
            self._seconds = time.perf_counter() - columns.begun
        return point

    def _test(self, x: Tensor) -> None:
        """Keep the numbers whose mean the theory makes vanish."""
        found = None if self.chains.action is None else self.chains.action.schwinger_dyson(x)
        if found is not None:
            self._identity.append(found)

    def _tested(self) -> dict[str, list[float]]:
        """The mean of those numbers in each chain."""
        if not self._identity:
            return {}
        return {"schwinger_dyson": torch.stack(self._identity).double().mean(0).tolist()}

    def ensemble(self) -> Ensemble:
        """What was stored so far."""
        chains, x = self.chains, self.columns.configurations()
        series, left_out = self.columns.finish()
        n = self.columns.filled
        settings = {"chains": chains.chains, "every": chains.every, "thermalise": chains.warm}
        found = {
            "seconds": self._seconds,
            "invalid": int(chains.bad),
            "left_out": left_out,
            "vanishing": self._vanishing,
            "logdet_error": chains.logdet_error(),
            **self._tested(),
        }
        about = {"sampler": chains.sampler.describe(), "n": n, **settings, **found}
        provenance = provenance_of(chains.action, chains.seed, **about)
        return Ensemble(chains.space, x, series, action=chains.action, provenance=provenance)

    def rescued(self, why: str) -> Ensemble | None:
        """What was stored before the run ended early, None where that is nothing; ``provenance["ended"]`` says why."""
        with contextlib.suppress(EnsembleError):  # rows that still lie on the device
            self.columns.move()
        if not self.columns.filled:
            return None
        ensemble = self.ensemble()
        ensemble.provenance["ended"] = f"{why} at stored step {self.columns.filled} of {self.n}"
        return ensemble


class RunInterrupted(RuntimeWarning):
    """A run was interrupted, and its ensemble holds fewer steps than were asked for."""


@contextlib.contextmanager
def all_or_nothing() -> Iterator[None]:
    """Within it an interrupted run raises KeyboardInterrupt, for work of many runs that needs each of them whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RunInterrupted)
        try:
            yield
        except RunInterrupted as interrupted:
            raise KeyboardInterrupt from interrupted


@checked
def run(
    sampler: Steps,
    n: Count,
    *,
    chains: Count = 16,
    thermalise: Natural | None = None,
    every: Count = 1,
    rng: torch.Generator | Seed | None = None,
    observe: Observables = (),
    keep: bool = True,
    start: Tensor | None = None,
    progress: bool = False,
    max_bad: Share = 0.01,
    max_bytes: Bytes = MOST_BYTES,
    each: Callable[[Columns], object] | None = None,
) -> Ensemble:
    r"""Run chains of a sampler and store n steps of each.

    An interrupt (Ctrl-C, or that of a notebook) ends it: the ensemble then holds the steps stored so far,
    ``provenance["ended"]`` says at which step, and a warning is printed. Where nothing was stored yet, it raises
    KeyboardInterrupt. A run that can be stopped and watched is `start`.

    Parameters
    ----------
    sampler : Sampler
        Or anything with space, init(x), step(state, rng) and describe().
    n : int
        Stored steps.
    chains : int
        Their number, where `start` does not give it.
    thermalise : int, optional
        Steps before the first stored one, in which the sampler is tuned; by default at least 64, and as many as it
        takes until the action no longer drifts.
    every : int
        Steps from one stored step to the next.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed; the seed is recorded.
    observe : sequence of Observable
        Measured during the run, on the device of the chains.
    keep : bool
        Whether configurations are stored, on the CPU.
    start : Tensor, optional
        Fields ``[chains, *space.shape]``, in the coordinates z of a pullback; by default the sampler's own start, else
        a cold one.
    progress : bool
        Whether to show a progress bar.
    max_bad : float
        Share of invalid updates (no finite weight or action) past which the run ends; they are never accepted. On a GPU
        they are counted every 16 stored steps.
    max_bytes : int
        Memory that configurations may take.
    each : callable, optional
        Called after every stored step with the series so far (on a GPU they grow by 16 steps at a time); the run ends
        there where it returns True.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        For numbers out of range.
    EnsembleError
        Before the first step where `sampler.describe()` gives no plain data, or past max_bytes. Past max_bad, or where
        an observable is not finite or anything fails after steps were stored; its `ensemble` holds these.

    Notes
    -----
    A sampler of a pullback :math:`S(f(z)) - \log|\det df/dz|` walks in z. Stored and measured are the fields f(z) of
    the theory and their S, so that ``run(HMC(action.pullback(flow.transform)), ...)`` gives an ensemble of `action`.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.0)
    >>> ensemble = fk.run(fk.HMC(action), 200, chains=32, thermalise=50, rng=1, observe=[fk.phi_squared], keep=False)
    >>> mean = ensemble.mean(fk.phi_squared)
    >>> mean.within(), round(mean.exact, 4)                 # within two errors of the exact value
    (True, 0.1317)
    """
    settings: dict[str, Any] = {"rng": rng, "chains": chains, "thermalise": thermalise, "every": every, "start": start}
    recording = Recording(sampler, n, observe=observe, keep=keep, max_bad=max_bad, max_bytes=max_bytes, **settings)
    bar = progress_bar(recording, (thermalise or 0) + n * every, progress)
    try:
        for point in bar:
            if point.warm and thermalise is None and progress:
                bar.total += 1  # type: ignore[attr-defined]
            if point.stored and each is not None and each(recording.columns) is True:
                break
        return recording.ensemble()
    except KeyboardInterrupt:
        if (so_far := recording.rescued("interrupted")) is None:
            raise
        text = f"This run was {so_far.provenance['ended']}; its ensemble holds the steps up to there."
        warnings.warn(text, RunInterrupted, stacklevel=2)
        return so_far
    except Exception as error:
        if (so_far := recording.rescued("failed")) is None:
            raise
        why = str(error) if isinstance(error, EnsembleError) else f"{type(error).__name__}: {error}"
        failure = EnsembleError(f"{why.rstrip('.')}. The run {so_far.provenance['ended']}; error.ensemble holds those.")
        failure.ensemble = so_far
        raise failure from error

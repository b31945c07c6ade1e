"""The steps of chains as they are stored and tested: what `run` and `Job` iterate over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from flowkit.checks import Bytes, Count, Share, checked
from flowkit.ensemble.chains import Chains
from flowkit.ensemble.columns import MOST_BYTES, Columns, check_plain, provenance_of, room_for, rows_in_a_move
from flowkit.ensemble.diagnosis import monitors, vanishing
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.observables import Observables, listed, require_defined
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
    >>> from flowkit.ensemble import Recording
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
        observe = listed(observe)
        require_defined(observe, self.chains.space, self.chains.chains, like=fields)
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

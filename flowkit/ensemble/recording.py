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
from flowkit.ensemble.columns import (
    MOST_BYTES,
    Columns,
    check_plain,
    plain,
    provenance_of,
    room_for,
    rows_in_a_move,
)
from flowkit.ensemble.diagnosis import monitors, vanishing
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError, PathLike
from flowkit.ensemble.identities import Identities
from flowkit.ensemble.standing import Begun, Mark, digest_of, numbers_of, set_numbers, tensors_of
from flowkit.ensemble.writing import Writer
from flowkit.observables import Observables, listed, require_defined
from flowkit.samplers.chain import Point, Steps


class Recording:
    """An iterator over the steps of a run that stores every `every`-th one.

    The loop over it may end at any time; `ensemble` then holds what was stored. `run` iterates to the end, and a `Job`
    stops where it is told.

    Parameters
    ----------
    sampler, n, observe, keep, max_bad, max_bytes, to, chunk
        As `run`.
    begun : Begun, optional
        The steps of a run on disk that goes on.
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
        to: PathLike | None = None,
        chunk: Count | None = None,
        begun: Begun | None = None,
        **settings: Any,
    ):
        self.n, self.max_bad, self._marks = n, max_bad, list[Mark]()
        self._given: dict[str, Any] = {"sampler": sampler.describe()}  # before it is tuned
        self.chains = Chains(sampler, **settings)
        check_plain(type(sampler).__name__, self._given["sampler"])
        fields = self.chains.first.x
        observe = listed(observe)
        require_defined(observe, self.chains.space, self.chains.chains, like=fields)
        self.observed = [*observe, *(one for one in monitors(self.chains.space) if one not in observe)]
        columns = Columns(n, self.chains.chains, self.observed, self.chains.space, rows_in_a_move(fields.device))
        self.columns, self.max_bytes = columns, max_bytes
        self._vanishing = vanishing(self.chains.action, self.observed)
        self._identities, self._told = Identities(self.chains.action), dict[str, Any]()
        self._seconds, self._before, self._logdet_error = 0.0, 0.0, list[float | None]()
        self.writer: Writer | None = None
        if begun is not None:
            self._go_on(begun)
        if to is not None:
            tensors_of(self.chains.first)  # refuses what cannot be saved before the first step
            self._given["weights"] = digest_of(self.chains.sampler)
            there = None if begun is None else begun.meta["chunk"]
            self.writer = Writer(to, self.chains.space, columns, fields, chunk, there=there)
        if keep:
            columns.x = room_for(n if self.writer is None else min(n, self.writer.room), fields, max_bytes)
            if begun is not None and begun.field is not None:
                columns.x[: len(begun.field)] = begun.field

    def _go_on(self, begun: Begun) -> None:
        meta, tested = begun.meta, begun.tested
        self.columns.go_on(meta["order"], begun.series, begun.mark.filled - begun.mark.filled % meta["chunk"])
        set_numbers(self.chains.sampler, meta["tuned"])
        self.chains.warm, self.chains.seed, self.chains.bad = meta["warm"], meta["seed"], begun.mark.bad
        self._before = meta["seconds"]
        self._identities.found = [] if tested is None else list(zip(meta["tested"], tested, strict=True))

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
        self._identities.take(columns.taken, x)
        if self.writer is not None:
            rng = self.chains.rng.get_state()
            self._marks.append(Mark(columns.taken + 1, point.state, rng, self.chains.bad))
        columns.store(x, values)
        if self.writer is not None and self.writer.due():
            columns.move()
        if columns.filled == columns.taken:
            self.chains.check(columns.filled, self.n, self.max_bad)
            self._seconds = self._before + time.perf_counter() - columns.begun
            self._marks = self._marks[-1:]
            if self.writer is not None and self.writer.due():
                self._commit()
        return point

    def _about(self, left_out: list[str], last: bool) -> dict[str, Any]:
        """The provenance of what was stored so far."""
        chains = self.chains
        if last or not self._logdet_error:
            self._logdet_error = [chains.logdet_error()]
        settings = {"chains": chains.chains, "every": chains.every, "thermalise": chains.warm}
        found = {
            "seconds": self._seconds,
            "invalid": int(chains.bad),
            "left_out": left_out,
            "vanishing": self._vanishing,
            "logdet_error": self._logdet_error[0],
            **({"schwinger_dyson": mean} if (mean := self._identities.mean()) else {}),
        }
        about = {"sampler": chains.sampler.describe(), "n": self.columns.filled, **settings, **found}
        return provenance_of(chains.action, chains.seed, **about)

    def _commit(self, last: bool = False, **more: Any) -> None:
        """Write what was stored so far, where a run is on disk."""
        if self.writer is None or not self.columns.filled:
            return
        if (mark := next((one for one in self._marks if one.filled == self.columns.filled), None)) is None:
            return  # of rows that were lost on their way from the device
        if last and not more and self.writer.committed == mark.filled and self._logdet_error == [None]:
            return  # it is there
        provenance = self._about(self.columns.finish()[1], last) | more
        about = {"space": self.chains.space.describe(), "weighted": False, "provenance": provenance}
        tested = [(at, one) for at, one in self._identities.found if at < mark.filled]
        meta = {
            **self._given,
            "n": self.n,
            "every": self.chains.every,
            "warm": self.chains.warm,
            "seed": self.chains.seed,
            "device": str(self.chains.rng.device),
            "tuned": numbers_of(self.chains.sampler),
            "observe": [one.name for one in self.observed],
            "keep": self.columns.x is not None,
            "max_bad": self.max_bad,
            "seconds": self._seconds,
            "tested": [at for at, _ in tested],
        }
        tensors = {"bad": mark.bad, **({"tested": torch.stack([one for _, one in tested])} if tested else {})}
        self.writer.commit(about, mark, plain(meta, repr), tensors)
        self._told = provenance

    def ensemble(self, **more: Any) -> Ensemble:
        """What was stored so far; `more` is added to its provenance."""
        chains = self.chains
        series, left_out = self.columns.finish()
        x = self.columns.configurations() if self.writer is None else self._written(**more)
        on_disk = self.writer is not None and self.writer.committed == self.columns.filled
        provenance = self._told if on_disk else self._about(left_out, last=True) | more
        return Ensemble(chains.space, x, series, action=chains.action, provenance=provenance)

    def _written(self, **more: Any) -> Tensor | None:
        """The configurations of a run on disk, after its last commit; None for one that ended and cannot be written."""
        assert self.writer is not None
        try:
            self._commit(last=True, **more)
            return self.writer.fields(self.max_bytes)
        except EnsembleError:
            if not more:
                raise
            return None
        finally:
            self.writer.close()

    def rescued(self, why: str) -> Ensemble | None:
        """What was stored before the run ended early, None where that is nothing; ``provenance["ended"]`` says why."""
        with contextlib.suppress(EnsembleError):  # rows that still lie on the device
            self.columns.move()
        if not self.columns.filled:
            if self.writer is not None:
                self.writer.close()
            return None
        return self.ensemble(ended=f"{why} at stored step {self.columns.filled} of {self.n}")

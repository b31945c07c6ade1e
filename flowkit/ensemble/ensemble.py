"""Runs and their results: configurations and series of many chains, with honest errors, saved and loaded whole."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from flowkit import stats
from flowkit._version import __version__
from flowkit.actions.base import Action
from flowkit.geometry.space import Space
from flowkit.observables import Observable, listed, name_of
from flowkit.priors.base import Prior
from flowkit.samplers.base import State
from flowkit.stats import Estimate
from flowkit.storage import zarr_files
from flowkit.storage.manifest import StoreError
from flowkit.storage.store import Store

_FORMAT, _KIND = "flowkit ensemble 1", "an ensemble"


class EnsembleError(RuntimeError):
    """A run that had to end, or an ensemble that cannot be written or read; the message is the reason."""


class Steps(Protocol):
    """What `run` drives: any Sampler, and whatever else has these."""

    space: Space

    def init(self, x: Tensor) -> State: ...

    def step(self, state: State, rng: torch.Generator) -> tuple[State, dict[str, Tensor]]: ...

    def describe(self) -> dict[str, Any]: ...


class Ensemble:
    """Configurations of one theory in the order in which they came, and numbers measured on each.

    space         the space of the fields
    x             [n, chains, *space.shape], on the CPU; None where a run kept none
    series        name -> [n, chains], float64: S, accept (the rate since the stored step before), logw and logq where
                  they are known, and what was observed
    action        gives exact values to compare with; None after loading without one
    provenance    plain data: how this came about
    weighted      False: chains of the theory. True: independent draws of a flow, weighted by exp(logw)
    Raises        EnsembleError for wrong shapes, a missing S (and logw where weighted), NaN or infinity
    """

    def __init__(
        self,
        space: Space,
        x: Tensor | None,
        series: dict[str, Tensor],
        *,
        action: Action | None = None,
        provenance: dict[str, Any] | None = None,
        weighted: bool = False,
    ):
        missing = [name for name in (["S", "logw"] if weighted else ["S"]) if name not in series]
        if missing:
            raise EnsembleError(f"An ensemble needs the series {missing[0]}; got {', '.join(series) or 'none'}.")
        shape = series["S"].shape
        for name, values in series.items():
            if values.dim() != 2 or values.shape != shape or 0 in shape:
                raise EnsembleError(f"Series are [n, chains] as S, {list(shape)}; {name} is {list(values.shape)}.")
            _finite(name, values)
        if x is not None:
            if x.shape[:2] != shape:
                raise EnsembleError(f"Configurations are [n, chains, ...] with S {list(shape)}; got {list(x.shape)}.")
            try:
                space.check(x.flatten(0, 1))
            except (TypeError, ValueError) as error:
                raise EnsembleError(str(error)) from error
            _finite("x", x)
        self.space, self.x, self.series, self.action = space, x, series, action
        self.provenance, self.weighted = provenance or {}, weighted

    def __len__(self) -> int:
        """Number of stored steps."""
        return len(self.series["S"])

    @property
    def chains(self) -> int:
        """Number of chains."""
        return self.series["S"].shape[1]

    def history(self, obs: Observable | str) -> Tensor:
        """An observable, or a series by its name, in Monte Carlo time: [n, chains].

        Raises    EnsembleError where it was not observed and the configurations were not kept, or gives NaN; TypeError
                  for anything but an observable or a name
        """
        name = name_of(obs)
        if name in self.series:
            return self.series[name]
        if isinstance(obs, str) or self.x is None:
            why = "" if isinstance(obs, str) else " and kept no configurations; run with keep=True or observe it"
            raise EnsembleError(f"This ensemble has the series {', '.join(self.series)}{why}; got {name!r}.")
        pieces = [obs(self.space, piece) for piece in self._pieces()]
        values = torch.cat(pieces).double().view(len(self), self.chains)
        _finite(name, values)
        return values

    def mean(self, obs: Observable | str, *, S: float = 2.0) -> Estimate:
        """The mean in the theory with its error, and the exact value where the action knows one.

        tau_int is in units of the stored steps; weighted draws are reweighted, and independent by construction.

        S         window parameter of the Gamma method, see `stats.estimate`; unused for weighted draws
        Raises    as `history`
        """
        values = self.history(obs).numpy()
        if self.weighted:
            result = stats.reweighted(values, self.series["logw"].numpy(), S=0.0)
        else:
            result = stats.estimate(values, S=S)
        exact = self.action.exact(name_of(obs)) if self.action else None
        return replace(result, exact=exact, every=self.provenance.get("every", 1))

    def ess(self) -> Estimate:
        """The effective sample size of the flow behind this ensemble, <w>² / <w²> over its independent draws.

        Raises    EnsembleError where no flow was drawn from
        """
        name = "logw" if self.weighted else "logw_proposed"
        if name not in self.series:
            raise EnsembleError(f"ESS is a property of a flow's draws; this ensemble has {', '.join(self.series)}.")
        return stats.ess(self.series[name].flatten().numpy())

    @torch.no_grad()
    def logw_under(self, flow: Prior) -> Tensor:
        """log w = -S - log q of these configurations under a flow, [n, chains]: what `stats.tail_check` compares.

        Raises    EnsembleError where no configurations were kept or log q is not finite; ValueError for another space
        """
        if self.x is None:
            raise EnsembleError("log w needs the configurations, and this ensemble kept none; run with keep=True.")
        if flow.space != self.space:
            raise ValueError(f"The flow lives on {flow.space}, this ensemble on {self.space}.")
        dtype = self.space.group.field_dtype(flow.dtype)
        logq = torch.cat([flow.log_prob(piece.to(flow.device, dtype)).cpu() for piece in self._pieces()])
        logw = -self.series["S"] - logq.double().view(len(self), self.chains)
        _finite("logw", logw)
        return logw

    def _pieces(self) -> Iterator[Tensor]:
        assert self.x is not None  # the callers have said so in a sentence
        fields = self.x.flatten(0, 1)
        rows = max(1, zarr_files.CHUNK // _row_bytes(fields))
        for first in range(0, len(fields), rows):
            yield fields[first : first + rows]

    def save(self, path: str | os.PathLike[str]) -> str:
        """Commit the ensemble to the folder `path`; returns the name of the commit, which is a zarr v3 group.

        A reader of `path` sees this ensemble or the one before, never a mixture. Other zarr tools open `path/<commit>`:
        array x, array series [names, n, chains] with the names in its attributes, every chunk with its crc32c.

        Raises    EnsembleError for a full disk, a second writer or a folder that holds something else; what was saved
                  before stays whole
        """
        attributes = {
            "format": _FORMAT,
            "space": self.space.describe(),
            "series": list(self.series),
            "weighted": self.weighted,
            "provenance": self.provenance,
        }
        try:
            json.dumps(attributes, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise EnsembleError(f"The provenance of an ensemble is plain finite JSON: {error}.") from error
        arrays = {"series": torch.stack(list(self.series.values())).double().numpy()}
        if self.x is not None:
            arrays["x"] = self.x.contiguous().numpy()
        try:
            with Store(path, kind=_KIND).writing() as draft:
                zarr_files.write(draft, attributes, arrays, cut={"series": 1})
            return draft.name
        except StoreError as error:
            raise EnsembleError(str(error)) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str], commit: str | None = None, action: Action | None = None) -> Ensemble:
        """The ensemble of the last commit at `path`, or of the one named.

        action    gives the exact values again; it has to be the one the ensemble was made with
        Raises    EnsembleError where anything is missing, damaged, or not what `save` writes; the message names the
                  file and, where there is one, a commit that is whole
        """
        try:
            opened = Store(path, kind=_KIND).open(commit)
            with zarr_files.errors():
                attributes, arrays = zarr_files.read(opened)
            names, provenance, weighted = (attributes[key] for key in ("series", "provenance", "weighted"))
            if attributes["format"] != _FORMAT or not isinstance(provenance, dict) or not isinstance(weighted, bool):
                raise ValueError(f"it is no {_FORMAT!r}")
            if type(provenance.get("every", 1)) is not int:
                raise ValueError(f"its steps are stored every {provenance['every']!r:.80} steps")
            if not _names(names) or arrays["series"].dtype != np.float64 or arrays["series"].shape[:1] != (len(names),):
                raise ValueError(f"its series {names!r:.200} do not fit the array of shape {arrays['series'].shape}")
            space = Space.from_description(attributes["space"])
            series = dict(zip(names, torch.from_numpy(arrays["series"]).unbind(0), strict=True))
            x = torch.from_numpy(arrays["x"]) if "x" in arrays else None
            ensemble = cls(space, x, series, action=action, provenance=provenance, weighted=weighted)
        except StoreError as error:
            raise EnsembleError(str(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError, EnsembleError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise EnsembleError(f"{path} holds no readable ensemble: {reason}.") from error
        if action is not None and repr(action) != provenance.get("action"):
            raise EnsembleError(f"{path} holds an ensemble of {provenance.get('action')}; {action!r} was given.")
        return ensemble

    def __repr__(self) -> str:
        what = "weighted draws" if self.weighted else f"stored steps x {self.chains} chains"
        kept = "" if self.x is not None else "; no configurations"
        bad = self.provenance.get("invalid", 0)
        return (
            f"Ensemble({len(self)} {what} of {self.space}; {', '.join(self.series)}{kept}"
            f"{f'; {bad} invalid proposals' if bad else ''})"
        )


class Walk:
    """Chains of a sampler that go on step by step: what `run` and `compare` share.

    action    of the theory whose fields are measured, or None for a sampler without one; `space` is that of the fields
    seed      last given to the generator
    bad       updates so far without a finite weight or action
    others    as `run`
    """

    @torch.no_grad()
    def __init__(
        self,
        sampler: Steps,
        rng: torch.Generator | int | None,
        *,
        chains: int = 16,
        every: int = 1,
        start: Tensor | None = None,
    ):
        check_sampler(sampler)
        _whole("chains", chains, 1)
        _whole("every", every, 1)
        device = start.device if start is not None else getattr(getattr(sampler, "flow", None), "device", "cpu")
        self.rng, self.seed = generator_of(rng, device)
        self.sampler, self.every = sampler, every
        self._coordinates: Action | None = getattr(sampler, "action", None)
        self.action = None if self._coordinates is None else self._coordinates.theory
        self.space = sampler.space if self.action is None else self.action.space
        if start is None:
            own = getattr(sampler, "start", None)
            start = own(chains, self.rng) if own else sampler.space.cold(chains, like=torch.empty(0))
        self.chains = len(start)
        self.state = sampler.init(start)
        self.bad = torch.zeros((), dtype=torch.long, device=self.state.S.device)

    @torch.no_grad()
    def thermalise(self, steps: int) -> None:
        """Steps that are not counted; a sampler with `tune` sets its step size in them."""
        tune = getattr(self.sampler, "tune", None)
        if tune is not None:
            self.state = tune(self.state, self.rng, steps)
            return
        for _ in range(steps):
            self.state, _ = self.sampler.step(self.state, self.rng)

    @torch.no_grad()
    def step(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The fields of the theory after `every` more steps, [chains, *space.shape], and numbers of each chain."""
        state = self.state
        accepted = torch.zeros((), dtype=torch.float64, device=state.S.device)
        for _ in range(self.every):
            state, info = self.sampler.step(state, self.rng)
            accepted = accepted + info["accept"].double()
            self.bad = self.bad + info["invalid"].sum() if "invalid" in info else self.bad
        finite = state.S.isfinite()
        if not finite.all():  # a sampler that lets NaN through: those chains go back to their last stored step
            self.bad = self.bad + (~finite).sum()
            state = _choose(finite, state, self.state)
        self.state, x, S = state, state.x, state.S
        logq = getattr(state, "logq", None)
        if self._coordinates is not None and self._coordinates is not self.action:
            x, change = self._coordinates.to_theory(x)
            S, logq = S + change, None if logq is None else logq - change
        known = {} if logq is None else {"logq": logq, "logw": -S - logq}
        return x, {"S": S, **info, **known, "accept": accepted / self.every}

    def check(self, done: int, most: int, max_bad: float) -> None:
        """Raises    EnsembleError where more than max_bad of the updates of `most` stored steps were invalid"""
        updates = most * self.every * self.chains
        if int(self.bad) > max_bad * updates:
            raise EnsembleError(
                f"The run ended at stored step {done} of {most}: {int(self.bad)} updates had no finite action or "
                f"weight, more than {100 * max_bad:g} % of {updates}. {self.sampler.describe()}"
            )


@torch.no_grad()
def run(
    sampler: Steps,
    n: int,
    *,
    chains: int = 16,
    thermalise: int = 0,
    every: int = 1,
    rng: torch.Generator | int | None = None,
    observe: Sequence[Observable] = (),
    keep: bool = True,
    start: Tensor | None = None,
    progress: bool = False,
    max_bad: float = 0.01,
    max_bytes: int = 4 * 2**30,
    each: Callable[[Columns], object] | None = None,
) -> Ensemble:
    """Run `chains` chains of a sampler and store n steps of each.

    An interrupt (Ctrl-C) ends it with nothing kept; a run that may be stopped and keeps its steps is `start`.

    A sampler of a pullback S(f(z)) - log|det df/dz| walks in z; stored and measured are the fields f(z) of the theory
    and their S, so that `run(HMC(action.pullback(flow.transform)), ...)` gives an ensemble of `action`.

    sampler       a Sampler, or anything with space, init(x), step(state, rng) and describe()
    chains        their number, where `start` does not give it
    thermalise    steps before the first stored one; a sampler with `tune` sets its step size in them
    every         steps from one stored step to the next
    rng           a generator, a seed, or None for a fresh seed; a seed is recorded
    observe       observables measured during the run, on the device of the chains
    keep          whether configurations are stored, on the CPU; at most max_bytes
    start         [chains, *space.shape], in the coordinates z of a pullback: as many chains as fields, whatever
                  `chains` says; by default the sampler's own start, else a cold one
    max_bad       share of invalid updates (no finite weight or action) past which the run ends; they are never accepted
    each          called after every stored step with the series so far; True ends the run there
    Raises        ValueError for numbers out of range; EnsembleError past max_bad or max_bytes, or where an observable
                  is not finite
    """
    check_numbers(n, chains, every, thermalise)
    walk = Walk(sampler, rng, chains=chains, every=every, start=start)
    x = _room(n, walk.state.x, max_bytes) if keep else None
    walk.thermalise(thermalise)
    columns = Columns(n, walk.chains, observe, walk.space)
    for i in _progress(n, progress):
        fields, values = walk.step()
        walk.check(i + 1, n, max_bad)
        if x is not None:
            x[i] = fields
        columns.store(i, fields, values)
        if each is not None and each(columns) is True:
            n = i + 1
            x = None if x is None else x[:n].clone()
            break
    seconds = time.perf_counter() - columns.begun
    series, left_out = columns.finish()
    return Ensemble(
        walk.space,
        x,
        series,
        action=walk.action,
        provenance=_provenance(
            walk.action,
            walk.seed,
            sampler=sampler.describe(),
            n=n,
            chains=walk.chains,
            every=every,
            thermalise=thermalise,
            seconds=seconds,
            invalid=int(walk.bad),
            left_out=left_out,
        ),
    )


@torch.no_grad()
def draw(
    flow: Prior,
    action: Action,
    n: int,
    rng: torch.Generator | int | None = None,
    *,
    chunk: int = 1024,
    observe: Sequence[Observable] = (),
    keep: bool = True,
    progress: bool = False,
    max_bad: float = 0.01,
    max_bytes: int = 4 * 2**30,
) -> Ensemble:
    """n independent draws of a flow, weighted by exp(logw), log w = -S - log q: means are reweighted.

    chunk      draws at once; part of what a seed means
    max_bad    share of draws without a finite weight past which this ends; they are left out and counted
    others     as `run`
    Raises     as `run`; ValueError for an unnormalised prior or another space
    """
    _whole("n", n, 1)
    _whole("chunk", chunk, 1)
    if flow.space != action.space or not flow.normalised:
        why = "is not normalised, so its weights are unknown" if not flow.normalised else f"lives on {flow.space}"
        raise ValueError(f"draw needs a normalised flow on {action.space}; {type(flow).__name__} {why}.")
    generator, seed = generator_of(rng, flow.device)
    columns = Columns(n, 1, observe, flow.space)
    x: Tensor | None = None
    filled = bad = 0
    bar = _progress(-(-n // chunk), progress)
    while filled < n:
        fields, logq = flow.draw(min(chunk, n), generator)
        S = action(fields)
        if keep and x is None:
            x = _room(n, fields[:1], max_bytes)
        finite = (S + logq).isfinite() & fields.flatten(1).isfinite().all(1)
        bad += int((~finite).sum())
        if bad > max_bad * n:
            raise EnsembleError(
                f"{type(flow).__name__} gave {bad} draws without a finite weight, more than {100 * max_bad:g} % of {n}."
            )
        fields, S, logq = (t[finite][: n - filled] for t in (fields, S, logq))
        rows = slice(filled, filled + len(S))
        if x is not None:
            x[rows, 0] = fields.to(x.device)
        columns.store(rows, fields, {"S": S, "logq": logq, "logw": -S - logq})
        filled += len(S)
        next(bar, None)
    series, _ = columns.finish()
    describe = getattr(flow, "describe", None)
    return Ensemble(
        flow.space,
        x,
        series,
        action=action,
        provenance=_provenance(
            action, seed, flow=describe() if describe else type(flow).__name__, n=n, chunk=chunk, invalid=bad
        ),
        weighted=True,
    )


class Columns:
    """Series that fill up row by row, float64 on the CPU; another thread may read what is filled.

    filled    rows stored so far
    begun     when the first of them was begun, on the clock of `time.perf_counter`
    """

    def __init__(self, n: int, chains: int, observe: Sequence[Observable], space: Space):
        names = [obs.name for obs in listed(observe)]
        taken = [name for i, name in enumerate(names) if name in names[:i] or name in ("S", "accept", "logq", "logw")]
        if taken:
            raise ValueError(f"Observables of a run have names of their own; got {taken[0]!r} twice.")
        self.shape, self.observe, self.space = (n, chains), observe, space
        self.series: dict[str, Tensor] = {}
        self._numbers: dict[str, stats.Floats] = {}  # the same memory, which panels read ten times a second
        self.filled, self.begun = 0, time.perf_counter()

    def __getitem__(self, name: str) -> stats.Floats:
        """The series of that name so far, [filled, chains], without a copy; a row once stored never changes."""
        return self._numbers[name][: self.filled]

    def store(self, rows: int | slice, x: Tensor, values: dict[str, Tensor]) -> None:
        for obs in self.observe:
            measured = obs(self.space, x)
            _finite(obs.name, measured)
            values[obs.name] = measured
        for name, value in values.items():
            if name not in self.series:
                # numpy's zeros touch no memory before it is written; torch's would take the first second of a long run.
                self._numbers[name] = np.zeros(self.shape)
                self.series[name] = torch.from_numpy(self._numbers[name])
            column = self.series[name]
            column[rows] = value.to("cpu", torch.float64).view_as(column[rows])
        self.filled = rows.stop if isinstance(rows, slice) else rows + 1

    def finish(self) -> tuple[dict[str, Tensor], list[str]]:
        """The series, and the names of those left out: what a sampler tells of proposals it refused may be infinite."""
        series = {name: values[: self.filled] for name, values in self.series.items()}
        series.pop("invalid", None)  # counted in the provenance
        left_out = [name for name, values in series.items() if not values.isfinite().all()]
        return {name: values for name, values in series.items() if name not in left_out}, left_out


def _names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(n, str) for n in names) and 0 < len(names) == len(set(names))


def _finite(name: str, values: Tensor) -> None:
    bad = int((~values.isfinite()).sum())
    if bad:
        raise EnsembleError(f"An ensemble stores finite numbers; {name} has {bad} NaN or infinite of {values.numel()}.")


def check_sampler(sampler: object) -> None:
    """Raises    TypeError for what cannot be driven"""
    if not all(callable(getattr(sampler, name, None)) for name in ("init", "step", "describe")):
        example = "HMC(action) or IndependenceMetropolis(flow, action)"
        raise TypeError(f"Chains need a sampler such as {example}; got {type(sampler).__name__}.")


def check_numbers(n: int, chains: int, every: int, thermalise: int) -> None:
    """Raise ValueError for numbers of a run that are out of range."""
    for name, value, least in (("n", n, 1), ("chains", chains, 1), ("every", every, 1), ("thermalise", thermalise, 0)):
        _whole(name, value, least)


def _whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"{name} is a whole number >= {least}; got {value!r}.")


def _row_bytes(fields: Tensor) -> int:
    return max(1, math.prod(fields.shape[1:]) * fields.element_size())


def _room(n: int, fields: Tensor, max_bytes: int) -> Tensor:
    """Uninitialised room for n batches on the CPU."""
    need = n * len(fields) * _row_bytes(fields)
    if need > max_bytes:
        raise EnsembleError(
            f"{n} x {len(fields)} configurations need {need / 2**30:.3g} GiB, and max_bytes allows "
            f"{max_bytes / 2**30:.3g} GiB. Use keep=False with observe=(...), or store fewer of them by every=..."
        )
    return torch.empty((n, *fields.shape), dtype=fields.dtype)


def generator_of(rng: torch.Generator | int | None, device: torch.device | str) -> tuple[torch.Generator, int]:
    """The generator of a run, and the seed that it was given at last.

    Raises    TypeError or ValueError for what is no generator, no seed and not None
    """
    if isinstance(rng, torch.Generator):
        return rng, rng.initial_seed()
    generator = torch.Generator(device=device)
    if rng is None:
        generator.seed()
    elif type(rng) is not int:
        raise TypeError(f"rng is a torch.Generator, a seed or None; got {type(rng).__name__}.")
    elif not 0 <= rng < 2**64:
        raise ValueError(f"A seed is a whole number >= 0 of at most 64 bits; got {rng}.")
    else:
        generator.manual_seed(rng)
    return generator, generator.initial_seed()


def _choose(good: Tensor, new: Any, old: Any) -> Any:
    """The state `new` for the chains that are good and `old` for the others, through nested tuples of tensors."""
    if isinstance(new, Tensor):
        if not isinstance(old, Tensor):
            return new
        return torch.where(good.view(-1, *[1] * (new.dim() - 1)), new, old)
    if isinstance(new, tuple) and isinstance(old, tuple):
        return type(new)(*(_choose(good, a, b) for a, b in zip(new, old, strict=True)))
    return new


def _progress(n: int, show: bool) -> Iterator[int]:
    if not show:
        return iter(range(n))
    from tqdm.auto import tqdm

    return iter(tqdm(range(n), unit="step"))


def _provenance(action: Action | None, seed: int, **more: Any) -> dict[str, Any]:
    return {
        "flowkit": __version__,
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "action": None if action is None else repr(action),
        **more,
    }

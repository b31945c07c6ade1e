"""Runs: chains of a sampler, or draws of a flow, made into an ensemble."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from flowkit._version import __version__
from flowkit.actions.base import Action
from flowkit.ensemble.columns import Columns
from flowkit.ensemble.ensemble import Ensemble, EnsembleError, row_bytes
from flowkit.observables import Observable
from flowkit.priors.base import Prior
from flowkit.samplers.chain import Point, Steps, states

MOST_BYTES = 4 * 2**30


class Chains:
    """Chains of a sampler from their start on, step by step: what `run`, `Job` and `compare` consume.

    An iterator without end over the points of `samplers.states`, thermalisation first.

    Parameters
    ----------
    sampler, rng, chains, thermalise, every, start
        As `run`.

    Attributes
    ----------
    action : Action or None
        Of the theory whose fields are measured; None for a sampler without one.
    space : Space
        Of those fields.
    seed : int
        Last given to the generator.
    bad : Tensor
        Updates after the thermalisation without a finite weight or action, [].

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.runs import Chains
    >>> chains = Chains(fk.HMC(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)), 1, chains=3)
    >>> x, values = chains.measured(chains.next_stored())
    >>> x.shape, sorted(values)
    (torch.Size([3, 1, 4, 4]), ['S', 'accept', 'dH', 'invalid'])
    """

    @torch.no_grad()
    def __init__(
        self,
        sampler: Steps,
        rng: torch.Generator | int | None,
        *,
        chains: int = 16,
        thermalise: int = 0,
        every: int = 1,
        start: Tensor | None = None,
    ):
        check_sampler(sampler)
        check_numbers(1, chains, every, thermalise)
        device = start.device if start is not None else getattr(getattr(sampler, "flow", None), "device", "cpu")
        self.rng, self.seed = generator_of(rng, device)
        self.sampler, self.every, self.thermalise = sampler, every, thermalise
        self._coordinates: Action | None = getattr(sampler, "action", None)
        self.action = None if self._coordinates is None else self._coordinates.theory
        self.space = sampler.space if self.action is None else self.action.space
        begin = getattr(sampler, "begin", None)
        if start is None and begin is not None:
            self.first = begin(chains, self.rng)
        else:
            self.first = sampler.init(sampler.space.cold(chains, like=torch.empty(0)) if start is None else start)
        self.chains = len(self.first.x)
        self.bad = torch.zeros((), dtype=torch.long, device=self.first.S.device)
        self._points = states(sampler, self.first, self.rng, thermalise=thermalise, every=every)

    def __iter__(self) -> Iterator[Point]:
        return self

    def __next__(self) -> Point:
        point = next(self._points)
        self.bad = self.bad + point.bad if point.stored else self.bad
        return point

    def next_stored(self) -> Point:
        """The next point to be stored, after all that lie before it."""
        return next(point for point in self if point.stored)

    @torch.no_grad()
    def measured(self, point: Point) -> tuple[Tensor, dict[str, Tensor]]:
        """The fields of the theory at a point, [chains, *space.shape], and numbers of each chain by name."""
        state, x, S = point.state, point.state.x, point.state.S
        logq = getattr(state, "logq", None)
        if self._coordinates is not None and self._coordinates is not self.action:
            x, change = self._coordinates.to_theory(x)
            S, logq = S + change, None if logq is None else logq - change
        known = {} if logq is None else {"logq": logq, "logw": -S - logq}
        return x, {"S": S, **point.info, **known}

    def check(self, done: int, most: int, max_bad: float) -> None:
        """Raise EnsembleError where more than max_bad of the updates of `most` stored steps were invalid."""
        updates, bad = most * self.every * self.chains, int(self.bad)
        if bad > max_bad * updates:
            raise EnsembleError(
                f"The run ended at stored step {done} of {most}: {bad} updates had no finite action or "
                f"weight, more than {100 * max_bad:g} % of {updates}. {self.sampler.describe()}"
            )


class Recording:
    """A run as an iterator over the steps of its sampler, which stores those that are to be stored.

    Whoever iterates may stop at any time; `ensemble` is what was stored until then. `run` iterates to the end, and a
    `Job` stops where it is told.

    Parameters
    ----------
    sampler, n, chains, thermalise, every, rng, observe, keep, start, max_bad, max_bytes
        As `run`.

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

    def __init__(
        self,
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
        max_bad: float = 0.01,
        max_bytes: int = MOST_BYTES,
    ):
        check_numbers(n, chains, every, thermalise)
        self.n, self.max_bad = n, max_bad
        self.chains = Chains(sampler, rng, chains=chains, thermalise=thermalise, every=every, start=start)
        self._x = _room(n, self.chains.first.x, max_bytes) if keep else None
        self.columns = Columns(n, self.chains.chains, observe, self.chains.space)

    def __iter__(self) -> Iterator[Point]:
        return self

    @torch.no_grad()
    def __next__(self) -> Point:
        row = self.columns.filled
        if row == self.n:
            raise StopIteration
        point = next(self.chains)
        if point.warm:
            self.columns.begun = time.perf_counter()  # the thermalisation is not counted
        if not point.stored:
            return point
        x, values = self.chains.measured(point)
        self.chains.check(row + 1, self.n, self.max_bad)
        if self._x is not None:
            self._x[row] = x
        self.columns.store(row, x, values)
        self._seconds = time.perf_counter() - self.columns.begun
        return point

    def ensemble(self) -> Ensemble:
        """What was stored so far."""
        chains, n = self.chains, self.columns.filled
        series, left_out = self.columns.finish()
        about = {
            "sampler": chains.sampler.describe(),
            "n": n,
            "chains": chains.chains,
            "every": chains.every,
            "thermalise": chains.thermalise,
            "seconds": self._seconds,
            "invalid": int(chains.bad),
            "left_out": left_out,
        }
        x = self._x if self._x is None or n == self.n else self._x[:n].clone()
        provenance = _provenance(chains.action, chains.seed, **about)
        return Ensemble(chains.space, x, series, action=chains.action, provenance=provenance)


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
    max_bytes: int = MOST_BYTES,
    each: Callable[[Columns], object] | None = None,
) -> Ensemble:
    r"""Run chains of a sampler and store n steps of each.

    An interrupt (Ctrl-C) ends it with nothing kept; a run that may be stopped and keeps its steps is `start`.

    Parameters
    ----------
    sampler : Sampler
        Or anything with space, init(x), step(state, rng) and describe().
    n : int
        Stored steps.
    chains : int
        Their number, where `start` does not give it.
    thermalise : int
        Steps before the first stored one, in which the sampler is tuned.
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
        Share of invalid updates (no finite weight or action) past which the run ends; they are never accepted.
    max_bytes : int
        Memory that configurations may take.
    each : callable, optional
        Called after every stored step with the series so far; the run ends there where it returns True.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        For numbers out of range.
    EnsembleError
        Past max_bad or max_bytes, or where an observable is not finite.

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
    recording = Recording(
        sampler,
        n,
        chains=chains,
        thermalise=thermalise,
        every=every,
        rng=rng,
        observe=observe,
        keep=keep,
        start=start,
        max_bad=max_bad,
        max_bytes=max_bytes,
    )
    for point in _bar(recording, thermalise + n * every, progress):
        if point.stored and each is not None and each(recording.columns) is True:
            break
    return recording.ensemble()


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
    max_bytes: int = MOST_BYTES,
) -> Ensemble:
    r"""n independent draws of a flow with their weights; means are reweighted to the theory.

    Parameters
    ----------
    flow : Prior
        Any prior or flow with a normalised density, one with Markov kernels too.
    action : Action
        The theory, of the same space.
    n : int
        Number of draws.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed; the seed is recorded.
    chunk : int
        Draws at once; part of what a seed means.
    observe, keep, progress, max_bytes
        As `run`.
    max_bad : float
        Share of draws without a finite weight past which this ends; they are left out and counted.

    Returns
    -------
    Ensemble
        Weighted, with the series S, logq and logw.

    Raises
    ------
    ValueError
        For an unnormalised prior, another space, or numbers out of range.
    EnsembleError
        As `run`.

    Notes
    -----
    .. math:: \langle O \rangle = \frac{\sum_i w_i O(x_i)}{\sum_i w_i}, \qquad \log w = -S(x) - \log q(x)

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=0.5)
    >>> draws = fk.draw(fk.Haar(action.space), action, 5000, rng=1)
    >>> draws.mean(fk.plaquette).within(), draws.ess().value > 0.5
    (True, True)
    """
    _whole("n", n, 1)
    _whole("chunk", chunk, 1)
    if flow.space != action.space or not flow.normalised:
        why = "is not normalised, so its weights are unknown" if not flow.normalised else f"lives on {flow.space}"
        raise ValueError(f"importance_sample needs a normalised flow on {action.space}; {type(flow).__name__} {why}.")
    generator, seed = generator_of(rng, flow.device)
    columns = Columns(n, 1, observe, flow.space)
    x: Tensor | None = None
    filled = bad = 0
    bar = iter(_bar(range(-(-n // chunk)), -(-n // chunk), progress))
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
    about = {"flow": describe() if describe else type(flow).__name__, "n": n, "chunk": chunk, "invalid": bad}
    return Ensemble(flow.space, x, series, action=action, provenance=_provenance(action, seed, **about), weighted=True)


def check_sampler(sampler: object) -> None:
    """Raise TypeError for what cannot be driven as a Markov chain."""
    if not all(callable(getattr(sampler, name, None)) for name in ("init", "step", "describe")):
        example = "HMC(action) or IndependenceMetropolis(flow, action)"
        raise TypeError(f"Chains need a sampler such as {example}; got {type(sampler).__name__}.")


def check_numbers(n: int, chains: int, every: int, thermalise: int) -> None:
    """Raise ValueError for numbers of a run that are out of range."""
    for name, value, least in (("n", n, 1), ("chains", chains, 1), ("every", every, 1), ("thermalise", thermalise, 0)):
        _whole(name, value, least)


def generator_of(rng: torch.Generator | int | None, device: torch.device | str) -> tuple[torch.Generator, int]:
    """The generator of a run, and the seed that it was given at last.

    Raises
    ------
    TypeError, ValueError
        For what is no generator, no seed and not None.
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


def _whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"{name} is a whole number >= {least}; got {value!r}.")


def _room(n: int, fields: Tensor, max_bytes: int) -> Tensor:
    """Uninitialised room for n batches on the CPU."""
    need = n * len(fields) * row_bytes(fields)
    if need > max_bytes:
        raise EnsembleError(
            f"{n} x {len(fields)} configurations need {need / 2**30:.3g} GiB, and max_bytes allows "
            f"{max_bytes / 2**30:.3g} GiB. Use keep=False with observe=(...), or store fewer of them by every=..."
        )
    return torch.empty((n, *fields.shape), dtype=fields.dtype)


def _bar(steps: Iterable[Any], total: int, show: bool) -> Iterable[Any]:
    if not show:
        return steps
    from tqdm.auto import tqdm

    bar: Iterable[Any] = tqdm(steps, total=total, unit="step")
    return bar


def _provenance(action: Action | None, seed: int, **more: Any) -> dict[str, Any]:
    return {
        "flowkit": __version__,
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "action": None if action is None else repr(action),
        **more,
    }

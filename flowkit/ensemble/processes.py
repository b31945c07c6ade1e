"""One run in several processes: groups of its chains, each with random numbers of its own.

What a group gives depends on its number alone, and not on the process or rank that has it.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.ensemble.chains import device_of
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import GROUP_FOLDER, EnsembleError, PathLike
from flowkit.ensemble.recording import Recording
from flowkit.kernels.compilation import compiling, set_compile
from flowkit.samplers.chain import Steps
from flowkit.tasks.in_training import frozen
from flowkit.tasks.progress import progress_bar
from flowkit.tasks.randomness import Rng, readable, stream
from flowkit.tasks.ranks import exchanged, ranks

GROUP, LEAST = 16, 4
"""Chains of a group, as many as a kernel moves at once in single precision; and the groups of fewer chains."""
DIED = (
    "A process of this run died: it was killed, ran out of memory, or could not import the script that called run, "
    'which calls it below if __name__ == "__main__":'
)


class Outcome(NamedTuple):
    """What one group of chains gave, as arrays, which pass from one process to another."""

    number: int
    series: dict[str, NDArray[Any]]
    x: NDArray[Any] | None
    provenance: dict[str, Any]
    failed: str
    """Why it ended early; empty where it did not."""

    @property
    def steps(self) -> int:
        return len(self.series["S"]) if self.series else 0

    @property
    def chains(self) -> int:
        return self.series["S"].shape[1] if self.series else 0


class Plain(ForkingPickler):
    """Objects as bytes for a process of our own; torch's own way would take a file descriptor for each tensor."""

    _extra_reducers: ClassVar[dict[Any, Any]] = {}


def groups_of(chains: int, groups: int | None, processes: int) -> list[slice]:
    """The chains of each group, whose sizes differ by one at most.

    Raises
    ------
    ValueError
        For more groups than chains, or processes that would have no group.

    Examples
    --------
    >>> from flowkit.ensemble.processes import groups_of
    >>> len(groups_of(16, None, 4)), len(groups_of(64, None, 4)), len(groups_of(512, None, 4))
    (4, 4, 32)
    """
    count = min(chains, max(LEAST, -(-chains // GROUP))) if groups is None else groups
    if count > chains or processes > count:
        if count > chains:
            raise ValueError(f"{count} groups need at least {count} chains; got {chains}.")
        raise ValueError(
            f"{processes} processes need at least {processes} groups of chains; got {count} groups of {chains} chains. "
            "Give groups= or more chains; the result for a given seed depends on the number of groups."
        )
    edges = [chains * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def run_in_groups(
    sampler: Steps,
    n: int,
    *,
    processes: int,
    groups: int | None,
    chains: int,
    rng: Rng,
    start: Tensor | None,
    progress: bool,
    max_bytes: int,
    to: PathLike | None = None,
    **settings: Any,
) -> Ensemble:
    """`run` with its chains in groups, which are divided among ranks, and within each among processes.

    Raises
    ------
    EnsembleError
        Where a process died or a group failed; its `ensemble` holds what the others stored.
    TypeError
        For a sampler or an observable that other processes cannot be given.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "This script calls run(processes=...) again in each process that the call starts, since these import it "
            'first; put the call below if __name__ == "__main__":'
        )
    sampler = frozen(sampler, "A run of chains")
    seed = _seed(rng)
    parts = groups_of(chains if start is None else len(start), groups, processes * ranks().world)
    settings |= {"n": n, "max_bytes": max(1, max_bytes // len(parts))}

    def task(number: int) -> dict[str, Any]:
        rows = parts[number]
        beginning = {"chains": rows.stop - rows.start} if start is None else {"start": start[rows]}
        folder = None if to is None else Path(to) / f"{GROUP_FOLDER}{number:03d}"
        return {**settings, **beginning, "sampler": sampler, "seed": seed, "number": number, "to": folder}

    first = _recording(**task(0) | {"to": None})  # refuses what cannot be run, before a process is started
    mine = range(ranks().rank, len(parts), ranks().world)
    bar = progress_bar(len(mine), progress)
    found = _here(mine, task, bar) if processes == 1 else _spawned(mine, task, bar, processes)
    bar.close()
    outcomes = sorted((one for some in exchanged(found) for one in some), key=lambda one: one.number)
    ensemble = _together(outcomes, first) if any(one.series for one in outcomes) else None
    failed = next((one.failed for one in outcomes if one.failed and one.failed != "interrupted"), None)
    if ensemble is not None:
        at_once = min(len(parts), processes * ranks().world)
        ensemble.provenance |= {"seed": seed, "groups": len(parts), "processes": at_once}
        ensemble.provenance["seconds"] /= at_once
        if failed is None and ensemble.chains == parts[-1].stop and len(ensemble) == n:
            return ensemble
        why, rest = "interrupted" if failed is None else "failed", ensemble.provenance.get("groups_left_out", {})
        without = "".join(f", without group {number} of {steps} steps" for number, steps in rest.items())
        ensemble.provenance["ended"] = f"{why} at stored step {len(ensemble)} of {n}, {ensemble.chains} chains{without}"
        if failed is None:
            return ensemble
    elif failed is None:
        raise KeyboardInterrupt
    failure = EnsembleError(f"{failed.rstrip('.')}. What other groups of chains stored is in error.ensemble.")
    failure.ensemble = ensemble
    raise failure


def _seed(rng: Rng) -> int:
    """The seed of all groups; of a generator, its next number."""
    if isinstance(rng, torch.Generator):
        return int(torch.randint(2**62, (), generator=rng, device=rng.device))
    if rng is None:  # the same on all ranks
        return exchanged(torch.Generator().seed())[0]
    return int(readable(rng))


def _recording(sampler: Steps, number: int, seed: int, **settings: Any) -> Recording:
    device = device_of(sampler, settings.get("start"))
    return Recording(sampler, rng=stream(seed, "chains", number, device), **settings)


def _group(stop: Any, number: int, **settings: Any) -> Outcome:
    """Run one group; it ends early where `stop` is set."""
    recording, ensemble, failed = None, None, ""
    try:
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        recording = _recording(number=number, **settings)
        for _ in recording:
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
        ensemble = recording.ensemble()
    except KeyboardInterrupt:
        failed = "interrupted"
    except Exception as error:
        failed = str(error) if isinstance(error, EnsembleError) else f"{type(error).__name__}: {error}"
    if failed and recording is not None:
        ensemble = recording.rescued(failed)
    if ensemble is None:
        return Outcome(number, {}, None, {}, failed)
    series = {name: values.numpy() for name, values in ensemble.series.items()}
    return Outcome(number, series, None if ensemble.x is None else ensemble.x.numpy(), ensemble.provenance, failed)


def _here(numbers: Sequence[int], task: Any, bar: Any) -> list[Outcome]:
    """The groups one after the other in this process, on one thread: sums of more threads round in another way."""
    threads, found = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for number in numbers:
            found.append(_group(None, **task(number)))
            bar.update(1)
            if found[-1].failed:
                break
    finally:
        torch.set_num_threads(threads)
    return found


_stop: Any = None


def _begin(stop: Any, dtype: torch.dtype, compiled: str) -> None:
    """What a new process begins with."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it says when to stop
    torch.set_num_threads(1)
    torch.set_default_dtype(dtype)
    set_compile(compiled)


def _from_bytes(number: int, task: bytes) -> Outcome:
    try:
        return _group(_stop, **Plain.loads(task))
    except Exception as error:
        return Outcome(number, {}, None, {}, f"{type(error).__name__}: {error}")


def _spawned(numbers: Sequence[int], task: Any, bar: Any, processes: int) -> list[Outcome]:
    """The groups in new processes."""
    tasks = {number: _bytes(task(number)) for number in numbers}
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    setup = (stop, torch.get_default_dtype(), compiling())
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=setup) as pool:
        waiting = {pool.submit(_from_bytes, number, one): number for number, one in tasks.items()}
        left = set(waiting)
        while left:
            with _stopping(stop):
                done, left = wait(left, timeout=0.2, return_when="FIRST_COMPLETED")
                bar.update(len(done))
                if any(_outcome(one, waiting[one]).failed for one in done):
                    stop.set()
    return [_outcome(one, number) for one, number in waiting.items()]


@contextlib.contextmanager
def _stopping(stop: Any) -> Iterator[None]:
    """An interrupt tells the processes to end after the present step; a second one is raised."""
    try:
        yield
    except KeyboardInterrupt:
        if stop.is_set():
            raise
        stop.set()


def _outcome(future: Future[Outcome], number: int) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(number, {}, None, {}, DIED)


def _bytes(task: dict[str, Any]) -> bytes:
    """A task as bytes.

    Raises
    ------
    TypeError
        For the first part of it that another process cannot be given.
    """
    for part in (task["sampler"], *task["observe"]):
        name = getattr(part, "name", type(part).__name__)
        try:
            found = bytes(Plain.dumps(part))
        except Exception as error:
            raise TypeError(
                f"run(processes=...) sends sampler and observables to other processes; {name} cannot be pickled: "
                f"{error}. Functions and classes at the top of a module can; lambdas and inner functions cannot."
            ) from error
        main = sys.modules["__main__"]
        if b"__main__" in found and getattr(main, "__file__", None) is None and main.__spec__ is None:
            raise TypeError(
                f"run(processes=...) sends sampler and observables to other processes, which cannot import what a "
                f"notebook or a prompt defines; {name} needs such a definition. Put it into a module."
            )
    return bytes(Plain.dumps(task))


def _together(outcomes: Sequence[Outcome], first: Recording) -> Ensemble:
    """One ensemble of the groups whose common steps times chains are most; it is as long as the shortest of them."""
    stored = [one for one in outcomes if one.series]
    lengths = sorted({one.steps for one in stored}, reverse=True)
    n = max(lengths, key=lambda steps: steps * sum(one.chains for one in stored if one.steps >= steps))
    there = [one for one in stored if one.steps >= n]
    names = [name for name in there[0].series if all(name in one.series for one in there)]
    series = {name: torch.from_numpy(np.concatenate([one.series[name][:n] for one in there], 1)) for name in names}
    kept = [one.x[:n] for one in there if one.x is not None]
    abouts = [one.provenance for one in there]
    about = {**abouts[0], "n": n, "chains": series["S"].shape[1]}
    about["thermalise"] = max(one["thermalise"] for one in abouts)
    for name in ("seconds", "invalid"):
        about[name] = sum(one[name] for one in abouts)
    about["left_out"] = sorted({name for one in abouts for name in one["left_out"]})
    errors = [one["logdet_error"] for one in abouts if one["logdet_error"] is not None]
    about["logdet_error"] = max(errors, default=None)
    if all("schwinger_dyson" in one for one in abouts):
        about["schwinger_dyson"] = [value for one in abouts for value in one["schwinger_dyson"]]
    if any(one["sampler"] != about["sampler"] for one in abouts):
        about["samplers"] = [one["sampler"] for one in abouts]  # each group was tuned by itself
    about.pop("ended", None)
    if rest := {str(one.number): one.steps for one in stored if one.steps < n}:
        about["groups_left_out"] = rest
    x = torch.from_numpy(np.concatenate(kept, 1)) if len(kept) == len(there) else None
    return Ensemble(first.chains.space, x, series, action=first.chains.action, provenance=about)

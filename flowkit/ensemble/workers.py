"""Groups of chains one after the other in this process, or divided among new ones."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar, NamedTuple

import torch
from numpy.typing import NDArray

from flowkit.ensemble.chains import device_of
from flowkit.ensemble.files import EnsembleError
from flowkit.ensemble.recording import Recording
from flowkit.kernels.compilation import compiling, set_compile
from flowkit.samplers.chain import Steps
from flowkit.tasks.randomness import stream

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
        """Stored steps."""
        return len(self.series["S"]) if self.series else 0

    @property
    def chains(self) -> int:
        """Chains that stored them."""
        return self.series["S"].shape[1] if self.series else 0


class Plain(ForkingPickler):
    """Objects as bytes for a process of our own; torch's own way would take a file descriptor for each tensor."""

    _extra_reducers: ClassVar[dict[Any, Any]] = {}


def recording_of(sampler: Steps, number: int, seed: int, **settings: Any) -> Recording:
    """The chains of one group, whose random numbers depend on its number alone."""
    device = device_of(sampler, settings.get("start"))
    return Recording(sampler, rng=stream(seed, "chains", number, device), **settings)


def run_group(stop: Any, number: int, **settings: Any) -> Outcome:
    """Run one group; it ends early where `stop` is set."""
    recording, ensemble, failed = None, None, ""
    try:
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        recording = recording_of(number=number, **settings)
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


def here(numbers: Sequence[int], task: Any, bar: Any) -> list[Outcome]:
    """The groups one after the other in this process, on one thread: sums of more threads round in another way."""
    threads, found = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for number in numbers:
            found.append(run_group(None, **task(number)))
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
        return run_group(_stop, **Plain.loads(task))
    except Exception as error:
        return Outcome(number, {}, None, {}, f"{type(error).__name__}: {error}")


def spawned(numbers: Sequence[int], task: Any, bar: Any, processes: int) -> list[Outcome]:
    """The groups in new processes."""
    tasks = {number: bytes_of(task(number)) for number in numbers}
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


def bytes_of(task: dict[str, Any]) -> bytes:
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

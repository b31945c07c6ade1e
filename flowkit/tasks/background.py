"""Work in a thread that can be paused, resumed, stopped and waited for: what a trainer and a run of chains share."""

from __future__ import annotations

import atexit
import math
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, SupportsIndex, TypeVar

from flowkit.checks import checked

Self = TypeVar("Self", bound="Background")

_GOING: weakref.WeakSet[Background] = weakref.WeakSet()
PATIENCE = 30.0
"""Seconds that the end of a program waits for a step under way."""


@atexit.register
def _end_of_program() -> None:
    """Stop what still runs. A thread that is inside torch when the interpreter exits would abort the process."""
    for work in running():
        work.stop()
        work._ended.wait(PATIENCE)
        print(f"The program ended, and with it this {work.what}{work._where()}; wait() would have let it finish.")


def running() -> list[Background]:
    """The trainers and runs that go on in this process, the oldest first: also those that no name is left for.

    Returns
    -------
    list of Background
        Each with `status`, `pause`, `resume`, `stop` and `wait`.

    Examples
    --------
    A cell that is run again leaves its first run without a name, and still going on.

    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> job = fk.start(fk.Heatbath(action), 10**6, keep=False)
    >>> job = None
    >>> for work in fk.tasks.running():
    ...     work.stop()
    ...     print(work.wait().status)
    stopped
    """
    return sorted((work for work in _GOING if not work._ended.is_set()), key=lambda work: work._begun)


def _cell() -> tuple[object, int] | None:
    """Which cell of a notebook runs, by its id or else its text, and the number of its run; None outside of one."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return None
    parent = shell.kernel.get_parent() if hasattr(shell, "kernel") else {}
    named = parent.get("metadata", {}).get("cellId")
    return named or shell.user_ns.get("In", [""])[-1], shell.execution_count


class Background:
    """Work in one thread at a time, with pause, resume, stop and wait: the base of `Trainer` and of `Job`.

    `pause`, `resume` and `stop` set events and return at once; the work looks at them after each step.

    Parameters
    ----------
    callbacks : sequence of callable
        Called as f(self) by the work. One that fails is dropped, and `error` says so.

    Attributes
    ----------
    status : str
        idle, running, paused, stopping; stopped, finished or failed at the end.
    error : str or None
        Why the work failed, or which callback did.

    Examples
    --------
    >>> from flowkit.tasks import Background
    >>> class Count(Background):
    ...     n = 0
    ...     def start(self, to):
    ...         self._begin(lambda: self._count(to))
    ...         return self
    ...     def _count(self, to):
    ...         while self.n < to and not self._stop.is_set():
    ...             self.n += 1
    ...         return self.n == to
    >>> work = Count().start(to=1000).wait()
    >>> work.n, work.status
    (1000, 'finished')
    """

    what: ClassVar[str] = "work"
    """How a message calls it."""
    failure: ClassVar[type[RuntimeError]] = RuntimeError
    """What `wait` raises where the work failed."""

    @checked
    def __init__(self, callbacks: Sequence[Callable[[Any], object]] = ()) -> None:
        self.callbacks = list(callbacks)
        self.status, self.error = "idle", None  # type: tuple[str, str | None]
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._go, self._stop, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._go.set()
        self._ended.set()  # is_alive() would not do: Python 3.11 takes a thread for dead when its join() is interrupted
        self._begun, self._cell = 0.0, None  # type: tuple[float, tuple[object, int] | None]
        self._turn = threading.Lock()  # a pause that comes as the work ends must not overwrite its last status

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Raise TypeError: a thread is not copied and not sent to another process."""
        raise TypeError(f"A {self.what} works in a thread and is not copied or pickled; make another one.")

    def _check_ended(self) -> None:
        """Raise RuntimeError while the work goes on."""
        if not self._ended.is_set():
            raise RuntimeError(f"This {self.what} is {self.status}{self._where()}; stop it or wait for its end first.")

    def _begin(self, work: Callable[[], bool]) -> None:
        """Do `work` in a thread; it returns whether all of it was done, or else it was stopped."""
        self.error, self._failure = None, None
        self._stop.clear()
        self._ended.clear()
        self._go.set()
        self.status = "running"
        self._begun, self._cell = time.monotonic(), _cell()
        for other in running():
            if self._cell and other._cell and (other._cell[0] == self._cell[0]) and other._cell[1] != self._cell[1]:
                warnings.warn(
                    f"A {other.what} that this cell has begun before still goes on beside the new one; it is "
                    f"{other.status}{other._where()}. fk.tasks.running()[{running().index(other)}].stop() ends it.",
                    RuntimeWarning,
                    stacklevel=4,
                )
        _GOING.add(self)
        name = f"flowkit-{self.what}"
        self._thread = threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
        self._thread.start()

    def _guard(self, work: Callable[[], bool]) -> None:
        try:
            status = "finished" if work() else "stopped"
        except BaseException as error:
            self.error = str(error) if isinstance(error, self.failure) else f"{type(error).__name__}: {error}"
            self._failure, status = error, "failed"
        with self._turn:
            self.status = status
            self._ended.set()

    def _call_back(self) -> None:
        """Call the callbacks; one that fails is dropped, and `error` says so."""
        for callback in list(self.callbacks):
            try:
                callback(self)
            except Exception as error:
                self.callbacks.remove(callback)
                self.error = f"The callback {getattr(callback, '__name__', callback)!s} failed and was dropped: {error}"
                warnings.warn(self.error, stacklevel=2)

    def _where(self) -> str:
        """How far the work has come, for a message."""
        return ""

    def pause(self) -> None:
        """Hold after the present step."""
        with self._turn:
            if self.status == "running":
                self._go.clear()
                self.status = "paused"

    def resume(self) -> None:
        """Go on after a pause."""
        with self._turn:
            if self.status == "paused":
                self.status = "running"
                self._go.set()

    def stop(self) -> None:
        """End after the present step; what was done stays."""
        with self._turn:
            if self.status in ("running", "paused"):
                self.status = "stopping"
                self._stop.set()
                self._go.set()

    def wait(self: Self, timeout: float | None = None) -> Self:
        """Wait for the end, at most `timeout` seconds. An interrupt (Ctrl-C, or that of a notebook) stops the work.

        Raises `failure`, the work's own error, where it failed.
        """
        return self._wait(timeout, lambda: None)

    def _wait(self: Self, timeout: float | None, meanwhile: Callable[[], None]) -> Self:
        """`wait`, and call `meanwhile` ten times a second."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        try:
            while not self._ended.wait(min(0.1, max(0.0, end - time.monotonic()))) and time.monotonic() < end:
                meanwhile()
        except KeyboardInterrupt:
            self.stop()
            self._ended.wait()
        if self._failure is not None:
            raise self.failure(self.error or f"The {self.what} failed.") from self._failure
        return self

"""Runs: chains of a sampler made into an ensemble."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from flowkit.checks import Bytes, Count, Natural, Share, checked
from flowkit.ensemble.columns import MOST_BYTES, Columns
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError, PathLike
from flowkit.ensemble.processes import run_in_groups
from flowkit.ensemble.recording import Recording
from flowkit.observables import Observables
from flowkit.samplers.chain import Steps
from flowkit.tasks.progress import progress_bar
from flowkit.tasks.randomness import Rng


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


def _warned(ensemble: Ensemble) -> Ensemble:
    """The ensemble, with a warning where its run was interrupted."""
    if (ended := ensemble.provenance.get("ended")) is not None:
        text = f"This run was {ended}; its ensemble holds the steps up to there."
        warnings.warn(text, RunInterrupted, stacklevel=3)
    return ensemble


@checked
def run(
    sampler: Steps,
    n: Count,
    *,
    chains: Count = 16,
    thermalise: Natural | None = None,
    every: Count = 1,
    rng: Rng = None,
    observe: Observables = (),
    keep: bool = True,
    start: Tensor | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = False,
    max_bad: Share = 0.01,
    max_bytes: Bytes = MOST_BYTES,
    to: PathLike | None = None,
    chunk: Count | None = None,
    each: Callable[[Columns], object] | None = None,
    processes: Count | None = None,
    groups: Count | None = None,
) -> Ensemble:
    r"""Run chains of a sampler and store n steps of each.

    An interrupt (Ctrl-C, or that of a notebook) ends it: the ensemble then holds the steps stored so far,
    ``provenance["ended"]`` says at which step, and a warning is printed. Where nothing was stored yet, it raises
    KeyboardInterrupt. A run that can be stopped and watched is `start`.

    Parameters
    ----------
    sampler : Sampler
        Or anything with space, init(x), step(state, rng) and describe(). It stays as it is.
    n : int
        Stored steps.
    chains : int
        Their number, where `start` does not give it.
    thermalise : int, optional
        Steps before the first stored one, in which a copy of the sampler is tuned; by default at least 64, and as many
        as it takes until the action no longer drifts. What it was tuned to is in the ensemble's
        ``provenance["sampler"]``.
    every : int
        Steps from one stored step to the next.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed; the seed is recorded.
    observe : sequence of Observable or str
        Measured during the run, on the device of the chains.
    keep : bool
        Whether configurations are stored, on the CPU.
    start : Tensor, optional
        Fields ``[chains, *space.shape]``, in the coordinates z of a pullback; by default the sampler's own start, else
        a cold one.
    dtype : torch.dtype, optional
        float32 or float64, in which chains without `start` walk; by default torch's default dtype, or that of a flow.
    progress : bool
        Whether to show a progress bar.
    max_bad : float
        Share of invalid updates (no finite weight or action) past which the run ends; they are never accepted. On a GPU
        they are counted every 16 stored steps.
    max_bytes : int
        Memory that configurations may take; those of a run on disk that take more stay there.
    to : path, optional
        A folder to write to during the run, which `Ensemble.load` and other programs read at any time. A killed process
        loses little, as `chunk` says, and `resume` goes on. With `processes` each group of chains writes to a folder of
        its own in it, group-000 and so on, which is resumed by itself.
    chunk : int, optional
        Stored steps in one chunk on disk, each committed when it is full: a killed process loses at most one chunk. By
        default a 64th of the run, at least 16 steps and at most 16 MiB of configurations, and commits come by the
        clock, the next one 20 times as long after the last as that took, but within 1 to 60 seconds. A killed process
        then loses the stored steps of at most so long a time, or one step that takes longer (on a GPU 16).
    each : callable, optional
        Called after every stored step with the series so far (on a GPU they grow by 16 steps at a time); the run ends
        there where it returns True.
    processes : int, optional
        Among how many processes of this machine the chains are divided; each takes one thread. The result is the same
        bit for bit whatever the number, and differs from that of a run without `processes`, whose chains share one
        stream of random numbers. Within `flowkit.train.joined` this is their number for each rank; without
        `processes`, every rank makes the whole run.
    groups : int, optional
        Groups of chains with `processes`, each a batch with a stream of its own: the result for a given seed depends on
        their number. By default a group has 16 chains, and fewer where there would be less than 4 groups.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        For numbers out of range, or more processes than groups.
    TypeError
        With `processes`, for a sampler or an observable that cannot be pickled.
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
    if processes is not None or groups is not None:
        if each is not None:
            raise ValueError("run calls each= in the process that steps its chains; leave out each= or processes=.")
        several: dict[str, Any] = {"processes": processes or 1, "groups": groups, "chains": chains, "rng": rng}
        several |= {"start": start, "dtype": dtype, "thermalise": thermalise, "every": every, "observe": observe}
        several |= {"keep": keep, "max_bad": max_bad, "max_bytes": max_bytes, "progress": progress}
        several |= {"to": to, "chunk": chunk}
        return _warned(run_in_groups(sampler, n, **several))
    settings: dict[str, Any] = {"rng": rng, "chains": chains, "thermalise": thermalise, "every": every, "start": start}
    settings["dtype"] = dtype
    settings |= {"observe": observe, "keep": keep, "max_bad": max_bad, "max_bytes": max_bytes, "to": to, "chunk": chunk}
    recording = Recording(sampler, n, **settings)
    return recorded(recording, (thermalise or 0) + n * every, thermalise is None, progress, each)


def recorded(
    recording: Recording,
    steps: int,
    growing: bool = False,
    progress: bool = False,
    each: Callable[[Columns], object] | None = None,
) -> Ensemble:
    """The ensemble of a recording after its last step, or up to an interrupt.

    Parameters
    ----------
    recording : Recording
    steps : int
        Steps to come, for the progress bar; those of a thermalisation whose length is `growing` are added.
    progress, each
        As `run`.
    """
    bar = progress_bar(steps, progress, recording)
    try:
        for point in bar:
            if point.warm and growing and progress:
                bar.total += 1
            if point.stored and each is not None and each(recording.columns) is True:
                break
        return recording.ensemble()
    except KeyboardInterrupt:
        if (so_far := recording.rescued("interrupted")) is None:
            raise
        return _warned(so_far)
    except Exception as error:
        if (so_far := recording.rescued("failed")) is None:
            raise
        why = str(error) if isinstance(error, EnsembleError) else f"{type(error).__name__}: {error}".rstrip(": ")
        failure = EnsembleError(f"{why.rstrip('.')}. The run {so_far.provenance['ended']}; error.ensemble holds those.")
        failure.ensemble = so_far
        raise failure from error

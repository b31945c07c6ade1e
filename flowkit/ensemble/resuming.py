"""Runs on disk that go on: where they were killed or interrupted, or beyond their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from flowkit.checks import Bytes, Count, checked
from flowkit.ensemble import files, layout
from flowkit.ensemble.columns import MOST_BYTES, Columns, plain
from flowkit.ensemble.diagnosis import monitors
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError, PathLike
from flowkit.ensemble.recording import Recording
from flowkit.ensemble.runs import recorded
from flowkit.ensemble.standing import Begun, Mark, digest_of, state_of
from flowkit.observables import Observables, known, listed
from flowkit.samplers.chain import Steps
from flowkit.storage import zarr_files, zarr_reading
from flowkit.storage.checkpoint import unpacked
from flowkit.storage.commit import Commit


@checked
def resume(
    path: PathLike,
    sampler: Steps,
    n: Count | None = None,
    *,
    observe: Observables = (),
    progress: bool = False,
    max_bytes: Bytes = MOST_BYTES,
    each: Callable[[Columns], object] | None = None,
) -> Ensemble:
    """Go on with a run that ``run(..., to=path)`` wrote to disk: one that was killed, interrupted, or finished.

    On a CPU with the same number of threads the steps are bit for bit those of a run that was never stopped.

    Parameters
    ----------
    path : path
        The folder of the run.
    sampler : Sampler
        Made as for the run, of the same weights; what the thermalisation tuned is read from the folder.
    n : int, optional
        Stored steps in all, those on disk among them; by default as many as the run was begun for. A run that has them
        already is read and returned.
    observe : sequence of Observable or str
        Observables of your own that the run measured; those of this library are known by their names.
    progress, max_bytes, each
        As `run`.

    Returns
    -------
    Ensemble
        All steps.

    Raises
    ------
    EnsembleError
        Where the folder holds no run, or one of another sampler, of other weights or observables, or it is damaged;
        otherwise as `run`.
    ValueError
        For n below the number of stored steps.

    Examples
    --------
    >>> import tempfile, torch, flowkit as fk
    >>> sampler, folder = fk.HMC(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5)), tempfile.mkdtemp()
    >>> _ = fk.run(sampler, 20, chains=4, thermalise=10, rng=1, to=folder)
    >>> longer = fk.resume(folder, sampler, n=50)
    >>> unbroken = fk.run(sampler, 50, chains=4, thermalise=10, rng=1)
    >>> torch.equal(longer.x, unbroken.x)
    True
    """
    with files.reading(path):
        attributes, arrays, tensors, meta = files.store_of(path).read(_opened)
        files.check_head(attributes, attributes["series"])
        filled = int(meta["filled"])
        total = int(meta["n"]) if n is None else n
    _check(path, sampler, meta)
    if total < filled:
        raise ValueError(f"{path} has {filled} stored steps already; n is their number in all, got {total}.")
    action = getattr(getattr(sampler, "action", None), "theory", None)
    if total == filled:
        return Ensemble.load(path, action=action, max_bytes=max_bytes)
    given = {one.name: one for one in listed(observe)}
    watched = [one.name for one in monitors(sampler.space if action is None else action.space)]  # a run adds them
    found = {name: given.get(name) or known(name) for name in meta["observe"] if name not in watched}
    if missing := [name for name, one in found.items() if one is None]:
        raise EnsembleError(f"{path} measured {missing[0]!r}, which flowkit does not know; give it by observe=[...].")
    with files.reading(path):
        device, columns = torch.device(meta["device"]), attributes["series"]
        its = {name.removeprefix("state."): one for name, one in tensors.items() if name.startswith("state.")}
        state, generator = state_of(sampler, its, device), torch.Generator(device)
        generator.set_state(tensors["rng"])
        mark = Mark(filled, state, tensors["rng"], tensors["bad"].to(device))
        series = layout.series_of({name: arrays[name] for name in columns}, columns)
        field = torch.from_numpy(arrays[layout.FIELD]) if layout.FIELD in arrays else None
        begun = Begun(meta, mark, series, field, tensors.get("tested"))
    settings = {"keep": meta["keep"], "max_bad": meta["max_bad"], "max_bytes": max_bytes, "every": meta["every"]}
    settings |= {"to": path, "chunk": meta["asked"], "rng": generator, "state": state, "begun": begun}
    recording = Recording(sampler, total, observe=[one for one in found.values() if one is not None], **settings)
    return recorded(recording, (total - filled) * meta["every"], False, progress, each)


Opened = tuple[dict[str, Any], dict[str, Any], dict[str, Tensor], dict[str, Any]]


def _opened(commit: Commit) -> Opened:
    """Attributes, arrays, and state of a run; of the configurations those of the last chunk where it is not full."""
    with zarr_files.errors():
        if not any(name.startswith(files.STATE) for name in commit.files):
            raise ValueError(
                "it was written by save() and has no sampler state; run(..., to=path) writes a run that goes on"
            )
        tensors, meta = unpacked(commit, files.STATE)
        filled, chunk, asked = meta["filled"], meta["chunk"], meta["asked"]
        if asked not in (None, chunk):
            raise ValueError(f"its state is of chunks of {chunk!r:.80}, and {asked!r:.80} were asked for")
        if type(filled) is not int or type(chunk) is not int or min(chunk, filled) < 1:
            raise ValueError(f"its state is of {filled!r:.80} steps in chunks of {chunk!r:.80}")
        attributes, arrays = zarr_reading.read(commit, MOST_BYTES, only=files.series_arrays(commit))
        if meta["keep"]:
            first = filled - filled % chunk
            arrays |= zarr_reading.read(commit, 2**62, first, only=(layout.FIELD,))[1]
    return attributes, arrays, tensors, meta


def _check(path: PathLike, sampler: Steps, meta: Mapping[str, Any]) -> None:
    """Raise EnsembleError for another sampler than that of the run."""
    mine = plain(sampler.describe(), repr)
    if mine != meta["sampler"]:
        theirs = meta["sampler"]
        odd = [key for key in {**theirs, **mine} if mine.get(key) != theirs.get(key)]
        differing = "; ".join(f"{key} {theirs.get(key)} there, {mine.get(key)} here" for key in odd)
        raise EnsembleError(f"{path} is a run of another sampler: {differing}.")
    if digest_of(sampler) != meta["weights"]:
        raise EnsembleError(f"{path} is a run with other weights of the flow than those given.")

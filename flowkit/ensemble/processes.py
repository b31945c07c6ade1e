"""One run in several processes: groups of its chains, each with random numbers of its own.

What a group gives depends on its number alone, and not on the process or rank that has it.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import GROUP_FOLDER, EnsembleError, PathLike
from flowkit.ensemble.recording import Recording
from flowkit.ensemble.workers import Outcome, here, recording_of, spawned
from flowkit.samplers.chain import Steps
from flowkit.tasks.in_training import frozen
from flowkit.tasks.progress import progress_bar
from flowkit.tasks.randomness import Rng, readable
from flowkit.tasks.ranks import exchanged, ranks

GROUP, LEAST = 16, 4
"""Chains of a group, as many as a kernel moves at once in single precision; and the groups of fewer chains."""


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

    first = recording_of(**task(0) | {"to": None})  # refuses what cannot be run, before a process is started
    mine = range(ranks().rank, len(parts), ranks().world)
    bar = progress_bar(len(mine), progress)
    found = here(mine, task, bar) if processes == 1 else spawned(mine, task, bar, processes)
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

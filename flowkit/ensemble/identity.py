"""Which chains an ensemble is of: what its parts, copies and reweightings have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

CHAINS, FIRST, STRIDE = "of_chains", "first", "stride"
"""Keys of the provenance: the name of the chains, and the place of the first stored step and the distance of two."""


def name_of(provenance: Mapping[str, Any], S: Tensor) -> str:
    """The name of the chains, the same wherever they are read, sliced, reweighted or continued.

    Parameters
    ----------
    provenance : mapping
        Of an ensemble; that of a part or a reweighting holds the name.
    S : Tensor
        The actions ``[n, chains]``. Of a run with a seed the first ones tell the chains, also when more are stored;
        of other ensembles all of them do.

    Examples
    --------
    >>> import torch
    >>> from flowkit.ensemble.identity import name_of
    >>> S = torch.arange(6.0, dtype=torch.float64).view(3, 2)
    >>> name_of({"seed": 1}, S) == name_of({"seed": 1}, S[:2]), name_of({}, S) == name_of({}, S[:2])
    (True, False)
    """
    if isinstance(known := provenance.get(CHAINS), str):
        return known
    told = S[:1] if "seed" in provenance else S
    told_by = f"{provenance.get('seed')} {list(told.shape)} ".encode() + told.contiguous().numpy().tobytes()
    return f"flowkit-{hashlib.sha256(told_by).hexdigest()[:12]}"


def steps(provenance: Mapping[str, Any], n: int) -> range:
    """The places of n stored steps in their chains, counted from 1 as pyerrors does."""
    first, stride = provenance.get(FIRST, 0), provenance.get(STRIDE, 1)
    return range(first + 1, first + 1 + n * stride, stride)


def part(provenance: Mapping[str, Any], S: Tensor, taken: range) -> dict[str, Any]:
    """What the provenance of some stored steps says of their chains."""
    places = steps(provenance, len(S))[taken.start : taken.stop : taken.step]
    return {CHAINS: name_of(provenance, S), FIRST: places.start - 1, STRIDE: places.step}


def joined(parts: Sequence[tuple[Mapping[str, Any], Tensor]], axis: int) -> dict[str, Any]:
    """What the provenance of a joined ensemble says of its chains: the same for ranges of steps that follow each other.

    Parameters
    ----------
    parts : sequence of tuple
        Provenance and actions of each.
    axis : int
        0 for steps, 1 for chains.
    """
    places = [steps(about, len(S)) for about, S in parts]
    names = {name_of(about, S) for about, S in parts}
    whole = range(places[0].start, places[-1].stop, places[0].step)
    if axis == 0 and len(names) == 1 and [step for one in places for step in one] == list(whole):
        return {CHAINS: names.pop(), FIRST: whole.start - 1, STRIDE: whole.step}
    return {CHAINS: name_of({}, torch.cat([S for _, S in parts], axis))}

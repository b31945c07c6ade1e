"""Which configurations coefficients are fitted on, and which they reduce."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit import stats
from flowkit.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.stats import Floats

GAP = 4.0
"""Steps between training and measurement, in tau_int of the observable."""

Mask = NDArray[np.bool_]


class Fold(NamedTuple):
    """Configurations that are reduced, and those that their coefficients are fitted on, both ``[n, chains]``."""

    held_out: Mask
    training: Mask


def split(target: Floats, folds: int, gap: int | None) -> tuple[list[Fold], str]:
    """Folds that hold each configuration once, and how they were made.

    Whole chains are held out where there are as many as folds, for chains do not know of each other; else stretches of
    Monte Carlo time, with a gap on both sides.

    Parameters
    ----------
    target : ndarray
        The observable, ``[n, chains]``.
    folds : int
        2 or more.
    gap : int or None
        Steps; by default `GAP` times tau_int. Given, it asks for stretches of time.

    Raises
    ------
    ValueError
        For fewer than 2 folds, and where a gap leaves nothing.
    """
    if folds < 2:
        raise ValueError(
            "Coefficients are fitted on other configurations than those that they reduce, for the residuals of a fit "
            f"are too small: take 2 folds or more; got {folds}."
        )
    n, chains = target.shape
    found = []
    if gap is None and chains >= folds:
        for one in np.array_split(np.arange(chains), folds):
            held = np.zeros((n, chains), dtype=bool)
            held[:, one] = True
            found.append(Fold(held, ~held))
        return found, f"{folds} folds of whole chains"
    if gap is None:
        tau = stats.estimate(target).tau_int if n >= stats.SHORTEST else math.nan
        gap = math.ceil(GAP * max(tau, 0.5)) if math.isfinite(tau) else n
    for one in np.array_split(np.arange(n), min(folds, n)):
        held, near = np.zeros((n, chains), dtype=bool), np.zeros((n, chains), dtype=bool)
        held[one] = True
        near[max(0, one[0] - gap) : one[-1] + gap + 1] = True
        if near.all():
            raise ValueError(
                f"{folds} folds of {n} steps with a gap of {gap} steps on both sides leave none to fit coefficients; "
                "take more steps, more chains or fewer folds, or coefficients from another ensemble."
            )
        found.append(Fold(held, ~near))
    return found, f"{len(found)} folds of steps, {gap} steps apart"


def fingerprints(x: Tensor) -> list[str]:
    """A digest of each configuration, ``[n, ...]``, in single precision, so that a copy of more digits is known too."""
    single = x.detach().cpu().to(torch.complex64 if x.is_complex() else torch.float32)
    rows = single.contiguous().resolve_conj().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows]


def require_others(name: str, trained_on: Sequence[str], x: Tensor) -> None:
    """Raise where coefficients were fitted on some of the configurations that they are to reduce.

    Raises
    ------
    EnsembleError
        That says how many.
    """
    common = len(set(trained_on) & set(fingerprints(x)))
    if common:
        raise EnsembleError(
            f"These coefficients for {name} were fitted on {common} of the {len(x)} configurations that they are to "
            "reduce, and residuals of a fit are too small; take others, or leave the coefficients out to cross-fit."
        )


def configurations(ensemble: Ensemble) -> Tensor:
    """The configurations of an ensemble, ``[n, chains, *space.shape]``.

    Raises
    ------
    EnsembleError
        Where it kept none.
    """
    if ensemble.x is None:
        raise EnsembleError("A reduction needs the configurations, and this ensemble kept none; run with keep=True.")
    return ensemble.x

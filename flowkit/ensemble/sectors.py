"""Sectors of weighted draws: what share of the theory, and of the draws, has each value of a whole number."""

from __future__ import annotations

from typing import NamedTuple

import torch

from flowkit.checks import checked
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.observables import Observable, monopoles
from flowkit.stats import Estimate


class Sector(NamedTuple):
    """One sector of weighted draws.

    Parameters
    ----------
    number : int
        The value of the observable.
    weight : Estimate
        The share of the theory, by the weights.
    draws : Estimate
        The share of the draws.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2, 2), fk.U1()), beta=2.0)
    >>> fk.ensemble.sectors(fk.importance_sample(fk.Haar(action.space), action, 100, rng=1))[0].number
    0
    """

    number: int
    weight: Estimate
    draws: Estimate


@checked
def sectors(draws: Ensemble, observable: Observable = monopoles) -> list[Sector]:
    r"""The shares of the weight and of the draws with each value of an observable, a whole number.

    A flow that seldom draws a sector has draws of large weights there, and one that never does shows a large effective
    sample size and is wrong.

    Parameters
    ----------
    draws : Ensemble
        Of `importance_sample`, which counts monopoles of U(1) links in three and more dimensions.
    observable : Observable
        Such as ``fk.observables.monopoles`` or a flux.

    Returns
    -------
    list of Sector
        By increasing number.

    Raises
    ------
    EnsembleError
        For chains, and where the observable can no longer be measured.

    Notes
    -----
    With :math:`\hat w_i = w_i / \sum_j w_j` the share of the weight and its error are

    .. math:: p_k = \sum_i \hat w_i\, [k_i = k], \qquad \sigma^2 = \sum_i \hat w_i^2\, ([k_i = k] - p_k)^2 .

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4, 4), fk.U1()), beta=2.0)
    >>> draws = fk.importance_sample(fk.photon_flow(action.space, 2.0), action, 2000, rng=1, keep=False)
    >>> shares = fk.ensemble.sectors(draws)
    >>> [one.number for one in shares[:3]], shares[0].weight.value > 0.5
    ([0, 2, 4], True)
    """
    if not draws.weighted:
        raise EnsembleError("sectors compares the weight with the draws of importance_sample; this ensemble is chains.")
    count = draws.history(observable).flatten().round()
    w = torch.softmax(draws.series["logw"].flatten().double(), 0)
    found = []
    for k in sorted(set(count.tolist())):
        inside = (count == k).double()
        shares = []
        for one in (w, torch.full_like(w, 1 / len(w))):
            share = float((one * inside).sum())
            error = float((one * (inside - share)).square().sum().sqrt())
            shares.append(Estimate(share, error, 0.5, 0.0, len(w)))
        found.append(Sector(int(k), *shares))
    return found

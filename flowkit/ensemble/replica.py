"""Means over independent runs of one theory, of whatever length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flowkit import stats
from flowkit.checks import checked
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.observables import Observable, name_of
from flowkit.stats import Estimate, Estimates
from flowkit.stats.agreement import LEVEL


@checked
def replica_mean(ensembles: Sequence[Ensemble], obs: Observable | str, *, S: float = 2.0) -> Estimate | Estimates:
    r"""The mean of an observable over independent runs of one theory, which may have different lengths.

    Runs of one length become one ensemble by `join`.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        Chains of one theory, with one interval between stored steps; at least one.
    obs : Observable or str
        As `Ensemble.mean`.
    S : float
        Window parameter of the Gamma method.

    Returns
    -------
    Estimate, or Estimates for a vector or complex numbers
        Its note has those of the runs, and says where their means disagree, by a test with a rate of false alarms of
        0.1 %.

    Raises
    ------
    EnsembleError
        For no ensembles, weighted ones, different theories or intervals, and as `Ensemble.mean`.

    Notes
    -----
    With :math:`N_i` values of each run,

    .. math:: \bar O = \frac{1}{N} \sum_i N_i \bar O_i, \qquad \sigma^2 = \sum_i (N_i / N)^2 \sigma_i^2

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> runs = [fk.run(fk.Heatbath(action), n, chains=4, thermalise=20, rng=n) for n in (200, 500)]
    >>> fk.ensemble.replica_mean(runs, fk.plaquette).within()
    True
    """
    if not ensembles:
        raise EnsembleError("replica_mean takes at least one ensemble; got none.")
    first = ensembles[0]

    def kind(one: Ensemble) -> tuple[object, ...]:
        return one.space, one.provenance.get("action"), one.provenance.get("every", 1)

    for one in ensembles:
        if one.weighted:
            raise EnsembleError("replica_mean takes chains; weighted draws are joined along their steps.")
        if kind(one) != kind(first):
            raise EnsembleError(f"Replica are of one theory and interval; got {kind(first)} and {kind(one)}.")
    found = [one.mean(obs, S=S) for one in ensembles]
    tables = [one if isinstance(one, Estimates) else {name_of(obs): one} for one in found]
    means = {name: _together([table[name] for table in tables]) for name in tables[0]}
    return Estimates(means) if isinstance(found[0], Estimates) else means[name_of(obs)]


def _together(parts: Sequence[Estimate]) -> Estimate:
    """One estimate of independent ones of the same number."""
    from scipy.special import gammaincc

    n = sum(one.n for one in parts)
    share = np.array([one.n / n for one in parts])
    value = float(share @ [one.value for one in parts])
    error = math.sqrt(float(share**2 @ [one.error**2 for one in parts]))
    tau = float(share @ [one.tau_int for one in parts])
    tau_error = math.sqrt(float(share**2 @ [one.tau_int_error**2 for one in parts]))
    notes = [one.note for one in parts]
    if len(parts) > 1 and all(one.error > 0 for one in parts):
        weights = np.array([one.error**-2 for one in parts])
        values = np.array([one.value for one in parts])
        chi2 = float(weights @ (values - weights @ values / weights.sum()) ** 2)
        if gammaincc((len(parts) - 1) / 2, chi2 / 2) < LEVEL:
            notes.append(f"the runs disagree (chi2 {chi2:.3g} of {len(parts) - 1})")
    note = "; ".join(dict.fromkeys(filter(None, notes)))
    return stats.Estimate(value, error, tau, tau_error, n, note, parts[0].exact, parts[0].every)

"""Ensembles put together: later steps of the same chains, or more chains of the same theory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from flowkit.checks import checked
from flowkit.ensemble import identity
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.ensemble.stored import OF_ALL_STEPS


@checked
def join(ensembles: Sequence[Ensemble], along: Literal["steps", "chains"]) -> Ensemble:
    """One ensemble of several of one theory.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        In order, at least one.
    along : str
        "steps": each goes on where the one before ended, chain by chain. "chains": their chains are independent and
        have the same number of steps.

    Returns
    -------
    Ensemble
        With the series that all of them have, and the configurations where all of them kept theirs.

    Raises
    ------
    EnsembleError
        For different theories, kinds, intervals between stored steps, or numbers that do not fit.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> first, second = (fk.run(fk.Heatbath(action), 50, chains=4, rng=seed) for seed in (1, 2))
    >>> fk.ensemble.join([first, second], along="chains")
    Ensemble(50 stored steps x 8 chains of Links U1 on 4x4; S, accept, topological_charge)
    """
    if not ensembles:
        raise EnsembleError("join takes at least one ensemble; got none.")
    first = ensembles[0]

    def kind(one: Ensemble) -> tuple[object, ...]:
        other = one.chains if along == "steps" else len(one)
        about = one.provenance
        return one.space, about.get("action"), one.weighted, about.get("every", 1), about.get("chained"), other

    what = ("space", "action", "weights", "interval between stored steps", "order", "number")
    for one in ensembles[1:]:
        for name, here, there in zip(what, kind(first), kind(one), strict=True):
            if here != there:
                name = {"number": "number of chains" if along == "steps" else "number of steps"}.get(name, name)
                more = "; replica_mean takes replica of any length" if name == "number of steps" else ""
                raise EnsembleError(f"Ensembles of one {name} are joined along {along}; got {here} and {there}{more}.")
    axis = ("steps", "chains").index(along)
    common = [name for name in first.series if all(name in one.series for one in ensembles)]
    series = {name: torch.cat([one.series[name] for one in ensembles], axis) for name in common}
    kept = [one.x for one in ensembles if one.x is not None]
    x = torch.cat(kept, axis) if len(kept) == len(ensembles) else None
    about = {name: one for name, one in first.provenance.items() if name not in OF_ALL_STEPS}
    invalid = sum(one.provenance.get("invalid", 0) for one in ensembles)
    about |= {"joined": len(ensembles), "along": along, "invalid": invalid}
    for name in (identity.CHAINS, identity.FIRST, identity.STRIDE):
        about.pop(name, None)
    about |= identity.joined([(one.provenance, one.series["S"]) for one in ensembles], axis)
    zeros = [set(one.provenance.get("vanishing", [])) for one in ensembles]
    about["vanishing"] = sorted(set.intersection(*zeros))
    return Ensemble(first.space, x, series, action=first.action, provenance=about, weighted=first.weighted)

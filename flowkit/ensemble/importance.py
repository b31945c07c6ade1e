"""Importance sampling: independent draws of a flow with their weights, made into an ensemble."""

from __future__ import annotations

import torch

from flowkit.actions.base import Action
from flowkit.checks import Bytes, Count, Share, checked
from flowkit.ensemble.columns import MOST_BYTES, Columns, provenance_of, room_for
from flowkit.ensemble.diagnosis import monitors, vanishing
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.ensemble.integration import logdet_error
from flowkit.observables import Observables, listed, monopoles
from flowkit.priors.base import Prior
from flowkit.tasks.in_training import frozen
from flowkit.tasks.progress import progress_bar
from flowkit.tasks.randomness import Rng, source_of


@checked
@torch.no_grad()
def importance_sample(
    flow: Prior,
    action: Action,
    n: Count,
    rng: Rng = None,
    *,
    chunk: Count = 1024,
    observe: Observables = (),
    keep: bool = True,
    progress: bool = False,
    max_bad: Share = 0.01,
    max_bytes: Bytes = MOST_BYTES,
) -> Ensemble:
    r"""n independent draws of a flow with their weights; means are reweighted to the theory.

    Parameters
    ----------
    flow : Prior
        Any prior or flow with a normalised density, one with Markov kernels too.
    action : Action
        The theory, of the same space.
    n : int
        Number of draws.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed; the seed is recorded.
    chunk : int
        Draws at once; part of what a seed means.
    observe, keep, progress, max_bytes
        As `run`.
    max_bad : float
        Share of draws without a finite weight past which this ends; they are left out and counted.

    Returns
    -------
    Ensemble
        Weighted, with the series S, logq and logw, and the number of monopoles on U(1) links in three and more
        dimensions, of which `sectors` makes a table.

    Raises
    ------
    ValueError
        For an unnormalised prior, another space, or numbers out of range.
    EnsembleError
        As `run`.

    Notes
    -----
    .. math:: \langle O \rangle = \frac{\sum_i w_i O(x_i)}{\sum_i w_i}, \qquad \log w = -S(x) - \log q(x)

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=0.5)
    >>> draws = fk.importance_sample(fk.Haar(action.space), action, 5000, rng=1)
    >>> draws.mean(fk.plaquette).within(), draws.ess().value > 0.5
    (True, True)
    """
    if flow.space != action.space or not flow.normalised:
        why = "is not normalised, so its weights are unknown" if not flow.normalised else f"lives on {flow.space}"
        raise ValueError(f"importance_sample needs a normalised flow on {action.space}; {type(flow).__name__} {why}.")
    flow = frozen(flow, "importance_sample")
    generator, seed = source_of(rng, "importance sampling", flow.device)
    observe = listed(observe)
    space = flow.space
    counts = (monopoles,) if space.kind == "links" and space.group.winding and space.ndim > 2 else ()
    observed = [*observe, *(one for one in (*monitors(space), *counts) if one not in observe)]
    columns = Columns(n, 1, observed, flow.space)
    bad = 0
    bar = progress_bar(n, progress)
    while columns.filled < n:
        fields, logq = flow.sample_and_log_prob(min(chunk, n), generator)
        S = action(fields)
        if keep and columns.x is None:
            columns.x = room_for(n, fields[:1], max_bytes)
        finite = (S + logq).isfinite() & fields.flatten(1).isfinite().all(1)
        bad += int((~finite).sum())
        if bad > max_bad * n:
            raise EnsembleError(
                f"{type(flow).__name__} gave {bad} draws without a finite weight, more than {100 * max_bad:g} % of {n}."
            )
        fields, S, logq = (t[finite][: n - columns.filled] for t in (fields, S, logq))
        columns.store(fields, {"S": S, "logq": logq, "logw": -S - logq})
        bar.update(columns.filled - bar.n)
    bar.close()
    series, _ = columns.finish()
    describe = getattr(flow, "describe", None)
    about = {"flow": describe() if describe else type(flow).__name__, "n": n, "chunk": chunk, "invalid": bad}
    about |= {"vanishing": vanishing(action, observed), "logdet_error": logdet_error(flow)}
    return Ensemble(
        flow.space,
        columns.configurations(),
        series,
        action=action,
        provenance=provenance_of(action, seed, **about),
        weighted=True,
    )

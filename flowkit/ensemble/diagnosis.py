"""What may be wrong with a mean although its error looks well: the notes of `Ensemble.mean`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from flowkit import stats
from flowkit.actions.base import Action
from flowkit.ensemble.integration import shift_note
from flowkit.geometry.space import Space
from flowkit.observables import Observable, flux, magnetization, topological_charge
from flowkit.stats import Estimate, Floats
from flowkit.stats.agreement import LEVEL

HEAVY, LOW = 0.4, 0.25
"""Pareto k of the weights above which, and ESS below which, errors cover too little: 0.57 to 0.63, as measured on
independence Metropolis of Gaussians.
"""
FAIR = 0.8
"""ESS above which a tail below `HEAVY` adds little to an error."""
RARE = 1e-3
"""<Q^2> below which other sectors than Q = 0 are not missed."""


def usual_k(ess: float, n: int) -> float:
    """The estimated Pareto k that one of twenty flows with harmless weights exceeds, for an ESS and n draws.

    A chain of independence Metropolis stays at a large weight for long, and chains that met none look well: errors
    cover too little already where k is above that of log-normal weights with the same ESS, whose errors are right. Of
    these, 5 % have an estimate above .12, .17, .24, .28, .35 at an ESS of .91, .82, .70, .56, .45 (6,400 draws).
    """
    tail = min(n / 5, 3 * np.sqrt(n))
    return float(0.07 + 0.3 * (0.85 - ess) + 2 / np.sqrt(tail))


def monitors(space: Space) -> tuple[Observable, ...]:
    """What every run measures to test itself: the slow modes and what a symmetry makes vanish.

    The magnetization on sites; on links of a group with a winding number the topological charge in two dimensions, and
    the flux through each plane in more.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.diagnosis import monitors
    >>> monitors(fk.links((4, 4, 4), fk.U1()))
    (Observable(flux_01: flux, plane 01), Observable(flux_02: flux, plane 02), Observable(flux_12: flux, plane 12))
    """
    if space.kind == "sites":
        return (magnetization,)
    if not space.group.winding or space.ndim < 2:
        return ()
    return (topological_charge,) if space.ndim == 2 else tuple(flux(mu, nu) for mu, nu in space.planes)


def vanishing(action: Action | None, observables: Sequence[Observable]) -> list[str]:
    """Names of the observables that change their sign under a symmetry of the action: their means are exactly zero.

    Found out on random fields.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.diagnosis import vanishing
    >>> vanishing(fk.Phi4(fk.sites((4, 4)), m2=-4.0, lam=1.0), [fk.magnetization, fk.phi_squared])
    ['magnetization']
    """
    if action is None or not action.symmetries:
        return []
    rng = torch.Generator().manual_seed(0)
    if action.space.kind == "links":
        x = action.space.haar(4, rng, torch.float64)
    else:
        x = torch.randn(4, *action.space.shape, generator=rng, device=rng.device, dtype=torch.float64)
    found = []
    for one in observables:
        if len(one.columns) > 1:
            continue
        value = one(action.space, x)
        size = value.abs().max()
        odd = (symmetry.odd_part(partial(one, action.space), x) for symmetry in action.symmetries)
        if size > 1e-9 and any(bool((part - value).abs().max() < 1e-9 * size) for part in odd):
            found.append(one.name)
    return found


@dataclass(frozen=True)
class Diagnosis:
    """The tests of one ensemble.

    Parameters
    ----------
    space : Space
    action : Action or None
        Gives exact values.
    zeros : collection of str
        Names of series whose mean a symmetry makes vanish.
    series : mapping of ndarray
        By name, ``[n, chains]``.
    weighted : bool
        Whether the values have weights exp(logw).
    chained : bool
        Whether they lie in the order of Markov chains; independent draws do not.
    identity : sequence of float
        The mean of `Action.schwinger_dyson` in each chain; empty where it is not known.
    logdet_error : float, optional
        What `integration.logdet_error` estimated, where a log-Jacobian is integrated.
    """

    space: Space
    action: Action | None
    zeros: Collection[str]
    series: Mapping[str, Floats]
    weighted: bool
    chained: bool
    identity: Sequence[float] = ()
    logdet_error: float | None = None

    def common(self) -> list[str]:
        """What concerns every observable."""
        found = self._weights()
        for name in self.zeros:
            found += self.broken(name, self.series[name])
        if self.weighted:
            return found
        if len(self.identity) >= stats.ENOUGH:
            off = np.array(self.identity)
            if stats.vanishes(off[None]) < LEVEL:
                value = stats.format_error(off.mean(), off.std(ddof=1) / np.sqrt(len(off)))
                found.append(f"the Schwinger-Dyson identity gives {value} in place of 0")
        if "dH" in self.series and stats.vanishes(np.expm1(-self.series["dH"])) < LEVEL / 10:
            found.append(f"<exp(-dH)> = {np.exp(-self.series['dH']).mean():.4g} in place of 1")
        return found

    @cached_property
    def action_notes(self) -> tuple[str, ...]:
        """What the action alone says of the chains."""
        return stats.agreement(self.series["S"]).notes

    def of(self, values: Floats, estimate: Estimate) -> list[str]:
        """What concerns the mean of `values`, ``[n, chains]``."""
        shift = [shift_note(self.logdet_error, float(values.std()), estimate.error)]
        if not self.chained:
            return shift
        found = shift + (list(stats.agreement(values).notes) or [f"S: {note}" for note in self.action_notes])
        return found + [note for charge in self._charges() for note in self._sectors(charge, values, estimate)]

    def _charges(self) -> list[str]:
        if self.space.kind == "sites":
            return []
        return [one.name for one in monitors(self.space) if one.name in self.series]

    def _sectors(self, charge: str, values: Floats, estimate: Estimate) -> list[str]:
        """Whether so few changes of the charge were seen that the share of its sectors moves the mean.

        c chains with k changes saw at most c + k independent sectors; their share has an error of its own.
        """
        q = self.series[charge]
        visits = q.shape[1] + int((q[1:] != q[:-1]).sum())
        if visits >= stats.CALIBRATED:
            return []
        sectors, place = np.unique(q, return_inverse=True)
        seen = f"{charge} changed {visits - q.shape[1]} times in {q.shape[1]} chains"
        if len(sectors) == 1:
            squared = self.action.exact("charge_squared") if self.action is not None else None
            missed = self.space.ndim == 2 and (squared is None or squared > RARE)
            return [f"{seen}: fields of other charges are missing"] if missed else []
        place = place.reshape(q.shape)
        counts = np.bincount(place.ravel())
        means = np.bincount(place.ravel(), values.ravel()) / counts
        between = float(np.average((means - values.mean()) ** 2, weights=counts))
        error = estimate.error if np.isfinite(estimate.error) else 0.0
        between -= (len(sectors) - 1) * error**2  # what chance alone makes of it
        share = np.sqrt(2 * max(between, 0.0) / visits)
        return [f"{seen}: their share alone makes an error of {share:.2g}"] if share > 0.5 * error else []

    def broken(self, name: str, values: Floats) -> list[str]:
        """Whether a mean that vanishes by a symmetry does not, ``[n, chains]``."""
        from scipy.special import ndtr

        if self.weighted:
            mean = stats.reweighted(values, self.series["logw"], S=2.0 if self.chained else 0.0)
            p, value = 2 * float(ndtr(-abs(mean.pull(0.0)))), mean.value
        else:
            p, value = stats.vanishes(values), float(values.mean())
        return [f"{name} is {value:.3g}, and 0 by a symmetry"] if p < LEVEL else []

    def _weights(self) -> list[str]:
        """The weights of the flow that was drawn from."""
        name = "logw" if self.weighted else "logw_proposed"
        if name not in self.series:
            return []
        logw = self.series[name]
        k, ess = stats.pareto_k(logw), stats.ess(logw).value
        limit = HEAVY if self.weighted or ess > FAIR else min(HEAVY, usual_k(ess, logw.size))
        found = [f"the weights have a heavy tail (Pareto k = {k:.2f})"] if k > limit else []
        if ess >= LOW:
            return found
        chains = "the theory is far from the one that was sampled"  # weights of chains are those of a reweighting
        far = chains if self.weighted and self.chained else "the flow is far from the theory"
        return [*found, f"{far} (ESS {ess:.2g})"]

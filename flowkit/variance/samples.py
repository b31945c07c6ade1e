"""What a reduction takes: an ensemble and its theory; and the columns T grad W_k on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.ensemble import Ensemble
from flowkit.ensemble.files import EnsembleError
from flowkit.stats import Estimate, Floats
from flowkit.variance.basis import Basis
from flowkit.variance.splits import configurations

SITES = 4096
"""Sites of the fields in one batch: intermediate products stay in the cache of a core."""


class Sample:
    """Configurations of one theory with their action.

    Parameters
    ----------
    source : Ensemble or Tensor
        An ensemble that kept its configurations, or fields ``[n, chains, *space.shape]``.
    action : Action, optional
        Of the theory; by default that of the ensemble.

    Raises
    ------
    EnsembleError
        Where no configurations were kept, or no action is known.
    """

    def __init__(self, source: Ensemble | Tensor, action: Action | None = None):
        if isinstance(source, Ensemble):
            action = source.action if action is None else action
            if action is None:
                raise EnsembleError("A reduction needs the action of the theory; this ensemble has none; pass action=.")
            self.ensemble = source
        else:
            if action is None:
                raise EnsembleError("A reduction of a tensor of fields needs the action of their theory; pass action=.")
            if source.dim() != 2 + len(action.space.shape) or not len(source):
                shape = ", ".join(map(str, ("n", "chains", *action.space.shape)))
                raise EnsembleError(f"A reduction takes fields [{shape}]; got {list(source.shape)}.")
            source = source.detach()
            S = torch.stack([action(piece) for piece in source]).double()
            self.ensemble = Ensemble(action.space, source, {"S": S}, action=action, provenance={"n": len(S)})
        if action.space != self.ensemble.space:
            raise EnsembleError(f"The action lives on {action.space}, the configurations on {self.ensemble.space}.")
        self.action = action
        self.x = configurations(self.ensemble)
        self.seconds = 0.0
        """Seconds that reductions took, on the same clock as those of a run."""

    @property
    def shape(self) -> tuple[int, int]:
        """n, chains."""
        return len(self.ensemble), self.ensemble.chains

    @property
    def weights(self) -> Floats | None:
        """exp(logw) up to a factor, ``[n, chains]``; None for chains of the theory itself."""
        if not self.ensemble.weighted:
            return None
        logw = self.ensemble.series["logw"].numpy()
        found: Floats = np.exp(logw - logw.max())
        return found

    @property
    def generation(self) -> float:
        """Seconds in which one of the configurations was generated; NaN where the ensemble does not know."""
        seconds = self.ensemble.provenance.get("seconds")
        return float("nan") if seconds is None else seconds / (self.shape[0] * self.shape[1])

    def pieces(self, rows: Tensor | None = None) -> Iterator[Tensor]:
        """Batches of fields in double precision, of all configurations or of some in the order of their numbers."""
        fields = self.x.flatten(0, 1)
        size = max(1, SITES // self.ensemble.space.volume)
        for part in (torch.arange(len(fields)) if rows is None else rows).split(size):  # type: ignore[no-untyped-call]
            one = fields[part]
            yield one.to(torch.complex128 if one.is_complex() else torch.float64)

    def require(self, basis: Basis) -> None:
        """Raise EnsembleError for a basis on another space."""
        if basis.space != self.ensemble.space:
            raise EnsembleError(f"The basis lives on {basis.space}, the configurations on {self.ensemble.space}.")

    def columns(self, basis: Basis) -> Floats:
        """T grad W_k on all configurations, ``[n, chains, *axes, K]``."""
        return self.of(lambda x: basis.stein(x, self.action.force(x)))

    def of(self, function: Callable[[Tensor], Tensor], rows: Tensor | None = None) -> Floats:
        """A function of batches of fields, ``[n, chains, ...]``, or ``[rows, ...]``; its seconds are counted."""
        start = time.perf_counter()
        with torch.no_grad():
            found = torch.cat([function(x) for x in self.pieces(rows)]).double()
        self.seconds += time.perf_counter() - start
        if rows is None:
            found = found.view(*self.shape, *found.shape[1:])
        if not bool(found.isfinite().all()):
            raise EnsembleError("A reduction gives NaN or infinity on these configurations.")
        return found.numpy()

    def estimate(self, name: str, series: Floats) -> Estimate:
        """The mean of a series with the error, the exact value and the notes of `Ensemble.mean`."""
        e = self.ensemble
        with_it = {**e.series, name: torch.from_numpy(np.ascontiguousarray(series))}
        about = e.provenance or {"n": len(e)}
        found = Ensemble(e.space, None, with_it, action=self.action, provenance=about, weighted=e.weighted)
        return found.mean(name)

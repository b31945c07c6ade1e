"""Ensembles: configurations and series of many chains, with honest errors, saved and loaded whole.

This file is long because all that a user asks of an ensemble is a method of one class with full docstrings.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from flowkit import stats
from flowkit.actions.base import Action
from flowkit.checks import checked
from flowkit.ensemble import files
from flowkit.ensemble.diagnosis import Diagnosis, vanishing
from flowkit.ensemble.files import MOST_BYTES, EnsembleError, PathLike, check_finite, check_real, row_bytes
from flowkit.ensemble.integration import shift_note
from flowkit.geometry.space import Space
from flowkit.observables import NAMES, Observable, known, name_of
from flowkit.priors.base import Prior
from flowkit.stats import Estimate
from flowkit.storage import zarr_files


class Ensemble:
    """Configurations of one theory in Monte Carlo time, and numbers measured on each.

    `run`, `Job` and `importance_sample` make them, and `load` reads them.

    Parameters
    ----------
    space : Space
        Of the fields.
    x : Tensor or None
        Fields ``[n, chains, *space.shape]`` on the CPU; None where a run kept none.
    series : dict of Tensor
        By name, float64 ``[n, chains]``: S, accept (the rate since the stored step before), logw and logq where they
        are known, and what was observed.
    action : Action, optional
        Gives the exact values to compare with.
    provenance : dict, optional
        Plain data: how the ensemble came about.
    weighted : bool
        False for chains of the theory, True for independent draws of a flow with weights exp(logw).

    Raises
    ------
    EnsembleError
        For wrong shapes, a missing S (and logw where weighted), complex series, NaN or infinity.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 300, chains=16, thermalise=20, rng=1)
    >>> ensemble
    Ensemble(300 stored steps x 16 chains of Links U1 on 4x4; S, accept, topological_charge)
    >>> ensemble.mean(fk.plaquette).within()                # within two errors of the exact value
    True
    """

    @checked
    def __init__(
        self,
        space: Space,
        x: Tensor | None,
        series: Mapping[str, Tensor],
        *,
        action: Action | None = None,
        provenance: dict[str, Any] | None = None,
        weighted: bool = False,
    ):
        missing = [name for name in (["S", "logw"] if weighted else ["S"]) if name not in series]
        if missing:
            raise EnsembleError(f"An ensemble needs the series {missing[0]}; got {', '.join(series) or 'none'}.")
        shape = series["S"].shape
        for name, values in series.items():
            if values.dim() != 2 or values.shape != shape or 0 in shape:
                raise EnsembleError(f"Series are [n, chains] as S, {list(shape)}; {name} is {list(values.shape)}.")
            check_real(name, values)
            check_finite(name, values)
        if provenance is None and shape[1] > shape[0] > 1:
            warnings.warn(
                f"Series are [n, chains]; these have {shape[0]} steps of {shape[1]} chains. Were they meant the other "
                "way round, errors and autocorrelation times are wrong.",
                stacklevel=3,
            )
        if x is not None:
            if x.shape[:2] != shape:
                raise EnsembleError(f"Configurations are [n, chains, ...] with S {list(shape)}; got {list(x.shape)}.")
            try:
                space.check(x.flatten(0, 1))
            except (TypeError, ValueError) as error:
                raise EnsembleError(str(error)) from error
            check_finite("x", x)
        self.space, self.x, self.series, self.action = space, x, dict(series), action
        self.provenance, self.weighted = provenance or {}, weighted

    def __len__(self) -> int:
        """Number of stored steps."""
        return len(self.series["S"])

    @property
    def chains(self) -> int:
        """Number of chains."""
        return self.series["S"].shape[1]

    def history(self, obs: Observable | str) -> Tensor:
        """An observable or a series in Monte Carlo time: float64 ``[n, chains]``.

        Parameters
        ----------
        obs : Observable or str
            What was observed or, where the configurations were kept, any observable; by itself, or by the name of a
            series or of an observable of this library.

        Raises
        ------
        EnsembleError
            Where it was not observed and the configurations were not kept, or gives NaN.
        TypeError
            For anything but an observable or a name, such as a bare function.
        """
        name = name_of(obs)
        if name in self.series:
            return self.series[name]
        found = known(obs) if isinstance(obs, str) else obs
        has = f"This ensemble has the series {', '.join(self.series)}"
        if found is None:
            raise EnsembleError(f"{has}, and flowkit knows the observables {NAMES}; got {name!r}.")
        if self.x is None:
            raise EnsembleError(f"{has} and kept no configurations; run with keep=True or observe it; got {name!r}.")
        pieces = [found(self.space, piece) for piece in self._pieces()]
        values = torch.cat(pieces).double().view(len(self), self.chains)
        check_finite(name, values)
        return values

    def mean(self, obs: Observable | str, *, S: float = 2.0) -> Estimate:
        """The mean in the theory with its error, and the exact value where the action knows one.

        tau_int is in units of the stored steps. The note of the result says what is wrong: chains that were not
        thermalised, that disagree or never moved, a charge that hardly changed, an identity or a symmetry of the theory
        that fails, weights with a heavy tail. Each is a test with a rate of false alarms of 0.1 %.

        Parameters
        ----------
        obs : Observable or str
            As `history`.
        S : float
            Window parameter of the Gamma method, see `stats.estimate`; unused for weighted draws, which are reweighted
            and independent by construction.

        Raises
        ------
        EnsembleError, TypeError
            As `history`.
        """
        values = self.history(obs).numpy()
        if self.weighted:
            result = stats.reweighted(values, self.series["logw"].numpy(), S=0.0)
        else:
            result = stats.estimate(values, S=S)
        name = name_of(obs)
        exact = self.action.exact(name) if self.action else None
        notes = [result.note, *self._diagnosis.of(values, result), *self._common_notes]
        if exact is None and (name in self._zeros or (isinstance(obs, Observable) and vanishing(self.action, [obs]))):
            exact = 0.0
            notes += self._diagnosis.broken(name, values)
        note = "; ".join(dict.fromkeys(filter(None, notes)))
        return replace(result, exact=exact, every=self.provenance.get("every", 1), note=note)

    @cached_property
    def _diagnosis(self) -> Diagnosis:
        series = {name: values.numpy() for name, values in self.series.items()}
        zeros = [name for name in self._zeros if name in series]
        tested = self.provenance.get("schwinger_dyson", [])
        error = self.provenance.get("logdet_error")
        return Diagnosis(self.space, self.action, zeros, series, self.weighted, tested, error)

    @property
    def _zeros(self) -> list[str]:
        """Names of the observables that a symmetry makes vanish, as the run found them."""
        found: list[str] = self.provenance.get("vanishing", [])
        return found

    @cached_property
    def _common_notes(self) -> list[str]:
        return self._diagnosis.common()

    def log_z(self) -> Estimate:
        """ln Z of the theory from weighted draws of a flow, with the exact value where the action knows it.

        Raises
        ------
        EnsembleError
            For chains, whose proposals alone have weights.
        """
        if not self.weighted:
            raise EnsembleError("ln Z needs the weighted draws of importance_sample; this ensemble holds chains.")
        result = stats.log_z(self.series["logw"].numpy())
        shift = shift_note(self.provenance.get("logdet_error"), 1.0, result.error)
        note = "; ".join(filter(None, [result.note, shift, *self._common_notes]))
        return replace(result, exact=self.action.log_z() if self.action else None, note=note)

    def ess(self) -> Estimate:
        """The effective sample size of the flow behind this ensemble, <w>² / <w²>, in (0, 1].

        Raises
        ------
        EnsembleError
            Where no flow was drawn from.
        """
        name = "logw" if self.weighted else "logw_proposed"
        if name not in self.series:
            raise EnsembleError(f"ESS is a property of a flow's draws; this ensemble has {', '.join(self.series)}.")
        return stats.ess(self.series[name].flatten().numpy())

    @torch.no_grad()
    def logw_under(self, flow: Prior) -> Tensor:
        """log w = -S - log q of these configurations under a flow, ``[n, chains]``: what `stats.tail_check` compares.

        Raises
        ------
        EnsembleError
            Where no configurations were kept, or log q is not finite.
        ValueError
            For a flow on another space, or one with Markov kernels.
        """
        if self.x is None:
            raise EnsembleError("log w needs the configurations, and this ensemble kept none; run with keep=True.")
        if flow.space != self.space:
            raise ValueError(f"The flow lives on {flow.space}, this ensemble on {self.space}.")
        dtype = self.space.group.field_dtype(flow.dtype)
        logq = torch.cat([flow.log_prob(piece.to(flow.device, dtype)).cpu() for piece in self._pieces()])
        logw = -self.series["S"] - logq.double().view(len(self), self.chains)
        check_finite("logw", logw)
        return logw

    def _pieces(self) -> Iterator[Tensor]:
        assert self.x is not None  # the callers have said so in a sentence
        fields = self.x.flatten(0, 1)
        rows = max(1, zarr_files.CHUNK // row_bytes(fields))
        for first in range(0, len(fields), rows):
            yield fields[first : first + rows]

    def save(self, path: PathLike) -> str:
        """Commit the ensemble to a folder; returns the name of the commit.

        A reader of the folder sees this ensemble or the one before, never a mixture. Other zarr tools open
        ``path/<commit>``, a zarr v3 group: array x, array series [names, n, chains] with the names in its attributes,
        every chunk with its crc32c.

        Raises
        ------
        EnsembleError
            For a full disk, a second writer, or a folder that holds something else; what was saved before stays whole.
        """
        about = {"weighted": self.weighted, "provenance": self.provenance}
        attributes = {"space": self.space.describe(), "series": list(self.series), **about}
        arrays = {"series": torch.stack(list(self.series.values())).double().numpy()}
        if self.x is not None:
            arrays["x"] = self.x.contiguous().numpy()
        return files.write(path, attributes, arrays)

    @classmethod
    def load(
        cls, path: PathLike, commit: str | None = None, action: Action | None = None, *, max_bytes: int = MOST_BYTES
    ) -> Ensemble:
        """The ensemble that was saved in the folder `path`.

        Parameters
        ----------
        commit : str, optional
            Name of the commit; the last one by default.
        action : Action, optional
            Gives the exact values again; it has to be the one that the ensemble was made with.
        max_bytes : int
            Memory that the configurations may take, and the series as much.

        Raises
        ------
        EnsembleError
            Where anything is missing, damaged, or not what `save` writes. The message names the file and, where there
            is one, a commit that is whole.
        """
        with files.reading(path):
            attributes, arrays = files.read(path, commit, max_bytes)
            x = torch.from_numpy(arrays["x"]) if "x" in arrays else None
            series = dict(zip(attributes["series"], torch.from_numpy(arrays["series"]).unbind(0), strict=True))
            space, provenance = Space.from_description(attributes["space"]), attributes["provenance"]
            weighted = attributes["weighted"]
            ensemble = cls(space, x, series, action=action, provenance=provenance, weighted=weighted)
        if action is not None and not action.identified:
            raise EnsembleError(
                f"{path} is of {provenance.get('action')}; {type(action).__name__} does not list all that it is made "
                "with in `couplings`, so that it cannot be told from others. Load without an action, or list them."
            )
        if action is not None and repr(action) != provenance.get("action"):
            raise EnsembleError(f"{path} holds an ensemble of {provenance.get('action')}; {action!r} was given.")
        return ensemble

    def __repr__(self) -> str:
        what = "weighted draws" if self.weighted else f"stored steps x {self.chains} chains"
        kept = "" if self.x is not None else "; no configurations"
        bad = self.provenance.get("invalid", 0)
        return (
            f"Ensemble({len(self)} {what} of {self.space}; {', '.join(self.series)}{kept}"
            f"{f'; {bad} invalid proposals' if bad else ''})"
        )

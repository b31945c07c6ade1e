"""Ensembles: configurations and series of many chains, with honest errors, saved and loaded whole.

This file is long because all that a user asks of an ensemble is a method of one class with full docstrings.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from flowkit import stats
from flowkit.actions.base import Action
from flowkit.checks import checked
from flowkit.ensemble import derived, files
from flowkit.ensemble.diagnosis import Diagnosis, vanishing
from flowkit.ensemble.files import MOST_BYTES, EnsembleError, PathLike, check_finite, check_real, row_bytes
from flowkit.ensemble.integration import shift_note
from flowkit.geometry.space import Space
from flowkit.observables import NAMES, Observable, known, name_of
from flowkit.priors.base import Prior
from flowkit.stats import Estimate, Estimates, Floats
from flowkit.storage import zarr_files

OF_ALL_STEPS = ("n", "seconds", "invalid", "left_out", "schwinger_dyson", "ended")
"""What the provenance says of all steps together, and what a part of them does not keep."""


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

    def __getitem__(self, steps: slice) -> Ensemble:
        """A range of stored steps of all chains: ``ensemble[100:]``, and every tenth by ``ensemble[::10]``.

        Raises
        ------
        EnsembleError
            For what is no range forward in time, or holds no step.

        Examples
        --------
        >>> import flowkit as fk
        >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
        >>> ensemble = fk.run(fk.Heatbath(action), 100, chains=4, rng=1)
        >>> len(ensemble[20:]), len(ensemble[::10])
        (80, 10)
        """
        if not isinstance(steps, slice) or (steps.step or 1) < 1:
            raise EnsembleError(
                f"Steps of an ensemble are taken by a range such as [100:] or [::10]; got {steps!r:.80}."
            )
        series = {name: one[steps] for name, one in self.series.items()}
        if not len(series["S"]):
            raise EnsembleError(f"The range {steps.start}:{steps.stop} holds none of the {len(self)} stored steps.")
        about = {name: one for name, one in self.provenance.items() if name not in OF_ALL_STEPS}
        about["every"] = about.get("every", 1) * (steps.step or 1)
        x = None if self.x is None else self.x[steps]
        return Ensemble(self.space, x, series, action=self.action, provenance=about, weighted=self.weighted)

    @property
    def chains(self) -> int:
        """Number of chains."""
        return self.series["S"].shape[1]

    def history(self, obs: Observable | str) -> Tensor:
        """An observable or a series in Monte Carlo time: float64 ``[n, chains]``.

        That of a vector is ``[n, chains, components]``, and complex numbers are complex128.

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
        numbers = self._numbers(obs)
        parts, first = list(numbers.values()), next(iter(numbers))
        if first == name_of(obs):
            return parts[0]
        if first.startswith("Re "):
            half = len(parts) // 2
            parts = [torch.complex(re, im) for re, im in zip(parts[:half], parts[half:], strict=True)]
        return torch.stack(parts, 2) if first.endswith("[0]") else parts[0]

    def _numbers(self, obs: Observable | str) -> dict[str, Tensor]:
        """The series ``[n, chains]`` of an observable, one for each of its columns."""
        name = name_of(obs)
        columns = obs.columns if isinstance(obs, Observable) else (name,)
        if isinstance(obs, str) and name not in self.series:  # a vector that was read with an ensemble
            of_it = re.compile(rf"(Re |Im )?{re.escape(name)}(\[\d+\])?")
            columns = tuple(filter(of_it.fullmatch, self.series)) or columns
        if all(column in self.series for column in columns):
            return {column: self.series[column] for column in columns}
        found = known(obs) if isinstance(obs, str) else obs
        has = f"This ensemble has the series {', '.join(self.series)}"
        if found is None:
            raise EnsembleError(f"{has}, and flowkit knows the observables {NAMES}; got {name!r}.")
        if self.x is None:
            raise EnsembleError(f"{has} and kept no configurations; run with keep=True or observe it; got {name!r}.")
        pieces = [found.measure(self.space, piece) for piece in self._pieces()]
        numbers = {column: torch.cat([piece[column] for piece in pieces]).double() for column in found.columns}
        for column, values in numbers.items():
            check_finite(column, values)
        return {column: values.view(len(self), self.chains) for column, values in numbers.items()}

    @overload
    def mean(self, obs: str | Observable, *, S: float = ...) -> Estimate: ...
    @overload
    def mean(self, obs: list[Observable | str], *, S: float = ...) -> Estimates: ...
    def mean(self, obs: Observable | str | list[Observable | str], *, S: float = 2.0) -> Estimate | Estimates:
        """The mean in the theory with its error, and the exact value where the action knows one.

        tau_int is in units of the stored steps. The note of the result says what is wrong: chains that were not
        thermalised, that disagree or never moved, a charge that hardly changed, an identity or a symmetry of the theory
        that fails, weights with a heavy tail. Each is a test with a rate of false alarms of 0.1 %.

        Parameters
        ----------
        obs : Observable or str, or a list of them
            As `history`.
        S : float
            Window parameter of the Gamma method, see `stats.estimate`; unused for draws of a flow, which are
            independent by construction.

        Returns
        -------
        Estimate or Estimates
            Estimates, which print as a table, for a list and for a vector or complex numbers.

        Raises
        ------
        EnsembleError, TypeError
            As `history`.
        """
        found = {}
        for one in obs if isinstance(obs, list) else [obs]:
            numbers = self._numbers(one)
            for column, values in numbers.items():
                named = one if len(numbers) == 1 else column
                found[column] = self._mean(column, named, values.numpy(), S)
        if isinstance(obs, list) or len(found) > 1:
            return Estimates(found)
        return next(iter(found.values()))

    def _mean(self, name: str, obs: Observable | str, values: Floats, S: float) -> Estimate:
        if self.weighted:
            result = stats.reweighted(values, self.series["logw"].numpy(), S=self._window(S))
        else:
            result = stats.estimate(values, S=S)
        exact = self.action.exact(name) if self.action else None
        notes = [result.note, *self._diagnosis.of(values, result), *self._common_notes]
        if exact is None and (name in self._zeros or (isinstance(obs, Observable) and vanishing(self.action, [obs]))):
            exact = 0.0
            notes += self._diagnosis.broken(name, values)
        note = "; ".join(dict.fromkeys(filter(None, notes)))
        return replace(result, exact=exact, every=self.provenance.get("every", 1), note=note)

    def obs(self, obs: Observable | str, *, S: float = 2.0) -> Any:
        """The mean as an `Obs` of pyerrors, with its fluctuations: what fits, effective masses and plots start from.

        The chains are the replica of one ensemble, and weights are included. Obs of one ensemble, loaded again too, are
        correlated; those of two ensembles are taken as independent, a reweighted one and its source too.

        Parameters
        ----------
        obs : Observable or str
            As `history`.
        S : float
            Window parameter of the Gamma method, also of what pyerrors derives from it.

        Returns
        -------
        pyerrors.Obs, or ndarray of them
            ``[components]`` for a vector; `CObs` where it is complex.

        Raises
        ------
        EnsembleError, TypeError
            As `history`.

        Examples
        --------
        The ratio of two means, and its error:

        >>> import flowkit as fk
        >>> action = fk.Wilson(fk.links((8, 8), fk.U1()), beta=2.0)
        >>> ensemble = fk.run(fk.Heatbath(action), 300, chains=8, thermalise=20, rng=1)
        >>> ratio = ensemble.obs(fk.wilson_loop(2, 2)) / ensemble.obs(fk.plaquette) ** 4
        >>> ratio.gamma_method()
        >>> bool(abs(ratio.value - 1) < 3 * ratio.dvalue)   # the area law of two dimensions
        True
        """
        import pyerrors

        numbers = self._numbers(obs)
        logw = self.series["logw"].numpy() if self.weighted else None
        name = derived.name_of_series(self.series["S"].numpy())
        found = [derived.as_obs(name, one.numpy(), logw, self._window(S)) for one in numbers.values()]
        first, half = next(iter(numbers)), len(found) // 2
        if first.startswith("Re ") and first != name_of(obs):
            found = [pyerrors.CObs(re, im) for re, im in zip(found[:half], found[half:], strict=True)]
        return np.array(found, dtype=object) if first.endswith("[0]") and first != name_of(obs) else found[0]

    def derived(self, function: Callable[..., Any], obs: Sequence[Observable | str], *, S: float = 2.0) -> Any:
        r"""A function of means, with the error of their correlated fluctuations to first order.

        Parameters
        ----------
        function : callable
            Of one mean for each of `obs`, numbers or arrays ``[components]``; made of operators and of functions of
            numpy, which autograd derives. It returns a number or an array.
        obs : sequence of Observable or str
            As `history`; real.
        S : float
            Window parameter of the Gamma method.

        Returns
        -------
        Estimate, or a list of them
            Its note is about the error alone; those of the means say what is wrong with the chains.

        Raises
        ------
        EnsembleError, TypeError
            As `history`, and for a function that does not return numbers.

        Notes
        -----
        The error is that of the mean of :math:`\sum_k \partial_k f(\bar O)\, (O_k - \bar O_k)`.

        Examples
        --------
        The Binder cumulant of a free field, which vanishes in a large volume:

        >>> import flowkit as fk
        >>> action = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.0)
        >>> m2 = fk.Observable("m2", "<m²>", lambda space, x: x.mean((1, 2, 3)) ** 2)
        >>> m4 = fk.Observable("m4", "<m⁴>", lambda space, x: x.mean((1, 2, 3)) ** 4)
        >>> ensemble = fk.run(fk.HMC(action), 300, chains=16, thermalise=50, rng=1)
        >>> binder = ensemble.derived(lambda m2, m4: 1 - m4 / (3 * m2**2), [m2, m4])
        >>> binder.within(exact=0.0)
        True
        """
        observed = [np.asarray(self.obs(one, S=S), dtype=object) for one in obs]
        worth = 1.0
        if self.weighted:
            logw = self.series["logw"].numpy()
            worth = float(stats.effective(np.exp(logw - logw.max())))
        found = [
            stats.linearised(value, series, self._window(S), worth)
            for value, series in derived.fluctuations(function, observed, (len(self), self.chains))
        ]
        every = self.provenance.get("every", 1)
        found = [replace(one, every=every) for one in found]
        return found if len(found) > 1 else found[0]

    def reweight(self, action: Action) -> Ensemble:
        r"""The same configurations as an ensemble of a nearby theory, such as one with another coupling.

        Means, errors and notes are those of weighted values; `ess` says how near the theory is.

        Parameters
        ----------
        action : Action
            Of the same space.

        Raises
        ------
        EnsembleError
            Where no configurations were kept.
        ValueError
            For another space.

        Notes
        -----
        .. math:: w \propto e^{S(x) - S'(x)}, \qquad
                  \langle O \rangle' = \frac{\langle w O \rangle}{\langle w \rangle}

        Examples
        --------
        >>> import flowkit as fk
        >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
        >>> ensemble = fk.run(fk.Heatbath(action), 500, chains=8, thermalise=20, rng=1)
        >>> nearby = ensemble.reweight(action.at(beta=2.1))
        >>> nearby.ess().value > 0.5, nearby.mean(fk.plaquette).within()
        (True, True)
        """
        if self.x is None:
            raise EnsembleError(
                "Reweighting needs the configurations, and this ensemble kept none; run with keep=True."
            )
        if action.space != self.space:
            raise ValueError(f"The action lives on {action.space}, this ensemble on {self.space}.")
        with torch.no_grad():
            S = torch.cat([action(piece) for piece in self._pieces()]).double().view(len(self), self.chains)
        logw = self.series["S"] - S + (self.series["logw"] if self.weighted else 0.0)
        dropped = ("logq", "logw_proposed", "accept", "dH")
        series = {name: one for name, one in self.series.items() if name not in dropped} | {"S": S, "logw": logw}
        about = {name: one for name, one in self.provenance.items() if name != "schwinger_dyson"}
        about |= {"action": repr(action), "reweighted_from": self.provenance.get("action"), "chained": self._chained}
        monitored = [one for one in map(known, self._zeros) if one is not None]
        about["vanishing"] = vanishing(action, monitored)
        return Ensemble(self.space, self.x, series, action=action, provenance=about, weighted=True)

    @property
    def _chained(self) -> bool:
        """Whether the values lie in the order of Markov chains: they do but for independent draws of a flow."""
        return bool(self.provenance.get("chained", not self.weighted))

    def _window(self, S: float) -> float:
        """The window parameter of the Gamma method, 0 for independent values."""
        return S if self._chained else 0.0

    @cached_property
    def _diagnosis(self) -> Diagnosis:
        series = {name: values.numpy() for name, values in self.series.items()}
        zeros = [name for name in self._zeros if name in series]
        tested = self.provenance.get("schwinger_dyson", [])
        error = self.provenance.get("logdet_error")
        return Diagnosis(self.space, self.action, zeros, series, self.weighted, self._chained, tested, error)

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
        if self._chained:
            raise EnsembleError("ln Z needs independent draws; reweighted chains know a ratio of Z alone.")
        result = stats.log_z(self.series["logw"].numpy())
        shift = shift_note(self.provenance.get("logdet_error"), 1.0, result.error)
        note = "; ".join(filter(None, [result.note, shift, *self._common_notes]))
        return replace(result, exact=self.action.log_z() if self.action else None, note=note)

    def ess(self) -> Estimate:
        """The effective sample size of the flow behind this ensemble, <w>² / <w²>, in (0, 1].

        Raises
        ------
        EnsembleError
            Where no flow was drawn from and nothing was reweighted.
        """
        name = "logw" if self.weighted else "logw_proposed"
        if name not in self.series:
            raise EnsembleError(f"ESS is a property of a flow's draws; this ensemble has {', '.join(self.series)}.")
        return stats.ess(self.series[name].numpy(), S=self._window(2.0) if self.weighted else 0.0)

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

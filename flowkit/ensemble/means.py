"""Means of an ensemble with their errors, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from flowkit import stats
from flowkit.ensemble import derived, identity
from flowkit.ensemble.diagnosis import Diagnosis, vanishing
from flowkit.ensemble.files import EnsembleError, check_finite
from flowkit.ensemble.integration import shift_note
from flowkit.ensemble.stored import Stored
from flowkit.ensemble.vectors import assembled
from flowkit.observables import Observable
from flowkit.priors.base import Prior
from flowkit.stats import Estimate, Estimates, Floats


class Means(Stored):
    """An ensemble with the means of its observables; `Ensemble` has its parameters."""

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

        The chains are the replica of one ensemble, and weights are included. Obs of one run are correlated, also those
        of ranges of its steps, of what was reweighted or continued, and of what was loaded again. Those of two runs are
        taken as independent, and so is a joined ensemble.

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

        logw = self.series["logw"].numpy() if self.weighted else None
        name, places = identity.name_of(self.provenance, self.series["S"]), identity.steps(self.provenance, len(self))
        numbers = self._numbers(obs).values()
        found = [derived.as_obs(name, one.numpy(), logw, self._window(S), places) for one in numbers]
        return assembled(found, self._form(obs), pyerrors.CObs, lambda parts: np.array(parts, dtype=object))

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

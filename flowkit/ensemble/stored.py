"""What an ensemble holds: configurations and series of many chains, and ranges of their steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import checked
from flowkit.ensemble import identity
from flowkit.ensemble.files import EnsembleError, check_finite, check_real, row_bytes
from flowkit.ensemble.vectors import Form, assembled, form_of
from flowkit.geometry.space import Space
from flowkit.observables import NAMES, Observable, known, name_of
from flowkit.storage import zarr_files

OF_ALL_STEPS = ("n", "seconds", "invalid", "left_out", "schwinger_dyson", "ended")
"""What the provenance says of all steps together, and what a part of them does not keep."""


class Stored:
    """The numbers of an ensemble; `Ensemble` has its parameters."""

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

    def __getitem__(self, steps: slice) -> Self:
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
        about |= identity.part(self.provenance, self.series["S"], range(len(self))[steps])
        x = None if self.x is None else self.x[steps]
        return type(self)(self.space, x, series, action=self.action, provenance=about, weighted=self.weighted)

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
        form, numbers = self._form(obs), self._numbers(obs)
        found: Tensor = assembled(list(numbers.values()), form, torch.complex, lambda parts: torch.stack(parts, 2))
        return found

    def _form(self, obs: Observable | str) -> Form:
        """What the numbers of an observable are."""
        if isinstance(obs, str) and (form := form_of(obs, self.series)) is not None:
            return form
        found = known(obs) if isinstance(obs, str) else obs
        return Form(name_of(obs)) if found is None else Form(name_of(found), found.components, found.complex)

    def _numbers(self, obs: Observable | str) -> dict[str, Tensor]:
        """The series ``[n, chains]`` of an observable, one for each of its columns."""
        name, columns = name_of(obs), self._form(obs).columns
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

    @property
    def _chained(self) -> bool:
        """Whether the values lie in the order of Markov chains: they do but for independent draws of a flow."""
        return bool(self.provenance.get("chained", not self.weighted))

    def _window(self, S: float) -> float:
        """The window parameter of the Gamma method, 0 for independent values."""
        return S if self._chained else 0.0

    def _pieces(self) -> Iterator[Tensor]:
        assert self.x is not None  # the callers have said so in a sentence
        fields = self.x.flatten(0, 1)
        rows = max(1, zarr_files.CHUNK // row_bytes(fields))
        for first in range(0, len(fields), rows):
            yield fields[first : first + rows]

"""Observables by their names."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.observables.base import Observable, name_of
from flowkit.observables.library import (
    charge_squared,
    flux,
    magnetization,
    monopoles,
    phi_squared,
    plaquette,
    polyakov,
    susceptibility,
    topological_charge,
    trace,
    wilson_loop,
)
from flowkit.observables.two_point import correlator, magnetization_power, structure_factor

_ALL = (plaquette, trace, topological_charge, charge_squared, monopoles, magnetization, phi_squared, susceptibility)
_NAMED = {one.name: one for one in _ALL}
_FAMILIES: dict[str, Callable[..., Observable]] = {
    r"wilson_loop_([1-9]\d*)x([1-9]\d*)": wilson_loop,
    r"wilson_loop_([1-9]\d*)x([1-9]\d*)_(\d)(\d)": lambda r, t, mu, nu: wilson_loop(r, t, (mu, nu)),
    r"flux_(\d)(\d)": flux,
    r"polyakov_(\d)(?:_(imaginary|modulus))?": polyakov,
    r"correlator_(\d+)_(\d)(?:_p((?:_-?\d+)+))?": lambda t, time, p="": correlator(t, time, _whole(p)),
    r"structure_factor((?:_-?\d+)+)": lambda p: structure_factor(_whole(p)),
    r"magnetization_power_([1-9]\d*)": magnetization_power,
}
_FORMS = "wilson_loop_RxT wilson_loop_RxT_MUNU flux_MUNU polyakov_MU polyakov_MU_imaginary polyakov_MU_modulus"
_FORMS += " correlator_T_MU structure_factor_K_K magnetization_power_N"
NAMES = ", ".join([*_NAMED, *_FORMS.split()])
"""Of all observables here, as messages list them."""


def _whole(text: str) -> tuple[int, ...]:
    return tuple(int(k) for k in text.split("_") if k)


def known(name: str) -> Observable | None:
    """The observable of this library that has the name, or None.

    Examples
    --------
    >>> from flowkit.observables import known
    >>> known("wilson_loop_2x3")
    Observable(wilson_loop_2x3: Wilson loop 2×3)
    """
    for pattern, make in _FAMILIES.items():
        if found := re.fullmatch(pattern, name):
            given = [one for one in found.groups() if one is not None]
            return make(*(int(one) if one.isdecimal() else one for one in given))
    return _NAMED.get(name)


def as_observable(observable: Observable | str) -> Observable:
    """The observable itself, or the one of this library that has the name.

    Raises
    ------
    ValueError
        For a name that is not known, with the nearest that is.
    TypeError
        For anything but an observable or a name.
    """
    name = name_of(observable)
    found = known(name) if isinstance(observable, str) else observable
    if found is None:
        near = difflib.get_close_matches(name, _NAMED, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"flowkit knows the observables {NAMES}; got {name!r}.{hint}")
    return found


def listed(observe: Iterable[Observable | str]) -> tuple[Observable, ...]:
    """The observables of a list of observables and names.

    Raises
    ------
    TypeError
        For one alone, and for whatever else is no list of observables.
    ValueError
        For a name that is not known.
    """
    if not isinstance(observe, Iterable) or isinstance(observe, (str, Tensor)):
        raise TypeError(f"Observables come as a list, such as [fk.plaquette]; got {observe!r}.")
    return tuple(as_observable(one) for one in observe)


Observables = Annotated[Sequence[Observable | str], listed]
"""What a run measures: observables, or names of those of this library."""


def require_defined(
    observe: Iterable[Observable | str], space: Space, n: int = 1, *, like: Tensor | None = None
) -> None:
    """Measure each observable on n cold fields, so that what fails is known before the first step of a long run.

    Parameters
    ----------
    observe : iterable of Observable or str
        What the run will measure.
    space : Space
        Of the fields.
    n : int
        Fields in a batch of the run.
    like : Tensor, optional
        Gives their dtype and device; by default float32 on the CPU.

    Raises
    ------
    ValueError, TypeError
        Where one is not defined there.
    """
    cold = space.cold(n, like=torch.zeros(()) if like is None else like.real)
    for one in listed(observe):
        try:
            one(space, cold)
        except ValueError as error:
            if one.name in str(error):
                raise
            raise ValueError(f"{one.name} cannot be measured on {space}: {error}") from error

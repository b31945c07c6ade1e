"""Observables: real numbers measured on every field of a batch, all dimensionless."""

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit.geometry import charge, loops
from flowkit.geometry.space import Space

__all__ = [
    "Observable",
    "charge_squared",
    "magnetization",
    "phi_squared",
    "plaquette",
    "polyakov",
    "susceptibility",
    "topological_charge",
    "trace",
    "wilson_loop",
]

_WHAT = "An observable is f(space, x) -> [batch], real numbers"
_RULE = f"{_WHAT}, with a name: Observable(name, label, f), or the name of one that flowkit knows"


@dataclass(frozen=True)
class Observable:
    """A named real number that is measured on every field of a batch.

    `action.exact(name)` knows the exact mean of an observable where a formula exists.

    Parameters
    ----------
    name : str
        Of the column in an ensemble.
    label : str
        What figures print.
    function : callable
        (space, x) -> ``[batch]``, real.
    unit : str
        What figures print behind the label.
    kind : str, optional
        "sites" or "links" where it is defined on such fields alone.

    Raises
    ------
    TypeError
        For what is no function of two arguments, or a name that is no text.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> cubed = fk.Observable("phi_cubed", "φ³", lambda space, x: (x**3).flatten(1).mean(1), kind="sites")
    >>> cubed(fk.sites((2, 2)), torch.full((1, 1, 2, 2), 2.0))
    tensor([8.])
    """

    name: str
    label: str
    function: Callable[[Space, Tensor], Tensor]
    unit: str = "dimensionless"
    kind: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not callable(self.function):
            got = f"{type(self.name).__name__} and {type(self.function).__name__}"
            raise TypeError(f"{_WHAT}, with a name: Observable(name, label, f); got {got} as name and f.")
        try:
            signature = inspect.signature(self.function)
        except ValueError:  # compiled code may not tell its arguments
            return
        try:
            signature.bind(None, None)
        except TypeError as error:
            raise TypeError(f"{_WHAT}; the function of {self.name} takes {signature}.") from error

    def __call__(self, space: Space, x: Tensor) -> Tensor:
        """The value on each field, [batch].

        Raises
        ------
        ValueError
            For fields of another shape, or of a kind it is not defined on, and where the function returns anything but
            ``[batch]``.
        """
        if self.kind not in (None, space.kind):
            raise ValueError(f"The observable {self.name} is measured on {self.kind}; got {space}.")
        values: object = self.function(space, space.check(x))
        if not isinstance(values, Tensor) or values.shape != x.shape[:1] or values.is_complex():
            got = type(values).__name__
            if isinstance(values, Tensor):
                got = f"a tensor {list(values.shape)} of {values.dtype}"
            raise ValueError(f"{_WHAT}, here [{len(x)}]; {self.name} gave {got}.")
        return values

    def __repr__(self) -> str:
        return f"Observable({self.name if self.label == self.name else f'{self.name}: {self.label}'})"


def name_of(observable: Observable | str) -> str:
    """The name of an observable, or the name itself.

    Raises
    ------
    TypeError
        For anything else, a bare function too.
    """
    if isinstance(observable, str):
        return observable
    if not isinstance(observable, Observable):
        raise TypeError(f"{_RULE}; got {type(observable).__name__}.")
    return observable.name


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
            return make(*map(int, found.groups()))
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
    if not isinstance(observe, Iterable) or isinstance(observe, str):
        raise TypeError(f"Observables come as a list, such as [fk.plaquette]; got {observe!r}.")
    return tuple(as_observable(one) for one in observe)


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


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def _charge(space: Space, x: Tensor) -> Tensor:
    if space.ndim == 2 and space.group.winding:
        return charge.charge_density_2d(space, x).flatten(1).sum(1).round()
    return charge.charge_density_4d(space, x).flatten(1).sum(1)


plaquette = Observable(
    "plaquette",
    "plaquette Re Tr P / N",
    lambda space, x: _mean(space.group.trace(loops.plaquettes(space, x))),
    kind="links",
)
trace = Observable("trace", "Re Tr U / N", lambda space, x: _mean(space.group.trace(x)), kind="links")
topological_charge = Observable("topological_charge", "topological charge Q", _charge, kind="links")
charge_squared = Observable("charge_squared", "Q²", lambda space, x: _charge(space, x) ** 2, kind="links")
magnetization = Observable("magnetization", "magnetization φ̄", lambda space, x: _mean(x), kind="sites")
phi_squared = Observable("phi_squared", "φ²", lambda space, x: _mean(x * x), kind="sites")
susceptibility = Observable("susceptibility", "(Σφ)² / V", lambda space, x: space.dof * _mean(x) ** 2, kind="sites")


def wilson_loop(r: int, t: int) -> Observable:
    """The mean r x t Wilson loop, Re Tr W / N, over all sites and planes (r along mu, t along nu, mu < nu).

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.U1())
    >>> fk.wilson_loop(2, 2)(space, space.cold(1, like=torch.zeros(1)))
    tensor([1.])
    """

    def measure(space: Space, x: Tensor) -> Tensor:
        values = [_mean(space.group.trace(loops.rectangle(space, x, mu, nu, r, t))) for mu, nu in space.planes]
        return sum(values[1:], values[0]) / len(values)

    return Observable(f"wilson_loop_{r}x{t}", f"Wilson loop {r}×{t}", measure, kind="links")


def flux(mu: int, nu: int) -> Observable:
    r"""The magnetic flux through one plane, :math:`\sum_P \theta_P / 2 \pi` over the plane through the origin.

    A whole number for groups with a winding number such as U(1), the same in all parallel planes where no monopole lies
    between them. In two dimensions it is the topological charge.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4, 4), fk.U1())
    >>> fk.observables.flux(0, 1)(space, space.cold(1, like=torch.zeros(1)))
    tensor([0.])
    """

    def measure(space: Space, x: Tensor) -> Tensor:
        keep = [slice(None) if axis in (mu, nu) else slice(1) for axis in range(space.ndim)]
        angles = space.group.angle(loops.plaquette(space, x[(slice(None), slice(None), *keep)], mu, nu))
        return (angles.flatten(1).sum(1) / (2 * math.pi)).round()

    return Observable(f"flux_{mu}{nu}", f"flux, plane {mu}{nu}", measure, kind="links")


def polyakov(mu: int) -> Observable:
    """The mean Polyakov loop in direction mu, Re Tr L / N, the product of links around the lattice.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.SUN(2))
    >>> fk.observables.polyakov(0)(space, space.cold(1, like=torch.zeros(1)))
    tensor([1.])
    """
    return Observable(
        f"polyakov_{mu}",
        f"Polyakov loop, direction {mu}",
        lambda space, x: _mean(space.group.trace(loops.polyakov(space, x, mu))),
        kind="links",
    )


_NAMED = {one.name: one for one in list(globals().values()) if isinstance(one, Observable)}
_FAMILIES: dict[str, Callable[..., Observable]] = {
    r"wilson_loop_([1-9]\d*)x([1-9]\d*)": wilson_loop,
    r"flux_(\d)(\d)": flux,
    r"polyakov_(\d)": polyakov,
}
NAMES = ", ".join([*_NAMED, "wilson_loop_RxT", "flux_MUNU", "polyakov_MU"])
"""Of all observables here, as messages list them."""


def __dir__() -> list[str]:
    return __all__

"""Observables: real numbers measured on every field of a batch, all dimensionless."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from torch import Tensor

from flowkit.checks import Count, Natural, checked, shown
from flowkit.geometry import charge, loops
from flowkit.geometry.space import Space

_WHAT = "An observable is f(space, x) -> [batch], real numbers"


@checked
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
    kind: Literal["sites", "links"] | None = None

    def __call__(self, space: Space, x: Tensor) -> Tensor:
        """The value on each field, [batch].

        Raises
        ------
        ValueError
            For fields of another shape, or of a kind it is not defined on, and where the function returns anything but
            ``[batch]``.
        """
        if not isinstance(space, Space):
            raise TypeError(f"{self.name} is measured on a space, made by sites() or links(); got {shown(space)}.")
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
        raise TypeError(
            f"{_WHAT}, with a name: Observable(name, label, f), or the name of one; got {type(observable).__name__}."
        )
    return observable.name


def listed(observe: Iterable[Observable]) -> tuple[Observable, ...]:
    """The observables of a list.

    Raises
    ------
    TypeError
        For one alone, for names, and for whatever else is no list of observables.
    """
    is_list = isinstance(observe, Iterable) and not isinstance(observe, Tensor)
    found = tuple(observe) if is_list else ()
    for function in (one for one in found if callable(one) and not isinstance(one, Observable)):
        name_of(function)  # which says that it needs a name
    names = [one for one in found if isinstance(one, str)]
    if names and not isinstance(observe, str):
        raise TypeError(f"Observables are objects such as fk.magnetization, not their names; got {names[0]!r}.")
    if not is_list or not all(isinstance(one, Observable) for one in found):
        raise TypeError(f"Observables come as a list, such as [fk.plaquette]; got {observe!r}.")
    return found


Observables = Annotated[Sequence[Observable], listed]
"""Observables of a run."""


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def _plaquette(space: Space, x: Tensor) -> Tensor:
    return _mean(space.group.trace(loops.plaquettes(space, x)))


def _trace(space: Space, x: Tensor) -> Tensor:
    return _mean(space.group.trace(x))


def _magnetization(space: Space, x: Tensor) -> Tensor:
    return _mean(x)


def _phi_squared(space: Space, x: Tensor) -> Tensor:
    return _mean(x * x)


def _susceptibility(space: Space, x: Tensor) -> Tensor:
    return space.dof * _mean(x) ** 2


def _charge_squared(space: Space, x: Tensor) -> Tensor:
    return _charge(space, x) ** 2


def _wilson(space: Space, x: Tensor, r: int, t: int) -> Tensor:
    if not space.planes or any(r > space.lattice[mu] or t > space.lattice[nu] for mu, nu in space.planes):
        raise ValueError(f"A Wilson loop of sides 1 to those of the lattice is measured; got {r}x{t} on {space}.")
    values = [_mean(space.group.trace(loops.rectangle(space, x, mu, nu, r, t))) for mu, nu in space.planes]
    return sum(values[1:], values[0]) / len(values)


def _polyakov(space: Space, x: Tensor, mu: int) -> Tensor:
    return _mean(space.group.trace(loops.polyakov(space, x, mu)))


def _flux(space: Space, x: Tensor, mu: int, nu: int) -> Tensor:
    keep = [slice(None) if axis in (mu, nu) else slice(1) for axis in range(space.ndim)]
    plane = space.on([side if axis in (mu, nu) else 1 for axis, side in enumerate(space.lattice)])
    angles = space.group.angle(loops.plaquette(plane, x[(slice(None), slice(None), *keep)], mu, nu))
    return (angles.flatten(1).sum(1) / (2 * math.pi)).round()


def _charge(space: Space, x: Tensor) -> Tensor:
    if space.ndim == 2 and space.group.winding:
        return charge.charge_density_2d(space, x).flatten(1).sum(1).round()
    return charge.charge_density_4d(space, x).flatten(1).sum(1)


# Functions of this module, no lambdas: an observable can be sent to another process.
plaquette = Observable("plaquette", "plaquette Re Tr P / N", _plaquette, kind="links")
trace = Observable("trace", "Re Tr U / N", _trace, kind="links")
topological_charge = Observable("topological_charge", "topological charge Q", _charge, kind="links")
charge_squared = Observable("charge_squared", "Q²", _charge_squared, kind="links")
magnetization = Observable("magnetization", "magnetization φ̄", _magnetization, kind="sites")
phi_squared = Observable("phi_squared", "φ²", _phi_squared, kind="sites")
susceptibility = Observable("susceptibility", "(Σφ)² / V", _susceptibility, kind="sites")


@checked
def wilson_loop(r: Count, t: Count) -> Observable:
    """The mean r x t Wilson loop, Re Tr W / N, over all sites and planes (r along mu, t along nu, mu < nu).

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.U1())
    >>> fk.wilson_loop(2, 2)(space, space.cold(1, like=torch.zeros(1)))
    tensor([1.])
    """
    return Observable(f"wilson_loop_{r}x{t}", f"Wilson loop {r}×{t}", partial(_wilson, r=r, t=t), kind="links")


@checked
def flux(mu: Natural, nu: Natural) -> Observable:
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
    return Observable(f"flux_{mu}{nu}", f"flux, plane {mu}{nu}", partial(_flux, mu=mu, nu=nu), kind="links")


@checked
def polyakov(mu: Natural) -> Observable:
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
        partial(_polyakov, mu=mu),
        kind="links",
    )

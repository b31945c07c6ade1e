"""The observables of this library, all dimensionless."""

import math
from functools import partial
from typing import Literal

from torch import Tensor

from flowkit.checks import Count, Natural, checked
from flowkit.geometry import charge, forms, loops
from flowkit.geometry.space import Space
from flowkit.observables.base import Observable


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def _charge(space: Space, x: Tensor) -> Tensor:
    if space.ndim == 2 and space.group.winding:
        return charge.charge_density_2d(space, x).flatten(1).sum(1).round()
    return charge.charge_density_4d(space, x).flatten(1).sum(1)


def _plaquette(space: Space, x: Tensor) -> Tensor:
    return _mean(space.group.trace(loops.plaquettes(space, x)))


def _trace(space: Space, x: Tensor) -> Tensor:
    return _mean(space.group.trace(x))


def _monopoles(space: Space, x: Tensor) -> Tensor:
    if space.ndim < 3 or not space.group.winding:
        raise ValueError(f"Monopoles are counted on U1 links in three or more dimensions; got {space}.")
    charges = forms.cube_sums(loops.plaquettes(space, x), space.ndim) / (2 * math.pi)
    return charges.round().abs().flatten(1).sum(1)


def _charge_squared(space: Space, x: Tensor) -> Tensor:
    return _charge(space, x) ** 2


def _magnetization(space: Space, x: Tensor) -> Tensor:
    return _mean(x)


def _phi_squared(space: Space, x: Tensor) -> Tensor:
    return _mean(x * x)


def _susceptibility(space: Space, x: Tensor) -> Tensor:
    return space.dof * _mean(x) ** 2


def _wilson_loop(r: int, t: int, plane: tuple[int, int] | None, space: Space, x: Tensor) -> Tensor:
    planes = space.planes if plane is None else [plane]
    if plane is not None:
        loops.check_links(space, x, *plane)
    if not planes or any(r > space.lattice[mu] or t > space.lattice[nu] for mu, nu in planes):
        raise ValueError(f"A Wilson loop of sides 1 to those of the lattice is measured; got {r}x{t} on {space}.")
    values = [_mean(space.group.trace(loops.rectangle(space, x, mu, nu, r, t))) for mu, nu in planes]
    return sum(values[1:], values[0]) / len(values)


def _polyakov(mu: int, part: str, space: Space, x: Tensor) -> Tensor:
    loop = loops.polyakov(space, x, mu)
    if part == "real":
        return _mean(space.group.trace(loop))
    mean = _mean(space.group.complex_trace(loop))
    return mean.imag if part == "imaginary" else mean.abs()


def _flux(mu: int, nu: int, space: Space, x: Tensor) -> Tensor:
    keep = [slice(None) if axis in (mu, nu) else slice(1) for axis in range(space.ndim)]
    plane = space.on([side if axis in (mu, nu) else 1 for axis, side in enumerate(space.lattice)])
    angles = space.group.angle(loops.plaquette(plane, x[(slice(None), slice(None), *keep)], mu, nu))
    return (angles.flatten(1).sum(1) / (2 * math.pi)).round()


# Functions with names of their own, so that an observable can be sent to another process.
plaquette = Observable("plaquette", "plaquette Re Tr P / N", _plaquette, kind="links")
trace = Observable("trace", "Re Tr U / N", _trace, kind="links")
topological_charge = Observable("topological_charge", "topological charge Q", _charge, kind="links")
monopoles = Observable("monopoles", "monopoles", _monopoles, kind="links")
charge_squared = Observable("charge_squared", "Q²", _charge_squared, kind="links")
magnetization = Observable("magnetization", "magnetization φ̄", _magnetization, kind="sites")
phi_squared = Observable("phi_squared", "φ²", _phi_squared, kind="sites")
susceptibility = Observable("susceptibility", "(Σφ)² / V", _susceptibility, kind="sites")


@checked
def wilson_loop(r: Count, t: Count, plane: tuple[Natural, Natural] | None = None) -> Observable:
    """The mean r x t Wilson loop, Re Tr W / N, over all sites and planes (r along mu, t along nu, mu < nu), or of one
    plane (mu, nu).

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.U1())
    >>> fk.wilson_loop(2, 2)(space, space.cold(1, like=torch.zeros(1)))
    tensor([1.])
    >>> fk.wilson_loop(2, 3, plane=(1, 0))                    # two links along 1 and three along 0
    Observable(wilson_loop_2x3_10: Wilson loop 2×3, plane 10)
    """
    name, label = f"wilson_loop_{r}x{t}", f"Wilson loop {r}×{t}"
    if plane is not None:
        digits = "".join(map(str, plane))
        name, label = f"{name}_{digits}", f"{label}, plane {digits}"
    return Observable(name, label, partial(_wilson_loop, r, t, plane), kind="links")


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
    return Observable(f"flux_{mu}{nu}", f"flux, plane {mu}{nu}", partial(_flux, mu, nu), kind="links")


@checked
def polyakov(mu: Natural, part: Literal["real", "imaginary", "modulus"] = "real") -> Observable:
    r"""The mean Polyakov loop in direction mu, Tr L / N, the product of links around the lattice.

    Parameters
    ----------
    mu : int
    part : str
        "real" or "imaginary" part of the mean over the field, or its "modulus". In a finite volume the mean of the
        first two is zero where the centre is a symmetry; that of the modulus is not.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.SUN(2))
    >>> fk.observables.polyakov(0)(space, space.cold(1, like=torch.zeros(1)))
    tensor([1.])
    >>> fk.observables.polyakov(0, "modulus")(space, -space.cold(1, like=torch.zeros(1)))
    tensor([1.])
    """
    name, label = f"polyakov_{mu}", f"Polyakov loop, direction {mu}"
    if part != "real":
        name, label = f"{name}_{part}", f"{label}, {part}" + " part" * (part == "imaginary")
    return Observable(name, label, partial(_polyakov, mu, part), kind="links")

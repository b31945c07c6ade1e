"""Observables of smoothed gauge fields: energy densities, and any observable at a flow time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from flowkit.checks import NotNegative, Positive, checked
from flowkit.geometry import charge, loops
from flowkit.geometry.loop_sums import loop_sum
from flowkit.geometry.space import Space
from flowkit.observables.base import Observable
from flowkit.smearing import flow_fields, wilson_flow


def _energy(form: str, space: Space, x: Tensor) -> Tensor:
    loops.check_links(space, x)
    if not space.planes:
        raise ValueError(f"{space} has no plane and so no energy density.")
    if form == "clover":
        squares = [charge.field_strength(space, x, mu, nu).square().flatten(1).sum(1) for mu, nu in space.planes]
        return sum(squares[1:], squares[0]) / (2 * space.volume)
    G = space.group
    return G.algebra_dim / G.casimir * (len(space.planes) - loop_sum(space, x) / space.volume)


@checked
def energy_density(form: Literal["plaquette", "clover"] = "plaquette") -> Observable:
    r"""The energy density :math:`E = \frac14 F^a_{\mu\nu} F^a_{\mu\nu}` of a gauge field, the mean over all sites.

    Parameters
    ----------
    form : str
        "plaquette", :math:`\sum_{\mu < \nu} 2\, \mathrm{Re\,Tr}(1 - P_{\mu\nu})` for SU(N), or "clover", from
        `flowkit.geometry.field_strength`.

    Notes
    -----
    In lattice units and without g^2. For U(1), E is the sum of 1 - cos over the planes. On smooth fields both forms
    agree up to the square of the lattice spacing.

    References
    ----------
    Luescher, 1006.4518.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4, 4), fk.SUN(3))
    >>> V = fk.smearing.wilson_flow(space, space.haar(1, torch.Generator().manual_seed(1)), t=2.0)
    >>> for form in ("plaquette", "clover"):
    ...     print(f"{float(fk.observables.energy_density(form)(space, V)):.2f}")
    0.54
    0.40
    """
    return Observable(f"energy_{form}", f"energy density, {form}", partial(_energy, form), kind="links")


def _smeared(observable: Observable, smear: Callable[[Space, Tensor], Tensor], space: Space, x: Tensor) -> Tensor:
    return observable(space, smear(space, x))


def _flowed(t: float, step: float, tolerance: float | None, space: Space, x: Tensor) -> Tensor:
    return wilson_flow(space, x, t, step=step, tolerance=tolerance)


@checked
def smeared(observable: Observable, smear: Callable[[Space, Tensor], Tensor], name: str) -> Observable:
    """An observable of gauge fields that are smeared first.

    Parameters
    ----------
    observable : Observable
        Of links.
    smear : callable
        (space, x) -> smeared fields in the shape of x, such as ``functools.partial(fk.smearing.ape, steps=2)``.
    name : str
        What the observable's name gets behind it.

    Examples
    --------
    >>> from functools import partial
    >>> import flowkit as fk
    >>> fk.observables.smeared(fk.plaquette, partial(fk.smearing.stout, rho=0.1, steps=4), "stout")
    Observable(plaquette_stout: plaquette Re Tr P / N, stout)
    """
    label = f"{observable.label}, {name}"
    return Observable(f"{observable.name}_{name}", label, partial(_smeared, observable, smear), kind="links")


@checked
def flowed(
    observable: Observable, t: NotNegative, *, step: Positive = 0.02, tolerance: Positive | None = None
) -> Observable:
    """An observable of gauge fields at a flow time of the Wilson flow.

    Parameters
    ----------
    observable : Observable
        Of links.
    t : float
        Flow time, in units of the lattice spacing squared.
    step, tolerance
        As for `flowkit.smearing.wilson_flow`.

    Notes
    -----
    Each one makes a flow of its own; `flow_history` measures many times of one flow.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.observables.flowed(fk.topological_charge, t=2.0)
    Observable(topological_charge_flowed_2: topological charge Q, flow time 2)
    """
    label = f"{observable.label}, flow time {t:g}"
    function = partial(_smeared, observable, partial(_flowed, t, step, tolerance))
    return Observable(f"{observable.name}_flowed_{t:g}", label, function, observable.unit, kind="links")


@checked
def flow_history(
    space: Space,
    x: Tensor,
    observables: Sequence[Observable],
    times: Sequence[NotNegative],
    *,
    step: Positive = 0.02,
    tolerance: Positive | None = None,
) -> Tensor:
    """Observables along the Wilson flow, at several times of one flow.

    Parameters
    ----------
    space : Space
        Links in two or more dimensions.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    observables : sequence of Observable
        One or more.
    times : sequence of float
        Flow times that do not fall, one or more.
    step, tolerance
        As for `flowkit.smearing.wilson_flow`.

    Returns
    -------
    Tensor
        ``[batch, observables, times]``. `t0` and `w0` take the means of an energy density over the batch.

    Raises
    ------
    ValueError
        As `flowkit.smearing.wilson_flow`, and without observables or times.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((8, 8), fk.U1())
    >>> U = space.haar(4, torch.Generator().manual_seed(1))
    >>> history = fk.observables.flow_history(space, U, [fk.plaquette, fk.topological_charge], times=(0.0, 0.5, 1.0))
    >>> history.shape
    torch.Size([4, 2, 3])
    """
    if not observables or not times:
        raise ValueError(f"flow_history takes observables and flow times; got {observables} and {times}.")
    fields = flow_fields(space, x, times, step=step, tolerance=tolerance)
    rows = [torch.stack([one(space, field) for one in observables], 1) for field in fields]
    return torch.stack(rows, 2)

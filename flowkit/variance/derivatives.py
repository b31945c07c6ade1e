"""Derivatives of means by a coupling or a source, without differences of runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, Natural, checked
from flowkit.ensemble import Ensemble
from flowkit.geometry.space import Space
from flowkit.observables import Observable
from flowkit.stats import Floats
from flowkit.variance.basis import Basis
from flowkit.variance.coefficients import SteinField
from flowkit.variance.estimators import FOLDS, Part, compared, filled, parts, parts_of, without_common
from flowkit.variance.fits import default_basis, observed
from flowkit.variance.least_squares import share
from flowkit.variance.result import ReducedEstimate
from flowkit.variance.samples import Sample

STEP = 1e-3
"""Length of a displacement, of the coordinate that moves furthest, for derivatives along a field."""


@checked
def derivative(
    source: Ensemble | Tensor,
    observable: Observable | str,
    by: str | Observable,
    basis: Basis | tuple[SteinField, SteinField] | None = None,
    *,
    action: Action | None = None,
    two_sided: bool = True,
    folds: Count = FOLDS,
    gap: Natural | None = None,
) -> ReducedEstimate:
    r"""The derivative of a mean with respect to a coupling of the action, or to a source.

    Parameters
    ----------
    source : Ensemble or Tensor
        Chains, weighted draws or reweighted chains with their configurations; or fields ``[n, chains, *space.shape]``.
    observable : Observable or str
        O, a single number for each configuration, that can be differentiated.
    by : str or Observable
        A coupling lambda of the action, as "beta"; or an observable A, for the derivative by J in S - J A.
    basis : Basis or tuple of SteinField, optional
        Potentials, whose coefficients are then cross-fitted; or two fields that were fitted on other configurations, to
        the derivative of the action for a site (`source_of` gives it as an observable) and to O.
    action, folds, gap
        As `mean`.
    two_sided : bool
        Whether fluctuations of O are reduced as well as those of the action.

    Returns
    -------
    ReducedEstimate
        Its rho is that of the derivative of the action. Beside it the plain -<O dS>_c.

    Raises
    ------
    EnsembleError, ValueError
        As `mean`.

    Notes
    -----
    With dS the derivative of the action, u fitted to dS and w to O, r = dS - T u and R = O - T w:

    .. math::
        \frac{d \langle O \rangle}{d\lambda} = -\langle O\, dS \rangle_c
        = \langle u \cdot \nabla O \rangle - \langle O\, r \rangle_c
        = \langle u \cdot \nabla O + w \cdot \nabla dS - w \cdot \nabla (T u) \rangle - \langle R\, r \rangle_c .

    The contact terms fluctuate with the T grad W_k too, and their regression on these is subtracted in the end.
    dS is a central difference of S in the coupling, exact where S is linear in it; the last derivative is a central
    difference along w. Products of deviations from measured means are corrected by 1 + 2 tau_int / N.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=1.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 100, chains=8, thermalise=20, rng=1)
    >>> slope = fk.variance.derivative(ensemble, fk.plaquette, by="beta")
    >>> slope.within(sigmas=3), slope.gain > 50
    (True, True)
    """
    sample, o = Sample(source, action), observed(observable)
    dS = source_of(sample.action, by)
    for one in (o, dS):
        if one.components or one.complex:
            raise ValueError(f"A derivative is of one real number for each configuration; {one.name} has more.")
    space = sample.action.space
    sites = space.volume if isinstance(by, str) else 1
    given = isinstance(basis, tuple)
    kept = basis[0].basis if isinstance(basis, tuple) else basis or default_basis(space)
    sample.require(kept)
    if kept.slices:
        raise ValueError(f"A derivative is reduced by potentials of the whole lattice; got {kept}.")
    y = {one.name: sample.of(lambda x, one=one: one(space, x)) for one in (dS, o)}  # type: ignore[misc]
    T = sample.columns(kept)
    made, how = parts_of(sample, basis) if given else parts(sample, kept, y, T, folds, gap)  # type: ignore[arg-type]
    measured, d = y[o.name], y[dS.name]
    rows = [np.flatnonzero(part.rows.ravel()) for part in made]

    def of_fields(part: Part) -> Floats:
        u, w = part.fields
        numbers = torch.from_numpy(rows[next(k for k, one in enumerate(made) if one is part)])
        return sample.of(lambda x: sites * _contact(sample.action, kept, u, w, o, dS, x, two_sided), numbers)

    contact = filled(sample, made, of_fields)
    r = filled(sample, made, lambda part: d[part.rows] - part.fields[0].of(T[part.rows]))
    R = (
        filled(sample, made, lambda part: measured[part.rows] - part.fields[1].of(T[part.rows]))
        if two_sided
        else measured
    )
    weights = None if sample.weights is None else sample.weights.ravel()
    rho = float(np.mean([part.fields[0].rho for part in made])), share(r.ravel(), d.ravel(), weights)
    plain, reduced = -sites * _product(sample, measured, d), contact - sites * _product(sample, R, r)
    reduced = without_common(sample, reduced, T, folds, gap)
    found = compared(sample, f"d {o.name} / d {_text(by)}", plain, reduced, rho, T, how)
    return found.with_exact(_exact(sample.action, o, by))


@checked
def source_of(action: Action, by: str | Observable) -> Observable:
    """What a derivative is taken by, as an observable: dS / V for a coupling, V the sites, and -A for a source of A.

    Raises
    ------
    ValueError
        For a coupling that the action does not have.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> dS = fk.variance.source_of(action, "beta")
    >>> dS, dS(action.space, action.space.cold(1, like=torch.zeros(1, dtype=torch.float64))).round(decimals=6)
    (Observable(dS/dbeta/V: dS/dbeta / V), tensor([-1.], dtype=torch.float64))
    """
    if isinstance(by, Observable):
        return Observable(f"source {by.name}", f"source of {by.name}", lambda space, x: -by(space, x))
    if by not in action.couplings:
        has = ", ".join(action.couplings) or "none"
        raise ValueError(f"{type(action).__name__} has the couplings {has}; got {by!r}.")
    value = float(action.parameters[by])
    h = min(0.01 * max(1.0, abs(value)), value / 2 if value > 0 else 0.01)
    above, below = action.at(**{by: value + h}), action.at(**{by: value - h})
    return Observable(f"dS/d{by}/V", f"dS/d{by} / V", lambda space, x: (above(x) - below(x)) / (2 * h * space.volume))


def _text(by: str | Observable) -> str:
    return by if isinstance(by, str) else f"source of {by.name}"


def _contact(
    action: Action, basis: Basis, u: SteinField, w: SteinField, o: Observable, dS: Observable, x: Tensor, two: bool
) -> Tensor:
    """u grad O and, two-sided, + w grad dS - w grad(T u), ``[batch]``."""
    first = basis.gradient(x, u.coefficients)
    found = _dot(first, gradient_of(lambda y: o(basis.space, y), basis.space, x))
    if not two:
        return found
    second = basis.gradient(x, w.coefficients)
    found = found + _dot(second, gradient_of(lambda y: dS(basis.space, y), basis.space, x))
    c = u.coefficients.to(found)
    return found - along(lambda y: basis.stein(y, action.force(y)) @ c, basis.space, x, second)


def gradient_of(function: Callable[[Tensor], Tensor], space: Space, x: Tensor) -> Tensor:
    """The gradient of numbers ``[batch]`` in algebra coordinates; zero where they do not depend on x smoothly."""
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        total = function(y).sum()
        if not total.requires_grad:
            return torch.zeros(len(x), *space.algebra_shape, dtype=x.real.dtype, device=x.device)
        (g,) = torch.autograd.grad(total, y)
    return space.group.coordinates_of_gradient(x, g)


def along(function: Callable[[Tensor], Tensor], space: Space, x: Tensor, field: Tensor) -> Tensor:
    """The derivative of a function of fields along a vector field, by a central difference."""
    size = field.flatten(1).abs().amax(1).clamp_min(1e-300)
    unit = field / size.view(-1, *[1] * (field.dim() - 1))
    difference = function(space.group.move(x, unit, STEP)) - function(space.group.move(x, unit, -STEP))
    return difference * (size / (2 * STEP)).view(-1, *[1] * (difference.dim() - 1))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _product(sample: Sample, a: Floats, b: Floats) -> Floats:
    """The series whose mean is <a b>_c."""
    w = np.ones_like(a) if sample.weights is None else sample.weights / sample.weights.mean()
    mean = sample.estimate("factor", b)
    worth = a.size * float(w.mean() ** 2 / (w**2).mean())
    correction = 1 + (2 * mean.tau_int if math.isfinite(mean.tau_int) else 1.0) / worth
    found: Floats = correction * (a - (w * a).mean()) * (b - (w * b).mean())
    return found


def _exact(action: Action, o: Observable, by: str | Observable) -> float | None:
    """The derivative of the exact mean, by differences of fourth order."""
    if not isinstance(by, str):
        return None
    value = float(action.parameters[by])
    h = 0.02 * max(abs(value), 0.1)
    found = [action.at(**{by: value + k * h}).exact(o) for k in (-2, -1, 1, 2)]
    if any(one is None for one in found):
        return None
    a, b, c, d = (float(one) for one in found if one is not None)
    return (a - 8 * b + 8 * c - d) / (12 * h)

"""Reduced means, and what derivatives and correlators share with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, Natural, checked
from flowkit.ensemble import Ensemble
from flowkit.observables import Observable
from flowkit.stats import Floats
from flowkit.variance.basis import Basis
from flowkit.variance.coefficients import SteinField
from flowkit.variance.fits import default_basis, fitted, observed
from flowkit.variance.identity import Identity, identity
from flowkit.variance.least_squares import least_squares, share
from flowkit.variance.result import ReducedEstimate, gain, reduced_estimate
from flowkit.variance.samples import Sample
from flowkit.variance.splits import Mask, split

FOLDS = 4


class Part(NamedTuple):
    """Configurations and the fields, one for each target, that reduce them."""

    rows: Mask
    fields: tuple[SteinField, ...]


def parts(
    sample: Sample, basis: Basis, targets: dict[str, Floats], T: Floats, folds: int, gap: int | None
) -> tuple[list[Part], str]:
    """Each fold with fields that were fitted to the targets elsewhere."""
    first = next(iter(targets.values()))
    found, how = split(first.reshape(*sample.shape, -1).mean(-1), folds, gap)
    made = []
    for fold in found:
        fields = tuple(fitted(sample, basis, name, y, T, fold.training) for name, y in targets.items())
        made.append(Part(fold.held_out, fields))
    return made, f"{how}, each reduced by a fit to the others"


def parts_of(sample: Sample, fields: tuple[SteinField, ...]) -> tuple[list[Part], str]:
    """All configurations with fields that were fitted on others."""
    for field in fields:
        field.require_others(sample.x.flatten(0, 1))
    return [Part(np.ones(sample.shape, dtype=bool), fields)], f"coefficients from {fields[0].action or 'elsewhere'}"


def filled(sample: Sample, made: list[Part], of: Callable[[Part], Floats]) -> Floats:
    """A series put together from its parts, each ``[rows, ...]``."""
    total: Floats | None = None
    for part in made:
        values = of(part)
        if total is None:
            total = np.empty((*sample.shape, *values.shape[1:]))
        total[part.rows] = values
    assert total is not None
    return total


def without_common(sample: Sample, series: Floats, T: Floats, folds: int, gap: int | None) -> Floats:
    """A series ``[n, chains]`` less its own regression on the columns, cross-fitted: contact terms fluctuate with them.

    As it is where the configurations are too few for that.
    """
    try:
        found = split(series, folds, gap)[0]
    except ValueError:
        return series
    if min(int(fold.training.sum()) for fold in found) < 2 * T.shape[-1] + 2:
        return series
    reduced = series.copy()
    for fold in found:
        weights = None if sample.weights is None else sample.weights[fold.training]
        reduced[fold.held_out] -= T[fold.held_out] @ least_squares(series[fold.training], T[fold.training], weights)
    return reduced


def compared(
    sample: Sample,
    name: str,
    plain: Floats,
    reduced: Floats,
    rho: tuple[float, float],
    T: Floats,
    how: str,
    tested: Identity | None = None,
) -> ReducedEstimate:
    """The reduced mean beside the plain one; `tested` is the test of <T v> = 0 where it is known."""
    one, other = sample.estimate(name, reduced), sample.estimate(name, plain)
    ratio, error = gain(plain, reduced, (other, one))
    return reduced_estimate(
        one,
        plain=other,
        difference=sample.estimate("difference", reduced - plain),
        rho_training=rho[0],
        rho=rho[1],
        gain=ratio,
        gain_error=error,
        seconds=(sample.generation, sample.seconds / (sample.shape[0] * sample.shape[1])),
        identity=identity(T, sample.weights) if tested is None else tested,
        how=how,
    )


@checked
def mean(
    source: Ensemble | Tensor,
    observable: Observable | str,
    basis: Basis | SteinField | None = None,
    *,
    action: Action | None = None,
    folds: Count = FOLDS,
    gap: Natural | None = None,
) -> ReducedEstimate:
    r"""The mean of an observable from reduced fluctuations.

    Parameters
    ----------
    source : Ensemble or Tensor
        Chains, weighted draws or reweighted chains with their configurations; or fields ``[n, chains, *space.shape]``.
    observable : Observable or str
        A single number for each configuration.
    basis : Basis or SteinField, optional
        Potentials, whose coefficients are then cross-fitted; or a field with coefficients from other configurations. By
        default `default_basis`.
    action : Action, optional
        Of the theory; by default that of the ensemble.
    folds : int
        Parts of the configurations, each of which is reduced with coefficients that were fitted to the others: whole
        chains where there are enough, else stretches of Monte Carlo time.
    gap : int, optional
        Steps between a stretch and those that its coefficients are fitted to; by default 4 tau_int of the observable.

    Returns
    -------
    ReducedEstimate

    Raises
    ------
    EnsembleError
        Where configurations or action are missing, and for coefficients that were fitted to these configurations.
    ValueError
        For one fold, and where the gap leaves nothing to fit to.

    Notes
    -----
    .. math:: \langle O \rangle = \langle O - T u \rangle, \qquad T u = \mathrm{div}\, u + u \cdot F

    for every field u, with c of :math:`u = \sum_k c_k\, \mathrm{grad} W_k` by least squares.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=1.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 100, chains=8, thermalise=20, rng=1)
    >>> reduced = fk.variance.mean(ensemble, fk.plaquette)
    >>> reduced.within(sigmas=3), reduced.error < reduced.plain.error / 5
    (True, True)
    """
    sample, o = Sample(source, action), observed(observable)
    if o.components or o.complex:
        raise ValueError(f"A reduced mean is of one real number for each configuration; {o.name} has more.")
    given = isinstance(basis, SteinField)
    kept = basis.basis if isinstance(basis, SteinField) else basis or default_basis(sample.action.space)
    sample.require(kept)
    if kept.slices:
        raise ValueError(f"A mean is reduced by potentials of the whole lattice; got {kept}.")
    if isinstance(basis, SteinField) and basis.target != o.name:
        raise ValueError(f"Coefficients reduce the observable that they were fitted to, {basis.target}; got {o.name}.")
    y, T = sample.of(lambda x: o(kept.space, x)), sample.columns(kept)
    made, how = parts_of(sample, (basis,)) if given else parts(sample, kept, {o.name: y}, T, folds, gap)  # type: ignore[arg-type]
    residual = filled(sample, made, lambda part: y[part.rows] - part.fields[0].of(T[part.rows]))
    rho = float(np.mean([part.fields[0].rho for part in made])), share(residual.ravel(), y.ravel(), _flat(sample))
    return compared(sample, o.name, y, residual, rho, T, how)


def _flat(sample: Sample) -> Floats | None:
    return None if sample.weights is None else sample.weights.ravel()

"""Fits of the coefficients of a field to the fluctuations of an observable."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Natural, checked
from flowkit.ensemble import Ensemble
from flowkit.geometry.space import Space
from flowkit.observables import Observable, known, name_of
from flowkit.stats import Floats
from flowkit.variance.basis import Basis
from flowkit.variance.coefficients import SteinField
from flowkit.variance.least_squares import least_squares, share
from flowkit.variance.loop_seeds import loop_basis
from flowkit.variance.polynomials import polynomial_basis
from flowkit.variance.samples import Sample
from flowkit.variance.splits import Mask, fingerprints


@checked
def default_basis(space: Space, slices: bool = False, time: Natural = 0) -> Basis:
    """The potentials that a reduction takes where none are given: loops up to third order in two dimensions, up to
    second order in more and for slices; for scalars even polynomials, for their slices, of direction `time`, odd ones.

    Examples
    --------
    >>> import flowkit as fk
    >>> len(fk.variance.default_basis(fk.links((6, 6), fk.SUN(2))))
    8
    """
    if space.kind == "sites":
        return polynomial_basis(space, parity="odd" if slices else "even", slices=slices, time=time)
    return loop_basis(space, order=3 if space.ndim == 2 and not slices else 2, slices=slices, time=time)


@checked
def fit(
    source: Ensemble | Tensor,
    target: Observable | str,
    basis: Basis | None = None,
    *,
    action: Action | None = None,
    time: Natural = 0,
) -> SteinField:
    """Fit the coefficients of a field to the fluctuations of an observable, for use on other configurations.

    Parameters
    ----------
    source : Ensemble or Tensor
        Configurations for training alone: an ensemble, or fields ``[n, chains, *space.shape]``. Ten small ones may do.
    target : Observable or str
        What is to be reduced; a vector of one number for each time slice with a basis of slices.
    basis : Basis, optional
        By default `default_basis`.
    action : Action, optional
        Of the theory; by default that of the ensemble.
    time : int
        The direction of the slices of the default basis; another one has its own.

    Returns
    -------
    SteinField

    Raises
    ------
    EnsembleError, ValueError
        Where configurations or action are missing, or fewer values than coefficients.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)
    >>> few = fk.run(fk.Heatbath(action), 20, chains=4, thermalise=20, rng=1)
    >>> fk.variance.fit(few, fk.plaquette, fk.variance.loop_basis(action.space, order=1)).rho < 0.3
    True
    """
    sample = Sample(source, action)
    observable = observed(target)
    basis = default_basis(sample.action.space, bool(observable.components), time) if basis is None else basis
    sample.require(basis)
    if basis.slices != bool(observable.components):
        needed = "a vector, one number a slice" if basis.slices else "one number"
        raise ValueError(f"{basis} reduces {needed}; {observable.name} has {observable.components or 1} components.")
    y, T = sample.of(lambda x: observable(basis.space, x)), sample.columns(basis)
    return fitted(sample, basis, observable.name, y, T, np.ones(sample.shape, dtype=bool))


def fitted(sample: Sample, basis: Basis, target: str, y: Floats, T: Floats, rows: Mask) -> SteinField:
    """The field whose T u is nearest to y on some of the configurations."""
    flat_y, flat_T = y[rows].ravel(), T[rows].reshape(-1, T.shape[-1])
    weights = sample.weights
    if weights is not None:
        weights = np.repeat(weights[rows], flat_y.size // int(rows.sum()))
    c = least_squares(flat_y, flat_T, weights)
    digests = fingerprints(sample.x[torch.from_numpy(rows)])
    rho = share(flat_y - flat_T @ c, flat_y, weights)
    return SteinField(basis, torch.from_numpy(c), target, rho, tuple(digests), repr(sample.action))


def observed(target: Observable | str) -> Observable:
    """The observable itself, or the one of that name."""
    found = known(target) if isinstance(target, str) else target
    if found is None:
        raise TypeError(f"A reduction is of an observable of configurations; got {name_of(target)!r}.")
    return found

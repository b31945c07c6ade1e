"""Two-level averages of residuals: slices redrawn while those between them are held."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.actions.wilson import Wilson
from flowkit.checks import Count, checked
from flowkit.ensemble import Ensemble
from flowkit.observables import Observable
from flowkit.samplers.heatbath import Heatbath
from flowkit.stats import Floats
from flowkit.tasks.randomness import Rng, generator_of
from flowkit.variance.coefficients import SteinField
from flowkit.variance.correlators import ReducedCorrelator, folded, require_slices
from flowkit.variance.estimators import compared, parts_of
from flowkit.variance.fits import observed
from flowkit.variance.identity import identity
from flowkit.variance.least_squares import share
from flowkit.variance.samples import Sample


@checked
def two_level(
    source: Ensemble | Tensor,
    observable: Observable,
    field: SteinField,
    inner: Count = 4,
    *,
    action: Action | None = None,
    rng: Rng = None,
) -> ReducedCorrelator:
    r"""The connected correlator at even t >= 2 from residuals that are averaged while other slices are held.

    Parameters
    ----------
    source : Ensemble or Tensor
        Chains of a `Wilson` action with their configurations; or fields ``[n, chains, *space.shape]``.
    observable : Observable
        O_t for each slice, of the links of the slice.
    field : SteinField
        Coefficients of slices that move their own links, fitted on other configurations.
    inner : int
        Inner heatbath sweeps of the spatial links of every second slice, for both parities of slices.
    action : Action, optional
        Of the theory; by default that of the ensemble.
    rng : torch.Generator or int, optional
        A generator, a seed, or None for a fresh seed.

    Returns
    -------
    ReducedCorrelator
        For t = 2, 4, ... up to half of the lattice, beside the plain correlator of all slices.

    Raises
    ------
    EnsembleError, ValueError, TypeError
        As `correlator`, and for another action, weights, an odd number of slices or potentials of other reach.

    Notes
    -----
    Given all other links, the spatial links of slices that are no neighbours are independent, and a mean over inner
    updates estimates :math:`E[O_t | \text{others}]`. Since :math:`E[T u_t | \text{others}] = 0`, the residual
    :math:`R_t = O_t - T u_t` has the same conditional mean and less inner noise:

    .. math:: C(s, t) = \langle \bar R_s \bar R_t \rangle_c, \qquad |s - t| \ \text{even}, \ge 2 .

    References
    ----------
    M. Luescher and P. Weisz, JHEP 09 (2001) 010, hep-lat/0108014.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4, 4), fk.SUN(2)), beta=3.0)
    >>> few, ensemble = (fk.run(fk.Heatbath(action), 20, chains=8, thermalise=20, rng=seed) for seed in (1, 2))
    >>> slices = fk.variance.plaquette_slices(action.space)
    >>> C = fk.variance.two_level(ensemble, slices, fk.variance.fit(few, slices), inner=2, rng=1)
    >>> list(C), C.at(0).gain > 5
    (['C[2]'], True)
    """
    sample, o, rng = Sample(source, action), observed(observable), generator_of(rng)
    space, basis, held = sample.action.space, field.basis, sample.action
    sample.require(basis)
    require_slices(o, basis)
    if not isinstance(held, Wilson) or sample.weights is not None:
        raise TypeError(f"Inner updates are heatbath sweeps of chains of a Wilson action; got {held!r}.")
    if basis.moves != "slice" or basis.reach > 1 or basis.frame.lattice[0] % 2:
        raise ValueError(
            "Slices are redrawn on their own where their number is even and potentials reach the next slices at most; "
            f"got {basis}."
        )
    parts_of(sample, (field,))  # refuses coefficients that were fitted on these configurations
    y, T = sample.of(lambda x: o(space, x)), sample.columns(basis)
    samplers = [_of_slices(held, parity, basis.time) for parity in (0, 1)]

    def averaged(x: Tensor) -> Tensor:
        found = torch.empty(len(x), basis.frame.lattice[0], dtype=x.real.dtype)
        for parity, sampler in enumerate(samplers):
            state, total = sampler.init(x), torch.zeros_like(found)
            for _ in range(inner):
                state, _ = sampler.step(state, rng)
                columns = basis.stein(state.x, held.force(state.x))
                total += o(space, state.x) - columns @ field.coefficients
            found[:, parity::2] = total[:, parity::2] / inner
        return found

    R = sample.of(averaged)
    plain, reduced = folded(sample, y, y), folded(sample, R, R)
    rho = field.rho, share(R.ravel(), y.ravel())
    tested = identity(T.mean(2))
    how = f"{inner} inner sweeps, coefficients from {field.action or 'elsewhere'}"
    found = {
        f"C[{t}]": compared(sample, f"C[{t}]", _at(plain, t), _at(reduced, t), rho, T, how, tested)
        for t in range(2, plain.shape[-1], 2)
    }
    return ReducedCorrelator(found)


def _at(series: Floats, t: int) -> Floats:
    return np.ascontiguousarray(series[..., t])


def _of_slices(action: Wilson, parity: int, time: int = 0) -> Heatbath:
    """Heatbath of the spatial links of every second slice alone."""
    sampler, volume = Heatbath(action, 0), action.space.volume
    sides = action.space.lattice
    after = math.prod(sides[time + 1 :])
    kept = []
    for part in sampler.parts:
        keep = (part.active // volume != time) & (part.active // after % sides[time] % 2 == parity)
        if bool(keep.any()):
            kept.append(part._replace(active=part.active[keep], legs=part.legs[..., keep].contiguous()))
    sampler.parts = tuple(kept)
    return sampler

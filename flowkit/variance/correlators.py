"""Correlators of numbers of time slices from reduced fluctuations."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import Count, Natural, checked
from flowkit.ensemble import Ensemble
from flowkit.geometry.space import Space
from flowkit.observables import Observable
from flowkit.stats import Estimates, Floats
from flowkit.stats.text import format_error
from flowkit.variance.basis import Basis
from flowkit.variance.coefficients import SteinField
from flowkit.variance.derivatives import along, gradient_of
from flowkit.variance.estimators import FOLDS, Part, compared, filled, parts, parts_of, without_common
from flowkit.variance.fits import default_basis, observed
from flowkit.variance.identity import identity
from flowkit.variance.least_squares import share
from flowkit.variance.result import ReducedEstimate
from flowkit.variance.samples import Sample


class ReducedCorrelator(Estimates):
    """Reduced estimates of a correlator for t = 0, 1, ..., printed beside the plain ones.

    Printed as a table, "shift" is the reduced value less the plain one in standard errors of this difference, and
    "gain" is the ratio of their variances.

    Parameters
    ----------
    estimates : mapping
        `ReducedEstimate` by name, in the order of t.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4, 4), fk.SUN(2)), beta=3.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 20, chains=8, thermalise=20, rng=1)
    >>> C = fk.variance.correlator(ensemble, fk.variance.plaquette_slices(action.space))
    >>> list(C), C.at(2).gain > 5, C.signal().shape
    (['C[0]', 'C[1]', 'C[2]'], True, (3, 4))
    """

    def __init__(self, estimates: dict[str, ReducedEstimate]):
        super().__init__(estimates)
        self._reduced = dict(estimates)

    def at(self, t: int) -> ReducedEstimate:
        """The estimate at one t."""
        return list(self._reduced.values())[t]

    def signal(self) -> Floats:
        """Value and error, plain value and plain error for each t, ``[t, 4]``: what a picture shows."""
        rows = [(one.value, one.error, one.plain.value, one.plain.error) for one in self._reduced.values()]
        return np.array(rows)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        header, lines = super().rows()
        for line, one in zip(lines, self._reduced.values(), strict=True):
            plain = format_error(one.plain.value, one.plain.error)
            line[2:2] = [plain, format_error(one.gain, one.gain_error), f"{one.difference.pull(0.0):+.1f}"]
        return [*header[:2], "plain", "gain", "shift", *header[2:]], lines


@checked
def correlator(
    source: Ensemble | Tensor,
    observable: Observable,
    basis: Basis | SteinField | None = None,
    *,
    action: Action | None = None,
    two_sided: bool = True,
    contact: bool = True,
    folds: Count = FOLDS,
    gap: Natural | None = None,
    time: Natural = 0,
) -> ReducedCorrelator:
    r"""The connected correlator of an observable of time slices, C(t) = <O_s O_{s+t}>_c, averaged over s and +-t.

    Parameters
    ----------
    source : Ensemble or Tensor
        Chains, weighted draws or reweighted chains with their configurations; or fields ``[n, chains, *space.shape]``.
    observable : Observable
        O_t for each slice, a vector, as `plaquette_slices` or `field_slices` make.
    basis : Basis or SteinField, optional
        Potentials of slices, whose coefficients are then cross-fitted; or a field with coefficients from other
        configurations, of another lattice or a nearby coupling perhaps. By default `default_basis`.
    action, folds, gap
        As `mean`.
    two_sided : bool
        Whether both factors are reduced, for gains of about 1 / rho^2, or one.
    time : int
        The direction of the slices of the default basis; another one has its own. Fields of NERSC and ILDG files have
        time as direction 3.
    contact : bool
        Whether the contact terms are computed, which t = 0 and 1 need, and every t where all variables move. Without
        them those t are left out, and the others cost nothing more.

    Returns
    -------
    ReducedCorrelator
        For t = 0, 1, ... up to half of the lattice.

    Raises
    ------
    EnsembleError, ValueError
        As `mean`, for an observable that is no vector of slices, a basis without slices, and ``contact=False`` on a
        lattice that is too short for it.

    Notes
    -----
    With R_t = O_t - T u_t,

    .. math:: C(s, t) = \langle R_s R_t \rangle_c - \langle u_s \cdot \nabla R_t \rangle - \langle u_t \cdot \nabla O_s
              \rangle .

    Where u_t moves the variables of its slice alone, the contact terms vanish for \|s - t\| beyond the reach of T u_t,
    and C is the correlator of R: for \|s - t\| >= 2 with `Wilson` and potentials that reach the next slices, and for
    \|s - t\| >= 3 with the rectangles of improved actions.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 3, 3), fk.SUN(2)), beta=3.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 20, chains=8, thermalise=20, rng=1)
    >>> C = fk.variance.correlator(ensemble, fk.variance.plaquette_slices(action.space), contact=False)
    >>> C.at(0).gain > 5                                           # t = 2, the first one without contact terms
    True
    """
    sample, o = Sample(source, action), observed(observable)
    space = sample.action.space
    given = isinstance(basis, SteinField)
    kept = basis.basis if isinstance(basis, SteinField) else basis or default_basis(space, slices=True, time=time)
    sample.require(kept)
    require_slices(o, kept)
    y, T = sample.of(lambda x: o(space, x)), sample.columns(kept)
    made, how = parts_of(sample, (basis,)) if given else parts(sample, kept, {o.name: y}, T, folds, gap)  # type: ignore[arg-type]
    R = filled(sample, made, lambda part: y[part.rows] - part.fields[0].of(T[part.rows]))
    plain, reduced = folded(sample, y, y), folded(sample, R if two_sided else y, R)
    reach = reach_of(sample.action, kept)
    first = 0 if contact else reach + 1
    if first >= plain.shape[-1]:
        raise ValueError(f"All t up to {reach} have contact terms; on {space} none is left with contact=False.")
    if contact:

        def of_fields(part: Part) -> Floats:
            rows = torch.from_numpy(np.flatnonzero(part.rows.ravel()))
            return sample.of(lambda x: _contact(sample.action, kept, part.fields[0], o, x, two_sided, reach), rows)

        reduced = reduced - filled(sample, made, of_fields)
    weights = None if sample.weights is None else np.repeat(sample.weights, y.shape[-1])
    rho = float(np.mean([part.fields[0].rho for part in made])), share(R.ravel(), y.ravel(), weights)
    whole = T.mean(2)
    tested, found = identity(whole, sample.weights), {}
    for t in range(first, plain.shape[-1]):
        name = f"C[{t}]"
        series = without_common(sample, reduced[..., t], whole, folds, gap)
        one = compared(sample, name, plain[..., t], series, rho, T, how, tested)
        found[name] = one
    return ReducedCorrelator(found)


def require_slices(o: Observable, basis: Basis) -> None:
    """Raise ValueError for a basis without slices, and an observable that does not fit it."""
    if not basis.slices:
        raise ValueError(f"A correlator is reduced by potentials of time slices; got {basis}.")
    count = basis.frame.lattice[0]
    if o.components != count or o.complex:
        raise ValueError(
            f"A correlator on {basis.space} is of {count} real numbers, one a slice; {o.name} has {o.components}."
        )
    if basis.moves == "slice":
        space = basis.space
        x, _ = _two_fields(space)
        g = gradient_of(lambda y: o(space, y)[:, 0], space, x)
        g = basis.framed(g)
        rest = g if space.kind == "sites" else g[:, 1:]
        if float(rest[:, :, 1:].abs().max()) > 1e-6 * float(g.abs().max()):
            raise ValueError(
                f"A slice of {o.name} depends on variables that move in another one, and contact terms do not vanish; "
                "take an observable of the links or sites of each slice alone."
            )


def _two_fields(space: Space) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    if space.kind == "links":
        return space.haar(1, rng, torch.float64), space.haar(1, rng, torch.float64)
    x, y = torch.randn(2, 1, *space.shape, generator=rng, dtype=torch.float64)
    return x, y


def reach_of(action: Action, basis: Basis) -> int:
    """The largest t with contact terms: how far away the variables lie on which T u_t depends, by the potentials or the
    force. That of the force is measured, by other variables on one slice.
    """
    space, count = basis.space, basis.frame.lattice[0]
    if basis.moves == "all":
        return count // 2
    x, y = _two_fields(space)
    moved = torch.where(basis.confined(torch.ones(x.shape), torch.tensor([0])) > 0, y, x)
    change = basis.framed(basis.confined(action.force(moved) - action.force(x), None))
    change = change.movedim(2, 0).flatten(1).abs().amax(1)
    far: list[int] = torch.arange(count)[change > 1e-9 * change.max()].tolist()
    return max([int(basis.reach), *(min(t, count - t) for t in far)])


def folded(sample: Sample, a: Floats, b: Floats) -> Floats:
    """The products of deviations at each distance up to half of the lattice, ``[n, chains, t]``."""
    w = np.ones(sample.shape) if sample.weights is None else sample.weights / sample.weights.mean()
    x, y = (one - (w[..., None] * one).mean() for one in (a, b))
    found = np.stack(
        [(x * (np.roll(y, -t, -1) + np.roll(y, t, -1)) / 2).mean(-1) for t in range(a.shape[-1] // 2 + 1)], -1
    )
    error = sample.estimate("mean", b.mean(-1)).error
    shifted: Floats = found + (error**2 if math.isfinite(error) else 0.0)  # the means are measured ones
    return shifted


def _contact(
    action: Action, basis: Basis, field: SteinField, o: Observable, x: Tensor, two: bool, reach: int
) -> Tensor:
    """The contact terms at each distance up to half of the lattice, ``[batch, t]``."""
    space, count = basis.space, basis.frame.lattice[0]
    c = field.coefficients
    stride = 2 * reach
    stride = stride if basis.moves == "slice" and count % stride == 0 else count

    def moved(y: Tensor) -> Tensor:
        values = o(space, y)
        return 2 * values - basis.stein(y, action.force(y)) @ c.to(values) if two else values

    found = torch.zeros(len(x), count // 2 + 1, dtype=x.real.dtype, device=x.device)
    for s in range(stride):  # sources so far apart that each slice feels the nearest ones alone
        u = basis.gradient(x, c, torch.arange(s, count, stride))
        change = along(moved, space, x, u)
        for t in range(count):
            d = (t - s) % stride
            d = min(d, stride - d)
            once = d == 0 or (stride == count and 2 * d == count)
            found[:, d] += change[:, t] / (count if once else 2 * count)
    return found

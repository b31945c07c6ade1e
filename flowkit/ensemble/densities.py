"""Densities in plain numbers: one number a site, on lattices of three and four dimensions."""

from __future__ import annotations

from torch import Tensor

from flowkit.checks import Count, checked
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.fields import FieldNumbers, field_numbers
from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.space import Space


@checked
def density_numbers(
    fields: Ensemble | Tensor | FieldNumbers,
    space: Space | None = None,
    *,
    quantity: str | None = None,
    steps: Count = 64,
) -> FieldNumbers:
    """The numbers of fields that have one number a site, as `panels.Density` shows them.

    Parameters
    ----------
    fields, space, steps
        As for `field_numbers`, or what that gives.
    quantity : str, optional
        "charge", "action" or "phi". None takes the charge of SU(N) in four dimensions, the action of other links, and
        phi for scalars.

    Raises
    ------
    ValueError
        As `field_numbers`, for another number of dimensions than three and four, and for several numbers a site.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> from flowkit.ensemble.densities import density_numbers
    >>> space = fk.links((4, 4, 4), fk.U1())
    >>> numbers = density_numbers(space.cold(2, like=torch.zeros(())), space)
    >>> numbers.quantity, numbers.values.shape, float(numbers.values.max())
    ('action', (1, 2, 1, 4, 4, 4), 0.0)
    """
    if not isinstance(fields, FieldNumbers):
        known = fields.space if isinstance(fields, Ensemble) else space
        if quantity is None and known is not None and known.kind == "links":
            quantity = "charge" if known.ndim == 4 and known.group.complex else "action"
        fields = field_numbers(fields, space, quantity=quantity, steps=steps)
    if len(fields.lattice) not in (3, 4) or fields.values.shape[2] != 1:
        raise ValueError(
            "A density has one number a site of a lattice of three or four dimensions; got "
            f"{fields.values.shape[2]} of the quantity {fields.quantity} on {format_lattice(fields.lattice)}."
        )
    return fields

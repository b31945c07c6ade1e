"""Fields in plain numbers, as panels draw them: plaquettes, charge densities, scalars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit.checks import Bytes, Count, checked
from flowkit.ensemble.ensemble import Ensemble
from flowkit.geometry import charge, loops
from flowkit.geometry.lattice import format_lattice
from flowkit.geometry.space import Space

QUANTITIES = ("angle", "plaquette", "charge", "action", "link", "phi")


class FieldNumbers(NamedTuple):
    """Fields of one theory in plain numbers, all dimensionless; what `field_numbers` makes.

    Attributes
    ----------
    quantity : str
        "angle", theta_P in [-pi, pi) of each plaquette of U(1); "plaquette", Re Tr P / N; "charge", theta_P / 2 pi of
        U(1) in two dimensions, the clover density of SU(N) in four; "action", the mean of 1 - Re Tr P / N
        over the plaquettes that start at a site; "link", Re Tr U / N; "phi", a scalar field.
    group : str
        As "U(1)" or "SU(3)"; "R" for scalars.
    lattice : tuple of int
        Its sides; a line of sites has a second side of 1.
    values : array
        float32 ``[chains, fields, parts, *lattice]``. The parts are the planes (mu, nu), mu < nu, of angles and
        plaquettes, the directions of links, the components of phi, and one for a charge or an action.
    totals : array
        ``[chains, fields]``: Q for charges, else the mean over lattice and parts, of cos theta_P for angles.
    steps : tuple of int
        Number of the stored step that each field is, from 0.
    lowest : float
        Least value of Re Tr U / N in the group.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.sites((4, 6))
    >>> numbers = fk.ensemble.field_numbers(torch.ones(3, *space.shape), space)
    >>> numbers.label, numbers.quantity, numbers.totals          # one chain of three fields, the mean of each
    ('scalar field on 4x6', 'phi', array([[1., 1., 1.]]))
    """

    quantity: str
    group: str
    lattice: tuple[int, ...]
    values: NDArray[np.float32]
    totals: NDArray[np.float64]
    steps: tuple[int, ...]
    lowest: float = -1.0

    @property
    def label(self) -> str:
        """What the fields are, such as: U(1) on 8x8."""
        what = "scalar field" if self.group == "R" else self.group
        return f"{what} on {format_lattice(self.lattice)}"


@checked
@torch.no_grad()
def field_numbers(
    fields: Ensemble | Tensor,
    space: Space | None = None,
    *,
    quantity: str | None = None,
    steps: Count = 64,
    chains: Count = 4,
    max_bytes: Bytes = 4 * 2**20,
) -> FieldNumbers:
    """Configurations in plain numbers, as `panels.Field` shows them.

    Parameters
    ----------
    fields : Ensemble or Tensor
        An ensemble that kept its configurations, or fields ``[n, *space.shape]`` in Monte Carlo time.
    space : Space, optional
        Of a tensor of fields.
    quantity : str, optional
        As in `FieldNumbers`. None takes angles for U(1), plaquettes for SU(N), links where there is no plane, and phi
        for scalars.
    steps : int
        At most so many stored steps, evenly spaced.
    chains : int
        Of the first so many chains.
    max_bytes : int
        Memory of the float32 numbers; fewer steps are taken where it does not suffice.

    Returns
    -------
    FieldNumbers

    Raises
    ------
    ValueError
        For an ensemble without configurations, fields without a space, NaN or infinity, or a quantity that these fields
        do not have.
    TypeError
        For other things than an ensemble or a tensor.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> space = fk.links((4, 6), fk.U1())
    >>> numbers = fk.ensemble.field_numbers(space.haar(10, torch.Generator().manual_seed(1)), space)
    >>> numbers.quantity, numbers.values.shape
    ('angle', (1, 10, 1, 4, 6))
    """
    if isinstance(fields, Ensemble):
        if fields.x is None:
            raise ValueError("This ensemble kept no configurations to look at; run with keep=True.")
        space, x = fields.space, fields.x
    elif space is None:
        raise ValueError("Fields come with their space: field_numbers(x, space).")
    else:
        x = space.check(fields)[:, None]
    if not len(x):
        raise ValueError("field_numbers needs at least one field; got none.")
    quantity = check_quantity(space, quantity)
    x = x[:, :chains]
    one = measure(space, x[0, :1], quantity)  # how large a field is
    affordable = max(1, max_bytes // (4 * one.numel() * x.shape[1]))
    kept = np.unique(np.linspace(0, len(x) - 1, min(steps, affordable, len(x))).round().astype(int)).tolist()
    measured = torch.stack([measure(space, x[step], quantity) for step in kept], 1)
    if not bool(measured.isfinite().all()):
        raise ValueError(f"Fields to look at are finite; of these numbers {int((~measured.isfinite()).sum())} are not.")
    return in_numbers(space, quantity, measured, kept)


def check_quantity(space: Space, quantity: str | None) -> str:
    """The quantity to measure: the one asked for, or the first that the fields have.

    Raises
    ------
    ValueError
        For a quantity that fields of this space do not have.
    """
    has = ["phi"]
    if space.kind == "links":
        known = {
            "angle": bool(space.planes) and space.group.winding,
            "plaquette": bool(space.planes),
            "charge": space.group.winding if space.ndim == 2 else space.ndim == 4 and space.group.complex,
            "action": bool(space.planes),
            "link": True,
        }
        has = [name for name in QUANTITIES if known.get(name)]
    if quantity is not None and quantity not in has:
        raise ValueError(f"{space} has the quantities {', '.join(has)}; got {quantity!r}.")
    return quantity or has[0]


def measure(space: Space, x: Tensor, quantity: str) -> Tensor:
    """The quantity of each field, ``[batch, parts, *lattice]``."""
    if quantity == "phi":
        return x
    if quantity == "link":
        return space.group.trace(x)
    if quantity == "charge":
        return charge.charge_density_2d(space, x) if space.ndim == 2 else charge.charge_density_4d(space, x)
    P = loops.plaquettes(space, x)
    if quantity == "action":
        return 1 - space.group.trace(P).mean(1, keepdim=True)
    return space.group.angle(P) if quantity == "angle" else space.group.trace(P)


def in_numbers(space: Space, quantity: str, measured: Tensor, steps: list[int] | range) -> FieldNumbers:
    """Numbers of what was measured, ``[chains, fields, parts, *lattice]``."""
    lattice = space.lattice if space.ndim > 1 else (*space.lattice, 1)
    values = measured.double().cpu()
    flat = (values.cos() if quantity == "angle" else values).flatten(2)
    totals = flat.sum(2) if quantity == "charge" else flat.mean(2)
    return FieldNumbers(
        quantity,
        space.group.label,
        lattice,
        values.reshape(*values.shape[:3], *lattice).float().numpy(),
        totals.numpy(),
        tuple(steps),
        space.group.lowest_trace,
    )

"""What the numbers of a field are called and what range they have: the text that panels draw beside them."""

from __future__ import annotations

import math
from typing import NamedTuple


class Quantity(NamedTuple):
    """A quantity of `FieldNumbers` in words, with the range of its values.

    Attributes
    ----------
    name : str
        What a field of it is called, as "plaquette angles".
    value : str
        What one number is called, as "plaquette angle".
    total : str
        What `FieldNumbers.totals` holds, one number for each field.
    short : str
        The same for a line of numbers.
    low, high : float
        The range of the colours; infinite where the values themselves must say it.
    ticks : tuple of str
        Text at evenly spaced places from low to high; empty for the numbers themselves.
    palette : str
        "turn" for angles, where both ends mean the same; "signed" about zero; "plain" from low to high.
    unit : str
        Empty for a number without one.

    Examples
    --------
    >>> from flowkit.ensemble.labels import quantity
    >>> quantity("plaquette")[1:6]
    ('Re Tr P / N', 'Re Tr P / N, lattice mean', 'lattice mean', -1.0, 1.0)
    """

    name: str
    value: str
    total: str
    short: str
    low: float = -math.inf
    high: float = math.inf
    ticks: tuple[str, ...] = ()
    palette: str = "signed"
    unit: str = ""


def quantity(name: str, lowest: float = -1.0, dimensions: int = 2) -> Quantity:
    """The words and the range of a quantity of `FieldNumbers`.

    Parameters
    ----------
    name : str
        "angle", "plaquette", "charge", "action", "link" or "phi".
    lowest : float
        Least value of Re Tr U / N in the group: `Group.lowest_trace`.
    dimensions : int
        Of the lattice. In two dimensions a charge density is theta_P / 2 pi, in [-1/2, 1/2).
    """
    charge = "Topological charge Q of each configuration", "Q ="
    if name == "angle":
        mean = "cos of the plaquette angle, lattice mean", "lattice mean"
        ticks = ("-π", "-π/2", "0", "π/2", "π")
        return Quantity("plaquette angles", "plaquette angle", *mean, -math.pi, math.pi, ticks, "turn", "radians")
    if name in ("plaquette", "link"):
        value = f"Re Tr {'P' if name == 'plaquette' else 'U'} / N"
        words = "plaquettes" if name == "plaquette" else "traces of links"
        return Quantity(words, value, f"{value}, lattice mean", "lattice mean", lowest, 1.0, palette="plain")
    if name == "action":
        mean = "1 - Re Tr P / N, lattice mean", "lattice mean"
        return Quantity("action density", "action density 1 - Re Tr P / N", *mean, 0.0, palette="plain")
    if name == "charge" and dimensions == 2:
        ticks = ("-½", "-¼", "0", "¼", "½")
        return Quantity(
            "topological charge density", "charge density θ_P / 2π", *charge, -0.5, 0.5, ticks, palette="turn"
        )
    if name == "charge":
        return Quantity("topological charge density", "charge density q", *charge)
    return Quantity("field φ", "field φ", "φ, lattice mean", "lattice mean")

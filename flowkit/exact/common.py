"""Checks of input and Bessel functions, shared by the exact results."""

import math
import operator
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

NEGLIGIBLE = 1e-17
"""Relative weight below which a representation is dropped."""


def whole(who: str, name: str, value: SupportsIndex, least: int) -> int:
    """The value as an int; ValueError where it is no whole number >= `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{who} needs a whole number {name} >= {least}; got {value!r}.") from None
    if number < least:
        raise ValueError(f"{who} needs a whole number {name} >= {least}; got {number}.")
    return number


def check_beta(who: str, beta: float) -> None:
    """ValueError unless beta is a finite number and not negative."""
    if isinstance(beta, str) or not 0 <= beta < math.inf:
        raise ValueError(f"{who} needs a finite beta >= 0; got {beta!r}.")


def checked(who: str, beta: float, **numbers: tuple[SupportsIndex | None, int]) -> list[Any]:
    """Whole numbers as ints, each given with the least one allowed; None stays. beta is checked with them."""
    check_beta(who, beta)
    return [None if value is None else whole(who, name, value, least) for name, (value, least) in numbers.items()]


def check_area(who: str, area: SupportsIndex, volume: int | None) -> int:
    """The area as an int; ValueError where it lies outside 0 .. volume."""
    number = whole(who, "area", area, 0)
    if volume is not None and number > volume:
        raise ValueError(f"{who} needs area <= volume; got area {number} on a lattice of {volume} plaquettes.")
    return number


def cutoff(beta: float) -> int:
    """Order beyond which I_n(beta) / I_0(beta) < 1e-20: Gaussian fall-off at large beta, factorial at small."""
    return math.ceil(40 + 12 * math.sqrt(beta))


def scaled_bessel(order: Any, x: float) -> Any:
    """exp(-x) I_order(x)."""
    from scipy.special import ive  # takes longer to import than the rest of flowkit

    return ive(order, x)


def bessel(beta: float, orders: Indices) -> Array:
    """I_n(beta) / I_0(beta) for whole n of either sign, [*orders.shape]."""
    ratio: Array = scaled_bessel(np.abs(orders), beta) / scaled_bessel(0, beta)
    return ratio

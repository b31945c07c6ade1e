"""Checks of input and Bessel functions, shared by the exact results."""

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from flowkit.checks import Range

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

NEGLIGIBLE = 1e-17
"""Relative weight below which a representation is dropped."""


Rank = Annotated[int, Range(2, 64)]
"""N of SU(N)."""
Coupling = Annotated[float, Range(0, 1e6)]
"""beta, up to where the sums over representations stay short."""


def check_area(who: str, area: int, volume: int | None) -> None:
    """ValueError where the area exceeds the volume."""
    if volume is not None and area > volume:
        raise ValueError(f"{who} needs area <= volume; got area {area} on a lattice of {volume} plaquettes.")


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

"""The plaquette at strong coupling, in any number of dimensions."""

from typing import Annotated

import numpy as np

from flowkit.checks import Range, checked
from flowkit.exact.common import Coupling, bessel
from flowkit.exact.expansion import character_coefficients


@checked
def plaquette_strong_coupling(group: str, beta: Coupling, ndim: Annotated[int, Range(2, 100)]) -> float:
    r"""Mean plaquette at strong coupling in any number of dimensions, to the first correction.

    Parameters
    ----------
    group : str
        "U1", "SU2" or "SU3".
    beta : float
        Coupling, dimensionless, not negative.
    ndim : int
        Dimensions of the lattice, at least 2.

    Returns
    -------
    float
        The mean plaquette; exact for ndim = 2, elsewhere for small beta alone.

    Raises
    ------
    ValueError
        For another group, a beta below 0 or ndim below 2.

    Notes
    -----
    Independent plaquettes have the one-plaquette mean u. The surface of a cube gives the first correction,

    .. math:: P = u + \binom{d}{3} \Big/ \binom{d}{2} \cdot 6 K u^5 \frac{du}{d\beta},

    with K = 2, 4, 18 for U(1), SU(2), SU(3). du/dbeta is the variance of the one-plaquette mean, from the coefficients
    of the representations in fund x fund and fund x antifund.

    References
    ----------
    J.-M. Drouffe and J.-B. Zuber, Phys. Rep. 102 (1983) 1.

    Examples
    --------
    >>> import flowkit as fk
    >>> for ndim in (2, 3, 4):
    ...     print(ndim, f"{fk.exact.plaquette_strong_coupling('U1', 0.5, ndim):.6f}")
    2 0.242500
    3 0.244030
    4 0.245560
    """
    who = "plaquette_strong_coupling"
    if group not in ("U1", "SU2", "SU3"):
        raise ValueError(f'{who} knows the groups "U1", "SU2", "SU3"; got {group!r}.')
    if group == "U1":
        k = 2
        u, double = bessel(beta, np.array([1, 2]))
        square = (1 + double) / 2
    else:
        k, n = {"SU2": (4, 2), "SU3": (18, 3)}[group]
        zeros = (0,) * (n - 2)
        adjoint = (2,) + (1,) * (n - 2) + (0,)
        reps = [(0,) * n, (1, 0, *zeros), (2, 0, *zeros), (1, 1, *zeros), adjoint]
        one, fundamental, symmetric, antisymmetric, adj = character_coefficients(n, beta, reps)
        u = fundamental / (n * one)
        square = (symmetric + antisymmetric + one + adj) / (2 * one * n**2)
    return float(u + (ndim - 2) / 3 * 6 * k * u**5 * (square - u**2))

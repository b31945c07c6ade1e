r"""Topological charge of U(1) gauge theory in two dimensions on a torus, in closed form.

The charge is :math:`Q = \frac{1}{2\pi} \sum_P \theta_P` with plaquette angles in [-pi, pi). A weight
:math:`e^{i\theta Q}` shifts the Fourier label of the constraint that these angles sum to a multiple of 2 pi, hence

.. math:: Z(\theta) = \sum_n f(n + \theta/2\pi)^V, \qquad
          f(\nu) = \int_{-\pi}^{\pi} \frac{d\phi}{2\pi} e^{\beta\cos\phi} \cos(\nu\phi).

f is band-limited and equals :math:`I_n(\beta)` at whole numbers, so that
:math:`f(\nu) = \sum_m I_m \,\mathrm{sinc}(\nu - m)` exactly, by the sampling theorem.
"""

import math
from collections.abc import Sequence

import numpy as np

from flowkit.checks import Count, checked
from flowkit.exact.common import NEGLIGIBLE, Array, Coupling, Indices, bessel, cutoff
from flowkit.exact.u1 import u1_plaquette


@checked
def u1_charge_squared(beta: Coupling, volume: Count) -> float:
    r"""Mean square of the topological charge of two-dimensional U(1) gauge theory on a torus.

    Parameters
    ----------
    beta : float
        Coupling, dimensionless, not negative.
    volume : int
        Number of plaquettes, at least 1.

    Returns
    -------
    float
        <Q^2>, not negative; accurate to about 1e-16 V.

    Raises
    ------
    ValueError
        For a beta below 0, or a volume that is no whole number >= 1.

    Notes
    -----
    With f as in the head of this module, and its derivatives at whole numbers

    .. math:: f_n' = \sum_{m \ne n} I_m \frac{(-1)^{n-m}}{n-m}, \qquad
              f_n'' = -\frac{\pi^2}{3} I_n - 2 \sum_{m \ne n} I_m \frac{(-1)^{n-m}}{(n-m)^2},

    the second derivative of ln Z(theta) at 0 is

    .. math:: \langle Q^2 \rangle = -\frac{V}{4\pi^2} \frac{1}{Z}
              \sum_n \big[ f_n^{V-1} f_n'' + (V-1) f_n^{V-2} f_n'^2 \big].

    References
    ----------
    C. Bonati and P. Rossi, Phys. Rev. D 99 (2019) 054503.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.u1_charge_squared(1.0, 64):.4f} {fk.exact.u1_charge_squared(4.0, 64):.4f}")
    2.6007 0.4820
    """
    if volume <= 2:  # |Q| < V/2 leaves Q = 0 alone
        return 0.0
    cut = cutoff(beta)
    orders = np.arange(-cut, cut + 1)
    f = bessel(beta, orders)
    gap = orders[:, None] - orders[None, :]
    inverse = np.where(gap == 0, 0.0, (-1.0) ** gap / np.where(gap == 0, 1, gap))
    first = inverse @ f
    second = -(math.pi**2) / 3 * f - 2 * np.abs(inverse) * inverse * np.sign(gap) @ f
    total = np.sum(f ** (volume - 1) * second + (volume - 1) * f ** (volume - 2) * first**2)
    return max(0.0, float(-volume / (4 * math.pi**2) * total / np.sum(f**volume)))


def _u1_theta_vacuum(beta: float, volume: int, charges: Indices) -> tuple[Array, Array]:
    """P(Q), and P(Q) times the plaquette in sector Q, both [len(charges)], for volume >= 3.

    Z(theta) is a trigonometric polynomial of degree < V/2, so that a finite Fourier sum over theta inverts it without
    error; fewer angles suffice where P(Q) <= V^(1/2) exp(-2 Q^2/V) (Hoeffding) is negligible.
    """
    angles = min(volume, int(np.max(np.abs(charges), initial=0)) + math.ceil(5 * math.sqrt(volume)) + 10)
    cut = cutoff(beta)
    orders = np.arange(-cut, cut + 1)
    ratio = bessel(beta, orders)
    derivative = (bessel(beta, orders - 1) + bessel(beta, orders + 1)) / 2
    # Between whole numbers f falls only like 1/nu: the smaller the volume, the more terms.
    terms = int(np.sum(ratio[cut:] ** volume > NEGLIGIBLE)) + min(1000, math.ceil(10 ** (16 / (volume - 1)))) + 1
    k = np.arange(angles) - angles // 2
    power, slope = np.zeros(angles), np.zeros(angles)
    for n in range(-terms, terms + 1):
        sinc = np.sinc(n + k[:, None] / angles - orders)
        f = sinc @ ratio
        power += f**volume
        slope += f ** (volume - 1) * (sinc @ derivative)
    wave = np.cos(2 * math.pi / angles * (charges[:, None] * k % angles)) / angles
    norm = np.sum(ratio**volume)
    return wave @ power / norm, wave @ slope / norm


@checked
def u1_charge_distribution(beta: Coupling, volume: Count, charges: Sequence[int]) -> Array:
    r"""Probabilities of topological charges in two-dimensional U(1) gauge theory on a torus.

    Parameters
    ----------
    beta : float
        Coupling, dimensionless, not negative.
    volume : int
        Number of plaquettes, at least 1.
    charges : sequence of int
        The charges Q asked for.

    Returns
    -------
    ndarray
        P(Q), ``[len(charges)]``, to about 1e-10; 0 where no configuration has that charge, |Q| >= V/2.

    Raises
    ------
    ValueError
        For a beta below 0, a volume that is no whole number >= 1, or a charge that is not whole.

    Notes
    -----
    .. math:: P(Q) = \int_{-\pi}^{\pi} \frac{d\theta}{2\pi}\, e^{-i\theta Q}\, \frac{Z(\theta)}{Z(0)}

    with Z(theta) as in the head of this module.

    References
    ----------
    C. Bonati and P. Rossi, Phys. Rev. D 99 (2019) 054503.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(fk.exact.u1_charge_distribution(4.0, 64, [-1, 0, 1, 2]).round(4))
    [0.2035 0.5744 0.2035 0.0093]
    """
    q = np.array(charges, dtype=np.int64)
    if volume <= 2:
        return np.where(q == 0, 1.0, 0.0)
    inside = 2 * np.abs(q) < volume
    result = np.zeros(len(q))
    result[inside] = np.maximum(_u1_theta_vacuum(beta, volume, q[inside])[0], 0.0)
    return result


@checked
def u1_plaquette_in_sector(beta: Coupling, volume: Count, charge: int) -> float:
    r"""Mean plaquette of two-dimensional U(1) gauge theory among configurations of one topological charge.

    Parameters
    ----------
    beta : float
        Coupling, dimensionless, not negative.
    volume : int
        Number of plaquettes, at least 1.
    charge : int
        The charge Q.

    Returns
    -------
    float
        <cos theta_P> given Q.

    Raises
    ------
    ValueError
        For a beta below 0, a volume that is no whole number >= 1, a charge that is not whole or that no configuration
        has (|Q| >= V/2), and for a sector of probability under 1e-8, which rounding hides.

    Notes
    -----
    .. math:: \langle\cos\theta_P\rangle_Q = \frac{1}{V} \frac{\partial}{\partial\beta} \ln\big[P(Q)\, Z\big]

    A Markov chain whose charge never changes measures this in place of `u1_plaquette`.

    References
    ----------
    C. Bonati and P. Rossi, Phys. Rev. D 99 (2019) 054503.

    Examples
    --------
    >>> import flowkit as fk
    >>> for q in (0, 1):
    ...     print(q, f"{fk.exact.u1_plaquette_in_sector(4.0, 64, q):.5f}")
    0 0.86598
    1 0.86089
    >>> print(f"{fk.exact.u1_plaquette(4.0, 64):.5f}")
    0.86353
    """
    who = "u1_plaquette_in_sector"
    q = np.array([charge], dtype=np.int64)
    if volume <= 2 and q[0] == 0:
        return u1_plaquette(beta, volume)
    if 2 * abs(q[0]) >= volume:
        raise ValueError(f"{who} needs |charge| < volume/2; got charge {q[0]} on a lattice of {volume} plaquettes.")
    weight, product = _u1_theta_vacuum(beta, volume, q)
    if weight[0] < 1e-8:
        raise ValueError(f"{who} needs a sector of probability >= 1e-8; got charge {q[0]} with about {weight[0]:.0e}.")
    return float(product[0] / weight[0])

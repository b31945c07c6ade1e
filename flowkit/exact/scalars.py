r"""Scalar fields: the free field on any lattice, and one site of phi^4, in flat measure, with
:math:`S = \sum_x [\sum_\mu (\phi_{x+\mu} - \phi_x)^2 + m^2 \phi_x^2 + \lambda \phi_x^4]`, without 1/2.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flowkit.checks import LARGEST, Count, NotNegative, Positive, checked
from flowkit.exact.common import Array


def sides_of(who: str, lattice: Sequence[int]) -> tuple[int, ...]:
    """The sides as ints; ValueError for an empty lattice or a side that is no whole number >= 1."""
    if not lattice or math.prod(lattice) > LARGEST:
        raise ValueError(f"{who} needs a lattice of at least one side and at most {LARGEST} sites; got {lattice!r}.")
    return tuple(lattice)


def _propagator(who: str, lattice: Sequence[int], m2: float) -> Array:
    """G(p) of the free field, ``[*lattice]``."""
    sin2 = [4 * np.sin(math.pi * np.arange(side) / side) ** 2 for side in sides_of(who, lattice)]
    p2: Array = np.sum(np.meshgrid(*sin2, indexing="ij"), axis=0)
    return 0.5 / (p2 + m2)


@checked
def free_propagator(lattice: Sequence[Count], m2: Positive) -> Array:
    r"""Propagator of the free field in momentum space.

    Parameters
    ----------
    lattice : sequence of int
        Sides of the periodic lattice, each at least 1.
    m2 : float
        Mass squared in lattice units, positive.

    Returns
    -------
    ndarray
        G(p) at p_mu = 2 pi k_mu / L_mu, ``[*lattice]``, in the order of an FFT.

    Raises
    ------
    ValueError
        For an empty lattice, a side that is no whole number >= 1, or an m2 that is not positive and finite.

    Notes
    -----
    .. math:: G(p) = \frac{1}{V} \Big\langle \Big| \sum_x e^{-ipx} \phi_x \Big|^2 \Big\rangle
              = \frac{1}{2 (\hat p^2 + m^2)}, \qquad \hat p^2 = \sum_\mu 4 \sin^2 \frac{p_\mu}{2}

    <phi_x phi_0> is its inverse FFT.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(fk.exact.free_propagator((4,), m2=0.5).round(4))
    [1.     0.2    0.1111 0.2   ]
    """
    return _propagator("free_propagator", lattice, m2)


@checked
def free_phi_squared(lattice: Sequence[Count], m2: Positive) -> float:
    r"""Mean of phi^2 for the free field.

    Parameters
    ----------
    lattice : sequence of int
        Sides of the periodic lattice, each at least 1.
    m2 : float
        Mass squared in lattice units, positive.

    Returns
    -------
    float
        <phi^2> in lattice units.

    Raises
    ------
    ValueError
        For an empty lattice, a side that is no whole number >= 1, or an m2 that is not positive and finite.

    Notes
    -----
    .. math:: \langle \phi^2 \rangle = \frac{1}{V} \sum_p G(p)

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.free_phi_squared((8, 8), m2=0.5):.6f}")
    0.158796
    """
    return float(np.mean(_propagator("free_phi_squared", lattice, m2)))


@checked
def free_susceptibility(m2: Positive) -> float:
    r"""Susceptibility of the free field, the same on every lattice.

    Parameters
    ----------
    m2 : float
        Mass squared in lattice units, positive.

    Returns
    -------
    float
        chi in lattice units.

    Raises
    ------
    ValueError
        For an m2 that is not positive and finite.

    Notes
    -----
    .. math:: \chi = \frac{1}{V} \Big\langle \Big( \sum_x \phi_x \Big)^2 \Big\rangle = G(0) = \frac{1}{2 m^2}

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.exact.free_susceptibility(m2=0.25)
    2.0
    """
    return float(_propagator("free_susceptibility", (1,), m2)[0])


@checked
def free_log_z(lattice: Sequence[Count], m2: Positive) -> float:
    r"""ln Z of the free field.

    Parameters
    ----------
    lattice : sequence of int
        Sides of the periodic lattice, each at least 1.
    m2 : float
        Mass squared in lattice units, positive.

    Returns
    -------
    float
        ln Z, in flat measure.

    Raises
    ------
    ValueError
        For an empty lattice, a side that is no whole number >= 1, or an m2 that is not positive and finite.

    Notes
    -----
    .. math:: \ln Z = \frac12 \sum_p \ln\big[2\pi\, G(p)\big]

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.free_log_z((8, 8), m2=0.5):.6f}")
    -7.108601
    """
    return float(0.5 * np.sum(np.log(2 * math.pi * _propagator("free_log_z", lattice, m2))))


class OneSiteMoments(NamedTuple):
    """What `one_site_moments` returns: moments and normalisation of one variable.

    Parameters
    ----------
    phi_squared, phi_fourth : float
        <phi^2> and <phi^4> in lattice units.
    log_z : float
        ln Z, in flat measure.

    Examples
    --------
    >>> import flowkit as fk
    >>> phi_squared, phi_fourth, log_z = fk.exact.one_site_moments(m2=0.5, lam=0.0)  # a normal variable
    >>> print(f"{phi_squared:.3f} {phi_fourth:.3f}")
    1.000 3.000
    """

    phi_squared: float
    phi_fourth: float
    log_z: float


def check_potential(who: str, m2: float, lam: float) -> None:
    """ValueError unless exp(-m2 phi^2 - lam phi^4) has a finite integral."""
    if not (math.isfinite(m2) and 0 <= lam < math.inf and (lam > 0 or m2 > 0)):
        raise ValueError(f"{who} needs lam > 0, or lam = 0 and m2 > 0, both finite; got m2 = {m2}, lam = {lam}.")


def site_grid(m2: float, lam: float) -> tuple[Array, Array, float]:
    """Uniform grid phi, weights e^{-m2 phi^2 - lam phi^4} of unit sum, and the log of the integral.

    The trapezoidal rule converges faster than any power for such a weight. The grid ends where it is e^-300 of its
    peak.
    """
    drop = 300.0
    if m2 >= 0:
        edge2 = 2 * drop / (m2 + math.sqrt(m2**2 + 4 * lam * drop))
    else:
        edge2 = -m2 / (2 * lam) + math.sqrt(drop / lam)
    phi = np.linspace(-math.sqrt(edge2), math.sqrt(edge2), 2**14)
    exponent = -m2 * phi**2 - lam * phi**4
    peak = float(exponent.max())
    weight = np.exp(exponent - peak)
    total = float(weight.sum())
    return phi, weight / total, peak + math.log(total * (phi[1] - phi[0]))


@checked
def one_site_moments(m2: float, lam: NotNegative) -> OneSiteMoments:
    r"""Moments of one variable with the weight exp(-m2 phi^2 - lam phi^4).

    Parameters
    ----------
    m2 : float
        Coefficient of phi^2; below 0 the potential has two minima, at phi^2 = -m2 / (2 lam).
    lam : float
        Coefficient of phi^4, not negative.

    Returns
    -------
    OneSiteMoments
        <phi^2>, <phi^4> and ln Z.

    Raises
    ------
    ValueError
        Unless lam > 0, or lam = 0 and m2 > 0, both finite.

    Notes
    -----
    .. math:: \langle \phi^k \rangle = \frac{1}{Z} \int d\phi\, \phi^k\, e^{-m^2 \phi^2 - \lambda \phi^4}

    by the trapezoidal rule, which converges faster than any power for such a weight.

    Examples
    --------
    >>> import flowkit as fk
    >>> exact = fk.exact.one_site_moments(m2=-1.0, lam=1.0)
    >>> print(f"{exact.phi_squared:.6f} {exact.phi_fourth:.6f} {exact.log_z:.6f}")
    0.520899 0.510449 1.015719
    """
    check_potential("one_site_moments", m2, lam)
    phi, weight, log_z = site_grid(m2, lam)
    return OneSiteMoments(float(weight @ phi**2), float(weight @ phi**4), log_z)

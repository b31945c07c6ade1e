r"""U(1) gauge theory in two dimensions on a torus, in closed form.

The action is :math:`S = -\beta \sum_P \cos\theta_P`, the measure the normalised Haar measure, and `volume` the number
of plaquettes, None for the infinite lattice. Sums run over the order n of Bessel functions in double precision, scaled
by :math:`I_0^V`: large volumes and beta = 0 need no special care.
"""

import math

import numpy as np

from flowkit.checks import Count, Natural, checked
from flowkit.exact.common import Array, Coupling, bessel, check_area, cutoff, scaled_bessel


@checked
def u1_log_z(beta: Coupling, volume: Count) -> float:
    r"""ln Z of two-dimensional U(1) gauge theory on a torus.

    Parameters
    ----------
    beta : float
        Coupling, dimensionless, not negative.
    volume : int
        Number of plaquettes, at least 1.

    Returns
    -------
    float
        ln Z, dimensionless, in normalised Haar measure.

    Raises
    ------
    ValueError
        For a beta below 0, or a volume that is no whole number >= 1.

    Notes
    -----
    .. math:: Z = \sum_n I_n(\beta)^V

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.u1_log_z(1.0, 64):.6f}")
    15.098519
    >>> fk.exact.u1_log_z(0.0, 64)                   # Haar measure alone
    0.0
    """
    cut = cutoff(beta)
    ratio = bessel(beta, np.arange(-cut, cut + 1))
    return float(volume * (beta + math.log(scaled_bessel(0, beta))) + math.log(np.sum(ratio**volume)))


@checked
def u1_plaquette(beta: Coupling, volume: Count | None = None) -> float:
    r"""Mean plaquette <cos theta_P> of two-dimensional U(1) gauge theory.

    Parameters
    ----------
    beta : float
        Coupling, dimensionless, not negative.
    volume : int, optional
        Number of plaquettes, at least 1; None for the infinite lattice.

    Returns
    -------
    float
        The mean, in [0, 1].

    Raises
    ------
    ValueError
        For a beta below 0, or a volume that is no whole number >= 1.

    Notes
    -----
    .. math:: \langle\cos\theta_P\rangle = \frac{1}{Z} \sum_n I_n(\beta)^{V-1}\, I_n'(\beta)
              \;\to\; \frac{I_1(\beta)}{I_0(\beta)} \quad (V \to \infty)

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> for volume in (4, 16, None):
    ...     print(volume, f"{fk.exact.u1_plaquette(2.0, volume):.6f}")
    4 0.779561
    16 0.699252
    None 0.697775
    """
    return u1_wilson_loop(beta, 1, volume)


@checked
def u1_wilson_loop(beta: Coupling, area: Natural, volume: Count | None = None) -> float:
    r"""Mean of a contractible Wilson loop around an area, in two-dimensional U(1) gauge theory.

    Parameters
    ----------
    beta : float
        Coupling, dimensionless, not negative.
    area : int
        Number of plaquettes inside the loop, 0 .. volume.
    volume : int, optional
        Number of plaquettes, at least 1; None for the infinite lattice.

    Returns
    -------
    float
        The mean of the cosine of the loop's angle, in [0, 1].

    Raises
    ------
    ValueError
        For a beta below 0, a volume that is no whole number >= 1, or an area outside 0 .. volume.

    Notes
    -----
    .. math:: W(A) = \frac{1}{Z} \sum_n I_n(\beta)^{V-A}\, I_{n+1}(\beta)^A
              \;\to\; \Big[\frac{I_1(\beta)}{I_0(\beta)}\Big]^A \quad (V \to \infty)

    The infinite lattice has an area law with string tension :math:`-\ln(I_1/I_0)`.

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.u1_wilson_loop(1.0, 4):.6f} {fk.exact.u1_wilson_loop(1.0, 4, volume=16):.6f}")
    0.039706 0.039769
    """
    check_area("u1_wilson_loop", area, volume)
    if volume is None:
        return float(bessel(beta, np.array(1)) ** area)
    cut = cutoff(beta)
    ratio = bessel(beta, np.arange(-cut, cut + 1))
    return float(np.sum(ratio[:-1] ** (volume - area) * ratio[1:] ** area) / np.sum(ratio**volume))


@checked
def u1_decimated(beta: Coupling, area: Count) -> Array:
    r"""Fourier coefficients of the weight of a loop around some plaquettes, all links inside it integrated.

    Parameters
    ----------
    beta : float
        Coupling, dimensionless, not negative.
    area : int
        Number of plaquettes inside the loop, at least 1.

    Returns
    -------
    ndarray
        Coefficients of order n = 0, 1, ..., ``[orders]``, the first one 1.

    Raises
    ------
    ValueError
        For a beta below 0, or an area that is no whole number >= 1.

    Notes
    -----
    .. math:: e^{-S_A(\theta)} \propto \sum_n \Big[\frac{I_n(\beta)}{I_0(\beta)}\Big]^A e^{i n \theta}

    These are the plaquettes of a lattice that has been decimated exactly.

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(fk.exact.u1_decimated(1.0, 4)[:3].round(4))
    [1.00e+00 3.97e-02 1.00e-04]
    """
    coefficients: Array = bessel(beta, np.arange(cutoff(beta) + 1)) ** area
    return coefficients

r"""SU(N) gauge theory in two dimensions on a torus, by sums over representations.

The action is :math:`S = -\frac{\beta}{N} \sum_P \mathrm{Re\,Tr}\, U_P`, the measure the normalised Haar measure, and
`volume` the number of plaquettes, None for the infinite lattice. With the character expansion

.. math:: e^{\frac{\beta}{N} \mathrm{Re\,Tr}\, U} = \sum_r c_r\, \chi_r(U), \qquad u_r = c_r / d_r,

every result is a sum over representations r of dimension :math:`d_r`. It runs in double precision, scaled by the
trivial one: large volumes and beta = 0 need no special care.
"""

import math

from flowkit.checks import Count, Natural, checked
from flowkit.exact.common import Coupling, Rank, check_area
from flowkit.exact.expansion import Rep, dimension, ratios, sun_one_plaquette, sun_one_plaquette_log_z, times_box


@checked
def sun_decimated(n: Rank, beta: Coupling, area: Count) -> dict[Rep, float]:
    r"""Character coefficients of the weight of a loop around some plaquettes, all links inside it integrated.

    Parameters
    ----------
    n : int
        N of SU(N), at least 2.
    beta : float
        Coupling, dimensionless, not negative.
    area : int
        Number of plaquettes inside the loop, at least 1.

    Returns
    -------
    dict
        Row lengths of the Young diagram of r -> coefficient, for all representations that count.

    Raises
    ------
    ValueError
        For an n below 2, a beta below 0, or an area that is no whole number >= 1.

    Notes
    -----
    .. math:: e^{-S_A(U)} \propto \sum_r d_r \Big(\frac{u_r}{u_0}\Big)^A \chi_r(U)

    These are the plaquettes of a lattice that has been decimated exactly.

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> {rep: round(c, 6) for rep, c in fk.exact.sun_decimated(2, 2.2, 4).items() if c > 1e-4}
    {(0, 0): 1.0, (1, 0): 0.093088, (2, 0): 0.001754}
    """
    return {rep: dimension(rep) * u**area for rep, u in ratios(n, beta, area).items()}


@checked
def sun_log_z(n: Rank, beta: Coupling, volume: Count) -> float:
    r"""ln Z of two-dimensional SU(N) gauge theory on a torus.

    Parameters
    ----------
    n : int
        N of SU(N), at least 2.
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
        For an n below 2, a beta below 0, or a volume that is no whole number >= 1.

    Notes
    -----
    .. math:: Z = \sum_r u_r^V

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.sun_log_z(3, 6.0, 64):.6f}")
    79.096966
    """
    total = math.fsum(u**volume for u in ratios(n, beta, volume).values())
    return volume * sun_one_plaquette_log_z(n, beta) + math.log(total)


@checked
def sun_plaquette(n: Rank, beta: Coupling, volume: Count | None = None) -> float:
    r"""Mean plaquette <Re Tr U_P / N> of two-dimensional SU(N) gauge theory.

    Parameters
    ----------
    n : int
        N of SU(N), at least 2.
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
        For an n below 2, a beta below 0, or a volume that is no whole number >= 1.

    Notes
    -----
    The Wilson loop of area 1,

    .. math:: P = \frac{1}{V} \frac{\partial \ln Z}{\partial\beta}
              \;\to\; \frac{u_\mathrm{fund}}{u_0} \quad (V \to \infty).

    References
    ----------
    A. A. Migdal, Sov. Phys. JETP 42 (1975) 413.

    Examples
    --------
    >>> import flowkit as fk
    >>> for volume in (4, 16, None):
    ...     print(volume, f"{fk.exact.sun_plaquette(3, 6.0, volume):.6f}")
    4 0.432128
    16 0.422532
    None 0.422532
    """
    return sun_wilson_loop(n, beta, 1, volume)


@checked
def sun_wilson_loop(n: Rank, beta: Coupling, area: Natural, volume: Count | None = None) -> float:
    r"""Mean of a contractible Wilson loop around an area, in two-dimensional SU(N) gauge theory.

    Parameters
    ----------
    n : int
        N of SU(N), at least 2.
    beta : float
        Coupling, dimensionless, not negative.
    area : int
        Number of plaquettes inside the loop, 0 .. volume.
    volume : int, optional
        Number of plaquettes, at least 1; None for the infinite lattice.

    Returns
    -------
    float
        <Re Tr W / N>, in [0, 1].

    Raises
    ------
    ValueError
        For an n below 2, a beta below 0, a volume that is no whole number >= 1, or an area outside 0 .. volume.

    Notes
    -----
    .. math:: W(A) = \frac{1}{N Z} \sum_r \sum_{r' \in r \otimes \mathrm{fund}}
              \frac{d_{r'}}{d_r}\, u_r^{V-A}\, u_{r'}^A
              \;\to\; \Big(\frac{u_\mathrm{fund}}{u_0}\Big)^A \quad (V \to \infty)

    The disc inside the loop gives :math:`\sum_{r'} d_{r'} u_{r'}^A \chi_{r'}(U)`, the torus with a hole outside it
    :math:`\sum_r d_r^{-1} u_r^{V-A} \chi_r(U^\dagger)`. The integral with Tr U / N counts r' in r x antifund, and
    conjugating all representations turns antifund into fund. At A = V the loop is the boundary of the torus cut open, a
    commutator, and W tends to 1/N^2 where r' = 0 alone survives.

    References
    ----------
    J.-M. Drouffe and J.-B. Zuber, Phys. Rep. 102 (1983) 1.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(f"{fk.exact.sun_wilson_loop(2, 2.2, 4):.6f} {fk.exact.sun_wilson_loop(2, 2.2, 4, volume=16):.6f}")
    0.046544 0.046569
    """
    check_area("sun_wilson_loop", area, volume)
    if volume is None:
        return sun_one_plaquette(n, beta) ** area
    u = ratios(n, beta, volume)
    pairs = ((rep, new) for rep in u for new in times_box(rep, 1) if new in u)
    total = math.fsum(dimension(b) / dimension(a) * u[a] ** (volume - area) * u[b] ** area for a, b in pairs)
    return total / (n * math.fsum(value**volume for value in u.values()))

"""Functions of the means of observables: effective masses, potentials, cumulants, correlation lengths.

They take numbers, arrays, the Obs of pyerrors, and what autograd derives, so that an error can be carried through them.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from flowkit.checks import Count, checked, shown


def array_of(who: str, values: Any, least: int = 0) -> Any:
    """An array of numbers, Obs or boxes of autograd, with at least so many entries in its last axis (0: any)."""
    import autograd.numpy as anp  # it takes a tenth of a second to import

    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    try:
        array = anp.array(array)
    except (TypeError, ValueError, RuntimeError):
        array = np.array(None)
    plain = array
    while hasattr(plain, "_value"):
        plain = plain._value
    numbers = plain.dtype.kind in "fiu" or all(hasattr(one, "dvalue") for one in plain.flat)
    if not numbers or (least and (plain.ndim < 1 or plain.shape[-1] < least)):
        wanted = f"an array [..., {least} or more] of numbers" if least else "numbers"
        raise ValueError(f"{who} takes {wanted}; got {shown(values)}.")
    return array[()] if isinstance(array, np.ndarray) else array  # of one number the number itself


def elementwise(name: str, x: Any) -> Any:
    """A function of numpy at x, without a warning where it has no value: NaN says so."""
    import autograd.numpy as anp

    with np.errstate(invalid="ignore", divide="ignore"):
        return getattr(anp, name)(x)


@checked
def effective_mass(correlator: ArrayLike, form: Literal["cosh", "log"] = "cosh") -> Any:
    r"""The effective mass of a two-point function at each distance.

    Parameters
    ----------
    correlator : array_like
        The mean C(t), ``[..., T]``, t = 0, 1, ...
    form : str
        "cosh" for a periodic lattice, "log" for a single exponential.

    Returns
    -------
    array
        In units of the inverse lattice spacing: "cosh" ``[..., T - 2]`` for t = 1 ... T - 2, "log" ``[..., T - 1]`` for
        t = 0 ... T - 2; NaN where C(t) has no such mass.

    Raises
    ------
    ValueError
        For fewer than three distances.

    Notes
    -----
    .. math::
        \cosh m(t) = \frac{C(t - 1) + C(t + 1)}{2\, C(t)}, \qquad m(t) = \ln \frac{C(t)}{C(t + 1)}

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> t = np.arange(6)
    >>> fk.observables.effective_mass(np.cosh(0.5 * (t - 3))).round(4)
    array([0.5, 0.5, 0.5, 0.5])
    """
    c = array_of("effective_mass", correlator, 3)
    if form == "log":
        return elementwise("log", c[..., :-1] / c[..., 1:])
    return elementwise("arccosh", (c[..., :-2] + c[..., 2:]) / (2 * c[..., 1:-1]))


@checked
def static_potential(loops: ArrayLike) -> Any:
    r"""The potential of two static charges from Wilson loops, :math:`V(R, T) = \ln W(R, T) / W(R, T + 1)`.

    Parameters
    ----------
    loops : array_like
        Means W(R, T), ``[..., T]``, T = 1, 2, ..., as `wilson_loops` orders them.

    Returns
    -------
    array
        ``[..., T - 1]``, in units of the inverse lattice spacing; the static potential is its limit of large T.
        NaN where a mean is not positive.

    Raises
    ------
    ValueError
        For a single T.

    Examples
    --------
    >>> import flowkit as fk
    >>> area_law = [[0.5 ** (r * t) for t in (1, 2, 3)] for r in (1, 2)]
    >>> fk.observables.static_potential(area_law).round(4)                # R ln 2
    array([[0.6931, 0.6931],
           [1.3863, 1.3863]])
    """
    w = array_of("static_potential", loops, 2)
    return elementwise("log", w[..., :-1] / w[..., 1:])


@checked
def fit_potential(potential: ArrayLike, errors: ArrayLike | None = None, first: Count = 1) -> Any:
    r"""The fit of :math:`V(R) = A - B / R + \sigma R` to a static potential.

    Parameters
    ----------
    potential : array_like
        V(R), ``[R]``, R = first, first + 1, ...
    errors : array_like, optional
        Their errors, ``[R]``; by default all are equal.
    first : int
        The least R in lattice spacings.

    Returns
    -------
    array
        A, B and sigma, ``[3]``.

    Raises
    ------
    ValueError
        For fewer than three distances, or errors that are not positive.

    Notes
    -----
    A linear least-squares fit, so that errors can be carried through it. Sommer's scale is
    :math:`r_0 = \sqrt{(1.65 - B) / \sigma}`.

    References
    ----------
    Sommer, hep-lat/9310022.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.observables.fit_potential([0.5 - 0.3 / r + 0.1 * r for r in (1, 2, 3, 4)]).round(4)
    array([0.5, 0.3, 0.1])
    """
    v = array_of("fit_potential", potential, 3)
    sigma = np.ones(v.shape) if errors is None else array_of("fit_potential", errors, 3)
    if v.ndim != 1 or np.shape(sigma) != v.shape or not (sigma > 0).all():
        raise ValueError(f"fit_potential takes V(R), [R], and positive errors, [R]; got {shown(v)}, {shown(sigma)}.")
    import autograd.numpy as anp

    r = np.arange(first, first + len(v))
    basis = np.stack([np.ones(len(v)), -1 / r, r], 1)
    return anp.dot(np.linalg.pinv(basis / sigma[:, None]) / sigma, v)


@checked
def binder_cumulant(m2: ArrayLike, m4: ArrayLike) -> Any:
    r"""Binder's cumulant :math:`U = 1 - \langle m^4 \rangle / (3 \langle m^2 \rangle^2)`.

    Parameters
    ----------
    m2, m4 : array_like
        Means of the second and fourth power of the magnetisation, `magnetization_power`.

    Returns
    -------
    array
        Dimensionless: 0 for a Gaussian distribution of one component, 2/3 in the ordered phase.

    References
    ----------
    Binder, Z. Phys. B 43 (1981) 119.

    Examples
    --------
    >>> import flowkit as fk
    >>> float(fk.observables.binder_cumulant(2.0, 12.0))
    0.0
    """
    second, fourth = array_of("binder_cumulant", m2), array_of("binder_cumulant", m4)
    return 1 - fourth / (3 * second * second)


@checked
def second_moment_length(g0: ArrayLike, g1: ArrayLike, side: Count) -> Any:
    r"""The second-moment correlation length from the structure factor at zero and at the least momentum.

    .. math:: \xi = \frac{1}{2 \sin(\pi / L)} \sqrt{\frac{G(0)}{G(2\pi/L)} - 1}

    Parameters
    ----------
    g0, g1 : array_like
        Means of `structure_factor` at momentum 0, and at one unit of momentum in one direction.
    side : int
        L, the side of that direction.

    Returns
    -------
    array
        In lattice spacings; NaN where G(0) < G(2 pi / L).

    Notes
    -----
    For a free field of mass m it is 1/m at every L. In an ordered phase G(0) holds the square of the mean field, and xi
    grows with the volume.

    Examples
    --------
    >>> import math, flowkit as fk
    >>> G = lambda p2: 1 / (p2 + 0.25)                        # a free field of mass 1/2
    >>> round(float(fk.observables.second_moment_length(G(0.0), G(4 * math.sin(math.pi / 8) ** 2), 8)), 6)
    2.0
    """
    if side < 2:
        raise ValueError(f"second_moment_length needs a side >= 2; got {side}.")
    ratio = array_of("second_moment_length", g0) / array_of("second_moment_length", g1)
    return elementwise("sqrt", ratio - 1) / (2 * np.sin(np.pi / side))

"""Scales of a theory from the mean energies along the Wilson flow.

They take numbers, arrays, the Obs of pyerrors, and what autograd derives, so that an error can be carried through them.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit.checks import Positive, checked, shown
from flowkit.observables.of_means import array_of, elementwise


def _energies(who: str, times: Any, energies: Any) -> tuple[Any, Any]:
    t, e = np.asarray(array_of(who, times, 5), dtype=float), array_of(who, energies, 5)
    if t.ndim != 1 or np.shape(e) != t.shape or not (np.diff(t) > 0).all() or not t[0] >= 0:
        raise ValueError(f"{who} takes five or more growing times and an energy for each; got {shown(t)}, {shown(e)}.")
    return t, e


def _crossing(who: str, what: str, t: Any, y: Any, level: float) -> Any:
    """The t at which y(t) first reaches a level from below, by inverse interpolation through four points."""
    for k in range(1, len(t)):
        if y[k - 1] < level <= y[k]:
            first = min(max(k - 2, 0), len(t) - 4)
            points = range(first, first + 4)
            if not all(y[i] < y[i + 1] for i in list(points)[:-1]):  # not monotonic: the straight line between two
                points = range(k - 1, k + 1)
            total: Any = 0.0
            for i in points:
                weight: Any = 1.0
                for j in points:
                    if j != i:
                        weight = weight * (level - y[j]) / (y[i] - y[j])
                total = total + t[i] * weight
            return total
    raise ValueError(f"{who}: {what} does not reach {level:g} from below at flow times {t[0]:g} to {t[-1]:g}.")


@checked
def t0(times: ArrayLike, energies: ArrayLike, level: Positive = 0.3) -> Any:
    r"""The flow time at which :math:`t^2 \langle E(t) \rangle` reaches a level.

    Parameters
    ----------
    times : array_like
        Flow times, growing, ``[n]``, n >= 5, in lattice units.
    energies : array_like
        Mean energy densities <E(t)>, ``[n]``.
    level : float
        0.3 is the convention for SU(3).

    Returns
    -------
    float
        t0 in units of the lattice spacing squared, by cubic interpolation.

    Raises
    ------
    ValueError
        Where the level is not reached.

    References
    ----------
    Luescher, 1006.4518.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> t = np.linspace(0.0, 4.0, 21)
    >>> round(float(fk.observables.t0(t, 0.15 / np.maximum(t, 0.1))), 6)     # t^2 E = 0.15 t
    2.0
    """
    t, e = _energies("t0", times, energies)
    return _crossing("t0", "t^2 E", t, [t[k] * t[k] * e[k] for k in range(len(t))], level)


@checked
def w0(times: ArrayLike, energies: ArrayLike, level: Positive = 0.3) -> Any:
    r"""The scale w0 at which :math:`t\, \frac{d}{dt}\, t^2 \langle E(t) \rangle` reaches a level at t = w0^2.

    Parameters
    ----------
    times : array_like
        Flow times, growing, ``[n]``, n >= 5, in lattice units.
    energies : array_like
        Mean energy densities <E(t)>, ``[n]``.
    level : float
        0.3 is the convention for QCD.

    Returns
    -------
    float
        w0 in lattice spacings. The derivative is that of the polynomial through five neighbouring times.

    Raises
    ------
    ValueError
        Where the level is not reached.

    References
    ----------
    Borsanyi et al., 1203.4469.

    Examples
    --------
    >>> import numpy as np, flowkit as fk
    >>> t = np.linspace(0.0, 4.0, 21)
    >>> round(float(fk.observables.w0(t, 0.15 / np.maximum(t, 0.01))), 6)    # t d/dt t^2 E = 0.15 t
    1.414214
    """
    t, e = _energies("w0", times, energies)
    y = [t[k] * t[k] * e[k] for k in range(len(t))]
    slopes = []
    for k in range(len(t)):
        first = min(max(k - 2, 0), len(t) - 5)
        nodes = t[first : first + 5] - t[k]
        weights = np.linalg.solve(np.vander(nodes, increasing=True).T, np.eye(5)[1])
        slopes.append(t[k] * sum(weights[j] * y[first + j] for j in range(5)))
    return elementwise("sqrt", _crossing("w0", "t d/dt t^2 E", t, slopes, level))

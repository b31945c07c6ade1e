"""Functions of means with the error of their correlated fluctuations, by pyerrors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowkit.checks import shown
from flowkit.stats import Floats

if TYPE_CHECKING:
    import pyerrors


def as_obs(name: str, values: Floats, logw: Floats | None, S: float, places: range | None = None) -> pyerrors.Obs:
    """The mean of a series ``[n, chains]`` as an Obs, its chains the replica of the ensemble `name`.

    `places` are those of its steps in the chains, 1, 2, ... by default. The fluctuations are those around the common
    mean of all chains, as in `stats.estimate`.

    Examples
    --------
    >>> import numpy as np
    >>> from flowkit.ensemble.derived import as_obs
    >>> x = np.random.default_rng(1).normal(size=(500, 4))
    >>> a = as_obs("normal", x, None, 0.0)
    >>> bool(abs(a.dvalue * np.sqrt(2000) - 1) < 0.05)
    True
    """
    import pyerrors

    pyerrors.Obs.S_dict[name] = float(S)

    def plain(series: Floats) -> pyerrors.Obs:
        names = [f"{name}|r{i:05d}" for i in range(series.shape[1])]
        obs = pyerrors.Obs(list(series.T), names, idl=None if places is None else [places] * len(names))
        for one, chain in zip(names, series.T, strict=True):
            obs.deltas[one] = chain - obs.value
        return obs

    if logw is None:
        mean = plain(values)
    else:
        w = np.exp(logw - logw.max())
        w /= w.mean()
        mean = plain(w * values) / plain(w)
    mean.gamma_method(S=float(S))
    return mean


def fluctuations(
    function: Callable[..., Any], observed: Sequence[NDArray[Any]], shape: tuple[int, int]
) -> list[tuple[float, Floats]]:
    """Values of a function of means, and of each the series ``[n, chains]`` of its linearised fluctuations around it.

    Parameters
    ----------
    function : callable
        Of one argument for each of `observed`, of operators and functions of numpy, which autograd derives.
    observed : sequence of ndarray of Obs
        The means, each of its own shape.
    shape : tuple
        n, chains.
    """
    import pyerrors

    flat = np.concatenate([one.ravel() for one in observed])
    ends = np.cumsum([one.size for one in observed])

    def of_flat(x: Any, **_: Any) -> Any:
        parts = [x[end - one.size : end] for one, end in zip(observed, ends, strict=True)]
        pairs = zip(parts, observed, strict=True)
        return function(*(part.reshape(one.shape) if one.shape else part[0] for part, one in pairs))

    value = of_flat(np.array([one.value for one in flat]))
    if np.asarray(value).dtype.kind != "f":
        raise TypeError(f"derived takes a function of real means that returns real numbers; got {shown(value)}.")
    found = np.atleast_1d(np.asarray(pyerrors.derived_observable(of_flat, flat), dtype=object))
    series = []
    for one in found.ravel():
        deltas = np.stack([one.deltas[replicum] for replicum in sorted(one.deltas)], 1)
        series.append((float(one.value), one.value + deltas.reshape(shape)))
    return series

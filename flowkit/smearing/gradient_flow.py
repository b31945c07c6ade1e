"""The Wilson flow: the gradient flow of the links down a gauge action."""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from flowkit.checks import NotNegative, Positive, checked
from flowkit.geometry.loop_sums import loop_slopes
from flowkit.geometry.loops import check_links
from flowkit.geometry.space import Space


@checked
def wilson_flow(
    space: Space,
    x: Tensor,
    t: NotNegative,
    *,
    step: Positive = 0.02,
    tolerance: Positive | None = None,
    c1: float = 0.0,
) -> Tensor:
    r"""A gauge field at a flow time of the Wilson flow, in any dimension and for any group.

    .. math:: \dot V_t(x, \mu) = -g_0^2\, \{\partial_{x, \mu} S(V_t)\}\, V_t(x, \mu), \qquad V_0 = U

    Parameters
    ----------
    space : Space
        Links in two or more dimensions.
    x : Tensor
        The fields U, ``[batch, mu, *lattice, *matrix]``.
    t : float
        Flow time, in units of the lattice spacing squared.
    step : float
        Largest step of the integrator, or the first one with `tolerance`.
    tolerance : float, optional
        Adapts the step: the largest difference, in algebra coordinates of a link, between the third-order step and the
        second-order one that comes with it. A device is then waited for once a step.
    c1 : float
        Weight of the rectangles in S: 0 is the Wilson flow, -1/12 the Symanzik flow.

    Returns
    -------
    Tensor
        In the shape of x.

    Raises
    ------
    ValueError
        For sites, one dimension, or a tolerance below what rounding allows.

    Notes
    -----
    The flow time is normalised so that a mode of momentum p of a weak field decays as :math:`e^{-\hat p^2 t}`, for
    U(1) as for SU(N). The integrator is Luescher's Runge-Kutta method of third order; the adaptive step is that of
    Fritzsch and Ramos. No normalizing flow is meant: nothing is said of the density of V.

    References
    ----------
    Luescher, 1006.4518; Fritzsch and Ramos, 1301.4388.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4, 4), fk.SUN(2))
    >>> U = space.haar(1, torch.Generator().manual_seed(1))
    >>> for t in (0.0, 0.5):
    ...     print(f"{float(fk.plaquette(space, fk.smearing.wilson_flow(space, U, t))):.2f}")
    -0.05
    0.78
    """
    *_, last = flow_fields(space, x, [t], step=step, tolerance=tolerance, c1=c1)
    return last


@checked
def flow_fields(
    space: Space,
    x: Tensor,
    times: Sequence[NotNegative],
    *,
    step: Positive = 0.02,
    tolerance: Positive | None = None,
    c1: float = 0.0,
) -> Iterator[Tensor]:
    """The gauge fields at several flow times of one Wilson flow, one after the other.

    Parameters
    ----------
    space : Space
        Links in two or more dimensions.
    x : Tensor
        ``[batch, mu, *lattice, *matrix]``.
    times : sequence of float
        Flow times that do not fall.
    step, tolerance, c1
        As for `wilson_flow`.

    Yields
    ------
    Tensor
        In the shape of x, one for each time.

    Raises
    ------
    ValueError
        As `wilson_flow`, and for times that fall.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 4), fk.U1())
    >>> U = space.haar(1, torch.Generator().manual_seed(1))
    >>> for V in fk.smearing.flow_fields(space, U, (0.0, 1.0, 4.0)):
    ...     print(f"{float(fk.plaquette(space, V)):.2f}")
    0.09
    0.96
    1.00
    """
    check_links(space, x)
    if space.ndim < 2:
        raise ValueError(f"The Wilson flow needs plaquettes; got {space}.")
    if any(later < earlier for earlier, later in itertools.pairwise(times)):
        raise ValueError(f"Flow times do not fall; got {times}.")
    least = 100 * torch.finfo(x.dtype).eps
    if tolerance is not None and tolerance < least:
        raise ValueError(f"A tolerance of the Wilson flow of {x.dtype} is {least:.1g} or more; got {tolerance}.")
    return _fields(space, x, times, step, tolerance, c1)


def _fields(
    space: Space, x: Tensor, times: Sequence[float], step: float, tolerance: float | None, c1: float
) -> Iterator[Tensor]:
    now, h = 0.0, step
    for t in times:
        if tolerance is None:
            n = math.ceil((t - now) / step * (1 - 1e-12))
            for _ in range(n):
                x, _ = runge_kutta(space, x, (t - now) / n, c1)
        else:
            x, h = _adaptive(space, x, t - now, h, tolerance, c1)
        now = t
        yield x


def _adaptive(space: Space, x: Tensor, time: float, h: float, tolerance: float, c1: float) -> tuple[Tensor, float]:
    """The field after a time, and the step to go on with."""
    G, left = space.group, time
    while left > 1e-12 * time:
        now = min(h, left)
        new, w = runge_kutta(space, x, now, c1)
        second = G.move(x, w, 1.0)
        distance = float(G.tangent(G.compose(new, G.inverse(second))).detach().abs().max())
        grown = 0.95 * (tolerance / max(distance, 1e-300)) ** (1 / 3) if math.isfinite(distance) else 1.0
        grown = now * min(max(grown, 0.2), 5.0)
        if distance > tolerance and math.isfinite(distance):
            h = grown
            continue
        x, left = new, left - now
        h = max(h, grown) if now < h else grown  # a step that the end cut short says nothing against h
    return x, h


def runge_kutta(space: Space, x: Tensor, h: float, c1: float = 0.0) -> tuple[Tensor, Tensor]:
    """One step of the flow, of third order, and the coordinates w of the second-order step exp(w) x."""
    G = space.group
    scale = h * G.algebra_dim / G.casimir  # 2 N for SU(N): minus the gradient of g0^2 S

    def slope(v: Tensor) -> Tensor:
        return scale * loop_slopes(space, v, 1 - 8 * c1, c1)

    z0 = slope(x)
    v = G.move(x, z0, 1 / 4)
    z1 = slope(v)
    v = G.move(v, 8 / 9 * z1 - 17 / 36 * z0, 1.0)
    new = G.move(v, 3 / 4 * slope(v) - 8 / 9 * z1 + 17 / 36 * z0, 1.0)
    return G.restore(new), 2 * z1 - z0

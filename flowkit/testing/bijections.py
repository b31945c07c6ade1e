"""The contract of a map of numbers by parameters."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from flowkit.bijections import Bijection, IntervalSpline
from flowkit.testing.common import require, require_close, seeded
from flowkit.testing.derivatives import require_nan_stays, require_second_derivatives


def check_bijection(bijection: Bijection[Tensor]) -> None:
    r"""Check a map of numbers or angles: identity at zero parameters, round trip, slope, second derivatives, NaN,
    smooth across :math:`\pm\pi`.

    Maps of several angles, whose log-Jacobian refers to Haar measure, are checked as parts of transforms of links.

    Parameters
    ----------
    bijection : Bijection
        Maps numbers by parameters that a network gives.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_bijection(fk.bijections.RealSpline(4))
    """
    who, rng, circular = type(bijection).__name__, seeded(), bijection.angles == 1
    require(bijection.count > 0, f"{who} takes no parameters for a number.")
    reach = math.pi if circular else 0.5
    unit = torch.rand(7, 11, generator=rng, dtype=torch.float64)
    # Interval maps live on [0, 1]; all others are tried there too, and real ones far outside in their own tests.
    x = (2 * unit - 1) * reach if circular else unit
    zero = torch.zeros(bijection.count, *x.shape, dtype=torch.float64)
    y, logs = bijection.forward(x, zero)
    require_close(y, x, f"{who}: the identity at zero parameters", 1e-12)
    require_close(logs.expand_as(x), torch.zeros_like(x), f"{who}: slope 1 at zero parameters", 1e-12)
    for shape in (x.shape, ()):  # parameters for each number, and one set for all
        params = torch.randn(bijection.count, *shape, generator=rng, dtype=torch.float64)
        x = x.detach().requires_grad_()
        y, logs = bijection.forward(x, params)
        (slope,) = torch.autograd.grad(y.sum(), x)
        require((slope > 0).all(), f"{who} is not monotone.")
        require_close(logs.expand_as(x).detach(), slope.log(), f"{who}: log slope against autograd", 1e-8)
        back, minus = bijection.inverse(y.detach(), params)
        require_close(back, x.detach(), f"{who}: round trip", 1e-8)
        require_close(minus.expand_as(x), -logs.detach().expand_as(x), f"{who}: slope of the inverse", 1e-7)
        for name, function in {"forward": bijection.forward, "inverse": bijection.inverse}.items():
            require_second_derivatives(function, [unit, params], f"{who}.{name}")
            require_nan_stays(partial(_of, function, params), unit, f"{who}.{name}")
        if bijection.odd:
            require_close(bijection.forward(-x, params)[0], -y, f"{who}: f(-x) against -f(x)", 1e-12)
    params = torch.randn(bijection.count, *unit.shape, generator=rng, dtype=torch.float64)
    try:
        mirrored = bijection.mirrored(params)
    except ValueError as error:
        require(who in str(error), f"{who}: the message of mirrored does not name it: {error}")
    else:
        total = 1.0 if isinstance(bijection, IntervalSpline) else 0.0  # the sum of those of the domain
        y, logs = bijection.forward(unit, params)
        image, image_logs = bijection.forward(total - unit, mirrored)
        require_close(image, total - y, f"{who}: its mirror image", 1e-10)
        require_close(image_logs.expand_as(y), logs.expand_as(y), f"{who}: slope of its mirror image", 1e-10)
    if circular:
        params = torch.randn(bijection.count, 5, generator=rng, dtype=torch.float64)
        ends = [bijection.forward(torch.full((5,), s * math.pi, dtype=torch.float64), params) for s in (-1, 1)]
        require_close((ends[0][0] - ends[1][0]).cos(), torch.ones(5, dtype=torch.float64), f"{who}: y across +-pi")
        require_close(ends[0][1], ends[1][1], f"{who}: slope across +-pi")


def _of(function: Callable[..., tuple[Tensor, Tensor]], params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    return function(x, params)

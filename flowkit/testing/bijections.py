"""The contract of a map of numbers by parameters."""

import math

import torch

from flowkit.testing.common import require, require_close, seeded
from flowkit.transforms import PointwiseMap


def check_pointwise(pointwise: PointwiseMap) -> None:
    """Zero parameters give the identity; round trip, slope against autograd, monotone, smooth across +-pi."""
    who, rng = type(pointwise).__name__, seeded()
    reach = math.pi if pointwise.circular else 0.5
    unit = torch.rand(7, 11, generator=rng, dtype=torch.float64)
    # Interval maps live on [0, 1]; all others are tried there too, and real ones far outside in their own tests.
    x = (2 * unit - 1) * reach if pointwise.circular else unit
    zero = torch.zeros(pointwise.count, *x.shape, dtype=torch.float64)
    y, logs = pointwise.forward(x, zero)
    require_close(y, x, f"{who}: the identity at zero parameters", 1e-12)
    require_close(logs.expand_as(x), torch.zeros_like(x), f"{who}: slope 1 at zero parameters", 1e-12)
    for shape in (x.shape, ()):  # parameters for each number, and one set for all
        params = torch.randn(pointwise.count, *shape, generator=rng, dtype=torch.float64)
        x = x.detach().requires_grad_()
        y, logs = pointwise.forward(x, params)
        (slope,) = torch.autograd.grad(y.sum(), x)
        require((slope > 0).all(), f"{who} is not monotone.")
        require_close(logs.expand_as(x).detach(), slope.log(), f"{who}: log slope against autograd", 1e-8)
        back, minus = pointwise.inverse(y.detach(), params)
        require_close(back, x.detach(), f"{who}: round trip", 1e-8)
        require_close(minus.expand_as(x), -logs.detach().expand_as(x), f"{who}: slope of the inverse", 1e-7)
    if pointwise.circular:
        params = torch.randn(pointwise.count, 5, generator=rng, dtype=torch.float64)
        ends = [pointwise.forward(torch.full((5,), s * math.pi, dtype=torch.float64), params) for s in (-1, 1)]
        require_close((ends[0][0] - ends[1][0]).cos(), torch.ones(5, dtype=torch.float64), f"{who}: y across +-pi")
        require_close(ends[0][1], ends[1][1], f"{who}: slope across +-pi")

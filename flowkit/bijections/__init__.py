"""Invertible maps of numbers and of group elements, with their log-Jacobians."""

from flowkit.bijections.alcove import AlcoveSpline
from flowkit.bijections.circular import (
    Circular,
)
from flowkit.bijections.pointwise import (
    AffineMap,
    CircleSpline,
    IntervalSpline,
    PointwiseMap,
    RealSpline,
    TangentMixture,
)
from flowkit.bijections.updates import (
    LinkUpdate,
    Residual,
    Spectral,
)

__all__ = [
    "AffineMap",
    "AlcoveSpline",
    "CircleSpline",
    "Circular",
    "IntervalSpline",
    "LinkUpdate",
    "PointwiseMap",
    "RealSpline",
    "Residual",
    "Spectral",
    "TangentMixture",
]

"""Invertible maps of numbers and of group elements, with their log-Jacobians."""

from flowkit.bijections.affine import AffineMap
from flowkit.bijections.alcove import AlcoveSpline
from flowkit.bijections.base import Bijection, LinkContext
from flowkit.bijections.eigenangles import EigenangleSpline, angle_spline
from flowkit.bijections.framed import FramedMap
from flowkit.bijections.residual import Residual
from flowkit.bijections.splines import CircleSpline, IntervalSpline, OddCircleSpline, RealSpline
from flowkit.bijections.tangent import TangentMixture

__all__ = [
    "AffineMap",
    "AlcoveSpline",
    "Bijection",
    "CircleSpline",
    "EigenangleSpline",
    "FramedMap",
    "IntervalSpline",
    "LinkContext",
    "OddCircleSpline",
    "RealSpline",
    "Residual",
    "TangentMixture",
    "angle_spline",
]


def __dir__() -> list[str]:
    return __all__

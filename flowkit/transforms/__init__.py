"""Transforms: invertible maps of fields with their log-Jacobians."""

from flowkit.transforms.affine import Affine
from flowkit.transforms.base import Chain, Transform
from flowkit.transforms.coupling import CheckerboardCoupling
from flowkit.transforms.fourier import FourierScale
from flowkit.transforms.gauge import GaugeCoupling
from flowkit.transforms.pointwise import (
    AffineMap,
    CircleSpline,
    IntervalSpline,
    PointwiseMap,
    RealSpline,
    TangentMixture,
)
from flowkit.transforms.spline import DistributionConverter, Spline

__all__ = [
    "Affine",
    "AffineMap",
    "Chain",
    "CheckerboardCoupling",
    "CircleSpline",
    "DistributionConverter",
    "FourierScale",
    "GaugeCoupling",
    "IntervalSpline",
    "PointwiseMap",
    "RealSpline",
    "Spline",
    "TangentMixture",
    "Transform",
]

"""Transforms: invertible maps of fields with their log-Jacobians."""

from flowkit.transforms.affine import Affine
from flowkit.transforms.base import Chain, Transform
from flowkit.transforms.circular import Circular
from flowkit.transforms.coarser import OnEvenSites, OnSublattices, Prolongation
from flowkit.transforms.coupling import CheckerboardCoupling
from flowkit.transforms.fourier import FourierModes, FourierScale, LowModes
from flowkit.transforms.gauge import GaugeCoupling, plaquette_couplings
from flowkit.transforms.gradient_flow import GradientFlow
from flowkit.transforms.matrix_coupling import MatrixCoupling
from flowkit.transforms.pointwise import (
    AffineMap,
    CircleSpline,
    IntervalSpline,
    PointwiseMap,
    RealSpline,
    TangentMixture,
)
from flowkit.transforms.site_conditional import SiteConditional, SitesIntegrated
from flowkit.transforms.spectral import AlcoveSpline, SpectralFlow
from flowkit.transforms.spline import DistributionConverter, Spline
from flowkit.transforms.updates import LinkUpdate, Residual, Spectral

__all__ = [
    "Affine",
    "AffineMap",
    "AlcoveSpline",
    "Chain",
    "CheckerboardCoupling",
    "CircleSpline",
    "Circular",
    "DistributionConverter",
    "FourierModes",
    "FourierScale",
    "GaugeCoupling",
    "GradientFlow",
    "IntervalSpline",
    "LinkUpdate",
    "LowModes",
    "MatrixCoupling",
    "OnEvenSites",
    "OnSublattices",
    "PointwiseMap",
    "Prolongation",
    "RealSpline",
    "Residual",
    "SiteConditional",
    "SitesIntegrated",
    "Spectral",
    "SpectralFlow",
    "Spline",
    "TangentMixture",
    "Transform",
    "plaquette_couplings",
]

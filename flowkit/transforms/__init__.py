"""Transforms: invertible maps of fields with their log-Jacobians."""

from flowkit.bijections.alcove import AlcoveSpline
from flowkit.bijections.circular import Circular
from flowkit.bijections.pointwise import (
    AffineMap,
    CircleSpline,
    IntervalSpline,
    PointwiseMap,
    RealSpline,
    TangentMixture,
)
from flowkit.bijections.updates import LinkUpdate, Residual, Spectral
from flowkit.transforms.base import Transform
from flowkit.transforms.chain import Chain
from flowkit.transforms.links.gauge import GaugeCoupling, plaquette_couplings
from flowkit.transforms.links.matrix_coupling import MatrixCoupling
from flowkit.transforms.links.spectral import SpectralFlow
from flowkit.transforms.links.trivializing import GradientFlow
from flowkit.transforms.sites.affine import Affine
from flowkit.transforms.sites.coarser import OnEvenSites, OnSublattices, Prolongation
from flowkit.transforms.sites.coupling import CheckerboardCoupling
from flowkit.transforms.sites.fourier import FourierModes, FourierScale, LowModes
from flowkit.transforms.sites.site_conditional import SiteConditional, SitesIntegrated
from flowkit.transforms.sites.spline import DistributionConverter, Spline

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

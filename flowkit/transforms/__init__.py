"""Transforms: invertible maps of fields with their log-Jacobians."""

from flowkit.transforms.base import Transform
from flowkit.transforms.chain import Chain
from flowkit.transforms.inside import Inside
from flowkit.transforms.links.gauge import GaugeCoupling
from flowkit.transforms.links.lifted_drift import LiftedDrift
from flowkit.transforms.links.photon_drift import PhotonDrift
from flowkit.transforms.links.spectral import SpectralCoupling
from flowkit.transforms.links.trivializing import TrivializingFlow
from flowkit.transforms.sites.affine import Affine
from flowkit.transforms.sites.coarser import OnSublattices, Prolongation
from flowkit.transforms.sites.coupling import CheckerboardCoupling
from flowkit.transforms.sites.fourier import FourierModes, FourierScale
from flowkit.transforms.sites.free_field_drift import FreeFieldDrift, gap_mass
from flowkit.transforms.sites.low_modes import LowModes
from flowkit.transforms.sites.site_conditional import SiteConditional, SitesIntegrated
from flowkit.transforms.sites.spline import DistributionConverter, Spline

__all__ = [
    "Affine",
    "Chain",
    "CheckerboardCoupling",
    "DistributionConverter",
    "FourierModes",
    "FourierScale",
    "FreeFieldDrift",
    "GaugeCoupling",
    "Inside",
    "LiftedDrift",
    "LowModes",
    "OnSublattices",
    "PhotonDrift",
    "Prolongation",
    "SiteConditional",
    "SitesIntegrated",
    "SpectralCoupling",
    "Spline",
    "Transform",
    "TrivializingFlow",
    "gap_mass",
]


def __dir__() -> list[str]:
    return __all__

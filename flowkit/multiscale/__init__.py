"""Multiscale models: fields built by doubling the lattice, from coarse to fine."""

from flowkit.multiscale.class_functions import ClassFunctionConditional
from flowkit.multiscale.class_functions_su2 import SU2ClassFunctionConditional
from flowkit.multiscale.conditional import LinkConditional
from flowkit.multiscale.doubling import Doubling
from flowkit.multiscale.heat_angle import HeatAngleConditional
from flowkit.multiscale.heatbath_link import HeatbathConditional
from flowkit.multiscale.hierarchy import Multiscale, multiscale_flow
from flowkit.multiscale.scalar import Refinement, ScalarMultiscale, scalar_multiscale_flow
from flowkit.multiscale.scales import ByScale, ScaleNumbers, by_scale, decimated_action, log_weights_by_scale
from flowkit.multiscale.smooth_class_functions import SmoothClassFunctionConditional
from flowkit.multiscale.staple_flow import StapleFlow

__all__ = [
    "ByScale",
    "ClassFunctionConditional",
    "Doubling",
    "HeatAngleConditional",
    "HeatbathConditional",
    "LinkConditional",
    "Multiscale",
    "Refinement",
    "SU2ClassFunctionConditional",
    "ScalarMultiscale",
    "ScaleNumbers",
    "SmoothClassFunctionConditional",
    "StapleFlow",
    "by_scale",
    "decimated_action",
    "log_weights_by_scale",
    "multiscale_flow",
    "scalar_multiscale_flow",
]

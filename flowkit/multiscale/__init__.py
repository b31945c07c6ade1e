"""Multiscale models: fields built by doubling the lattice, from coarse to fine."""

from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.conditionals.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditionals.class_functions_su2 import SU2ClassFunctionConditional
from flowkit.multiscale.conditionals.heat_angle import HeatAngleConditional
from flowkit.multiscale.conditionals.heatbath import HeatbathConditional
from flowkit.multiscale.conditionals.smooth_class_functions import SmoothClassFunctionConditional
from flowkit.multiscale.conditionals.staple import StapleFlow
from flowkit.multiscale.doubling import Doubling
from flowkit.multiscale.hierarchy import Multiscale, multiscale_flow
from flowkit.multiscale.scalar import Refinement, ScalarMultiscale, scalar_multiscale_flow
from flowkit.multiscale.scales import ByScale, ScaleNumbers, by_scale, decimated_action, log_weights_by_scale

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

"""Multiscale models: fields built by doubling the lattice, from coarse to fine."""

from flowkit.multiscale.block_conditional import BlockConditional
from flowkit.multiscale.blocks import Block
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.conditionals.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditionals.class_functions_su2 import SU2ClassFunctionConditional
from flowkit.multiscale.conditionals.harmonics import HarmonicConditional
from flowkit.multiscale.conditionals.heat_angle import HeatAngleConditional
from flowkit.multiscale.conditionals.heatbath import HeatbathConditional, LinearHeatbathConditional
from flowkit.multiscale.conditionals.smooth_class_functions import SmoothClassFunctionConditional
from flowkit.multiscale.conditionals.staple import StapleConditional
from flowkit.multiscale.conditionals.su3_heatbath import SU3HeatbathConditional
from flowkit.multiscale.contexts import CompletePlaquettes, LinkContext
from flowkit.multiscale.doubling import LinkDoubling
from flowkit.multiscale.dressed import DressedStaples
from flowkit.multiscale.free_field_loss import free_field_loss
from flowkit.multiscale.new_links import NewLinks
from flowkit.multiscale.scale_numbers import ByScale, ScaleNumbers, by_scale
from flowkit.multiscale.scales import decimated_action, log_weights_by_scale
from flowkit.multiscale.site_doubling import SiteDoubling
from flowkit.multiscale.structure import coarsest, fields_by_scale, levels, smoothed, strengthened

__all__ = [
    "Block",
    "BlockConditional",
    "ByScale",
    "ClassFunctionConditional",
    "CompletePlaquettes",
    "DressedStaples",
    "HarmonicConditional",
    "HeatAngleConditional",
    "HeatbathConditional",
    "LinearHeatbathConditional",
    "LinkConditional",
    "LinkContext",
    "LinkDoubling",
    "NewLinks",
    "SU2ClassFunctionConditional",
    "SU3HeatbathConditional",
    "ScaleNumbers",
    "SiteDoubling",
    "SmoothClassFunctionConditional",
    "StapleConditional",
    "by_scale",
    "coarsest",
    "decimated_action",
    "fields_by_scale",
    "free_field_loss",
    "levels",
    "log_weights_by_scale",
    "smoothed",
    "strengthened",
]


def __dir__() -> list[str]:
    return __all__

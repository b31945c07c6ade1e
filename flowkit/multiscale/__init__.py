"""Multiscale models: fields built by doubling the lattice, from coarse to fine."""

from flowkit.multiscale.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditional import LinkConditional
from flowkit.multiscale.doubling import Doubling
from flowkit.multiscale.heat_angle import HeatAngleConditional
from flowkit.multiscale.hierarchy import Multiscale, multiscale_flow

__all__ = [
    "ClassFunctionConditional",
    "Doubling",
    "HeatAngleConditional",
    "LinkConditional",
    "Multiscale",
    "multiscale_flow",
]

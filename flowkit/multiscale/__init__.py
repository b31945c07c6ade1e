"""Multiscale models: fields built by doubling the lattice, from coarse to fine."""

from flowkit.multiscale.class_functions import ClassFunctionConditional
from flowkit.multiscale.conditional import LinkConditional
from flowkit.multiscale.doubling import Doubling
from flowkit.multiscale.hierarchy import Multiscale, multiscale_flow
from flowkit.multiscale.staple_flow import StapleFlow

__all__ = ["ClassFunctionConditional", "Doubling", "LinkConditional", "Multiscale", "StapleFlow", "multiscale_flow"]

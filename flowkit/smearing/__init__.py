"""Smoothing of gauge fields: the Wilson flow, and APE, stout and HYP smearing."""

from flowkit.smearing.gradient_flow import flow_fields, wilson_flow
from flowkit.smearing.links import ape, hyp, stout

__all__ = ["ape", "flow_fields", "hyp", "stout", "wilson_flow"]


def __dir__() -> list[str]:
    return __all__

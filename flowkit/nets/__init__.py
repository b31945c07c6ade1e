"""Networks: periodic convolutions between chosen sites of a lattice."""

from .convolution import ConvNet, SiteConv

__all__ = ["ConvNet", "SiteConv"]

"""Networks: periodic convolutions between chosen sites of a lattice, and networks that act on every site alone."""

from .convolution import ConvNet, SiteConv
from .pointwise import PointwiseNet

__all__ = ["ConvNet", "PointwiseNet", "SiteConv"]

"""Networks: periodic convolutions between chosen sites of a lattice, and networks that act on every site alone."""

from flowkit.nets.convolution import ConvNet, SiteConv
from flowkit.nets.pointwise import PointwiseNet

__all__ = ["ConvNet", "PointwiseNet", "SiteConv"]


def __dir__() -> list[str]:
    return __all__

"""Networks: periodic convolutions between chosen sites of a lattice, and networks that act on every site alone."""

from flowkit.nets.convolution import SiteConv
from flowkit.nets.factorised import FactorisedConv
from flowkit.nets.network import ConvNet
from flowkit.nets.pointwise import PointwiseNet

__all__ = ["ConvNet", "FactorisedConv", "PointwiseNet", "SiteConv"]


def __dir__() -> list[str]:
    return __all__

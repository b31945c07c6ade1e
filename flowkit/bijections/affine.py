"""A scale and a shift."""

import torch
from torch import Tensor

from flowkit.bijections.base import Bijection


class AffineMap(Bijection[Tensor]):
    """y = e^s x + t of real numbers, with parameters (s, t).

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> params = torch.tensor([[0.0], [3.0]])                 # s = 0, t = 3
    >>> fk.bijections.AffineMap().forward(torch.tensor([2.0]), params)
    (tensor([5.]), tensor([0.]))
    """

    count = 2

    def mirrored(self, params: Tensor) -> Tensor:
        s, t = params
        return torch.stack([s, -t])

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        s, t = given
        return x * s.exp() + t, s

    def inverse(self, y: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        s, t = given
        return (y - t) * (-s).exp(), -s

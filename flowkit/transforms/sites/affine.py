"""One scale and one shift for the whole field."""

import torch
from torch import Tensor, nn

from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.transforms.base import Transform


class Affine(Transform):
    r"""One scale and one shift for each component of a scalar field.

    .. math:: y = e^s x + t, \qquad \log\left|\det \frac{dy}{dx}\right| = V \sum_c s_c

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    shift : bool
        False keeps t = 0, so that the map is odd.

    Raises
    ------
    ValueError
        For links.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> y, logdet = fk.transforms.Affine(fk.sites((2, 2)))(torch.ones(1, 1, 2, 2))   # starts at the identity
    >>> y.flatten().tolist(), logdet.tolist()
    ([1.0, 1.0, 1.0, 1.0], [0.0])
    """

    @checked
    def __init__(self, space: Space, shift: bool = True):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"Affine lives on sites; got {space}.")
        shape = (space.components, *[1] * space.ndim)
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.shift = nn.Parameter(torch.zeros(shape)) if shift else None

    def _logdet(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * self.space.volume).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x * self.log_scale.exp()
        return (y if self.shift is None else y + self.shift), self._logdet(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x = y if self.shift is None else y - self.shift
        return x * (-self.log_scale).exp(), -self._logdet(y)

    def rebuild(self, space: Space) -> "Affine":
        return Affine(space, self.shift is not None)

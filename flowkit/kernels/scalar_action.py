r"""The action of scalar fields in the common form of all parametrisations, and its force.

.. math:: S = \sum_x \Big[ -h \sum_\mu \phi_{x+\mu} \phi_x + a \phi_x^2 + g \phi_x^4 \Big]
"""

import torch
from torch import Tensor


def scalar_action(x: Tensor, h: float, a: float, g: float) -> Tensor:
    r"""The action of each field, summed over components.

    Parameters
    ----------
    x : Tensor
        Fields ``[batch, components, *lattice]``.
    h, a, g : float
        Hopping, quadratic and quartic coupling, dimensionless.

    Returns
    -------
    Tensor
        ``[batch]``.

    Notes
    -----
    .. math:: S = \sum_x \Big[ -h \sum_\mu \phi_{x+\mu} \phi_x + a \phi_x^2 + g \phi_x^4 \Big]

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.scalar_action import scalar_action
    >>> scalar_action(torch.ones(1, 1, 4, 4), h=1.0, a=2.0, g=0.5)      # 16 sites of -2 + 2 + 0.5
    tensor([8.])
    """
    ahead = torch.roll(x, -1, 2)
    for axis in range(3, x.dim()):
        ahead = ahead + torch.roll(x, -1, axis)
    square = x * x
    return (square * (a + g * square) - h * x * ahead).flatten(1).sum(1)


def scalar_force(x: Tensor, h: float, a: float, g: float) -> Tensor:
    """The force -dS/dphi of `scalar_action`, of the shape of x.

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.scalar_action import scalar_force
    >>> scalar_force(torch.ones(1, 1, 2), h=1.0, a=2.0, g=0.5)         # 2 h - 2 a - 4 g
    tensor([[[-4., -4.]]])
    """
    return h * neighbours(x) - x * (2 * a + 4 * g * x * x)


def neighbours(x: Tensor) -> Tensor:
    """The sum of the neighbours of each site, of the shape of x."""
    total = torch.roll(x, -1, 2) + torch.roll(x, 1, 2)
    for axis in range(3, x.dim()):
        total = total + torch.roll(x, -1, axis) + torch.roll(x, 1, axis)
    return total

"""What a bijection is: an invertible map of numbers or of group elements that depends on what it is given."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor

Given = TypeVar("Given", contravariant=True)


class Bijection(ABC, Generic[Given]):
    r"""An invertible map ``y = f(x; given)`` of numbers, angles or matrices, with its log-Jacobian.

    A `Transform` maps whole fields; a bijection maps their single sites or links. What it depends on comes with each
    call: parameters from a network for a spline, the loops through a link for a model of new links.
    """

    @abstractmethod
    def forward(self, x: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        """The image of x and the log-Jacobian of the map.

        Parameters
        ----------
        x : Tensor
            Numbers or angles ``[...]``, matrices ``[..., N, N]``.
        given
            What the map depends on; each family of bijections says what it is.

        Returns
        -------
        y : Tensor
            The image, in the shape of x.
        logdet : Tensor
            ``log|dy/dx|`` of each number, or ``log|det dy/dx|`` of each matrix in Haar measure, ``[...]``.
        """

    @abstractmethod
    def inverse(self, y: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        """The preimage of y and the log-Jacobian of the inverse map, in the shapes of `forward`."""

"""What a bijection is: an invertible map of numbers or of group elements that depends on what it is given."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from flowkit.checks import Range
from flowkit.kernels.autocast import FullPrecision

Given = TypeVar("Given", contravariant=True)


class LinkContext(NamedTuple):
    """What a map of the links V of a gauge coupling is given.

    Attributes
    ----------
    loops : sequence of Tensor
        The R_i, ``[sites, batch, *matrix]``, that close loops W_i = V R_i through each link; no V changes them.
    params : Tensor
        Numbers from the network, ``[count, sites, batch]``.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> loops = [torch.zeros(1, 3)]                         # of U(1), one loop through the one active link of 3 fields
    >>> given = fk.bijections.LinkContext(loops, torch.zeros(5, 1, 3))
    >>> [R.shape for R in given.loops], given.params.shape
    ([torch.Size([1, 3])], torch.Size([5, 1, 3]))
    """

    loops: Sequence[Tensor]
    params: Tensor


class Bijection(FullPrecision, ABC, Generic[Given]):
    r"""An invertible map ``y = f(x; given)`` of numbers, angles or group elements, with its log-Jacobian.

    A `Transform` maps whole fields; a bijection maps their single sites or links. What it depends on comes with each
    call. For maps of numbers that is a tensor of parameters, ``[count, *x.shape]``, or ``[count]`` for one map that all
    numbers share; all zero is the identity. For maps of links it is a `LinkContext`.

    Attributes
    ----------
    count : int
        Parameters that the map takes for each number, or for each link.
    per_loop : int
        Further parameters for each loop through the link, of maps of links.
    angles : int
        Angles that a map of angles takes at once: 1, in [-pi, pi), or N on axis 0. 0 for maps of other things.
    odd : bool
        Whether f(-x) = -f(x), of maps of one angle.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> spline = fk.bijections.RealSpline(bins=4)
    >>> x, params = torch.tensor([-1.0, 0.5]), torch.zeros(spline.count, 2)
    >>> y, logdet = spline.forward(x, params)
    >>> torch.allclose(y, x), torch.allclose(logdet, torch.zeros(2), atol=1e-6)
    (True, True)
    >>> isinstance(spline, fk.Bijection)
    True
    """

    count: int = 0
    per_loop: int = 0
    angles: int = 0
    odd: bool = False

    def count_with(self, loops: int) -> int:
        """Parameters for each link that has so many loops."""
        return self.count + self.per_loop * loops

    def mirrored(self, params: Tensor) -> Tensor:
        """The parameters of the map seen in a mirror, x -> -f(-x), or 1 - f(1 - x) on [0, 1]; linear in `params`.

        Raises
        ------
        ValueError
            Where the mirror image is no map of the same family, or not known.
        """
        raise ValueError(f"{type(self).__name__} does not say which parameters its mirror image has.")

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


class TwoWay(Bijection[Given]):
    """A bijection whose two directions are one rule, told by a flag which of them is wanted."""

    @abstractmethod
    def _map(self, x: Tensor, given: Given, inverse: bool) -> tuple[Tensor, Tensor]:
        """The image or the preimage of x, and its log-Jacobian, in the shapes of `forward`."""

    def forward(self, x: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        return self._map(x, given, False)

    def inverse(self, y: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        return self._map(y, given, True)


def move_links(
    updates: Sequence[Bijection[LinkContext]], v: Tensor, loops: Sequence[Tensor], params: Tensor, inverse: bool
) -> tuple[Tensor, list[Tensor]]:
    """Links moved by several maps one after the other, or moved back by their inverses in reverse order.

    Parameters
    ----------
    updates : sequence of Bijection
        The maps of a link, in the order of the forward direction.
    v : Tensor
        The links, ``[sites, batch, *matrix]``.
    loops : sequence of Tensor
        What closes the loops through each link, each in the shape of v.
    params : Tensor
        The parameters of all maps, ``[sum of their counts, sites, batch]``, in the order of the maps.
    inverse : bool
        Whether the links are moved back.

    Returns
    -------
    Tensor
        The links that come out.
    list of Tensor
        The log-Jacobian of each map, ``[sites, batch]``, in the order in which they were applied.
    """
    shares = torch.split(params, [update.count_with(len(loops)) for update in updates])
    steps, logdets = list(zip(updates, shares, strict=True)), []
    for update, own in reversed(steps) if inverse else steps:
        v, logdet = (update.inverse if inverse else update.forward)(v, LinkContext(loops, own))
        logdets.append(logdet)
    return v, logdets


Bins = Annotated[int, Range(2, 500)]
"""Bins of a spline on [0, 1], each at least a thousandth wide."""

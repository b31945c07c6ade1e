"""A map of coarse fields at work inside a fine field."""

from collections.abc import Iterator

import torch
from torch import Tensor

from flowkit.actions.gradients import Map
from flowkit.checks import checked
from flowkit.geometry.doubling import Doubling, EvenSites
from flowkit.geometry.space import Space
from flowkit.transforms.base import Layer, Transform


class Inside(Transform):
    r"""A transform of the coarse field inside a fine field; the rest of the fine field stays as it is.

    The coarse field and the rest are what the doubling splits a fine field into. A multiscale model is in this way one
    chain of transforms on the fine lattice, see `Flow.flattened`.

    Parameters
    ----------
    coarse : Transform
        Any transform of coarse fields; it may hold another `Inside`.
    doubling : Doubling, optional
        How the coarse field lies in the fine one, such as a `LinkDoubling`; by default `EvenSites`, which is for sites.

    Raises
    ------
    ValueError
        For a doubling that begins at another space than that of the coarse transform, or for links without a doubling.

    Notes
    -----
    .. math:: (y_c, y_{\rm rest}) = (f(x_c), x_{\rm rest}), \quad {\rm logdet} = {\rm logdet}_f(x_c)

    since the map (coarse, rest) -> fine has Jacobian 1.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> f = fk.transforms.Inside(fk.transforms.DistributionConverter(fk.sites((2,)), 4))
    >>> with torch.no_grad():
    ...     for p in f.parameters():
    ...         _ = p.normal_(generator=torch.Generator().manual_seed(1))
    >>> x = torch.ones(1, 1, 4)
    >>> y, logdet = f(x)
    >>> (y != x).flatten()                                   # the sites of the coarse lattice have moved
    tensor([ True, False,  True, False])
    """

    @checked
    def __init__(self, coarse: Transform, doubling: Doubling | None = None):
        if doubling is None:
            if coarse.space.kind != "sites":
                raise ValueError(f"Inside needs a LinkDoubling for links; got {coarse.space} alone.")
            doubling = EvenSites(coarse.space)
        if doubling.coarse != coarse.space:
            raise ValueError(f"The doubling begins at {doubling.coarse}; got a transform of {coarse.space}.")
        super().__init__(doubling.fine)
        self.coarse, self.doubling = coarse, doubling

    def _inside(self, x: Tensor, move: Map) -> tuple[Tensor, Tensor]:
        coarse, *rest = self.doubling.split(x)
        moved, logdet = move(coarse)
        return self.doubling.join(moved, *rest), logdet

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._inside(x, self.coarse)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._inside(y, self.coarse.inverse)

    def push(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return self._inside(x, lambda coarse: self.coarse.push(coarse, rng))

    @property
    def exact(self) -> bool:
        return self.coarse.exact

    def defect(self, x: Tensor) -> Tensor:
        return self.coarse.defect(self.doubling.split(x)[0])

    @property
    def stochastic(self) -> bool:
        return self.coarse.stochastic

    def by_layer(self, x: Tensor, rng: torch.Generator | None = None) -> Iterator[Layer]:
        """The fine field after each layer of the coarse transform."""
        coarse, *rest = self.doubling.split(x)
        for layer in self.coarse.by_layer(coarse, rng):
            yield layer._replace(x=self.doubling.join(layer.x, *rest))

    def rebuild(self, space: Space) -> "Inside":
        doubling = self.doubling.on(space)
        return Inside(self.coarse.rebuild(doubling.coarse), doubling)

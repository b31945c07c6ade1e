"""One map of eigenangles for every link on its own."""

import torch
from torch import Tensor, nn

from flowkit.bijections.base import Bins
from flowkit.bijections.eigenangles import angle_spline, move_eigenangles
from flowkit.checks import Count, checked
from flowkit.geometry.space import Space
from flowkit.transforms.base import TwoWay


class SpectralCoupling(TwoWay):
    r"""One learned map h of the eigenangles of every link, each link on its own.

    .. math:: \Omega\, e^{i\,\mathrm{diag}(a)}\, \Omega^{-1} \to \Omega\, e^{i\,\mathrm{diag}(h(a))}\, \Omega^{-1}

    It keeps eigenvectors and commutes with conjugation, f(W U W^-1) = W f(U) W^-1. Applied to Haar measure its density
    is a class function, so that it can become that of a `MatrixModel`.

    Parameters
    ----------
    space : Space
        Links of a group with eigenangles, fields ``[batch, mu, *lattice, *matrix]``.
    bins : int
        Of the splines.
    order : int
        How the later splines of the Weyl alcove depend on the earlier coordinates; see `AlcoveSpline`.

    Raises
    ------
    ValueError
        For a space of sites, and as `angle_spline`.

    References
    ----------
    Kanwar et al., 2003.06413; Boyda et al., 2008.05456.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((1,), fk.SUN(3))                     # one matrix
    >>> f = fk.transforms.SpectralCoupling(space)                        # starts at the identity
    >>> x = space.haar(2, torch.Generator().manual_seed(1))
    >>> y, logdet = f(x)
    >>> torch.allclose(y, x, atol=1e-5), torch.allclose(logdet, torch.zeros(2), atol=1e-5)
    (True, True)
    """

    @checked
    def __init__(self, space: Space, bins: Bins = 8, order: Count = 4):
        super().__init__(space)
        if space.kind != "links":
            raise ValueError(f"SpectralCoupling needs links; got {space}.")
        self.bins, self.order = bins, order
        self.map = angle_spline(space.group, bins, order)
        self.params = nn.Parameter(torch.zeros(self.map.count))

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        y, logdet = move_eigenangles(self.space.group, self.map, self.space.check(x), self.params, inverse)
        return y, logdet.flatten(1).sum(1)

"""Maps of the circle in a frame that a network turns."""

from torch import Tensor

from flowkit.bijections.base import Bijection, TwoWay
from flowkit.checks import checked
from flowkit.groups.u1 import U1

_wrap = U1().wrap


class FramedMap(TwoWay[Tensor]):
    r"""A map h of the circle in a frame turned by an angle b, the bias.

    .. math:: y = h(x - b) + b

    With b from a network an odd map h, such as an `OddCircleSpline`, gives densities that are symmetric about b. A
    `CircleSpline` turns only its result, :math:`y = h(x) + t`; one in a frame has both.

    Parameters
    ----------
    map : Bijection
        A map of one angle. The framed one takes its parameters and one more, the last one b in radians.

    Raises
    ------
    ValueError
        For a map of other things than one angle.

    References
    ----------
    Albergo et al., 2101.08176.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> h = fk.bijections.OddCircleSpline(bins=4)
    >>> framed, rng = fk.bijections.FramedMap(h), torch.Generator().manual_seed(1)
    >>> params = torch.randn(framed.count, generator=rng)
    >>> b = params[-1]                                        # a point that stays, with the same density on both sides
    >>> y, logdet = framed.forward(b + torch.tensor([-0.5, 0.0, 0.5]), params)
    >>> torch.isclose(y[1], b), torch.isclose(logdet[0], logdet[2])
    (tensor(True), tensor(True))
    """

    angles = 1

    @checked
    def __init__(self, map: Bijection[Tensor]):
        if map.angles != 1:
            raise ValueError(f"FramedMap needs a map of one angle; got {type(map).__name__}.")
        self.map = map
        self.count = map.count + 1

    def _map(self, x: Tensor, given: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        bias = given[-1]
        move = self.map.inverse if inverse else self.map.forward
        y, logdet = move(_wrap(x - bias), given[:-1])
        return _wrap(y + bias), logdet

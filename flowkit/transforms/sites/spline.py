"""One learned map for every site: splines and the distribution converter."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowkit.bijections.base import Bijection, Bins
from flowkit.bijections.splines import CircleSpline, IntervalSpline, RealSpline
from flowkit.checks import Positive, checked
from flowkit.geometry.space import Space
from flowkit.kernels.rqs import rqs_forward, rqs_inverse
from flowkit.transforms.base import TwoWay

TAIL = 60.0  # beyond it a converter's slope is 1 to e^-60, and sigmoid comes near the smallest float32


class Spline(TwoWay):
    """One learned rational-quadratic spline y = f(x) for every site or link.

    Parameters
    ----------
    space : Space
        Sites, or links of U(1) for the domain "circle", fields ``[batch, component, *lattice]``.
    bins : int
        At least 2.
    domain : str
        "real", straight lines outside [-reach, reach]; "interval", fields in [0, 1]; or "circle", angles.
    reach : float
        Of the domain "real", in units of the field.

    Raises
    ------
    ValueError
        For another domain, or a field that it does not fit.

    References
    ----------
    Durkan et al., 1906.04032; Rezende et al., 2002.02428, for the circle.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> f = fk.transforms.Spline(fk.links((2, 2), fk.U1()), bins=4, domain="circle")
    >>> f.params.shape                                        # 3 bins + 1, whatever the lattice
    torch.Size([13])
    """

    @checked
    def __init__(self, space: Space, bins: Bins = 8, domain: str = "real", reach: Positive = 3.0):
        super().__init__(space)
        maps: dict[str, Bijection[Tensor]] = {
            "real": RealSpline(bins, reach),
            "interval": IntervalSpline(bins),
            "circle": CircleSpline(bins),
        }
        if domain not in maps:
            raise ValueError(f"Spline has the domains {', '.join(maps)}; got {domain!r}.")
        if (space.kind == "links") != (domain == "circle") or space.group.matrix_shape:
            raise ValueError(
                f"The domain 'circle' belongs to links of U1, the others to sites; got {domain!r} on {space}."
            )
        self.domain, self.bins, self.reach, self.map = domain, bins, reach, maps[domain]
        self.params = nn.Parameter(torch.zeros(self.map.count))

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        y, logderiv = (self.map.inverse if inverse else self.map.forward)(x, self.params)
        return y, logderiv.flatten(1).sum(1)


class DistributionConverter(TwoWay):
    r"""A map of single sites that turns one distribution of one variable into another.

    .. math:: y = \mathrm{logit}(g(\mathrm{sigmoid}(x))),

    g one learned spline from [0, 1] to [0, 1]. Its tails are straight lines of slope 1.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    bins : int
        Of the spline, at least 2.
    symmetric : bool
        Makes the map odd, y(-x) = -y(x).

    Raises
    ------
    ValueError
        For links or bins < 2.

    References
    ----------
    Komijani and Marinkovic, 2301.01504.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> f = fk.transforms.DistributionConverter(fk.sites((2, 2)), bins=4, symmetric=True)
    >>> x = torch.full((1, 1, 2, 2), 100.0)
    >>> torch.equal(f(-x)[0], -f(x)[0])
    True
    """

    @checked
    def __init__(self, space: Space, bins: Bins = 16, symmetric: bool = False):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"DistributionConverter lives on sites; got {space}.")
        self.map = IntervalSpline(bins)
        self.bins, self.symmetric = bins, symmetric
        self.params = nn.Parameter(torch.zeros(self.map.count))

    def _half(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """The map of the unit interval in the variable logit(u); symmetric: of u in [1/2, 1] stretched to [0, 1]."""
        params = self.params
        u = torch.sigmoid(x)
        if self.symmetric:
            u = 2 * u - 1
        # Near u = 1 the spline is evaluated from the far end, where 1 - u = sigmoid(-x) keeps its digits.
        far = torch.sigmoid(-x) * (2 if self.symmetric else 1)
        rqs = rqs_inverse if inverse else rqs_forward
        v, logderiv = rqs(u, params, self.bins, False)
        tail, tail_logderiv = rqs(far, self.map.mirrored(params), self.bins, False)
        upper = u > 0.5
        v_low, v_high = torch.where(upper, 1 - tail, v), torch.where(upper, tail, 1 - v)
        logderiv = torch.where(upper, tail_logderiv, logderiv)
        if self.symmetric:
            v_low, v_high = (1 + v_low) / 2, v_high / 2
        y = v_low.log() - v_high.log()
        # dy/dx = v' u (1 - u) / (v (1 - v)), the factor 2 of the stretched half cancels.
        log_ends = F.logsigmoid(x) + F.logsigmoid(-x)
        return y, logderiv + log_ends - v_low.log() - v_high.log()

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        inner = x.clamp(-TAIL, TAIL)
        if not self.symmetric:
            y, logderiv = self._half(inner, inverse)
        else:
            y, logderiv = self._half(inner.abs(), inverse)
            y = torch.where(x < 0, -y, y)
        return y + (x - inner), logderiv.flatten(1).sum(1)

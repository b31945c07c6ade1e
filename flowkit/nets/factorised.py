"""Convolutions whose kernel is a sum of products, one factor for each axis of the lattice."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit.checks import Count, Kernel, Width, checked
from flowkit.kernels.autocast import FullPrecision
from flowkit.nets.convolution import SiteConv, check_kernel, check_sites, connected, neighbours, on_sites, said

KINDS = ("cp", "tucker")


class _Sites(nn.Module):
    """Which sites are read by which: a convolution whose weight is given when it is called, see `site_convolution`."""

    index: Tensor
    inverse: Tensor

    def __init__(self, lattice: Sequence[int], sides: Sequence[int], inputs: Tensor, outputs: Tensor):
        super().__init__()
        index, inverse = connected(inputs, outputs, lattice, sides)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("inverse", inverse, persistent=False)
        self.reads = int((index < len(inputs)).sum())

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return on_sites(x, weight, None, self.index, self.inverse)


class FactorisedConv(FullPrecision, nn.Module):
    r"""A periodic convolution from listed sites to listed sites whose kernel is a sum of products over the axes.

    Called with ``[channels, len(inputs), batch]`` it returns ``[channels, len(outputs), batch]``.

    Parameters
    ----------
    lattice : sequence of int
        Sides, in any dimension.
    channels : tuple of int
        In and out.
    kernel : int
        Side of the kernel, odd.
    inputs, outputs : Tensor, optional
        Flat indices of the sites that are read and written; by default all, in order.
    bias : bool
        Whether a number is added to each channel.
    factorised : str
        "cp" (canonical polyadic) or "tucker".
    rank : int, optional
        R of the formulas; by default the larger number of channels, and half of it for Tucker.
    functions : int
        Of each axis in a Tucker decomposition, at most `kernel`.

    Raises
    ------
    ValueError
        For an even kernel or another factorisation.

    Notes
    -----
    With :math:`t = (t_1 \ldots t_d)`, canonical polyadic and Tucker:

    .. math:: w_{oct} = \sum_{r=1}^R A_{or}\, C_{rc} \prod_\mu K^\mu_{r t_\mu}, \qquad
              w_{oct} = \sum_{a,b=1}^R \sum_{s_1 \ldots s_d} A_{oa}\, G_{a b s_1 \ldots s_d}\, C_{bc}
              \prod_\mu K^\mu_{s_\mu t_\mu}

    The first works axis by axis, so that parameters and time grow with the dimension and not with the number of taps
    :math:`k^d`. The second is a convolution of all taps of R channels, whose weight the core G and the factors make.

    References
    ----------
    V. Lebedev et al., 1412.6553; Y.-D. Kim et al., 1511.06530.

    Examples
    --------
    >>> import torch
    >>> from flowkit.nets import FactorisedConv, SiteConv
    >>> for conv in (SiteConv((4,) * 4, (8, 8), 3), FactorisedConv((4,) * 4, (8, 8), 3)):
    ...     print(conv.extra_repr())
    8 to 8 channels, 256 to 256 sites, 3 x 3 x 3 x 3 taps, 5,192 parameters, 2,654,208 operations a field
    8 to 8 channels, 256 to 256 sites, cp of rank 8, 3 taps an axis, 232 parameters, 114,688 operations a field
    """

    @checked
    def __init__(
        self,
        lattice: Sequence[Count],
        channels: tuple[Width, Width],
        kernel: Kernel,
        inputs: Tensor | None = None,
        outputs: Tensor | None = None,
        bias: bool = True,
        factorised: str = "cp",
        rank: Count | None = None,
        functions: Count = 2,
    ):
        super().__init__()
        if factorised not in KINDS:
            raise ValueError(f"A convolution is factorised by {' or '.join(KINDS)}; got {factorised!r}.")
        check_kernel(kernel)
        sites, ndim = torch.arange(math.prod(lattice)), len(lattice)
        inputs, outputs = (sites if one is None else one for one in (inputs, outputs))
        check_sites(lattice, inputs, outputs)
        cp, wide = factorised == "cp", max(channels)
        rank = rank or (wide if cp else (wide + 1) // 2)
        self.channels, self.kernel, self.factorised, self.rank = channels, kernel, factorised, rank
        self.functions = functions = min(functions, kernel)
        if cp:
            sides = [[kernel if mu == axis else 1 for mu in range(ndim)] for axis in range(ndim)]
            between = [outputs]  # the sites between the axes: those that later axes read
            for axis in reversed(range(1, ndim)):
                between.insert(0, torch.unique(neighbours(between[0], lattice, sides[axis])))
            steps = [_Sites(lattice, *one) for one in zip(sides, [inputs, *between[:-1]], between, strict=True)]
        else:
            steps = [_Sites(lattice, [kernel] * ndim, inputs, outputs)]
        self.steps = nn.ModuleList(steps)
        along, count = ((rank, kernel), kernel) if cp else ((functions, kernel), functions)
        self.before = _uniform(rank, channels[0], variance=1 / channels[0])
        self.along = nn.ParameterList(_uniform(*along, variance=1 / count) for _ in lattice)
        core = (rank, rank, functions**ndim)
        self.core = None if cp else _uniform(*core, variance=1 / (rank * kernel**ndim))
        self.after = _uniform(channels[1], rank, variance=1 / (3 * rank))
        bound = 1 / (3 * channels[0] * kernel**ndim)
        self.bias = _uniform(channels[1], variance=bound) if bias else None
        self.sites = len(inputs), len(outputs)
        reads = sum(step.reads for step in steps) * rank * (1 if cp else rank)
        self.operations = 2 * (len(inputs) * self.before.numel() + reads + len(outputs) * self.after.numel())

    def _weights(self) -> list[Tensor]:
        """Of the convolutions between `before` and `after`."""
        if self.core is None:
            return [functions[:, None, None] for functions in self.along]
        weight = self.core[..., None]  # [out, in, functions of the axes to come, taps of those before]
        for functions in self.along:
            left = weight.view(self.rank, self.rank, self.functions, -1, weight.shape[-1])
            weight = torch.einsum("absft,sk->abftk", left, functions).flatten(3)
        return [weight[:, :, 0]]

    def forward(self, x: Tensor) -> Tensor:
        h = _mixed(self.before, x)
        for step, weight in zip(self.steps, self._weights(), strict=True):
            h = step(h, weight)
        return _mixed(self.after, h, self.bias)

    def dense(self) -> Tensor:
        """The weight of the `SiteConv` that does the same, ``[out, in, taps]``."""
        first, *rest = self._weights()
        if self.core is not None:
            return torch.einsum("oa,abt,bc->oct", self.after, first, self.before)
        weight = first[:, 0, 0]
        for one in rest:
            weight = torch.einsum("rt,rk->rtk", weight, one[:, 0, 0]).flatten(1)
        return torch.einsum("or,rt,rc->oct", self.after, weight, self.before)

    def shrink(self, factor: float) -> "FactorisedConv":
        """Scale the output by a factor."""
        with torch.no_grad():
            self.after.mul_(factor)
            if self.bias is not None:
                self.bias.mul_(factor)
        return self

    def extra_repr(self) -> str:
        ends = f"{self.channels[0]} to {self.channels[1]} channels, {self.sites[0]} to {self.sites[1]} sites"
        return f"{ends}, {self.factorised} of rank {self.rank}, {self.kernel} taps an axis, {said(self)}"


def convolution(
    lattice: Sequence[int],
    channels: Sequence[int],
    kernel: int,
    inputs: Tensor,
    outputs: Tensor,
    bias: bool = True,
    factorised: str | None = None,
    rank: int | None = None,
) -> SiteConv | FactorisedConv:
    """A convolution of a network; one that reads no other site than its own is never factorised."""
    ends = channels[0], channels[1]
    if factorised is None or (kernel == 1 and factorised in KINDS):
        return SiteConv(lattice, ends, kernel, inputs, outputs, bias)
    return FactorisedConv(lattice, ends, kernel, inputs, outputs, bias, factorised, rank)


def _uniform(*shape: int, variance: float) -> nn.Parameter:
    bound = math.sqrt(3 * variance)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def _mixed(weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """[out, in] at each site of [in, sites, batch]."""
    flat = x.flatten(1)
    out = weight @ flat if bias is None else torch.addmm(bias[:, None], weight, flat)
    return out.view(-1, *x.shape[1:])

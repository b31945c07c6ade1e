"""Heatbath-like models of a new link: U(1) and SU(2), where their normaliser has a closed form."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from flowkit.checks import Positive, Range, checked
from flowkit.groups import Group
from flowkit.multiscale.conditionals.heat_law import HeatLaw
from flowkit.multiscale.doubling import Loops


class HeatbathConditional(HeatLaw):
    r"""The heatbath law of a new link of U(1) or SU(2), for any number of loops.

    Parameters
    ----------
    group : Group
        U(1) or SU(2).
    loops : int
        Number of loops through each link. Each has its own weight, in the order in which they come.
    strength : float
        The strength b at the start, dimensionless: the beta of the theory where all weights are 1.

    Raises
    ------
    ValueError
        For another group, no loops, or a strength that is not positive.

    Notes
    -----
    .. math:: q(V | R) \propto \exp[\tfrac{b}{N} {\rm Re\,Tr}\, V (\sum_i c_i S_i)^\dagger], \quad S_i = R_i^{-1}

    With :math:`\sum_i c_i S_i = k M`, M in the group, V = X M and a the angle of X (U(1): its modulus; SU(2):
    Tr X = 2 cos a),

    .. math::
        \log q &= b k \cos a - \log I_0(b k) && \text{U(1)} \\
        \log q &= b k \cos a - \log[2 I_1(b k) / (b k)] && \text{SU(2)}

    The map u = Y M -> V = X M replaces the angle of Y by the one with the same value of the CDF; X has the sign of Y
    (SU(2): its axis). The parameters are log b, and w with the weights c = loops softmax(w).

    References
    ----------
    Creutz, Phys. Rev. D 21 (1980) 2308; as a model of new links: arXiv:2404.10819.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.multiscale.HeatbathConditional(fk.U1(), strength=1.0)
    >>> v, loops = torch.zeros(1), (torch.zeros(1), torch.zeros(1))
    >>> model.log_prob(v, loops).detach()                                 # 2 - ln I_0(2)
    tensor([1.1760])
    """

    @checked
    def __init__(self, group: Group, loops: Annotated[int, Range(1, 1000)] = 2, strength: Positive = 1.0):
        super().__init__(group, loops)
        self.log_strength = nn.Parameter(torch.tensor(math.log(strength)))
        if loops > 1:
            self.log_weights = nn.Parameter(torch.zeros(loops))

    def weights(self) -> Tensor:
        """c_i, of mean 1, [loops]."""
        if self.loops == 1:
            return torch.ones_like(self.log_strength).view(1)
        return self.loops * self.log_weights.softmax(0)

    def coefficients_of_loops(self) -> Tensor:
        return self.log_strength.exp() * self.weights()

    @torch.no_grad()
    def score(self, v: Tensor, loops: Loops) -> Tensor:
        c, slopes = self.coefficients_of_loops(), self.slopes(v, loops)
        by_strength = slopes @ c
        scores = [by_strength]
        if self.loops > 1:
            scores += (c * slopes - (c / c.sum()) * by_strength.unsqueeze(1)).unbind(1)
        wanted = [p.requires_grad for p in self.parameters() for _ in range(p.numel())]
        return torch.stack([s for s, want in zip(scores, wanted, strict=True) if want], 1)

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.log_strength.add_(math.log(ratio))


class LinearHeatbathConditional(HeatLaw):
    r"""The heatbath law of a linear combination of staples, with coefficients of either sign.

    Without its normaliser log q is linear in the coefficients, and the likelihood of given links is concave in them:
    `MaximumLikelihoodStep` finds its maximum in a few steps of Fisher scoring.

    Parameters
    ----------
    group : Group
        U(1) or SU(2).
    loops : int
        Number of loops through each link. Each has its own coefficient, 0 at the start: Haar measure.

    Raises
    ------
    ValueError
        For another group, or no loops.

    Notes
    -----
    .. math:: q(V | R) \propto \exp[\tfrac{1}{N} {\rm Re\,Tr}\, V (\sum_i c_i S_i)^\dagger], \quad S_i = R_i^\dagger

    Loops are elements of the group or sums of elements, as `DressedStaples` gives them. Score and Fisher matrix have
    closed forms, with :math:`\langle V \rangle` the mean of V.

    .. math:: \frac{\partial \log q}{\partial c_i} = \tfrac{1}{N} {\rm Re\,Tr}\,(V - \langle V \rangle) S_i^\dagger

    References
    ----------
    Creutz, Phys. Rev. D 21 (1980) 2308.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> model = fk.multiscale.LinearHeatbathConditional(fk.U1(), loops=2)
    >>> _ = model.coefficients.data.copy_(torch.tensor([1.0, 1.0]))
    >>> v, loops = torch.zeros(1), (torch.zeros(1), torch.zeros(1))
    >>> model.log_prob(v, loops).detach()                                 # 2 - ln I_0(2)
    tensor([1.1760])
    """

    @checked
    def __init__(self, group: Group, loops: Annotated[int, Range(1, 1000)] = 2):
        super().__init__(group, loops)
        self.coefficients = nn.Parameter(torch.zeros(loops))

    def coefficients_of_loops(self) -> Tensor:
        return self.coefficients

    def score(self, v: Tensor, loops: Loops) -> Tensor:
        return self.slopes(v, loops) if self.coefficients.requires_grad else v.real.new_zeros(len(v), 0)

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.coefficients.mul_(ratio)

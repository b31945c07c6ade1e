"""A model of new SU(N) links: an approximate heatbath in the frame of the staples, column by column, with splines."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from flowkit.bijections.base import Bins
from flowkit.checks import Positive, Range, Width, checked
from flowkit.groups import SUN
from flowkit.multiscale.conditionals.by_columns import ColumnConditional
from flowkit.multiscale.conditionals.columns import HeatColumn
from flowkit.multiscale.conditionals.frames import Frame, between, singular
from flowkit.multiscale.doubling import Loops


class HeatAngleConditional(ColumnConditional):
    r"""A new link of SU(N), drawn column by column in the frame of its staples, with any number of loops.

    Without splines it is an approximate heatbath law, normalised and sampled directly, for every N and in any
    dimension. Splines, whose parameters depend on the staples and on all numbers drawn before, correct it.

    Parameters
    ----------
    n : int
        Of SU(N).
    loops : int
        Number of loops through each link, 2 or more.
    strength : float
        beta at the start, positive: the weights of the staples are c_i = strength / N. The parameters are log c_i, one
        for both of two loops.
    bins : int
        Of the splines.
    hidden : sequence of int
        Channels of the hidden layers of the networks.
    splines : bool
        False for the heat law alone.

    Raises
    ------
    ValueError
        For N, loops, strength or bins out of range, and in use for another number of loops.

    Notes
    -----
    .. math::
        J = \sum_i c_i S_i = U_1 D U_2^\dagger e^{i \phi}, \quad V = U_1 Y U_2^\dagger, \quad
        {\rm Re\,Tr}\, V J^\dagger = {\rm Re\,Tr}\, Y D e^{-i \phi}

    The first column of Y is a point of the sphere :math:`S^{2N-1}`. Its first number is
    :math:`e^{i \phi} (\cos a + i c \sin a)`, with the heat law :math:`\sin^{2N-2}(a)\, e^{\kappa \cos a}` of a learned
    :math:`\kappa(D, \phi)`. For N = 3 the other numbers follow the exact law to first order, see `HeatColumn`. Given
    this column, the exponent is again the real part of a linear form of the remaining SU(N-1) matrix, and so on down to
    SU(2), whose heat law is exact. For N = 2 the model is the heatbath.

    The splines are rational-quadratic and act on the CDFs of Haar measure, for a on that of the heat law. They are the
    identity at the start. For N >= 4 the phases of later columns are uniform, which is an approximation.

    The phases of the first column are uniform, so that the choice of phases of U_1 and U_2 does not matter; with two
    staples this is exact for class functions of the loops. The Haar-distributed u has the same coordinates in the same
    frame at D = 1 and kappa = 0. Two staples have the frame of S_2 S_1^dagger, see `between`; more have the singular
    value decomposition of J. The map is smooth in u and in the staples except where eigenvalues (of S_2 S_1^dagger, or
    D) coincide: there the limits of V and of log q depend on the direction.

    References
    ----------
    Multiscale flows: arXiv:2404.10819; the heatbath of SU(2): Creutz, Phys. Rev. D 21 (1980) 2308; splines:
    arXiv:1906.04032.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> group, rng = fk.SUN(3), torch.Generator().manual_seed(1)
    >>> model = fk.multiscale.HeatAngleConditional(3, strength=6.0)
    >>> loops = (group.haar((5,), rng), group.haar((5,), rng))
    >>> v, logq = model.sample_and_log_prob(loops, rng)
    >>> v.shape, bool(torch.allclose(model.log_prob(v, loops), logq, atol=1e-3))
    (torch.Size([5, 3, 3]), True)
    """

    @checked
    def __init__(
        self,
        n: int,
        loops: Annotated[int, Range(2, 1000)] = 2,
        strength: Positive = 1.0,
        bins: Bins = 4,
        hidden: Sequence[Width] = (16, 16),
        splines: bool = True,
    ):
        super().__init__()
        group = SUN(n)
        self.log_weights = nn.Parameter(torch.full((1 if loops == 2 else loops,), math.log(strength / n)))
        columns, features = [], 2 * n if loops == 2 else n + 2 * (n > 2)
        for size in range(n, 1, -1):
            columns.append(HeatColumn(size, bins if splines else 0, features, hidden, turns=size == 2 < n))
            features += size + 2  # what it draws
            features += 5 if size == 3 else size + 1  # the next frame
        self._set(group, loops, columns)

    def _start(self, loops: Loops) -> tuple[Frame, Tensor, list[Tensor]]:
        """The frame of the staples with scales for mean weight 1, that weight for each link, and the first features."""
        loops = self._flat(loops)
        weights = self.log_weights.exp()
        mean = weights.mean()
        if self.loops == 2:
            frame = between(loops)
        else:
            J = sum(w * r.mH for w, r in zip(weights / mean, loops, strict=True))
            frame = singular(J, (loops[0] - loops[1]).mH)
        features = list(frame.scales / (self.loops / 2))
        if frame.sines is not None:
            features += list(frame.sines)
        if frame.phase is not None:
            turn = frame.phase**self.group.n
            features += [turn.real, turn.imag]
        return frame, mean, features

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.log_weights.add_(math.log(ratio))

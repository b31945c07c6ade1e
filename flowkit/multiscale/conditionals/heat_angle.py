"""A model of new SU(N) links: an approximate heatbath in the frame of the staples, column by column, with splines."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from flowkit.bijections.base import Bins
from flowkit.checks import Positive, Range, Width, checked
from flowkit.groups import SUN
from flowkit.kernels.sun import multiply
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.conditionals.columns import Cube, HaarColumn, HeatColumn
from flowkit.multiscale.conditionals.frames import (
    Frame,
    beside,
    between,
    complete,
    identity,
    quaternion,
    second_form,
    singular,
    split,
)
from flowkit.multiscale.doubling import Loops
from flowkit.tasks.randomness import Rng, generator_of


class HeatAngleConditional(LinkConditional):
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
        self.group: SUN = SUN(n)
        self.loops = loops
        self.log_weights = nn.Parameter(torch.full((1 if loops == 2 else loops,), math.log(strength / n)))
        columns, features = [], 2 * n if loops == 2 else n + 2 * (n > 2)
        for size in range(n, 1, -1):
            columns.append(HeatColumn(size, bins if splines else 0, features, hidden, turns=size == 2 < n))
            features += size + 2  # what it draws
            features += 5 if size == 3 else size + 1  # the next frame
        self.columns = nn.ModuleList(columns)
        self._haar = [HaarColumn(size) for size in range(n, 1, -1)]

    # ---------------------------------------------------------------- frames

    def _start(self, loops: Loops) -> tuple[Frame, Tensor, list[Tensor]]:
        """The frame of the staples with scales for mean weight 1, that weight for each link, and the first features."""
        if len(loops) != self.loops:
            raise ValueError(f"{type(self).__name__} of {self.loops} loops got {len(loops)}.")
        loops = tuple(r.flatten(0, -3) for r in loops)
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

    def _next(self, frame: Frame, E: Tensor, weight: Tensor | None, context: list[Tensor]) -> Frame:
        """The frame of the SU(n-1) matrix R: Re Tr E diag(1, R) D e^{-i phi} = const + Re Tr R K; of 1 for Haar measure
        and n > 3, where K has equal singular values.
        """
        minor = E[:, 1:, 1:]
        K = frame.form()[:, 1:, None] * minor
        if K.shape[-1] == 2:
            inner = quaternion(K.mH)
            if weight is not None:
                # What the splines of R depend on: the difference of two staples, or else the imaginary part of K.
                other = K if frame.sines is None else frame.sines.movedim(0, -1)[:, 1:, None] * minor
                context += [x / (self.loops / 2) for x in (inner.scales[0], *second_form(inner, other))]
            return inner
        if weight is None:
            return identity(K)
        frame = singular(K.mH)
        assert frame.phase is not None
        turn = frame.phase ** K.shape[-1]
        context += [*(frame.scales / (self.loops / 2)), turn.real, turn.imag]
        return frame

    # ---------------------------------------------------------------- a matrix from its coordinates, and back

    def _draw(
        self,
        columns: Iterable[HaarColumn],
        cubes: list[Cube],
        frame: Frame,
        weight: Tensor | None,
        context: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """(V, log q) for the coordinates of each column."""
        steps: list[tuple[Frame, Tensor]] = []
        total, gate = torch.zeros_like(frame.scales[0]), None
        for column, cube in zip(columns, cubes, strict=True):
            if steps:
                frame = self._next(frame, steps[-1][1], weight, context)
            one, phases, logq = column.sample_and_log_prob(cube, self._weighted(frame, weight), gate, context)
            E, total = complete(one, frame.phase), total + logq
            steps.append((frame.turned(phases), E))
            gate = 2 * one.parts[0] * one.parts[1] if column.n == 3 else None
        frame, E = steps.pop()
        V = frame.outside(E)
        for frame, E in reversed(steps):
            V = frame.outside(multiply(E, beside(V)))
        return V, total

    def _read(
        self, columns: Iterable[HaarColumn], V: Tensor, frame: Frame, weight: Tensor | None, context: list[Tensor]
    ) -> tuple[list[Cube], Tensor]:
        """The coordinates of each column and log q: the inverse of `_draw`."""
        cubes: list[Cube] = []
        total, gate, E = torch.zeros_like(frame.scales[0]), None, V
        for column in columns:
            if cubes:
                V = multiply(E, frame.inside(V), adjoint_a=True)[:, 1:, 1:]
                frame = self._next(frame, E, weight, context)
            one, phases = split(frame.inside(V), frame.phase)
            frame, E = frame.turned(phases), complete(one, frame.phase)
            cube, logq = column.read(one, phases, self._weighted(frame, weight), gate, context)
            cubes, total = [*cubes, cube], total + logq
            gate = 2 * one.parts[0] * one.parts[1] if column.n == 3 else None
        return cubes, total

    @staticmethod
    def _weighted(frame: Frame, weight: Tensor | None) -> Frame:
        return frame if weight is None else frame._replace(scales=weight * frame.scales)

    def _heat(self) -> list[HeatColumn]:
        return list(self.columns)  # type: ignore[arg-type]

    # ---------------------------------------------------------------- the model

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, mean, features = self._start(loops)
        flat = u.flatten(0, -3)
        cubes, _ = self._read(self._haar, frame.inside(flat), identity(flat), None, [])
        V, logq = self._draw(self._heat(), cubes, frame, mean, features)
        return V.view(u.shape), -logq.view(u.shape[:-2])

    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, mean, features = self._start(loops)
        u = v.flatten(0, -3)
        cubes, logq = self._read(self._heat(), u, frame, mean, features)
        u, _ = self._draw(self._haar, cubes, identity(u), None, [])
        return frame.outside(u).view(v.shape), logq.view(v.shape[:-2])

    def log_prob(self, v: Tensor, loops: Loops) -> Tensor:
        frame, mean, features = self._start(loops)
        return self._read(self._heat(), v.flatten(0, -3), frame, mean, features)[1].view(v.shape[:-2])

    def sample_and_log_prob(self, loops: Loops, rng: Rng = None) -> tuple[Tensor, Tensor]:
        frame, mean, features = self._start(loops)
        links, n, rng = len(frame.left), self.group.n, generator_of(rng, frame.scales.device)
        flat = torch.rand(n * n - 1, links, generator=rng, device=rng.device, dtype=frame.scales.dtype)
        rows, cubes = iter(flat.to(frame.scales.device)), []
        for size in range(n, 1, -1):
            units = [next(rows) for _ in range(size)]
            cubes.append(Cube(units, [(next(rows) * 2 - 1) * math.pi for _ in range(size - 1)]))
        V, logq = self._draw(self._heat(), cubes, frame, mean, features)
        return V.view(loops[0].shape), logq.view(loops[0].shape[:-2])

    @torch.no_grad()
    def strengthen(self, ratio: float) -> None:
        self.log_weights.add_(math.log(ratio))

"""A new link of SU(N) that is drawn column by column in the frame of its staples."""

import math
from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from flowkit.groups import SUN
from flowkit.kernels.sun import multiply
from flowkit.multiscale.conditionals.base import LinkConditional
from flowkit.multiscale.conditionals.columns import Cube, HaarColumn
from flowkit.multiscale.conditionals.frames import (
    Frame,
    beside,
    complete,
    identity,
    quaternion,
    second_form,
    singular,
    split,
)
from flowkit.multiscale.doubling import Loops
from flowkit.tasks.randomness import Rng, generator_of


class ColumnConditional(LinkConditional):
    """V = left Y right^dagger with Y drawn column by column; a subclass gives the frame and the law of each column.

    It sets `group`, `loops` and `columns`, the law of the first column of SU(n) for n = N, ..., 2.
    """

    group: SUN
    loops: int
    columns: nn.ModuleList

    def _set(self, group: SUN, loops: int, columns: Iterable[nn.Module]) -> None:
        self.group, self.loops, self.columns = group, loops, nn.ModuleList(columns)
        self._haar = [HaarColumn(size) for size in range(group.n, 1, -1)]

    @abstractmethod
    def _start(self, loops: Loops) -> tuple[Frame, Tensor | None, list[Tensor]]:
        """The frame of the staples, the weight of its scales for each link, None for 1, and the first features."""

    def _flat(self, loops: Loops) -> Loops:
        """The loops with the links on one axis, [links, n, n] each."""
        if len(loops) != self.loops:
            raise ValueError(f"{type(self).__name__} of {self.loops} loops got {len(loops)}.")
        return tuple(r.flatten(0, -3) for r in loops)

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

    def _own(self) -> list[HaarColumn]:
        return list(self.columns)  # type: ignore[arg-type]

    # ---------------------------------------------------------------- the model

    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, mean, features = self._start(loops)
        flat = u.flatten(0, -3)
        cubes, _ = self._read(self._haar, frame.inside(flat), identity(flat), None, [])
        V, logq = self._draw(self._own(), cubes, frame, mean, features)
        return V.view(u.shape), -logq.view(u.shape[:-2])

    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        frame, mean, features = self._start(loops)
        u = v.flatten(0, -3)
        cubes, logq = self._read(self._own(), u, frame, mean, features)
        u, _ = self._draw(self._haar, cubes, identity(u), None, [])
        return frame.outside(u).view(v.shape), logq.view(v.shape[:-2])

    def log_prob(self, v: Tensor, loops: Loops) -> Tensor:
        frame, mean, features = self._start(loops)
        return self._read(self._own(), v.flatten(0, -3), frame, mean, features)[1].view(v.shape[:-2])

    def sample_and_log_prob(self, loops: Loops, rng: Rng = None) -> tuple[Tensor, Tensor]:
        frame, mean, features = self._start(loops)
        links, n, rng = len(frame.left), self.group.n, generator_of(rng, frame.scales.device)
        flat = torch.rand(n * n - 1, links, generator=rng, device=rng.device, dtype=frame.scales.dtype)
        rows, cubes = iter(flat.to(frame.scales.device)), []
        for size in range(n, 1, -1):
            units = [next(rows) for _ in range(size)]
            cubes.append(Cube(units, [(next(rows) * 2 - 1) * math.pi for _ in range(size - 1)]))
        V, logq = self._draw(self._own(), cubes, frame, mean, features)
        return V.view(loops[0].shape), logq.view(loops[0].shape[:-2])

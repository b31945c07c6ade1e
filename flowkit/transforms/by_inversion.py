"""Maps one after the other whose backward pass finds what each read by its inverse, instead of keeping it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flowkit.actions.gradients import Map
from flowkit.kernels.native import once, two_of


class Move(NamedTuple):
    """A map of fields, its inverse, the step that has both, and the trained weights of that."""

    forth: Map
    back: Map
    step: nn.Module
    numbers: Sequence[Tensor]


def trained(step: nn.Module) -> list[Tensor]:
    """The weights of a step that require a gradient."""
    return [p for p in step.parameters() if p.requires_grad]


def through(moves: Sequence[Move], x: Tensor) -> tuple[Tensor, Tensor]:
    """What the maps make of a field one after the other, and the sum of their logdets.

    The graph holds the last field alone; see `Chain`.
    """
    numbers = {id(p): p for move in moves for p in move.numbers}
    return two_of(_ByInversion, moves, x, *numbers.values())


class _ByInversion(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, moves: Sequence[Move], x: Tensor, *numbers: Tensor) -> tuple[Tensor, Tensor]:
        y, total = moves[0].forth(x)
        for move in moves[1:]:
            y, logdet = move.forth(y)
            total = total + logdet
        ctx.moves, ctx.order = moves, [id(p) for p in numbers]
        ctx.save_for_backward(y, *numbers)
        return y, total

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        y, *_ = ctx.saved_tensors
        to_y, to_logdet = gradients
        sums: dict[int, Tensor] = {}
        for move in reversed(ctx.moves):
            if [id(p) for p in trained(move.step)] != [id(p) for p in move.numbers]:
                raise RuntimeError(
                    f"{type(move.step).__name__} has other weights now than in the forward pass, which a backward pass "
                    "by inversion repeats. Weights that functional_call lends need a chain that does not recompute."
                )
            x, _ = move.back(y)
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                pairs = zip(move.forth(x), (to_y, to_logdet), strict=True)
                out, given = zip(*((t, g) for t, g in pairs if t.requires_grad), strict=True)
                to_x, *found = torch.autograd.grad(out, [x, *move.numbers], given, allow_unused=True)
            y, to_y = x.detach(), torch.zeros_like(to_y) if to_x is None else to_x
            for p, gradient in zip(move.numbers, found, strict=True):
                if gradient is not None:
                    sums[id(p)] = sums[id(p)] + gradient if id(p) in sums else gradient
        return None, to_y, *(sums.get(number) for number in ctx.order)

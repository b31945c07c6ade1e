"""A step of an integrator whose backward pass computes it once more, so that memory does not grow with the steps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels.native import differentiated


class Recomputed(torch.autograd.Function):
    """A step that the backward pass does again instead of keeping what lies between its ends."""

    @staticmethod
    def forward(
        ctx: Any, step: Callable[..., tuple[Tensor, Tensor]], x: Tensor, theta: Tensor, t: float, h: float
    ) -> Any:
        ctx.save_for_backward(x, theta)
        ctx.step, ctx.times = step, (t, h)
        return step(x, theta, t, h)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # to be differentiated again
            twin = differentiated(lambda x, theta: ctx.step(x, theta, *ctx.times), ctx.saved_tensors, gradients)
            return None, *twin, None, None
        with torch.enable_grad():
            wanted = ctx.needs_input_grad[1:3]
            inputs = [p.detach().requires_grad_(need) for p, need in zip(ctx.saved_tensors, wanted, strict=True)]
            out = ctx.step(*inputs, *ctx.times)
            found = iter(torch.autograd.grad(out, [p for p in inputs if p.requires_grad], gradients))
        return (None, *(next(found) if need else None for need in wanted), None, None)

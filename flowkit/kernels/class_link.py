"""The map of a base variable to a link whose density is a table with slopes, with all its derivatives in one pass.

The density p(x | W), x in [0, 1], is interpolated by cubics in x and in |W| between the nodes of a table; F is its
integral. For u in [0, 1] the kernel solves F(x | W) = u and gives

    dx/du = 1/p,   dx/dW = -(dF/dW)/p,   and those of log p along the solution

so that a backward pass is four products. C on a CPU; elsewhere the caller goes through torch.
"""

from typing import Any

import torch
from torch import Tensor

from flowkit.kernels.native import call, once, plain, takes, two_of


def serves(u: Tensor, w: Tensor, nodes: Tensor) -> bool:
    """Whether the C kernel can be used: a CPU with a compiler, one precision, and a table that needs no gradient."""
    return not nodes.requires_grad and takes("class_link", u, w, nodes)


class _ClassLink(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, w: Tensor, nodes: Tensor, cdf: Tensor, cells: int) -> tuple[Tensor, Tensor]:
        u, w, nodes, cdf = (plain(t) for t in (u, w, nodes, cdf))
        out = u.new_empty((6, *u.shape))
        rows = len(nodes) // (cells + 1) - 1
        call("class_link", "class_link", u.dtype, u, w, nodes, cdf, out, rows, cells, u.numel())
        ctx.save_for_backward(out, u, w)
        return out[0].clone(), out[1].clone()

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gx, gl = gradients
        out, *_ = ctx.saved_tensors
        return gx * out[2] + gl * out[4], gx * out[3] + gl * out[5], None, None, None


def class_link(u: Tensor, w: Tensor, nodes: Tensor, cdf: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """(x, log p(x | W)) with F(x | W) = u, both [...], with gradients of first order in u and w.

    u, w      [...], in [0, 1] and in [-pi, pi]
    nodes     [(rows + 1) (cells + 1), 4]: p, its slopes in x and in |W| and its mixed derivative, in units of the steps
    cdf       [(rows + 1) (cells + 1), 2]: F and its slope in |W|
    cells     intervals of x, a power of two
    """
    return two_of(_ClassLink, *torch.broadcast_tensors(u, w), nodes, cdf, cells)  # type: ignore[no-untyped-call]

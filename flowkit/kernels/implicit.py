"""Numbers that solve an equation, with derivatives of every order by the theorem of the implicit function."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels.native import one_of

Equation = Callable[..., tuple[Tensor, Tensor]]
"""F(x, *inputs) and dF/dx, both in the shape of x; each F depends on the x of its own place."""


def root(equation: Equation, x: Tensor, *inputs: Tensor) -> Tensor:
    r"""A solution x of F(x, inputs) = 0, found before, as a differentiable function of the inputs.

    Parameters
    ----------
    equation : callable
        Gives F and dF/dx at (x, \*inputs), in the shape of x. Every tensor that a gradient is to reach is among the
        inputs.
    x : Tensor
        The solution, ``[...]``; its value is kept, and its own graph is not used.
    *inputs : Tensor
        Of any shapes.

    Returns
    -------
    Tensor
        x, ``[...]``.

    Notes
    -----
    .. math:: \frac{dx}{d\theta} = -\frac{\partial F / \partial \theta}{\partial F / \partial x}

    Examples
    --------
    The square root, as the solution of x^2 - a = 0, and its first two derivatives:

    >>> import torch
    >>> from flowkit.kernels.implicit import root
    >>> a = torch.tensor(4.0, requires_grad=True)
    >>> x = root(lambda x, a: (x * x - a, 2 * x), torch.tensor(2.0), a)
    >>> (first,) = torch.autograd.grad(x, a, create_graph=True)
    >>> first.item(), torch.autograd.grad(first, a)[0].item()               # 1 / (2 x) and -1 / (4 x^3)
    (0.25, -0.03125)
    """
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in inputs)):
        return x
    return one_of(_Root, equation, x.detach(), *inputs)


class _Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, equation: Equation, x: Tensor, *inputs: Tensor) -> Tensor:
        out = x.clone()
        ctx.save_for_backward(out, *inputs)
        ctx.equation = equation
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *inputs = ctx.saved_tensors
        record = torch.is_grad_enabled()  # then x is the solution with its graph, and the result is right to any order
        with torch.enable_grad():
            own = [t.view_as(t) if record else t.detach().requires_grad_(t.requires_grad) for t in inputs]
            value, slope = ctx.equation(x if record else x.detach(), *own)
            wanted = [t for t in own if t.requires_grad]
            seed = -gradients[0] / (slope if record else slope.detach())
            found = iter(torch.autograd.grad(value, wanted, seed, create_graph=record, allow_unused=True))
        return None, None, *(next(found) if t.requires_grad else None for t in own)

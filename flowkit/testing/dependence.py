"""Requirements on what a result depends on: its own field and no other, and every trainable parameter."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flowkit.testing.common import require, require_close


def require_independent_batch(function: Callable[[Tensor], Tensor], x: Tensor, who: str) -> None:
    """Require that the result for one field does not depend on the other fields of its batch.

    Parameters
    ----------
    function : callable
        Maps fields ``[batch, ...]`` to values ``[batch, ...]``.
    x : Tensor
        Fields ``[batch, ...]``.
    who : str
        Names the function in the message.

    Raises
    ------
    AssertionError
        Where a field alone gives another result than in the batch.

    Examples
    --------
    >>> import torch
    >>> from flowkit import testing
    >>> testing.require_independent_batch(lambda x: x - x.mean(), torch.tensor([0.0, 1.0]), "A centred field")
    Traceback (most recent call last):
    AssertionError: A centred field: a field alone and in a batch: off by 0.5; at most 1.5e-09 was expected.
    """
    whole = function(x)
    alone = torch.cat([function(x[i : i + 1]) for i in range(len(x))])
    require_close(alone, whole, f"{who}: a field alone and in a batch")


def require_gradients(module: nn.Module, value: Tensor, who: str) -> None:
    """Require that every trainable parameter has a finite gradient that is not zero.

    Parameters
    ----------
    module : torch.nn.Module
        Holds the parameters; one without any passes.
    value : Tensor
        A number, ``[]``, computed with them.
    who : str
        Names the computation in the message.

    Raises
    ------
    AssertionError
        With the name of the first parameter that takes no part, or whose gradient is zero or not finite.

    Examples
    --------
    >>> import torch
    >>> from flowkit import testing
    >>> layer = torch.nn.Linear(1, 1)
    >>> testing.require_gradients(layer, layer.weight.sum(), "A layer")
    Traceback (most recent call last):
    AssertionError: A layer: the parameter bias takes no part.
    """
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        return
    gradients = torch.autograd.grad(value, list(trainable.values()), allow_unused=True)
    for name, gradient in zip(trainable, gradients, strict=True):
        require(gradient is not None, f"{who}: the parameter {name} takes no part.")
        assert gradient is not None
        require(gradient.isfinite().all(), f"{who}: the gradient of {name} is not finite.")
        require((gradient != 0).any(), f"{who}: the gradient of {name} is zero.")

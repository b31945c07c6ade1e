"""Second derivatives: right, or refused with a sentence; and NaN that stays in the field that holds it."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from flowkit.groups import Group
from flowkit.kernels.sun import algebra
from flowkit.testing.common import LOOSE, TIGHT, require, require_close, seeded

STEP = 1e-5  # of central differences in float64: their error is some 1e-10 of rounding and 1e-10 of the third order


def require_second_derivatives(
    function: Callable[..., Tensor | Sequence[Tensor]], inputs: Sequence[Tensor], what: str, tolerance: float = 1e-5
) -> bool:
    """Require that the gradient of a function, recorded by autograd, has the right derivative or refuses to have one.

    A random combination of the outputs is differentiated along a random direction in all inputs, and compared with the
    difference of first gradients.

    Parameters
    ----------
    function : callable
        Of the inputs; gives tensors, real or complex.
    inputs : sequence of Tensor
        float64 or complex128; parameters, which `function` reads elsewhere, may be among them.
    what : str
        Names the function in the message.
    tolerance : float
        As in `require_close`.

    Returns
    -------
    bool
        Whether there is a second derivative; False where it is refused.

    Raises
    ------
    AssertionError
        Where it is wrong, or where torch's own error comes in place of a sentence.
    """
    rng = seeded(11)
    moving = [t if isinstance(t, nn.Parameter) else t.detach().clone().requires_grad_() for t in inputs]
    directions = [torch.randn(t.shape, generator=rng, dtype=t.dtype) for t in moving]
    weights: list[Tensor] = []

    def gradients(record: bool) -> list[Tensor]:
        several = _several(function(*moving))
        if not weights:
            weights.extend(torch.randn(t.shape, generator=rng, dtype=t.dtype) for t in several)
        outputs = [t for t in several if t.requires_grad]
        seeds = [w for w, t in zip(weights, several, strict=True) if t.requires_grad]
        if not outputs:
            return [torch.zeros_like(t) for t in moving]
        found = torch.autograd.grad(outputs, moving, seeds, create_graph=record, allow_unused=True)
        return [torch.zeros_like(t) if g is None else g for g, t in zip(found, moving, strict=True)]

    def moved(step: float) -> list[Tensor]:
        with torch.no_grad():
            for t, v in zip(moving, directions, strict=True):
                t.add_(step * v)
        try:
            return [g.detach() for g in gradients(False)]
        finally:
            with torch.no_grad():
                for t, v in zip(moving, directions, strict=True):
                    t.sub_(step * v)

    try:
        recorded = gradients(True)
        slope = torch.stack([(v.conj() * g).real.sum() for v, g in zip(directions, recorded, strict=True)]).sum()
        came: Sequence[Tensor | None] = [None] * len(moving)
        if slope.requires_grad:
            came = torch.autograd.grad(slope, moving, allow_unused=True)
    except RuntimeError as error:
        require("first order" in str(error), f"{what}: a second derivative ended in an error of torch, {error}")
        return False
    differences = [
        [(ahead - behind) / (2 * step) for ahead, behind in zip(moved(step), moved(-step), strict=True)]
        for step in (STEP, STEP / 10)
    ]
    for i, (one, other) in enumerate(zip(*differences, strict=True)):
        found = torch.zeros_like(one) if (got := came[i]) is None else got
        # A step across a knot of a spline, where the second derivative jumps, says nothing; the shorter one is not.
        expected = torch.where((one - found).abs() < (other - found).abs(), one, other)
        require_close(found, expected, f"{what}: the second derivative in input {i}", tolerance)
    return True


def _several(out: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [out] if isinstance(out, Tensor) else list(out)


def nearby(group: Group, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Elements near x by their algebra coordinates w, with derivatives of every order."""

    def field(w: Tensor) -> Tensor:
        if not group.matrix_shape:
            return x + w
        if group.algebra_dim != group.dimension**2 - 1:
            return group.compose(group.exp(w), x)
        moved: Tensor = torch.linalg.matrix_exp(1j * algebra(w)) @ x  # exp of SU(N) has no second derivative
        return moved

    return field


def require_nan_stays(function: Callable[[Tensor], Tensor | Sequence[Tensor]], x: Tensor, what: str) -> None:
    """Require that one NaN in one field of a batch spoils the numbers of that field, shows in them, and no others.

    Parameters
    ----------
    function : callable
        Of fields ``[batch, ...]``; gives tensors ``[batch, ...]``, or ``[]`` for a number that all share.
    x : Tensor
        At least two fields.
    what : str
        Names the function in the message.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.
    """
    spoilt, fine = x.detach().clone(), x.real.dtype == torch.float64
    spoilt[1].view(-1)[0] = math.nan
    rest = [i for i in range(len(x)) if i != 1]
    with torch.no_grad():
        found = function(x.detach()), function(spoilt)
    clean, came = ([t.expand(len(x), *t.shape[1:]) for t in _several(out)] for out in found)
    require(any(t[1].isnan().any() for t in came), f"{what}: a NaN in a field does not show in what comes out.")
    for one, other in zip(clean, came, strict=True):
        require_close(other[rest], one[rest], f"{what}: fields beside one that holds NaN", TIGHT if fine else LOOSE)

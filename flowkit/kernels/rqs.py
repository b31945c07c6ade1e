"""Monotone rational-quadratic splines on [0, 1], the parameters along the leading axis.

Gregory and Delbourgo (1982); Durkan et al., 1906.04032. In the bin with corner (x_0, y_0), width w, height h, slope
s = h / w, end derivatives d_0, d_1 and t = (x - x_0) / w:

    y = y_0 + h [s t^2 + d_0 t (1 - t)] / [s + (d_0 + d_1 - 2 s) t (1 - t)]

On a CPU by a C kernel, one pass over memory for values and one for gradients, for parameters of each number's own;
elsewhere, or without a compiler, through torch with the same results.
"""

from typing import Any

import torch
from torch import Tensor

from flowkit.kernels import rqs_torch
from flowkit.kernels.compilation import compiled
from flowkit.kernels.native import Strided, call, differentiated, plain, takes, two_of
from flowkit.kernels.rqs_torch import MIN_BIN, MIN_SLOPE, UNIT

MOST_COMPILED = 8
_map_fused, _vjp_fused = compiled(rqs_torch.apply), compiled(rqs_torch.vjp)


def _fuses(z: Tensor, bins: int) -> bool:
    """Whether torch.compile is worth its wait: on a GPU, for few bins. Unrolled code of 16 took over five minutes."""
    return z.device.type != "cpu" and bins <= MOST_COMPILED


def _native(z: Tensor, params: Tensor, bins: int, circular: bool) -> bool:
    """Whether the C kernel serves: CPU, one precision, a full set of parameters for each number."""
    return params.shape == (3 * bins + (not circular), *z.shape) and takes("rqs", z, params)


def _rows(params: Tensor) -> Tensor:
    """params with each row contiguous; rows themselves may lie apart."""
    params = params.resolve_neg()
    return params if params.is_contiguous() or params[0].is_contiguous() else params.contiguous()


def _map(z: Tensor, params: Tensor, bins: int, circular: bool, inverse: bool) -> tuple[Tensor, Tensor]:
    """(y, log dy/dx) at x = z or, if `inverse`, (x, log dx/dy) at y = z."""
    if not _native(z, params, bins, circular):
        return (_map_fused if _fuses(z, bins) else rqs_torch.apply)(z, params, bins, circular, inverse)
    z, params = plain(z), _rows(params)
    out, logderiv = torch.empty_like(z), torch.empty_like(z)
    options = bins, circular, inverse, params.stride(0), MIN_BIN, MIN_SLOPE, UNIT
    call("rqs", "map", z.dtype, z, Strided(params), out, logderiv, *options, z.numel())
    return out, logderiv


def _vjp(
    x: Tensor, params: Tensor, gy: Tensor, gl: Tensor, bins: int, circular: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Gradients with respect to the argument and the parameters, for cotangents (gy, gl); see `rqs_torch.vjp`."""
    gy, gl = plain(gy), plain(gl)
    if not _native(x, params, bins, circular):
        return (_vjp_fused if _fuses(x, bins) else rqs_torch.vjp)(x, params, gy, gl, bins, circular, inverse)
    x, params = plain(x), _rows(params)
    g_z, g_params = torch.empty_like(x), x.new_empty(params.shape)
    options = bins, circular, inverse, params.stride(0), MIN_BIN, MIN_SLOPE, UNIT
    call("rqs", "gradient", x.dtype, x, Strided(params), gy, gl, g_z, g_params, *options, x.numel())
    return g_z, g_params


class _Spline(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, params: Tensor, bins: int, circular: bool, inverse: bool) -> tuple[Tensor, Tensor]:
        out, logderiv = _map(z, params, bins, circular, inverse)
        ctx.save_for_backward(z, params, out)
        ctx.options = bins, circular, inverse
        return out, logderiv

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        z, params, out = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            twin = differentiated(lambda z, params: rqs_torch.apply(z, params, *ctx.options), (z, params), grads)
            return *twin, None, None, None
        gy, gl = grads
        g_z, g_params = _vjp(out if ctx.options[2] else z, params, gy, gl, *ctx.options)
        return g_z, g_params, None, None, None


def rqs_forward(x: Tensor, params: Tensor, bins: int, circular: bool) -> tuple[Tensor, Tensor]:
    """The spline y(x) of each number and log dy/dx, both of the shape of x.

    Parameters
    ----------
    x : Tensor
        Numbers in [0, 1], any shape.
    params : Tensor
        Unconstrained, ``[3 bins + 1, *x.shape]``, or ``[3 bins, *x.shape]`` where the spline is circular: logits of the
        widths and of the heights, and slopes at the knots. All zero is the identity. Without the further axes one
        spline serves all numbers.
    bins : int
        Number of bins.
    circular : bool
        Whether the slopes at 0 and 1 are equal.

    Returns
    -------
    tuple of Tensor
        (y, log dy/dx), with derivatives of every order.

    References
    ----------
    C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, 1906.04032.

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.rqs import rqs_forward, rqs_inverse
    >>> x = torch.tensor([0.2, 0.7])
    >>> params = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0])[:, None].expand(7, 2)
    >>> y, log_slope = rqs_forward(x, params, bins=2, circular=False)
    >>> rqs_inverse(y, params, 2, False)[0]
    tensor([0.2000, 0.7000])
    """
    if params.dim() == 1:
        return rqs_torch.evaluate(x, rqs_torch.table(x, params, bins, circular, False))
    return two_of(_Spline, x, params, bins, circular, False)


def rqs_inverse(y: Tensor, params: Tensor, bins: int, circular: bool) -> tuple[Tensor, Tensor]:
    """x(y) and log dx/dy, the inverse of `rqs_forward`, with the same parameters."""
    if params.dim() == 1:
        return rqs_torch.solve(y, rqs_torch.table(y, params, bins, circular, True))
    return two_of(_Spline, y, params, bins, circular, True)

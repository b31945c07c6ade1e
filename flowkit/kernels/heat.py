"""Angles of heatbaths: the von Mises-Fisher law of a point of the sphere S^{n+1}, as its angle from the mean.

    p(a) = sin^n(a) exp(kappa cos a) / norm,  a in [0, pi],  F(a) its integral from 0

n = 0 is the modulus of a U(1) angle, 2 the angle of an SU(2) element about its mean, 2N - 2 the angle of a unit vector
in C^N. On a CPU the kernels are C, a number in each lane of a vector register; elsewhere torch, with the same results.
Gradients are of first order. Single precision solves F(a) = u to a few 1e-7; u near 1 is as coarse as it can store.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowkit.kernels import heat_torch
from flowkit.kernels.native import REALS, call, library, once, one_of, plain

LARGEST = 64  # n
CHUNK = 4096
_OUTPUTS = {"norm": 2, "cdf": 1, "slopes": 2, "angle": 1}


def heat_angle(u: Tensor, kappa: Tensor | float, n: int) -> Tensor:
    r"""The angle a with F(a) = u: for u uniform on [0, 1] a draw of the law of this module.

    Parameters
    ----------
    u : Tensor
        ``[...]`` in [0, 1]; at 0 and 1, where a is 0 and pi, its gradient counts as 0.
    kappa : Tensor or float
        Concentration >= 0, dimensionless; broadcasts with u.
    n : int
        Power of the sine, even, 0 to 64.

    Returns
    -------
    Tensor
        Radians in [0, pi], with gradients of first order in u and kappa.

    Raises
    ------
    ValueError
        For an odd n, one out of range, or other numbers than float32 and float64.

    Notes
    -----
    .. math:: \frac{\partial a}{\partial u} = \frac{1}{p(a)}, \qquad
        \frac{\partial a}{\partial \kappa} = -\frac{\partial F / \partial \kappa}{p(a)}

    Examples
    --------
    Without a weight the median is pi / 2; a large concentration draws to the mean:

    >>> import torch
    >>> from flowkit.kernels.heat import heat_angle
    >>> heat_angle(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 100.0]), n=2)
    tensor([1.5708, 0.1538])
    """
    return one_of(_Law, "angle", *_together("heat_angle", u, kappa, n), n)


def heat_cdf(a: Tensor, kappa: Tensor | float, n: int) -> Tensor:
    """The distribution function F(a), in [0, 1], with all digits at small a.

    Parameters
    ----------
    a : Tensor
        Radians in [0, pi], ``[...]``.
    kappa, n
        As of `heat_angle`, which is the inverse function.

    Returns
    -------
    Tensor
        ``[...]``, with gradients of first order in a and kappa.

    Raises
    ------
    ValueError
        As `heat_angle`.

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.heat import heat_angle, heat_cdf
    >>> heat_cdf(heat_angle(torch.tensor([0.1, 0.9]), 3.0, n=2), 3.0, n=2)
    tensor([0.1000, 0.9000])
    """
    return one_of(_Law, "cdf", *_together("heat_cdf", a, kappa, n), n)


def heat_log_norm(kappa: Tensor, n: int, scaled: bool = False) -> Tensor:
    r"""The logarithm of the normalisation, log <exp(kappa cos a)>, the average taken with the measure sin^n(a) da.

    Parameters
    ----------
    kappa : Tensor
        Concentration >= 0, dimensionless, ``[...]``.
    n : int
        As of `heat_angle`.
    scaled : bool
        Whether kappa is subtracted, log <exp(-kappa (1 - cos a))>, which keeps all digits at large kappa.

    Returns
    -------
    Tensor
        ``[...]``, 0 at kappa = 0; its gradient is the mean of cos a, scaled that of cos a - 1.

    Raises
    ------
    ValueError
        As `heat_angle`.

    Notes
    -----
    .. math:: \log \Big[ \Gamma(n/2 + 1)\, (2/\kappa)^{n/2}\, I_{n/2}(\kappa) \Big]

    Examples
    --------
    For n = 0 the modified Bessel function I_0:

    >>> import torch
    >>> from flowkit.kernels.heat import heat_log_norm
    >>> heat_log_norm(torch.tensor([1.0]), n=0).exp(), torch.special.i0(torch.tensor([1.0]))
    (tensor([1.2661]), tensor([1.2661]))
    """
    (kappa,) = _check("heat_log_norm", n, kappa)
    logs: Tensor = _LogNorm.apply(kappa, n)  # type: ignore[no-untyped-call]
    return logs if scaled else logs + kappa


@torch.no_grad()
def heat_mean(kappa: Tensor, n: int) -> Tensor:
    """The mean of cos a, I_{n/2+1}(kappa) / I_{n/2}(kappa), [...] like kappa >= 0, without gradients.

    Raises
    ------
    ValueError
        As `heat_angle`.
    """
    (kappa,) = _check("heat_mean", n, kappa)
    mean: Tensor = 1 - _run("norm", n, kappa)[1]
    return mean


def _check(who: str, n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    if not isinstance(n, int) or n % 2 or not 0 <= n <= LARGEST:
        raise ValueError(f"{who} needs a power of the sine that is even, 0 ... {LARGEST}; got {n!r}.")
    dtypes = [t.dtype for t in tensors]
    if dtypes[0] not in REALS or len(set(dtypes)) > 1:
        raise ValueError(f"{who} takes float32 or float64; got {', '.join(map(str, dtypes))}.")
    return tensors


def _together(who: str, value: Tensor, kappa: Tensor | float, n: int) -> tuple[Tensor, ...]:
    kappa = kappa if isinstance(kappa, Tensor) else torch.as_tensor(kappa, dtype=value.dtype, device=value.device)
    return torch.broadcast_tensors(*_check(who, n, value, kappa))  # type: ignore[no-untyped-call, no-any-return]


def _run(name: str, n: int, *tensors: Tensor) -> Any:
    """The function `name` of heat_torch.py, in C on a CPU."""
    if not tensors[0].is_cpu or library("heat") is None:
        return _in_chunks(getattr(heat_torch, name), n, tensors)
    inputs = [plain(t) for t in tensors]
    out = [torch.empty_like(inputs[0]) for _ in range(_OUTPUTS[name])]
    dtype, device = inputs[0].dtype, inputs[0].device
    x, weights = heat_torch.rule(n, dtype, device)
    options = len(x), n, heat_torch.reach(n, dtype), heat_torch.haar_log(n)
    call("heat", name, dtype, *inputs, *out, x, weights, *options, out[0].numel())
    return out[0] if len(out) == 1 else tuple(out)


def _in_chunks(function: Callable[..., Any], n: int, tensors: tuple[Tensor, ...]) -> Any:
    """function(*tensors, n), on a CPU so many numbers at once that a sum's terms fit into its cache."""
    like = tensors[0]
    if not like.is_cpu or like.numel() <= CHUNK:
        return function(*tensors, n)
    parts = [function(*chunk, n) for chunk in zip(*(torch.split(t.flatten(), CHUNK) for t in tensors), strict=True)]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts).view(like.shape)
    return tuple(torch.cat(column).view(like.shape) for column in zip(*parts, strict=True))


class _Law(torch.autograd.Function):
    """The CDF u of an angle a, or the angle at which the CDF is u; both depend on kappa."""

    @staticmethod
    def forward(ctx: Any, name: str, value: Tensor, kappa: Tensor, n: int) -> Tensor:
        found: Tensor = _run(name, n, value, kappa)
        a, u = (found, value) if name == "angle" else (value, found)
        ctx.save_for_backward(a, u, kappa)
        ctx.name, ctx.n = name, n
        return found

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        _, u, _ = ctx.saved_tensors
        p, ratio = _run("slopes", ctx.n, *ctx.saved_tensors)
        if ctx.name == "cdf":
            return None, g * p, g * p * ratio, None
        end = (u <= 0) | (u >= 1) | (p <= 0)  # False for NaN, which stays NaN
        return None, torch.where(end, 0, g / torch.where(end, 1, p)), torch.where(end, 0, -g * ratio), None


class _LogNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa: Tensor, n: int) -> Tensor:
        logs: Tensor
        logs, mean = _run("norm", n, kappa)
        ctx.save_for_backward(mean, kappa)
        return logs

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return -gradients[0] * ctx.saved_tensors[0], None

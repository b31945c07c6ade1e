"""What the state of a training method must be before a flow is trained with it or it is written down."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

MOST_STEPS = 2**24
"""Where Adam's counter ends: float32 cannot count on."""


def check_tensors(
    who: str, found: Mapping[str, Tensor], like: Mapping[str, Tensor], *, free: Sequence[str] = ()
) -> None:
    """Raise ValueError where names, shapes or dtypes differ from those of `like`, or a number is NaN or infinite.

    The numbers of the tensors named in `free` may be anything.
    """
    if set(found) != set(like):
        mine, came = (", ".join(sorted(names)[:6]) or "nothing" for names in (like, found))
        raise ValueError(f"{who} keeps {mine}; got {came}")
    for name, tensor in found.items():
        wanted = like[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            kinds = [f"{list(t.shape)} of {str(t.dtype).removeprefix('torch.')}" for t in (wanted, tensor)]
            raise ValueError(f"{name} of {who} is {kinds[0]}; got {kinds[1]}")
        if name not in free and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} of {who} holds NaN or infinity")


def check_range(who: str, name: str, tensor: Tensor, least: float, most: float = math.inf) -> None:
    """Raise ValueError where a number lies outside [least, most]."""
    if bool((tensor < least).any()) or bool((tensor > most).any()):
        raise ValueError(f"{name} of {who} lies in [{least:g}, {most:g}]; got {tensor.min():g} to {tensor.max():g}")


def check_adam(
    found: Mapping[str, Tensor], parameters: Mapping[str, Tensor], betas: tuple[float, float], amsgrad: bool
) -> None:
    r"""Raise ValueError for moments that Adam cannot have of these parameters.

    Parameters
    ----------
    found : mapping
        "parameter.key" -> tensor; a parameter without a gradient so far has none.
    parameters : mapping
        Name -> parameter.
    betas : tuple of float
        Decay rates.
    amsgrad : bool
        Whether the largest second moment is kept too.

    Notes
    -----
    Fused Adam reads and writes moments by address, as many numbers as the parameter has: one of another shape is
    memory that belongs to something else. By the inequality of Cauchy and Schwarz every series of gradients has

    .. math:: m^2 \le \frac{(1 - \beta_1)^2}{(1 - \beta_2)(1 - \beta_1^2 / \beta_2)}\, v, \qquad \beta_1^2 < \beta_2,

    which bounds a step by a few times the learning rate.
    """
    seconds = ["exp_avg_sq", *(["max_exp_avg_sq"] if amsgrad else [])]
    keys = ["step", "exp_avg", *seconds]
    own = {f"{name}.{key}": (name, key) for name in parameters for key in keys}
    if unknown := sorted(set(found) - set(own)):
        raise ValueError(f"Adam keeps {', '.join(keys)} of each parameter; got {unknown[0]:.200}")
    b1, b2 = betas
    ratio = (1 - b1) / math.sqrt((1 - b2) * (1 - b1**2 / b2)) if b1**2 < b2 < 1 else math.inf
    for name, parameter in parameters.items():
        mine = {key: found[f"{name}.{key}"] for key in keys if f"{name}.{key}" in found}
        if not mine:
            continue
        check_tensors(
            f"Adam for {name}", mine, {**dict.fromkeys(keys, parameter), "step": torch.zeros((), dtype=torch.float32)}
        )
        check_range(f"Adam for {name}", "step", mine["step"], 0, MOST_STEPS)
        if float(mine["step"]) % 1:
            raise ValueError(f"step of Adam for {name} is a whole number; got {float(mine['step']):g}")
        for key in seconds:
            check_range(f"Adam for {name}", key, mine[key], 0)
        least = math.sqrt(torch.finfo(parameter.dtype).tiny)  # squares below it are zero
        first, second = mine["exp_avg"].double().abs(), mine["exp_avg_sq"].double().sqrt()
        if bool((first > 1.01 * ratio * second + 10 * ratio * least).any()):
            raise ValueError(f"exp_avg of Adam for {name} is larger than its exp_avg_sq allows")


def check_plain(who: str, found: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    """Raise ValueError where plain data has other keys than `like`, or values of other types."""
    differs = [key for key in like if key in found and type(found[key]) is not type(like[key])]
    if set(found) != set(like) or differs:
        mine, came = (
            ", ".join(f"{k} ({type(v).__name__})" for k, v in some.items()) or "nothing" for some in (like, found)
        )
        raise ValueError(f"{who} keeps {mine}; got {came:.300}")

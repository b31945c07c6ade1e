"""Densities in the precision of their fields, also where torch.autocast is on."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
DEVICES = ("cpu", "cuda")


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose operations keep the precision of their inputs: products in half precision would make log q of a
    draw another one than that of the same field, and a flow no longer the inverse of itself.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        on = [device for device in DEVICES if torch.is_autocast_enabled(device)]
        if not on:
            return function(*args, **kwargs)
        with ExitStack() as stack:
            for device in on:
                stack.enter_context(torch.autocast(device, enabled=False))
            return function(*args, **kwargs)

    vars(run)["full_precision"] = True
    return run


class FullPrecision:
    """A base of what gives log-densities: the methods named here run without autocast, in every subclass."""

    _densities = frozenset({"forward", "inverse", "inverse_logdet", "push", "sample", "log_prob", "score", "force"})
    _densities |= {"sample_and_log_prob", "__call__", "rows", "features", "head"}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in FullPrecision._densities & vars(cls).keys():
            method = vars(cls)[name]
            if isinstance(method, FunctionType) and not hasattr(method, "full_precision"):  # or an alias would differ
                setattr(cls, name, without_autocast(method))

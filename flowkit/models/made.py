"""How a ready-made flow was made, so that a recipe can make it again."""

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flowkit.priors import Prior

P = ParamSpec("P")
F = TypeVar("F", bound=Prior)


def ready_made(function: Callable[P, F]) -> Callable[P, F]:
    """The function, whose flows keep its name and its arguments but the first, the space, in `made_by`."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> F:
        flow = function(*args, **kwargs)
        given = list(signature.bind(*args, **kwargs).arguments.items())
        flow.made_by = function.__name__, dict(given[1:])
        return flow

    return make

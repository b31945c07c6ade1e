"""Arguments that are checked and converted by their annotations."""

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, ParamSpec, TypeVar, cast

from flowkit.checks.kinds import UnfitError
from flowkit.checks.readers import reader

P = ParamSpec("P")
R = TypeVar("R")


def check(who: str, name: str, hint: Any, value: Any) -> Any:
    """The value of an argument as its annotation takes it.

    Raises
    ------
    ValueError, TypeError
        Where it does not: ValueError where the annotation asks for numbers, or TypeError.
    """
    what, read = reader(hint)
    try:
        return read(value)
    except UnfitError as unfit:
        number = "number" in what and (isinstance(value, Integral) or "generator" not in what)
        kind = ValueError if number else TypeError
        raise kind(f"{who} needs {name}, {what}; got {unfit}.") from None


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, or the class, with arguments that are checked and converted by their annotations.

    Parameters
    ----------
    function : callable
        A function, a method, a constructor, or a dataclass, whose constructor it then is.

    Returns
    -------
    callable

    Raises
    ------
    TypeError, ValueError
        On a call with an argument that its annotation does not take.

    Examples
    --------
    >>> from flowkit.checks import Count, checked
    >>> @checked
    ... def repeated(text: str, n: Count = 2) -> str:
    ...     return n * text
    >>> repeated("ab")
    'abab'
    >>> repeated("ab", True)
    Traceback (most recent call last):
    ValueError: repeated needs n, a whole number >= 1; got True.
    """
    if isinstance(function, type):
        function.__init__ = checked(function.__init__)  # type: ignore[misc]
        return cast(Callable[P, R], function)
    signature = inspect.signature(function)
    method = next(iter(signature.parameters), "") == "self"

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__qualname__}: {error}.") from None
        who = function.__name__
        if method:
            who = type(args[0]).__name__ + ("" if who == "__init__" else f".{who}")
        bound.arguments.update(settings_of(function, who, bound.arguments))
        return function(*bound.args, **bound.kwargs)

    return call


def settings_of(function: Callable[..., Any], who: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name as the annotations of a function take them; `who` is named where one does not fit."""
    hints, kinds = _annotations(function)
    made: dict[str, Any] = {}
    for name, value in given.items():
        hint = hints.get(name, Any)
        if kinds.get(name) is inspect.Parameter.VAR_POSITIONAL:
            made[name] = tuple(check(who, name, hint, one) for one in value)
        elif kinds.get(name) is inspect.Parameter.VAR_KEYWORD:
            made[name] = {key: check(who, key, hint, one) for key, one in value.items()}
        else:
            made[name] = check(who, name, hint, value)
    return made


@functools.cache
def _annotations(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    kinds = {parameter.name: parameter.kind for parameter in inspect.signature(function).parameters.values()}
    given = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    namespace = getattr(inspect.unwrap(function), "__globals__", {})
    hints: dict[str, Any] = {}
    for name, hint in given.items():
        with contextlib.suppress(NameError):  # a class that is known to type checkers alone: the body looks for itself
            one = types.SimpleNamespace(__annotations__={name: hint})
            hints |= typing.get_type_hints(one, namespace, include_extras=True)
    return hints, kinds

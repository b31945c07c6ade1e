"""How an annotation is read: what it takes, in words, and the function that hands a value on or refuses it."""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike

from flowkit.checks.kinds import LARGEST, Range, UnfitError, shown

WORDS = {
    "str": "a text",
    "dict": "a dictionary",
    "Tensor": "a torch tensor",
    "Generator": "a generator such as torch.Generator().manual_seed(1)",
    "Space": "a space made by sites() or links()",
    "Group": "a group such as U1() or SUN(3)",
    "Action": "an action such as Wilson(space, beta=2.0)",
    "Prior": "a prior or flow",
    "Flow": "a flow such as gauge_flow(space)",
    "Transform": "a transform such as flow.transform",
    "Sampler": "a sampler such as HMC(action)",
    "Symmetry": "a symmetry such as action.symmetries[0]",
    "Steps": "a sampler such as HMC(action) or IndependenceMetropolis(flow, action)",
    "PathLike": "a path",
}
"""How a message calls the instances of a class."""


@functools.cache
def reader(hint: Any) -> tuple[str, Callable[[Any], Any]]:
    """What an annotation takes, in words, and the function that returns a value as the body gets it, or raises."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated and callable(inside[1]):
        return "", inside[1]  # a reader of its own, with its own sentence
    if origin is Annotated:
        return _number(inside[0], inside[1])
    if hint in (int, float):
        return _number(hint, Range(-LARGEST, LARGEST) if hint is int else Range())
    if hint is None or hint is type(None):
        return "None", _only(lambda value: value is None)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inside)), _only(lambda v: any(_same(v, one) for one in inside))
    if hint == ArrayLike:
        return "numbers", lambda value: value  # the function looks at the array that it makes of them
    if origin in (Union, types.UnionType):
        return _union([reader(part) for part in inside])
    if origin in (Sequence, Iterable, list, tuple):
        return _sequence(origin, inside)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*inside)
    if origin is Callable:
        return _function(inside[0])
    if origin is type:
        return f"a class derived from {inside[0].__name__}", _only(
            lambda v: isinstance(v, type) and issubclass(v, inside[0])
        )
    if isinstance(hint, TypeVar) and hint.__bound__ is not None:
        return reader(hint.__bound__)
    kind = origin or hint
    structural = getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False)
    if hint in (Any, object) or not isinstance(kind, type) or structural:
        return "anything", lambda value: value
    if kind is bool:
        return "True or False", lambda v: bool(v) if isinstance(v, np.bool_) else _only(_is(bool))(v)
    name = WORDS.get(kind.__name__, f"of class {kind.__name__}")
    return name, _only(_is(kind))


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _only(test: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """The reader of values that pass a test, and are handed on as they are."""

    def read(value: Any) -> Any:
        if not test(value):
            raise UnfitError(shown(value))
        return value

    return read


def _number(kind: type, allowed: Range) -> tuple[str, Callable[[Any], Any]]:
    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
            raise UnfitError(shown(value))
        try:
            number = kind(value)
        except OverflowError:
            raise UnfitError(shown(value)) from None
        if not allowed.holds(number):
            large = kind is int and number > allowed.most >= LARGEST
            raise UnfitError(f"{shown(value)}, which is too large" if large else shown(value))
        return number

    bounded = " in " in str(allowed) or not allowed.finite
    what = "a whole number" if kind is int else "a number" if bounded else "a finite number"
    return f"{what}{allowed}", read


def _union(parts: list[tuple[str, Callable[[Any], Any]]]) -> tuple[str, Callable[[Any], Any]]:
    def read(value: Any) -> Any:
        for _, part in parts:
            try:
                return part(value)
            except UnfitError:
                continue
        raise UnfitError(shown(value))

    return " or ".join(what for what, _ in parts), read


def _function(arguments: Any) -> tuple[str, Callable[[Any], Any]]:
    """Functions that can be called with so many arguments; compiled ones may not tell."""

    def read(value: Any) -> Any:
        if not callable(value):
            raise UnfitError(shown(value))
        try:
            signature = inspect.signature(value)
        except ValueError:
            if isinstance(value, type):
                raise UnfitError(shown(value)) from None
            return value
        try:
            signature.bind(*arguments)
        except TypeError:
            raise UnfitError(f"{shown(value)} of {signature}") from None
        return value

    if arguments is Ellipsis:
        return "a function", _only(callable)
    return f"a function of {len(arguments)} argument{'s' * (len(arguments) != 1)}", read


def _sequence(origin: Any, inside: tuple[Any, ...]) -> tuple[str, Callable[[Any], Any]]:
    """Sequences of one kind come as tuples; sets, dictionaries and texts are none."""
    fixed = origin is tuple and Ellipsis not in inside
    items = [reader(part) for part in inside if part is not Ellipsis]

    def read(value: Any) -> Any:
        listed = hasattr(value, "__iter__" if origin is Iterable else "__getitem__") and hasattr(value, "__len__")
        if not listed or isinstance(value, (str, bytes, Mapping, type)) or getattr(value, "shape", (0,)) == ():
            raise UnfitError(shown(value))
        found = list(value)
        if fixed and len(found) != len(items):
            raise UnfitError(shown(value))
        try:
            readers = items if fixed else items[:1] * len(found)
            made = [read_one(one) for (_, read_one), one in zip(readers, found, strict=True)]
        except UnfitError as unfit:
            raise UnfitError(shown(value) if len(shown(value)) < 60 else f"{unfit} among them") from None
        return made if origin is list else tuple(made)

    what = ", ".join(name for name, _ in items)
    return (f"({what})" if fixed else f"a sequence, each {what}"), read


def _mapping(key: Any, item: Any) -> tuple[str, Callable[[Any], Any]]:
    (keys, read_key), (items, read_item) = reader(key), reader(item)

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise UnfitError(shown(value))
        return {read_key(k): read_item(v) for k, v in value.items()}

    return f"a dictionary, {keys} -> {items}", read


def _same(value: Any, one: Any) -> bool:
    """Whether a value is a choice of a Literal; a whole number may be one of numpy."""
    alike = type(value) is type(one) or (isinstance(value, np.integer) and type(one) is int)
    return alike and bool(value == one)

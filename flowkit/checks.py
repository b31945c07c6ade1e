"""Checks of arguments, from their annotations: ``@checked`` on a constructor or a function reads them.

The annotation says what an argument is, `Count` or ``Space | None``, and nothing else has to: what fits is handed on,
numbers of numpy as Python's, sequences as tuples; what does not fit is refused in one sentence before the body runs.
One file, longer than most: every kind of argument, how it is read and how a message calls it stand side by side.
"""

import contextlib
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, cast

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

LARGEST = 2**31 - 1
"""The largest whole number that counts something."""
MOST = 2**36
"""Numbers in the largest batch of fields, half a terabyte in double precision."""
WORDS = {
    "str": "a text",
    "dict": "a dictionary",
    "Tensor": "a torch tensor",
    "Generator": "a generator such as torch.Generator().manual_seed(1)",
    "Space": "a space made by sites() or links()",
    "Group": "a group such as U1() or SUN(3)",
    "Action": "an action such as Wilson(space, beta=2.0)",
    "Prior": "a prior or flow",
    "Transform": "a transform such as flow.transform",
    "Sampler": "a sampler such as HMC(action)",
    "Steps": "a sampler such as HMC(action) or IndependenceMetropolis(flow, action)",
    "PathLike": "a path",
}
"""How a message calls the instances of a class."""


class UnfitError(Exception):
    """A value that an annotation does not take; the text is what came."""


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`; the brackets say whether the ends belong to them: "[]", "(]", "[)" or "()"."""

    least: float = -math.inf
    most: float = math.inf
    brackets: str = "[]"

    def holds(self, x: float) -> bool:
        """Whether x is one of them."""
        above = x >= self.least if self.brackets[0] == "[" else x > self.least
        return above and (x <= self.most if self.brackets[1] == "]" else x < self.most)

    def __str__(self) -> str:
        if math.isfinite(self.most) and self.most < LARGEST:
            return f" in {self.brackets[0]}{self.least:g}, {self.most:g}{self.brackets[1]}"
        if self.least <= -LARGEST:
            return ""
        if self.most == 2**64 - 1:
            return " >= 0 of at most 64 bits"
        return f" {'>=' if self.brackets[0] == '[' else '>'} {self.least:g}"


Count = Annotated[int, Range(1, LARGEST)]
"""A whole number >= 1."""
Natural = Annotated[int, Range(0, LARGEST)]
"""A whole number >= 0."""
Seed = Annotated[int, Range(0, 2**64 - 1)]
"""A whole number >= 0 of at most 64 bits."""
Positive = Annotated[float, Range(0, brackets="(]")]
"""A finite number > 0."""
NotNegative = Annotated[float, Range(0)]
"""A finite number >= 0."""
Bytes = Annotated[int, Range(0, 2**62)]
"""A number of bytes."""
Share = Annotated[float, Range(0, 1)]
"""A number in [0, 1]."""
Width = Annotated[int, Range(1, 2**16)]
"""Channels of a layer of a network."""
Kernel = Annotated[int, Range(1, 99)]
"""Side of a convolution."""
Parity = Annotated[int, Range(0, 1)]
"""0 or 1, of even or odd sites."""
Often = Annotated[float, Range(1, 20)]
"""Pictures a second of a panel."""
Rate = Annotated[float, Range(0, 100, "(]")]
"""A learning rate."""
Start = Annotated[float, Range(0, 100)]
"""A factor on the weights that a network starts with."""
Fraction = Annotated[float, Range(0, 1, "()")]
"""A number in (0, 1)."""


def shown(value: object) -> str:
    """What came, in a few words: numbers and texts as they are, tensors and arrays by shape, the rest by class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (tuple, list)) and len(value) <= 8:
        inside = ", ".join(shown(item) for item in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if value is None or isinstance(value, (str, bytes, Integral, Real, complex, set, frozenset)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype"):
        return f"{type(value).__name__} {list(shape)} of {value.dtype}"
    return type(value).__name__


@functools.cache
def _reader(hint: Any) -> tuple[str, Callable[[Any], Any]]:
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
        return "one of " + ", ".join(map(repr, inside)), _only(lambda v: isinstance(v, str) and v in inside)
    if origin in (Union, types.UnionType):
        return _union([_reader(part) for part in inside])
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
        return _reader(hint.__bound__)
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
        if not (allowed.holds(number) and math.isfinite(number)):
            large = kind is int and number > allowed.most >= LARGEST
            raise UnfitError(f"{shown(value)}, which is too large" if large else shown(value))
        return number

    what = "a whole number" if kind is int else "a number" if " in " in str(allowed) else "a finite number"
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
    items = [_reader(part) for part in inside if part is not Ellipsis]

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
    (keys, read_key), (items, read_item) = _reader(key), _reader(item)

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise UnfitError(shown(value))
        return {read_key(k): read_item(v) for k, v in value.items()}

    return f"a dictionary, {keys} -> {items}", read


def check(who: str, name: str, hint: Any, value: Any) -> Any:
    """The value of an argument as its annotation takes it.

    Raises
    ------
    ValueError, TypeError
        Where it does not: ValueError where the annotation asks for numbers, or TypeError.
    """
    what, read = _reader(hint)
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

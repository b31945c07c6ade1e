"""The fuzz of bad input: one argument of a valid call after the other is replaced by what it may not be."""

import contextlib
import inspect
import io
import linecache
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from calls import CALLS, LEGAL, PHI4, SITES, WILSON

import flowkit as fk
from flowkit import transforms

NAN, INF, HUGE = float("nan"), float("inf"), 10**12

PIECES: list[tuple[str, Any]] = [
    ("None", None), ("text", "qqq"), ("bytes", b"q"), ("True", True), ("1.5", 1.5), ("NaN", NAN), ("inf", INF),
    ("-inf", -INF), ("-1", -1), ("0", 0), ("1e12", HUGE), ("set", {1, 2}), ("dict", {"q": 1}), ("list", ["q"]),
    ("empty", ()), ("numbers", [1.5, -1]), ("object", object()), ("complex", 1j), ("array", np.array([1.5, 2.0])),
    ("class", int), ("function", lambda *a, **k: None), ("tensor", torch.zeros(3, 3)), ("scalar", torch.tensor(1.0)),
    ("space", fk.sites((3,))), ("action", PHI4), ("other action", WILSON), ("prior", fk.Normal(SITES)),
    ("transform", transforms.Affine(SITES)), ("group", fk.Real()), ("generator", torch.Generator()),
    ("estimate", fk.phi_squared), ("np.bool_", np.True_), ("NaN of numpy", np.float64(NAN)),
]  # fmt: skip
"""What an argument is replaced by, and its name in tables and in `LEGAL`."""


LEGAL_FOR: dict[str, set[str]] = {}
for line in LEGAL.split(";"):
    if line.strip():
        where, *labels = line.split()
        LEGAL_FOR.setdefault(where, set()).update(
            label if label[0] == "-" else label.replace("-", " ") for label in labels
        )


def kind_of(value: Any) -> str:
    """The kind of a valid argument: what else of its kind may stand in its place is decided by it."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return type(value).__name__
    return "object"


def pieces(name: str, argument: str) -> list[tuple[str, Any]]:
    """What the argument of a call may not be."""
    function, arguments = CALLS[name]
    value = arguments[argument]
    legal = LEGAL_FOR.get(f"{name.replace(' ', '')}.{argument}", set()) | LEGAL_FOR.get(f"*.{argument}", set())
    parameter = inspect.signature(function).parameters.get(argument)
    if parameter is not None and (parameter.default is None or "None" in str(parameter.annotation)):
        legal.add("None")
    same = {"bool": {"True", "np.bool_"}, "int": set(), "float": {"1.5"}}.get(kind_of(value), set())
    same |= {label for label, piece in PIECES if kind_of(value) == "object" and fits(piece, value)}
    bad = [(label, piece) for label, piece in PIECES if label not in legal | same]
    if isinstance(value, torch.Tensor):
        bad += [("no batch", value[0]), ("cut", value[..., :-1]), ("one more axis", value[None])]
        bad += [("of another type", value.long() if value.is_floating_point() else value.double())]
        bad += [("a list", value.tolist())]
    if isinstance(value, tuple | list) and value and isinstance(value[0], int | float):
        bad += [("a set", set(value)), ("one NaN", (NAN, *value[1:])), ("one None", (None, *value[1:]))]
        bad += [("one True", (True, *value[1:])), ("one text", ("q", *value[1:])), ("nested", (value,))]
    return [(label, piece) for label, piece in bad if label not in legal]


def fits(piece: Any, value: Any) -> bool:
    """Whether a piece is of the kind of a valid value that is no number."""
    for base in (fk.Action, fk.Prior, fk.Transform, fk.Space, fk.Group, torch.Generator, fk.Observable):
        if isinstance(value, base) and isinstance(piece, base):
            return True
    return callable(value) and callable(piece) and inspect.isfunction(value)


def late(*_: Any) -> None:
    raise TimeoutError


def outcome(function: Callable[..., Any], arguments: dict[str, Any], seconds: int = 5) -> tuple[str, str]:
    """How a call ended, as "sentence", "raw" or "taken", and the text of its error."""
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**arguments)
    except TimeoutError:
        return "taken", f"still runs after {seconds} s"
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        line = linecache.getline(frame.filename, frame.lineno or 0).strip()
        ours = "/flowkit/" in frame.filename and line.startswith("raise")
        text = f"{type(error).__name__}: {error}"
        return ("sentence" if ours and type(error) not in (AttributeError, KeyError, IndexError) else "raw"), text
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return "taken", ""


ALL = [(name, argument) for name, (_, arguments) in CALLS.items() for argument in arguments]
"""Every argument of every call."""


def called(name: str, argument: str, piece: Any) -> tuple[str, str]:
    """The outcome of a valid call with one argument replaced."""
    function, arguments = CALLS[name]
    return outcome(function, {**arguments, argument: piece})


def require_shares(found: list[tuple[str, str]], raw: float = 0.01, taken: float = 0.005) -> None:
    """Few calls end in words that are not the library's, and fewer are taken; `found` pairs outcomes and sentences."""
    for kind, most in (("raw", raw), ("taken", taken)):
        texts = [text for outcome, text in found if outcome == kind]
        assert len(texts) <= most * len(found), f"{len(texts)} of {len(found)} are {kind}: " + "; ".join(texts[:20])

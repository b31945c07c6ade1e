"""What an argument may be: the annotations that `checked` reads, beside classes and ``int``, ``float``, ``bool``."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated

LARGEST = 2**31 - 1
"""The largest whole number that counts something."""
MOST = 2**36
"""Numbers in the largest batch of fields, half a terabyte in double precision."""


class UnfitError(Exception):
    """A value that an annotation does not take; the text is what came."""


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`; the brackets say whether the ends belong to them: "[]", "(]", "[)" or "()".

    Without `finite` it takes infinity and NaN too.
    """

    least: float = -math.inf
    most: float = math.inf
    brackets: str = "[]"
    finite: bool = True

    def holds(self, x: float) -> bool:
        """Whether x is one of them."""
        if not math.isfinite(x):
            return not self.finite
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
Number = Annotated[float, Range(finite=False)]
"""A number, infinity and NaN among them."""
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

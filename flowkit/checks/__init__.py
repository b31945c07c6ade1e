"""Checks of arguments, from their annotations: ``@checked`` on a constructor or a function reads them.

The annotation says what an argument is, `Count` or ``Space | None``, and nothing else has to: what fits is handed on,
numbers of numpy as Python's, sequences as tuples; what does not fit is refused in one sentence before the body runs.
What runs inside of a step of a chain or of a training checks its fields with `Space.check` instead, which costs less.
"""

from flowkit.checks.arguments import check as check, checked as checked, settings_of as settings_of
from flowkit.checks.kinds import (
    LARGEST as LARGEST,
    MOST as MOST,
    Bytes as Bytes,
    Count as Count,
    Fraction as Fraction,
    Kernel as Kernel,
    Natural as Natural,
    NotNegative as NotNegative,
    Number as Number,
    Often as Often,
    Parity as Parity,
    Positive as Positive,
    Range as Range,
    Rate as Rate,
    Seed as Seed,
    Share as Share,
    Start as Start,
    UnfitError as UnfitError,
    Width as Width,
    shown as shown,
)

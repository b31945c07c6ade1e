"""Vectors and complex numbers among the series of an ensemble, which are real numbers each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

_COLUMN = re.compile(r"(Re |Im )?(.+?)(?:\[(\d+)\])?", re.DOTALL)


class Form(NamedTuple):
    """What the numbers of an observable are.

    Attributes
    ----------
    name : str
        Of the observable.
    components : int
        Numbers of a vector; 0 for a single number.
    complex : bool
        Whether they are complex.

    Examples
    --------
    >>> from flowkit.ensemble.vectors import Form
    >>> Form("W", 2, True).columns
    ('Re W[0]', 'Re W[1]', 'Im W[0]', 'Im W[1]')
    """

    name: str
    components: int = 0
    complex: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its series, as `Observable.columns`."""
        names = [f"{self.name}[{i}]" for i in range(self.components)] or [self.name]
        return tuple(f"{part}{name}" for part in (("Re ", "Im ") if self.complex else ("",)) for name in names)


def forms(series: Iterable[str]) -> list[Form]:
    """The observables behind the names of series; a name that is no whole vector's or complex number's is its own.

    Examples
    --------
    >>> from flowkit.ensemble.vectors import forms
    >>> forms(["S", "Re z", "Im z", "W[0]", "W[1]", "Re x", "y[3]"])[1:3]
    [Form(name='z', components=0, complex=True), Form(name='W', components=2, complex=False)]
    """
    names, found = list(series), dict[str, Form]()
    sizes: dict[tuple[bool, str], int] = {}
    for column in names:
        part, name, index = _matched(column)
        key = bool(part), name
        sizes[key] = max(sizes.get(key, 0), 0 if index is None else int(index) + 1)
    for column in names:
        part, name, _ = _matched(column)
        # A series of the same name that is a plain number keeps its name.
        form = Form(name, min(sizes[bool(part), name], len(names)), bool(part))
        whole = name not in names and all(one in names for one in form.columns)
        form = form if whole and column in form.columns else Form(column)
        found.setdefault(form.columns[0], form)
    return list(found.values())


def form_of(observable: str, series: Iterable[str]) -> Form | None:
    """The form of the observable of that name among series; None where it is not among them."""
    names = list(series)
    return Form(observable) if observable in names else {form.name: form for form in forms(names)}.get(observable)


def assembled(
    columns: Sequence[Any], form: Form, pair: Callable[[Any, Any], Any], stack: Callable[[list[Any]], Any]
) -> Any:
    """One thing of an observable out of one for each of its columns: `pair` makes complex numbers, `stack` vectors."""
    parts, half = list(columns), len(columns) // 2
    if form.complex:
        parts = [pair(re, im) for re, im in zip(parts[:half], parts[half:], strict=True)]
    return stack(parts) if form.components else parts[0]


def _matched(column: str) -> tuple[str | None, str, str | None]:
    found = _COLUMN.fullmatch(column)
    assert found is not None or not column
    return (None, column, None) if found is None else (found[1], found[2], found[3])

"""How an ensemble is laid out for other programs: one named array a series, with units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit.ensemble.files import row_bytes
from flowkit.ensemble.vectors import assembled, forms
from flowkit.geometry.space import Space
from flowkit.observables import known
from flowkit.storage.zarr_files import Named

FIELD = "field"
"""The array of configurations. Names of an axis, such as x, cannot be those of an array of several axes in xarray."""
WORDS = {
    "S": "action",
    "accept": "acceptance since the stored step before",
    "dH": "change of H along a trajectory",
    "logq": "log-density of the flow",
    "logw": "log-weight -S - log q",
    "logw_proposed": "log-weight of the proposal",
}


def axes_of(space: Space) -> tuple[str, ...]:
    """Names of the axes of one field.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.ensemble.layout import axes_of
    >>> axes_of(fk.links((4, 4), fk.SUN(2)))
    ('mu', 'x', 'y', 'row', 'column')
    """
    names = tuple("xyzt"[: space.ndim]) if space.ndim <= 4 else tuple(f"x{nu}" for nu in range(space.ndim))
    return ("mu" if space.kind == "links" else "component", *names, *("row", "column")[: len(space.group.matrix_shape)])


def named_arrays(
    space: Space, x: Tensor | None, series: Mapping[str, Tensor], chunk: int = 0
) -> tuple[dict[str, Named], dict[str, list[str]]]:
    """The arrays of an ensemble by name, and the series ``[n, chains]`` that each of them is made of.

    Parameters
    ----------
    space : Space
    x : Tensor or None
        Fields ``[n, chains, *space.shape]``.
    series : mapping of Tensor
        By name, ``[n, chains]``.
    chunk : int
        Steps in one file; 0 for as many as have 16 MiB.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> from flowkit.ensemble.layout import named_arrays
    >>> series = {name: torch.zeros(5, 2) for name in ("S", "W[0]", "W[1]")}
    >>> arrays, columns = named_arrays(fk.sites((4,)), None, series)
    >>> {name: one.dimensions for name, one in arrays.items()}
    {'S': ('chain', 'step'), 'W': ('chain', 'step', 'W_component')}
    """
    arrays, columns = dict[str, Named](), dict[str, list[str]]()
    for form in forms(series):
        name = safe(form.name, {FIELD, *arrays})
        parts = [series[column].double() for column in form.columns]
        values: Tensor = assembled(parts, form, torch.complex, lambda parts: torch.stack(parts, 2))
        found = known(form.name)
        about = {"units": (found.unit if found else "") or "1", "long_name": found.label if found else form.name}
        if form.name in WORDS:
            about["long_name"] = WORDS[form.name]
        arrays[name] = Named(values.numpy(), (f"{name}_component",) if form.components else (), about, chunk)
        columns[name] = list(form.columns)
    if x is not None:
        angles = space.kind == "links" and not space.group.complex
        about = {"units": "rad" if angles else "1", "long_name": str(space)}
        arrays[FIELD] = Named(x.numpy(), axes_of(space), about, chunk)
    return arrays, columns


def series_of(arrays: Mapping[str, np.ndarray[Any, Any]], columns: Mapping[str, list[str]]) -> dict[str, Tensor]:
    """The series by name that `named_arrays` put together.

    Raises
    ------
    ValueError
        Where arrays and columns do not fit.
    """
    found = dict[str, Tensor]()
    for name, names in columns.items():
        values = arrays[name]
        parts = [values.real, values.imag] if np.iscomplexobj(values) else [values]
        if values.dtype not in (np.float64, np.complex128) or values.ndim not in (2, 3):
            raise ValueError(f"the series {name} is {values.dtype} {list(values.shape)}")
        flat = [column for part in parts for column in np.moveaxis(part.reshape(*part.shape[:2], -1), 2, 0)]
        pairs = zip(names, flat, strict=True)
        found |= {column: torch.from_numpy(np.ascontiguousarray(one)) for column, one in pairs}
    return found


def steps_in_a_chunk(n: int, fields: Tensor, parts: int, least: int, most: int) -> int:
    """Stored steps in one file: a part of n, `least` or more, or as many as take `most` bytes where these are fewer."""
    return max(1, min(max(least, -(-n // parts)), most // (len(fields) * row_bytes(fields))))


def safe(name: str, taken: set[str]) -> str:
    """A name for a folder, another one than those that are taken on every system."""
    plain = re.sub(r"[^\w+=@-]+", "_", name, flags=re.ASCII).strip("_")[:64] or "series"
    low, k = {one.lower() for one in taken}, 1
    while (found := plain if k == 1 else f"{plain}_{k}").lower() in low:
        k += 1
    return found

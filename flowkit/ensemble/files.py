"""Ensembles on disk: one commit of a store for each, written whole, and read only where nothing is damaged."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from flowkit.storage import zarr_files, zarr_reading
from flowkit.storage.commit import Commit
from flowkit.storage.manifest import StoreError
from flowkit.storage.store import Store

_FORMAT, _KIND = "flowkit ensemble 2", "an ensemble"
_KEYS = {"format", "space", "series", "weighted", "provenance"}
MOST_BYTES = 4 * 2**30
"""Memory that the configurations of a run may take, and each array of an ensemble that is read, unless told otherwise.
"""
GROUP_FOLDER = "group-"
"""A run in groups writes to folders of this name and the group's number."""
STATE = ".state/"
"""Folder of a commit with what a run goes on from."""
PathLike = str | os.PathLike[str]
Arrays = dict[str, NDArray[Any]]


class EnsembleError(RuntimeError):
    """A run that had to end, or an ensemble that cannot be written or read; the message is the reason.

    Attributes
    ----------
    ensemble : Ensemble or None
        What a run had stored before it ended; None where it had stored nothing, and for every other failure.

    Examples
    --------
    >>> import flowkit as fk
    >>> try:
    ...     fk.Ensemble.load("no-such-folder")
    ... except fk.ensemble.EnsembleError as error:
    ...     print(error)
    no-such-folder does not exist.
    """

    ensemble: Any = None


def store_of(path: PathLike) -> Store:
    """The commits of an ensemble, hidden in a folder that shows the last one as a zarr group."""
    return Store(path, kind=_KIND, shown=True)


def groups_in(path: PathLike) -> list[str]:
    """Names of the folders of a run in groups, in their order; none where the folder holds a commit of its own."""
    if store_of(path).has_commit():
        return []
    return sorted(one.name for one in Path(path).glob(f"{GROUP_FOLDER}*") if store_of(one).has_commit())


def headed(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of the group; EnsembleError where they are no plain data."""
    attributes = {"format": _FORMAT, **attributes}
    try:
        json.dumps(attributes, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EnsembleError(f"The provenance of an ensemble is plain finite JSON: {error}.") from error
    return attributes


def write(path: PathLike, attributes: dict[str, Any], arrays: Mapping[str, zarr_files.Named]) -> str:
    """Commit the plain data and the arrays of an ensemble to a folder; the name of the commit.

    Raises
    ------
    EnsembleError
        As `Ensemble.save`.
    """
    attributes = headed(attributes)
    try:
        store = store_of(path)
        with store.claimed(), store.writing() as draft:  # not while a run goes on there
            if draft.before is not None and any(name.startswith(STATE) for name in draft.before.files):
                raise EnsembleError(f"{path} holds a run, which resume() continues; save() needs another folder.")
            zarr_files.write(draft, attributes, arrays)
        return draft.name
    except StoreError as error:
        raise EnsembleError(str(error)) from error


def read(path: PathLike, commit: str | None, max_bytes: int, keep: bool = True) -> tuple[dict[str, Any], Arrays]:
    """The plain data and the arrays of an ensemble, checked for what `write` writes; use within `reading`.

    `keep` says whether the configurations are among the arrays.
    """

    def parsed(opened: Commit) -> tuple[dict[str, Any], Arrays]:
        with zarr_files.errors():
            return zarr_reading.read(opened, max_bytes, only=None if keep else series_arrays(opened))

    attributes, arrays = store_of(path).read(parsed, commit)
    check_head(attributes, arrays)
    return attributes, arrays


def series_arrays(commit: Commit) -> tuple[str, ...]:
    """Names of the arrays of series in a commit: all but the configurations."""
    names = [name.removesuffix("/zarr.json") for name in commit.files if name.endswith("/zarr.json")]
    return tuple(name for name in names if name != "field")


def check_head(attributes: dict[str, Any], arrays: Collection[str]) -> None:
    """Raise ValueError where attributes are not those of an ensemble with these arrays."""
    columns, provenance = attributes["series"], attributes["provenance"]
    plain = isinstance(provenance, dict) and isinstance(attributes["weighted"], bool)
    if attributes["format"] != _FORMAT or not plain or set(attributes) != _KEYS:
        raise ValueError(f"it is no {_FORMAT!r}")
    for name, least in (("every", 1), ("invalid", 0), ("first", 0), ("stride", 1)):
        if type(found := provenance.get(name, 1)) is not int or found < least:
            raise ValueError(f"{name} in its provenance is {found!r:.80}")
    named = isinstance(columns, dict) and all(isinstance(names, list) for names in columns.values())
    names = [name for names in columns.values() for name in names] if named else []
    if not _names(names) or set(columns) != set(arrays) - {"field"}:
        raise ValueError(f"its series {columns!r:.200} do not fit the arrays {', '.join(arrays):.200}")


@contextlib.contextmanager
def reading(path: PathLike) -> Iterator[None]:
    """Turn whatever goes wrong while an ensemble is read into an EnsembleError that says why."""
    try:
        yield
    except StoreError as error:
        if groups := groups_in(path):
            text = (
                f"{path} holds a run in groups: {groups[0]} to {groups[-1]}. Load or resume each of these folders, and"
            )
            raise EnsembleError(f'{text} join them by flowkit.ensemble.join([...], along="chains").') from error
        raise EnsembleError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, EnsembleError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise EnsembleError(f"{path} holds no readable ensemble: {reason}.") from error


def check_finite(name: str, values: Tensor) -> None:
    """Raise EnsembleError where a value is NaN or infinite."""
    bad = int((~values.isfinite()).sum())
    if bad:
        raise EnsembleError(f"An ensemble stores finite numbers; {name} has {bad} NaN or infinite of {values.numel()}.")


def check_real(name: str, values: Tensor) -> None:
    """Raise EnsembleError for a series of complex numbers: it is stored as float64, without the imaginary part."""
    if values.is_complex():
        advice = "store its real and its imaginary part"
        raise EnsembleError(f"Series are real numbers; {name} is {str(values.dtype).removeprefix('torch.')}: {advice}.")


def row_bytes(fields: Tensor) -> int:
    """Memory of one field, in bytes."""
    return max(1, math.prod(fields.shape[1:]) * fields.element_size())


def _names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(n, str) for n in names) and 0 < len(names) == len(set(names))

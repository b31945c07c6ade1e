"""The folder of a run: its recipe, what it ran with, and what it came to. Files are written whole or not at all."""

import csv
import io
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import flowkit as fk
from flowkit.production.recipe import Recipe, RecipeError, read
from flowkit.production.reproduce import write
from flowkit.stats import Estimate, Estimates
from flowkit.storage.manifest import HEADER_LIMIT, parse_json
from flowkit.storage.store import Store
from flowkit.tasks.machine import describe

RECIPE, RUN, RESULT, HISTORY, PAGE = "recipe.toml", "run.json", "result.json", "history.csv", "report.html"
CHECKPOINT, ENSEMBLE = "checkpoint", "ensemble.zarr"
OWN = ("run.lock", RUN, f".{RUN}.new", f".{RECIPE}.new")
"""What a run that was killed at its first write may leave."""
SHOWN = 6
"""Differing keys that a refusal names."""


def check_free(folder: Path) -> None:
    """Raise RecipeError for a folder with files that are no run's: nothing is written beside them."""
    others = [entry.name for entry in folder.iterdir() if entry.name not in OWN] if folder.is_dir() else []
    if (others and not (folder / RECIPE).exists()) or (folder.exists() and not folder.is_dir()):
        raise RecipeError(f"{folder} holds other files; --out names a folder for this run alone.")


def begin(recipe: Recipe, folder: Path, device: str, extend: bool = False) -> None:
    """Make an empty folder this run's own, or see that it is.

    With `extend` the recipe may ask for another number of stored steps, at least those on disk; it is written then.

    Raises
    ------
    RecipeError
        Where the folder holds another run, other files, or more stored steps.
    """
    check_free(folder)
    if not (folder / RECIPE).exists():
        write(folder / RUN, json.dumps(versions(recipe, device), indent=1) + "\n")
        write(folder / RECIPE, recipe.toml())  # last: a folder with a recipe is a run
        return
    found = differences(recipe_of(folder), recipe)
    if extend and [key for key, *_ in found] == ["sampler.n"]:
        stored = len(load(folder, None)) if Store(folder / ENSEMBLE).has_commit() else 0
        if recipe.sampler.n < stored:
            raise RecipeError(
                f"{folder} has {stored} stored steps; --n is their number in all, got {recipe.sampler.n}."
            )
        write(folder / RECIPE, recipe.toml())
        return
    if found:
        told = "; ".join(f"{key} {there} there, {here} here" for key, there, here in found[:SHOWN])
        raise RecipeError(f"{folder} holds a run with other settings ({told}); --out names another folder.")


def versions(recipe: Recipe, device: str) -> dict[str, Any]:
    """What a run starts with, as plain data."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"flowkit": fk.__version__, "machine": describe().model_dump(), "numpy": np.__version__}
    return {"begun": now, "seed": recipe.seed, "device": device, **about}


def recipe_of(folder: Path, n: int | None = None) -> Recipe:
    """The recipe of a run, with n stored steps in all where n is given.

    Raises
    ------
    RecipeError
        For a folder without one.
    """
    if not (folder / RECIPE).is_file():
        raise RecipeError(f"{folder} is no folder of flowkit run: it holds no {RECIPE}.")
    return read(str(folder / RECIPE), changes={} if n is None else {"sampler.n": str(n)})


def differences(one: Recipe, other: Recipe) -> list[tuple[str, Any, Any]]:
    """The keys in which two recipes differ, title and lesson left out, with both values; None for a key left out."""
    first, second = (flat(recipe.plain()) for recipe in (one, other))
    names = [key for key in {**first, **second} if key not in ("title", "notebook")]
    return [(key, first.get(key), second.get(key)) for key in names if first.get(key) != second.get(key)]


def flat(data: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Tables in tables as one, with keys such as "theory.beta"."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {above + key: value}
    return found


def load(folder: Path, action: fk.Action | None) -> fk.Ensemble:
    """The series of a run, without its configurations, which may not fit in memory; EnsembleError for no ensemble."""
    return fk.Ensemble.load(folder / ENSEMBLE, action=action, keep=False)


def write_history(folder: Path, history: fk.tasks.History) -> None:
    """The history of the training as a table of text."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(history.columns)
    columns = history.as_arrays()
    for row in zip(*(columns[name] for name in history.columns), strict=True):
        rows.writerow([int(x) if float(x).is_integer() else repr(float(x)) for x in row])
    write(folder / HISTORY, file.getvalue())


def read_history(folder: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of the training; none where the run has none."""
    path = folder / HISTORY
    if not path.is_file():
        return {}
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        numbers = np.array([[float(x) for x in row] for row in rows]).reshape(len(rows), len(header))
    except (ValueError, UnicodeDecodeError, csv.Error) as error:
        raise RecipeError(f"{path} is damaged: {error}.") from error
    return dict(zip(header, numbers.T, strict=True))


def write_result(folder: Path, means: Estimates, quality: Mapping[str, Any]) -> None:
    """What the run came to, as plain data: estimates by observable, acceptance, ESS, seconds."""

    def finite(x: Any) -> Any:
        return None if isinstance(x, float) and not math.isfinite(x) else x

    plain = {name: {key: finite(x) for key, x in vars_of(one).items()} for name, one in means.items()}
    write(folder / RESULT, json.dumps({"observables": plain, **quality}, indent=1, default=str) + "\n")


def vars_of(one: Estimate) -> dict[str, Any]:
    """The numbers of an estimate by name."""
    names = ("value", "error", "tau_int", "tau_int_error", "n", "exact", "note")
    return {name: getattr(one, name) for name in names}


def read_json(path: Path) -> dict[str, Any]:
    """A small file of plain data; RecipeError where it is damaged."""
    try:
        if path.stat().st_size > HEADER_LIMIT:
            raise ValueError("it has more than 1 MiB")
        found = parse_json(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path} could not be read: {error}.") from error
    return found

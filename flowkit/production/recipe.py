"""Recipes: one TOML file that names theory, flow, training, sampler, observables and outputs of a run."""

import contextlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PlainValidator, ValidationError

from flowkit.checks import shown
from flowkit.observables import NAMES, known
from flowkit.production import tables
from flowkit.production.toml import value_of, written
from flowkit.storage.manifest import HEADER_LIMIT

SHIPPED = Path(__file__).parent / "recipes"
MOST = 3
"""Errors of a recipe that are told at once."""

SHAPES = {"tuple": "a list", "dict": "a table", "model": "a table", "too": "a list of 1 to 64 names"}
"""What pydantic asks for, by the first word of its error."""


class RecipeError(ValueError):
    """A recipe that cannot be run; the message names the key, what came and what is allowed."""


def _observable(name: object) -> str:
    with contextlib.suppress(ValueError):  # of a family, with numbers that it does not take
        if isinstance(name, str) and known(name) is not None:
            return name
    raise ValueError(f"a name among {NAMES}; got {shown(name)}")


class Outputs(BaseModel):
    """What a run keeps.

    configurations  whether the fields are stored beside the series
    checkpoints     how many of the training
    report          whether the page with plots is written
    """

    model_config = tables.CONFIG
    configurations: tables.Yes = True
    checkpoints: tables.Whole = 10
    report: tables.Yes = True


class Recipe(BaseModel):
    """All settings of a run. `quick` holds the changes of a short run; `notebook` is the lesson that makes it."""

    model_config = tables.CONFIG
    title: tables.Text = ""
    notebook: tables.Text = ""
    seed: tables.Seeds = 1
    dtype: Literal["float32", "float64"] = "float32"
    theory: tables.Theory
    flow: tables.Flow = None
    training: tables.Training = None
    sampler: tables.Sampling
    observables: Annotated[tuple[Annotated[str, PlainValidator(_observable)], ...], Field(min_length=1, max_length=64)]
    outputs: Outputs = Outputs()
    quick: dict[str, Any] = {}

    def plain(self) -> dict[str, Any]:
        """The settings as plain data, without the keys that are left out."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"quick"})

    def toml(self) -> str:
        """The settings as the text of a recipe."""
        return written(self.plain())


def shipped() -> dict[str, Path]:
    """The recipes of this installation, by name."""
    return dict(sorted((path.stem, path) for path in SHIPPED.glob("*.toml")))


def read(name: str, quick: bool = False, changes: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of a name or a file, with changes as the command line gives them.

    Parameters
    ----------
    name : str
        Of a shipped recipe, or the path of a TOML file.
    quick : bool
        Whether to apply its table `quick` first.
    changes : mapping
        Text by key: ``{"theory.beta": "3.0", "lattice": "8,8"}``. A key of one table alone needs no table.

    Raises
    ------
    RecipeError
        For another name, a file that is no TOML, and keys or values that do not fit.
    """
    path = shipped().get(name, Path(name))
    if not path.is_file():
        near = get_close_matches(name, shipped(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"flowkit run takes a file, or the name of a recipe: {', '.join(shipped())}; got {name!r}.{hint}"
        )
    try:
        if path.stat().st_size > HEADER_LIMIT:
            raise ValueError(f"a recipe is at most 1 MiB, and it has {path.stat().st_size} bytes")
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is no recipe: {error or 'it is nested too deeply'}.") from error
    return parsed(data, name, quick, changes)


def parsed(data: dict[str, Any], name: str, quick: bool = False, changes: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of plain data; `name` is what messages call it. Raises as `read`."""
    data = json.loads(json.dumps(data, default=str))
    if quick and isinstance(data.get("quick"), dict):
        merge(data, data["quick"])
    for key, text in (changes or {}).items():
        _put(data, _full(data, name, key), value_of(text), name)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(" ".join(_sentence(one, data, name) for one in error.errors()[:MOST])) from error


def merge(data: dict[str, Any], changes: dict[str, Any]) -> None:
    """Put the changes into the data in place, table by table."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            merge(data[key], value)
        else:
            data[key] = value


def _put(data: dict[str, Any], path: str, value: Any, name: str) -> None:
    *where, last = path.split(".")
    for part in where:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise RecipeError(f"{name}: {path} needs a table {part}; got {shown(data)}.")
    data[last] = value


def keys(data: Mapping[str, Any]) -> list[str]:
    """All keys of a recipe with these tables, in full: "seed", "theory.beta", ..."""
    return list(_keys(data, Recipe, ""))


def _keys(data: Any, model: type[BaseModel], above: str) -> Iterator[str]:
    for name in model.model_fields:
        inner = _model_at(data, name) if name not in ("outputs", "anneal") else {"outputs": Outputs}.get(name)
        given = data.get(name) if isinstance(data, dict) else None
        if inner is None:
            yield above + name
        elif isinstance(given, dict) or name == "outputs":
            yield from _keys(given, inner, f"{above}{name}.")


def _model_at(data: Any, table: str) -> type[BaseModel] | None:
    """The model of a table of the data, by the choice that it names."""
    models = tables.TABLES.get(table)
    if models is None:
        return None
    given = data.get(table) if isinstance(data, dict) else None
    choice = given.get(tables.NAMED[table]) if isinstance(given, dict) else None
    usual = {"training": "adam", "schedule": "constant"}.get(table, next(iter(models)))
    return models.get(choice, models[usual]) if isinstance(choice, str) else models[usual]


def _full(data: dict[str, Any], name: str, key: str) -> str:
    """The key in full. A short one names a key of one table alone."""
    if "." in key:
        return key
    all_keys = keys(data)
    found = [one for one in all_keys if one == key or (one.count(".") == 1 and one.endswith(f".{key}"))]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecipeError(f"{name} has {' and '.join(found)}; got {key!r}. Name one of them.")
    last = {one.rpartition(".")[2]: one for one in all_keys}
    near = get_close_matches(key, last, n=1)
    hint = f" Did you mean {last[near[0]]}?" if near else ""
    raise RecipeError(f"{name} has the keys {', '.join(all_keys)}; got {key!r}.{hint}")


def _sentence(error: Any, data: dict[str, Any], name: str) -> str:
    """One error of pydantic as a sentence: the key, what came, what is allowed."""
    place, path = list(error["loc"]), list[str]()
    model: type[BaseModel] = Recipe
    at: Any = data
    while place:
        part = place.pop(0)
        if isinstance(part, int):
            path[-1] += f"[{part}]"
            continue
        if error["type"] == "extra_forbidden" and not place:
            has = list(model.model_fields)
            near = get_close_matches(str(part), has, n=1)
            where = f"{name}: {'.'.join(path)}" if path else name
            hint = f" Did you mean {near[0]}?" if near else ""
            return f"{where} has the keys {', '.join(has)}; got {str(part)!r:.80}.{hint}"
        inner = Outputs if part == "outputs" else tables.ANNEAL if part == "anneal" else _model_at(at, part)
        path.append(part)
        at = at.get(part) if isinstance(at, dict) else None
        if inner is not None:
            model = inner
            if place and place[0] in tables.TABLES.get(part, {}):
                place.pop(0)  # the choice, by which pydantic names the model
    where, context = f"{name}: {'.'.join(path)}", error.get("ctx", {})
    if error["type"] == "missing":
        if path[-1] in tables.TABLES:
            named, among = tables.NAMED[path[-1]], ", ".join(tables.TABLES[path[-1]])
            return f"{where} is missing: a table whose {named} is one of {among}."
        field = model.model_fields.get(path[-1])
        what = field and next((one.func.__doc__ for one in field.metadata if isinstance(one, PlainValidator)), None)
        return f"{where} is missing{f': {what}' if what else ''}."
    if error["type"] == "choice":
        table, named = str(error["loc"][-1]), tables.NAMED[str(error["loc"][-1])]
        got, choices = at.get(named) if isinstance(at, dict) else at, tables.TABLES[table]
        near = get_close_matches(got, choices, n=1) if isinstance(got, str) else []
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{where}.{named} is one of {', '.join(choices)}; got {shown(got)}.{hint}"
    if error["type"] == "value_error":
        return f"{where} is {context['error']}."
    what = SHAPES.get(error["type"].partition("_")[0], error["msg"].lower())
    return f"{where} is {what}; got {shown(error['input'])}."

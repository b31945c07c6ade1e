"""Two runs beside each other: the keys in which they differ, and their means in standard errors of the difference."""

import math
from pathlib import Path
from typing import Any

from flowkit.production import folder as files
from flowkit.production.recipe import RecipeError
from flowkit.stats import format_error, table


def compared(one: Path, other: Path) -> str:
    """The comparison of two runs as text.

    Raises
    ------
    RecipeError
        Where a folder holds no run, or one without results.
    """
    recipes, results = [files.recipe_of(path) for path in (one, other)], [_result(path) for path in (one, other)]
    keys = [(key, _word(here), _word(there)) for key, here, there in files.differences(*recipes)]
    found = [result["observables"] for result in results]
    names = [name for name in found[0] if name in found[1]]
    rows = [
        (name, *(_text(means[name]) for means in found), _difference(*(means[name] for means in found)))
        for name in names
    ]
    rows += [(word, *(_quality(result, word) for result in results), "") for word in ("acceptance", "ess", "seconds")]
    rows = [row for row in rows if any(row[1:])]
    places = [str(path) for path in (one, other)]
    alone = [
        f"{name} was measured in {place} alone."
        for mine, theirs, place in ((found[0], found[1], one), (found[1], found[0], other))
        for name in mine
        if name not in theirs
    ]
    first = table(("key", *places), keys) if keys else "The recipes are the same."
    return "\n".join([first, "", table(("", *places, "difference (standard errors)"), rows), *alone])


def _result(folder: Path) -> dict[str, Any]:
    path = folder / files.RESULT
    if not path.is_file():
        raise RecipeError(f"{folder} has no result yet; flowkit resume {folder} continues the run.")
    result = files.read_json(path)
    means = result.get("observables")
    if not isinstance(means, dict) or not all(
        isinstance(one, dict) and _known(one.get("value")) for one in means.values()
    ):
        raise RecipeError(f"{path} is damaged: it holds no means. flowkit report {folder} writes it anew.")
    return result


def _known(x: object) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def _word(value: Any) -> str:
    return "" if value is None else str(value)


def _error(one: dict[str, Any]) -> float:
    return float(one["error"]) if _known(one.get("error")) else math.nan


def _text(one: dict[str, Any]) -> str:
    return format_error(float(one["value"]), _error(one))


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    spread = math.hypot(_error(one), _error(other))
    if not spread > 0:
        return "" if math.isnan(spread) else "0 errors"
    return f"{(float(one['value']) - float(other['value'])) / spread:+.1f}"


def _quality(result: dict[str, Any], word: str) -> str:
    value = result.get(word)
    value = value.get("value") if isinstance(value, dict) else value
    return f"{value:.4g}" if isinstance(value, int | float) else ""

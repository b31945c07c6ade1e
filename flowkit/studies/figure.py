"""What a figure is: a study, what was published, and the record of a run."""

import inspect
import json
import math
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from flowkit._version import __version__
from flowkit.tasks.machine import Machine, describe

Setting = bool | int | float | str


class Row(BaseModel):
    """One number of a figure: value ± error, what was aimed at, what was published, and whether the aim is reached.

    A goal may be words (">= 0.46", "within 3 errors"); `reached` is None where the number has no goal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    value: FiniteFloat | str
    error: FiniteFloat | None = None
    goal: FiniteFloat | str | None = None
    published: FiniteFloat | str | None = None
    reached: bool | None = None

    @property
    def text(self) -> str:
        """The value with its error."""
        return plus_minus(self.value, self.error)


class Record(BaseModel):
    """One run of a figure, with all that is needed to judge it; `flowkit reproduce --json` prints it.

    `commit` is the one that was checked out when the run began, with "-dirty" for changes on top; None without git.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    rows: list[Row]
    seconds: FiniteFloat
    machine: Machine
    quick: bool
    flowkit: str
    torch: str
    settings: dict[str, Any]
    commit: str | None = None
    date: str | None = None
    """Of the day, UTC."""


@dataclass(frozen=True)
class Figure:
    """A claim that can be run again.

    study          "module:function"; imported when it is used
    published      what the cited work reached, in words
    about_seconds  of a full run on two CPU cores
    quick          what `--quick` leaves out
    """

    name: str
    title: str
    study: str
    citation: str
    published: str
    about_seconds: int
    quick: str

    def function(self) -> Callable[..., list[dict[str, Any]]]:
        """The study itself."""
        module, _, name = self.study.partition(":")
        function: Callable[..., list[dict[str, Any]]] = getattr(import_module(module), name)
        return function

    def defaults(self) -> dict[str, Any]:
        """The settings that `--set` may change, with their defaults."""
        parameters = inspect.signature(self.function()).parameters
        return {name: p.default for name, p in parameters.items() if name != "quick"}

    def settings(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Settings from text, each converted to the type of its default.

        Raises
        ------
        ValueError
            For a setting that the study does not have, or a text that does not fit.
        """
        defaults = self.defaults()
        return {key: _convert(self.name, key, text, defaults) for key, text in texts.items()}

    def run(self, quick: bool = False, **settings: Any) -> Record:
        """Run the study.

        Raises
        ------
        ValueError
            For a setting that the study does not have, or rows that are not those of a figure.
        """
        defaults = self.defaults()
        for key in settings:
            _known(self.name, key, defaults)
        commit, date = commit_of_checkout(), datetime.now(UTC).date().isoformat()
        start = time.perf_counter()
        rows = self.function()(quick=quick, **settings)
        seconds = time.perf_counter() - start
        machine = describe()
        try:
            return Record(
                name=self.name,
                rows=[Row.model_validate(row) for row in rows],
                seconds=round(seconds, 2),
                machine=machine,
                quick=quick,
                flowkit=__version__,
                torch=machine.torch,
                settings={**defaults, **settings},
                commit=commit,
                date=date,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where, what = ".".join(map(str, first["loc"])), first["msg"]
            raise ValueError(f"{self.study} must return rows of a figure; in {where}: {what}.") from error


def commit_of_checkout() -> str | None:
    """The commit of the checkout that holds this package, or None where git knows none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()  # noqa: S603

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # an environment may stand inside another checkout
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def plus_minus(value: float | str, error: float | None) -> str:
    """The value to the second digit of its error: 0.6978 ± 0.0012."""
    if isinstance(value, str) or error is None or not error > 0:
        return value if isinstance(value, str) else f"{value:.6g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _known(figure: str, key: str, defaults: Mapping[str, Any]) -> None:
    if key not in defaults:
        near = get_close_matches(key, defaults, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"{figure} has the settings {', '.join(defaults) or 'none'}; got {key!r}.{hint}")


def _convert(figure: str, key: str, text: str, defaults: Mapping[str, Any]) -> Any:
    _known(figure, key, defaults)
    default = defaults[key]
    if isinstance(default, str):
        return text
    scalar = isinstance(default, get_args(Setting))
    if not scalar and not (isinstance(default, tuple) and default):
        raise ValueError(f"{figure} takes {key} from Python alone; its default is {default!r}.")
    kind: Any = type(default) if scalar else GenericAlias(tuple, (type(default[0]), ...))
    try:
        return TypeAdapter(kind).validate_python(text if scalar else json.loads(f"[{text.strip('()[] ')}]"))
    except ValueError as error:
        such = '"a","b"' if isinstance(default, tuple) and isinstance(default[0], str) else "1,2"
        name = type(default).__name__ if scalar else f"list of {type(default[0]).__name__}, such as {such}"
        raise ValueError(f"{figure} takes {key} as {name}; got {text!r}.") from error

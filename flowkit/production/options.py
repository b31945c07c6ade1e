"""What the commands share: options, and errors told as one sentence."""

import contextlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, NoReturn

import typer


class Device(StrEnum):
    """Where to compute; auto takes a CUDA GPU where there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting; may be repeated. An unknown KEY, as in --set keys=, is answered by the list of all.",
    ),
]


def fail(sentence: str, status: int = 2) -> NoReturn:
    """Print a sentence to stderr and end with the status."""
    typer.echo(sentence, err=True)
    raise typer.Exit(status)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Errors of input, of files and of flowkit's own types as one sentence; any other is a bug, with its traceback."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (ValueError, OSError)) or type(error).__module__.startswith("flowkit."):
            fail(str(error))
        raise


def pairs_of(texts: Sequence[str] | None) -> dict[str, str]:
    """Text by key, of texts KEY=VALUE."""
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            fail(f"--set takes KEY=VALUE; got {text!r}.")
        if key in pairs:
            fail(f"--set gives {key} twice.")
        pairs[key] = value
    return pairs

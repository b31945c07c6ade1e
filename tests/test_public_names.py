"""Every public name explains itself: what it is, a formula where there is one, and lines that run."""

import importlib
import inspect
import json
import re
import statistics
from pathlib import Path

import pytest
from test_imports import modules

import flowkit

ROOT = Path(__file__).parents[1]
MEDIAN_WORDS = 40
"""Words, examples left out, of the docstring in the middle of all."""
WITHOUT_EXAMPLE = 0
"""Public names whose docstring has no Examples section."""
UNUSED = 0
"""Names of the table of contents that no notebook, page or example shows."""


def public() -> dict[str, object]:
    """Each public class and function once, by the name of the room that publishes it."""
    found: dict[int, tuple[str, object]] = {}
    for room in ["flowkit", *(name for name in modules() if name.count(".") == 1)]:
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(id(value), (f"{room}.{name}".removeprefix("flowkit."), value))
    return dict(found.values())


PUBLIC = public()


def document(value: object) -> str:
    """The docstring of its own, not one that it inherits."""
    return inspect.cleandoc(value.__doc__ or "")


def words(text: str) -> int:
    """Words of a docstring without its examples."""
    return len(re.findall(r"\w+", re.split(r"\nExamples\n-{3,}", text)[0]))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring(name):
    assert words(document(PUBLIC[name])) >= 3, f"{name} has no docstring of its own."


def test_docstrings_have_examples():
    lacking = [name for name, value in PUBLIC.items() if ">>> " not in document(value)]
    assert len(lacking) <= WITHOUT_EXAMPLE, f"{len(lacking)} names have no example: {', '.join(lacking)}"


def test_docstrings_say_enough():
    counts = {name: words(document(value)) for name, value in PUBLIC.items()}
    median = statistics.median(counts.values())
    shortest = sorted(counts, key=counts.__getitem__)[:40]
    assert median >= MEDIAN_WORDS, f"The median docstring has {median} words; the shortest: {', '.join(shortest)}"


def shown() -> set[str]:
    """Names that a reader meets as fk.NAME, or deeper: in cells of notebooks, on pages, in examples of docstrings."""
    books = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("docs/**/*.ipynb")]
    cells = [cell for book in books for cell in json.loads(book.read_text(encoding="utf-8"))["cells"]]
    texts = ["".join(cell["source"]) for cell in cells]
    texts += [page.read_text(encoding="utf-8") for page in [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]]
    lines = [line for source in modules().values() for line in source.splitlines()]
    texts += [line for line in lines if line.lstrip().startswith((">>> ", "... "))]
    paths = re.findall(r"\b(?:fk|flowkit)((?:\.\w+)+)", "\n".join(texts))
    return {name for path in paths for name in path.split(".")}


def test_every_name_of_the_contents_is_shown():
    lacking = sorted({*flowkit.__all__} - {"__version__"} - shown())
    assert len(lacking) <= UNUSED, f"{len(lacking)} names are shown nowhere: {', '.join(lacking)}"

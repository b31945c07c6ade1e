"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import warnings

import pytest
import torch
from test_imports import modules

import flowkit as fk

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples():
    """The docstrings with examples, each once: a name is looked for in the module where it is defined."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        with warnings.catch_warnings(action="ignore"):  # of the packages that a panel imports
            module = importlib.import_module(name)
        for test in finder.find(module, name, extraglobs={"fk": fk, "torch": torch}):
            if test.examples:
                yield pytest.param(test, id=test.name.removeprefix("flowkit."))


@pytest.fixture(autouse=True)
def as_it_was():
    """An example may set the default dtype, and seeds torch where it draws without a generator."""
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    yield
    torch.set_default_dtype(dtype)
    torch.set_rng_state(state)


@pytest.mark.parametrize("test", list(examples()))
def test_example(test):
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append, clear_globs=True)
    assert tried > 0
    assert not failed, "".join(said)

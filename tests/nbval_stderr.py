"""A plugin of nbval: what libraries say on stderr, about the fonts of a machine for one, is told and not compared."""

import pytest


def pytest_itemcollected(item):
    item.parent.skip_compare = (*item.parent.skip_compare, "stderr")


def pytest_runtest_teardown(item):
    for output in item.test_outputs or ():
        if output.get("name") == "stderr":
            item.warn(pytest.PytestWarning(f"stderr of {item.name}: {' '.join(output['text'].split())}"))

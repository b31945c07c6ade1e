import os

import pytest
import torch
from hypothesis import settings

# Before any test imports flowkit. torch.compile takes longer than most tests; those of the kernels call set_compile.
os.environ.setdefault("FLOWKIT_COMPILE", "c")

# Fixed examples, and no time limit on one: machines differ.
settings.register_profile("flowkit", derandomize=True, deadline=None)
settings.load_profile("flowkit")


@pytest.fixture
def rng() -> torch.Generator:
    """A CPU generator with a fixed seed."""
    return torch.Generator().manual_seed(20101)


@pytest.fixture(scope="module")
def double():
    """Double precision by default, for the whole module that uses it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)

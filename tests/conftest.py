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

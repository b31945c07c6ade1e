"""The study of multiscale models of SU(3)."""

import math

import pytest

import flowkit as fk
from flowkit.studies.multiscale_dressed import annealed
from flowkit.studies.multiscale_su3 import multiscale_su3


def test_annealing_finds_ln_z():
    """Beside the exact value of a small torus."""
    action = fk.Wilson(fk.links((2, 2), fk.SUN(3)), 1.5)
    value, error = annealed(action, 4, 1)
    assert error < 0.1
    assert abs(value - action.log_z()) < 4 * error


@pytest.mark.slow
def test_the_quick_figure():
    rows = multiscale_su3(quick=True)
    assert all(row.get("reached", True) for row in rows)
    assert all(math.isfinite(row["value"]) for row in rows)

"""Wilson flow, energy and loops of SU(3) against plain numpy, and scales against published ones."""

import math

import pytest

from flowkit.studies.scale_setting import r0_of_the_literature, t0_of_the_literature, t0_potential_su3


def test_the_quick_figure_is_reached():
    rows = t0_potential_su3(quick=True)
    assert [row["label"] for row in rows if row.get("reached") is False] == []
    assert len([row for row in rows if row.get("reached")]) == 3


def test_the_interpolations_meet_published_values():
    """t0 / a^2 = 2.7854(62) at beta = 5.96 (1006.4518), and the interpolation of r0 / a of Necco and Sommer."""
    assert t0_of_the_literature(5.96) == pytest.approx(2.7854, rel=0.005)
    for b in (-0.2, 0.0, 0.2):
        older = math.exp(1.6804 + 1.7331 * b - 0.7849 * b**2 + 0.4428 * b**3)  # hep-lat/0108008, accurate to 1 %
        assert r0_of_the_literature(6 + b) == pytest.approx(older, rel=0.01)

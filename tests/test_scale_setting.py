"""Wilson flow, energy and loops of SU(3) against plain numpy, and the kernels that the flow takes its slopes from."""

import pytest
import torch

import flowkit as fk
from flowkit.geometry.loop_sums import loop_slopes, loop_sum
from flowkit.kernels import wilson
from flowkit.studies.scale_setting import r0_of_the_literature, t0_of_the_literature, t0_potential_su3


def test_the_quick_figure_is_reached():
    rows = t0_potential_su3(quick=True)
    assert [row["label"] for row in rows if row.get("reached") is False] == []
    assert len([row for row in rows if row.get("reached")]) == 3


def test_the_interpolations_meet_published_values():
    """t0 / a^2 = 2.7854(62) at beta = 5.96 (1006.4518), r0 / a = 5.368(22) at 6.0 and 6.642 at 6.13 (hep-lat/0108008)."""
    assert t0_of_the_literature(5.96) == pytest.approx(2.7854, rel=0.005)
    assert r0_of_the_literature(6.0) == pytest.approx(5.368, rel=0.005)
    assert r0_of_the_literature(6.13) == pytest.approx(6.642, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lattice", [(4, 2), (3, 1, 2), (2, 3, 2, 4)])
@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2), fk.SUN(3)], ids=lambda group: group.name)
def test_kernels_and_torch_agree_on_sums_and_slopes(group, lattice, dtype, monkeypatch):
    space = fk.links(lattice, group)
    x = space.haar(3, torch.Generator().manual_seed(1), dtype)
    found = loop_sum(space, x, 0.7), loop_slopes(space, x, 0.7)
    monkeypatch.setattr(wilson, "native", lambda name, x: False)
    for here, there in zip(found, (loop_sum(space, x, 0.7), loop_slopes(space, x, 0.7)), strict=True):
        assert here.shape == there.shape
        assert torch.allclose(here, there, rtol=1e-5, atol=200 * torch.finfo(dtype).eps)

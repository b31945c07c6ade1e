"""The density panel: its numbers, where it draws them, and what it refuses."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import flowkit as fk

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/density.js").is_file():
    pytest.skip("the front end of the panels is not built", allow_module_level=True)

import traitlets

from flowkit.ensemble.densities import density_numbers
from flowkit.panels import Density, Field
from flowkit.panels.density_view import FAR, projected
from flowkit.testing import seeded

U1_3D, SU2_4D = fk.links((3, 4, 5), fk.U1()), fk.links((2, 3, 2, 4), fk.SUN(2))


def test_the_action_density_sums_up_to_the_action():
    x = U1_3D.haar(3, seeded(), torch.float64)
    numbers = density_numbers(x, U1_3D)
    assert (numbers.quantity, numbers.values.shape) == ("action", (1, 3, 1, 3, 4, 5))
    planes = len(U1_3D.planes) * U1_3D.volume
    action = fk.Wilson(U1_3D, 2.0)(x) / 2 + planes  # sum of 1 - cos
    np.testing.assert_allclose(numbers.values.sum((0, 2, 3, 4, 5)) * 3, action, rtol=1e-6)
    np.testing.assert_allclose(1 - numbers.totals[0], fk.plaquette(U1_3D, x), atol=1e-6)


def test_su_n_in_four_dimensions_shows_its_charge_and_scalars_themselves():
    x = SU2_4D.haar(2, seeded(), torch.float64)
    numbers = density_numbers(x, SU2_4D)
    assert numbers.quantity == "charge"
    np.testing.assert_allclose(numbers.totals[0], fk.topological_charge(SU2_4D, x), atol=1e-6)
    space = fk.sites((2, 3, 4))
    assert Density(torch.ones(2, *space.shape), space).numbers.quantity == "phi"


def test_a_turn_keeps_distances_and_the_eye_sees_what_is_near_larger():
    sides, places = (4, 4, 4), np.argwhere(np.ones((4, 4, 4))).astype(float)
    eye = FAR * math.hypot(*sides)
    for turn, tilt in ((0, 0), (37, 12), (200, -50)):
        right, up, near = projected(places, sides, turn, tilt).T
        straight = np.stack([right, up], 1) * ((eye - near) / eye)[:, None]
        back = np.column_stack([straight, near])
        np.testing.assert_allclose(
            np.linalg.norm(back[:, None] - back, axis=-1), np.linalg.norm(places[:, None] - places, axis=-1), atol=1e-9
        )
    # From the front: x0 to the right, x2 upwards, and x1 away from the eye.
    right, up, near = projected(np.array([[3.0, 1.5, 1.5], [1.5, 1.5, 3.0], [1.5, 3.0, 1.5]]), sides, 0, 0).T
    assert right[0] > 0
    assert up[1] > 0
    assert near[2] < 0
    assert (
        projected(np.array([[3.0, 0.0, 1.5]]), sides, 0, 0)[0, 0]
        > projected(np.array([[3.0, 3.0, 1.5]]), sides, 0, 0)[0, 0]
    )


def test_slices_go_through_the_direction_that_is_time():
    x = SU2_4D.haar(2, seeded(), torch.float64)
    panel = Density(x, SU2_4D, configuration=1, direction=1, time=2)
    words, fields = panel._slices()
    assert words == ["x₁ = 0", "x₁ = 1", "x₁ = 2"]
    np.testing.assert_array_equal(fields[2], panel.numbers.values[0, 1, 0, :, 2])
    assert panel._axes() == [0, 2, 3]
    figure = panel.figure()
    assert [trace.visible for trace in figure.data] == [False, False, True]
    assert panel.snapshot().data[:4] == b"\x89PNG"
    assert "stored step 1; sites from 20 % of the largest" in panel._title()
    few, many = (sum(len(trace.x) for trace in Density(x, SU2_4D, least=p).figure().data) for p in (60, 0))
    assert few < many == SU2_4D.volume


def test_the_view_holds_all_numbers_and_keeps_its_limits():
    panel = Density(SU2_4D.haar(3, seeded(), torch.float64), SU2_4D)
    view = panel.widget
    buffer = np.frombuffer(view.values, dtype="<f4").reshape(3, 1, 2, 3, 2, 4)
    np.testing.assert_array_equal(buffer[:, 0], panel.numbers.values[0, :, 0])
    view.time, view.turn = 3, 359
    assert panel.shown[2:6] == (3, 3, 20, 359)
    for name, bad in (("time", 4), ("configuration", 3), ("turn", 360), ("tilt", -91), ("least", 96)):
        with pytest.raises(traitlets.TraitError, match=f"{name} is a number from"):
            setattr(view, name, bad)
    panel.close()


def test_nothing_to_see_is_drawn_as_nothing():
    panel = Density(U1_3D.cold(2, like=torch.zeros(())), U1_3D)
    assert [len(trace.x) for trace in panel.figure().data] == [0, 0]
    assert panel.snapshot().data[:4] == b"\x89PNG"
    assert Field(U1_3D.cold(2, like=torch.zeros(())), U1_3D, quantity="action").numbers.values.max() == 0.0


@pytest.mark.parametrize(("options", "message"), [
    ({"tilt": 91}, "Density shows tilt from -90 to 90; got 91"),
    ({"direction": 4}, "Density shows direction from 0 to 3; got 4"),
    ({"time": 4}, "Density shows time from 0 to 3; got 4"),
    ({"configuration": 2}, "Density shows configuration from 0 to 1; got 2"),
    ({"quantity": "link"}, "one number a site of a lattice of three or four dimensions; got 4 of the quantity link"),
])  # fmt: skip
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        Density(SU2_4D.haar(2, seeded(), torch.float64), SU2_4D, **options)
    flat = fk.links((4, 4), fk.U1())
    with pytest.raises(ValueError, match="three or four dimensions; got 1 of the quantity action on 4x4"):
        Density(flat.haar(2, seeded()), flat)

"""The panels of slices, Field and FlowLayers: their numbers, what they tell a page, and what they leave without one."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import flowkit as fk

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/heatmap.js").is_file():
    pytest.skip("the front end of the panels is not built", allow_module_level=True)

import ipywidgets
import traitlets

from flowkit.ensemble.labels import quantity
from flowkit.ensemble.layers import walk
from flowkit.geometry import loops
from flowkit.panels import Field, FlowLayers
from flowkit.panels.colours import PALETTES, colours
from flowkit.testing import seeded

U1_2D, SU2_3D, SU3_4D = fk.links((4, 6), fk.U1()), fk.links((2, 3, 4), fk.SUN(2)), fk.links((2, 2, 2, 3), fk.SUN(3))


def haar(space, n=3):
    return space.haar(n, seeded(), torch.float64)


@pytest.fixture
def ensemble():
    return fk.run(fk.HMC(fk.Wilson(U1_2D, 2.0)), 12, chains=3, thermalise=5, rng=1)


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_the_numbers_of_an_ensemble_are_its_observables(ensemble):
    angles, charges = fk.ensemble.field_numbers(ensemble), fk.ensemble.field_numbers(ensemble, quantity="charge")
    assert angles.values.shape == charges.values.shape == (3, 12, 1, 4, 6)
    np.testing.assert_allclose(angles.totals, ensemble.history(fk.plaquette).T, atol=1e-6)
    np.testing.assert_allclose(charges.totals, ensemble.history(fk.topological_charge).T, atol=1e-5)
    np.testing.assert_allclose(2 * math.pi * charges.values, angles.values, rtol=1e-6)


def test_plaquettes_of_su_n_stand_in_the_order_of_planes():
    x = haar(SU2_3D)
    numbers = fk.ensemble.field_numbers(x, SU2_3D)
    assert (numbers.quantity, numbers.group, numbers.lattice) == ("plaquette", "SU(2)", (2, 3, 4))
    for i, (mu, nu) in enumerate(SU2_3D.planes):
        expected = SU2_3D.group.trace(loops.plaquette(SU2_3D, x, mu, nu))
        np.testing.assert_allclose(numbers.values[0, :, i], expected[:, 0], atol=1e-6)
    np.testing.assert_allclose(numbers.totals[0], fk.plaquette(SU2_3D, x), atol=1e-6)


def test_the_clover_density_sums_up_to_its_charge():
    x = haar(SU3_4D)
    numbers = fk.ensemble.field_numbers(x, SU3_4D, quantity="charge")
    np.testing.assert_allclose(numbers.totals[0], fk.topological_charge(SU3_4D, x), atol=1e-6)


def test_few_steps_are_kept_evenly_and_within_the_bytes(ensemble):
    numbers = fk.ensemble.field_numbers(ensemble, steps=4, chains=2)
    assert numbers.steps == (0, 4, 7, 11)
    np.testing.assert_allclose(numbers.totals, ensemble.history(fk.plaquette)[[0, 4, 7, 11], :2].T, atol=1e-6)
    assert fk.ensemble.field_numbers(ensemble, max_bytes=4 * 24 * 3 * 5).values.shape[1] == 5
    assert fk.ensemble.field_numbers(ensemble, max_bytes=1).values.shape[1] == 1


def scaled(space, *factors):
    """phi -> factor phi, one layer after the other, from a normal prior."""
    steps = [fk.transforms.Affine(space, shift=False) for _ in factors]
    with torch.no_grad():
        for step, factor in zip(steps, factors, strict=True):
            step.log_scale.fill_(math.log(factor))
    return fk.Flow(fk.Normal(space), fk.Chain(*steps)).double()


class Gauss(fk.Action):
    """S = m2 sum phi^2."""

    couplings = ("m2",)

    def __init__(self, space, m2):
        super().__init__(space)
        self.m2 = m2

    def __call__(self, x):
        return self.m2 * x.square().flatten(1).sum(1)

    def log_z(self):
        return self.space.dof / 2 * math.log(math.pi / self.m2)


GAUSS = Gauss(fk.sites((2, 3)), 2.0)


def test_a_walk_ends_where_the_flow_does():
    inner = scaled(GAUSS.space, 2.0, 0.3)
    converter = fk.transforms.DistributionConverter(GAUSS.space, bins=5)
    flow = fk.Flow(inner, fk.Chain(fk.Chain(converter), fk.transforms.Affine(GAUSS.space))).double()
    with torch.no_grad():
        entries, draw = list(walk(flow, 7, seeded(3))), flow.sample_and_log_prob(7, seeded(3))
    assert [entry.name for entry in entries] == ["prior", "Affine", "Affine", "DistributionConverter", "Affine"]
    torch.testing.assert_close(entries[-1].x, draw.x)
    torch.testing.assert_close(entries[-1].logq, draw.logq)
    torch.testing.assert_close(entries[-1].logdet, entries[0].logq - entries[-1].logq)


def test_the_divergence_after_every_layer_has_its_exact_value():
    """Normal fields of width 1, then 2, then 1/2, towards one of width 1/2: each KL of Gaussians is known."""
    numbers, widths, dof = fk.ensemble.layer_numbers(scaled(GAUSS.space, 2.0, 0.25), GAUSS, n=4000), (1.0, 2.0, 0.5), 6
    assert numbers.absolute
    np.testing.assert_allclose(numbers.logdet[0], [dof * math.log(width) for width in widths], atol=1e-6)
    for one, width in zip(numbers.kl, widths, strict=True):
        ratio = 2 * GAUSS.m2 * width**2  # of the variances
        exact = dof / 2 * (ratio - 1 - math.log(ratio))
        assert one.within(exact, sigmas=4) if exact else abs(one.value) < 1e-6
    phi = numbers.fields.values[:, :, 0].astype(float)
    np.testing.assert_allclose(numbers.action, GAUSS.m2 * (phi**2).sum((2, 3)), rtol=1e-5)
    np.testing.assert_allclose(phi[:, 2], phi[:, 0] / 2, rtol=1e-6)


@pytest.mark.parametrize("space", [fk.links((4, 4), fk.U1()), fk.links((2, 4), fk.SUN(3))], ids=str)
def test_gauge_flows_keep_the_divergence_of_haar_until_they_are_trained(space):
    flow, action = fk.gauge_flow(space), fk.Wilson(space, 1.0)
    panel = FlowLayers(flow, action, n=64)
    kl = panel.numbers.kl
    assert panel.numbers.absolute
    assert all(abs(one.value - kl[0].value) < 5 * kl[0].error for one in kl)
    before, view = panel.numbers.action, panel.widget.values
    fk.Trainer(flow, action, batch=32, lr=0.02).fit(5, progress=False)
    panel.refresh()
    np.testing.assert_allclose(panel.numbers.action[:, 0], before[:, 0])  # the same draws of the prior
    assert panel.widget.values != view
    panel.close()


# -- the live view ---------------------------------------------------------------------------------------------------


def test_the_buffer_holds_every_field(ensemble):
    panel = Field(ensemble, configuration=5, chain=2)
    view = panel.widget
    buffer = np.frombuffer(view.values, dtype="<f4").reshape(12, 3, 1, 4, 6)  # configuration after configuration
    np.testing.assert_array_equal(buffer.swapaxes(0, 1), panel.numbers.values)
    assert (view.main, view.other, view.at) == (5, 2, [0, 0])
    assert len(view.content["charts"]) == 3
    view.main = 7
    assert panel.shown.main == 7
    for name, bad in (("main", 12), ("other", -1), ("plane", 1), ("at", [0, 6]), ("at", [0])):
        with pytest.raises(traitlets.TraitError, match=r"number from 0 to|site of the lattice"):
            setattr(view, name, bad)
    panel.close()


def test_a_slice_is_the_plane_through_a_site():
    panel = Field(haar(SU3_4D), SU3_4D, plane=(1, 3), at=(1, 0, 1, 0), configuration=2)
    plane = SU3_4D.planes.index((1, 3))
    np.testing.assert_array_equal(panel._picture(2), panel.numbers.values[0, 2, plane, 1, :, 1, :].T)
    assert panel._title().endswith("; chain 0, plane (1, 3) at x₀ = 1, x₂ = 1")
    phi = Field(torch.arange(24.0).reshape(1, 1, 2, 3, 4), fk.sites((2, 3, 4)), plane=(0, 2), at=(0, 2, 0))
    np.testing.assert_array_equal(phi._picture(0), torch.arange(24.0).reshape(2, 3, 4)[:, 2].T)


@pytest.mark.parametrize(
    ("space", "quantity"),
    [
        (U1_2D, "angle"),
        (U1_2D, "charge"),
        (U1_2D, "link"),
        (SU2_3D, "plaquette"),
        (SU3_4D, "charge"),
        (fk.sites((5,), 2), "phi"),
        (fk.links((1,), fk.SUN(3)), "link"),
    ],
    ids=str,
)
def test_pictures_without_a_page(space, quantity):
    fields = torch.randn(3, *space.shape) if space.kind == "sites" else space.haar(3, seeded())
    panel = Field(fields, space, quantity=quantity)
    data = panel.snapshot().data
    assert data[:4] == b"\x89PNG"
    assert struct.unpack(">II", data[16:24])[0] > 800
    maps = [one for one in panel.figure().data if one.type == "heatmap"]
    assert len(maps) == 3
    assert len({(one.zmin, one.zmax) for one in maps}) == 1, "one scale of colours for all frames"
    assert [one.visible for one in maps] == [True, False, False]
    assert "widget" not in panel.__dict__
    assert panel.numbers.values.min() >= panel._colours().low - 1e-6
    assert panel.numbers.values.max() <= panel._colours().high + 1e-6


def test_the_page_opens_offline(tmp_path):
    panel = FlowLayers(scaled(GAUSS.space, 2.0, 0.25), GAUSS, n=16)
    text = panel.save_html(tmp_path / "layers.html").read_text(encoding="utf-8")
    assert "<script src" not in text
    assert "log det so far" in text
    assert repr(panel) == "FlowLayers(scalar field on 2x3, 2 layers, 8 fields)"


def test_it_composes_and_says_what_it_is(ensemble):
    panel = Field(ensemble)
    assert repr(panel) == "Field(U(1) on 4x6, 12 configurations, 3 chains)"
    assert repr(ipywidgets.VBox([panel.widget]).children[0]) == "HeatmapView(U(1) on 4x6: plaquette angles)"
    panel.close()


def test_colours_of_signed_numbers_are_symmetric():
    made, signed = colours("field φ", -math.inf, math.inf, (), "signed", 0.0311), PALETTES["signed"]
    assert (made.low, made.high) == pytest.approx((-0.032, 0.032))
    assert min(signed(0.5)[:3]) > 0.9
    assert signed(0.1)[2] > signed(0.1)[0]
    assert signed(0.9)[0] > signed(0.9)[2]
    assert colours("zero", -math.inf, math.inf, (), "signed", 0.0).high == 1.0


@pytest.mark.parametrize(
    ("name", "group", "dimensions", "low", "high"),
    [
        ("angle", fk.U1(), 2, -math.pi, math.pi),
        ("charge", fk.U1(), 2, -0.5, 0.5),
        ("link", fk.U1(), 2, -1.0, 1.0),
        ("plaquette", fk.SUN(2), 2, -1.0, 1.0),
        ("plaquette", fk.SUN(3), 2, -0.5, 1.0),
        ("charge", fk.SUN(3), 4, -math.inf, math.inf),
        ("phi", fk.Real(), 2, -math.inf, math.inf),
    ],
)
def test_the_range_of_a_quantity(name, group, dimensions, low, high):
    words = quantity(name, group.lowest_trace, dimensions)
    assert (words.low, words.high) == pytest.approx((low, high))
    if words.ticks:
        marks = colours(words.value, low, high, words.ticks, words.palette, 1.0)
        assert dict(zip(marks.texts, marks.ticks, strict=True))["0"] == 0.0


# -- refusals --------------------------------------------------------------------------------------------------------


def test_refusals(ensemble):
    for make, error, message in [
        (lambda: Field(3), TypeError, "needs fields, of class Ensemble or a torch tensor; got 3"),
        (lambda: Field(haar(U1_2D)), ValueError, "Fields come with their space"),
        (lambda: Field(torch.full((2, 1, 3), math.nan), fk.sites((3,))), ValueError, "are finite; of these numbers 6"),
        (
            lambda: Field(ensemble, quantity="phi"),
            ValueError,
            "has the quantities angle, plaquette, charge, action, link; got",
        ),
        (lambda: Field(haar(SU2_3D), SU2_3D, quantity="charge"), ValueError, "quantities plaquette, action, link; got"),
        (lambda: Field(ensemble, steps=0), ValueError, "Field needs steps, a whole number >= 1; got 0"),
        (lambda: Field(ensemble, configuration=12), ValueError, "a configuration from 0 to 11; got 12"),
        (lambda: Field(ensemble, chain=3), ValueError, "a chain from 0 to 2; got 3"),
        (lambda: Field(ensemble, plane=(1, 0)), ValueError, r"one of the planes \(0, 1\); got \(1, 0\)"),
        (lambda: Field(ensemble, at=(0, 6)), ValueError, r"a site of the lattice \(4, 6\); got \(0, 6\)"),
        (
            lambda: FlowLayers(scaled(GAUSS.space, 2.0)),
            TypeError,
            "a flow and its action, or the numbers of layer_numbers",
        ),
        (lambda: FlowLayers(fk.Haar(U1_2D), GAUSS), TypeError, "needs flow, a flow such as .*; got Haar"),
    ]:
        with pytest.raises(error, match=message):
            make()
    without = fk.Ensemble(ensemble.space, None, ensemble.series)
    with pytest.raises(ValueError, match="kept no configurations"):
        Field(without)
    flow = scaled(GAUSS.space, 2.0)
    for options, message in (
        ({"n": 1}, "n, a whole number >= 2; got 1"),
        ({"n": 4, "fields": 5}, "keeps 1 to n of its draws"),
    ):
        with pytest.raises(ValueError, match=message):
            fk.ensemble.layer_numbers(flow, GAUSS, **options)
    with pytest.raises(ValueError, match="an action of its space"):
        fk.ensemble.layer_numbers(flow, Gauss(fk.sites((2, 2)), 1.0))
    with pytest.raises(RuntimeError, match="shows given numbers"):
        FlowLayers(fk.ensemble.layer_numbers(flow, GAUSS, n=8)).refresh()


def test_a_layer_that_gives_nan_is_named():
    with pytest.raises(ValueError, match="Entry 2 of this flow, Affine, gives NaN"):
        fk.ensemble.layer_numbers(scaled(GAUSS.space, 2.0, math.inf, 1.0), GAUSS, n=8)

"""A group is one class in one file: SO(2) and U(2), which the library does not have, run through all of it.

SO(2) as real 2x2 matrices is U(1) by another name, so that exact answers are known; U(2) does not commute.
"""

import math

import pytest
import torch

import flowkit as fk
from flowkit import testing
from flowkit.bijections import EigenangleSpline, OddCircleSpline
from flowkit.geometry.space import Space
from flowkit.groups import Group, named
from flowkit.samplers import HMC

F64 = torch.float64


class SO2(Group):
    """Rotations [[cos w, -sin w], [sin w, cos w]]; the coordinate of the algebra is the angle w."""

    name = "SO2"
    matrix_shape = (2, 2)
    algebra_dim = 1
    dimension = 2
    complex = False
    abelian = True
    angles = 1
    winding = True
    solved_2d = True

    @property
    def label(self):
        return "SO(2)"

    def compose(self, a, b):
        return a @ b

    def inverse(self, a):
        return a.mT

    def exp(self, w):
        c, s = w[..., 0].cos(), w[..., 0].sin()
        return torch.stack([c, -s, s, c], -1).unflatten(-1, (2, 2))

    def angle(self, x):
        return torch.atan2(x[..., 1, 0] - x[..., 0, 1], x[..., 0, 0] + x[..., 1, 1])

    def log(self, g):
        return self.angle(g)[..., None]

    tangent = log

    def covector(self, x, f):
        return self.exp(torch.full_like(f, math.pi / 2)) @ x * (f / 2)[..., None]

    def coordinates_of_gradient(self, x, g):
        turned = self.exp(x.new_full((1,), math.pi / 2)) @ x
        return (g * turned).sum((-2, -1))[..., None]

    def identity(self, shape, like):
        return torch.eye(2, dtype=self.field_dtype(like.dtype), device=like.device).expand(*shape, 2, 2).clone()

    def haar(self, shape, rng, dtype=None):
        u = torch.rand(*shape, 1, generator=rng, device=rng.device, dtype=dtype)
        return self.exp((2 * u - 1) * math.pi)

    def project(self, x):
        return self.exp(self.log(x))

    def defect(self, x):
        off = (x - self.project(x)).abs().amax((-2, -1))
        return torch.where(off.isfinite(), off, torch.inf)

    def trace(self, x):
        return x.diagonal(dim1=-2, dim2=-1).sum(-1) / 2

    def trace_slope(self, x):
        return (x[..., 0, 1] - x[..., 1, 0])[..., None] / 2

    def spectrum(self, x):
        return self.log(x), x

    def recompose(self, x, angles, frame, new):
        return self.exp(new)

    def heatbath(self, v, staples, beta, rng):
        size = torch.linalg.matrix_norm(staples) / math.sqrt(2)
        turn = fk.U1().heatbath(size, torch.complex(size, 0 * size), beta, rng)
        return self.exp(self.log(staples) + turn[..., None])

    def overrelax(self, v, staples):
        return self.exp(2 * self.log(staples) - self.log(v))

    def one_plaquette(self, shape, beta, rng, dtype=None):
        return self.exp(fk.U1().one_plaquette(shape, beta, rng, dtype)[..., None])

    def first_of_two(self, product, beta, rng):
        return self.exp(fk.U1().first_of_two(self.angle(product), beta, rng)[..., None])

    def decimated_log_weight(self, plaquettes, beta, area):
        return fk.U1().decimated_log_weight(self.angle(plaquettes), beta, area)

    def one_plaquette_mean(self, beta):
        return fk.U1().one_plaquette_mean(beta)

    def one_plaquette_log_z(self, beta):
        return fk.U1().one_plaquette_log_z(beta)

    def log_z_2d(self, beta, volume):
        return fk.U1().log_z_2d(beta, volume)

    def wilson_loop_2d(self, beta, area, volume):
        return fk.U1().wilson_loop_2d(beta, area, volume)

    def charge_squared_2d(self, beta, volume):
        return fk.U1().charge_squared_2d(beta, volume)


class U2(Group):
    """Unitary 2x2 matrices, without any of the methods that have a default."""

    name = "U2"
    matrix_shape = (2, 2)
    algebra_dim = 4
    dimension = 2
    complex = True

    def hermitian(self, w):
        a, b, c, d = w.unbind(-1)
        return torch.stack([c + d, a - 1j * b, a + 1j * b, d - c], -1).unflatten(-1, (2, 2)) / 2

    def coordinates(self, h):
        off, low, high = h[..., 0, 1] + h[..., 1, 0].conj(), h[..., 0, 0].real, h[..., 1, 1].real
        return torch.stack([off.real, -off.imag, low - high, low + high], -1)

    def compose(self, a, b):
        return a @ b

    def inverse(self, a):
        return a.mH

    def exp(self, w):
        return torch.linalg.matrix_exp(1j * self.hermitian(w))

    def log(self, g):
        values, vectors = torch.linalg.eig(g)
        return self.coordinates(vectors @ torch.diag_embed(values.angle() + 0j) @ torch.linalg.inv(vectors))

    def tangent(self, g):
        return self.coordinates((g - g.mH) / 2j)

    def covector(self, x, f):
        return 2j * self.hermitian(f) @ x

    def coordinates_of_gradient(self, x, g):
        h = 1j * x @ g.mH
        return self.coordinates((h + h.mH) / 2) / 2

    def identity(self, shape, like):
        return torch.eye(2, dtype=self.field_dtype(like.dtype), device=like.device).expand(*shape, 2, 2).clone()

    def haar(self, shape, rng, dtype=None):
        return self.project(torch.randn(*shape, 2, 2, generator=rng, device=rng.device, dtype=self.field_dtype(dtype)))

    def project(self, x):
        u, _, vh = torch.linalg.svd(x)
        return u @ vh

    def defect(self, x):
        off = (x.mH @ x - torch.eye(2, dtype=x.dtype)).abs().amax((-2, -1))
        return torch.where(off.isfinite(), off, torch.inf)

    def trace(self, x):
        return x.diagonal(dim1=-2, dim2=-1).real.sum(-1) / 2

    def trace_slope(self, x):
        return self.coordinates((1j * x + (1j * x).mH) / 2) / 4


SPACE = fk.links((4, 6), SO2())


@pytest.mark.parametrize("group", [SO2(), U2()], ids=str)
def test_group(group):
    testing.check_group(group)
    testing.check_group(group, torch.float32)
    assert named(group.name) == group


@pytest.mark.parametrize("group", [SO2(), U2()], ids=str)
@pytest.mark.parametrize("lattice", [(3, 4), (2, 3, 4)], ids=str)
def test_actions(group, lattice):
    """The force against autograd and differences, gauge symmetry; of Wilson's action and of the matrix model."""
    testing.check_action(fk.Wilson(fk.links(lattice, group), 1.3), ["gauge", "translation"])
    testing.check_action(fk.MatrixModel(fk.links((2, 3), group), 0.7, (1.0, 0.4)), moves=False)


def test_the_action_is_that_of_u1():
    action, other = fk.Wilson(SPACE, 2.0), fk.Wilson(fk.links((4, 6), fk.U1()), 2.0)
    x = SPACE.haar(3, testing.seeded(), F64)
    testing.require_close(action(x), other(SO2().angle(x)), "the action in angles")
    testing.require_close(action.force(x)[..., 0], other.force(SO2().angle(x)), "the force in angles")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "sampler", [lambda a: HMC(a, length=1.0, steps=6), lambda a: fk.Heatbath(a)], ids=["HMC", "bath"]
)
def test_samplers_find_the_exact_plaquette(sampler):
    action = fk.Wilson(fk.links((4, 4), SO2()), 2.0)
    ensemble = fk.run(sampler(action), 300, chains=24, thermalise=50, rng=1, observe=[fk.plaquette, fk.charge_squared])
    for observable in (fk.plaquette, fk.charge_squared):
        estimate = ensemble.mean(observable)
        assert estimate.exact is not None
        assert estimate.within(sigmas=4)


@pytest.mark.usefixtures("double")
def test_sampling_a_group_without_exact_answers():
    action = fk.Wilson(fk.links((2, 4), U2()), 1.5)
    ensemble = fk.run(HMC(action, length=1.0, steps=8), 20, chains=8, thermalise=10, rng=1)
    assert ensemble.mean(fk.plaquette).exact is None
    x = action.space.haar(5, testing.seeded(), F64)
    testing.require_same_field(U2(), U2().restore(x), x, "elements that need no repair, determinants among them")
    with pytest.raises(ValueError, match="Heatbath needs a group that draws a link anew; U2 has no such law"):
        fk.Heatbath(action)


def test_exact_draws_of_fields_in_two_dimensions():
    testing.check_prior(fk.priors.ExactGauge2D(fk.links((2, 3), SO2()), beta=1.0))
    with pytest.raises(ValueError, match=r"plaquettes are drawn exactly, .*; got Links U2 on 4x4"):
        fk.priors.ExactGauge2D(fk.links((4, 4), U2()), beta=1.0)


UPDATES = {
    "learned loop": [EigenangleSpline(SO2(), bins=4)],
    "in turn": [EigenangleSpline(SO2(), 0, bins=4), EigenangleSpline(SO2(), 1, spline=OddCircleSpline(3))],
}


@pytest.mark.parametrize("updates", UPDATES)
@pytest.mark.parametrize("frozen", [[], [fk.Loop.rectangle()]], ids=["local", "both"])
def test_coupling(updates, frozen):
    loops = fk.Loop.rectangle().through(0, 2)
    coupling = fk.GaugeCoupling(
        SPACE, fk.Pattern.sparse(0, 2, 3), loops, UPDATES[updates], (5,), 3, frozen=frozen, start=1.0
    )
    testing.check_transform(coupling)
    testing.check_equivariance(coupling, testing.symmetry(SPACE, "gauge", testing.seeded(5)))


def test_flows():
    flow = fk.gauge_flow(SPACE)
    testing.check_transform(flow.transform)
    testing.check_transform(fk.transforms.SpectralCoupling(SPACE, bins=4))
    with pytest.raises(ValueError, match=r"needs a group that gives them; got U2\(\)"):
        fk.gauge_flow(fk.links((4, 4), U2()))


@pytest.mark.usefixtures("double")
def test_a_flow_is_trained_and_its_ensemble_saved(tmp_path):
    action = fk.Wilson(fk.links((4, 4), SO2()), 1.0)
    flow = fk.gauge_flow(action.space, bins=4, hidden=(4,))
    fk.Trainer(flow, action, batch=128, lr=0.02).fit(60, progress=False)
    ensemble = fk.run(fk.IndependenceMetropolis(flow, action), 600, chains=16, rng=1, keep=True)
    assert ensemble.mean(fk.plaquette).within(sigmas=5)
    ensemble.save(tmp_path / "so2.zarr")
    again = fk.Ensemble.load(tmp_path / "so2.zarr")
    assert again.space == action.space
    assert torch.equal(again.x, ensemble.x)
    assert Space.from_description(action.space.describe()) == action.space


@pytest.mark.parametrize("quantity", ["angle", "plaquette", "charge", "link"])
def test_panel(quantity):
    panels = pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
    panel = panels.Field(SPACE.haar(3, testing.seeded()), SPACE, quantity=quantity)
    testing.check_panel(panel)
    assert "SO(2)" in repr(panel)

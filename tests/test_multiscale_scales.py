import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, loops, testing
from flowkit.multiscale import multiscale_flow
from flowkit.multiscale.scales import decimated_action, log_weights_by_scale


@pytest.fixture(autouse=True, scope="module")
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2), fk.SUN(3)], ids=str)
@pytest.mark.parametrize("area", [1, 2, 4])
def test_the_mean_weight_is_z_at_every_scale(group, area, rng):
    space, beta = fk.links((2, 2), group), 1.5
    w = (-decimated_action(space, beta, area, space.haar(20_000, rng))).exp()
    volume = area * space.volume
    u1 = isinstance(group, fk.U1)
    z = math.exp(exact.u1_log_z(beta, volume) if u1 else exact.sun_log_z(group.dimension, beta, volume))
    assert abs(float(w.mean()) - z) < 4 * float(w.std()) / math.sqrt(len(w))


def test_two_plaquettes_of_u1():
    """int dV e^{beta (cos + cos)} = I_0(2 beta cos(theta/2))."""
    space = fk.links((2, 2), fk.U1())
    x = space.haar(5, testing.seeded())
    P = loops.plaquettes(space, x)
    expected = -torch.special.i0(2 * 3.0 * (P / 2).cos()).log().flatten(1).sum(1)
    testing.require_close(decimated_action(space, 3.0, 2, x), expected, "S of area 2", 1e-9)


def test_the_last_scale_is_the_whole_model():
    model = testing.randomised(multiscale_flow(fk.links((4, 8), fk.U1()), 4), testing.seeded(5), 0.3)
    x, logq = model.draw(6, testing.seeded())
    scales = model.scales(x)
    assert [scale.space.volume for scale in scales] == [1, 2, 4, 8, 16, 32]
    assert torch.equal(scales[-1].x, x)
    testing.require_close(scales[-1].logq, logq, "log q", 1e-9)
    testing.require_close(scales[0].logq + 1, torch.ones(6), "log q of Haar", 1e-12)
    weights = log_weights_by_scale(model, fk.Wilson(model.space, 1.0), x)
    testing.require_close(weights[-1][1], -fk.Wilson(model.space, 1.0)(x) - logq, "log w", 1e-9)


def test_a_trained_model_is_right_at_every_scale():
    space = fk.links((8, 8), fk.U1())
    model, action = multiscale_flow(space), fk.Wilson(space, 2.0)
    fk.Trainer(model, action, batch=1024, step=fk.NaturalGradientStep(), seed=1).fit(12, progress=False)
    with torch.no_grad():
        weights = log_weights_by_scale(model, action, model.draw(1024, testing.seeded()).x)
    for _, logw in weights:
        assert abs(exact.u1_log_z(2.0, 64) - float(logw.mean())) < 1e-3
        assert float(logw.std()) < 0.03


def test_refusals():
    model = multiscale_flow(fk.links((4, 4), fk.U1()))
    with pytest.raises(ValueError, match="a model and an action of one space"):
        log_weights_by_scale(model, fk.Wilson(fk.links((2, 2), fk.U1()), 1.0), torch.zeros(1, 2, 4, 4))
    for space in (fk.links((2, 2, 2), fk.U1()), fk.sites((2, 2))):
        with pytest.raises(ValueError, match="known for links in two dimensions"):
            decimated_action(space, 1.0, 2, torch.zeros(1))

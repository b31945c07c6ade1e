import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.geometry import loops
from flowkit.models import multiscale_flow
from flowkit.multiscale import by_scale, decimated_action, fields_by_scale, log_weights_by_scale

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2), fk.SUN(3)], ids=str)
@pytest.mark.parametrize("area", [1, 2, 4])
def test_the_mean_weight_is_z_at_every_scale(group, area, rng):
    space, beta = fk.links((2, 2), group), 1.5
    w = (-decimated_action(space, beta, area, space.haar(20_000, rng))).exp()
    volume = area * space.volume
    u1 = isinstance(group, fk.U1)
    z = math.exp(exact.u1_log_z(beta, volume) if u1 else exact.sun_log_z(group.dimension, beta, volume))
    assert abs(float(w.mean()) - z) < 4 * float(w.std()) / math.sqrt(len(w))


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2), fk.SUN(3)], ids=str)
def test_the_weight_of_one_plaquette_is_that_of_the_action(group, rng):
    """The character expansion summed again, term by term with its dimension."""
    P, beta = group.haar((20,), rng), 1.5
    expected = beta * group.trace(P)
    testing.require_close(group.decimated_log_weight(P, beta, 1), expected, "log w of area 1", 1e-9)


def test_two_plaquettes_of_u1():
    """int dV e^{beta (cos + cos)} = I_0(2 beta cos(theta/2))."""
    space = fk.links((2, 2), fk.U1())
    x = space.haar(5, testing.seeded())
    P = loops.plaquettes(space, x)
    expected = -torch.special.i0(2 * 3.0 * (P / 2).cos()).log().flatten(1).sum(1)
    testing.require_close(decimated_action(space, 3.0, 2, x), expected, "S of area 2", 1e-9)


def test_two_plaquettes_where_the_sum_cancels():
    """A plaquette of angle pi weighs I_0(0) = 1 beside e^{2 beta}: far below the rounding of the sum's largest term."""
    space = fk.links((2, 2), fk.U1())
    x = torch.zeros(1, 2, 2, 2)
    x[0, 0, 0, 0] = math.pi  # two plaquettes of angle +-pi, two of angle 0
    at_pi_and_0 = -(0.0 + 2 * 20.0 + math.log(float(torch.special.i0e(torch.tensor(40.0))))) * 2
    testing.require_close(decimated_action(space, 20.0, 2, x), torch.tensor([at_pi_and_0]), "S of area 2", 1e-9)
    assert decimated_action(space, 20.0, 2, x.float()).dtype == torch.float64


def test_the_last_scale_is_the_whole_model():
    model = testing.randomised(multiscale_flow(fk.links((4, 8), fk.U1()), 4), testing.seeded(5), 0.3)
    x, logq = model.sample_and_log_prob(6, testing.seeded())
    scales = fields_by_scale(model, x)
    assert [scale.space.volume for scale in scales] == [1, 2, 4, 8, 16, 32]
    assert torch.equal(scales[-1].x, x)
    testing.require_close(scales[-1].logq, logq, "log q", 1e-9)
    testing.require_close(scales[0].logq + 1, torch.ones(6), "log q of Haar", 1e-12)
    weights = log_weights_by_scale(model, fk.Wilson(model.space, 1.0), x)
    testing.require_close(weights[-1][1], -fk.Wilson(model.space, 1.0)(x) - logq, "log w", 1e-9)


def test_a_trained_model_is_right_at_every_scale():
    space = fk.links((8, 8), fk.U1())
    model, action = multiscale_flow(space), fk.Wilson(space, 2.0)
    fk.Trainer(model, action, batch=1024, method=fk.NaturalGradientStep(), seed=1).fit(12, progress=False)
    with torch.no_grad():
        weights = log_weights_by_scale(model, action, model.sample_and_log_prob(1024, testing.seeded()).x)
    for _, logw in weights:
        assert abs(exact.u1_log_z(2.0, 64) - float(logw.mean())) < 1e-3
        assert float(logw.std()) < 0.03


def test_the_numbers_of_a_panel(rng):
    """Untrained links are Haar: KL is ln Z + <S>, the plaquettes are uniform, and what each doubling adds sums up."""
    model = multiscale_flow(fk.links((4, 4), fk.U1()))
    action = fk.Wilson(model.space, 1.0)
    with torch.no_grad():
        x = model.sample_and_log_prob(4096, rng).x
    numbers = by_scale(model, action, x, fields=3)
    assert (numbers.group, numbers.beta) == ("U(1)", 1.0)
    assert [one.lattice for one in numbers.scales] == [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)]
    assert all(one.plaquettes.shape == (3, 1, *one.lattice) for one in numbers.scales)
    assert numbers.draws == 0
    fine = numbers.scales[-1]
    testing.require_close(torch.tensor(fine.plaquettes).double(), loops.plaquettes(model.space, x[:3]), "P", 1e-6)
    assert abs(fine.kl.pull(exact.u1_log_z(1.0, 16))) < 4  # <S> = 0
    assert sum(one.added.value for one in numbers.scales) == pytest.approx(fine.kl.value, abs=1e-9)
    assert all(one.added.value > 0 for one in numbers.scales[1:])
    assert abs(fine.ess.pull(math.exp(2 * exact.u1_log_z(1.0, 16) - exact.u1_log_z(2.0, 16)))) < 4


@pytest.mark.parametrize("n", [2, 3])
def test_the_numbers_of_one_scale_of_matrices(n, rng):
    space = fk.links((2, 3), fk.SUN(n))
    model = fk.Haar(space)
    x = space.haar(2000, rng)
    (one,) = by_scale(model, fk.Wilson(space, 1.0), x, fields=2).scales
    testing.require_close(
        torch.tensor(one.plaquettes.mean((1, 2, 3))).double(), fk.plaquette(space, x[:2]), "Re Tr P / N", 1e-6
    )
    assert abs(one.kl.pull(exact.sun_log_z(n, 1.0, 6))) < 4
    assert one.added == one.kl


def test_draws_stand_for_the_exact_action_in_two_dimensions(rng):
    """The logarithm of a mean of 64 draws is too small by half its relative variance, of which a correction leaves less
    than half.
    """
    model = testing.randomised(multiscale_flow(fk.links((2, 4), fk.U1()), 2), testing.seeded(5), 0.2)
    action = fk.Wilson(model.space, 0.5)
    x = model.sample(800, rng)
    exact_numbers, drawn = by_scale(model, action, x), by_scale(model, action, x, draws=64, rng=2)
    assert (exact_numbers.draws, drawn.draws) == (0, 64)
    finest = exact_numbers.scales[-1]
    assert abs(drawn.scales[-1].kl.value - finest.kl.value) < 1e-9
    excess = (1 / finest.ess.value - 1) / (2 * 64)
    for one, other in zip(exact_numbers.scales, drawn.scales, strict=True):
        error = max(one.kl.error if one.kl.error > 0 else 0.0, other.kl.error)  # Haar on 1x1 is exact
        assert -4 * error < other.kl.value - one.kl.value < excess / 2 + 4 * error, one.lattice


@pytest.mark.parametrize("group", [fk.U1(), fk.SUN(2)], ids=str)
def test_the_mean_weight_is_z_at_every_scale_in_three_dimensions(group, rng):
    model = fk.models.dressed_flow(fk.links((2, 2, 2), group), 0.8, order="cells")
    action = fk.Wilson(model.space, 0.4)
    with torch.no_grad():
        x, logq = model.sample_and_log_prob(1000, rng)
        weights = log_weights_by_scale(model, action, x, draws=4, rng=rng)
    assert [space.lattice for space, _ in weights] == [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)]
    testing.require_close(weights[-1][1], -action(x) - logq, "log w", 1e-9)
    haar = (-action(model.space.haar(20_000, rng))).exp()
    z, error = float(haar.mean()), float(haar.std()) / math.sqrt(len(haar))
    for space, logw in weights:
        w = logw.exp()
        both = math.hypot(error, float(w.std()) / math.sqrt(len(w)))
        assert abs(float(w.mean()) - z) < 4 * both, space.lattice


def test_the_scale_at_fault_is_found_in_three_dimensions(rng):
    """New links of one doubling that are Haar by mistake: their KL is added where that doubling ends."""
    action = fk.Wilson(fk.links((2, 2, 2), fk.U1()), 1.0)
    model = fk.models.dressed_flow(action.space, 1.0, order="cells")
    method = fk.train.MaximumLikelihoodStep(fk.run(fk.Heatbath(action), 16, chains=128, every=4, rng=1).x.flatten(0, 1))
    fk.Trainer(model, action, batch=512, method=method, seed=1).fit(method.steps, progress=False)
    with torch.no_grad():
        for one in fk.multiscale.levels(model)[1].models:
            one.coefficients.zero_()
        numbers = by_scale(model, action, model.sample(400, rng), draws=16, rng=rng)
    assert numbers.draws == 16
    assert all(one.plaquettes.shape == (8, 3, *one.lattice) for one in numbers.scales)
    added = [one.added for one in numbers.scales]
    assert max(added, key=lambda one: one.value) == added[2]
    assert added[2].value > 10 * added[2].error
    assert sum(one.value for one in added) == pytest.approx(numbers.scales[-1].kl.value, abs=1e-9)


def test_refusals():
    model = multiscale_flow(fk.links((4, 4), fk.U1()))
    with pytest.raises(ValueError, match="a model and an action of one space"):
        log_weights_by_scale(model, fk.Wilson(fk.links((2, 2), fk.U1()), 1.0), torch.zeros(1, 2, 4, 4))
    for space in (fk.links((2, 2, 2), fk.U1()), fk.sites((2, 2))):
        with pytest.raises(ValueError, match="known for links in two dimensions"):
            decimated_action(space, 1.0, 2, torch.zeros(1))
    model = multiscale_flow(fk.links((2, 2), fk.U1()))
    for fields, message in (
        (0, "needs fields, a whole number >= 1; got 0"),
        (5, "keeps from 1 to 4 of these fields; got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            by_scale(model, fk.Wilson(model.space, 1.0), model.sample(4, testing.seeded()), fields)

import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.models import multiscale_flow
from flowkit.multiscale import LinkDoubling, SU2ClassFunctionConditional, levels
from flowkit.stats import log_z
from flowkit.testing import example
from flowkit.train.natural_gradient import NaturalGradientStep

SU2 = fk.SUN(2)


pytestmark = pytest.mark.usefixtures("double")


def rough(model, size=0.3, seed=5):
    return testing.randomised(model, testing.seeded(seed), size)


def case(n=2000, seed=3):
    """Random links between random loops."""
    rng = testing.seeded(seed)
    return SU2.haar((2, n), rng), tuple(SU2.haar((2, n), rng) for _ in range(2))


# ---------------------------------------------------------------- one link


def check_ratios(model):
    """Ratios of q at two links follow f(P_left) + f(P_right), up to the step of the table."""
    v, rest = case()
    other = SU2.haar((2, 2000), testing.seeded(8))

    def f(x):
        a = torch.arccos(x.clamp(-1, 1))
        n = torch.arange(1, model.characters + 1)
        return (model.coefficients * torch.sin((n + 1) * a[..., None]) / ((n + 1) * torch.sin(a)[..., None])).sum(-1)

    def plain(v):
        return sum(f(SU2.trace(SU2.compose(v, r))) for r in rest)

    came = model.log_prob(v, rest) - model.log_prob(other, rest)
    testing.require_close(came, plain(v) - plain(other), "log of the ratio", 2e-3)


def check_sampler(model):
    """The CDFs at the drawn link are the base variables it was drawn with."""
    u, rest = case()
    v, logdet = model(u, rest)
    back, again = model.inverse(v, rest)
    testing.require_same_field(SU2, back, u, "the residual of the sampler", 1e-6)
    testing.require_close(again, -logdet, "log q of the draw and of the link", 1e-8)


@torch.no_grad()
def check_mean(model):
    """Draws of one link have the mean of both plaquettes that numerical integration of exp(f + f) gives."""
    rng, n = testing.seeded(2), 40_000
    rest = tuple(SU2.haar((1, 1), rng).expand(1, n, 2, 2) for _ in range(2))
    v, _ = model.sample_and_log_prob(rest, rng)
    haar = SU2.haar((1, n), rng)
    weight = model.log_prob(haar, rest).exp()
    for r in rest:
        drawn, flat = SU2.trace(SU2.compose(v, r)), SU2.trace(SU2.compose(haar, r)) * weight
        error = math.hypot(float(drawn.std()), float(flat.std())) / math.sqrt(n)
        testing.require(abs(float(drawn.mean() - flat.mean())) < 4 * error, "The draws have another mean than q.")


def test_class_functions_are_what_they_say():
    check_ratios(rough(SU2ClassFunctionConditional(4, angles=512, polars=32, rows=128)))


def test_the_sampler():
    model = rough(SU2ClassFunctionConditional(4))
    check_sampler(model)
    check_mean(model)


def test_no_coefficients_is_haar():
    v, rest = case()
    assert SU2ClassFunctionConditional(angles=64).log_prob(v, rest).abs().max() < 1e-12


@pytest.mark.parametrize("sign", [1, -1])
def test_equal_and_opposite_loops(sign):
    """Staples that add up leave no axis, and those that cancel no mean; q is right at both."""
    model, (v, (rest, _)) = rough(SU2ClassFunctionConditional(3)), case(500)
    pair = (rest, sign * rest)
    x = SU2.trace(SU2.compose(v, rest))
    n = torch.arange(1, 4)
    a = torch.arccos(x)[..., None]
    values = torch.sin((n + 1) * a) / ((n + 1) * torch.sin(a)) * (1 + torch.tensor([float(sign) ** int(k) for k in n]))
    plain = (model.coefficients * values).sum(-1).detach()
    came = model.log_prob(v, pair).detach()
    assert float((came - plain - (came - plain).mean()).abs().max()) < 5e-3
    nearly = SU2.compose(pair[1], SU2.exp(torch.full((2, 500, 3), 1e-9)))
    testing.require_close(model.log_prob(v, (rest, nearly)), came, "log q close by", 1e-3)


@pytest.mark.parametrize("sizes", [{"characters": 0}, {"angles": 100}, {"polars": 1}, {"rows": 0}])
def test_tables_that_cannot_be(sizes):
    with pytest.raises(ValueError, match=r"needs (characters|rows|angles)"):
        SU2ClassFunctionConditional(**sizes)


def test_it_needs_two_loops():
    v, rest = case(10)
    with pytest.raises(ValueError, match=r"needs two loops through each link; got 3\."):
        example(SU2ClassFunctionConditional).log_prob(v, (*rest, rest[0]))


# ---------------------------------------------------------------- the hierarchy


def small(lattice=(2, 2), doubling=LinkDoubling, conditional=SU2ClassFunctionConditional):
    model = fk.Haar(fk.links((1, 1), SU2))
    for mu, side in enumerate(lattice):
        if side == 2:
            one = doubling(model.space, mu)
            model = fk.Flow(fk.priors.Embedded(model, one), fk.multiscale.NewLinks(one, conditional(3, angles=64)))
    return rough(model, 0.8)


@torch.no_grad()
def check_norm(model, n=20_000):
    for name, values in {
        "E_Haar[q]": model.log_prob(model.space.haar(n, testing.seeded(3))).exp(),
        "E_q[1/q]": (-model.sample_and_log_prob(n, testing.seeded(4)).logq).exp(),
    }.items():
        mean, error = float(values.mean()), float(values.std()) / math.sqrt(n)
        testing.require(error < 0.05, f"{name} is known to {error} only.")
        testing.require(abs(mean - 1) < 4 * error, f"{name} is {mean} +- {error}.")


def check_gauge(model):
    x = model.space.haar(5, testing.seeded(2))
    act = testing.symmetry(model.space, "gauge", testing.seeded(5))
    testing.require_close(model.log_prob(act(x)), model.log_prob(x), "log q of g x", 1e-10)


def test_the_density_of_fields():
    model = small()
    check_norm(model)
    check_gauge(model)
    x, logq = model.sample_and_log_prob(50, testing.seeded())
    testing.require_close(model.log_prob(x), logq, "log_prob of a draw", 1e-10)
    f = model.flattened().transform
    testing.require_same_field(SU2, f(f.inverse(x)[0])[0], x, "forward(inverse(x))", 1e-6)
    testing.check_equivariance(
        small((2, 1)).transform, testing.symmetry(fk.links((2, 1), SU2), "gauge", testing.seeded(5))
    )


@pytest.fixture(scope="module")
def trained():
    """beta = 2.2 on 8x8, until the predicted step is small."""
    method, space = NaturalGradientStep(), fk.links((8, 8), SU2)

    def enough(trainer):
        if method.progress == 1 and method.predicted < 1e-5:
            trainer.stop()

    trainer = fk.Trainer(multiscale_flow(space), fk.Wilson(space, 2.2), batch=768, method=method, callbacks=[enough])
    return trainer.fit(15, progress=False)


def test_training_reaches_the_exact_answer(trained):
    assert trained.status == "stopped"
    ensemble = fk.importance_sample(trained.flow, trained.action, 4096, rng=7, observe=(fk.plaquette,), keep=False)
    assert ensemble.ess().value > 0.99999
    mean = ensemble.mean(fk.plaquette)
    assert mean.within(mean.exact, sigmas=3), mean
    estimate = log_z(ensemble.series["logw"].flatten().numpy())
    assert estimate.error < 1e-4
    assert estimate.within(exact.sun_log_z(2, 2.2, 64), sigmas=3), estimate
    # The finest level is the action itself, f = beta x = beta U_1 / 2.
    finest = levels(trained.flow)[-1].models[0].coefficients.detach()
    assert float(finest[0]) == pytest.approx(2.2, abs=0.02)


def test_the_same_weights_on_16x16(trained):
    space = fk.links((16, 16), SU2)
    ensemble = fk.importance_sample(
        trained.flow.on(space), fk.Wilson(space, 2.2), 512, rng=7, observe=(fk.plaquette,), keep=False
    )
    assert ensemble.ess().value > 0.9999
    mean = ensemble.mean(fk.plaquette)
    assert mean.within(mean.exact, sigmas=3), mean


# ---------------------------------------------------------------- planted mistakes


class EarlyStop(SU2ClassFunctionConditional):
    """The drawn angle is that of the cell's edge."""

    def _invert(self, tables, frame, u, polar):
        s, c = super()._invert(tables, frame, u, polar)
        return self.nodes[self._cell(s)[0]] + 1e-9, c


class WrongAxis(SU2ClassFunctionConditional):
    """The axis turns the wrong way round: draws and densities agree, but f sees other plaquettes."""

    def _frame(self, rest):
        frame = super()._frame(rest)
        return frame._replace(axis=frame.axis.roll(1, -1))


class FlatTable(SU2ClassFunctionConditional):
    """Haar's sin^2 is forgotten."""

    def __init__(self, *sizes, **more):
        super().__init__(*sizes, **more)
        self.nodes = torch.linspace(0, 1, self.angles + 1)


class NoMean(SU2ClassFunctionConditional):
    def score(self, v, rest):
        return super().score(v, rest) * 1.01


@pytest.mark.parametrize(
    ("check", "model"),
    [
        (check_sampler, lambda: rough(EarlyStop(3))),
        (check_mean, lambda: rough(EarlyStop(3, angles=8))),
        (check_ratios, lambda: rough(WrongAxis(3))),
        (check_ratios, lambda: rough(FlatTable(3))),
        (testing.check_conditional, lambda: testing.example(NoMean)),
        (testing.check_conditional, lambda: testing.example(WrongAxis)),
    ],
)
def test_planted_mistakes_are_found(check, model):
    with pytest.raises(AssertionError):
        check(model())

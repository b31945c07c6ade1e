"""The heatbath-like model of a new link: its contract, exact means, exact conditionals, mistakes."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.kernels import heat_torch
from flowkit.kernels.heat import heat_angle
from flowkit.multiscale import HeatbathConditional, LinkDoubling

U1, SU2 = fk.U1(), fk.SUN(2)
GROUPS = [U1, SU2]


pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("loops", [1, 2, 4])
def test_the_contract(group, loops):
    testing.check_conditional(HeatbathConditional(group, loops, 0.9), loops)


def check_plaquette(model, beta, n=200_000):
    """One loop at b = beta is one plaquette: the mean of (1/N) Re Tr V R, exactly known."""
    rest = (model.group.haar((n, 1), testing.seeded(2)),)
    with torch.no_grad():
        v, logq = model.sample_and_log_prob(rest, testing.seeded(1))
    trace = model.group.trace(model.group.compose(v, rest[0]))
    expected = exact.u1_plaquette(beta) if model.group == U1 else exact.sun_one_plaquette(2, beta)
    testing.require(abs(float(trace.mean()) - expected) < 4 * float(trace.std()) / math.sqrt(n), "the mean is off")
    log_z = torch.special.i0(torch.tensor(beta)).log() if model.group == U1 else exact.sun_one_plaquette_log_z(2, beta)
    testing.require_close(logq, beta * trace - log_z, "log q", 1e-11)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("beta", [0.01, 2.2, 30.0])
def test_one_plaquette(group, beta):
    check_plaquette(HeatbathConditional(group, loops=1, strength=beta), beta)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("lattice", [(2, 3), (2, 2, 2)])
def test_the_exact_conditional_of_the_action(group, lattice):
    """With all plaquettes of a link among its loops and b = beta, log q moves with the new link as -S does."""
    beta = 1.7
    doubling = LinkDoubling(fk.links(lattice, group), 0, order="colours" if len(lattice) > 2 else "together")
    action, rng = fk.Wilson(doubling.fine, beta), testing.seeded()
    coarse, first, new = doubling.split(doubling.fine.haar(3, rng))
    known = doubling.loops(coarse, first)
    stage = doubling.stages[-1]  # the last links: all their plaquettes are complete
    rest = doubling.given(stage, known, new)
    model = HeatbathConditional(group, stage.loops, beta)
    assert stage.loops == 2 * (len(lattice) - 1)
    before = doubling.take(stage, new)
    after = group.haar(tuple(before.shape[: before.dim() - len(group.matrix_shape)]), rng)
    change = model.log_prob(after, rest) - model.log_prob(before, rest)
    moved = action(doubling.join(coarse, first, doubling.put(stage, new, after)))
    still = action(doubling.join(coarse, first, new))
    testing.require_close(change.flatten(1).sum(1), still - moved, "the change of log q", 1e-11)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strong_staples(group, dtype):
    """b k = 2e4: links hug the mean, log q keeps its digits, base variables come back where they can be told."""
    model = HeatbathConditional(group, strength=1e4).to(dtype)
    one = group.haar((1, 500), testing.seeded(2), dtype)
    with torch.no_grad():
        v, logq = model.sample_and_log_prob((one, one), testing.seeded(1))
        distance = 2e4 * (1 - group.trace(group.compose(v, one)))
    assert v.isfinite().all()
    freedom = 1 if group == U1 else 3  # of a chi squared
    assert abs(float(2 * distance.mean()) / freedom - 1) < 0.3
    assert (model.log_prob(v, (one, one)) - logq).abs().max() < (1e-8 if dtype == torch.float64 else 0.1)


def test_two_doublings_as_a_model_of_a_lattice():
    """The finest level of two-dimensional SU(2) at b = beta, trained by the natural gradient of its own score."""
    space = fk.links((2, 2), SU2)
    coarse = fk.links((2, 1), SU2)
    conditional, doubling = HeatbathConditional(SU2), LinkDoubling(coarse, 1)
    model = fk.Flow(fk.priors.Embedded(fk.Haar(coarse), doubling), fk.multiscale.NewLinks(doubling, conditional))
    assert model.space == space
    trainer = fk.Trainer(model, fk.Wilson(space, 1.5), batch=512, method=fk.NaturalGradientStep(), seed=3)
    trainer.fit(8, progress=False)
    assert trainer.history["ess"][-1] > 0.85 > trainer.history["ess"][0]  # Haar on the coarse lattice is the rest
    assert float(conditional.log_strength.detach().exp()) == pytest.approx(1.5, abs=0.2)
    assert (conditional.weights() - 1).abs().max() < 0.1  # left and right are alike


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="HeatbathConditional models links of U1 or SU2; got SUN"):
        HeatbathConditional(fk.SUN(3))
    with pytest.raises(ValueError, match=r"needs loops, a whole number in \[1, 1000\]; got 0"):
        HeatbathConditional(U1, 0)
    with pytest.raises(ValueError, match=r"needs strength, a finite number > 0; got -1\.0"):
        HeatbathConditional(U1, 2, -1.0)
    link = torch.zeros(1, 1)
    with pytest.raises(ValueError, match=r"takes 2 loops through each link; got 3\."):
        HeatbathConditional(U1).log_prob(link, (link, link, link))


# ---------------------------------------------------------------- planted mistakes


class OneStep(HeatbathConditional):
    """Newton's method stops early in the sampler: log q is right, and that of other draws."""

    def forward(self, u, rest):
        mean = self.mean(rest)
        y, kappa = self._relative(u, mean), self._kappa(mean)
        share = heat_torch.cdf(self._split(y)[0], torch.zeros_like(kappa), self.n)
        angle = heat_torch.angle(share, kappa, self.n, rounds=0)
        return self.group.compose(self._turned(y, angle), mean.element), -self._density(kappa, angle)


class NoNorm(HeatbathConditional):
    """The normaliser is off by a part of kappa."""

    def _density(self, kappa, angle):
        return super()._density(kappa, angle) + 0.01 * kappa


class OtherSide(HeatbathConditional):
    """The mean is taken on the wrong side: no longer equivariant."""

    def _relative(self, v, mean):
        return self.group.compose(self.group.inverse(mean.element), v)


class Flat(HeatbathConditional):
    """The base keeps its Haar angle in place of the angle's share."""

    def forward(self, u, rest):
        mean = self.mean(rest)
        y, kappa = self._relative(u, mean), self._kappa(mean)
        angle = heat_angle(self._split(y)[0] / math.pi, kappa, self.n)
        return self.group.compose(self._turned(y, angle), mean.element), -self._density(kappa, angle)


class NoAverage(HeatbathConditional):
    def score(self, v, rest):
        return super().score(v, rest) + 0.1


@pytest.mark.parametrize("mistake", [OneStep, NoNorm, OtherSide, Flat, NoAverage])
def test_the_contract_finds_planted_mistakes(mistake):
    with pytest.raises(AssertionError):
        testing.check_conditional(mistake(SU2))


def test_the_score_leaves_out_what_is_frozen():
    model = HeatbathConditional(fk.SUN(2))
    rng = testing.seeded()
    v, *rest = (fk.SUN(2).haar((2, 5), rng) for _ in range(3))
    whole = model.score(v, tuple(rest))
    model.log_weights.requires_grad_(False)
    assert torch.equal(model.score(v, tuple(rest)), whole[:, :1])

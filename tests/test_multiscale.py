import itertools
import math

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.geometry import loops
from flowkit.geometry.lattice import shift
from flowkit.models import multiscale_flow
from flowkit.multiscale import ClassFunctionConditional, LinkConditional, LinkDoubling, coarsest, levels
from flowkit.storage.checkpoint import CheckpointError
from flowkit.testing import example
from flowkit.train import losses
from flowkit.train.natural_gradient import NaturalGradientStep

U1, SU2, SU3 = fk.U1(), fk.SUN(2), fk.SUN(3)
GROUPS = [U1, SU2, SU3]
COARSE = [((2, 3), 0), ((3, 2), 1), ((1, 1), 1), ((2, 1, 3), 0), ((2, 3, 1), 1), ((3, 1, 2), 2)]


pytestmark = pytest.mark.usefixtures("double")


def stack(flow, levels):
    """A multiscale model of (doubling, models), coarse to fine, on a coarsest prior."""
    for doubling, models in levels:
        flow = fk.Flow(fk.priors.Embedded(flow, doubling), fk.multiscale.NewLinks(doubling, models))
    return flow


def rough(model, size=0.3, seed=5):
    return testing.randomised(model, testing.seeded(seed), size)


def trained(space, beta, seed=1, batch=1024, steps=40):
    """Until the predicted step is small."""
    method = NaturalGradientStep()

    def enough(trainer):
        if method.progress == 1 and method.predicted < 1e-5:
            trainer.stop()

    model = multiscale_flow(space)
    trainer = fk.Trainer(model, fk.Wilson(space, beta), batch=batch, method=method, seed=seed, callbacks=[enough])
    trainer.fit(steps, progress=False)
    assert trainer.status == "stopped", "the natural gradient did not converge"
    return trainer


@pytest.fixture(scope="module")
def beta_two():
    return trained(fk.links((8, 8), U1), 2.0)


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize(("lattice", "mu"), COARSE)
def test_split_and_join_are_inverse(group, lattice, mu, rng):
    doubling = LinkDoubling(fk.links(lattice, group), mu)
    assert doubling.fine.lattice[mu] == 2 * lattice[mu]
    assert LinkDoubling.of(doubling.fine, mu) == doubling
    x = doubling.fine.haar(3, rng)
    coarse, first, new = doubling.split(x)
    assert first.shape == (3, 1, *lattice, *group.matrix_shape)
    assert new.shape == (3, len(lattice) - 1, *lattice, *group.matrix_shape)
    testing.require_same_field(group, doubling.join(coarse, first, new), x, "join(split(x))", 1e-13)
    pieces = doubling.coarse.haar(3, rng), torch.roll(first, 1, 0), torch.roll(new, 1, 0)
    for came, expected in zip(doubling.split(doubling.join(*pieces)), pieces, strict=True):
        testing.require_same_field(group, came, expected, "split(join(pieces))", 1e-13)


def loop_traces(doubling, x):
    """Traces of both plaquettes of every new link, [batch, 2 (ndim - 1), *coarse]."""
    coarse, first, new = doubling.split(x)
    G = doubling.coarse.group
    return torch.cat([G.trace(G.compose(new, r)) for r in doubling.loops(coarse, first)], 1)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize(("lattice", "mu"), COARSE)
def test_the_loops_of_a_new_link_are_its_plaquettes(group, lattice, mu, rng):
    doubling = LinkDoubling(fk.links(lattice, group), mu)
    x = doubling.fine.haar(3, rng)
    planes = [group.trace(loops.plaquette(doubling.fine, x, mu, nu)) for nu in doubling.across]
    even, odd = torch.unflatten(torch.cat(planes, 1), 2 + mu, (-1, 2)).unbind(3 + mu)
    testing.require_close(loop_traces(doubling, x), torch.cat([even, odd], 1), "V R", 1e-13)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_two_loops_close_around_the_coarse_plaquette(group, rng):
    doubling = LinkDoubling(fk.links((2, 3), group), 1)
    coarse, first, _ = doubling.split(doubling.fine.haar(3, rng))
    left, right = doubling.loops(coarse, first)
    around = group.trace(group.compose(group.inverse(right), left))
    testing.require_close(around, group.trace(loops.plaquette(doubling.coarse, coarse, 0, 1)), "W", 1e-13)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize(("lattice", "mu"), COARSE)
def test_splitting_commutes_with_gauge_transformations(group, lattice, mu, rng):
    doubling = LinkDoubling(fk.links(lattice, group), mu)
    x = doubling.fine.haar(2, rng)
    g = group.haar((2, 1, *doubling.fine.lattice), rng)
    moved = loops.gauge_transform(doubling.fine, x, g)
    even = [slice(None, None, 1 + (nu == mu)) for nu in range(len(lattice))]
    coarse_g = g[(slice(None), slice(None), *even)]
    expected = loops.gauge_transform(doubling.coarse, doubling.split(x)[0], coarse_g)
    testing.require_same_field(group, doubling.split(moved)[0], expected, "the coarse field", 1e-12)
    testing.require_close(loop_traces(doubling, moved), loop_traces(doubling, x), "loops", 1e-12)


def test_the_jacobian_of_a_doubling_is_one(rng):
    """(U, U^a, V) -> fine field keeps Haar measure: the volume of the map in algebra coordinates is 1 everywhere."""
    doubling = LinkDoubling(fk.links((1, 2), SU2), 0)
    start = doubling.split(doubling.fine.haar(1, rng))
    sizes = [p.numel() // 4 * 3 for p in start]

    def field(w):
        parts = torch.split(w, sizes)
        moved = [SU2.compose(SU2.exp(part.view(*p.shape[:-2], 3)), p) for part, p in zip(parts, start, strict=True)]
        return SU2.tangent(SU2.compose(doubling.join(*moved), SU2.inverse(doubling.join(*start)))).flatten()

    jacobian = torch.autograd.functional.jacobian(field, torch.zeros(sum(sizes)))
    assert float(torch.linalg.det(jacobian).abs()) == pytest.approx(1, abs=1e-12)


# ---------------------------------------------------------------- models of a link


def case(n=2000, seed=3):
    """A rough model with random loops around random links."""
    draw = testing.seeded(seed)
    rest = tuple(U1.haar((4, 1, n // 4, 1), draw) for _ in range(2))
    return rough(ClassFunctionConditional(6)), U1.haar((4, 1, n // 4, 1), draw), rest


def check_sampler(model):
    """The CDF at the drawn link is the uniform number it was drawn with."""
    _, u, rest = case()
    v, logdet = model(u, rest)
    logq = -logdet
    back, again = model.inverse(v, rest)
    testing.require_same_field(U1, back, u, "the residual of the sampler", 1e-10)
    testing.require_close(logq, again, "log q of the draw and of the link", 1e-10)
    testing.require_close(logq, model.log_prob(v, rest), "log q and log_prob", 1e-10)


def check_density(model):
    """log q is that of the map from the base: log|du/dv| by autograd, and its integral over v is 1."""
    _, u, rest = case()
    u = u.requires_grad_()
    v, logdet = model(u, rest)
    (slope,) = torch.autograd.grad(v.sum(), u)
    testing.require_close(slope.log(), logdet, "log|dv/du|", 1e-9)
    grid = (torch.arange(20000) + 0.5) / 20000 * 2 * math.pi - math.pi
    sides = tuple(torch.tensor([0.4, -1.3, 2.9, 3.1]).view(4, 1, 1, 1).roll(k, 0) for k in (0, 1))
    wide = tuple(side.expand(4, 1, 20000, 1) for side in sides)
    mean = model.log_prob(grid.view(1, 1, -1, 1).expand(4, 1, -1, 1), wide).exp().mean(2)
    testing.require_close(mean, torch.ones_like(mean), "the integral of q", 1e-6)


def test_the_sampler_of_class_functions():
    model, _, _ = case()
    check_sampler(model)
    check_density(model)


def test_class_functions_are_what_they_say():
    """Ratios of q at two values of V follow f(P_left) + f(P_right), up to the step of the table."""
    model = rough(ClassFunctionConditional(6, cells=4096))
    _, v, rest = case()
    n = torch.arange(1, 7)

    def f(angle):
        return (model.coefficients * (angle.unsqueeze(-1) * n).cos()).sum(-1)

    def plain(v):
        return f(v + rest[0]) + f(v + rest[1])

    came = model.log_prob(v, rest) - model.log_prob(v + 1, rest)
    testing.require_close(came, plain(v) - plain(v + 1), "log of the ratio", 1e-4)


def test_no_coefficients_is_haar(rng):
    model = ClassFunctionConditional()
    _, u, rest = case()
    assert model.log_prob(u, rest).abs().max() < 1e-12


def test_single_precision():
    model, u, rest = case()
    single, rest32 = rough(ClassFunctionConditional(6)).float(), tuple(r.float() for r in rest)
    v, logq = single(u.float(), rest32)
    assert v.dtype == logq.dtype == torch.float32
    testing.require_same_field(U1, v.double(), model(u, rest)[0], "float32", 2e-3)


@pytest.mark.parametrize(("harmonics", "cells"), [(0, 512), (16, 500), (16, 64)])
def test_tables_that_cannot_be(harmonics, cells):
    message = f"cells a power of two.*got {harmonics} and {cells}" if harmonics else "harmonics, a whole number >= 1"
    with pytest.raises(ValueError, match=message):
        ClassFunctionConditional(harmonics, cells)


# ---------------------------------------------------------------- the hierarchy


def example_model():
    """Two levels on Haar links of 1x2."""
    prior = example(fk.priors.Embedded)
    return fk.Flow(prior, fk.multiscale.NewLinks(prior.doubling, example(ClassFunctionConditional)))


def test_the_contract_of_a_prior_and_of_a_transform():
    testing.check_prior(example_model())
    testing.check_transform(example_model().flattened().transform)


@pytest.mark.parametrize("lattice", [(1, 2), (2, 2), (4, 2), (2, 3), (6, 4)])
def test_drawn_density(lattice):
    model = rough(multiscale_flow(fk.links(lattice, U1), 3))
    x, logq = model.sample_and_log_prob(50, testing.seeded())
    testing.require_close(model.log_prob(x), logq, "log_prob of a draw", 1e-10)


@torch.no_grad()
def check_norm(model, n=40_000):
    """E_Haar[q] = 1 and E_q[1/q] = 1, within 4 standard errors; the second knows the sampler, too."""
    ones = {
        "E_Haar[q]": model.log_prob(model.space.haar(n, testing.seeded(3))).exp(),
        "E_q[1/q]": (-model.sample_and_log_prob(n, testing.seeded(4)).logq).exp(),
        "E_q[1/q] by log_prob": (-model.log_prob(model.sample_and_log_prob(n, testing.seeded(4)).x)).exp(),
    }
    for name, values in ones.items():
        mean, error = float(values.mean()), float(values.std()) / math.sqrt(n)
        testing.require(error < 0.05, f"{name} is known to {error} only.")
        testing.require(abs(mean - 1) < 4 * error, f"{name} is {mean} +- {error}.")


@pytest.mark.parametrize("lattice", [(1, 2), (2, 2), (3, 2), (2, 4)])
def test_the_density_integrates_to_one(lattice):
    check_norm(rough(multiscale_flow(fk.links(lattice, U1), 3), 0.3))


def check_gauge(model):
    x = model.space.haar(5, testing.seeded(2))
    act = testing.symmetry(model.space, "gauge", testing.seeded(5))
    testing.require_close(model.log_prob(act(x)), model.log_prob(x), "log q of g x", 1e-10)


@pytest.mark.parametrize("lattice", [(2, 2), (4, 6), (8, 3)])
def test_gauge_invariance(lattice):
    check_gauge(rough(multiscale_flow(fk.links(lattice, U1))))


def check_score(model):
    x = model.sample_and_log_prob(4, testing.seeded()).x.detach()
    rows = [torch.autograd.grad(one, list(model.parameters()), retain_graph=True) for one in model.log_prob(x)]
    expected = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    testing.require_close(model.score(x), expected, "the score", 1e-9)


def test_the_score_is_the_derivative_of_log_q():
    check_score(rough(multiscale_flow(fk.links((4, 6), U1))))


def test_the_score_leaves_out_what_is_frozen():
    model = rough(multiscale_flow(fk.links((4, 4), U1), 3))
    x = model.sample_and_log_prob(4, testing.seeded()).x
    whole = model.score(x)
    levels(model)[1].requires_grad_(False)
    assert torch.equal(model.score(x), torch.cat([whole[:, :3], whole[:, 6:]], 1))


class HaarLinks(LinkConditional):
    """The new link without a preference, for any group."""

    def __init__(self, group):
        super().__init__()
        self.group = group

    def forward(self, u, rest):
        return self.group.compose(self.group.inverse(rest[0]), u), self.log_prob(u, rest)

    def inverse(self, v, rest):
        return self.group.compose(rest[0], v), self.log_prob(v, rest)

    def log_prob(self, v, rest):
        return torch.zeros(v.shape[: v.dim() - len(self.group.matrix_shape)], dtype=v.real.dtype)

    def score(self, v, rest):
        return torch.zeros(len(v), 0)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_three_dimensions_and_any_group(group, rng):
    """Haar at every level is Haar: means of plaquettes vanish, and base variables come back."""
    space = fk.links((1, 2, 1), group)
    model = fk.Haar(space)
    for mu in (0, 2, 1, 0):
        model = stack(model, [(LinkDoubling(model.space, mu), HaarLinks(group))])
    space = model.space
    assert model.space.lattice == (4, 4, 2)
    x, logq = model.sample_and_log_prob(300, rng)
    assert torch.equal(logq, torch.zeros(300))
    plaquette = fk.plaquette(space, x)
    assert abs(float(plaquette.mean())) < 4 * float(plaquette.std()) / math.sqrt(300)
    f = model.flattened().transform
    testing.require_same_field(group, f(f.inverse(x)[0])[0], x, "forward(inverse(x))", 1e-12)


def test_other_coarsest_lattices():
    space = fk.links((6, 12), U1)
    for lattice, count in [((3, 3), 3), ((6, 3), 2), ((3, 12), 1)]:
        model = multiscale_flow(space, coarsest=fk.Haar(fk.links(lattice, U1)))
        assert (coarsest(model).space.lattice, len(levels(model)), model.space) == (lattice, count, space)
    assert coarsest(multiscale_flow(space)).space.lattice == (3, 3)
    with pytest.raises(ValueError, match=r"Doublings of Links U1 on 3x5 do not end at Links U1 on 3x5\."):
        multiscale_flow(fk.links((3, 5), U1))
    with pytest.raises(ValueError, match=r"Doublings of Links U1 on 2x2 do not end at Links U1 on 6x12\."):
        multiscale_flow(space, coarsest=fk.Haar(fk.links((2, 2), U1)))


def test_what_does_not_fit():
    coarse = fk.links((2, 2), U1)
    one = LinkDoubling(coarse, 0)
    with pytest.raises(ValueError, match=r"A doubling needs links in two or more dimensions; got Sites"):
        LinkDoubling(fk.sites((2, 2)), 0)
    with pytest.raises(ValueError, match=r"one of its directions; got 2\."):
        LinkDoubling(coarse, 2)
    with pytest.raises(ValueError, match=r"A doubling along 1 ends at an even side; got 2x3\."):
        LinkDoubling.of(fk.links((2, 3), U1), 1)
    with pytest.raises(ValueError, match=r"begins at Links U1 on 2x2; got a coarse prior on Links U1 on 4x2\."):
        stack(fk.Haar(coarse), [(one, ClassFunctionConditional()), (one, ClassFunctionConditional())])
    with pytest.raises(ValueError, match=r"Embedded needs a LinkDoubling for links; got Links U1 on 2x2 alone\."):
        fk.priors.Embedded(fk.Haar(coarse))
    inner = fk.multiscale.NewLinks(one, ClassFunctionConditional())
    with pytest.raises(ValueError, match=r"Inside needs a LinkDoubling for links; got Links U1 on 4x2 alone\."):
        fk.transforms.Inside(inner)
    with pytest.raises(ValueError, match=r"begins at Links U1 on 2x2; got a transform of Links U1 on 4x2\."):
        fk.transforms.Inside(inner, one)
    space = fk.links((2, 2), SU2)
    with pytest.raises(ValueError, match="ClassFunctionConditional models links of U1"):
        fk.multiscale.NewLinks(LinkDoubling(space, 0), ClassFunctionConditional())
    for space in (fk.sites((2, 2)), fk.links((2, 2, 2), fk.SUN(4))):
        with pytest.raises(
            ValueError, match="multiscale_flow builds models for links in two dimensions, of U1, SU2 and SU3"
        ):
            multiscale_flow(space)
    with pytest.raises(ValueError, match=r"strength, are for SU\(N\) from N = 3; got 2.0 for U1\(\)"):
        multiscale_flow(fk.links((2, 2), U1), strength=2.0)
    with pytest.raises(ValueError, match=r"terms, are for U1 and SU2; got 3 for SUN\(3\)"):
        multiscale_flow(fk.links((2, 2), SU3), terms=3)
    with pytest.raises(ValueError, match="goes to another lattice of its kind"):
        multiscale_flow(coarse).on(fk.links((2, 2), SU2))
    model = multiscale_flow(fk.links((4, 4), U1))
    with pytest.raises(ValueError, match=r"holds fields \[batch, 2, 4, 4\]"):
        model.log_prob(torch.zeros(1, 2, 4, 2))
    with pytest.raises(ValueError, match=r"computes in torch.float64 on cpu; got torch.float32 fields on cpu"):
        model.log_prob(torch.zeros(1, 2, 4, 4, dtype=torch.float32))
    flow = multiscale_flow(fk.links((4, 4), U1), coarsest=fk.gauge_flow(coarse))
    with pytest.raises(ValueError, match=r"Chain has no score in closed form; train it by a gradient"):
        flow.score(flow.sample_and_log_prob(2, testing.seeded()).x)


# ---------------------------------------------------------------- training


def test_training_reaches_the_exact_answer(beta_two):
    """beta = 2 on 8x8: ESS, plaquette, <Q^2> and ln Z."""
    model, action = beta_two.flow, beta_two.action
    assert beta_two.step < 30
    ensemble = fk.importance_sample(model, action, 8192, rng=7, observe=(fk.plaquette, fk.charge_squared), keep=False)
    assert ensemble.ess().value > 0.9999
    for observable in (fk.plaquette, fk.charge_squared):
        mean = ensemble.mean(observable)
        assert mean.within(mean.exact, sigmas=3), mean
    logw = ensemble.series["logw"].flatten()
    ln_z, error = float(torch.logsumexp(logw, 0)) - math.log(len(logw)), float(logw.std()) / math.sqrt(len(logw))
    assert error < 1e-4
    assert abs(ln_z - exact.u1_log_z(2.0, 64)) < 3 * error
    kl = beta_two.history["kl"]
    assert abs(kl[-1]) < 1e-3 < kl[0]  # the KL to the target, all along the way


@pytest.mark.parametrize("lattice", [(4, 4), (24, 8), (32, 32)])
def test_the_same_weights_on_other_lattices(beta_two, lattice):
    """The scales carry over; a side of 24 leaves a Haar side of 3, whose plaquettes are too large to matter."""
    space = fk.links(lattice, U1)
    model = beta_two.flow.on(space)
    ours, theirs = (levels(one)[-1].models[0].coefficients for one in (model, beta_two.flow))
    assert torch.equal(ours, theirs)
    assert ours is not theirs
    ensemble = fk.importance_sample(model, fk.Wilson(space, 2.0), 1024, rng=7, observe=(fk.plaquette,), keep=False)
    assert ensemble.ess().value > 0.999
    mean = ensemble.mean(fk.plaquette)
    assert mean.within(mean.exact, sigmas=3), mean


def test_independence_metropolis(beta_two):
    """The model as a proposal, from any start."""
    sampler = fk.IndependenceMetropolis(beta_two.flow, beta_two.action, chunk=20)
    chains = fk.run(
        sampler,
        200,
        chains=16,
        rng=3,
        observe=(fk.charge_squared,),
        start=beta_two.flow.space.haar(16, testing.seeded()),
        thermalise=1,
    )
    assert float(chains.series["accept"].double().mean()) > 0.99
    assert chains.mean(fk.charge_squared).within(exact.u1_charge_squared(2.0, 64), sigmas=3)


def test_hmc_in_base_variables(beta_two):
    """The theory is flat there, and chains that walk in it give the exact <Q^2>, across all sectors."""
    space = fk.links((4, 4), U1)
    model = beta_two.flow.on(space).requires_grad_(False)
    action = fk.Wilson(space, 2.0)
    pulled = model.pullback(action)
    assert float(pulled(space.haar(50, testing.seeded())).std()) < 0.01
    chains = fk.run(fk.HMC(pulled, length=2.0, steps=3), 30, chains=64, rng=1)
    assert float(chains.series["accept"].double().mean()) > 0.8
    q2 = chains.mean(fk.charge_squared)  # of the theory's fields, which the run stores
    assert q2.exact == exact.u1_charge_squared(2.0, 16)
    assert q2.within(sigmas=3)


def test_a_warm_start_goes_straight_to_the_target(beta_two):
    """From the weights of beta 2 towards 2.1 no annealing is needed."""
    model = beta_two.flow.on(beta_two.flow.space)
    method = NaturalGradientStep()
    trainer = fk.Trainer(model, fk.Wilson(model.space, 2.1), batch=1024, method=method, seed=2)
    trainer.fit(1, progress=False)
    assert float(method.progress) == 1
    trainer.fit(2, progress=False)
    assert trainer.history["ess"][-1] > 0.999


def test_the_annealing_keeps_its_limit():
    space = fk.links((4, 4), U1)
    method = NaturalGradientStep(max_kl=0.5)
    trainer = fk.Trainer(multiscale_flow(space, 4), fk.Wilson(space, 6.0), batch=256, method=method)
    way = []
    for _ in range(6):
        trainer.fit(1, progress=False)
        way.append(float(method.progress))
        assert float(method.predicted) == pytest.approx(0.5, rel=1e-6)
    assert all(0 < a < b < 1 for a, b in itertools.pairwise(way))
    method.progress.fill_(0.95)  # farther than the limit alone would allow: it never falls back
    trainer.fit(1, progress=False)
    assert float(method.progress) == 0.95


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_resumed_run_equals_the_unbroken_one(dtype, tmp_path):
    space = fk.links((4, 4), U1)

    def make(seed=1):
        model = multiscale_flow(space, 4).to(dtype)
        return fk.Trainer(model, fk.Wilson(space, 4.0), batch=64, method=NaturalGradientStep(max_kl=0.5), seed=seed)

    whole = make().fit(7, progress=False)
    part = make().fit(4, progress=False, checkpoint=tmp_path / "run", every=2)
    resumed = make(seed=9).load(tmp_path / "run")
    for name in ("progress", "predicted"):
        assert torch.equal(getattr(resumed.method, name), getattr(part.method, name))
    resumed.fit(3, progress=False)
    assert 0 < float(whole.method.progress) < 1
    assert torch.equal(whole.method.progress, resumed.method.progress)
    for ours, theirs in zip(whole.flow.parameters(), resumed.flow.parameters(), strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, theirs)
    for column in whole.history.columns:
        if column != "samples_per_s":
            assert np.array_equal(whole.history[column], resumed.history[column], equal_nan=True), column
    with pytest.raises(CheckpointError, match="was trained with the method NaturalGradientStep"):
        fk.Trainer(multiscale_flow(space, 4).to(dtype), fk.Wilson(space, 4.0), batch=64).load(tmp_path / "run")


def test_a_bad_batch_leaves_the_weights_finite():
    class Broken(fk.Wilson):
        def __call__(self, x):
            return super().__call__(x) * torch.nan

    space = fk.links((2, 2), U1)
    model = multiscale_flow(space, 3)
    trainer = fk.Trainer(model, Broken(space, 1.0), batch=16, method=NaturalGradientStep())
    with pytest.raises(RuntimeError, match="the loss is nan"):
        trainer.fit(1, progress=False)
    assert all(p.isfinite().all() for p in model.parameters())
    assert float(trainer.method.progress) == 0


@pytest.mark.parametrize("loss", [losses.reverse_kl, losses.path_gradient])
def test_gradients_through_the_sampler_equal_those_by_the_score(loss):
    """d KL / dparams = E_q[(log q + S) s]: three estimates of one vector, within 4 standard errors."""
    model = rough(multiscale_flow(fk.links((2, 4), U1), 3))
    action, rng, rows = fk.Wilson(model.space, 1.0), testing.seeded(1), []
    for _ in range(12):
        value = loss(model, action, 1000, rng).value
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])
        with torch.no_grad():
            x, logq = model.sample_and_log_prob(4000, rng)
            excess = logq + action(x)
        rows.append(gradient - (excess - excess.mean()) @ model.score(x) / 4000)
    difference = torch.stack(rows)
    assert (difference.mean(0).abs() < 4 * difference.std(0) / math.sqrt(12)).all()


@pytest.mark.parametrize("options", [{"max_kl": 0.0}, {"ridge": 0.0}, {"lr": 1.5}])
def test_options_of_the_natural_gradient(options):
    with pytest.raises(ValueError, match=r"needs (max_kl|ridge|lr), a"):
        NaturalGradientStep(**options)


def test_the_natural_gradient_needs_a_score():
    space = fk.links((4, 4), U1)
    with pytest.raises(ValueError, match=r"needs a model with a score; Flow has none\."):
        fk.Trainer(fk.gauge_flow(space), fk.Wilson(space, 1.0), method=NaturalGradientStep())
    su3 = fk.links((4, 4), fk.SUN(3))
    part = r"with a score\. HeatAngleConditional has no score in closed form; train it by a gradient\. Leave method="
    with pytest.raises(ValueError, match=part):  # when the Trainer is made, and not at its first step
        fk.Trainer(fk.multiscale_flow(su3), fk.Wilson(su3, 1.0), method=NaturalGradientStep())


# ---------------------------------------------------------------- planted mistakes


class EarlyStop(ClassFunctionConditional):
    """The last bisection is left out."""

    def _invert(self, table, row, u):
        return (super()._invert(table, row, u) * self.cells / 2).floor() * 2 / self.cells


class ForgottenHalf(ClassFunctionConditional):
    """The frame is W - R_left: draws and densities agree, but the density is that of another link."""

    def _frame(self, rest):
        w = self.group.wrap(rest[0] - rest[1])
        return w - rest[0], w


class TwiceTheDensity(ClassFunctionConditional):
    def log_prob(self, v, rest):
        return 2 * super().log_prob(v, rest)


class NoMean(ClassFunctionConditional):
    def score(self, v, rest):
        return super().score(v, rest) * 1.01


class WrongCorner(LinkDoubling):
    """The staple is taken one site off."""

    def loops(self, coarse, first):
        left, right = super().loops(coarse, first)
        return left, shift(right, self.mu)


def planted(conditional=ClassFunctionConditional, doubling=LinkDoubling):
    model = fk.Haar(fk.links((1, 2), U1))
    for mu in (0, 1):
        model = stack(model, [(doubling(model.space, mu), conditional(3))])
    return rough(model, 0.5)


def check_ratio(model):
    """The finest level alone at f = cos: q is exp(sum of cos P) on all plaquettes, up to the coarse plaquettes."""
    with torch.no_grad():
        for k, level in enumerate(levels(model)):
            level.models[0].coefficients.zero_()
            level.models[0].coefficients[0] = float(k == 1)
    x, act = model.space.haar(6, testing.seeded()), fk.Wilson(model.space, 1.0)
    doubling = model.prior.doubling
    coarse, first, new = doubling.split(x)
    y = doubling.join(coarse, first, U1.wrap(new + 1))
    testing.require_close(model.log_prob(x) - model.log_prob(y), act(y) - act(x), "the ratio", 1e-3)


@pytest.mark.parametrize(
    ("check", "model"),
    [
        (check_sampler, lambda: rough(EarlyStop(3))),
        (check_ratio, lambda: planted(ForgottenHalf)),
        (check_norm, lambda: planted(TwiceTheDensity)),
        (check_score, lambda: planted(NoMean)),
        (check_gauge, lambda: planted(doubling=WrongCorner)),
        (check_ratio, lambda: planted(doubling=WrongCorner)),
    ],
)
def test_planted_mistakes_are_found(check, model):
    with pytest.raises(AssertionError):
        check(model())


def test_without_mistakes_the_same_checks_pass():
    check_sampler(rough(ClassFunctionConditional(3)))
    for check in (check_norm, check_score, check_gauge, check_ratio):
        check(planted())

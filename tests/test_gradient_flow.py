"""Gradient flows of Wilson loops: forces and Laplacians, the integrator, Luescher's series, training."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import testing, transforms
from flowkit.geometry.loops import rectangle
from flowkit.testing import example
from flowkit.train.natural_gradient import NaturalGradientStep
from flowkit.transforms.links.loop_potential import loop_potential

GROUPS = [fk.U1(), fk.SUN(2), fk.SUN(3)]
MOST = [*GROUPS[:2], pytest.param(GROUPS[2], marks=pytest.mark.slow)]


pytestmark = pytest.mark.usefixtures("double")


def make(group, lattice=(4, 4), size=0.05, seed=7, **options):
    """A flow with random coefficients."""
    f = transforms.TrivializingFlow(fk.links(lattice, group), **options)
    with torch.no_grad():
        f.coefficients.copy_(size * torch.randn(f.coefficients.shape, generator=testing.seeded(seed)))
    return f


def diagonal(function, x):
    """d f^a / dw^a of one field at once, and f: a copy of the field for each row. x [1, ...] -> [dof], [dof, dof]."""
    group, n = fk.U1() if not x.is_complex() else fk.SUN(x.shape[-1]), 0
    shape = group.algebra_shape(x.shape)
    n = math.prod(shape)
    w = torch.zeros(n, *shape[1:], requires_grad=True)
    out = function(group.compose(group.exp(w), x.expand(n, *x.shape[1:]))).reshape(n, n)
    (rows,) = torch.autograd.grad(out.diagonal().sum(), w)
    return rows.reshape(n, n), out.detach()


def exact_logdet(f, x):
    """log|det df/dx| of one field by autograd."""
    y = f(x)[0].detach()
    rows, _ = diagonal(lambda u: testing.difference(f.space.group, f(u)[0], y.expand_as(u)), x)
    return torch.linalg.slogdet(rows)[1]


# ---------------------------------------------------------------- loops

CASES = [((4, 5), group, 3) for group in GROUPS] + [((3, 4), fk.SUN(4), 2), ((2, 3), fk.SUN(3), 1)]
CASES += [((3, 3, 3), fk.U1(), 2), ((4, 4, 4), fk.U1(), 3), ((4, 4, 4), fk.SUN(2), 3), ((3, 3, 3), fk.SUN(3), 2)]


@pytest.mark.parametrize(("lattice", "group", "order"), CASES, ids=str)
def test_force_and_laplacian_against_autograd(lattice, group, order):
    potential = loop_potential(fk.links(lattice, group), order)
    x = potential.space.haar(1, testing.seeded())
    c = torch.randn(len(potential.names), generator=testing.seeded(3)).unbind()
    w = torch.zeros(group.algebra_shape(x.shape), requires_grad=True)
    _, loops = potential.flow(group.compose(group.exp(w), x), c)
    (slope,) = torch.autograd.grad(sum(k * loop for k, loop in zip(c, loops, strict=False)).sum(), w)
    force, loops = potential.flow(x, c)
    testing.require_close(force, -slope, "the gradient of the potential", 1e-12)
    rows, _ = diagonal(lambda u: potential.flow(u, c)[0], x)
    testing.require_close(-rows.trace()[None], potential.laplacian(loops, c), "the Laplacian", 1e-12)


@pytest.mark.parametrize("group", MOST, ids=str)
def test_each_loop_has_the_laplacian_of_its_representation(group):
    """One by one, so that no factor hides: the plaquette has 4 C_F, the loops of eight links 8 C_F."""
    potential = loop_potential(fk.links((4, 4), group))
    n = group.dimension
    casimir = 1.0 if n == 1 else (n * n - 1) / (2 * n)
    x = potential.space.haar(1, testing.seeded())
    for k, name in enumerate(potential.names):
        c = torch.zeros(len(potential.names))
        c[k] = 1.0
        _, loops = potential.flow(x, c.unbind())
        rows, _ = diagonal(lambda u, c=c: potential.flow(u, c.unbind())[0], x)
        testing.require_close(-rows.trace()[None], potential.laplacian(loops, c.unbind()), name, 1e-12)
        links = {"t": 4, "cos": 4, "straight A": 6, "1x3": 8, "L": 8}.get(name)
        if links:
            assert -rows.trace().item() == pytest.approx(-links * casimir * loops[k].item(), rel=1e-10)


def test_loops_are_those_of_the_library():
    """Plaquette and rectangles against flowkit.geometry.loops."""
    space = fk.links((4, 5), fk.SUN(3))
    potential = loop_potential(space)
    x = space.haar(2, testing.seeded())
    _, loops = potential.flow(x, torch.zeros(len(potential.names)).unbind())
    values = dict(zip(potential.names, loops, strict=False))
    for name, sides in (("t", [(1, 1)]), ("straight A", [(1, 2), (2, 1)]), ("1x3", [(1, 3), (3, 1)])):
        trace = sum(space.group.trace(rectangle(space, x, 0, 1, *s)).flatten(1).sum(1) for s in sides)
        testing.require_close(values[name], 3 * trace, name, 1e-12)


# ---------------------------------------------------------------- the map


@pytest.mark.parametrize(("lattice", "group", "order"), [
    ((4, 4), fk.U1(), 3), ((3, 3), fk.SUN(2), 2), ((2, 3), fk.SUN(3), 1),
    pytest.param((4, 4), fk.SUN(2), 3, marks=pytest.mark.slow),
    pytest.param((3, 3), fk.SUN(3), 2, marks=pytest.mark.slow),
], ids=str)  # fmt: skip
def test_logdet_against_autograd(lattice, group, order):
    f = make(group, lattice, 0.01, order=order, steps=12)
    x = f.space.haar(1, testing.seeded())
    logdet = f(x)[1]
    assert logdet.abs() > 1e-3
    testing.require_close(logdet, exact_logdet(f, x)[None], "logdet", 2e-6)


@pytest.mark.parametrize("group", MOST, ids=str)
def test_the_integrator_is_of_fourth_order(group):
    f = make(group, (4, 4), 0.03)
    x = f.space.haar(2, testing.seeded())
    with torch.no_grad():
        runs = {}
        for steps in (8, 16, 40):
            f.steps = steps
            runs[steps] = f(x)
    y, logdet = runs.pop(40)
    off = [float(testing.difference(group, run[0], y).norm()) for run in runs.values()]
    logs = [float((run[1] - logdet).norm()) for run in runs.values()]
    for errors in (off, logs):
        assert 3.4 < math.log2(errors[0] / errors[1]) < 5.5, f"errors {errors} do not fall as the fourth power"


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_inverse_undoes_the_steps_to_rounding(group):
    """With steps so large that the flow back misses by far more."""
    f = make(group, (4, 4), 0.03, steps=3)
    x = f.space.haar(2, testing.seeded())
    with torch.no_grad():
        y, logdet = f(x)
        plain = f._run(y, f._table(f.coefficients), -f.steps)[0]
        back, minus = f.inverse(y)
    assert testing.difference(group, plain, x).abs().max() > 1e-7
    testing.require_same_field(group, back, x, "the round trip", 1e-12)
    testing.require_close(minus, -logdet, "logdet of the inverse", 1e-11)
    single = make(group, (4, 4), 0.03, steps=3).float()
    y = single(x.to(group.field_dtype(torch.float32)))[0]
    testing.require_same_field(group, single(single.inverse(y)[0])[0], y, "the round trip in float32", 1e-5)


def test_steps_that_cannot_be_undone_are_refused():
    f = transforms.TrivializingFlow(fk.links((4, 4), fk.U1()), order=1, steps=2, beta=6.0)
    with torch.no_grad():
        y = f(f.space.haar(8, testing.seeded()))[0]
        with pytest.raises(RuntimeError, match=r"cannot undo its steps: .* 2 steps are too few"):
            f.inverse(y)
        f.steps = 16
        y = f(f.space.haar(8, testing.seeded()))[0]
        testing.require_same_field(f.space.group, f(f.inverse(y)[0])[0], y, "with more steps", 1e-12)


def test_defect_measures_the_error_of_the_logdet():
    """The exact determinant is off by as much, and both fall with the fourth power of the step."""
    f = make(fk.U1(), (4, 4), 0.04)
    x = f.space.haar(5, testing.seeded())
    sizes = []
    for f.steps in (6, 12):
        exact = torch.stack([exact_logdet(f, x[i : i + 1]) for i in range(5)])
        errors = exact - f(x)[1], f.defect(x)
        sizes.append([float(e.detach().square().mean().sqrt()) for e in errors])
    for miss, defect in sizes:
        assert 1e-9 < miss < 5 * defect < 25 * miss
    # In size and sign: log q at f(x) beside that of the exact flow, here of four times the steps.
    with torch.no_grad():
        (y, logdet), claimed = f(x), f.defect(x)
        f.steps = 48
        change = -(logdet + f.inverse(y)[1])
    testing.require_close(claimed / change.abs().max(), change / change.abs().max(), "defect", 0.05)
    for before, after in zip(*sizes, strict=True):
        assert 8 < before / after < 50


@pytest.mark.parametrize("name", ["gauge", "translation"])
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_symmetries_are_exact_at_any_step(group, name):
    f = make(group, (4, 5), 0.06, steps=2)
    act = testing.symmetry(f.space, name, testing.seeded(5))
    x = f.space.haar(2, testing.seeded())
    (y, logdet), (moved, moved_logdet) = f(x), f(act(x))
    testing.require_same_field(group, moved, act(y), f"f(g x) = g f(x), {name}", 1e-11)
    testing.require_close(moved_logdet, logdet, f"logdet under {name}", 1e-11)


def test_axes_and_conjugation():
    """Exchanged axes and complex conjugation commute with the flow."""
    f = make(fk.SUN(3), (4, 4), 0.06, steps=2)
    x = f.space.haar(2, testing.seeded())
    y = f(x)[0]
    swap = lambda u: u.flip(1).transpose(2, 3)  # noqa: E731
    testing.require_same_field(f.space.group, f(swap(x))[0], swap(y), "exchanged axes", 1e-11)
    testing.require_same_field(f.space.group, f(x.conj().resolve_conj())[0], y.conj(), "charge conjugation", 1e-11)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_on_a_bigger_lattice(group):
    f = make(group, (4, 5), 0.06, steps=2)
    big = f.on(f.space.on((8, 10)))
    x = f.space.haar(2, testing.seeded())
    (y, logdet), (tiled, total) = f(x), big(testing.tile(big.space, x))
    testing.require_same_field(group, tiled, testing.tile(big.space, y), "a periodic field", 1e-11)
    testing.require_close(total, 4 * logdet, "its logdet", 1e-11)


# ---------------------------------------------------------------- Luescher's series


def test_the_first_term_of_the_series():
    for group, expected in ((fk.U1(), -6 / 4), (fk.SUN(2), -6 / 6), (fk.SUN(3), -6 / 16)):
        f = transforms.TrivializingFlow(fk.links((2, 3), group), order=1, beta=6.0)
        assert f.loops in (("t",), ("cos",))
        assert f.coefficients.tolist() == pytest.approx([expected])


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_log_w_varies_at_the_order_that_the_series_leaves(group):
    """Standard deviation of log w ~ beta^2 with one term, beta^3 with two."""
    space = fk.links((4, 4), group)
    z = space.haar(128, testing.seeded())
    for order in (1, 2):
        spread = []
        for beta in (0.2, 0.4):
            f = transforms.TrivializingFlow(space, order=order, beta=beta, steps=4)
            with torch.no_grad():
                x, logdet = f(z)
                spread.append(float((logdet - fk.Wilson(space, beta)(x)).std()))
        assert math.log2(spread[1] / spread[0]) == pytest.approx(order + 1, abs=0.15)


# ---------------------------------------------------------------- training


def test_scores_against_differences():
    f = make(fk.U1(), (4, 4), 0.01, steps=8)
    flow = fk.Flow(fk.Haar(f.space), f)
    x = f.space.haar(3, testing.seeded())
    score, step = flow.score(x), 1e-4
    assert score.shape == (3, f.coefficients.numel())
    for k in range(score.shape[1]):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                f.coefficients[k] += sign * step
                ends.append(flow.log_prob(x))
                f.coefficients[k] -= sign * step
        testing.require_close(score[:, k], (ends[0] - ends[1]) / (2 * step), f"score {k}", 1e-4)


def test_scores_have_mean_zero_and_need_a_fixed_prior():
    f = make(fk.U1(), (4, 4), 0.05, steps=4)
    flow = fk.Flow(fk.Haar(f.space), f)
    s = flow.score(flow.sample(2000, testing.seeded()))
    assert (s.mean(0).abs() < 5 * s.std(0) / math.sqrt(len(s))).all()
    with pytest.raises(ValueError, match="CheckerboardCoupling has no score in closed form"):
        example(fk.Flow).score(example(fk.Flow).sample(1, testing.seeded()))


@pytest.mark.parametrize(("loss", "name"), [("reverse_kl", "forward"), ("path_gradient", "inverse")])
def test_every_coefficient_learns(loss, name):
    f = make(fk.SUN(3), (4, 4), 0.05, steps=2)
    flow = fk.Flow(fk.Haar(f.space), f)
    trainer = fk.Trainer(flow, fk.Wilson(f.space, 1.0), batch=4, loss=loss, lr=1e-3)
    before = f.coefficients.detach().clone()
    trainer.fit(1, progress=False)
    assert (f.coefficients != before).all(), f"a coefficient got no gradient through {name}"


@pytest.mark.slow
def test_u1_trained_by_natural_gradient():
    action = fk.Wilson(fk.links((8, 8), fk.U1()), 1.0)
    flow = fk.Flow(fk.Haar(action.space), transforms.TrivializingFlow(action.space, steps=4, beta=1.0))
    trainer = fk.Trainer(flow, action, batch=256, method=NaturalGradientStep(ridge=1e-4), seed=1)
    trainer.fit(6, progress=False)
    ensemble = fk.importance_sample(flow, action, 4096, rng=2, observe=(fk.plaquette,), keep=False)
    assert ensemble.ess().value > 0.94
    mean = ensemble.mean(fk.plaquette)
    assert mean.exact == pytest.approx(0.446389966, abs=1e-8)
    assert mean.within(mean.exact, sigmas=3)
    assert flow.transform.defect(action.space.haar(256, testing.seeded())).std() < 0.01


def test_force_of_the_pullback():
    """What hybrid Monte Carlo in the trivialised variable integrates."""
    f = make(fk.SUN(3), (4, 4), 0.05, steps=2)
    action, group = fk.Wilson(f.space, 2.0).pullback(f), f.space.group
    z = f.space.haar(2, testing.seeded())
    force, step = action.force(z), 1e-4
    w = torch.randn(force.shape, generator=testing.seeded(2))
    ends = [action(group.compose(group.exp(sign * step * w), z)) for sign in (1, -1)]
    expected = -(ends[0] - ends[1]) / (2 * step)
    testing.require_close((force * w).flatten(1).sum(1), expected.detach(), "force of the pullback", 1e-6)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: transforms.TrivializingFlow(fk.sites((4, 4))),
            "Loops need links of U1 or SUN in .* dimensions; got Sites",
        ),
        (
            lambda: transforms.TrivializingFlow(fk.links((4,), fk.U1())),
            "Loops need links of U1 or SUN in two or more dimensions",
        ),
        (
            lambda: transforms.TrivializingFlow(fk.links((4, 4), fk.U1()), order=4),
            "Loops are of order 1, 2 or 3; got 4",
        ),
        (lambda: transforms.TrivializingFlow(fk.links((3, 4), fk.U1())), "order 3 need sides of at least 4; got 3x4"),
        (
            lambda: transforms.TrivializingFlow(fk.links((4, 4), fk.U1()), degree=-1),
            r"TrivializingFlow needs degree, a whole number in \[0, 64\]; got -1",
        ),
        (
            lambda: transforms.TrivializingFlow(fk.links((4, 4), fk.U1()), steps=0),
            "TrivializingFlow needs steps, a whole number >= 1; got 0",
        ),
        (
            lambda: transforms.TrivializingFlow(fk.links((4, 4), fk.U1()), beta=-1.0),
            "beta, a finite number >= 0; got -1",
        ),
        (lambda: transforms.TrivializingFlow(fk.links((4, 4), fk.U1()))(torch.zeros(2, 2, 4, 5)), "holds fields"),
        (
            lambda: transforms.TrivializingFlow(fk.links((4, 4), fk.U1())).on(fk.links((4, 4), fk.SUN(3))),
            "do not fit Links SU3",
        ),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ---------------------------------------------------------------- ensembles know of the integration error


def integrated(beta, steps, order=2):
    action = fk.Wilson(fk.links((4, 4), fk.U1()), beta)
    return fk.Flow(
        fk.Haar(action.space), transforms.TrivializingFlow(action.space, order, beta=beta, steps=steps)
    ), action


def test_few_steps_are_noted_and_many_are_not():
    """At one step ln Z is off by many errors; at eight the estimated error is far below a statistical one."""
    for steps in (1, 8):
        flow, action = integrated(1.0, steps)
        draws = fk.importance_sample(flow, action, 4096, rng=1, observe=[fk.plaquette], keep=False)
        assert (draws.provenance["logdet_error"] > 0.01) == (steps == 1)
        for estimate in (draws.log_z(), draws.mean(fk.plaquette)):
            assert ("integrated log-Jacobian is off by" in estimate.note) == (steps == 1), estimate
        assert (abs(draws.log_z().pull(action.log_z())) > 5) == (steps == 1)


@pytest.mark.parametrize(("steps", "noted"), [(1, True), (4, False)])
def test_chains_through_an_integrated_flow_are_noted(steps, noted):
    flow, action = integrated(1.0, steps, order=1)
    samplers = fk.HMC(action.pullback(flow.transform), steps=2), fk.IndependenceMetropolis(flow, action)
    for sampler in samplers:
        ensemble = fk.run(sampler, 60, chains=16, thermalise=5, rng=1, observe=[fk.plaquette], keep=False)
        assert ("integrated log-Jacobian" in ensemble.mean(fk.plaquette).note) == noted


def test_the_error_is_found_inside_other_flows():
    flow, action = integrated(1.0, 1)
    rng = testing.seeded()
    chain = fk.Flow(fk.Haar(action.space), transforms.Chain(flow.transform, flow.transform))
    both = fk.priors.Symmetrised(flow, action.symmetries[:1]), fk.Flow(flow, flow.transform), chain
    for one in both:
        assert one.defect(5, rng).shape == (5,)
        assert one.defect(5, rng).abs().max() > 1e-3
    assert not chain.transform.exact
    assert fk.gauge_flow(action.space).defect(5, rng) is None
    assert fk.importance_sample(fk.Haar(action.space), action, 5, rng=1).provenance["logdet_error"] is None

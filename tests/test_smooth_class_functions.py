"""Class functions of continuous slope: the same densities, the kernel against torch, and HMC in base variables."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.kernels import set_compile
from flowkit.models import multiscale_flow
from flowkit.multiscale import ClassFunctionConditional, SmoothClassFunctionConditional, levels, smoothed
from flowkit.studies import fthmc
from flowkit.train.natural_gradient import NaturalGradientStep

U1 = fk.U1()


pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(scope="module")
def beta_six():
    model = multiscale_flow(fk.links((8, 8), U1))
    trainer = fk.Trainer(model, fk.Wilson(model.space, 6.0), batch=1024, method=NaturalGradientStep(), seed=1)
    trainer.fit(16, progress=False)
    assert trainer.history["ess"][-1] > 0.999
    return model.requires_grad_(False)


def peaked(kind=SmoothClassFunctionConditional, cells=256):
    """f(theta) = 3 cos theta + 0.4 cos 2 theta: weights that differ by e^10."""
    model = kind(4, cells)
    with torch.no_grad():
        model.coefficients[:2] = torch.tensor([3.0, 0.4])
    return model


def loops(n, seed=3):
    rng = testing.seeded(seed)
    return U1.haar((n,), rng), (U1.haar((n,), rng), U1.haar((n,), rng))


def density(model, v, rest):
    """log of exp[f(P_left) + f(P_right)] over its norm, by a sum over many points."""
    n = torch.arange(1, model.harmonics + 1)

    def f(angle):
        return (model.coefficients * (angle.unsqueeze(-1) * n).cos()).sum(-1)

    points = torch.arange(512) * (2 * math.pi / 512)
    norm = (f(points + rest[0][:, None]) + f(points + rest[1][:, None])).exp().mean(1).log()
    return f(v + rest[0]) + f(v + rest[1]) - norm


def test_it_is_the_class_function():
    v, rest = loops(2000)
    model, linear = peaked(), peaked(ClassFunctionConditional)
    wanted = density(model, v, rest)
    with torch.no_grad():
        error, kinked = ((m.log_prob(v, rest) - wanted).abs().max() for m in (model, linear))
    assert float(error) < 1e-5
    assert float(kinked) > 100 * float(error)


def test_its_slope_is_continuous():
    """d log q / dV on both sides of the nodes of the table, and for W on both sides of its rows."""
    model = peaked().requires_grad_(False)
    linear = peaked(ClassFunctionConditional).requires_grad_(False)

    def jump(one, turn):
        slopes = []
        for side in (-1e-9, 1e-9):
            v = torch.linspace(-3, 3, 50)
            left = torch.full_like(v, 0.3)
            step = 2 * math.pi / 256
            # phi = V + left - W/2 on a node, or W = left - right on a row of the table
            place = (torch.round((v + left) / step) * step - left + 0.7 if turn == "phi" else v) + (
                turn == "phi"
            ) * side
            w = 1.4 if turn == "phi" else 20 * math.pi / 64 + side
            place = place.requires_grad_()
            (slope,) = torch.autograd.grad(one.log_prob(place, (left, left - w)).sum(), place)
            slopes.append(slope)
        return float((slopes[0] - slopes[1]).abs().max())

    for turn in ("phi", "W"):
        assert jump(model, turn) < 1e-5, turn
    assert jump(linear, "phi") > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_does_what_torch_does(dtype):
    """Values, and gradients in the base variable and in both loops."""
    model = peaked().to(dtype).requires_grad_(False)
    u, rest = loops(500)
    found = {}
    for level in ("c", "0"):
        before = set_compile(level)
        try:
            inputs = [t.to(dtype).requires_grad_() for t in (u, *rest)]
            v, logdet = model(inputs[0], tuple(inputs[1:]))
            logq = -logdet
            weight = torch.randn(500, generator=testing.seeded(5)).to(dtype)
            found[level] = (v, logq, *torch.autograd.grad((weight * (v + logq)).sum(), inputs))
        finally:
            set_compile(before)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-2
    for name, fast, plain in zip(("V", "log q", "dV", "dR", "dR"), found["c"], found["0"], strict=True):
        if name == "V":
            fast, plain = U1.wrap(fast - plain), torch.zeros_like(plain)
        # in single precision what is rare is solved for, and so differentiated, to fewer digits
        gap = ((fast - plain).abs() / (1 + plain.abs())).detach()
        assert float(gap.quantile(0.98 if dtype == torch.float32 else 1.0)) < tolerance, name


def test_the_kernel_reads_no_further_than_its_input():
    """One pair of loops for many links, loops in another precision and strided input, as without the kernel."""
    model = peaked().requires_grad_(False)
    u, (left, right) = loops(60)
    for one, rest in (
        (u, (left[:1], right[:1])),
        (u, (left.float(), right.float())),
        (u.float(), (left, right)),
        (u[::2], (left.flip(0)[::2], right[::2])),
    ):
        found = []
        for level in ("c", "0"):
            before = set_compile(level)
            try:
                found.append(model(one, rest))
            finally:
                set_compile(before)
        (v, logq), (plain, plain_logq) = found
        assert v.shape == plain.shape == one.shape
        assert U1.wrap(v - plain).abs().max() < 1e-5
        testing.require_close(logq, plain_logq, "log q", 1e-5)


def test_a_changed_weight_makes_a_new_table():
    model = peaked().requires_grad_(False)
    u, rest = loops(50)
    before = model(u, rest)[1]
    with torch.no_grad():
        model.coefficients[0] = 1.0
    after, again = model(u, rest)[1], model(u, rest)[1]
    assert (after - before).abs().max() > 0.1
    assert torch.equal(after, again)
    single = model.float()(u.float(), tuple(r.float() for r in rest))[1]
    testing.require_close(single.double(), after, "float32", 1e-4)


def test_smooth_keeps_model_and_weights(beta_six):
    smooth = smoothed(beta_six)
    assert {type(one.models[0]) for one in levels(smooth)} == {SmoothClassFunctionConditional}
    assert {type(one.models[0]) for one in levels(beta_six)} == {ClassFunctionConditional}
    x = beta_six.sample(50, testing.seeded(1))
    assert float((smooth.log_prob(x) - beta_six.log_prob(x)).std()) < 0.01
    bigger = smooth.on(fk.links((16, 16), U1))
    ours, theirs = (levels(one)[-1].models[0].coefficients for one in (bigger, smooth))
    assert ours.data_ptr() != theirs.data_ptr()
    with pytest.raises(ValueError, match="SmoothClassFunctionConditional has no score in closed form"):
        peaked().score(*loops(3))


def test_hmc_tunnels_at_every_trajectory(beta_six):
    """U(1) on 8x8 at beta = 6, where plain HMC of this length changes Q in 0.05 % of its trajectories: one step is
    accepted, and Q changes nearly as often as in independent fields. Tables that are linear between their nodes, whose
    density is as good, lose half of the trajectories to kinks where it is small.
    """
    action = fk.Wilson(beta_six.space, 6.0)
    observe = (fk.topological_charge, fk.charge_squared, fk.plaquette)
    rates = {}
    for name, model in (("smooth", smoothed(beta_six)), ("linear", beta_six)):
        hmc = fk.HMC(model.pullback(action), length=1.0, steps=1)
        n = 40 if name == "smooth" else 6
        chains = fk.run(hmc, n, chains=48, rng=3, observe=observe, keep=False, thermalise=0)
        rates[name] = float(chains.history("accept").mean())
        if name == "smooth":
            charge = chains.history(fk.topological_charge).round()
            changes = float((charge[1:] != charge[:-1]).double().mean())
            for observable in observe[1:]:
                assert chains.mean(observable).within(sigmas=4), str(chains.mean(observable))
    assert rates["smooth"] > 0.88
    assert rates["linear"] < 0.7
    shares = exact.u1_charge_distribution(6.0, 64, range(-3, 4))
    independent = 1 - float((shares**2).sum())
    assert 0.85 * independent < changes < 1.05 * independent


def test_a_gain_over_a_chain_that_never_moved_is_not_known():
    ensemble, moved = fthmc.walk(fk.Wilson(fk.links((4, 4), U1), 1.0), 16, 4, 4, seed=1)
    still = moved._replace(rate=0.0, error=0.0)
    for plain, reached in ((still, False), (moved._replace(rate=moved.rate / 100, error=moved.error / 100), True)):
        rows = fthmc.walk_rows("4x4", ensemble, moved, plain, goal=20.0)
        (row,) = (row for row in rows if row["label"].endswith("per force, over plain HMC"))
        assert row["reached"] is reached, row


def test_an_acceptance_out_of_its_range_is_a_miss():
    """The trajectories of a tuned step are to be accepted in .8 to .9 of all cases, those of one step in more."""
    ensemble, moved = fthmc.walk(fk.Wilson(fk.links((4, 4), U1), 1.0), 16, 4, 4, seed=1)
    for share, forces, reached in ((0.7, 1, False), (0.97, 1, True), (0.85, 8, True), (0.97, 8, False)):
        accept = (torch.arange(64.0).view(16, 4) < 64 * share).double()
        run = fk.Ensemble(ensemble.space, None, {**ensemble.series, "accept": accept}, action=ensemble.action)
        row = fthmc.walk_rows("4x4", run, moved._replace(forces=forces), moved)[0]
        assert row["reached"] is reached, row
    assert "reached" not in fthmc.walk_rows("4x4", ensemble, moved)[0]


def test_plaquette_couplings_on_a_larger_lattice():
    """Gauge-equivariant, every link moves, and the same map on every lattice of sides 4, 8, ..."""
    space = fk.links((4, 8), U1)
    torch.manual_seed(1)
    couplings = testing.randomised(fk.models.plaquette_couplings(space, bins=4, hidden=(4,)), testing.seeded(2), 0.2)
    testing.check_transform(couplings, x=space.haar(2, testing.seeded(1)))
    testing.check_equivariance(couplings, testing.symmetry(space, "gauge", testing.seeded(5)))
    x = space.haar(2, testing.seeded(1))
    assert (couplings(x)[0] != x).all()
    for bad, sweeps in ((fk.links((4, 4, 4), U1), 1), (fk.sites((4, 4)), 1), (space, 0)):
        with pytest.raises(ValueError, match=r"plaquette_couplings needs (links in two dimensions|sweeps)"):
            fk.models.plaquette_couplings(bad, sweeps)
    with pytest.raises(ValueError, match="multiples of these"):
        fk.models.plaquette_couplings(fk.links((6, 6), U1))

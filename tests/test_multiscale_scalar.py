import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.multiscale import coarsest
from flowkit.multiscale.site_doubling import site_stages
from flowkit.testing import example
from flowkit.train import losses
from flowkit.train.schedules import Cosine

pytestmark = pytest.mark.usefixtures("double")


def rough(model, size=0.3, seed=5):
    return testing.randomised(model, testing.seeded(seed), size)


def two_levels(lattice=(4, 8)):
    space = fk.sites(lattice)
    return fk.scalar_multiscale_flow(space, bins=4, hidden=(6,), least=1)


def example_model():
    coarse = fk.FreeField(fk.sites((1, 2)), 1.0, learned=True)
    return fk.Flow(
        fk.priors.Embedded(coarse), fk.multiscale.SiteDoubling(fk.sites((2, 4)), bins=4, hidden=(6,), kernel=3)
    )


def trained(action, model, steps, batch=128):
    fk.Trainer(model, action, batch=batch, lr=5e-3, schedule=Cosine(warmup=30), seed=1).fit(steps, progress=False)
    return model


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize("lattice", [(4, 8), (2, 6), (2, 4, 6)])
def test_stages_hold_every_new_site_once(lattice):
    stages = site_stages(lattice)
    new = torch.cat(stages)
    coarse = math.prod(side // 2 for side in lattice)
    assert len(torch.unique(new)) == len(new) == math.prod(lattice) - coarse


def test_the_last_two_stages_know_their_four_neighbours():
    lattice = (4, 8)
    stages = site_stages(lattice)
    flat = torch.arange(32).view(1, 1, *lattice)
    known = set(range(32)) - set(torch.cat(stages[-2:]).tolist())
    for mu in (0, 1):
        for n in (1, -1):
            around = torch.roll(flat, n, 2 + mu).flatten()
            assert {int(around[site]) for stage in stages[-2:] for site in stage} <= known


@pytest.mark.parametrize(("kernel", "missing"), [(3, 0.627), (5, 0.008)])
def test_what_the_stages_leave_out_in_the_free_field(kernel, missing):
    """sum over stages of ln sqrt(var(x | sites its network reads) / var(x | all sites before)) at 16x16, L/xi = 4:
    KL of the best such model from the free field in its finest doubling. Kernel 3 hides the centres from one another.
    """
    lattice = (16, 16)
    level = fk.multiscale.SiteDoubling(fk.sites(lattice), bins=4, hidden=(6,), kernel=kernel)
    momenta = 4 * torch.sin(torch.pi * torch.arange(16) / 16) ** 2
    propagator = torch.fft.ifft2(1 / (2 * (momenta[:, None] + momenta + 1 / 16))).real
    place = torch.stack([torch.arange(256) // 16, torch.arange(256) % 16])
    apart = (place[:, :, None] - place[:, None]) % 16
    cov = propagator[apart[0], apart[1]]

    def half_log_det(sites):
        return float(torch.linalg.slogdet(cov[sites][:, sites])[1]) / 2

    total = 0.0
    for i, (net, stage) in enumerate(zip(level.nets, level.stages, strict=True)):
        known = level.get_buffer(f"known{i}")
        x = torch.randn(1, len(known), 1, generator=testing.seeded()).requires_grad_()
        net([x])[:, 0].square().sum().backward()
        read = known[x.grad[0, :, 0] != 0]
        alone = half_log_det(torch.cat([read, stage[:1]])) - half_log_det(read)
        total += len(stage) * alone - (half_log_det(torch.cat([known, stage])) - half_log_det(known))
    assert total == pytest.approx(missing, abs=0.0005)


# ---------------------------------------------------------------- the density


def test_contracts():
    testing.check_prior(example_model())
    testing.check_transform(example(fk.multiscale.SiteDoubling))


@pytest.mark.parametrize("lattice", [(4, 8), (2, 6), (12, 4), (2, 3)])
def test_drawn_density(lattice):
    model = rough(two_levels(lattice))
    x, logq = model.sample_and_log_prob(20, testing.seeded())
    testing.require_close(model.log_prob(x), logq, "log_prob of a draw", 1e-8)


def test_base_variables():
    """forward and inverse are inverse, and log|det| is that of autograd."""
    model = rough(two_levels())
    f = model.flattened().transform
    z = f.inverse(model.sample(3, testing.seeded()))[0].detach()
    x, logdet = f(z)
    back, again = f.inverse(x)
    testing.require_close(back, z, "inverse(forward(z))", 1e-8)
    testing.require_close(again, -logdet, "log|det| of the inverse", 1e-8)
    jacobian = torch.autograd.functional.jacobian(lambda w: f(w.view(1, 1, 4, 8))[0].flatten(), z[0].flatten())
    testing.require_close(torch.linalg.slogdet(jacobian)[1], logdet[0], "log|det| against autograd", 1e-8)


def check_translation(model, steps):
    x = model.sample(4, testing.seeded()).detach()
    moved = testing.translate(x, steps)
    testing.require_close(model.log_prob(moved), model.log_prob(x), "log q of a translated field", 1e-9)


def test_translation_by_two_coarsest_spacings():
    """The coarsest lattice is 1x4: four sites along the second direction are one step there, eight keep its colours."""
    model = rough(two_levels((4, 16)))
    assert coarsest(model).space.lattice == (1, 4)
    check_translation(model, (0, 8))
    with pytest.raises(AssertionError, match="translated field"):
        check_translation(model, (0, 1))


def test_a_forgotten_coarse_site_is_found():
    """A planted mistake: base density counted on the coarse sites as well."""

    class Forgetful(fk.priors.Embedded):
        def log_prob(self, x):
            return self.coarse.log_prob(self.doubling.split(x)[0]) + fk.Normal(self.space).log_prob(x)

    testing.check_prior(fk.priors.Embedded(coarse := example_model().prior.coarse))
    wrong = Forgetful(coarse)
    with pytest.raises(AssertionError, match=r"log_prob of a draw|integrates"):
        testing.check_prior(wrong)


def test_what_does_not_fit():
    space = fk.sites((4, 4))
    with pytest.raises(ValueError, match=r"prior and transform of one space; got Sites .* on 8x8 and .* 4x4"):
        fk.Flow(fk.priors.Embedded(fk.FreeField(space)), fk.multiscale.SiteDoubling(space))
    with pytest.raises(ValueError, match="SiteDoubling ends at sites with even sides"):
        fk.multiscale.SiteDoubling(fk.sites((3, 4)))
    with pytest.raises(ValueError, match=r"one of them at least 4; got Sites .* on 2x2"):
        fk.multiscale.SiteDoubling(fk.sites((2, 2)))
    with pytest.raises(ValueError, match="do not fit Sites"):
        two_levels().on(fk.sites((4, 8), components=2))
    with pytest.raises(ValueError, match=r"on sites with even sides makes a coarser one; got Sites .* 3x4"):
        two_levels().on(fk.sites((6, 8)))
    with pytest.raises(ValueError, match=r"scalar_multiscale_flow needs (sites|least)"):
        fk.scalar_multiscale_flow(fk.links((4, 4), fk.U1()))


# ---------------------------------------------------------------- physics


@pytest.mark.slow
def test_the_free_field():
    """ln Z of the free field on 8x8, m2 = 1: -11.62288526."""
    action = fk.Phi4(fk.sites((8, 8)), m2=1.0, lam=0.0)
    torch.manual_seed(1)
    model = trained(action, fk.scalar_multiscale_flow(action.space), 400)
    with torch.no_grad():
        ensemble = fk.importance_sample(model, action, 4096, rng=1, keep=False)
    estimate = fk.stats.log_z(ensemble.series["logw"].flatten().numpy())
    assert exact.free_log_z((8, 8), 1.0) == pytest.approx(-11.62288526, abs=1e-8)
    assert estimate.within(-11.62288526, sigmas=4)
    assert ensemble.ess().value > 0.5


@pytest.mark.slow
def test_phi4_on_4x4():
    """m2 = -4, lambda = 8, exact by transfer matrix: <phi^2> = .147746, chi = .683968."""
    action = fk.Phi4(fk.sites((4, 4)), m2=-4.0, lam=8.0)
    torch.manual_seed(1)
    model = trained(action, fk.scalar_multiscale_flow(action.space, least=2), 600)
    with torch.no_grad():
        observed = (fk.phi_squared, fk.susceptibility)
        ensemble = fk.importance_sample(model, action, 8192, rng=1, observe=observed, keep=False)
    assert ensemble.ess().value > 0.8
    for observable, value in zip(observed, (0.147746, 0.683968), strict=True):
        assert ensemble.mean(observable).within(value, sigmas=4)


def test_fine_couplings_on_top_and_path_gradients():
    space = fk.sites((8, 8))
    flow = rough(fk.scalar_multiscale_flow(space, couplings=2, bins=4, hidden=(6,)))
    assert isinstance(flow.prior, fk.Flow)
    assert isinstance(flow.prior.transform, fk.multiscale.SiteDoubling)
    loss = losses.path_gradient(flow, fk.Phi4(space, m2=-4.0, lam=8.0), 4, testing.seeded())
    testing.require_gradients(flow, loss.value, "the flow")
    bigger = flow.on(fk.sites((16, 8)))
    x, logq = bigger.sample_and_log_prob(3, testing.seeded())
    testing.require_close(bigger.log_prob(x), logq, "log_prob on another lattice", 1e-8)

"""HMC of scalars in other variables: the C kernels, input theories from coarser lattices, Fourier modes."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

import flowkit as fk
from flowkit import kernels, testing, transforms
from flowkit.actions import Action
from flowkit.ensemble.comparison import Comparison
from flowkit.ensemble.costs import Cost
from flowkit.geometry.lattice import join_sublattices, split_sublattices
from flowkit.kernels import affine_coupling
from flowkit.kernels.scalar_action import scalar_action, scalar_force
from flowkit.kernels.site_conditional import outer_rows
from flowkit.samplers.integrators import linear_map
from flowkit.studies import cost_phi4, fhmc_phi4, trivializing
from flowkit.testing import seeded
from flowkit.train import losses

F64 = torch.float64
LATTICES = [(4,), (2, 4), (4, 6), (8, 18), (18, 34), (2, 6, 4), (4, 4, 20)]


@pytest.fixture
def levels():
    """Run something by the C kernels and by torch, in this order."""
    before = kernels.compiling()

    def both(function):
        results = []
        for level in ("c", "0"):
            kernels.set_compile(level)
            results.append(function())
        return results

    yield both
    kernels.set_compile(before)


@pytest.mark.parametrize("lattice", [(1,), (2,), (3,), (17,), (4, 5), (3, 2, 2, 3)])
def test_scalar_action(lattice):
    """Site by site, and the force by autograd."""
    x = torch.randn(3, 2, *lattice, generator=seeded(), dtype=F64, requires_grad=True)
    S = scalar_action(x, 0.6, 0.3, 0.5)
    total = torch.zeros(3, dtype=F64)
    for site in itertools.product(*map(range, lattice)):
        here = x[(..., *site)]
        ahead = sum(x.roll(-1, 2 + axis)[(..., *site)] for axis in range(len(lattice)))
        total = total + (0.3 * here**2 + 0.5 * here**4 - 0.6 * here * ahead).sum(1)
    testing.require_close(S, total, f"scalars on {lattice}", 1e-12)
    (gradient,) = torch.autograd.grad(S.sum(), x)
    testing.require_close(scalar_force(x, 0.6, 0.3, 0.5), -gradient, f"force on {lattice}", 1e-12)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("z2", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_affine_coupling(lattice, z2, kernel, levels):
    """Values, log-Jacobians and all gradients of the C kernel are those of the convolutions, both ways, each parity."""
    for moves, dtype, tolerance in ((0, F64, 1e-10), (1, torch.float32, 2e-4)):
        coupling = fk.CheckerboardCoupling(fk.sites(lattice), moves, hidden=(), kernel=kernel, z2=z2)
        coupling = testing.randomised(coupling, seeded(2)).to(dtype)
        x = torch.randn(5, 1, *lattice, generator=seeded(), dtype=dtype)

        def numbers(coupling=coupling, x=x):
            found = []
            for run in (coupling.forward, coupling.inverse):
                z = x.clone().requires_grad_()
                y, logdet = run(z)
                value = (y * x.flip(0)).sum() + (logdet * torch.arange(1, 6)).sum()
                found += [y.detach(), logdet.detach(), *torch.autograd.grad(value, [z, *coupling.parameters()])]
            return found

        native, plain = levels(numbers)
        for came, expected in zip(native, plain, strict=True):
            testing.require_close(came, expected, f"coupling on {lattice}, kernel {kernel}", tolerance)


def test_tables_are_kept_on_the_cpu_for_training_too():
    """The first use in inference mode, or under another default device, leaves nothing that later uses cannot read."""
    affine_coupling.geometry.cache_clear()
    outer_rows.cache_clear()
    coupling = fk.CheckerboardCoupling(fk.sites((4, 10)), 0, hidden=(), kernel=3)
    x = torch.randn(2, 1, 4, 10, generator=seeded())
    with torch.inference_mode():
        inferred = coupling(x)[0]
    y, logdet = coupling(x)
    assert torch.equal(y, inferred)
    (y.sum() + logdet.sum()).backward()
    assert all(p.grad is not None for p in coupling.parameters())
    affine_coupling.geometry.cache_clear()
    with torch.device("meta"):
        tables = [outer_rows((4, 10)), *affine_coupling.geometry((4, 10), 3, 0)[:4]]
    assert all(t.is_cpu for t in tables)


@pytest.mark.parametrize(
    "map", [fk.bijections.AffineMap(), fk.bijections.RealSpline(4)], ids=lambda map: type(map).__name__
)
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
@pytest.mark.parametrize("components", [1, 2])
def test_coupling_is_z2_equivariant(map, hidden, components):
    coupling = fk.CheckerboardCoupling(fk.sites((4, 6), components), 1, map, hidden=hidden, z2=True, start=0.3)
    testing.check_transform(coupling)
    testing.check_equivariance(coupling, testing.symmetry(coupling.space, "z2", seeded()))


def test_sublattices_come_apart_and_together():
    x = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)
    parts = split_sublattices(x)
    assert parts.shape == (1, 4, 2, 2, 3)
    for k, (a, b) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        assert torch.equal(parts[:, k], x[:, :, a::2, b::2])
    assert torch.equal(join_sublattices(parts), x)


@pytest.mark.parametrize("kind", ["average", "copy"])
def test_prolongation_interpolates(kind):
    """A field linear in the coordinates comes out linear where averages see no seam, and repeated where cells copy."""
    space = fk.sites((4, 8))
    f = transforms.Prolongation(space, kind)
    z = torch.zeros(1, 1, 4, 8)
    z[:, :, ::2, ::2] = torch.arange(4.0)
    y, logdet = f(z)
    expected = torch.arange(8) / 2 if kind == "average" else torch.arange(8) // 2
    assert torch.allclose(y[0, 0, :, :7], expected[:7].float().expand(4, 7))
    assert logdet == 0
    testing.check_transform(f)
    with pytest.raises(ValueError, match="the 'average' or a 'copy' of coarse sites; got 'cubic'"):
        transforms.Prolongation(space, "cubic")
    with pytest.raises(ValueError, match="even sides makes a coarser one; got Sites"):
        transforms.Prolongation(fk.sites((3, 4)))


def coarse_theory(side: int, pool: int = 256) -> fk.samplers.MarkovPrior:
    return fk.samplers.MarkovPrior(
        fk.HMC(fk.Phi4Hopping(fk.sites((side, side)), beta=0.537, lam=0.5)), pool=pool, every=3, thermalise=50
    )


def test_markov_prior_samples_its_theory_and_says_what_it_is():
    truth = 0.856336956  # by transfer matrix
    prior = fk.samplers.MarkovPrior(fk.HMC(fk.Phi4Hopping(fk.sites((3, 3)), beta=0.645, lam=0.5)), pool=16384, every=4)
    x = prior.sample(16384, seeded())
    phi2 = x.square().flatten(1).mean(1)
    assert abs(float(phi2.mean()) - truth) < 6 * float(phi2.std()) / math.sqrt(16384)  # a few times correlated
    assert torch.equal(prior.log_prob(x), -prior.action(x))
    flow = fk.Flow(prior, transforms.Affine(prior.space))
    with pytest.raises(ValueError, match="not normalised"):
        fk.IndependenceMetropolis(flow, prior.action)
    with pytest.raises(ValueError, match="not normalised"):
        fk.importance_sample(flow, prior.action, 8)
    with pytest.raises(TypeError, match="MarkovPrior needs sampler, a sampler such as"):
        fk.samplers.MarkovPrior(fk.sites((3, 3)))
    with pytest.raises(ValueError, match="MarkovPrior needs pool, a whole number >= 1; got 0"):
        fk.samplers.MarkovPrior(prior.sampler, pool=0)


def test_interleaved_fields_are_independent():
    free = fk.FreeField(fk.sites((2, 4)), m2=0.2).double()
    prior = fk.priors.Interleaved(free).double()
    parts = split_sublattices(prior.sample(20_000, seeded()))
    means = parts.flatten(2).mean(2)
    covariance = means.T.cov() * free.space.volume
    expected = torch.eye(4, dtype=F64) / (2 * 0.2)  # chi of the free field
    assert (covariance - expected).abs().max() < 0.1
    with pytest.raises(ValueError, match="Interleaved puts fields on sites together; got Links"):
        fk.priors.Interleaved(fk.Haar(fk.links((2, 2), fk.U1())))


def flows():
    """One per construction from a coarser theory, on 6x6 (12x12 where twice), with random weights."""
    space = fk.sites((6, 6))
    pair = [fk.CheckerboardCoupling(space, p, hidden=(), z2=True) for p in (0, 1)]
    yield fk.Flow(coarse_theory(6), fk.Chain(*pair))
    yield fk.Flow(fk.priors.Embedded(coarse_theory(3)), fk.Chain(transforms.Prolongation(space), *pair))
    yield fk.Flow(fk.priors.Interleaved(coarse_theory(3)), fk.Chain(transforms.Prolongation(space, "copy"), *pair))
    inner = fk.Chain(transforms.Prolongation(space), *pair)
    twice = fk.priors.Interleaved(fk.priors.Interleaved(coarse_theory(3)))
    yield fk.Flow(twice, fk.Chain(transforms.OnSublattices(inner), transforms.Prolongation(twice.space)))
    twice = fk.priors.Embedded(fk.priors.Embedded(coarse_theory(3)))
    yield fk.Flow(twice, fk.Chain(transforms.Inside(inner), transforms.Prolongation(twice.space)))


@pytest.mark.parametrize("which", range(5))
def test_maps_from_coarser_theories(which):
    """Densities follow draws, the pullback's force is the gradient of its action, and S_in plays no part in it."""
    flow = testing.randomised(list(flows())[which], seeded(3), 0.1)
    action = fk.Phi4Hopping(flow.space, beta=0.576, lam=0.5)
    x, logq = flow.sample_and_log_prob(4, seeded())
    testing.require_close(flow.log_prob(x), logq, "log q of draws", 1e-9)
    assert not flow.normalised
    z = flow.transform.inverse(x)[0].detach()
    pulled = flow.pullback(action)
    testing.require_close(pulled.force(z), Action.force(pulled, z), "force")
    testing.require_close(pulled(z), action(x) - flow.transform(z)[1], "pulled action")


def test_training_on_another_theory_lowers_kl_and_hmc_in_its_variables_is_exact():
    """chi of HMC in the variables of four coarse configurations equals that of plain HMC."""
    torch.manual_seed(1)
    flow = list(flows())[2]
    action = fk.Phi4Hopping(flow.space, beta=0.537, lam=0.5)
    trainer = fk.Trainer(flow, action, batch=64, loss="reverse_kl", lr=1e-2)
    before = losses.reverse_kl(flow, action, 512, seeded()).value
    trainer.fit(60, progress=False)
    assert losses.reverse_kl(flow, action, 512, seeded()).value < before - 1
    assert math.isnan(trainer.history.last("kl"))  # the constant is unknown
    means = []
    for theory in (action, flow.pullback(action)):
        ensemble = fk.run(fk.HMC(theory), 400, chains=64, thermalise=60, rng=4, observe=[fk.susceptibility], keep=False)
        means.append(ensemble.mean(fk.susceptibility))
    plain, mapped = means
    assert abs(plain.value - mapped.value) < 4 * math.hypot(plain.error, mapped.error)
    assert mapped.tau_int < plain.tau_int


def test_fourier_modes_of_the_free_field_are_independent():
    """Fitted to draws of a free field they recover its propagator, and S in modes is that of unit normals."""
    space = fk.sites((4, 6))
    truth = fk.FreeField(space, m2=0.3)
    modes = transforms.FourierModes(space, m2=1.0).fit(truth.sample(4000, seeded()))
    chi = float((2 * modes._log_gain().detach()[0, 0]).exp())
    assert abs(chi * 2 * 0.3 - 1) < 0.1
    x = torch.randn(3, 1, 4, 6, generator=seeded())
    exact = transforms.FourierScale(space, m2=0.3, order=0)
    with torch.no_grad():
        exact.coefficients.fill_(-math.log(2) / 2)
    modes.load_state_dict({**modes.state_dict(), "log_m2": exact.log_m2})
    with torch.no_grad():
        modes.coefficients.zero_()
        modes.coefficients[0] = exact.coefficients[0]
    S = fk.Phi4(space, m2=0.3, lam=0.0).pullback(modes)
    norm = x.square().flatten(1).sum(1) / 2
    assert torch.allclose(S(x) - norm, (S(x) - norm).mean(), atol=1e-4)


def test_zero_mode_of_the_free_field_has_the_frequency_asked_for():
    """S'(c e) = w^2 c^2 / 2 along the normalised zero mode e, and all fields orthogonal to it stay as they are."""
    space = fk.sites((4, 6))
    zero = transforms.LowModes(space).double().fit(fk.FreeField(space, m2=0.02).double().sample(20_000, seeded()), 0.7)
    e = torch.full((1, 1, 4, 6), 1 / math.sqrt(24), dtype=F64)
    S = fk.Phi4(space, m2=0.02, lam=0.0).pullback(zero)
    curvature = 2 * float((S(e) + zero(e)[1]).detach())
    assert abs(curvature - 0.7**2) < 5 * 0.7**2 * math.sqrt(2 / 20_000)
    x = torch.randn(3, 1, 4, 6, generator=seeded(), dtype=F64)
    x = x - x.mean((2, 3), keepdim=True)
    testing.require_close(zero(x)[0], x, "fields without a zero mode", 1e-12)
    with pytest.raises(ValueError, match=r"LowModes needs gain, a finite number > 0; got 0"):
        transforms.LowModes(space, gain=0)
    with pytest.raises(ValueError, match="LowModes needs a frequency > 0; got -1"):
        zero.fit(x, -1)


@pytest.mark.parametrize("kind", ["scale", "modes", "zero", "chain", "mixed"])
def test_force_through_a_linear_map(kind):
    """It is the gradient of the pulled-back action; one step that is not linear brings the graph back."""
    space = fk.sites((4, 6))
    scale, modes, zero = (
        transforms.FourierScale(space, m2=0.7),
        transforms.FourierModes(space, m2=0.4),
        transforms.LowModes(space, gain=3.0),
    )
    coupling = fk.CheckerboardCoupling(space, 1, hidden=(), z2=True, start=1.0)
    f = {"scale": scale, "modes": modes, "zero": zero, "chain": fk.Chain(modes, scale, zero)}.get(kind)
    f = (fk.Chain(zero, coupling) if f is None else f).double()
    assert (linear_map(f) is None) == (kind == "mixed")
    pulled = fk.Phi4Hopping(space, beta=0.576, lam=0.5).pullback(f)
    z = torch.randn(3, 1, 4, 6, generator=seeded(), dtype=F64)
    force = pulled.force(z)
    assert not force.requires_grad
    testing.require_close(force, Action.force(pulled, z), "force", 1e-9)


def test_one_observable_without_an_estimate_makes_a_cost_a_bound():
    """However small its bound is: nothing is known of what it costs."""

    def cost(observable, tau, bound):
        nothing = fk.stats.Estimate(0.0, 1.0, tau, 1.0, 100)
        return Cost("HMC", observable, nothing, tau, 1.0, bound, 0.8, 99, 4, 9, 0.1, 0.0, 1, None, "")

    frozen, slow = cost("magnetization", 5.0, "frozen"), cost("phi_squared", 9.0, "")
    found = cost_phi4._worst(Comparison([frozen, slow], {}), "HMC")
    assert (found.observable, found.tau_int, found.bound) == ("phi_squared", 9.0, "frozen")
    assert cost_phi4._worst(Comparison([slow], {}), "HMC") == slow


def test_chains_that_never_moved_are_left_out(monkeypatch):
    """Also where the inverse takes another chain further out than training went; the rows say so."""
    x = torch.arange(6.0).view(6, 1, 1, 1).repeat(1, 1, 2, 2)
    x[0] = 100.0
    moved, starts = torch.tensor([True, True, True, False, True, True]), []

    class Same:
        def __call__(self, z):
            return z, torch.zeros(len(z))

        inverse = __call__

    def run(_, n, start, **settings):
        starts.append(start)
        if settings.get("keep", True):
            about = {"sampler": {"steps": 9}}
            return SimpleNamespace(x=x[None], series={"accept": moved.expand(n, 6)}, provenance=about)
        raise InterruptedError

    monkeypatch.setattr(fhmc_phi4, "run", run)
    action = fk.Phi4Hopping(fk.sites((2, 2)), beta=0.5, lam=0.5)
    with pytest.raises(InterruptedError):
        fhmc_phi4.measure(action, Same(), x, 10, 1)
    assert starts[1].shape == x.shape
    assert set(starts[1].flatten().tolist()) == {1.0, 2.0, 4.0, 5.0}
    moved[:] = False
    with pytest.raises(RuntimeError, match="needs a chain that moves; got 6"):
        fhmc_phi4.measure(action, Same(), x, 10, 1)
    one = fhmc_phi4.Measured(2.0, 0.1, fk.stats.Estimate(1.0, 0.1, 0.5, 0.1, 9), 0.85, 0.1, 5, False, 0)
    for label in (
        trivializing.tau_row("map", one._replace(stuck=2), None)["label"],
        trivializing.ratio_row("map", one, one._replace(stuck=2), 1.0, None)["label"],
    ):
        assert "2 chains that never moved left out" in label
    assert "left out" not in trivializing.ratio_row("map", one, one, 1.0, None)["label"]


def test_a_tau_that_chains_are_too_short_for_is_a_bound():
    action = fk.Phi4Hopping(fk.sites((8, 8)), beta=0.65, lam=0.5)  # tau_M = 70
    start = torch.randn(8, 1, 8, 8, generator=seeded())
    short, long = (fhmc_phi4.measure(action, None, start, n, 1) for n in (12, 3000))
    assert short.bound
    assert not long.bound
    assert trivializing.tau_row("8x8", short, None)["label"].endswith(", at least")
    row = trivializing.ratio_row("8x8", long, short, 2.0, None)
    assert row["label"].endswith(", at most")
    assert row["value"] > 2.0
    assert not row["reached"]

"""Sites of one parity from their exact conditional distribution, and trajectories of scalar fields in one call."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import kernels, testing, transforms
from flowkit.actions import Action, Pullback
from flowkit.kernels import site_conditional
from flowkit.kernels.site import site
from flowkit.samplers.integrators import INTEGRATORS, linear_map, step_by_step, trajectory
from flowkit.testing import example, seeded

F64 = torch.float64
COUPLINGS = {
    "quartic": (0.667, 0.0, 0.5),
    "double well": (0.6, -1.5, 0.7),
    "free": (0.3, 1.2, 0.0),
    "alone": (0.0, 0.3, 1.0),
}


@pytest.fixture(params=["c", "0"], ids=["kernel", "torch"])
def compiled(request):
    before = kernels.set_compile(request.param)
    yield request.param
    kernels.set_compile(before)


def theory(lattice, components=1):
    return fk.Phi4Hopping(fk.sites(lattice, components=components), beta=0.55, lam=0.5)


@pytest.mark.parametrize("name", COUPLINGS)
def test_a_site_given_its_neighbours(name):
    """Norm, mean and quantiles of p(x | J) against sums over a fine grid, which converge exponentially."""
    h, a, g = COUPLINGS[name]
    one = site(h, a, g, 2)
    J = one.most * torch.linspace(-1, 1, 41, dtype=F64)
    x = torch.linspace(one.lowest, -one.lowest, 3001, dtype=F64)[:, None]
    p = (J * x - a * x**2 - g * x**4).exp() * (x[1] - x[0])
    testing.require_close(one.log_partition(J), p.sum(0).log(), "W", 1e-9)
    testing.require_close(one.mean(J), (p * x).sum(0) / p.sum(0), "m", 1e-9)
    z = torch.randn(41, generator=seeded(), dtype=F64)
    middle = one.quantile(z, J)
    left, right = (torch.linspace(0, 1, 3001, dtype=F64)[:, None] * (end - middle) + middle for end in (x[0], x[-1]))
    for half, side in ((left, -z), (right, z)):
        density = one.log_density(half, J).exp()
        weight = (density.sum(0) - (density[0] + density[-1]) / 2) * (half[1] - half[0]).abs()
        # The trapezoidal rule at an end that is no zero: the first term of Euler and Maclaurin is left.
        testing.require_close(weight, torch.special.ndtr(-side), "F", 1e-6)
    testing.require_close(one.normal(middle, J), z, "the inverse", 1e-8)
    single = one.quantile(z.float(), J.float())
    testing.require_close(single.double(), middle, "the table", 3e-5)


def test_active_sites_are_integrated_out():
    """exp(-S'(x, z)) over the normal density of z is the integral of exp(-S(x, y)) over y: two sites, by quadrature."""
    action = theory((2,))
    S = action.pullback(transforms.SiteConditional(action, 1))
    y, x = torch.linspace(-5, 5, 2001, dtype=F64), torch.linspace(-1.5, 1.5, 7, dtype=F64)
    fields = torch.stack([x[:, None].expand(7, 2001), y.expand(7, 2001)], -1).reshape(-1, 1, 2)
    whole = (-action(fields)).exp().view(7, 2001).sum(1) * (y[1] - y[0])
    z = torch.stack([x, torch.full_like(x, 0.7)], -1)[:, None]
    normal = -(0.7**2) / 2 - math.log(2 * math.pi) / 2
    testing.require_close(-S(z) - normal, whole.log(), "log of the integral", 1e-9)


@pytest.mark.parametrize("lattice", [(4, 6), (8,), (2, 4, 4)])
@pytest.mark.parametrize("moves", [0, 1])
def test_the_closed_form_is_the_pullback(lattice, moves, compiled):
    """S' = S(f(z)) - log|det df/dz|, force and fields of the theory, in both precisions."""
    action = theory(lattice, components=2)
    f = transforms.SiteConditional(action, moves)
    S = action.pullback(f)
    assert type(S).__name__ == "SitesIntegrated"
    z = torch.randn(3, 2, *lattice, generator=seeded(), dtype=F64)
    testing.require_close(S(z), Pullback(action, f)(z), "S'", 1e-9)
    testing.require_close(S.force(z), Action.force(S, z), "force", 1e-7)
    testing.require_close(S(z.float()).double(), S(z), "S' in float32", 1e-4)
    y, change = S.to_theory(z.float())
    testing.require_close(y.double(), f(z)[0], "fields in float32", 1e-4)
    testing.require_close(action(y) - change, S(z.float()), "S of them", 1e-3)
    other = action.at(beta=0.5).pullback(f)
    assert type(other) is Pullback
    low = transforms.LowModes(action.space, parity=1 - moves, gain=1.3).double()  # J stays in the tables
    chain = action.pullback(fk.Chain(low, f))
    testing.require_close(chain(z), Pullback(action, fk.Chain(low, f))(z), "S' of a chain", 1e-9)
    longer = fk.Chain(transforms.FourierScale(action.space, 0.7).double(), low, f)  # of maps that do not commute
    testing.require_close(action.pullback(longer)(z), Pullback(action, longer)(z), "S' of a longer chain", 1e-9)
    assert type(chain.action).__name__ == "SitesIntegrated"
    assert type(linear_map(chain.transform).inverse_mass) is type(low.scaled(2))  # which the kernel knows


@pytest.mark.parametrize("scale", [1.0, 3.0, 1e3])
def test_the_map_stays_one_behind_its_tables(scale, compiled):
    """Frozen fields of any size: inverse and log-Jacobian are those of the map, in both precisions."""
    action = fk.Phi4(fk.sites((4, 2)), m2=-4.0, lam=8.0)
    f = transforms.SiteConditional(action)
    z = torch.randn(20, 1, 4, 2, generator=seeded(), dtype=F64)
    where = site_conditional.sublattice((4, 2), 1, z.device)
    z.flatten(2)[..., where.frozen] *= scale
    y, logdet = f(z)
    assert scale == 1 or site_conditional.source(z, f.site, where).max() > 2 * f.site.most
    back, minus = f.inverse(y)
    testing.require_close(back, z, "inverse(forward(z))", 1e-9)
    testing.require_close(-minus, logdet, "logdet of the inverse", 1e-9)
    slope = torch.autograd.functional.jacobian(lambda one: f(one[None])[0][0].flatten(), z[0]).view(8, 8)
    testing.require_close(torch.linalg.slogdet(slope)[1], logdet[0], "log|det|", 1e-7)
    single, change = f(z.float())
    testing.require_close(single.double(), y, "fields in float32", 1e-4)
    testing.require_close(change.double(), logdet, "logdet in float32", 1e-3)


def test_no_field_becomes_nan_in_silence(compiled):
    f = transforms.SiteConditional(fk.Phi4(fk.sites((4, 2)), m2=-4.0, lam=8.0))
    for dtype in (F64, torch.float32):
        y = torch.full((1, 1, 4, 2), 2.5, dtype=dtype)
        y.flatten(2)[..., f._split(y)[0].frozen] = 0.0
        with pytest.raises(ValueError, match=r"needs fields that the theory can draw, .* phi = 2\.5 at J = 0"):
            f.inverse(y)
        diverged = torch.full_like(y, math.nan)  # of a trajectory, which is rejected for it
        assert f(diverged)[1].isnan().all()
        assert f.inverse(diverged)[0].isnan().any()


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("lattice", [(4, 6), (8,), (4, 2, 10), (6, 40), (4, 4, 6), (5, 7), (3, 15), (1, 9)])
def test_a_trajectory_in_one_call_is_that_of_its_steps(lattice, dtype, compiled):
    """Plain, with a linear map as an inverse mass matrix, and with sites integrated out; each chain has its step. Rows
    end in all ways in the kernel's vectors, and modes are more and fewer than it takes at once.
    """
    action = theory(lattice, components=2)
    most = 1 if min(lattice) > 2 else 0
    low = transforms.LowModes(action.space, most, gain=1.7).to(dtype)
    modes = transforms.FourierModes(action.space, 0.7).to(dtype)
    scale = transforms.FourierScale(action.space, 0.3).to(dtype)
    theories = [action, *(action.pullback(f) for f in (low, modes, fk.Chain(scale, modes)))]  # which do not commute
    if all(side % 2 == 0 for side in lattice):
        whole = action.pullback(transforms.SiteConditional(action, 1).to(dtype))
        half = transforms.LowModes(action.space, 1 if most and lattice[-1] > 4 else 0, parity=0, gain=1.7).to(dtype)
        mismatch = whole.pullback(transforms.LowModes(action.space, 0, parity=1, gain=1.7).to(dtype))
        theories += [whole, whole.pullback(half), mismatch]
    rng = seeded()
    z, p = (torch.randn(3, 2, *lattice, generator=rng).to(dtype) for _ in range(2))
    step = 0.1 * torch.rand(3, 1, *[1] * len(lattice), generator=rng).to(dtype)
    plan = INTEGRATORS["omelyan"].plan(4, step)
    for S in theories:
        for found, expected in zip(trajectory(S, z, p, plan), step_by_step(S, z, p, plan), strict=True):
            testing.require_close(found, expected, repr(S), 1e-9 if dtype == F64 else 2e-4)
            assert found.dtype == dtype


class Tilted(fk.Phi4Hopping):
    """With a term that the kernels do not know."""

    def __call__(self, x):
        return super().__call__(x) + 0.3 * x.flatten(1).sum(1)

    def force(self, x):
        return super().force(x) - 0.3


def test_a_subclass_with_terms_of_its_own_keeps_them():
    action = Tilted(fk.sites((4, 6)), beta=0.5, lam=0.5)
    f = transforms.SiteConditional(action)
    S = action.pullback(f)
    z, p = (torch.randn(2, 1, 4, 6, generator=seeded(i), dtype=F64) for i in (1, 2))
    y, logdet = f(z)
    testing.require_close(S(z), action(y) - logdet, "S'", 1e-9)
    plan = INTEGRATORS["leapfrog"].plan(5, 0.1)
    for S in (action, action.pullback(transforms.LowModes(action.space).double())):
        for found, expected in zip(trajectory(S, z, p, plan), step_by_step(S, z, p, plan), strict=True):
            testing.require_close(found, expected, repr(S), 1e-9)


@pytest.mark.parametrize("parity", [None, 0])
def test_a_mass_matrix_that_does_not_fit_never_meets_the_kernel(parity):
    """Of another precision or lattice: torch refuses it, the kernel would read behind its end."""
    action = theory((4, 8))
    S = action if parity is None else action.pullback(transforms.SiteConditional(action))
    x, p = (torch.randn(2, 1, 4, 8, generator=seeded(i), dtype=F64) for i in (1, 2))
    for other in (
        transforms.LowModes(action.space, 1, parity),
        transforms.LowModes(fk.sites((4, 6)), 0, parity).double(),
    ):
        with pytest.raises(RuntimeError):
            trajectory(S, x, p, INTEGRATORS["leapfrog"].plan(3, 0.1)._replace(mass=other.scaled(2)))


def test_a_trajectory_keeps_its_gradient():
    x, p = (torch.randn(2, 1, 4, 8, generator=seeded(i), dtype=F64, requires_grad=True) for i in (1, 2))
    action, plan = theory((4, 8)), INTEGRATORS["leapfrog"].plan(3, 0.1)
    found = torch.autograd.grad(trajectory(action, x, p, plan)[0].square().sum(), (x, p))
    expected = torch.autograd.grad(step_by_step(action, x, p, plan)[0].square().sum(), (x, p))
    for one, other in zip(found, expected, strict=True):
        testing.require_close(one, other, "gradient", 1e-12)


@pytest.mark.parametrize("kind", ["plain", "site", "both"])
def test_hmc_is_reversible(kind):
    action = theory((6, 10))
    S = {"plain": action}.get(kind) or action.pullback(transforms.SiteConditional(action))
    S = S.pullback(transforms.LowModes(action.space, 0, parity=0, gain=4.0).double()) if kind == "both" else S
    hmc = fk.HMC(S, 2.0, steps=20, randomise=0.3)
    x, p = (torch.randn(4, 1, 6, 10, generator=seeded(i), dtype=F64) for i in (1, 2))
    h = hmc.step_sizes(p, seeded(3))
    there, q = hmc.trajectory(x, p, h)
    back, minus = hmc.trajectory(there, -q, h)
    testing.require_close(back, x, "x", 1e-10)
    testing.require_close(-minus, p, "p", 1e-10)
    dH = S(there) - S(x) + (q.square() - p.square()).flatten(1).sum(1) / 2
    small, r = hmc.trajectory(x, p, h / 2)
    assert (dH.abs() > 1e-6).all()  # it moves, and half of the step and of the length has less of an error
    assert (S(small) - S(x) + (r.square() - p.square()).flatten(1).sum(1) / 2).abs().mean() < dH.abs().mean()


def test_hmc_of_half_of_the_sites_gives_the_theory():
    """Exact values of a small lattice by its transfer matrix."""
    action = fk.Phi4(fk.sites((2, 4)), m2=-4.0, lam=4.0)
    exact = fk.exact.phi4_transfer_matrix((2, 4), -4.0, 4.0)
    S = action.pullback(transforms.SiteConditional(action))
    S = S.pullback(transforms.LowModes(action.space, parity=0, gain=1.5))
    observed = [fk.phi_squared, fk.susceptibility]
    chain = fk.run(fk.HMC(S, randomise=0.3), 400, chains=128, thermalise=100, rng=5, observe=observed, keep=False)
    for o in observed:
        mean, truth = chain.mean(o), getattr(exact, o.name)
        assert abs(mean.value - truth) < 4 * mean.error, (o.name, mean, truth)
        assert mean.error < 0.02 * truth


def test_low_modes_are_those_of_the_fourier_transform():
    """Gains of a free field's modes follow its propagator; the others stay as they are."""
    space = fk.sites((6, 8))
    x = fk.FreeField(space, m2=0.05).double().sample(20_000, seeded())
    low = transforms.LowModes(space, 1).double().fit(x, 0.9)
    k = torch.arange(2)
    p2 = 4 * torch.sin(math.pi * k / 6)[:, None] ** 2 + 4 * torch.sin(math.pi * k / 8) ** 2
    gains = (0.9 / (2 * (p2 + 0.05)).sqrt()).clamp(min=1)  # S = sum_p (p^2 + m2) |phi_p|^2
    testing.require_close(low.log_gain.exp().detach(), gains.double(), "gains", 0.03)
    z = torch.randn(2, 1, 6, 8, generator=seeded(), dtype=F64)
    ratio = (torch.fft.fft2(low(z)[0]) / torch.fft.fft2(z)).detach()
    own = torch.ones(6, 8, dtype=F64)
    own[[[0], [1], [-1]], [0, 1, -1]] = low.log_gain.exp().detach()[[[0], [1], [1]], [0, 1, 1]]
    testing.require_close(ratio.real, own.expand_as(ratio), "gain of each mode", 1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: transforms.SiteConditional(example(fk.Wilson)),
            "SiteConditional needs action, of class ScalarAction; got Wilson",
        ),
        (
            lambda: transforms.SiteConditional(theory((4, 4)), 2),
            "needs moves, a whole number in .0, 1.; got 2",
        ),
        (lambda: transforms.SiteConditional(theory((4, 5))), "A checkerboard needs even lattice sides"),
        (lambda: site(0.6, -9.0, 5.0, 2), "do not hold for h=0.6, a=-9.0 and g=5.0: its two wells"),
        (lambda: site(2.0, 4.01, 0.0, 2), "do not hold for h=2.0, a=4.01 and g=0.0: .* nearly massless"),
        (lambda: site(1.0, 1.0, 0.0, 2), "A site given its neighbours needs g > 0 or a > 2"),
        (lambda: transforms.LowModes(fk.sites((4, 4)), 2), "LowModes on 4x4 places needs 0 <= 2 most < sides; got 2"),
        (lambda: transforms.LowModes(fk.sites((4, 4)), 1, parity=0), "LowModes on 4x2 places needs"),
        (
            lambda: transforms.LowModes(fk.sites((4, 5)), 0, parity=0),
            "LowModes acts on sites and, for one parity of them, needs even sides",
        ),
    ],
)
def test_bad_input_gets_a_sentence(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_the_sites_of_a_parity():
    where = site_conditional.sublattice((2, 4), 1, torch.device("cpu"))
    assert where.active.tolist() == [1, 3, 4, 6]
    assert where.frozen.tolist() == [0, 2, 5, 7]
    assert where.first.tolist() == [1, 0]


def test_maps_show_what_they_do():
    action = fk.Phi4Hopping(fk.sites((8, 8)), beta=0.6, lam=0.5)
    assert repr(transforms.SiteConditional(action)) == f"SiteConditional({action!r}, moves=1)"
    low = transforms.LowModes(action.space, most=1, parity=0, gain=2.0)
    assert repr(low) == "LowModes(most=1, parity=0, all gains 2)"
    with torch.no_grad():
        low.log_gain[0, 0] = math.log(4.5)
    assert repr(low) == "LowModes(most=1, parity=0, gains 2 to 4.5)"

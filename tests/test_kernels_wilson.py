"""Links with Wilson's action in C: random numbers, laws, sweeps and plaquettes against torch and exact values."""

import math

import pytest
import torch
from scipy import stats as scipy_stats
from torch.autograd import forward_ad

import flowkit as fk
from flowkit import kernels, testing
from flowkit.kernels import wilson
from flowkit.kernels.heat import heat_cdf
from flowkit.kernels.native import call
from flowkit.samplers.heatbath import Heatbath
from flowkit.samplers.integrators import INTEGRATORS, step_by_step, trajectory

F32, F64 = torch.float32, torch.float64
NAMES = {"wilson_u1": fk.U1(), "wilson_su2": fk.SUN(2), "wilson_su3": fk.SUN(3)}
GROUPS = list(NAMES.values())
LATTICES = [(4, 6), (2, 3), (3, 4, 2), (2, 4, 3, 2)]
REFUSE = 1e-4  # the least p-value of a test with a fixed seed

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(autouse=True)
def compiled():
    before = kernels.set_compile("c")
    if not wilson.native("wilson_u1", torch.zeros(1)):
        pytest.skip("no compiler is installed")
    yield
    kernels.set_compile(before)


def drawn(name, kappa, key=1):
    """Uniform numbers [n, 4], cosines and sines of angles for each kappa."""
    found = [kappa.new_empty(len(kappa), 4), torch.empty_like(kappa), torch.empty_like(kappa)]
    call(name, "angles", kappa.dtype, kappa, *found, torch.tensor([key]), len(kappa))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_random_numbers_are_those_of_philox(name):
    """Philox 4x32-10 of counter 0 and key 0, as published; 23 or 52 of the bits, in the middle of a step."""
    words = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    single = [((w >> 9) + 0.5) / 2**23 for w in words]
    assert drawn(name, torch.ones(1, dtype=F32), 0)[0][0].tolist() == single
    double = [(((a << 20) | (b >> 12)) + 0.5) / 2**52 for a, b in (words[:2], words[2:])]
    assert drawn(name, torch.ones(1), 0)[0][0, :2].tolist() == double


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", NAMES)
def test_random_numbers_are_uniform_and_independent(name, dtype):
    u = torch.cat([drawn(name, torch.ones(5000, dtype=dtype), key)[0] for key in (1, 2, 2**40 + 1)], 1).double()
    assert ((u > 0) & (u < 1)).all()
    assert scipy_stats.kstest(u.flatten().numpy(), "uniform").pvalue > REFUSE
    correlations = torch.corrcoef(torch.cat([u[1:], u[:-1]], 1).T)
    assert (correlations - torch.eye(24)).abs().max() < 5 / math.sqrt(len(u))


@pytest.mark.parametrize("kappa", [0.0, 1e-3, 0.3, 1.29, 1.31, 1.5, 4.0, 30.0, 1e4])
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", NAMES)
def test_angles_have_their_law(name, dtype, kappa):
    _, cosine, sine = drawn(name, torch.full((20_000,), kappa, dtype=dtype))
    assert (cosine.square() + sine.square() - 1).abs().max() < 10 * torch.finfo(dtype).eps
    angle = torch.atan2(sine.double(), cosine.double())
    u = heat_cdf(angle.abs(), kappa, 0 if name == "wilson_u1" else 2)
    assert scipy_stats.kstest(u.numpy(), "uniform").pvalue > REFUSE
    up = float((angle > 0).double().mean())
    assert up == 1 if name != "wilson_u1" else abs(up - 0.5) < 4 * 0.5 / math.sqrt(len(u))


@pytest.mark.parametrize("name", NAMES)
def test_an_angle_of_no_law_is_no_number(name):
    cosine = drawn(name, torch.tensor([1.0, math.nan, math.inf, 2.0]))[1]
    assert cosine.isnan().tolist() == [False, True, True, False]


# ---------------------------------------------------------------- sweeps


def bath_on(lattice, group, beta=2.3):
    return Heatbath(fk.Wilson(fk.links(lattice, group), beta), 1)


def swept(bath, x, heatbath, overrelaxation, seed=3):
    y = x.clone()
    table = wilson.link_table(tuple(bath.parts))
    wilson.sweeps(bath.space.group.wilson_kernel, y, table, bath.beta, heatbath, overrelaxation, testing.seeded(seed))
    return y


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("lattice", LATTICES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_overrelaxation_is_that_of_torch_and_keeps_the_action(group, lattice, dtype):
    """Where staples are not small: rounding is divided by their sum."""
    bath, G = bath_on(lattice, group, 6.0 * group.dimension), group
    x = swept(bath, bath.space.haar(5, testing.seeded(), dtype), 5, 0)
    links = x.clone().view(5, -1, *G.matrix_shape)
    for part in bath.parts:
        links[:, part.active] = bath.reflect(links[:, part.active], bath.staple_sum(links, part))
    y, eps = swept(bath, x, 0, 1), torch.finfo(dtype).eps
    assert G.tangent(G.compose(y, G.inverse(links.view(x.shape)))).abs().max() < 1e3 * eps
    assert (y - x).abs().mean() > 0.1
    S = bath.action(x)
    assert (bath.action(y) - S).abs().max() < 30 * eps * S.abs().max()
    assert G.defect(y).max() < 20 * eps


def law_of_last(bath, y):
    """For links of the sublattice that was drawn last their angles in the last subgroup and kappa, as the heatbath of
    Cabibbo and Marinari draws them given all else.
    """
    G, part = bath.space.group, bath.parts[-1]
    links = y.view(len(y), -1, *G.matrix_shape)
    V, A = links[:, part.active], bath.staple_sum(links, part)
    if not G.complex:
        return (V - A.angle()).cos().acos().flatten(), bath.beta * A.abs().flatten()
    w = V @ A.mH
    p = (w[..., -2, -2] + w[..., -1, -1].conj()) / 2
    q = (w[..., -2, -1] - w[..., -1, -2].conj()) / 2
    length = (p.abs().square() + q.abs().square()).sqrt()
    return (p.real / length).clamp(-1, 1).acos().flatten(), (2 * bath.beta / G.dimension * length).flatten()


@pytest.mark.parametrize("beta", [0.4, 2.0, 12.0])
@pytest.mark.parametrize("lattice", LATTICES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_link_is_drawn_from_its_conditional_law(group, lattice, beta):
    """The distribution function of its law, at what was drawn, is uniform."""
    bath = bath_on(lattice, group, beta)
    y = swept(bath, bath.space.haar(300, testing.seeded()), 1, 0)
    angle, kappa = law_of_last(bath, y)
    assert scipy_stats.kstest(heat_cdf(angle, kappa, 2 if group.complex else 0).numpy(), "uniform").pvalue > REFUSE


@pytest.mark.parametrize(("lattice", "beta"), [((4, 4, 2), 1.0), ((3, 2, 2, 2), 1.2)], ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_plaquette_is_that_of_torch(group, lattice, beta):
    """From a hot and a cold start, with a chain of the eager sweeps."""
    bath = Heatbath(fk.Wilson(fk.links(lattice, group), beta * group.dimension))
    settings = {"chains": 40, "thermalise": 20, "observe": [fk.plaquette], "keep": False}
    with kernels.without(group.wilson_kernel):
        theirs = fk.run(bath, 32, **settings, rng=2).mean("plaquette")
    for hot in (True, False):
        ours = fk.run(bath, 100, **settings, rng=1, start=bath.start(40, 5, hot=hot)).mean("plaquette")
        assert abs(ours.value - theirs.value) < 4.5 * math.hypot(ours.error, theirs.error)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_chains_and_threads_change_nothing(group):
    bath = bath_on((6, 3, 4), group)
    x = bath.space.haar(37, testing.seeded())  # some in full lanes, where each is a chain, and some in the rest
    whole, S, force = swept(bath, x, 2, 1), bath.action(x), bath.action.force(x)
    for few in (1, 9, 35):
        assert torch.equal(swept(bath, x[:few], 2, 1), whole[:few])
        assert torch.equal(bath.action(x[:few]), S[:few])
        assert torch.equal(bath.action.force(x[-few:]), force[-few:])
    assert not torch.equal(swept(bath, x, 2, 1, seed=4), whole)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            assert torch.equal(swept(bath, x, 2, 1), whole)
    finally:
        torch.set_num_threads(before)


def test_a_group_of_ones_own_runs_through_torch():
    class Other(fk.SUN):
        """May draw its links in another way."""

    assert Other(3).wilson_kernel is None
    assert fk.SUN(4).wilson_kernel is None


# ---------------------------------------------------------------- plaquettes


@pytest.mark.parametrize("lattice", [*LATTICES, (1, 4), (1, 1), (8, 8)], ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_action_is_that_of_torch(group, lattice):
    action = fk.Wilson(fk.links(lattice, group), 1.7)
    x = action.space.haar(3, testing.seeded())
    with kernels.without(group.wilson_kernel):
        slow = action(x)
    assert (action(x) - slow).abs().max() < 1e-13 * action.space.volume * len(action.space.planes)
    assert torch.equal(action(x[1:2]), action(x)[1:2])
    assert action(x[:0]).shape == (0,)
    single = action(x.to(torch.complex64 if group.complex else F32))
    assert single.dtype == F32
    assert (single - slow).abs().max() < 1e-5 * action.space.volume
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)  # not contiguous
    assert torch.equal(action(turned), action(x))


# ---------------------------------------------------------------- forces


@pytest.mark.parametrize("lattice", [*LATTICES, (1, 4), (8, 8)], ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_force_is_that_of_torch_and_the_slope_of_the_action(group, lattice):
    action, G, h = fk.Wilson(fk.links(lattice, group), 1.7), group, 1e-5
    x = action.space.haar(3, testing.seeded())
    force = action.force(x)
    with kernels.without(group.wilson_kernel):
        assert (force - action.force(x)).abs().max() < 1e-12
    single = action.force(x.to(torch.complex64 if group.complex else F32))
    assert single.dtype == F32
    assert (single - force).abs().max() < 1e-4
    w = torch.randn(force.shape, generator=testing.seeded(2))
    ahead, behind = (action(G.compose(G.exp(s * h * w), x)) for s in (1, -1))
    slope = -(force * w).flatten(1).sum(1)
    assert ((ahead - behind) / (2 * h) - slope).abs().max() < 1e-7 * (1 + slope.abs().max())


def test_derivatives_of_every_kind_run_through_torch():
    """Forward mode, maps over the batch, and second derivatives, which C does not know."""
    action, h = fk.Wilson(fk.links((2, 3), fk.U1()), 1.7), 1e-4
    x = action.space.haar(3, testing.seeded())
    w = torch.randn(x.shape, generator=testing.seeded(2))
    slope = -(action.force(x) * w).flatten(1).sum(1)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(action(forward_ad.make_dual(x, w)))
        assert (dual.tangent - slope).abs().max() < 1e-12
    mapped = torch.func.vmap(lambda one: action(one[None])[0])(x)
    assert (mapped - action(x)).abs().max() < 1e-12
    second = -torch.func.jvp(action.force, (x,), (w,))[1]
    numeric = (action.force(x - h * w) - action.force(x + h * w)) / (2 * h)
    assert (second - numeric).abs().max() < 1e-6


# ---------------------------------------------------------------- trajectories of U(1)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("chains", [1, 3, 17])
@pytest.mark.parametrize("lattice", [*LATTICES, (1, 4)], ids=str)
def test_a_trajectory_is_that_of_torch(lattice, chains, dtype):
    """Also step by step through wrapped angles, with a step of its own for each chain; and back."""
    action, rng = fk.Wilson(fk.links(lattice, fk.U1()), 1.7), testing.seeded()
    x = action.space.haar(chains, rng, dtype)
    p = torch.randn(x.shape, generator=rng, dtype=dtype)
    h = 0.02 * (1 + torch.rand(chains, *[1] * (x.dim() - 1), generator=rng, dtype=dtype))
    plan = INTEGRATORS["omelyan"].plan(12, h)
    y, q = trajectory(action, x, p, plan)
    close = 500 * torch.finfo(dtype).eps
    back, minus = trajectory(action, y, -q, plan)
    assert (y.abs() <= math.pi).all()
    ways = [step_by_step(action, x, p, plan)]
    with kernels.without("wilson_u1"):
        ways.append(trajectory(action, x, p, plan))
    for z, r in ways:
        assert fk.U1().compose(z, -y).abs().max() < close
        assert (r - q).abs().max() < close
    assert fk.U1().compose(back, -x).abs().max() < close
    assert (minus + p).abs().max() < close


def test_angles_come_back_in_one_period_after_a_long_trajectory():
    action = fk.Wilson(fk.links((4, 4), fk.U1()), 0.1)
    x = action.space.haar(5, testing.seeded())
    p = 30 * torch.randn(x.shape, generator=testing.seeded(2))
    plan = INTEGRATORS["leapfrog"].plan(200, 0.05)
    y, q = trajectory(action, x, p, plan)
    z, r = step_by_step(action, x, p, plan)
    assert (y.abs() <= math.pi).all()
    assert fk.U1().compose(z, -y).abs().max() < 1e-9
    assert (r - q).abs().max() < 1e-9


def test_an_action_with_another_force_is_followed_by_its_own():
    class Doubled(fk.Wilson):
        def __call__(self, x):
            return 2 * super().__call__(x)

        def force(self, x):
            return 2 * super().force(x)

    space, plan = fk.links((4, 4), fk.U1()), INTEGRATORS["leapfrog"].plan(5, 0.1)
    x = space.haar(3, testing.seeded())
    p = torch.randn(x.shape, generator=testing.seeded(2))
    for one, other in zip(
        trajectory(Doubled(space, 1.0), x, p, plan), trajectory(fk.Wilson(space, 2.0), x, p, plan), strict=True
    ):
        assert (one - other).abs().max() < 1e-13


@pytest.mark.slow
def test_the_quick_figure_has_its_plaquettes_right():
    from flowkit.studies.kernels_4d import kernels_4d

    pulls = [row for row in kernels_4d(quick=True) if "plaquette" in row["label"]]
    assert len(pulls) == 6
    assert all(row["reached"] for row in pulls), pulls

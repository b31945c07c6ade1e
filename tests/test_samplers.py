"""Samplers, from exact starts.

Every `check_*` raises AssertionError where a kernel is wrong, and test_planted_bugs.py proves that it does.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from torch import Tensor

from flowkit import kernels
from flowkit.actions import Action, MatrixModel, Phi4, Phi4Hopping, Phi4Kappa, Wilson
from flowkit.geometry import loops
from flowkit.geometry.space import links, sites
from flowkit.groups import SUN, U1, subgroups, u1
from flowkit.priors import FreeField, Haar, Normal
from flowkit.samplers import HMC, Heatbath, IndependenceMetropolis, Sampler, State, thermalised
from flowkit.samplers.heatbath import one_plaquette
from flowkit.samplers.sublattices import Sublattice, sublattices
from flowkit.testing import example

KERNELS = ("su2", "su3", "wilson_u1", "wilson_su2", "wilson_su3")
REFUSE = 1e-4  # a test of this many fixed seeds should never meet this p-value by chance; a bug is far below it


pytestmark = pytest.mark.usefixtures("double")


def seed(n: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(n)


# ---------------------------------------------------------------- exact draws by other means


def rejection(action: Action, propose, log_bound: float, n: int, rng: torch.Generator) -> Tensor:
    """n exact draws from exp(-S): fields y of density q(y), kept with probability exp(-S(y) - log q(y) - log_bound)."""
    kept, count = [], 0
    while count < n:
        y, logq = propose(20_000, rng)
        log_ratio = -action(y) - logq - log_bound
        assert log_ratio.max() <= 1e-9, "the bound is none"
        fits = torch.rand(len(y), generator=rng).log() < log_ratio
        kept.append(y[fits])
        count += int(fits.sum())
    return torch.cat(kept)[:n]


def exact_draws(action: Action, n: int, rng: torch.Generator) -> Tensor:
    """n independent fields from exp(-S)/Z, from Haar links, or for scalars from a free field."""
    space = action.space
    if space.kind == "links":
        haar = Haar(space)
        bound = action.beta * len(space.planes) * space.volume
        return rejection(action, lambda m, r: haar.sample_and_log_prob(m, r), bound, n, rng)
    plain, scale = action.convert(Phi4)  # S(phi) = S_plain(scale phi) + constant
    free = FreeField(space, m2=0.5)
    if plain.lam == 0:
        return FreeField(space, m2=plain.m2).sample(n, rng) / scale
    # S_plain - S_free = sum lam phi^4 + (m2 - 1/2) phi^2 >= -(m2 - 1/2)^2 V / 4 lam
    bound = (plain.m2 - 0.5) ** 2 * space.dof / (4 * plain.lam) + float(Phi4(space, 0.5, 0.0).log_z())
    return rejection(plain, lambda m, r: free.sample_and_log_prob(m, r), bound, n, rng) / scale


def exact_u1(beta: float, n: int, rng: torch.Generator, lattice=(4, 6)) -> Tensor:
    """n exact U(1) fields in 2D at any beta: V - 1 independent plaquettes, the last one fixed by their product and
    accepted with exp(beta (cos - 1)); then links with those plaquettes, uniform holonomies and a random gauge.
    """
    space = links(lattice, U1())
    volume, kept = space.volume, []
    while sum(map(len, kept)) < n:
        theta = torch.from_numpy(
            np.random.default_rng(int(torch.randint(2**31, (), generator=rng))).vonmises(0, beta, (4 * n, volume - 1))
        )
        last = -theta.sum(1)
        fits = torch.rand(len(last), generator=rng).log() < beta * (last.cos() - 1)
        kept.append(torch.cat([theta, last[:, None]], 1)[fits])
    P = torch.cat(kept)[:n].view(n, *lattice)
    x = torch.zeros(n, *space.shape)
    # Direction-1 links climb by the plaquettes of their row; the rows' totals go to the direction-0 links of column 0.
    x[:, 1, 1:] = P[:, :-1].cumsum(1)
    x[:, 0, -1, :] = -(P.sum(1).cumsum(1) - P.sum(1))
    x[:, 0, 0, :] += 2 * math.pi * torch.rand(n, 1, generator=rng)
    x[:, 1, :, 0] += 2 * math.pi * torch.rand(n, 1, generator=rng)
    assert space.group.wrap(loops.plaquette(space, x, 0, 1)[:, 0] - P).abs().max() < 1e-9
    g = 2 * math.pi * torch.rand(n, 1, *lattice, generator=rng)
    return loops.gauge_transform(space, x, g)


# ---------------------------------------------------------------- checks


def p_value(a: Tensor, b: Tensor) -> float:
    return float(scipy_stats.ks_2samp(a.numpy(), b.numpy()).pvalue)


def check_stationary(sampler: Sampler, start: Tensor, fresh: Tensor, steps: int = 3) -> None:
    """From exact draws a kernel leads to exact draws: S and a product of neighbours, against fresh exact draws."""
    rng, state = seed(7), sampler.init(start)
    for _ in range(steps):
        state, _ = sampler.step(state, rng)
    moved = float((state.x != start).flatten(1).any(1).double().mean())
    assert moved > 0.1, f"{sampler} moved {moved:.1%} of its chains: that shows nothing"
    values = [(state.S, sampler.action(fresh))]
    G = sampler.space.group
    if sampler.space.kind == "links":
        values.append((G.trace(state.x)[:, 0].flatten(1).sum(1), G.trace(fresh)[:, 0].flatten(1).sum(1)))
    else:
        values.append((state.x.flatten(1).sum(1), fresh.flatten(1).sum(1)))
    worst = min(p_value(a, b) for a, b in values)
    assert worst > REFUSE, f"{sampler} does not keep its distribution: p = {worst:.2g}"


def check_state(sampler: Sampler, start: Tensor, steps: int = 3) -> None:
    """The state's numbers belong to its fields, and its fields to the space and the group."""
    rng, state = seed(8), sampler.init(start)
    for _ in range(steps):
        state, info = sampler.step(state, rng)
        assert info["accept"].shape == info["invalid"].shape == (len(start),)
        assert info["accept"].dtype == info["invalid"].dtype == torch.bool
    assert (state.S - sampler.action(state.x)).abs().max() < 1e-9
    if state.logq is not None:
        assert (state.logq - sampler.flow.log_prob(state.x)).abs().max() < 1e-9
    sampler.space.check(state.x)
    defect = sampler.space.group.defect(state.x).max()
    assert defect < 1e-10, f"fields are off the group by {defect:.2g}"


def check_randomness(sampler: Sampler, one: Tensor) -> None:
    """Chains with the same start part, no two steps use the same numbers, and a seed fixes everything."""
    start = one[:1].expand(8, *one.shape[1:]).clone()

    def differences(s: int) -> Tensor:
        rng, state, path = seed(s), sampler.init(start), []
        for _ in range(3):
            # Every step starts from the same fields: two steps can only agree if their random numbers do.
            path.append(sampler.step(state, rng)[0].x)
        return torch.cat(path).flatten(1)

    paths = differences(3)
    distance = (paths[:, None] - paths).abs().amax(2) + torch.eye(len(paths))
    moved = (paths - start[:1].flatten(1)).abs().amax(1) > 0
    assert moved.any()
    assert (distance[moved][:, moved] > 1e-6).all(), "two chains or two steps share their random numbers"
    assert torch.equal(paths, differences(3))
    assert not torch.equal(paths, differences(4))


def check_chains_decide_alone(sampler: Sampler, start: Tensor) -> None:
    """With acceptance well inside (0, 1), a batch holds accepted and rejected chains."""
    _, info = sampler.step(sampler.init(start), seed(5))
    assert 0.02 < info["accept"].double().mean() < 0.98


def check_reversible(hmc: HMC, x: Tensor) -> None:
    """(x', -p') leads back to (x, -p) to 1e-9 in float64."""
    p = hmc.momenta(x, seed(2))
    there, p_there = hmc.trajectory(x, p)
    back, p_back = hmc.trajectory(there, -p_there)
    G = hmc.space.group
    apart = G.compose(back, G.inverse(x)) - G.identity((), x)
    assert (there - x).abs().max() > 1e-2, "the trajectory goes nowhere"
    assert apart.abs().max() < 1e-9, f"the trajectory ends {apart.abs().max():.2g} from its start"
    assert (p_back + p).abs().max() < 1e-9


def check_energy_scaling(hmc: HMC, x: Tensor) -> None:
    """Both integrators are of second order: half the step, a quarter of dH."""
    p, errors = hmc.momenta(x, seed(2)), []
    for steps in (32, 64):
        fine = HMC(hmc.action, hmc.length, steps=steps, integrator=hmc.integrator)
        end, p_end = fine.trajectory(x, p)
        dH = fine.action(end) - fine.action(x) + fine.kinetic(p_end) - fine.kinetic(p)
        errors.append(float(dH.square().mean().sqrt()))
    order = math.log2(errors[0] / errors[1])
    assert abs(order - 2) < 0.15, f"dH falls like h^{order:.2f}"


def check_exp_dh(hmc: HMC, start: Tensor) -> None:
    """<exp(-dH)> = 1 in equilibrium (area preservation), with a step so coarse that dH matters."""
    _, info = hmc.step(hmc.init(start), seed(6))
    weight = (-info["dH"]).exp()
    pull = float((weight.mean() - 1) / (weight.std() / math.sqrt(len(weight))))
    assert info["dH"].abs().mean() > 0.02, "the step is too fine to test anything"
    assert abs(pull) < 4, f"<exp(-dH)> = {weight.mean():.4f}, {pull:.1f} errors from 1"


def check_force(action: Action, x: Tensor) -> None:
    """F = -dS(exp(w) x)/dw against central differences in random directions."""
    G, step = action.space.group, 1e-4
    w = torch.randn(G.algebra_shape(x.shape), generator=seed(4))
    ahead, behind = (action(G.compose(G.exp(s * step * w), x)) for s in (1, -1))
    numeric = (behind - ahead) / (2 * step)
    given = (action.force(x) * w).flatten(1).sum(1)
    assert (numeric - given).abs().max() < 1e-5 * (1 + numeric.abs().max())


def check_staples(bath: Heatbath, x: Tensor) -> None:
    """Every link is in one sublattice. Within one, S is the sum of -(beta/N) Re Tr V A^dagger over its links, also
    after all of them have moved at once: no two share a plaquette. And A is the sum of the staples.
    """
    space, G = bath.space, bath.space.group
    flat = x.reshape(len(x), -1, *G.matrix_shape)
    total = space.components * space.volume
    assert torch.cat([part.active for part in bath.parts]).sort().values.equal(torch.arange(total))
    reference = torch.cat(
        [sum(torch.polar(s.abs() * 0 + 1, s) if not G.complex else s for s in loops.staple_list(space, x, mu))
         for mu in range(space.ndim)], 1,
    ).reshape(len(x), total, *G.matrix_shape)  # fmt: skip
    fresh = space.haar(len(x), seed(9)).reshape(flat.shape)
    for part in bath.parts:
        A = bath.staple_sum(flat, part)
        assert (A - reference[:, part.active]).abs().max() < 1e-12

        def local(V: Tensor, A: Tensor = A) -> Tensor:
            if not G.complex:
                return -bath.beta * (A.abs() * (V - A.angle()).cos()).sum(1)
            return -bath.beta * G.trace(V @ A.mH).sum(1)

        moved = flat.clone()
        moved[:, part.active] = fresh[:, part.active]
        change = bath.action(moved.view(x.shape)) - bath.action(x)
        predicted = local(moved[:, part.active]) - local(flat[:, part.active])
        assert (change - predicted).abs().max() < 1e-9


def check_reflection(bath: Heatbath, x: Tensor) -> None:
    """Overrelaxation moves every link far, keeps S, and for U(1) and SU(2) undoes itself."""
    flat = x.reshape(len(x), -1, *bath.space.group.matrix_shape)
    for part in bath.parts:
        V, A = flat[:, part.active], bath.staple_sum(flat, part)
        once = bath.reflect(V, A)
        moved = flat.clone()
        moved[:, part.active] = once
        assert (bath.action(moved.view(x.shape)) - bath.action(x)).abs().max() < 1e-9
        assert (once - V).abs().mean() > 0.1
        if bath.space.group.name in ("U1", "SU2"):
            assert (bath.space.group.compose(bath.reflect(once, A), bath.space.group.inverse(V))
                    - bath.space.group.identity((), x)).abs().max() < 1e-7  # fmt: skip


def fisher_cdf(kappa: float, m: int):
    """CDF of 1 - c with density ~ (c' (2 - c'))^((m-3)/2) exp(-kappa c'), c' = 1 - c, by quadrature in the angle."""
    psi = np.linspace(0, min(math.pi, 12 / math.sqrt(kappa)), 200_001)
    density = np.sin(psi) ** (m - 2) * np.exp(kappa * (np.cos(psi) - 1))
    cdf = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return lambda d: np.interp(np.arccos(1 - np.asarray(d)), psi, cdf / cdf[-1])


def check_fisher(kappa: float, m: int, dtype: torch.dtype = torch.float64) -> None:
    """Draws against their exact distribution, Kolmogorov-Smirnov, at small and large kappa."""
    rng, k = seed(11), torch.full((40_000,), kappa, dtype=dtype)
    if m == 2:
        angle = u1.von_mises(k, rng)
        assert angle.dtype == dtype
        assert abs(float((angle > 0).double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(len(k))
        d = 2 * (angle.double() / 2).sin().square()
    else:
        a, b = subgroups.su2_element(k, rng)
        assert a.real.dtype == dtype
        assert (a.abs().square() + b.abs().square() - 1).abs().max() < 10 * torch.finfo(dtype).eps
        d = 1 - a.real.double()
        # The rest of the element points in every direction alike.
        z = (a.imag / (a.imag.square() + b.abs().square()).sqrt()).double().numpy()
        phase = b.angle().double().numpy()
        assert scipy_stats.kstest(z, scipy_stats.uniform(-1, 2).cdf).pvalue > REFUSE
        assert scipy_stats.kstest(phase, scipy_stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > REFUSE
    p = scipy_stats.kstest(d.numpy(), fisher_cdf(kappa, m)).pvalue
    assert p > REFUSE, f"kappa = {kappa}, m = {m}: p = {p:.2g}"


def check_invalid(sampler: Sampler, start: Tensor) -> None:
    """A proposal without a finite weight is counted and never accepted."""
    rng, state, count = seed(12), sampler.init(start), 0
    for _ in range(5):
        state, info = sampler.step(state, rng)
        assert not (info["accept"] & info["invalid"]).any()
        assert state.x.isfinite().all()
        assert state.S.isfinite().all()
        count += int(info["invalid"].sum())
    assert count > 0


class Walled(Action):
    """phi^2 / 2 inside |phi| < 1, and no number at all outside."""

    def __init__(self, space, outside: float = math.nan):
        super().__init__(space)
        self.outside = outside

    def __call__(self, x):
        S = x.square().flatten(1).sum(1) / 2
        return torch.where(x.abs().flatten(1).amax(1) < 1, S, self.outside)

    def force(self, x):
        return -x


# ---------------------------------------------------------------- cases

SCALARS = {
    "Phi4": Phi4(sites((2, 3)), m2=-0.5, lam=0.7),
    "Phi4Hopping": Phi4Hopping(sites((3, 2)), beta=0.4, lam=0.5),
    "Phi4Kappa": Phi4Kappa(sites((2, 3), components=2), kappa=1.0, m_sq=0.8, lam=0.3),
    "free": Phi4(sites((4, 6)), m2=0.6, lam=0.0),
}
GAUGE = {
    "U1": Wilson(links((2, 2), U1()), beta=1.2),
    "SU2": Wilson(links((2, 2), SUN(2)), beta=1.0),
    "SU3": Wilson(links((2, 2), SUN(3)), beta=0.7),
}
THEORIES = {**SCALARS, **GAUGE}
COARSE = {"leapfrog": 2, "omelyan": 1}
_draws: dict[str, tuple[Tensor, Tensor]] = {}


def starts(name: str, n: int = 4000) -> tuple[Tensor, Tensor]:
    """Two independent sets of n exact draws."""
    if name not in _draws:
        x = exact_draws(THEORIES[name], 2 * n, seed(21))
        _draws[name] = x[:n], x[n:]
    return _draws[name]


def coarse(name: str, integrator: str = "leapfrog") -> HMC:
    """A step so coarse that the accept decision matters, not so coarse that exp(-dH) has no variance."""
    lengths = {"Phi4": 0.5, "Phi4Hopping": 0.6, "Phi4Kappa": 0.6, "free": 0.5, "U1": 1.0}
    steps = COARSE[integrator]
    return HMC(THEORIES[name], lengths.get(name, 1.8), steps=steps, integrator=integrator, randomise=0.0)


@pytest.mark.parametrize("integrator", ["leapfrog", "omelyan"])
@pytest.mark.parametrize("name", THEORIES)
def test_hmc_integrates_reversibly_at_second_order(name, integrator):
    x = starts(name)[0][:16]
    hmc = HMC(THEORIES[name], length=1.0, steps=7, integrator=integrator)
    check_reversible(hmc, x)
    check_energy_scaling(hmc, x)


@pytest.mark.parametrize("integrator", ["leapfrog", "omelyan"])
@pytest.mark.parametrize("name", THEORIES)
def test_hmc_keeps_its_distribution(name, integrator):
    start, fresh = starts(name)
    hmc = coarse(name, integrator)
    check_exp_dh(hmc, start)
    check_stationary(hmc, start, fresh)
    check_chains_decide_alone(hmc, start)
    check_state(hmc, start[:50])
    check_randomness(hmc, start)


@pytest.mark.parametrize("name", THEORIES)
def test_forces_agree_with_finite_differences(name):
    check_force(THEORIES[name], starts(name)[0][:8])


@pytest.mark.parametrize("name", ["free", "U1", "SU2"])
def test_hmc_with_a_randomised_step_size_keeps_its_distribution(name):
    start, fresh = starts(name)
    plain = coarse(name)
    hmc = HMC(plain.action, plain.length, steps=plain.steps, randomise=0.4)
    check_exp_dh(hmc, start)
    check_stationary(hmc, start, fresh)
    check_state(hmc, start[:50])
    check_randomness(hmc, start)
    p, h = hmc.momenta(start, seed(2)), hmc.step_sizes(start.real, seed(3))
    assert h.shape == (len(start), *[1] * (start.dim() - 1))  # every chain has its own
    assert 0.6 * hmc.step_size <= h.min() < 0.61 * hmc.step_size
    assert 1.39 * hmc.step_size < h.max() <= 1.4 * hmc.step_size
    there, p_there = hmc.trajectory(start[:50], p[:50], h := hmc.step_sizes(p[:50], seed(3)))
    back, p_back = hmc.trajectory(there, -p_there, h)
    G = hmc.space.group
    assert (G.compose(back, G.inverse(start[:50])) - G.identity((), start)).abs().max() < 1e-9
    assert (p_back + p[:50]).abs().max() < 1e-9
    assert hmc.step_size == plain.step_size
    assert plain.step_sizes(p, seed()) == plain.step_size


def test_another_length_at_the_same_step_size():
    hmc = HMC(THEORIES["U1"], 1.0, steps=5, integrator="omelyan", target=0.7, randomise=0.1)
    other = hmc.of_length(2.0)
    assert other.describe() == {**hmc.describe(), "length": 2.0, "steps": 10, "forces_per_trajectory": 20}
    assert other.target == 0.7
    assert hmc.of_length(0.1).steps == 1


def test_hmc_on_a_pullback_samples_the_same_theory():
    action = THEORIES["free"]

    def sinh(z):
        return z.sinh(), z.cosh().log().flatten(1).sum(1)

    start, fresh = (x.asinh() for x in starts("free"))
    hmc = HMC(action.pullback(sinh), 0.6, steps=2)
    check_stationary(hmc, start, fresh)
    check_force(hmc.action, start[:8])


@pytest.mark.parametrize("name", GAUGE)
@pytest.mark.parametrize("overrelaxation", [0, 2])
@pytest.mark.parametrize("without", [(), KERNELS], ids=["C", "torch"])
def test_heatbath_keeps_its_distribution(name, overrelaxation, without):
    start, fresh = starts(name)
    bath = Heatbath(THEORIES[name], overrelaxation)
    with kernels.without(*without):
        check_stationary(bath, start, fresh)
        check_state(bath, start[:50])
        check_randomness(bath, start)


@pytest.mark.parametrize("beta", [0.3, 6.0])
def test_u1_samplers_keep_their_distribution_on_a_larger_lattice(beta):
    x = exact_u1(beta, 4000, seed(22))
    action = Wilson(links((4, 6), U1()), beta)
    for sampler in (Heatbath(action), HMC(action, 1.0, steps=round(3 * math.sqrt(1 + beta)))):
        check_stationary(sampler, x[:2000], x[2000:])


@pytest.mark.parametrize("group", [U1(), SUN(2), SUN(3), SUN(4)], ids=str)
@pytest.mark.parametrize("lattice", [(2, 4), (3, 5), (4, 2, 3), (3, 4, 5, 6)], ids=str)
def test_sublattices_and_staples_in_every_dimension(group, lattice):
    action = Wilson(links(lattice, group), beta=1.7)
    x = action.space.haar(2, seed())
    check_staples(Heatbath(action), x)
    check_reflection(Heatbath(action), x)
    if all(side % 2 == 0 for side in lattice):
        assert len(sublattices(action.space)) == 2 * len(lattice)


class Alone(Heatbath):
    """Every link sees staples of 1, whatever the others are."""

    def staple_sum(self, links: Tensor, part: Sublattice) -> Tensor:
        G = self.space.group
        return G.ambient(G.identity((len(links), len(part.active)), links))


@pytest.mark.parametrize("group", [U1(), SUN(2), SUN(3)], ids=str)
def test_links_drawn_in_one_sweep_are_independent(group):
    """Each is drawn with random numbers of its own: without what links them, any two are independent."""
    bath, n = Alone(Wilson(links((2, 2), group), beta=0.0), overrelaxation=0), 4000
    state = bath.init(bath.start(n, seed(), hot=False))
    y = bath.step(state, seed(2))[0].x.reshape(n, 8, *group.matrix_shape)
    for i, j in itertools.combinations(range(8), 2):
        traces = group.trace(group.compose(y[:, i], group.inverse(y[:, j])))
        assert abs(float(traces.mean())) < 5 * float(traces.std()) / math.sqrt(n), f"links {i} and {j} are correlated"


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("kappa", [0.0, 1e-3, 0.1, 1.0, 3.0, 10.0, 100.0, 1e3])
def test_heatbath_draws_are_exact(kappa, m):
    check_fisher(kappa or 1e-12, m)
    check_fisher(kappa or 1e-12, m, torch.float32)


def test_heatbath_draws_at_the_ends_of_kappa():
    """Haar at kappa = 0, e^{-kappa a^2/2} at large kappa, and NaN where kappa is none."""
    for n, draw in ((1, u1.von_mises), (3, lambda k, rng: subgroups.su2_element(k, rng)[0].real.clamp(-1, 1).acos())):
        zero = draw(torch.zeros(1000), seed()).cos()
        assert -1 <= zero.min() <= -0.5 <= 0.5 <= zero.max() <= 1
        huge = draw(torch.full((1000,), 1e12), seed())
        assert 0 < huge.square().mean() * 1e12 < 4 * n
        bad = draw(torch.tensor([1.0, math.nan, math.inf]), seed())
        assert bad.isnan().tolist() == [False, True, True]


@pytest.mark.parametrize("group", [U1(), SUN(2), SUN(3)], ids=str)
def test_a_heatbath_on_links_that_are_no_numbers_says_so(group):
    """The chain with a NaN link is reported, and the others are not."""
    sampler = Heatbath(Wilson(links((2, 4), group), beta=2.0))
    x = sampler.start(3, seed())
    x[1, 1, 0, 0] = math.nan  # of the direction that is drawn last: the others see it first
    state, info = sampler.step(State(x, sampler.action(x)), seed())
    assert info["invalid"].tolist() == [False, True, False]
    assert state.x[[0, 2]].isfinite().all()


@pytest.mark.parametrize("group", [U1(), SUN(2), SUN(3)], ids=str)
@pytest.mark.parametrize("beta", [0.0, 2.0, 20.0])
def test_one_plaquette_draws_have_the_exact_mean(group, beta):
    traces = group.trace(one_plaquette(group, beta, 20_000, seed(), torch.float64))
    error = float(traces.std()) / math.sqrt(len(traces))
    assert abs(float(traces.mean()) - group.one_plaquette_mean(beta)) < 4 * error


def metropolis(chunk: int = 1) -> IndependenceMetropolis:
    action = THEORIES["free"]
    return IndependenceMetropolis(FreeField(action.space, m2=0.3), action, chunk)


@pytest.mark.parametrize("chunk", [1, 3])
def test_independence_metropolis_keeps_its_distribution(chunk):
    start, fresh = starts("free")
    sampler = metropolis(chunk)
    check_stationary(sampler, start, fresh, steps=5)
    check_chains_decide_alone(sampler, start)
    check_state(sampler, start[:50], steps=5)
    if chunk == 1:
        check_randomness(sampler, start)


def test_a_perfect_flow_is_always_accepted():
    action = THEORIES["free"]
    sampler, rng = IndependenceMetropolis(FreeField(action.space, m2=0.6), action), seed()
    state = sampler.init(sampler.start(100, rng))
    for _ in range(5):
        state, info = sampler.step(state, rng)
        assert info["accept"].all()
        assert (info["logw"] - action.log_z()).abs().max() < 1e-9


def test_proposals_drawn_ahead_are_part_of_the_state():
    sampler, rng = metropolis(chunk=4), seed()
    state, path = sampler.init(sampler.start(3, rng)), []
    for step in range(11):
        if step == 6:
            middle, numbers = state, rng.get_state()
        state, info = sampler.step(state, rng)
        path.append(state.x)
        assert torch.equal(info["logw"], state.logw)
    state, rng = middle, torch.Generator()
    rng.set_state(numbers)
    for step in range(6, 11):
        state, _ = sampler.step(state, rng)
        assert torch.equal(state.x, path[step])


def test_a_step_tells_the_weights_of_its_fields_and_of_its_proposals():
    sampler, rng = metropolis(), seed()
    state = sampler.begin(50, rng)
    proposed = sampler.propose(50, seed(2))  # what the step draws first
    after, info = sampler.step(state, seed(2))
    yes = info["accept"]
    assert 0 < yes.sum() < 50
    assert torch.equal(info["logw_proposed"], (-proposed.S - proposed.logq)[:, 0])
    assert torch.equal(info["logw"], torch.where(yes, info["logw_proposed"], state.logw))
    assert torch.equal(info["logw"], after.logw)
    assert torch.equal(after.x[yes], proposed.x[:, 0][yes])


def test_metropolis_takes_over_from_another_sampler():
    hmc, rng = coarse("free"), seed()
    state = thermalised(hmc, hmc.init(hmc.start(4, rng)), rng, 3)
    state, info = metropolis().step(state, rng)
    assert torch.equal(info["logw"], state.logw)


@pytest.mark.parametrize("outside", [math.nan, -math.inf, math.inf])
def test_proposals_without_a_finite_weight_are_never_accepted(outside):
    action = Walled(sites((2, 2)), outside)
    start = torch.zeros(64, 1, 2, 2)
    check_invalid(HMC(action, 1.5, steps=4), start)
    check_invalid(IndependenceMetropolis(Normal(action.space), action), start)


@pytest.mark.parametrize("name", ["Phi4", "U1", "SU3"])
@pytest.mark.parametrize("integrator", ["leapfrog", "omelyan"])
def test_tuning_reaches_the_target_and_then_stands_still(name, integrator):
    hmc, rng = HMC(THEORIES[name], 2.0, steps=40, integrator=integrator, target=0.7), seed()
    state = thermalised(hmc, hmc.init(starts(name)[0][:64]), rng, 60)
    steps, rate = hmc.steps, []
    for _ in range(20):
        state, info = hmc.step(state, rng)
        rate.append(info["accept"].double().mean())
    assert hmc.steps == steps < 40
    assert torch.stack(rate).mean() > 0.65  # whole steps are rounded up, toward a higher acceptance
    hmc = HMC(THEORIES[name], 2.0, steps=1, integrator=integrator, target=0.99)
    thermalised(hmc, hmc.init(starts(name)[0][:64]), rng, 60)
    assert hmc.steps > 1


def test_forces_are_counted_as_they_are_made(monkeypatch):
    calls = []
    force = Phi4.force
    monkeypatch.setattr(Phi4, "force", lambda self, x: calls.append(1) or force(self, x))
    for integrator in ("leapfrog", "omelyan"):
        hmc = HMC(THEORIES["Phi4"], steps=5, integrator=integrator)
        calls.clear()
        hmc.step(hmc.init(starts("Phi4")[0][:2]), seed())
        assert len(calls) == hmc.describe()["forces_per_trajectory"] == (5 if integrator == "leapfrog" else 10)


@pytest.mark.parametrize("sampler", [HMC(GAUGE["SU3"], steps=4), Heatbath(GAUGE["SU3"]), Heatbath(GAUGE["SU2"])])
def test_single_precision_stays_on_the_group(sampler):
    rng = seed()
    state = sampler.init(sampler.start(4, rng, dtype=torch.float32))
    for _ in range(100):
        state, _ = sampler.step(state, rng)
    assert state.x.dtype == torch.complex64
    assert state.S.dtype == torch.float32
    assert sampler.space.group.defect(state.x).max() < 5e-5
    assert (state.S - sampler.action(state.x)).abs().max() < 1e-5


def test_rounding_is_taken_back_before_it_matters():
    group = SUN(3)
    x = group.haar((5,), seed())
    assert group.defect(group.restore(x)).max() < 1e-14
    off = x + 1e-6
    assert group.defect(group.restore(off)).max() < 1e-10


@pytest.mark.parametrize("without", [(), KERNELS], ids=["C", "torch"])
@pytest.mark.parametrize("sampler", [HMC(GAUGE["SU3"], steps=4), Heatbath(GAUGE["SU3"]), Heatbath(GAUGE["SU2"])])
def test_fields_are_brought_back_to_the_group(sampler, without):
    """What rounding has moved out by d lies within about d^2 after a step, accepted or not."""
    space = sampler.space
    off = space.haar(200, seed()) * (1 + 1e-6)
    with kernels.without(*without):
        state, info = sampler.step(sampler.init(off), seed(2))
    assert info["accept"].sum() > 100
    assert space.group.defect(state.x[info["accept"]]).max() < 1e-10


@pytest.mark.parametrize("cls", [HMC, Heatbath, IndependenceMetropolis])
def test_examples_run_and_describe_themselves(cls):
    import json

    sampler, rng = example(cls), seed()
    for hot in (True, False):
        x = sampler.start(3, rng, hot=hot, dtype=torch.float64)
        assert x.shape == (3, *sampler.space.shape)
        state = thermalised(sampler, sampler.init(x), rng, 2)
        state, info = sampler.step(state, rng)
        assert not info["invalid"].any()
    text = json.dumps(sampler.describe())
    assert repr(sampler.action) in json.loads(text)["action"]
    assert cls.__name__ in repr(sampler)


def test_hmc_shows_its_trajectory_and_a_tuned_step_size():
    action = THEORIES["free"]
    hmc = HMC(action, 1.5, steps=6)
    assert repr(hmc) == f"HMC({action!r}, length=1.5, steps=6)"
    thermalised(hmc, hmc.init(hmc.start(4, seed())), seed(), 20)
    assert repr(hmc) == f"HMC({action!r}, length=1.5, steps={hmc.steps}, step_size={1.5 / hmc.steps:.4g})"
    other = HMC(action, steps=4, integrator="omelyan", randomise=0.2)
    assert repr(other) == f"HMC({action!r}, length=1, steps=4, integrator='omelyan', randomise=0.2)"


# ---------------------------------------------------------------- bad input


def free_start(x):
    HMC(THEORIES["free"]).init(x)


class Unnormalised(Normal):
    normalised = False


BAD = [
    (lambda: HMC(lambda x: x.sum()), TypeError, "HMC needs action, an action such as"),
    (lambda: HMC(THEORIES["U1"], integrator="euler"), ValueError, "leapfrog, omelyan; got 'euler'"),
    (lambda: HMC(THEORIES["U1"], step_size=0.0), ValueError, "step_size, a finite number > 0 or None; got 0.0"),
    (lambda: HMC(THEORIES["U1"], step_size=-0.1), ValueError, "step_size, a finite number > 0 or None; got -0.1"),
    (lambda: HMC(THEORIES["U1"], step_size=math.nan), ValueError, "step_size, a finite number > 0 or None; got nan"),
    (lambda: HMC(THEORIES["U1"], steps=0), ValueError, "needs steps, a whole number >= 1 or None; got 0"),
    (lambda: HMC(THEORIES["U1"], steps=2.5), ValueError, "needs steps, a whole number >= 1 or None; got 2.5"),
    (lambda: HMC(THEORIES["U1"], steps=2, step_size=0.5), ValueError, "steps or step_size"),
    (lambda: HMC(THEORIES["U1"], length=0), ValueError, r"needs length, a number in \(0, 10000\]; got 0"),
    (lambda: HMC(THEORIES["U1"], randomise=1.0), ValueError, r"needs randomise, a number in \[0, 1\); got 1\.0"),
    (lambda: HMC(THEORIES["U1"], randomise=-0.1), ValueError, r"needs randomise, a number in \[0, 1\); got -0\.1"),
    (lambda: HMC(THEORIES["U1"]).of_length(0.0), ValueError, r"needs length, a number in \(0, 10000\]; got 0"),
    (lambda: HMC(THEORIES["U1"], target=1.0), ValueError, r"needs target, a number in \(0, 1\); got 1.0"),
    (lambda: HMC(THEORIES["U1"], leapfrogs=3), TypeError, "unexpected keyword argument 'leapfrogs'"),
    (lambda: Heatbath(THEORIES["free"]), TypeError, r"Wilson action or one of rectangles; got Phi4\("),
    (lambda: Heatbath(example(MatrixModel)), TypeError, r"Wilson action or one of rectangles; got MatrixModel\("),
    (lambda: Heatbath(THEORIES["U1"], overrelaxation=-1), ValueError, "a whole number >= 0; got -1"),
    (lambda: Heatbath(Wilson(links((4, 1), U1()), 1.0)), ValueError, "sides >= 2; got 4x1"),
    (lambda: IndependenceMetropolis(THEORIES["free"], THEORIES["free"]), TypeError, "a prior or flow; got Phi4"),
    (lambda: IndependenceMetropolis(Normal(sites((2, 2))), THEORIES["free"]), ValueError, "one space; got"),
    (lambda: IndependenceMetropolis(Unnormalised(sites((4, 6))), THEORIES["free"]), ValueError, "not normalised"),
    (lambda: metropolis(chunk=0), ValueError, "needs chunk, a whole number >= 1; got 0"),
    (lambda: metropolis().start(0, seed()), ValueError, "needs chains, a whole number >= 1; got 0"),
    (lambda: HMC(THEORIES["U1"]).start(2.0, seed()), ValueError, r"needs chains, a whole number >= 1; got 2\.0"),
    (lambda: free_start([1.0]), TypeError, "expects a torch tensor; got list"),
    (lambda: free_start(torch.zeros(3, 1, 6, 4)), ValueError, r"holds fields \[batch, 1, 4, 6\]; got \[3, 1, 6, 4\]"),
    (lambda: free_start(torch.full((1, 1, 4, 6), math.nan)), ValueError, "finite fields; got 24 NaN"),
    (lambda: free_start(torch.full((1, 1, 4, 6), 1e200)), ValueError, "start with a finite action"),
    (lambda: Heatbath(THEORIES["SU2"]).init(torch.ones(1, 2, 2, 2, 2, 2) + 0j), ValueError, "elements of SU2"),
    (lambda: metropolis().init(torch.full((1, 1, 4, 6), 1e160)), ValueError, "finite action"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input_is_answered_with_a_sentence(make, error, message):
    with pytest.raises(error, match=message):
        make()

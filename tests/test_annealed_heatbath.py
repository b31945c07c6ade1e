"""Annealing by heatbath with averaged weights: exact partition functions, C against torch, and what it gains."""

import itertools
import math

import pytest
import torch

import flowkit as fk
from flowkit import kernels
from flowkit.kernels import wilson
from flowkit.kernels.heat import heat_log_norm
from flowkit.samplers import AnnealedHeatbath, annealed_flow, annealing_path
from flowkit.studies.annealing import annealing_4d

pytestmark = pytest.mark.usefixtures("double")
THEORIES = [(fk.U1(), 1.5), (fk.SUN(2), 2.5), (fk.SUN(3), 4.0), (fk.SUN(4), 4.0)]


@pytest.fixture
def compiled(request):
    before = kernels.set_compile(request.param)
    yield request.param == "c"
    kernels.set_compile(before)


def even(beta, n):
    return [beta * k / n for k in range(n)] + [beta]


def weights(action, betas, n, seed=1, **settings):
    """ln w of draws from Haar measure."""
    flow = fk.Flow(fk.Haar(action.space), AnnealedHeatbath(action, betas, **settings)).double()
    return fk.importance_sample(flow, action, n, rng=seed, observe=(fk.plaquette,), keep=False)


@pytest.mark.parametrize(
    ("compiled", "over"), [("c", 0), ("c", 1), ("0", 0)], ids=["C", "overrelaxed", "torch"], indirect=["compiled"]
)
@pytest.mark.parametrize(("group", "beta"), THEORIES, ids=[str(group) for group, _ in THEORIES])
def test_the_partition_function_is_exact(group, beta, over, compiled):
    if group == fk.SUN(4) and not over:
        pytest.skip("through torch in every case")
    action = fk.Wilson(fk.links((4, 2), group), beta)
    draws = weights(action, even(beta, 8), 2000 if compiled and group.wilson_kernel else 300, overrelaxation=over)
    log_z = fk.stats.log_z(draws.series["logw"])
    assert log_z.error < 0.04
    assert abs(log_z.pull(action.log_z())) < 3.5
    assert draws.mean(fk.plaquette).within(sigmas=3.5)


@pytest.mark.parametrize(("group", "beta"), THEORIES[:3], ids=[str(group) for group, _ in THEORIES[:3]])
def test_c_and_torch_have_the_same_weights(group, beta):
    """The law of ln w, by its mean and its variance, in three dimensions; float32 too."""
    if not wilson.native(group.wilson_kernel, torch.zeros(1)):
        pytest.skip("no compiler is installed")
    action, betas, found = fk.Wilson(fk.links((2, 2, 2), group), beta), even(beta, 6), {}
    for mode, n in (("c", 2000), ("0", 300)):
        before = kernels.set_compile(mode)
        logw = weights(action, betas, n).series["logw"].flatten().double()
        kernels.set_compile(before)
        found[mode] = logw.mean(), logw.var(), logw.std() / math.sqrt(n)
    (a, v, da), (b, u, db) = found.values()
    assert abs(a - b) < 4 * math.hypot(da, db)
    assert abs(v / u - 1) < 5 * math.sqrt(3 / 300)
    single = fk.Flow(fk.Haar(action.space), AnnealedHeatbath(action, betas)).float()
    logw = fk.importance_sample(single, action, 2000, rng=5).series["logw"].flatten().double()
    assert abs(logw.mean() - a) < 4 * math.sqrt(2) * da


def test_wide_steps_go_through_torch():
    """Gauss' rule of three nodes is exact to 1e-8 where C is used; elsewhere the weights come from the normaliser."""
    action = fk.Wilson(fk.links((4, 4), fk.U1()), 3.0)
    x = action.space.haar(3, torch.Generator().manual_seed(1))
    heatbath = fk.Heatbath(action)
    table, grown = wilson.link_table(tuple(heatbath.parts)), AnnealedHeatbath(action, (0.0, 3.0)).grown
    same = x.clone()
    rng = torch.Generator().manual_seed(1)
    assert wilson.anneal("wilson_u1", same, table, (0.0, 3.0), grown, 0, rng) is None
    assert torch.equal(same, x)
    log_z = fk.stats.log_z(weights(action, (0.0, 1.5, 3.0), 4000).series["logw"])
    assert abs(log_z.pull(action.log_z())) < 3.5


def test_a_link_in_fixed_staples_has_the_weight_of_its_normalisers():
    """U(1) and SU(2): ln w does not depend on the link, and adds up to the ratio from no staples at all."""
    rng = torch.Generator().manual_seed(1)
    for group, n in ((fk.U1(), 0), (fk.SUN(2), 2)):
        S = group.ambient(group.haar((50,), rng)) + group.ambient(group.haar((50,), rng))
        v, total = group.haar((50,), rng), torch.zeros(50)
        for k in range(5):
            v, log = group.annealed_heatbath(v, 0.3 * k * S, S, 0.3, rng)
            total = total + log
        length = group.sphere(S).norm(dim=-1)
        torch.testing.assert_close(total, heat_log_norm(1.5 * length, n))


def test_averaged_weights_vary_less_than_one_kernel_for_each_coupling():
    action = fk.Wilson(fk.links((4, 4, 4), fk.SUN(2)), 1.5)
    path = [action.at(beta=b) for b in even(1.5, 12)[1:-1]] + [action]
    plain = annealed_flow(fk.Haar(action.space), path, fk.Heatbath(action, overrelaxation=0).of_action)
    before = fk.importance_sample(plain, action, 300, rng=1).series["logw"].var()
    assert weights(action, even(1.5, 12), 300).series["logw"].var() < before / 8


def test_a_path_of_even_variance():
    action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), 6.0)
    path = annealing_path(action, 12, pieces=6, rng=1)
    assert len(path) == 13
    assert path[0] == 0
    assert path[-1] == 6
    assert all(a < b for a, b in itertools.pairwise(path))
    own, even_ones = (weights(action, betas, 3000).series["logw"].double().var() for betas in (path, even(6.0, 12)))
    assert own < even_ones * (1 + 5 * math.sqrt(4 / 3000))
    later = annealing_path(action, 6, first=3.0, pieces=3, rng=1)
    assert (later[0], later[-1]) == (3.0, 6.0)


def test_annealing_from_a_flow():
    """Kernels behind a multiscale model of a smaller coupling."""
    action = fk.Wilson(fk.links((2, 2), fk.U1()), 2.0)
    model = fk.multiscale_flow(action.space).double()
    flow = fk.Flow(model.prior, fk.Chain(model.transform, AnnealedHeatbath(action, (1.0, 1.5, 2.0))))
    log_z = fk.stats.log_z(fk.importance_sample(flow, action, 4000, rng=1).series["logw"])
    assert abs(log_z.pull(action.log_z())) < 3.5
    assert log_z.error < 0.05


def test_messages():
    action = fk.Wilson(fk.links((4, 4), fk.U1()), 2.0)
    with pytest.raises(ValueError, match=r"the last one that of its action, 2.0; got \[0.0, 1.0\]"):
        AnnealedHeatbath(action, (0.0, 1.0))
    with pytest.raises(ValueError, match="takes even sides"):
        AnnealedHeatbath(action.on(action.space.on((4, 3))), (0.0, 2.0))
    with pytest.raises(TypeError, match="needs a Wilson action"):
        AnnealedHeatbath(fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5), (0.0, 1.0))
    step = AnnealedHeatbath(action, (0.0, 2.0))
    with pytest.raises(ValueError, match="AnnealedHeatbath has no Jacobian and no inverse"):
        step(action.space.haar(2, 1))


@pytest.mark.slow
def test_the_quick_figure_is_reached():
    missed = [row["label"] for row in annealing_4d(quick=True) if row.get("reached") is False]
    assert not missed

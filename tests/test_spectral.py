"""Spectral flows: the alcove, its splines, and what a map through eigenvalues must keep."""

import itertools
import math

import pytest
import torch

import flowkit as fk
from flowkit import testing, transforms
from flowkit.kernels.sun import spectrum

F64 = torch.float64
GROUPS = [2, 3, 4]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def one_matrix(n):
    return fk.links((1,), fk.SUN(n))


def flow(n, dtype=F64):
    """A spectral flow with random parameters."""
    return testing.randomised(transforms.SpectralCoupling(one_matrix(n), bins=5, order=3), testing.seeded(3)).to(dtype)


def haar_angles(n, count, rng):
    """Eigenangles of Haar matrices, [n, count]."""
    return spectrum(fk.SUN(n).haar((count,), rng, F64))[0].movedim(-1, 0).contiguous()


def random_params(spline, *shape):
    return 0.5 * torch.randn(spline.count, *shape, generator=testing.seeded(7), dtype=F64)


def degenerate(n, count, rng):
    """Fields of one matrix at and near equal eigenvalues, [count, 1, 1, n, n]: random eigenvectors, some or all angles
    agree to 0, 1e-12, ..., 1e-2, a third of the matrices is turned by a centre element.
    """
    group = fk.SUN(n)
    vectors = group.haar((count,), rng, F64)
    angles = haar_angles(n, count, rng).T
    scale = torch.cat([torch.zeros(1), 10.0 ** torch.arange(-12, -1)])[torch.arange(count) % 12, None]
    near = torch.rand(count, n, generator=rng, dtype=F64) < 0.6
    mean = (angles * near).sum(-1, keepdim=True) / near.sum(-1, keepdim=True).clamp(min=1)
    angles = torch.where(near, mean + scale * (angles - mean), angles)
    k = torch.arange(count)[:, None] % n
    centre = 2 * math.pi * k / n * (torch.arange(count)[:, None] % 3 == 0)
    angles = angles - angles.mean(-1, keepdim=True) + centre
    x = (vectors * torch.polar(torch.ones_like(angles), angles).unsqueeze(-2)) @ vectors.mH
    return group.project(x).view(count, 1, 1, n, n)


def centre(n, dtype):
    """The centre elements, [n, 1, 1, n, n]."""
    phases = torch.exp(2j * math.pi * torch.arange(n, dtype=F64) / n)
    return (phases.view(n, 1, 1, 1, 1) * torch.eye(n, dtype=torch.complex128)).to(fk.SUN(n).field_dtype(dtype))


# ---------------------------------------------------------------- angles


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_alcove_is_mapped_to_itself_and_back(n, shared):
    spline = fk.bijections.AlcoveSpline(n, bins=4, order=3)
    angles = haar_angles(n, 300, testing.seeded())
    params = random_params(spline, *(() if shared else (300,)))
    new, logdet = spline.forward(angles, params)
    assert new.sum(0).abs().max() < 1e-13
    assert (new.diff(dim=0) >= 0).all()
    assert (new[-1] - new[0] <= 2 * math.pi).all()
    back, minus = spline.inverse(new, params)
    assert (back - angles).abs().max() < 1e-10
    assert (minus + logdet).abs().max() < 1e-9


@pytest.mark.parametrize("n", GROUPS)
def test_zero_parameters_are_the_identity(n):
    spline = fk.bijections.AlcoveSpline(n)
    angles = haar_angles(n, 50, testing.seeded())
    for params in (torch.zeros(spline.count, dtype=F64), torch.zeros(spline.count, 50, dtype=F64)):
        new, logdet = spline.forward(angles, params)
        assert (new - angles).abs().max() < 1e-13
        assert logdet.abs().max() < 1e-12


@pytest.mark.parametrize("n", GROUPS)
def test_shared_parameters_are_those_of_each_matrix(n):
    spline, angles = fk.bijections.AlcoveSpline(n, bins=4, order=3), haar_angles(n, 20, testing.seeded())
    params = random_params(spline)
    for run in (spline.forward, spline.inverse):
        one, own = run(angles, params), run(angles, params[:, None].expand(-1, 20))
        assert (one[0] - own[0]).abs().max() < 1e-12
        assert (one[1] - own[1]).abs().max() < 1e-11


def density_on_grid(spline, params, points):
    """The density of the image of Haar measure, on midpoints of the alcove, and the weights of Haar measure."""
    n = spline.n
    axis = (torch.arange(points, dtype=F64) + 0.5) * (2 * math.pi / points)
    first, second = (t.flatten() for t in torch.meshgrid(axis, axis, indexing="ij"))
    if n == 2:
        gaps = axis[None]
    else:  # the two gaps of a triangle, unfolded from a square
        folded = first + second > 2 * math.pi
        gaps = torch.stack([torch.where(folded, 2 * math.pi - first, first),
                            torch.where(folded, 2 * math.pi - second, second)])  # fmt: skip
    angles = torch.cat([torch.zeros_like(gaps[:1]), gaps.cumsum(0)])
    angles = angles - angles.mean(0)
    pairs = torch.stack([(angles[j] - angles[k]).div(2).sin() ** 2 for j, k in itertools.combinations(range(n), 2)])
    weights = pairs.prod(0)
    return spline.inverse(angles, params)[1].exp(), weights / weights.sum()


@pytest.mark.parametrize("n", [2, 3])
def test_the_density_is_normalised_in_haar_measure(n):
    """The integral of q over the group, by Weyl's formula on a grid: 1."""
    spline = fk.bijections.AlcoveSpline(n, bins=4)
    q, weights = density_on_grid(spline, random_params(spline), 2000 if n == 2 else 500)
    assert q.max() > 1.5 * q.min()
    assert float((q * weights).sum()) == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_densities_of_flows_are_normalised(n):
    testing.check_normalised(fk.Flow(fk.Haar(one_matrix(n)), flow(n)).double(), 20_000)


# ---------------------------------------------------------------- matrices


@pytest.mark.parametrize("n", [2, 3, 4])
def test_contract(n):
    testing.check_transform(transforms.SpectralCoupling(fk.links((2, 3), fk.SUN(n)), bins=4))


def test_contract_of_angles():
    testing.check_transform(transforms.SpectralCoupling(fk.links((2, 3), fk.U1()), bins=4))


@pytest.mark.parametrize("distance", [1e-2, 1e-4])
@pytest.mark.parametrize("n", GROUPS)
def test_logdet_near_equal_eigenvalues(n, distance):
    """Against autograd in algebra coordinates, near the centre of the group."""
    group = fk.SUN(n)
    w = distance * torch.randn(n, 1, 1, group.algebra_dim, generator=testing.seeded(), dtype=F64)
    x = group.compose(group.exp(w), centre(n, F64))
    f = flow(n)
    expected = testing.jacobian(f, x)
    assert (f(x)[1] - expected).abs().max() < 1e-9 / distance


@pytest.mark.parametrize("n", [2, 3, 4])
def test_weyl_equivariance(n):
    """Diagonal matrices: permuted eigenvalues give the permuted image."""
    angles = haar_angles(n, 30, testing.seeded()).T
    f = flow(n)
    image = f(torch.diag_embed(torch.polar(torch.ones_like(angles), angles)).view(-1, 1, 1, n, n))[0]
    assert (image - torch.diag_embed(image.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-12
    for order in map(list, itertools.permutations(range(n))):
        x = torch.diag_embed(torch.polar(torch.ones_like(angles), angles[:, order])).view(-1, 1, 1, n, n)
        assert (f(x)[0] - image[..., order, :][..., :, order]).abs().max() < 1e-10


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", GROUPS)
def test_conjugation_equivariance_near_equal_eigenvalues(n, dtype):
    rng, tolerance, group = testing.seeded(), TOLERANCE[dtype], fk.SUN(n)
    x = degenerate(n, 1000, rng).to(group.field_dtype(dtype))
    g = group.haar((1000, 1, 1), rng, dtype)
    f = flow(n, dtype)
    turned, logdet = f(g @ x @ g.mH)
    image, expected = f(x)
    assert (turned - g @ image @ g.mH).abs().max() < tolerance
    assert group.defect(image).max() < tolerance
    if dtype == F64 and n < 4:  # where three of four eigenvalues are equal logdet has no limit
        assert (logdet - expected).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", GROUPS)
def test_round_trip_near_equal_eigenvalues(n, dtype):
    x = degenerate(n, 1000, testing.seeded()).to(fk.SUN(n).field_dtype(dtype))
    f = flow(n, dtype)
    y, logdet = f(x)
    back, minus = f.inverse(y)
    assert (back - x).abs().max() < TOLERANCE[dtype]
    if n < 4:  # where three of four eigenvalues are equal logdet has no limit
        assert (logdet + minus).abs().max() < (1e-2 if dtype == torch.float32 else 1e-6)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_centre_elements_stay_and_all_is_finite(n, dtype):
    f, x = flow(n, dtype), centre(n, dtype).requires_grad_()
    for run in (f, f.inverse):
        y, logdet = run(x)
        assert (y - x).abs().max() < TOLERANCE[dtype]
        assert logdet.isfinite().all()
        gradients = torch.autograd.grad(logdet.sum() + (y * y.detach().roll(1, -1)).real.sum(), [x, f.params])
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("n", GROUPS)
def test_the_map_scales_the_neighbourhood_of_a_centre_element(n):
    """f(z exp(w)) = z exp(c w) with c^dim = e^{logdet(z)}: logdet is continuous, and no direction is preferred."""
    group, f = fk.SUN(n), flow(n)
    w = 1e-6 * torch.randn(40, 1, 1, group.algebra_dim, generator=testing.seeded(), dtype=F64)
    for z in centre(n, F64):
        at = float(f(z[None])[1].detach())
        y, logdet = f(group.compose(group.exp(w), z))
        assert (logdet - at).abs().max() < 1e-3
        moved = group.tangent(group.compose(y, z.mH)) - math.exp(at / group.algebra_dim) * w
        assert (moved.norm(dim=-1) / w.norm(dim=-1)).max() < 1e-3


@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_random_float32_matrices_give_finite_numbers(n, count):
    """And the elements of the centre, the identity among them."""
    f, rng = flow(n, torch.float32), testing.seeded()
    for start in range(0, count, 20_000):
        x = fk.SUN(n).haar((min(20_000, count - start), 1, 1), rng, torch.float32)
        with torch.no_grad():
            y, logdet = f(torch.cat([x, centre(n, torch.float32)]))
        assert y.isfinite().all()
        assert logdet.isfinite().all()
        assert fk.SUN(n).defect(y).max() < 1e-4


# ---------------------------------------------------------------- physics


@pytest.mark.parametrize(("n", "beta"), [(2, 4.0), (3, 6.0)])
def test_a_short_training_nearly_reaches_the_exact_density(n, beta):
    action = fk.MatrixModel(one_matrix(n), beta=beta)
    trained = fk.Flow(fk.Haar(action.space), transforms.SpectralCoupling(action.space))
    fk.Trainer(trained, action, batch=256, lr=0.03, schedule=fk.schedules.Cosine()).fit(150, progress=False)
    drawn = fk.importance_sample(trained, action, 16_384, rng=2)
    assert drawn.ess().value > 0.995
    assert drawn.mean(fk.observables.trace).within(sigmas=4)


def test_negative_beta_prefers_the_other_centre_elements():
    """S is least where Re Tr U is: SU(3) at beta < 0 gathers at e^{+-2 pi i/3}, two corners of the alcove."""
    action = fk.MatrixModel(one_matrix(3), beta=-6.0)
    trained = fk.Flow(fk.Haar(action.space), transforms.SpectralCoupling(action.space))
    fk.Trainer(trained, action, batch=256, lr=0.03, schedule=fk.schedules.Cosine()).fit(150, progress=False)
    drawn = fk.importance_sample(trained, action, 16_384, rng=2)
    assert drawn.ess().value > 0.99
    phases = fk.SUN(3).haar((200_000,), testing.seeded(), F64)
    trace = fk.SUN(3).trace(phases)
    weight = (-6.0 * trace).exp()
    assert drawn.mean(fk.observables.trace).within(float((weight * trace).sum() / weight.sum()), sigmas=5)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(("make", "message"), [
    (lambda: transforms.SpectralCoupling(fk.sites((4, 6))), "SpectralCoupling needs links; got Sites"),
    (lambda: transforms.SpectralCoupling(one_matrix(3), bins=1), "needs bins, a whole number in .2, 500.; got 1"),
    (lambda: transforms.SpectralCoupling(one_matrix(3), order=0), "needs order, a whole number >= 1; got 0"),
    (lambda: fk.bijections.AlcoveSpline(1), "needs n, a whole number in .2, 64.; got 1"),
    (lambda: fk.bijections.AlcoveSpline(2.0), r"needs n, a whole number in .2, 64.; got 2\.0"),
    (lambda: fk.bijections.AlcoveSpline(10**30), r"needs n, a whole number in .2, 64.; got 1000"),
    (lambda: fk.bijections.AlcoveSpline(3, order=10**9), "at most 1000000 parameters; got n=3, bins=8 and order=10"),
    (lambda: fk.bijections.AlcoveSpline(64, order=3), "at most 1000000 parameters; got n=64"),
    (lambda: fk.bijections.AlcoveSpline(3, bins=2.5), r"needs bins, a whole number in .2, 500.; got 2\.5"),
    (lambda: flow(3)(torch.zeros(2, 1, 1, 2, 2, dtype=torch.complex128)), r"holds fields \[batch, 1, 1, 3, 3\]; got"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_keywords_raise():
    with pytest.raises(TypeError, match="layers"):
        transforms.SpectralCoupling(one_matrix(2), layers=3)

import copy
import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.kernels.heat import heat_mean
from flowkit.multiscale import HeatAngleConditional, LinkDoubling
from flowkit.multiscale.conditionals import columns, frames, heat_angle, tilts
from flowkit.samplers.heatbath import one_plaquette

pytestmark = pytest.mark.usefixtures("double")


def small(n, loops=2, splines=True, strength=3.0):
    torch.manual_seed(1)
    return HeatAngleConditional(n, loops, strength / loops, bins=4, hidden=(6,), splines=splines)


def haar(n, links, loops=2, seed=3):
    draw = testing.seeded(seed)
    return tuple(fk.SUN(n).haar((links,), draw) for _ in range(loops))


CASES = [(2, 2, True), (2, 4, True), (2, 2, False), (3, 2, True), (3, 4, True), (3, 2, False), (3, 3, False),
         (4, 2, True), (4, 4, False)]  # fmt: skip


@pytest.mark.parametrize(("n", "loops", "splines"), CASES)
def test_the_contract(n, loops, splines):
    # SU(4) nearer to Haar: single draws would bear much of E[q] otherwise.
    testing.check_conditional(small(n, loops, splines, 2.0 if n == 4 else 3.0), loops)


# ---------------------------------------------------------------- physics


@pytest.mark.parametrize("loops", [2, 3])
def test_su2_without_splines_is_the_heatbath(loops):
    """log q = Re Tr V J^dagger - ln Z with Z = I_1(2 k) / k for J = k W, k > 0."""
    model = small(2, loops, splines=False)
    rest, v = haar(2, 200, loops), haar(2, 200, 1, seed=4)[0]
    J = sum(model.log_weights.exp().mean() * r.mH for r in rest)
    k = torch.linalg.det(J).real.sqrt()
    expected = (v @ J.mH).diagonal(dim1=-2, dim2=-1).sum(-1).real - (torch.special.i1(2 * k) / k).log()
    testing.require_close(model.log_prob(v, rest), expected, "log q", 1e-9)


@pytest.mark.parametrize(("n", "beta", "least"), [(2, 4.0, 0.999999), (3, 2.0, 0.99), (3, 6.0, 0.97), (4, 4.0, 0.8)])
def test_the_heat_law_is_near_the_exact_one(n, beta, least, rng):
    """Two equal staples: the one-plaquette integral at 2 beta is known, and log-weights spread little."""
    model, links = HeatAngleConditional(n, strength=beta, splines=False), 20_000
    S = haar(n, 1)[0].expand(links, n, n)
    with torch.no_grad():
        v, logq = model.sample_and_log_prob((S.mH, S.mH), rng)
        logw = 2 * beta * fk.SUN(n).trace(v @ S.mH) - logq
    w = (logw - logw.mean()).exp()
    assert float(w.mean() ** 2 / w.square().mean()) > least
    error = float(w.std() / w.mean()) / math.sqrt(links)
    came = float(logw.mean() + w.mean().log())
    assert abs(came - exact.sun_one_plaquette_log_z(n, 2 * beta)) < 4 * error + 1e-6


@pytest.mark.parametrize(("n", "loops"), [(2, 2), (3, 2), (3, 4), (4, 2)])
def test_no_strength_is_haar(n, loops, rng):
    model, rest = HeatAngleConditional(n, loops, 1e-7), haar(n, 50, loops)
    _, logq = model.sample_and_log_prob(rest, rng)
    assert logq.abs().max() < 1e-5
    assert model.log_prob(haar(n, 50, 1, seed=9)[0], rest).abs().max() < 1e-5


@pytest.mark.parametrize(("n", "loops"), [(2, 2), (3, 2), (3, 3), (4, 2)])
@torch.no_grad()
def test_moments_of_haar_measure_come_back(n, loops, rng):
    """E_q[f / q] = E_Haar[f]: |V_jk|^2, Re V_jk, and Re V_12 V_21 V_11^* V_22^*, which sees relative phases."""
    model = testing.randomised(small(n, loops, strength=1.5), testing.seeded(7), 0.5)
    rest = tuple(r.expand(40_000, n, n) for r in haar(n, 1, loops))
    v, logq = model.sample_and_log_prob(rest, rng)
    product = v[:, 0, 1] * v[:, 1, 0] * v[:, 0, 0].conj() * v[:, 1, 1].conj()
    values = torch.cat([v.abs().square().flatten(1), v.real.flatten(1), product.real[:, None]], 1)
    means = [1 / n] * n * n + [0.0] * n * n + [-1 / (n * (n * n - 1))]  # Weingarten
    values = values * (-logq).exp()[:, None]
    error = values.std(0) / math.sqrt(len(v))
    assert float(((values.mean(0) - torch.tensor(means)).abs() / error).max()) < 4.5


# ---------------------------------------------------------------- the laws of the first column of SU(3)


def su3_column(scales, angle):
    """A column of heat laws and the frame of D e^{i phi}, one link for each row of scales."""
    scales = torch.tensor(scales).movedim(-1, 0)
    phase = torch.polar(torch.ones(scales.shape[1]), torch.full((scales.shape[1],), angle))
    eye = torch.eye(3, dtype=phase.dtype).expand(scales.shape[1], 3, 3)
    return small(3, splines=False).columns[0], frames.Frame(eye, eye, scales, phase)


def rest_of_su3(frame, x, c, t):
    """ln Z of the SU(2) matrix that is left, by its own linear form: Z = I_1(2 k) / k; c and the share t of |v_3|^2."""
    y, t = (1 - x * x).sqrt() * c, torch.as_tensor(t).expand_as(x)
    column = frames.Column(x, y, (1 - x * x - y * y).sqrt(), [(1 - t).sqrt(), t.sqrt()])
    K = frame.form()[:, 1:, None] * frames.complete(column, frame.phase)[:, 1:, 1:]
    k = frames.quaternion(K.mH).scales[0]
    return (torch.special.i1(2 * k) / k).log()


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_the_laws_of_su3_are_first_order_in_the_exact_weight(angle):
    """Slopes of ln Z in c, in c^2 and in t, where Z hardly bends."""
    column, frame = su3_column([[0.3, 0.2, 0.1], [0.3, -0.3, 0.2], [-0.1, 0.25, 0.25]], angle)
    x = torch.tensor([0.1, -0.6, 0.5])
    linear, square = column.side_law(x, (1 - x * x).sqrt(), frame)
    up, middle, down = (rest_of_su3(frame, x, c, 0.5) for c in (0.5, 0.0, -0.5))
    testing.require_close(linear, up - down, "linear", 2e-4)
    testing.require_close(square, (up + down - 2 * middle) * 2, "square", 2e-4)
    y = 0.3 * (1 - x * x).sqrt()
    slope = rest_of_su3(frame, x, 0.3, 1.0) - rest_of_su3(frame, x, 0.3, 0.0)
    testing.require_close(column.ratio_law(x, y, frame), slope, "slope in t", 2e-4)


@pytest.mark.parametrize("linear", [None, 0.4, -0.7])
def test_the_cdf_of_a_tilted_side_is_the_integral_of_its_density(linear):
    """From 0 at c = -1 to 1 at c = 1, with the slope that the density takes, and undone by the draws."""
    t = torch.linspace(-1, 1, 41, dtype=torch.float64)
    inner, law = t[1:-1].clone().requires_grad_(), (None if linear is None else torch.tensor(linear), torch.tensor(0.3))
    cdf, slope = tilts.tilted_side_cdf(tilts.third(inner), *law)
    testing.require_close(slope, torch.autograd.grad(cdf.sum(), inner)[0], "slope", 1e-12)
    gain = tilts.side_gain(tilts.third(inner), law)
    testing.require_close(slope, gain.exp() / 2, "density in t, which is uniform on [-1, 1] without a tilt", 1e-6)
    ends = tilts.tilted_side_cdf(tilts.third(t[[0, -1]]), *law)[0]
    testing.require_close(ends, torch.tensor([0.0, 1.0], dtype=torch.float64), "ends", 1e-6)
    c = tilts.tilted_side(cdf.detach(), *law)
    testing.require_close(c, tilts.third(inner), "quantiles", 1e-6)


@pytest.mark.parametrize("beta", [0.5, 2.0, 6.0, 12.0])
def test_the_heat_law_of_su3_has_nearly_the_exact_mean(beta):
    """<cos a> of the first column under exp(D_1 x) Z, over a, c and t, beside I_3 / I_2 of kappa."""
    scales = [[2 / 3 * beta * d for d in row] for row in ([1.0, 1.0, 1.0], [1.0, 0.8, 0.6])]
    column, frame = su3_column(scales, 0.0)
    a, c, t = (torch.linspace(0, 1, n + 1)[1:] - 0.5 / n for n in (200, 16, 16))
    x, c, t = torch.meshgrid((math.pi * a).cos(), 2 * c - 1, t, indexing="ij")
    x, c, t = x.flatten(), c.flatten(), t.flatten()
    for i, kappa in enumerate(column.kappa(frame, None)):
        scales, phase = frame.scales[:, i : i + 1].expand(3, len(x)), frame.phase[i : i + 1].expand(len(x))
        one = frame._replace(scales=scales, phase=phase)
        log = frame.scales[0, i] * x + rest_of_su3(one, x, c, t)
        weight = (log - log.max()).exp() * (1 - x * x) ** 2 * (1 - c * c)
        exact_mean = (weight * x).sum() / weight.sum()
        assert abs(float(exact_mean - heat_mean(kappa, 4))) < 0.004


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("n", [2, 3, 4])
def test_frames_give_back_the_staples(n):
    first, second = haar(n, 300)
    J = first.mH + second.mH
    turned = [frames.between((first, second)), frames.singular(J, first.mH - second.mH)]
    for frame in turned:
        diagonal = torch.diag_embed(frame.form().conj().to(J.dtype))
        testing.require_close(frame.outside(diagonal), J, "U_1 D U_2^dagger e^{i phi}", 1e-9)
        assert (frame.left.mH @ frame.left - torch.eye(n)).abs().max() < 1e-12
        testing.require_close(torch.linalg.det(frame.left), torch.linalg.det(frame.right), "determinants", 1e-10)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_a_matrix_of_its_column(n, rng):
    v = fk.SUN(n).haar((100,), rng)
    column, phases = frames.split(v, None)
    frame = frames.identity(v).turned(phases)
    E = frames.complete(column, None)
    assert (fk.SUN(n).defect(E) < 1e-12).all()
    testing.require_close(frame.outside(E)[..., 0], v[..., 0], "the first column", 1e-12)


def check_gradients(model, loops):
    """Derivatives of log q and of V by staples against differences; away from degenerate ones."""
    group, rest, u = model.group, haar(model.group.n, 6, loops), haar(model.group.n, 6, 1, seed=5)[0]
    rng = testing.seeded(6)
    weight = torch.randn(u.shape, generator=rng)
    ways = [torch.randn(6, group.algebra_dim, generator=rng) for _ in rest]

    def value(t):
        v, logdet = model(u, tuple(group.exp(t[:, None] * w) @ r for w, r in zip(ways, rest, strict=True)))
        return (v.real * weight).sum((-2, -1)) - logdet

    t = torch.zeros(6, requires_grad=True)
    (slope,) = torch.autograd.grad(value(t).sum(), t)
    step = 1e-5
    with torch.no_grad():
        numeric = (value(t + step) - value(t - step)) / (2 * step)
    testing.require_close(slope, numeric, "d/dstaples", 1e-6)


@pytest.mark.parametrize(("n", "loops"), [(2, 2), (2, 3), (3, 2), (3, 4), (4, 2)])
def test_gradients_by_staples(n, loops):
    check_gradients(testing.randomised(small(n, loops), testing.seeded(7)), loops)


@pytest.mark.parametrize(("n", "loops"), [(2, 2), (3, 2), (3, 3), (2, 4), (4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_staples(n, loops, dtype, rng):
    """Equal staples, centre elements between them, and sums that vanish: finite numbers, finite gradients, densities
    of the draws.
    """
    model, group = testing.randomised(small(n, loops), testing.seeded(7)).to(dtype), fk.SUN(n)
    one = group.haar((40,), rng, dtype)
    for k in range(n):
        turn = torch.polar(torch.tensor(1.0), torch.tensor(2 * math.pi * k / n)).to(one.dtype)
        rest = tuple((one * turn**i).requires_grad_() for i in range(loops))
        v, logq = model.sample_and_log_prob(rest, rng)
        (logq.sum() + v.real.sum()).backward()
        assert v.isfinite().all()
        assert logq.isfinite().all()
        assert all(r.grad.isfinite().all() for r in rest)
        assert all(p.grad.isfinite().all() for p in model.parameters())
        assert (group.defect(v.detach()) < (1e-10 if dtype == torch.float64 else 1e-4)).all()


# ---------------------------------------------------------------- in a hierarchy


def test_two_dimensions_and_three(rng):
    """log q of a draw is that of the field, in two dimensions and with ordered new links in three."""
    flat = fk.Haar(fk.links((1, 1), fk.SUN(3)))
    for mu in (0, 1):
        doubling = LinkDoubling(flat.space, mu)
        flat = fk.Flow(fk.priors.Embedded(flat, doubling), fk.multiscale.NewLinks(doubling, small(3)))
    coarse = fk.links((2, 1, 2), fk.SUN(2))
    doubling = LinkDoubling(coarse, 1, order="colours")
    last = fk.multiscale.NewLinks(doubling, [small(2, stage.loops) for stage in doubling.stages])
    deep = fk.Flow(fk.priors.Embedded(fk.Haar(coarse), doubling), last)
    for model in (flat, deep):
        model = testing.randomised(model, testing.seeded(7))
        x, logq = model.sample_and_log_prob(20, rng)
        testing.require_close(model.log_prob(x), logq, "log q", 1e-9)
        act = testing.symmetry(model.space, "gauge", testing.seeded(5))
        testing.require_close(model.log_prob(act(x)), logq, "log q of g x", 1e-9)
        f = model.flattened().transform
        z, logdet = f.inverse(x)
        testing.require_same_field(model.space.group, f(z)[0], x, "base variables and back", 1e-8)
        testing.require_close(logdet, logq, "log|det dz/dx|", 1e-8)


# ---------------------------------------------------------------- mistakes must be found


def plant(monkeypatch, kind):
    """Mistakes of a kind that a plausible ESS would hide."""
    if kind == "the norm of another sphere":
        norm = columns.heat_log_norm
        monkeypatch.setattr(columns, "heat_log_norm", lambda kappa, n, scaled: norm(kappa, n + 2, scaled))
    elif kind == "a slope forgotten":
        monkeypatch.setattr(columns.HaarColumn, "turn", lambda self, phase, gate, context, inverse: (phase * 1.0, 0.1))
    elif kind == "the wrong sphere":
        angle, cdf = columns.heat_angle, columns.heat_cdf
        monkeypatch.setattr(columns, "heat_angle", lambda u, kappa, n: angle(u, kappa, n - 2))
        monkeypatch.setattr(columns, "heat_cdf", lambda a, kappa, n: cdf(a, kappa, n - 2))
    elif kind == "a frame that does not turn":
        turned, eye = heat_angle.between, torch.eye(3).to(torch.complex128).expand(1, 3, 3)
        monkeypatch.setattr(heat_angle, "between", lambda rest: turned(rest)._replace(left=eye, right=eye))
    elif kind == "the second coordinate as on S^3":
        monkeypatch.setattr(columns, "side", lambda u, n: 2 * u - 1)
        monkeypatch.setattr(columns, "side_cdf", lambda c, n: ((c + 1) / 2, torch.full_like(c, 0.5)))


MISTAKES = ["the norm of another sphere", "a slope forgotten", "the wrong sphere", "a frame that does not turn",
            "the second coordinate as on S^3"]  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_planted_mistakes_are_found(kind, monkeypatch):
    plant(monkeypatch, kind)
    with pytest.raises(AssertionError):
        testing.check_conditional(small(3))


def test_gradients_find_a_frame_without_gradient(monkeypatch):
    monkeypatch.setattr(frames._Vectors, "apply", lambda u, angles, vectors: vectors)
    with pytest.raises(AssertionError, match="d/dstaples"):
        check_gradients(testing.randomised(small(3), testing.seeded(7)), 2)


# ---------------------------------------------------------------- details


def test_nothing_is_shared_by_copies():
    model = small(3)
    other = copy.deepcopy(model)
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in other.parameters()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((1, 1.0, 8), r"loops, a whole number in \[2, 1000\]; got 1"),
        ((2, 0.0, 8), "strength, a finite number > 0; got 0.0"),
        ((2, 1.0, 1), r"bins, a whole number in \[2, 500\]; got 1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=f"HeatAngleConditional needs {message}"):
        HeatAngleConditional(3, *options)


def test_another_number_of_loops(rng):
    with pytest.raises(ValueError, match="of 2 loops got 3"):
        small(3).sample_and_log_prob(haar(3, 4, 3), rng)


@pytest.mark.parametrize(("beta", "largest"), [(1.0, 1e-5), (6.0, 5e-4), (12.0, 8e-4)])
def test_the_heat_law_alone_is_close_to_the_exact_one(beta, largest):
    """Half the variance of log w of a link between two plaquettes of SU(3), nothing trained."""
    group, rng = fk.SUN(3), testing.seeded(1)
    model = HeatAngleConditional(3, strength=beta, splines=False)
    A = group.compose(*(one_plaquette(group, beta, 1024, rng, torch.get_default_dtype()) for _ in range(2)))
    A = A.repeat(8, 1, 1)
    with torch.no_grad():
        v, logq = model.sample_and_log_prob((A, group.identity((len(A),), A)), rng)
        logw = beta * (group.trace(v) + group.trace(group.compose(v, A))) - logq
    assert logw.view(8, -1).var(0).mean() / 2 < largest


def test_the_heat_law_of_four_staples():
    """The same where the sum of staples has a phase; 7.6e-4 without the laws of the second number and the moduli."""
    group, rng = fk.SUN(3), testing.seeded(2)
    model = HeatAngleConditional(3, loops=4, strength=2.0, splines=False)
    rest = tuple(group.haar((512,), rng, torch.get_default_dtype()).repeat(8, 1, 1) for _ in range(4))
    with torch.no_grad():
        v, logq = model.sample_and_log_prob(rest, rng)
        logw = 2 * sum(group.trace(group.compose(v, r)) for r in rest) - logq
    assert logw.view(8, -1).var(0).mean() / 2 < 2e-4


def test_a_few_steps_of_training():
    """Two plaquettes of SU(3) at beta = 6, drawn independently: the variance of log w of a link falls."""
    group, rng = fk.SUN(3), testing.seeded(1)
    torch.manual_seed(1)
    model = HeatAngleConditional(3, strength=6.0).float()
    one = group.identity((1,), torch.zeros(1, dtype=torch.float32))
    pool = group.compose(*(one_plaquette(group, 6.0, 4096, rng, torch.float32) for _ in range(2)))
    adam = torch.optim.Adam(model.parameters(), 1e-2, betas=(0.9, 0.99))

    def variance(n):
        A = pool[torch.randint(len(pool), (n,), generator=rng)].repeat(8, 1, 1)
        v, logq = model.sample_and_log_prob((A, one.expand_as(A)), rng)
        return (6 * (group.trace(v) + group.trace(group.compose(v, A))) - logq).view(8, n).var(0).mean()

    with torch.no_grad():
        before = variance(2048)
    for step in range(60):
        adam.param_groups[0]["lr"] = 1e-2 * (1 - step / 60)
        adam.zero_grad()
        variance(128).backward()
        adam.step()
    with torch.no_grad():
        assert variance(2048) < before / 2

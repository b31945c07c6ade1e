"""Couplings of SU(N) links: symmetry and round trips where eigenvalues meet, Jacobians, what is looked at, the bound of
the residual update, its potential and its inverse, learned loops.
"""

import copy
import itertools
import math

import pytest
import torch
from test_loops import walk
from test_spectral import degenerate

import flowkit as fk
from flowkit import testing
from flowkit.bijections import AlcoveSpline, EigenangleSpline, LinkContext, Residual
from flowkit.geometry import Loop, Pattern, frozen_loops
from flowkit.geometry.loops import gauge_transform
from flowkit.kernels import sun as kernels
from flowkit.testing import example
from flowkit.train import losses
from flowkit.transforms import GaugeCoupling

F64 = torch.float64
GROUPS = [2, 3, 4]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def spectral(n, loop=None, bins=4, order=2):
    return EigenangleSpline(fk.SUN(n), loop, bins, order)


UPDATES = {
    "learned loop": lambda n: [spectral(n)],
    "plaquette loop": lambda n: [spectral(n, 1)],
    "residual": lambda n: [Residual(n)],
    "residual, loose": lambda n: [Residual(n, 0.5, 1e-5)],
    "all in turn": lambda n: [spectral(n), Residual(n), spectral(n, 0, order=3), Residual(n, 0.5)],
}


def make(n, sides=(2, 4), updates="all in turn", context="local", **options):
    """A coupling of SU(n): stripes in two dimensions, checkered links and all their plaquettes in more."""
    space, mu = fk.links(sides, fk.SUN(n)), len(sides) - 2
    pattern, loops = Pattern.checkerboard(mu, len(sides), 1), Loop.rectangle().through(mu, len(sides))
    frozen = [] if context == "local" else Loop.rectangle().orientations(len(sides))
    options = {"hidden": (5,), "start": 1.0, **options}
    torch.manual_seed(3)
    return GaugeCoupling(
        space, pattern, loops, UPDATES[updates](n), local=context != "plaquettes", frozen=frozen, **options
    )


def lively(coupling, scale=0.3):
    return testing.randomised(coupling, testing.seeded(7), scale)


def inside(f, x):
    """The R_i and the answers of the network for the fields x, as the coupling computes them."""
    _, *products = f._products(x.flatten(1, 1 + f.space.ndim))
    rest, frozen = products[: len(f.loops)], products[len(f.loops) :]
    return rest, f._answers(f._features(rest, frozen))


def one_link(update, n, count=40, loops=2, seed=1, scale=0.5):
    """Haar matrices v and R_i, [1, count, n, n], and parameters of the update."""
    rng, group = testing.seeded(seed), fk.SUN(n)
    v = group.haar((1, count), rng, F64)
    rest = [group.haar((1, count), rng, F64) for _ in range(loops)]
    params = scale * torch.randn(update.count_with(loops), 1, count, generator=rng, dtype=F64)
    return v, rest, params


def link_jacobian(move, v):
    """log det of a map of single links v [sites, batch, n, n] by autograd in algebra coordinates, [sites, batch]."""
    group = fk.SUN(v.shape[-1])
    w = torch.zeros(group.algebra_shape(v.shape), dtype=F64, requires_grad=True)
    y = move(group.compose(group.exp(w), v))
    out = testing.difference(group, y, y.detach())
    rows = [torch.autograd.grad(out[..., a].sum(), w, retain_graph=True)[0] for a in range(group.algebra_dim)]
    sign, logdet = torch.linalg.slogdet(torch.stack(rows, -2))
    assert (sign > 0).all()
    return logdet


# ---------------------------------------------------------------- the contract


@pytest.mark.parametrize(
    ("n", "updates", "sides"),
    [
        *((n, updates, (2, 4)) for n in (2, 3) for updates in UPDATES),
        (4, "all in turn", (2, 2)),
        (2, "all in turn", (2, 2, 4)),
    ],
)
def test_contract(n, updates, sides):
    context = "both" if len(sides) > 2 else "local"
    coupling = make(n, sides, updates, context, kernel=(3, 1) if len(sides) > 2 else 1)
    testing.check_transform(coupling)
    testing.check_equivariance(coupling, testing.symmetry(coupling.space, "gauge", testing.seeded(5)))


def check_update_jacobian(update, n):
    """logdet of each link and of its inverse, and the way back, against autograd."""
    v, rest, params = one_link(update, n)
    y, logdet = update.forward(v, LinkContext(rest, params))
    assert (fk.SUN(n).defect(y) < 1e-12).all(), "an update leaves the group"
    came = link_jacobian(lambda u: update.forward(u, LinkContext(rest, params))[0], v)
    assert (came - logdet).abs().max() < 1e-8, f"logdet off by {float((came - logdet).abs().max()):.2g}"
    back, minus = update.inverse(y, LinkContext(rest, params))
    assert (back - v).abs().max() < 1e-11, "the inverse is none"
    assert (minus + logdet).abs().max() < 1e-8, "the logdet of the inverse is not that of the map"


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["learned loop", "plaquette loop", "residual", "residual, loose"])
def test_jacobian_of_each_update(kind, n):
    check_update_jacobian(UPDATES[kind](n)[0], n)


@pytest.mark.parametrize("n", GROUPS)
@pytest.mark.parametrize("distance", [1e-1, 1e-3])
def test_jacobian_near_equal_eigenvalues(n, distance):
    """W = V R near the centre of the group, for every update."""
    group = fk.SUN(n)
    for update in UPDATES["all in turn"](n):
        _, rest, params = one_link(update, n)
        k = torch.arange(40, dtype=F64).view(1, 40, 1, 1) % n
        w = distance * torch.randn(1, 40, group.algebra_dim, generator=testing.seeded(), dtype=F64)
        v = group.exp(w) * torch.exp(2j * math.pi * k / n) @ rest[0].mH
        came = link_jacobian(lambda u, up=update, r=rest, p=params: up.forward(u, LinkContext(r, p))[0], v)
        assert (came - update.forward(v, LinkContext(rest, params))[1]).abs().max() < 1e-9 / distance


@pytest.mark.parametrize("n", GROUPS)
def test_updates_follow_one_another(n):
    """A coupling is its updates in turn, with the same frozen loops, and logdet is their sum."""
    f = lively(make(n))
    x = testing.fields(f.space, 3, testing.seeded())
    rest, params = inside(f, x)
    v = x.flatten(1, 3).transpose(0, 1)[f.active]
    total = 0
    for update, own in zip(f.updates, torch.split(params, f.counts), strict=True):
        v, logdet = update.forward(v, LinkContext(rest, own))
        total = total + logdet.sum(0)
    y, came = f(x)
    assert (y.flatten(1, 3).transpose(0, 1)[f.active] - v).abs().max() < 1e-12
    assert (came - total).abs().max() < 1e-11


# ---------------------------------------------------------------- symmetry and round trips


def special(space, count):
    """Fields at and near equal eigenvalues, `count` of each kind, float64: cold, centre elements, pure gauge, those two
    together, near them by 1e-1 ... 1e-12, and rough ones.
    """
    rng, group = testing.seeded(2), space.group
    cold = group.identity((count, *space.shape[:-2]), torch.zeros((), dtype=F64))
    k = torch.randint(0, group.n, cold.shape[:-2], generator=rng)
    centre = cold * torch.exp(2j * math.pi * k.to(F64) / group.n)[..., None, None]
    size = 10.0 ** -torch.randint(1, 13, (count, *[1] * (space.ndim + 2)), generator=rng).to(F64)
    near = group.exp(size * torch.randn(count, *space.algebra_shape, generator=rng, dtype=F64))

    def pure(x):
        return gauge_transform(space, x, group.haar((count, 1, *space.lattice), rng, F64))

    return {
        "cold": cold,
        "centre": centre,
        "pure gauge": pure(cold),
        "pure gauge and centre": pure(centre),
        "near": pure(near),
        "near centre": pure(group.compose(near, centre)),
        "rough": space.haar(count, rng, F64),
    }


def check_symmetry(f, x, dtype):
    """Gauge equivariance and the round trip, of fields and logdets, to the tolerance of the precision."""
    tolerance, act = TOLERANCE[dtype], testing.symmetry(f.space, "gauge", testing.seeded(5))
    with torch.no_grad():
        (y, logdet), (turned, turned_logdet) = f(x), f(act(x))
        back, minus = f.inverse(y)
    assert y.isfinite().all()
    assert (turned - act(y)).abs().max() < tolerance
    assert (back - x).abs().max() < tolerance
    assert f.space.group.defect(y).max() < tolerance
    # At equal eigenvalues the slope of logdet multiplies the errors of the angles: relative to numbers of its size.
    scale = 1 + logdet.abs().max()
    assert (turned_logdet - logdet).abs().max() < tolerance * scale
    assert (minus + logdet).abs().max() < 10 * tolerance * scale


def check_gradients_are_finite(f, x):
    x = x.clone().requires_grad_()
    for run in (f, f.inverse):
        y, logdet = run(x)
        value = logdet.sum() + (y * y.detach().roll(1, -1)).real.sum()
        assert all(g.isfinite().all() for g in torch.autograd.grad(value, [x, *f.parameters()]))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sides", [(2, 4), (2, 2, 4), (2, 2, 2, 2)], ids=lambda s: f"{len(s)}D")
@pytest.mark.parametrize("n", GROUPS)
def test_symmetry_near_equal_eigenvalues(n, sides, dtype):
    """More than 1,000 fields in all, in each precision."""
    updates = "all in turn" if len(sides) == 2 else "learned loop"
    f = lively(make(n, sides, updates, "local" if len(sides) == 2 else "both"), 0.2).to(dtype)
    kinds = special(f.space, 18)
    for x in kinds.values():
        check_symmetry(f, x.to(f.space.group.field_dtype(dtype)), dtype)
    few = torch.cat([x[:2] for x in kinds.values()])
    check_gradients_are_finite(f, few.to(f.space.group.field_dtype(dtype)))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("updates", UPDATES)
@pytest.mark.parametrize("n", GROUPS)
def test_symmetry_where_loops_have_equal_eigenvalues(n, updates, dtype):
    """Rough frozen links, and active ones that give the first loop two or more equal eigenvalues, exactly or nearly."""
    f = lively(make(n, (2, 2), updates), 0.2)
    x = testing.fields(f.space, 60, testing.seeded())
    rest, _ = inside(f, x)
    loop = degenerate(n, 60 * len(f.active), testing.seeded()).view(len(f.active), 60, n, n)
    flat = x.flatten(1, 3).index_copy(1, f.active, (loop @ rest[0].mH).transpose(0, 1))
    f, x = f.to(dtype), flat.view_as(x).to(f.space.group.field_dtype(dtype))
    check_symmetry(f, x, dtype)
    check_gradients_are_finite(f, x[:20])


# ---------------------------------------------------------------- what is read, and what moves


CONTEXTS = [((4, 6), "local"), ((2, 4, 2), "plaquettes"), ((2, 4, 2), "both"), ((2, 2, 2, 4), "local")]


@pytest.mark.parametrize(("sides", "context"), CONTEXTS)
def test_the_products_are_paths(sides, context):
    """The active links; R_i that close the loops through them; and frozen loops that are plaquettes, step by step."""
    f = make(3, sides, context=context)
    x = testing.fields(f.space, 2, testing.seeded())
    products, mu = f._products(x.flatten(1, 1 + f.space.ndim)), f.pattern.directions[0]
    every = list(itertools.product(*map(range, sides)))
    starts = [every[site] for site in f.pattern.sites(sides, mu)]
    wanted = [(starts, f.loops[0].steps(len(sides))[:1])]
    wanted += [(starts, loop.steps(len(sides))[1:]) for loop in f.loops]
    for loop in f.frozen:
        starts = [every[site] for site in frozen_loops(f.space, f.pattern, loop)]
        wanted += [(starts, loop.steps(len(sides)))] if starts else []
    assert len(products) == len(wanted)
    for product, (bases, steps) in zip(products, wanted, strict=True):
        for k, base in enumerate(bases):
            assert (product[k] - walk(f.space, x, steps, base)).abs().max() < 1e-12


def check_context_of_matrices(f):
    """The network's answers have no derivative with respect to active links, and one with respect to frozen ones."""
    x = testing.fields(f.space, 2, testing.seeded()).requires_grad_()
    _, params = inside(f, x)
    weight = torch.randn(params.shape, generator=testing.seeded(2), dtype=F64)
    (slope,) = torch.autograd.grad((params * weight).sum(), x)
    flat = slope.flatten(1, 1 + f.space.ndim)
    active = torch.zeros(flat.shape[1], dtype=torch.bool)
    active[f.active] = True
    assert (flat[:, active] == 0).all(), "the context saw active links"
    assert (flat[:, ~active].abs().amax((0, 2, 3)) > 0).sum() >= active.sum(), "the context sees next to nothing"


@pytest.mark.parametrize(("sides", "context"), CONTEXTS)
def test_the_context_is_frozen(sides, context):
    check_context_of_matrices(lively(make(3, sides, context=context, kernel=1 if context == "local" else 3)))


@pytest.mark.parametrize(("sides", "context"), CONTEXTS)
def test_active_links_move_and_each_depends_on_itself_alone(sides, context):
    f = lively(make(2, sides, context=context))
    x = testing.fields(f.space, 2, testing.seeded())
    y = f(x)[0]
    moved = (y != x).flatten(-2).any(-1).flatten(1)
    active = torch.zeros_like(moved)
    active[:, f.active] = True
    assert torch.equal(moved, active)
    x.requires_grad_()
    first = f(x)[0].flatten(1, 1 + f.space.ndim)[:, f.active[0]]
    (slope,) = torch.autograd.grad((first * first.detach().roll(1, -1)).real.sum(), x)
    others = slope.flatten(1, 1 + f.space.ndim)[:, f.active[1:]]
    assert (others == 0).all()


def test_local_features_fix_the_eigenvalues_of_the_frozen_loop():
    """They are Tr (R_0 R_1^dagger)^k / N with k <= N/2: by Newton's identities and det = 1 the whole spectrum."""
    for n in (2, 3, 4, 5):
        f = make(n, (2, 4))
        (a, b), _ = inside(f.double(), testing.fields(f.space, 3, testing.seeded()))
        (features,) = f._features([a, b], [])
        traces = [torch.linalg.matrix_power(a @ b.mH, k).diagonal(dim1=-2, dim2=-1).sum(-1) / n
                  for k in range(1, n // 2 + 1)]  # fmt: skip
        expected = torch.stack([t.real for t in traces] + ([t.imag for t in traces] if n > 2 else []))
        assert (features - expected).abs().max() < 1e-13


@pytest.mark.parametrize("sides", [(4, 6), (4, 2, 4), (2, 2, 2, 4)], ids=str)
def test_translations_by_the_period(sides):
    f = make(2, sides, context="local" if len(sides) == 2 else "both", kernel=3)
    steps = (1, 2) if len(sides) == 2 else [2 if nu != f.pattern.directions[0] else 1 for nu in range(len(sides))]
    testing.check_equivariance(f, lambda x: testing.translate(x, steps))


@pytest.mark.parametrize("n", GROUPS)
def test_every_parameter_learns(n):
    for sides in ((2, 4), (2, 2, 2)):
        f = lively(make(n, sides, context="local" if len(sides) == 2 else "both"))
        flow = fk.Flow(fk.Haar(f.space).double(), f)
        for loss in (losses.path_gradient, losses.reverse_kl):
            testing.require_gradients(flow, loss(flow, fk.Wilson(f.space, 1.0), 4, testing.seeded()).value, str(n))


def test_zero_parameters_are_the_identity():
    for n in GROUPS:
        f = make(n, start=0.0).double()
        x = testing.fields(f.space, 3, testing.seeded())
        y, logdet = f(x)
        assert (y - x).abs().max() < 1e-12
        assert logdet.abs().max() < 1e-11


@pytest.mark.parametrize(("sides", "bigger"), [((2, 4), (6, 8)), ((2, 2, 4), (4, 2, 8))])
def test_on_a_bigger_lattice(sides, bigger):
    """The same weights and the same treatment of a link: copies of a small field side by side move as it does."""
    f = lively(make(3, sides, context="local" if len(sides) == 2 else "both"))
    big = f.on(f.space.on(bigger))
    assert (big.pattern, big.loops, big.updates, big.frozen) == (f.pattern, f.loops, f.updates, f.frozen)
    assert big.space.lattice == bigger
    x = testing.fields(big.space, 2, testing.seeded())
    y, logdet = big(x)
    back, minus = big.inverse(y)
    assert (back - x).abs().max() < 1e-10
    assert (minus + logdet).abs().max() < 1e-8
    copies = [many // few for many, few in zip(bigger, sides, strict=True)]
    x = testing.fields(f.space, 2, testing.seeded())
    y, logdet = f(x)
    tiled, total = big(x.repeat(1, 1, *copies, 1, 1))
    assert (tiled - y.repeat(1, 1, *copies, 1, 1)).abs().max() < 1e-10
    assert (total - math.prod(copies) * logdet).abs().max() < 1e-8


# ---------------------------------------------------------------- residual updates


def wild(n, loops=2, count=64):
    """Parameters of size up to 50, from all zero through one alone to all at the ends."""
    rng, parts = testing.seeded(4), 4 * loops
    params = 100 * torch.rand(parts, 1, count, generator=rng, dtype=F64) - 50
    params[:, :, :16] = 50 * params[:, :, :16].sign()
    params[:, :, 16:32] *= torch.rand(parts, 1, 16, generator=rng, dtype=F64) < 0.3
    params[:, :, 32:40] *= 1e-3
    params[:, :, 40] = 0
    return params


def potential(w, rest, v, coefficients):
    """phi at exp(w) v, [sites, batch], as the docstring states it."""
    group = fk.SUN(v.shape[-1])
    u = group.compose(group.exp(w), v)
    total = 0
    for r, a, b, d in zip(rest, *coefficients, strict=True):
        t = (u @ r).diagonal(dim1=-2, dim2=-1).sum(-1)
        total = total + (a * t).real + b * t.abs() ** 2 / 2 + d * (t**2).real / 2
    return total


def hessian_of(update, v, rest, params):
    """w^a = d^a phi and J_ab = d_b w^a by autograd of the potential: gradient of the flow along the group."""
    group = fk.SUN(v.shape[-1])
    coefficients = update._coefficients(params)
    e = torch.zeros(group.algebra_shape(v.shape), dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(potential(e, rest, v, coefficients).sum(), e)

    def w(u):
        return update._move(update._slope([u @ r for r in rest], coefficients))

    moved = w(group.compose(group.exp(e), v))
    rows = [torch.autograd.grad(moved[..., a].sum(), e, retain_graph=True)[0] for a in range(group.algebra_dim)]
    return slope, moved.detach(), torch.stack(rows, -2)


def check_residual_is_a_gradient(n=3):
    update = Residual(n)
    slope, moved, _ = hessian_of(update, *one_link(update, n))
    assert moved.abs().max() > 0.1
    assert (slope - moved).abs().max() < 1e-12, "w is not the gradient of the potential"
    v, rest, params = one_link(update, n)
    group = fk.SUN(n)
    assert (update.forward(v, LinkContext(rest, params))[0] - group.compose(group.exp(slope), v)).abs().max() < 1e-12


@pytest.mark.parametrize("n", GROUPS)
def test_the_residual_update_climbs_its_potential(n):
    check_residual_is_a_gradient(n)


def check_residual_bound(n=3, bound=0.9):
    """For any parameters: ||J|| <= the sum of the docstring <= bound, the determinant positive, the inverse there."""
    update = Residual(n, bound)
    v, rest, _ = one_link(update, n, count=64)
    rest[0][:, :20] = v[:, :20].mH  # W_0 = 1: the largest |t|
    params = wild(n)
    a, b, d = update._coefficients(params)
    total = (a.abs() / 2 + n * (b.abs() + d.abs())).sum(0)
    assert (total <= bound * (1 + 1e-12)).all(), "the coefficients exceed the bound"
    _, _, J = hessian_of(update, v, rest, params)
    norm = torch.linalg.matrix_norm(J, 2)
    assert (norm <= total + 1e-12).all(), "the stated sum is no bound of ||J||"
    y, logdet = update.forward(v, LinkContext(rest, params))
    assert logdet.isfinite().all()
    came = link_jacobian(
        lambda u: update.forward(u, LinkContext(rest, params))[0], v
    )  # and asserts a positive determinant
    assert (came - logdet).abs().max() < 1e-10
    x, minus = update.inverse(y, LinkContext(rest, params))
    assert (x - v).abs().max() < 1e-11
    assert (minus + logdet).abs().max() < 1e-10


@pytest.mark.parametrize("bound", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", GROUPS)
def test_the_bound_holds_for_wild_parameters(n, bound):
    check_residual_bound(n, bound)


def test_the_bound_is_reached():
    """One loop, phi = Re(a t), W = 1: J = -a/2, so that no smaller factor of |a| would do; and wild ones use it up."""
    for n in GROUPS:
        update = Residual(n, 0.9)
        one = torch.eye(n, dtype=torch.complex128).view(1, 1, n, n)
        params = torch.tensor([1e3, 0.0, 0.0, 0.0], dtype=F64).view(4, 1, 1)
        _, moved, J = hessian_of(update, one, [one], params)
        assert moved.abs().max() < 1e-12
        assert (J + 0.9 * torch.eye(n * n - 1, dtype=F64)).abs().max() < 1e-9
        logdet = update.forward(one, LinkContext([one], params))[1]
        assert float(logdet) == pytest.approx((n * n - 1) * math.log(0.1), abs=1e-7)


@pytest.mark.parametrize("n", GROUPS)
def test_the_inverse_stops_at_its_tolerance(n):
    """The fixed point is found to the tolerance / (1 - bound), in either precision."""
    for dtype, tolerance in ((F64, 0.0), (F64, 1e-6), (torch.float32, 0.0)):
        update = Residual(n, 0.9, tolerance)
        v, rest, _ = one_link(update, n, count=64)
        kind = fk.SUN(n).field_dtype(dtype)
        v, rest, params = v.to(kind), [r.to(kind) for r in rest], wild(n).to(dtype)
        coefficients = update._coefficients(params)
        y = update.forward(v, LinkContext(rest, params))[0]
        reached = tolerance or (1e-13 if dtype == F64 else 2e-6)
        x = update._solve(y, rest, coefficients)
        assert (x - v).abs().max() < 10 * n * reached / (1 - 0.9)
        assert (update.inverse(y, LinkContext(rest, params))[0] - v).abs().max() < (1e-10 if dtype == F64 else 1e-4)


def check_residual_inverse_gradients(n=2):
    """Of V and logdet with respect to V', the loops and the parameters, against differences."""
    update, group = Residual(n), fk.SUN(n)
    v, rest, params = one_link(update, n, count=2, loops=2)
    y = update.forward(v, LinkContext(rest, params))[0].detach()

    def run(e, first, p):
        moved = [group.compose(group.exp(first), rest[0]), rest[1]]
        x, logdet = update.inverse(group.compose(group.exp(e), y), LinkContext(moved, p))
        return torch.view_as_real(x), logdet

    zero = torch.zeros(1, 2, group.algebra_dim, dtype=F64)
    inputs = tuple(t.clone().requires_grad_() for t in (zero, zero, params))
    assert torch.autograd.gradcheck(run, inputs, atol=1e-6, raise_exception=False), "the inverse has wrong gradients"


def test_the_inverse_of_a_residual_update_has_gradients():
    check_residual_inverse_gradients()
    check_residual_inverse_gradients(3)


def test_matrices_outside_the_group_are_refused():
    update = Residual(2)
    v, rest, params = one_link(update, 2, scale=5.0)
    with pytest.raises(RuntimeError, match=r"did not settle to 1e-13 in \d+ steps. Are the matrices in the group\?"):
        update.inverse(4 * v, LinkContext(rest, params))


def test_residual_near_the_identity_is_the_gradient_flow():
    """Small coefficients: logdet = Laplacian of phi to first order, the leading order of the trivializing flow; of
    Re(a t) it is -(N^2 - 1) / (2 N) Re(a t), the eigenvalue of the fundamental representation.
    """
    for n in GROUPS:
        update = Residual(n, 1e-6)
        v, rest, params = one_link(update, n, loops=1)
        params[1:] = 0
        a = update._coefficients(params)[0][0]
        t = (v @ rest[0]).diagonal(dim1=-2, dim2=-1).sum(-1)
        expected = -(n * n - 1) / (2 * n) * (a * t).real
        assert (update.forward(v, LinkContext(rest, params))[1] - expected).abs().max() < 1e-11
        assert expected.abs().max() > 1e-8


# ---------------------------------------------------------------- spectral updates


def check_learned_loop_of_su2():
    """Equal weights: Re Tr V F^dagger / 2 of V' is the image of that of V, F = (S_1 + S_2) / |S_1 + S_2|, |..| the root
    of the determinant; and V' F^dagger, V F^dagger have common eigenvectors.
    """
    update, spline = spectral(2), AlcoveSpline(2, 4, 2)
    v, rest, params = one_link(update, 2)
    params[spline.count :] = 0
    total = rest[0].mH + rest[1].mH
    F = total / torch.linalg.det(total).real.sqrt()[..., None, None]
    y, logdet = update.forward(v, LinkContext(rest, params))

    def half_trace(u):
        return (u @ F.mH).diagonal(dim1=-2, dim2=-1).real.sum(-1) / 2

    angle = half_trace(v).clamp(-1, 1).acos()
    new, logs = spline.forward(torch.stack([-angle, angle]), params[: spline.count])
    assert (half_trace(y) - half_trace(v)).abs().max() > 0.01
    assert (half_trace(y) - new[1].cos()).abs().max() < 1e-10, "the learned loop is another"
    assert (logdet - logs).abs().max() < 1e-7
    one, other = v @ F.mH, y @ F.mH
    assert (one @ other - other @ one).abs().max() < 1e-10, "the eigenvectors turned"


def test_the_learned_loop_of_su2():
    check_learned_loop_of_su2()


@pytest.mark.parametrize("n", GROUPS)
def test_the_learned_loop_of_one_weight_is_a_plaquette(n):
    """With c_2 = 0 the learned loop is loop 0."""
    learned, plain = spectral(n), spectral(n, 0)
    v, rest, params = one_link(learned, n)
    params[-2:] = torch.tensor([1.0, -1.0], dtype=F64).view(2, 1, 1)  # weights 2 and 0
    came, expected = learned.forward(v, LinkContext(rest, params)), plain.forward(v, LinkContext(rest, params[:-2]))
    assert (came[0] - expected[0]).abs().max() < 1e-11
    assert (came[1] - expected[1]).abs().max() < 1e-8


@pytest.mark.parametrize("n", GROUPS)
def test_a_spectral_update_keeps_eigenvectors_and_maps_eigenvalues(n):
    update, spline = spectral(n, 1), AlcoveSpline(n, 4, 2)
    v, rest, params = one_link(update, n)
    before, after = v @ rest[1], update.forward(v, LinkContext(rest, params))[0] @ rest[1]
    assert (before @ after - after @ before).abs().max() < 1e-11
    angles = kernels.spectrum(before)[0].movedim(-1, 0)
    assert (kernels.spectrum(after)[0].movedim(-1, 0) - spline.forward(angles, params)[0]).abs().max() < 1e-9


# ---------------------------------------------------------------- densities


@pytest.mark.parametrize(("n", "updates"), [(2, "all in turn"), (3, "all in turn"), (4, "residual")])
def test_densities_are_normalised(n, updates):
    """The mean of q over Haar fields on 2x2 is 1."""
    f = make(n, (2, 2), updates)
    with torch.no_grad():
        for parameter in f.parameters():
            parameter.mul_(0.6)
    testing.check_normalised(fk.Flow(fk.Haar(f.space), f).double(), 6000)


# ---------------------------------------------------------------- bad input


STRIPES, PAIR = Pattern.checkerboard(0, 2, 1), Loop.rectangle().through(0, 2)
SPACE = fk.links((4, 6), fk.SUN(3))


@pytest.mark.parametrize(("build", "message"), [
    (lambda: GaugeCoupling(SPACE, STRIPES, PAIR, [Residual(2)]), r"needs updates of links of SUN\(3\); got Residual"),
    (lambda: GaugeCoupling(fk.sites((4, 6)), STRIPES, PAIR), "GaugeCoupling needs links; got Sites"),
    (lambda: GaugeCoupling(SPACE, STRIPES, []), "GaugeCoupling needs loops and updates; got 0 and 1"),
    (lambda: GaugeCoupling(SPACE, STRIPES, PAIR, []), "GaugeCoupling needs loops and updates; got 2 and 0"),
    (lambda: GaugeCoupling(SPACE, STRIPES, [Loop.rectangle(t=2)]), "holds more than one active link"),
    (lambda: GaugeCoupling(SPACE, STRIPES, PAIR[:1]), "leaves no frozen loop for the network"),
    (lambda: GaugeCoupling(SPACE, STRIPES, PAIR, local=False), "leaves no frozen loop for the network"),
    (lambda: GaugeCoupling(SPACE, STRIPES, [Loop.rectangle(1, 0)]), r"starts with \+0; got \+1 \+0 -1 -0"),
    (lambda: GaugeCoupling(SPACE, STRIPES, PAIR, [spectral(3, 2)]), "one of 2, counted from 0; got 2"),
    (lambda: GaugeCoupling(SPACE, STRIPES, PAIR, [spectral(3, -1)]), "needs loop, a whole number >= 0 or None; got -1"),
    (lambda: GaugeCoupling(SPACE, STRIPES, PAIR, activation="relu"), "An activation is one of"),
    (lambda: example(GaugeCoupling).on(fk.links((4, 5), fk.SUN(3))), "multiples of these; got 4x5"),
    (lambda: make(3)(torch.zeros(2, 2, 2, 4, 2, 2, dtype=torch.complex64)), r"holds fields \[batch, 2, 2, 4, 3, 3\]"),
    (lambda: spectral(3, bins=1), "needs bins, a whole number in .2, 500.; got 1"),
    (lambda: spectral(3, order=0), "needs order, a whole number >= 1; got 0"),
    (lambda: Residual(3, 0.0), r"Residual needs bound, a number in \(0, 1\); got 0.0"),
    (lambda: Residual(3, 1.0), r"Residual needs bound, a number in \(0, 1\); got 1.0"),
    (lambda: Residual(3, math.nan), r"Residual needs bound, a number in \(0, 1\); got nan"),
])  # fmt: skip
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_unknown_keywords_raise():
    for build in (GaugeCoupling, EigenangleSpline, Residual):
        with pytest.raises(TypeError, match=r"missing a required argument|layers"):
            build(layers=3)


def test_weights_on_a_lattice_of_another_group_do_not_fit():
    with pytest.raises(ValueError, match=r"needs updates of links of SUN\(2\); got"):
        example(GaugeCoupling).on(fk.links((4, 6), fk.SUN(2)))


def test_a_coupling_is_copied_whole():
    f = lively(make(2))
    x = testing.fields(f.space, 2, testing.seeded())
    assert torch.equal(copy.deepcopy(f)(x)[0], f(x)[0])


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_learned_loop_of_equal_weights_is_equivariant(n):
    """The determinant of S_1 + S_2 has phase 0 or pi: the root that P takes must not hang on rounding."""
    space = fk.links((2, 4), fk.SUN(n))
    coupling = GaugeCoupling(space, STRIPES, PAIR, [spectral(n)], start=0.0).double()
    with torch.no_grad():
        own = coupling.counts[0] - 2
        coupling.nets[0].rest[-1].bias[:own] = 0.5 * torch.randn(own, generator=testing.seeded(), dtype=torch.float64)
        x = space.haar(500, testing.seeded(), torch.float64)
        turn = testing.symmetry(space, "gauge", testing.seeded(5))
        testing.require_close(coupling(turn(x))[0], turn(coupling(x)[0]), "the gauge-transformed field", 1e-10)

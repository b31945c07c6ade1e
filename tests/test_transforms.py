"""Transforms: the contract in many configurations, what moves and what may be looked at, symmetries, refusals."""

import numpy as np
import pytest
import torch

import flowkit as fk
from flowkit import testing, transforms
from flowkit.bijections import (
    AffineMap,
    CircleSpline,
    EigenangleSpline,
    IntervalSpline,
    LinkContext,
    OddCircleSpline,
    RealSpline,
    TangentMixture,
)
from flowkit.geometry import Loop, Pattern
from flowkit.testing import example
from flowkit.transforms import GaugeCoupling

F64 = torch.float64
SITES = fk.sites((4, 6))
LINKS = fk.links((4, 6), fk.U1())
CHECKER = {
    "affine": {}, "one hidden layer": {"hidden": (5,)}, "linear": {"hidden": ()}, "tanh": {"final": "tanh"},
    "z2": {"z2": True}, "z2 and tanh": {"z2": True, "final": "tanh"}, "spline": {"map": RealSpline(4)},
    "one look": {"kernel": (5, 1, 1)}, "wide": {"kernel": 5, "activation": "gelu"},
}  # fmt: skip
BOTH, FROZEN = Loop.rectangle().through(0, 2), {"frozen": [Loop.rectangle()]}
GAUGE = {
    "both sides, all context": (Pattern.stripes(0, (1, 3), (0, 1)), BOTH, {**FROZEN, "kernel": 3}),
    "plaquettes": (Pattern.stripes(1, (4, 1), (2, 0)), [Loop.rectangle(1, 0)], {"local": False, **FROZEN, "kernel": 3}),
    "local": (Pattern.stripes(0, (1, 2), (0, 1)), BOTH, {"kernel": 3}),
    "learned loop": (Pattern.stripes(0, (1, 2), (0, 1)), BOTH, {"updates": [EigenangleSpline(fk.U1(), bins=4)]}),
    "tangents": (Pattern.stripes(0, (1, 3), (0, 2)), BOTH,
                 {"updates": [EigenangleSpline(fk.U1(), 0, spline=TangentMixture(2))], **FROZEN, "kernel": 3}),
    "odd": (Pattern.stripes(0, (1, 3), (0, 2)), BOTH,
            {"updates": [EigenangleSpline(fk.U1(), 1, spline=OddCircleSpline(4))], **FROZEN, "kernel": 3}),
    "rectangles": (Pattern.stripes(0, (2, 6), (1, 3)),
                   [Loop.rectangle(r=2, t=3), Loop.rectangle(r=2, t=3, below=True)], {}),
    "one look": (Pattern.stripes(0, (1, 3), (0, 1)), BOTH[:1], {"local": False, **FROZEN, "kernel": (3, 1, 1)}),
}  # fmt: skip


def checker(name, space=SITES, moves=0):
    return fk.CheckerboardCoupling(space, moves, start=1.0, **CHECKER[name])


def gauge(name, space=LINKS):
    pattern, loops, options = GAUGE[name]
    updates = [EigenangleSpline(space.group, k, bins=4) for k in range(len(loops))]
    return GaugeCoupling(space, pattern, loops, **{"updates": updates, "hidden": (8, 8), "start": 1.0, **options})


@pytest.mark.parametrize("name", CHECKER)
def test_checkerboard_contract(name):
    testing.check_transform(checker(name))


@pytest.mark.parametrize("name", GAUGE)
def test_gauge_contract(name):
    testing.check_transform(gauge(name))


@pytest.mark.parametrize("space", [fk.sites((4,)), fk.sites((2, 4, 2)), fk.sites((2, 4), components=2)], ids=str)
def test_checkerboard_in_every_dimension(space):
    testing.check_transform(checker("spline", space, moves=1))
    testing.check_transform(checker("z2", space))


@pytest.mark.parametrize("space", [fk.links((2, 4, 2), fk.U1()), fk.links((2, 2, 2, 4), fk.U1())], ids=str)
def test_gauge_coupling_in_every_dimension(space):
    mu = space.ndim - 2
    periods = tuple(1 if nu == mu else 2 for nu in range(space.ndim))
    loops = Loop.rectangle().through(mu, space.ndim)
    updates = [EigenangleSpline(space.group, k, bins=3) for k in range(len(loops))]
    stripes = Pattern.stripes(mu, periods, (0,) * space.ndim)
    coupling = GaugeCoupling(
        space, stripes, loops, updates, hidden=(4,), kernel=3, frozen=Loop.rectangle().orientations(space.ndim)
    )
    testing.check_transform(coupling)
    testing.check_equivariance(coupling, testing.symmetry(space, "gauge", testing.seeded(5)))


OTHERS = {
    "real spline": transforms.Spline(SITES, bins=4, domain="real", reach=1.5),
    "odd converter": transforms.DistributionConverter(SITES, bins=5, symmetric=True),
    "odd affine": transforms.Affine(SITES, shift=False),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_contracts(name):
    testing.check_transform(OTHERS[name])


def test_interval_spline_contract():
    spline = transforms.Spline(SITES, bins=6, domain="interval")
    testing.check_transform(spline, x=torch.rand(4, *SITES.shape, generator=testing.seeded(), dtype=F64))


def test_fourier_contract():
    for space in (fk.sites((5,)), fk.sites((2, 3, 4)), fk.sites((4, 3), components=2)):
        testing.check_transform(transforms.FourierScale(space, order=2), local=False)


@pytest.mark.parametrize("bijection", [
    AffineMap(), IntervalSpline(2), RealSpline(3, 0.5), CircleSpline(16), OddCircleSpline(3), TangentMixture(1),
    TangentMixture(4)
], ids=lambda m: type(m).__name__)  # fmt: skip
def test_bijection_contract(bijection):
    testing.check_bijection(bijection)


# ---------------------------------------------------------------- what moves, and what is looked at


def check_moves_one_parity(coupling):
    """Sites of the other parity stay, bit for bit, and all of its own move."""
    space, f = coupling.space, testing.randomised(coupling, testing.seeded(7))
    x = testing.fields(space, 3, testing.seeded())
    moved = (f(x)[0] != x).flatten(2)
    colour = parity(space.lattice)
    assert not moved[:, :, colour != coupling.moves].any(), "frozen sites moved"
    assert moved[:, :, colour == coupling.moves].all(), "active sites stayed"


def parity(lattice):
    grids = torch.meshgrid(*[torch.arange(n) for n in lattice], indexing="ij")
    return sum(grids).flatten() % 2


@pytest.mark.parametrize("moves", [0, 1])
@pytest.mark.parametrize("name", CHECKER)
def test_a_checkerboard_moves_one_parity(name, moves):
    check_moves_one_parity(checker(name, moves=moves))


def inside(f, x):
    """The R_i and the answers of the network for the fields x, as the coupling computes them."""
    _, *products = f._products(x.flatten(1, 1 + f.space.ndim))
    rest, frozen = products[: len(f.loops)], products[len(f.loops) :]
    return rest, f._answers(f._features(rest, frozen))


def check_context_is_frozen(coupling):
    """The network's parameters do not change when active links do, and they do when any loop it sees does."""
    space, f = coupling.space, testing.randomised(coupling, testing.seeded(7))
    x = testing.fields(space, 3, testing.seeded())
    sites = coupling.pattern.sites(space.lattice, coupling.pattern.directions[0])

    def params(x):
        return inside(f, x)[1]

    other = x.flatten(2).clone()
    other[:, coupling.pattern.directions[0], sites] = testing.fields(space, 3, testing.seeded(2)).flatten(2)[
        :, 0, sites
    ]
    off = (params(other.view_as(x)) - params(x)).abs().max()
    assert off < 1e-12, f"the context saw active links: its parameters moved by {off:.2g}"
    assert (params(testing.fields(space, 3, testing.seeded(3))) - params(x)).abs().max() > 1e-3


@pytest.mark.parametrize("name", GAUGE)
def test_the_context_is_frozen(name):
    check_context_is_frozen(gauge(name))


def check_gauge_coupling_moves_its_links(coupling):
    f = testing.randomised(coupling, testing.seeded(7))
    x = testing.fields(coupling.space, 3, testing.seeded())
    moved = (f(x)[0] != x).flatten(2)
    active = torch.zeros_like(moved)
    active.view(3, -1)[:, coupling.pattern.links(coupling.space)] = True
    assert not (moved & ~active).any(), "frozen links moved"
    assert (moved | ~active).all(), "active links stayed"


@pytest.mark.parametrize("name", GAUGE)
def test_a_gauge_coupling_moves_its_links(name):
    check_gauge_coupling_moves_its_links(gauge(name))


def check_several_updates():
    """One link, two loops in turn: exactly the composition of two single updates with the same network outputs."""
    coupling = testing.randomised(gauge("local"), testing.seeded(7))
    x = testing.fields(LINKS, 2, testing.seeded())
    params = torch.split(inside(coupling, x)[1], coupling.counts)
    sites, wrap = coupling.pattern.sites(LINKS.lattice, 0), fk.U1().wrap
    y, total = x.clone(), torch.zeros(2, dtype=F64)
    for own, loop, update in zip(params, coupling.loops, coupling.updates, strict=True):
        plaquette = plaquettes(y)
        if loop == BOTH[1]:  # the one on the other side of the link, and the other way round
            plaquette = -torch.roll(plaquette, 1, 2)
        W = plaquette.flatten(1)[:, sites].T
        new, logs = update.spline.forward(wrap(W), own)
        flat = y.flatten(2).clone()
        flat[:, 0, sites] = wrap(flat[:, 0, sites] + (new - wrap(W)).T)
        y, total = flat.view_as(x), total + logs.sum(0)
    came, logdet = coupling(x)
    assert wrap(came - y).abs().max() < 1e-12, "the field is not that of one update after the other"
    assert (logdet - total).abs().max() < 1e-11, "logdet is not the sum over the updates"


def plaquettes(x):
    a, b = x[:, 0], x[:, 1]
    return a + torch.roll(b, -1, 1) - torch.roll(a, -1, 2) - b


def test_several_updates_of_one_link():
    check_several_updates()


@pytest.mark.parametrize("update", [
    EigenangleSpline(fk.U1(), 1, bins=4), EigenangleSpline(fk.U1(), bins=4),
    EigenangleSpline(fk.U1(), 0, spline=OddCircleSpline(4))
], ids=repr)  # fmt: skip
def test_updates_of_angles(update):
    """logdet against autograd, the inverse, and the active loop: W' is the image of W by the spline."""
    G, rng = fk.U1(), testing.seeded()
    v, *loops = (G.haar((50,), rng, F64) for _ in range(3))
    params = 0.5 * torch.randn(update.count_with(2), 50, generator=rng, dtype=F64)
    given, v = LinkContext(loops, params), v.requires_grad_()
    y, logdet = update.forward(v, given)
    (slope,) = torch.autograd.grad(y.sum(), v)
    testing.require_close(slope.log(), logdet, "logdet of an update")
    back, minus = update.inverse(y, given)
    testing.require_same_field(G, back, v, "the way back")
    testing.require_close(minus, -logdet, "logdet of the way back", 1e-8)
    if update.loop is None:  # the closing loop is that of the weighted sum of e^{i R}
        weights = 1 + params[update.count :]
        close = sum(c * torch.polar(torch.ones_like(r), r) for c, r in zip(weights, loops, strict=True)).angle()
    else:
        close = loops[update.loop]
    W, image = G.wrap(v + close).detach(), G.wrap(y + close)
    testing.require_same_field(G, image, update.spline.forward(W, params[: update.count])[0], "the active loop")


# ---------------------------------------------------------------- symmetries


@pytest.mark.parametrize("name", GAUGE)
def test_gauge_equivariance(name):
    testing.check_equivariance(gauge(name), testing.symmetry(LINKS, "gauge", testing.seeded(5)))


@pytest.mark.parametrize("name", GAUGE)
def test_translations_by_the_period(name):
    coupling = gauge(name)
    testing.check_equivariance(coupling, lambda x: testing.translate(x, coupling.pattern.periods))


@pytest.mark.parametrize("name", CHECKER)
@pytest.mark.parametrize("steps", [(1, 1), (0, 2), (1, 3)])
def test_translations_of_a_checkerboard(name, steps):
    testing.check_equivariance(checker(name), lambda x: testing.translate(x, steps))


ODD = [checker("z2"), checker("z2 and tanh", moves=1), OTHERS["odd converter"], OTHERS["odd affine"],
       example(transforms.FourierScale)]  # fmt: skip


@pytest.mark.parametrize("transform", ODD, ids=lambda t: type(t).__name__)
def test_z2(transform):
    testing.check_equivariance(transform, lambda x: -x)


def test_what_is_not_odd_is_found():
    with pytest.raises(AssertionError, match=r"f\(g x\) = g f\(x\): off by"):
        testing.check_equivariance(checker("affine"), lambda x: -x)


# ---------------------------------------------------------------- single transforms


@pytest.mark.parametrize("symmetric", [False, True])
def test_tails_of_the_converter_are_straight(symmetric):
    """Far out y - x tends to a constant; round trips and log-slopes stay good, also where sigmoid is 1 to rounding."""
    f = transforms.DistributionConverter(fk.sites((1,)), bins=6, symmetric=symmetric)
    f = testing.randomised(f, testing.seeded(), 0.8)
    for sign in (-1, 1):
        x = sign * torch.tensor([20.0, 30.0, 50.0, 80.0, 200.0, 600.0], dtype=F64).view(-1, 1, 1)
        with torch.no_grad():
            y, logdet = f(x)
            assert ((y - x) - (y - x)[-1]).abs().max() < 1e-4
            assert ((y - x)[1:] - (y - x)[-1]).abs().max() < 1e-8
            assert logdet[1:].abs().max() < 1e-8
            assert (f.inverse(y)[0] - x).abs().max() < 1e-6


@pytest.mark.parametrize("symmetric", [False, True])
def test_far_tails_of_the_converter_in_float32(symmetric):
    """Where sigmoid underflows: finite values, slope 1, finite gradients, a round trip."""
    f = transforms.DistributionConverter(fk.sites((1,)), bins=6, symmetric=symmetric)
    f = testing.randomised(f, testing.seeded(), 0.8).float()
    x = torch.tensor([-1e4, -200.0, -110.0, -90.0, 90.0, 110.0, 1e4]).view(-1, 1, 1).requires_grad_()
    y, logdet = f(x)
    slope, params = torch.autograd.grad(y.sum() + logdet.sum(), [x, f.params])
    assert (slope - 1).abs().max() < 1e-5
    assert params.isfinite().all()
    assert logdet.abs().max() < 1e-4
    assert ((f.inverse(y)[0] - x) / x).abs().max() < 1e-5


def test_the_odd_converter_is_smooth_at_zero():
    f = testing.randomised(transforms.DistributionConverter(fk.sites((1,)), 6, symmetric=True), testing.seeded(), 0.8)
    x = torch.tensor([-1e-7, -1e-12, 0.0, 1e-12, 1e-7], dtype=F64).view(-1, 1, 1)
    y, logdet = f(x)
    assert y[2] == 0
    assert (logdet - logdet[2]).abs().max() < 1e-5
    assert ((y - x * logdet[2].exp()).abs() < 1e-13).all()


def test_real_splines_go_on_as_straight_lines():
    spline = RealSpline(5, reach=2.0)
    params = torch.randn(spline.count, generator=testing.seeded(), dtype=F64)
    x = torch.tensor([-2.0 - 1e-9, -2.0 + 1e-9, 2.0 - 1e-9, 2.0 + 1e-9, 50.0, 51.0, -50.0, -51.0], dtype=F64)
    y, logs = spline.forward(x, params)
    assert (logs[0] - logs[1]).abs() < 1e-6
    assert (logs[2] - logs[3]).abs() < 1e-6
    assert y[5] - y[4] == pytest.approx(float(logs[3].exp()), rel=1e-6)
    assert y[6] - y[7] == pytest.approx(float(logs[0].exp()), rel=1e-6)
    back, minus = spline.inverse(y, params)
    assert (back - x).abs().max() < 1e-9
    assert (minus + logs).abs().max() < 1e-7


def test_a_fresh_coupling_is_the_identity_where_asked():
    for f in (fk.CheckerboardCoupling(SITES, 0, start=0.0), fk.CheckerboardCoupling(SITES, 0, RealSpline(4), start=0.0),
              GaugeCoupling(LINKS, *GAUGE["local"][:2], start=0.0)):  # fmt: skip
        x = testing.fields(f.space, 3, testing.seeded())
        y, logdet = f.double()(x)
        assert (y - x).abs().max() < 1e-12
        assert logdet.abs().max() < 1e-11


def test_the_tangent_inverse_has_gradients():
    """With respect to the angle and the parameters, by the implicit function theorem; against differences."""
    rng = testing.seeded()
    y = (2 * torch.rand(4, 3, generator=rng, dtype=F64) - 1) * 3
    params = 0.5 * torch.randn(3, 4, 3, generator=rng, dtype=F64)
    f = TangentMixture(2)
    assert torch.autograd.gradcheck(f.inverse, (y.requires_grad_(), params.requires_grad_()))


def test_fourier_scale_makes_its_spectrum():
    """White noise becomes a field with <|y(p)|^2> / V = 1 / (p^2 + m2)."""
    space, m2 = fk.sites((4, 6)), 0.7
    x = torch.zeros(1, *space.shape, dtype=F64)
    x[0, 0, 0, 0] = 1
    y, logdet = transforms.FourierScale(space, m2=m2, order=0).double()(x)
    gain = torch.fft.fftn(y[0, 0], dim=(0, 1)).real.detach()
    assert (gain**2).numpy() == pytest.approx(2 * fk.exact.free_propagator((4, 6), m2), rel=1e-5)
    assert float(logdet.detach()) == pytest.approx(float(gain.log().sum()))
    # With Chebyshev polynomials of 2 p^2 / p^2_max - 1, here of the kind T_n(x) given by their coefficients.
    scale = transforms.FourierScale(space, m2=m2, order=3).double()
    with torch.no_grad():
        scale.coefficients.copy_(c := torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=F64))
    p2 = 1 / gain**2 - m2
    series = np.polynomial.chebyshev.chebval(2 * p2.numpy() / 8 - 1, c.numpy())
    assert (scale.gain() / gain).log().detach().numpy() == pytest.approx(series, rel=1e-4)


def check_chain():
    """forward of a chain is one step after the other, and logdet the sum; inverse the steps backwards."""
    steps = [transforms.Affine(SITES), transforms.DistributionConverter(SITES, bins=5), checker("affine")]
    parts = [testing.randomised(step, testing.seeded(k)) for k, step in enumerate(steps)]
    chain, x = fk.Chain(*parts), testing.fields(SITES, 2, testing.seeded())
    y, total = x, 0
    for part in parts:
        y, logdet = part(y)
        total = total + logdet
    came, came_total = chain(x)
    assert (came - y).abs().max() < 1e-14
    assert (came_total - total).abs().max() < 1e-12
    back, minus = chain.inverse(y)
    assert (back - x).abs().max() < 1e-9, "the inverse of a chain is not its inverse"
    assert (minus + total).abs().max() < 1e-9


def test_chain():
    check_chain()


def test_on_keeps_float64_weights_bit_for_bit():
    f = testing.randomised(checker("affine"), testing.seeded())
    for key, value in f.on(fk.sites((8, 2))).state_dict().items():
        assert torch.equal(value, f.state_dict()[key])


class Unmirrored(fk.Bijection):
    count = 1

    def forward(self, x, given):
        return x, given[0] * 0

    inverse = forward


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fk.CheckerboardCoupling(fk.sites((4, 5)), 0), "A checkerboard needs even lattice sides; got 4x5"),
        (lambda: fk.CheckerboardCoupling(LINKS, 0), "CheckerboardCoupling needs sites"),
        (lambda: fk.CheckerboardCoupling(SITES, 2), "needs moves, a whole number in .0, 1.; got 2"),
        (lambda: fk.CheckerboardCoupling(SITES, 0, CircleSpline(4)), "needs sites and a map of real numbers"),
        (lambda: fk.CheckerboardCoupling(SITES, 0, final="relu"), "ends in 'linear' or 'tanh'; got 'relu'"),
        (
            lambda: fk.CheckerboardCoupling(SITES, 0, Unmirrored(), z2=True),
            "Unmirrored does not say which parameters its mirror image has",
        ),
        (lambda: checker("affine").on(fk.sites((4, 5))), "A checkerboard needs even lattice sides"),
        (lambda: GaugeCoupling(SITES, *GAUGE["local"][:2]), "GaugeCoupling needs links; got Sites"),
        (lambda: GaugeCoupling(LINKS, *GAUGE["local"][:2], [AffineMap()]), "needs updates of links of U1.*; got"),
        (
            lambda: GaugeCoupling(LINKS, *GAUGE["local"][:2], [EigenangleSpline(fk.SUN(2))]),
            "needs updates of links of U1",
        ),
        (lambda: EigenangleSpline(fk.U1(), spline=AffineMap()), "U1.* has 1 eigenangles; AffineMap maps 0"),
        (lambda: EigenangleSpline(fk.SUN(3), spline=CircleSpline(4)), "SUN.3. has 3 eigenangles; CircleSpline maps 1"),
        (lambda: EigenangleSpline(fk.Real()), "needs a group that gives them; got Real"),
        (lambda: GaugeCoupling(LINKS, GAUGE["local"][0], []), "needs loops and updates; got 0 and 1"),
        (
            lambda: GaugeCoupling(LINKS, Pattern.stripes(0, (1, 4), (0, 0)), BOTH),
            r"repeats every 1x4 sites.*multiples of these",
        ),
        (
            lambda: GaugeCoupling(LINKS, Pattern.stripes(0, (1, 2), (0, 0)), [Loop.rectangle(t=2)]),
            "holds more than one active link",
        ),
        (
            lambda: GaugeCoupling(LINKS, Pattern.stripes(0, (1, 2), (0, 0)), BOTH[:1]),
            "leaves no frozen loop for the network",
        ),
        (
            lambda: GaugeCoupling(LINKS, Pattern.stripes(0, (1, 2), (0, 0)), BOTH, local=False, **FROZEN),
            "leaves no frozen",
        ),
        (lambda: gauge("rectangles").on(fk.links((4, 4), fk.U1())), "multiples of these; got 4x4"),
        (
            lambda: transforms.Spline(SITES, domain="sphere"),
            "Spline has the domains real, interval, circle; got 'sphere'",
        ),
        (lambda: transforms.Spline(SITES, domain="circle"), "'circle' belongs to links of U1"),
        (lambda: transforms.Spline(LINKS, domain="real"), "'circle' belongs to links of U1"),
        (lambda: transforms.Spline(fk.links((4, 6), fk.SUN(2)), domain="circle"), "'circle' belongs to links of U1"),
        (lambda: transforms.Spline(SITES, bins=1), "needs bins, a whole number in .2, 500.; got 1"),
        (lambda: transforms.Spline(SITES, reach=-1.0), "needs reach, a finite number > 0; got -1.0"),
        (lambda: transforms.DistributionConverter(LINKS), "DistributionConverter lives on sites"),
        (lambda: transforms.DistributionConverter(SITES, bins=1.5), "needs bins, a whole number in .2, 500.; got 1.5"),
        (lambda: transforms.Affine(LINKS), "Affine lives on sites"),
        (lambda: transforms.FourierScale(SITES, m2=-1.0), "FourierScale needs m2, a finite number > 0; got -1.0"),
        (lambda: fk.Chain(), "Chain needs transforms of one space"),
        (
            lambda: fk.Chain(transforms.Affine(SITES), transforms.Affine(fk.sites((6, 4)))),
            "Chain needs transforms of one space; got .*6x4",
        ),
        (lambda: TangentMixture(0), "TangentMixture needs components, a whole number in .1, 1000.; got 0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_keywords_raise():
    with pytest.raises(TypeError, match="layers"):
        fk.CheckerboardCoupling(SITES, 0, layers=3)

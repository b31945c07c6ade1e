"""Actions: known values, conversions, exact numbers, composition, what is refused."""

import math

import pytest
import torch

import flowkit as fk
from flowkit import exact, testing
from flowkit.actions import Action, ScalarAction, as_double_well
from flowkit.testing import example

F64 = torch.float64
SCALARS = [fk.Phi4, fk.Phi4Hopping, fk.actions.Phi4Kappa]


def rough(space, n=3, seed=1):
    return testing.fields(space, n, testing.seeded(seed))


@pytest.mark.parametrize(
    "action",
    [fk.Wilson(fk.links(sides, group), beta=1.7)
     for sides in ((4, 3), (2, 3, 4), (3, 4, 5, 6)) for group in (fk.U1(), fk.SUN(2), fk.SUN(3))],
    ids=str,
)  # fmt: skip
def test_wilson_in_every_dimension(action):
    testing.check_action(action, ["gauge", "translation"])


@pytest.mark.parametrize("kind", SCALARS)
@pytest.mark.parametrize("space", [fk.sites((5,)), fk.sites((2, 3, 4)), fk.sites((4, 3), components=2)], ids=str)
def test_scalars_in_every_dimension(kind, space):
    testing.check_action(example(kind).on(space), ["z2", "translation"])


def test_known_values():
    """Numbers worked out by hand."""
    for n in (2, 3):
        space = fk.links((2, 3, 4), fk.SUN(n))
        cold = space.cold(1, like=torch.empty(0, dtype=F64))
        assert fk.Wilson(space, beta=2.0)(cold) == pytest.approx(-2.0 * 3 * 24)
    space = fk.links((4, 3), fk.U1())
    U = space.cold(1, like=torch.empty(0, dtype=F64))
    U[0, 0, 1, 1] = math.pi / 3  # two plaquettes have cosine 1/2
    assert fk.Wilson(space, beta=2.0)(U) == pytest.approx(-2.0 * (10 + 1))
    # phi = 1 everywhere but 2 at one site of a 3x4 lattice: four links differ by 1
    x = torch.ones(1, 1, 3, 4, dtype=F64)
    x[0, 0, 1, 2] = 2
    space = fk.sites((3, 4))
    assert fk.Phi4(space, m2=0.5, lam=0.1)(x) == pytest.approx(4 + 0.5 * (11 + 4) + 0.1 * (11 + 16))
    hopping = -0.3 * (24 - 4 + 4 * 2) + 11 + 4 + 0.1 * 9
    assert fk.Phi4Hopping(space, beta=0.3, lam=0.1)(x) == pytest.approx(hopping)
    kappa = 0.8 / 2 * 4 + 0.6 / 2 * 15 + 0.1 * 27
    assert fk.actions.Phi4Kappa(space, kappa=0.8, m_sq=0.6, lam=0.1)(x) == pytest.approx(kappa)
    # diag(i, -i, 1): Re Tr U = 1 and Re Tr U^2 = -1
    one = fk.links((1,), fk.SUN(3))
    U = torch.diag(torch.tensor([1j, -1j, 1.0], dtype=torch.complex128)).view(1, 1, 1, 3, 3)
    assert fk.MatrixModel(one, beta=6.0, coefficients=(1.0, 0.5))(U) == pytest.approx(-6 / 3 * (1 - 0.5))


@pytest.mark.parametrize("kind", SCALARS)
def test_several_components(kind):
    """Components of one site do not interact: S and ln Z, constants among them, are the sums over components."""
    one, many = (example(kind).on(fk.sites((2, 3), components)) for components in (1, 3))
    x = rough(many.space)
    each = sum(one(x[:, [c]]) for c in range(3))
    assert (many(x) - each).abs().max() < 1e-12
    alone = {"beta": 0.0} if kind is fk.Phi4Hopping else {"kappa": 0.0}
    if kind is not fk.Phi4:  # whose sites are never alone
        assert many.at(**alone).log_z() == pytest.approx(3 * one.at(**alone).log_z(), rel=1e-12)
        phi = torch.linspace(-6, 6, 20_001, dtype=F64)
        weight = (-one.at(**alone).on(fk.sites((1,)))(phi.view(-1, 1, 1))).exp()
        assert one.at(**alone).log_z() == pytest.approx(6 * math.log(float(torch.trapezoid(weight, phi))), rel=1e-9)


def test_normflows_lattice_formula():
    """S = sum_x [ kappa/2 (sum_mu (phi_{x+mu} - phi_x)^2) + m_sq/2 phi^2 + lambd phi^4 ], as that package writes it:
    with the potential (kappa d + m_sq/2) phi^2 + lambd phi^4 and the hopping kappa phi_x phi_{x+mu}.
    """
    space, kappa, m_sq, lambd = fk.sites((4, 3, 2)), 0.7, -1.2, 0.5
    x = rough(space)
    total = (m_sq / 2 + kappa * 3) * x**2 + lambd * x**4
    for mu in range(3):
        total = total - kappa * x * torch.roll(x, 1, dims=2 + mu)
    assert (fk.actions.Phi4Kappa(space, kappa, m_sq, lambd)(x) - total.flatten(1).sum(1)).abs().max() < 1e-11


@pytest.mark.parametrize("one", SCALARS)
@pytest.mark.parametrize("other", SCALARS)
def test_conversions(one, other):
    """S_other(s phi) - S(phi) is the same for every field, and going back gives the first couplings."""
    action = example(one)
    converted, s = action.convert(other)
    assert isinstance(converted, other)
    x = rough(action.space, 6)
    difference = converted(s * x) - action(x)
    assert difference.std() < 1e-12 * x.numel()
    again, back = converted.convert(one)
    if one is not fk.actions.Phi4Kappa or other is fk.actions.Phi4Kappa:  # three numbers cannot come back from two
        assert s * back == pytest.approx(1)
        assert again.parameters == pytest.approx(action.parameters)


def test_a_known_conversion():
    """At lam = 0 Phi4Hopping(beta, 0) is Phi4 with m2 = 2 (1/beta - d), phi rescaled by sqrt(beta / 2)."""
    free, s = fk.Phi4Hopping(fk.sites((4, 6)), beta=0.4, lam=0.0).convert(fk.Phi4)
    assert free.parameters == pytest.approx({"m2": 2 / 0.4 - 4, "lam": 0.0})
    assert s == pytest.approx(math.sqrt(0.2))


def test_conversions_that_cannot_be():
    space = fk.sites((4, 6))
    with pytest.raises(ValueError, match="Phi4 needs a positive hopping term"):
        fk.Phi4Hopping(space, beta=-0.5, lam=0.1).convert(fk.Phi4)
    with pytest.raises(ValueError, match="Phi4Hopping needs lam > 0 or a positive phi\\^2 term"):
        fk.Phi4Hopping.from_coefficients(space, h=2.0, a=-1.0, g=0.0)
    assert fk.Phi4Hopping(space, beta=-0.5, lam=0.1).exact("phi_squared") is None


FREE = [
    fk.Phi4(fk.sites((4, 3)), m2=0.6, lam=0.0),
    fk.Phi4Hopping(fk.sites((4, 3), components=2), beta=0.3, lam=0.0),
    fk.actions.Phi4Kappa(fk.sites((3, 2, 2)), kappa=0.9, m_sq=0.7, lam=0.0),
]


@pytest.mark.parametrize("action", FREE, ids=str)
def test_free_theories_against_their_matrix(action):
    """S = x M x / 2, so that ln Z = -1/2 ln det(M / 2 pi) and <phi^2> = Tr M^-1 / V, with no formula in p."""
    x = torch.zeros(action.space.shape, dtype=F64)
    M = torch.autograd.functional.hessian(lambda x: action(x[None])[0], x).reshape(action.space.dof, -1)
    assert action.log_z() == pytest.approx(-0.5 * float(torch.linalg.slogdet(M / (2 * math.pi))[1]))
    inverse = torch.linalg.inv(M)
    assert action.exact("phi_squared") == pytest.approx(float(inverse.diagonal().mean()))
    assert action.exact("susceptibility") == pytest.approx(float(inverse.sum()) / action.space.dof)
    assert action.exact("magnetization") == 0
    assert action.exact("plaquette") is None


@pytest.mark.parametrize("lattice", [(4, 6), (3, 4), (1, 3), (2,)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_theory_without_integral_is_refused_when_it_is_made(lattice, sign):
    """At lam = 0 the least eigenvalue of the quadratic form decides, for either sign of the hopping term."""
    space = fk.sites(lattice)
    hopping = fk.Phi4Hopping(space, beta=sign, lam=1.0)  # a = -1, g = 1
    x = torch.eye(space.dof, dtype=F64).view(-1, *space.shape)

    def form(x):
        return hopping(x) - (x**4 - x**2 + 1).flatten(1).sum(1)  # -h sum phi phi_mu alone

    M = (form(x[:, None].add(x).flatten(0, 1)).view(len(x), -1) - form(x)[:, None] - form(x)) / 2
    least = float(torch.linalg.eigvalsh(M)[0])
    critical = math.inf if least >= 0 else -1 / least  # 1 + beta least > 0
    beta = min(critical, 1.0)
    fk.Phi4Hopping(space, beta=sign * beta * 0.999, lam=0.0)
    if critical < math.inf:
        with pytest.raises(
            ValueError, match=r"Phi4Hopping with lam = 0 needs a positive quadratic form.*got a = 1 and"
        ):
            fk.Phi4Hopping(space, beta=sign * beta * 1.001, lam=0.0)


def test_massless_and_inverted_free_fields_are_refused():
    space = fk.sites((4, 4))
    for make in (
        lambda: fk.Phi4(space, m2=-4.0, lam=0.0),
        lambda: fk.Phi4(space, m2=0.0, lam=0.0),
        lambda: fk.actions.Phi4Kappa(space, kappa=0.5, m_sq=-0.1, lam=0.0),
        lambda: fk.actions.as_double_well(m_sq=-1.0, lam=0.0),
        lambda: fk.Phi4(space, m2=1.0, lam=0.5).at(m2=-1.0, lam=0.0),
    ):
        with pytest.raises(
            ValueError, match=r"with lam = 0 needs a positive quadratic form.*exp\(-S\) has no integral"
        ):
            make()
    fk.Phi4(space, m2=-4.0, lam=1e-6)


def test_interacting_theories_claim_what_the_transfer_matrix_gives_at_once():
    """On 4x4, in any normalisation of the field, and nothing on larger lattices or with more components."""
    phi4 = fk.Phi4(fk.sites((4, 4)), m2=-4.0, lam=8.0)
    hopping, square = phi4.convert(fk.Phi4Hopping)
    whole = exact.phi4_transfer_matrix((4, 4), -4.0, 8.0, tolerance=1e-6, states=10_000)
    for action, scale in ((phi4, 1.0), (hopping, square)):
        for name in ("phi_squared", "susceptibility"):
            expected = getattr(whole, name) * scale**2
            assert action.exact(name) == pytest.approx(expected, rel=1e-9)
        assert action.exact(fk.magnetization) == 0
    assert phi4.log_z() == pytest.approx(whole.log_z, abs=1e-8)
    for space in (fk.sites((6, 6)), fk.sites((4, 4), 2), fk.sites((2, 2, 2))):
        larger = fk.Phi4(space, m2=-4.0, lam=8.0)
        assert larger.log_z() is None
        assert larger.exact("phi_squared") is None


def test_exact_hooks_of_wilson():
    space = fk.links((4, 6), fk.U1())
    action = fk.Wilson(space, beta=2.0)
    assert action.exact("plaquette") == exact.u1_plaquette(2.0, 24)
    assert action.exact(fk.wilson_loop(2, 3).name) == exact.u1_wilson_loop(2.0, 6, 24)
    assert action.exact("charge_squared") == exact.u1_charge_squared(2.0, 24)
    assert action.exact("topological_charge") == 0
    assert action.log_z() == exact.u1_log_z(2.0, 24)
    assert action.exact(fk.wilson_loop(4, 1).name) is None  # it winds
    assert action.exact("polyakov_0") is None
    su2 = fk.Wilson(fk.links((4, 6), fk.SUN(2)), beta=2.0)
    assert su2.exact("plaquette") == exact.sun_plaquette(2, 2.0, 24)
    assert su2.exact("charge_squared") is None
    four = fk.Wilson(fk.links((2, 2, 2, 2), fk.SUN(2)), beta=2.0)
    assert four.exact("plaquette") is None
    assert four.log_z() is None


@pytest.mark.parametrize("action", [
    fk.Wilson(fk.links((2, 1), fk.U1()), 0.8), fk.Wilson(fk.links((2, 2), fk.U1()), 0.8),
    fk.Wilson(fk.links((2, 2), fk.SUN(2)), 0.8), fk.Wilson(fk.links((1, 2), fk.SUN(3)), 1.0),
    fk.MatrixModel(fk.links((1, 2), fk.SUN(3)), 1.1),
], ids=str)  # fmt: skip
def test_log_z_by_haar_integration(action):
    """Z = E_Haar[exp(-S)], and <O> = E[O exp(-S)] / Z, also on lattices so small that loops wind."""
    U = action.space.haar(40_000, testing.seeded(4), F64)
    w = (-action(U)).exp()
    for came, expected in [(w, action.log_z())]:
        pull = (came.mean() - math.exp(expected)) / (came.std() / 200)
        assert abs(float(pull)) < 4, f"ln Z is {float(came.mean().log()):.4f}, {expected:.4f} was claimed"
    if (zero := action.schwinger_dyson(U)) is not None:
        assert abs(float((w * zero).mean() / ((w * zero).std() / 200))) < 4
    for obs in (fk.plaquette, fk.observables.trace, fk.wilson_loop(1, 2)):
        known = action.exact(obs.name)
        if known is not None:
            excess = w * (obs(action.space, U) - known)
            assert abs(float(excess.mean() / (excess.std() / 200))) < 4, obs


def test_the_schwinger_dyson_identity_of_scalars():
    """<x dS/dx> is the number of variables: on each exact draw of a free theory, and weighted for another."""
    space = fk.sites((2, 3), components=2)
    x, logq = fk.FreeField(space, m2=1.5).double().sample_and_log_prob(40_000, testing.seeded(4))
    for action in (fk.Phi4(space, m2=1.5, lam=0.0), fk.Phi4(space, m2=1.2, lam=0.2)):
        values = (-action(x) - logq).softmax(0) * len(x) * action.schwinger_dyson(x)
        assert abs(float(values.mean() / values.std())) * 200 < 4, action


def test_sums_and_multiples():
    space = fk.sites((4, 2))
    a, b, x = fk.Phi4(space, -1.0, 1.0), fk.Phi4(space, 0.5, 0.3), rough(space)
    S = 2.0 * (a + b) * 0.5
    assert (S(x) - a(x) - b(x)).abs().max() < 1e-12
    assert (S.force(x) - a.force(x) - b.force(x)).abs().max() < 1e-12
    assert "Phi4(" in repr(S)
    with pytest.raises(TypeError):
        _ = a + 1.0
    with pytest.raises(TypeError):
        _ = a * b
    with pytest.raises(ValueError, match="Multiple needs factor, a finite number; got nan"):
        _ = math.nan * a
    with pytest.raises(ValueError, match="Actions of one space can be added"):
        _ = a + fk.Phi4(fk.sites((2, 4)), 0.5, 0.3)


def test_scalar_actions_have_second_derivatives():
    """Losses with forces in them, such as those of field transformations, differentiate the action twice."""
    space = fk.sites((2, 3))
    x = fk.Normal(space).sample(2, torch.Generator().manual_seed(1)).double().requires_grad_()
    action = fk.Phi4(space, m2=-1.0, lam=0.7)
    torch.autograd.gradcheck(action, x)
    torch.autograd.gradgradcheck(action, x)


def test_pullback_is_the_same_physics():
    """E[O(x)] under exp(-S) equals E[O(f(z))] under exp(-S'): here of one variable, by quadrature."""
    action = as_double_well(m_sq=-2.0, lam=0.3)
    converter = testing.randomised(fk.transforms.DistributionConverter(action.space, bins=6), testing.seeded(2), 0.5)
    z = torch.linspace(-9, 9, 40_001, dtype=F64).view(-1, 1, 1)
    step = float(z[1] - z[0])
    pulled = action.pullback(converter)
    with torch.no_grad():
        original, moved = (-action(z)).exp().sum() * step, (-pulled(z)).exp().sum() * step
    assert moved == pytest.approx(float(original), rel=1e-6)
    assert original == pytest.approx(math.exp(exact.one_site_moments(-1.0, 0.3).log_z), rel=1e-6)
    assert pulled.on(fk.sites((3,)))(torch.zeros(2, 1, 3, dtype=F64)).shape == (2,)
    with pytest.raises(ValueError, match=r"cannot move to Sites 1 component\(s\) on 2x4: its transform has no on"):
        example(type(pulled)).on(fk.sites((2, 4)))


def test_pullbacks_of_pullbacks():
    """The theory's field and S, through two maps."""

    def stretch(factor):
        return lambda z: (factor * z + z**3 / 30, torch.log(factor + z**2 / 10).flatten(1).sum(1))

    action = fk.Phi4(fk.sites((2, 3)), m2=0.5, lam=0.2)
    twice, z = action.pullback(stretch(2.0)).pullback(stretch(3.0)), rough(action.space)
    x, change = twice.to_theory(z)
    middle, inner = stretch(3.0)(z)
    assert (x - stretch(2.0)(middle)[0]).abs().max() < 1e-12
    assert (change - inner - stretch(2.0)(middle)[1]).abs().max() < 1e-12
    assert (action(x) - change - twice(z)).abs().max() < 1e-9


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_force_of_a_pullback_is_the_derivative_of_its_action(n):
    """On links, through a map with weights: one pass back in the field alone beside autograd through all of S'."""
    space = fk.links((2, 2), fk.U1() if n == 1 else fk.SUN(n))
    torch.manual_seed(1)
    model = testing.randomised(fk.multiscale_flow(space), testing.seeded(2), 0.2)
    pulled = model.pullback(fk.Wilson(space, 1.3))
    z = rough(space)
    testing.require_close(pulled.force(z), Action.force(pulled, z), "force", 1e-9)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


class Scaled(torch.nn.Module):
    """x = factor weight z, with a factor that is a buffer."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.5))
        self.register_buffer("factor", torch.tensor(0.8))

    def forward(self, z):
        scale = self.weight * self.factor
        return scale * z, z[0].numel() * scale.log().expand(len(z))


def test_the_force_of_a_pullback_follows_its_transform():
    """Training in place, weights and buffers that are replaced, another dtype; all after a first force."""
    scaled = Scaled()
    pulled = example(fk.Phi4).pullback(scaled)

    def check(dtype=torch.float32):
        z = rough(pulled.space).to(dtype)
        testing.require_close(pulled.force(z), Action.force(pulled, z), "force", 1e-5)

    check()
    with torch.no_grad():
        scaled.weight.mul_(1.3)
        scaled.factor.add_(0.1)
    check()
    scaled.register_buffer("factor", torch.tensor(1.4))
    check()
    scaled.weight = torch.nn.Parameter(torch.tensor(0.6))
    check()
    scaled.load_state_dict({"weight": torch.tensor(1.1), "factor": torch.tensor(0.7)})
    check()
    scaled.load_state_dict({"weight": torch.tensor(0.9), "factor": torch.tensor(1.2)}, assign=True)
    check()
    scaled.double()
    check(F64)
    scaled.requires_grad_(False)
    check(F64)


def test_changes():
    action = example(fk.Phi4)
    assert action.at(m2=1.0).parameters == {"m2": 1.0, "lam": action.lam}
    with pytest.raises(ValueError, match="Phi4 has the couplings m2, lam; got mass"):
        action.at(mass=1.0)
    assert repr(fk.Wilson(fk.links((4, 6), fk.U1()), beta=2)) == "Wilson(Links U1 on 4x6; beta=2.0)"


@pytest.mark.parametrize(("make", "message"), [
    (lambda: fk.Wilson(fk.sites((4, 4)), 1.0), "Wilson lives on links in two or more dimensions"),
    (lambda: fk.Wilson(fk.links((4,), fk.U1()), 1.0), "Wilson lives on links in two or more dimensions"),
    (lambda: fk.Wilson(fk.links((4, 4), fk.U1()), -1.0), "Wilson needs beta, a finite number >= 0; got -1.0"),
    (lambda: fk.Wilson(fk.links((4, 4), fk.U1()), math.nan), "Wilson needs beta, a finite number >= 0; got nan"),
    (lambda: fk.Wilson((4, 4), 1.0), "Wilson needs space, a space made by"),
    (lambda: fk.Phi4(fk.links((4, 4), fk.U1()), 1.0, 1.0), "Phi4 lives on sites"),
    (lambda: fk.Phi4(fk.sites((4, 4)), 1.0, -1.0), "Phi4 needs lam >= 0; got -1.0"),
    (lambda: fk.Phi4(fk.sites((4, 4)), math.inf, 1.0), "Phi4 needs m2, a finite number; got inf"),
    (lambda: fk.Phi4(fk.sites((4, 4)), "1", 1.0), "Phi4 needs m2, a finite number; got '1'"),
    (lambda: fk.MatrixModel(fk.sites((1,)), 1.0), "MatrixModel needs links; got Sites"),
    (lambda: fk.MatrixModel(fk.links((1,), fk.SUN(2)), math.nan), "MatrixModel needs beta, a finite number"),
    (lambda: fk.MatrixModel(fk.links((1,), fk.SUN(2)), 1.0, ()), "MatrixModel needs coefficients"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_unknown_keywords_raise():
    with pytest.raises(TypeError, match="mass"):
        fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=1.0, mass=2.0)
    with pytest.raises(TypeError, match="abstract"):
        ScalarAction(fk.sites((4, 4)), m2=1.0, lam=1.0)


def test_symmetries_change_the_signs_of_what_they_should():
    """Exact zeros: what a symmetry turns into its negative, and what it leaves alone."""
    wilson = fk.Wilson(fk.links((3, 4), fk.U1()), beta=1.0)
    known = {one.name: one for one in wilson.symmetries}
    U = rough(wilson.space)
    odd = {"charge conjugation": ["topological_charge"], "centre in direction 0": ["polyakov_0"],
           "centre in direction 1": ["polyakov_1"], "reflection of axis 0": ["topological_charge"],
           "reflection of axis 1": ["topological_charge"]}  # fmt: skip
    observables = [fk.plaquette, fk.topological_charge, fk.charge_squared]
    for name, one in known.items():
        for o in [*observables, fk.observables.polyakov(0), fk.observables.polyakov(1)]:
            value = o(wilson.space, U)
            expected = value if o.name in odd[name] else torch.zeros_like(value)
            testing.require_close(
                one.odd_part(lambda x, o=o: o(wilson.space, x), U), expected, f"{o.name} under {name}"
            )
    su3 = fk.Wilson(fk.links((3, 4), fk.SUN(3)), beta=1.0)
    centre = next(one for one in su3.symmetries if one.name == "centre in direction 1")
    loop, V = fk.observables.polyakov(1), rough(su3.space)
    testing.require_close(centre.odd_part(lambda x: loop(su3.space, x), V), loop(su3.space, V), "a Polyakov loop")
    four = fk.Wilson(fk.links((2, 3, 2, 2), fk.SUN(2)), beta=1.0)
    mirror = next(one for one in four.symmetries if one.name == "reflection of axis 1")
    V = rough(four.space)
    charge = fk.topological_charge(four.space, V)
    assert charge.abs().max() > 1e-3
    testing.require_close(mirror.odd_part(lambda x: fk.topological_charge(four.space, x), V), charge, "Q in 4D")


def test_symmetries_of_composed_actions():
    class InField(fk.Phi4):
        def __call__(self, x):
            return super().__call__(x) - 0.3 * x.flatten(1).sum(1)

        def force(self, x):
            return super().force(x) + 0.3

    class Improved(fk.Wilson):
        def __call__(self, U):
            return super().__call__(U) + U.sum((1, 2, 3))

    space, gauge = fk.sites((4, 2)), fk.links((4, 2), fk.U1())
    field, plain = InField(space, m2=1.0, lam=0.5), fk.Phi4(space, m2=1.0, lam=0.5)
    assert not field.symmetries
    assert not (field + plain).symmetries
    assert not Improved(gauge, beta=1.0).symmetries
    (sign,) = plain.symmetries
    assert (plain + 2 * plain).symmetries == (sign,) == fk.Phi4Hopping(space, beta=0.3, lam=0.5).symmetries
    assert not plain.pullback(lambda z: (z + 1, torch.zeros(len(z)))).symmetries  # the map need not respect any
    assert len(fk.Phi4(fk.sites((4, 2), components=3), m2=1.0, lam=0.5).symmetries) == 3


def test_a_false_symmetry_fails():
    class Tilted(fk.Phi4):
        plain = True

        def __call__(self, x):
            return super().__call__(x) + x.flatten(1).sum(1)

        force = Action.force

    with pytest.raises(AssertionError, match="sign of the field: S"):
        testing.check_action(Tilted(fk.sites((4, 2)), m2=1.0, lam=0.5))

"""The checks of groups, loops, priors, transforms and losses have teeth: each planted bug makes one fail."""

import pytest
import torch
import torch.nn.functional as F
from test_flow import THEORIES, check_density, check_weights
from test_groups import check_haar
from test_kernels import check_convolution_4d, check_spline_gradients
from test_loops import check_charge_is_whole
from test_losses import check_no_noise_at_the_target, check_path_gradient_mean
from test_matrix_coupling import (
    check_context_of_matrices,
    check_learned_loop_of_su2,
    check_residual_bound,
    check_residual_inverse_gradients,
    check_residual_is_a_gradient,
    check_symmetry,
    check_update_jacobian,
    lively,
    make,
)
from test_priors import check_free_field_norm
from test_transforms import (
    LINKS,
    SITES,
    check_chain,
    check_context_is_frozen,
    check_gauge_coupling_moves_its_links,
    check_moves_one_parity,
    check_several_updates,
    checker,
    gauge,
    inside,
)
from torch import nn

import flowkit as fk
from flowkit import nets, testing
from flowkit.bijections import AffineMap, CircleSpline, EigenangleSpline, LinkContext, Residual, alcove, residual
from flowkit.geometry import loops, paths, patterns
from flowkit.groups import SUN, U1
from flowkit.kernels import rqs
from flowkit.priors import FreeField, Sample
from flowkit.testing import example
from flowkit.train import losses
from flowkit.train.losses import Loss
from flowkit.transforms import (
    Chain,
    CheckerboardCoupling,
    GaugeCoupling,
    Transform,
)
from flowkit.transforms.links import gauge as gauges
from flowkit.transforms.sites import coupling

# ---------------------------------------------------------------- checks, each with all that it needs


def checkerboard():
    testing.check_transform(checker("affine"))


def links(name="local"):
    testing.check_transform(gauge(name))


def gauge_equivariance(name="both sides, all context"):
    testing.check_equivariance(gauge(name), testing.symmetry(LINKS, "gauge", testing.seeded(5)))


def loops_are_invariant():
    testing.check_action(fk.Wilson(fk.links((4, 3), SUN(2)), 1.0), ["gauge"])


def converter():
    testing.check_transform(fk.transforms.DistributionConverter(SITES, bins=5))


def z2():
    testing.check_equivariance(checker("z2"), lambda x: -x)


def matrices(**options):
    """A short contract: symmetry and round trip of an SU(3) coupling of all updates."""
    f = lively(make(3, (2, 4), **options))
    check_symmetry(f, testing.fields(f.space, 8, testing.seeded()), torch.float64)


def residual_update():
    check_update_jacobian(Residual(3), 3)


def learned():
    check_update_jacobian(EigenangleSpline(SUN(3), bins=4), 3)


# ---------------------------------------------------------------- bugs

_affine, _frozen, _register = AffineMap.forward, gauges.frozen_plaquettes, nn.Module.register_buffer
_steps, _kernel, _log_prob = patterns.Loop.steps, FreeField.kernel, FreeField.log_prob
_vjp, _path, _checker_forward = rqs._vjp, losses.path_gradient, CheckerboardCoupling.forward
_parity, _neighbours = coupling.parity, nets.convolution.neighbours
_circle, _wilson = CircleSpline.forward, fk.Wilson.force


gauge_update = GaugeCoupling._run


def first_update_alone(self, x, inverse):
    """The logdet of the first of several updates, and the field of all."""
    y, logdet = gauge_update(self, x, inverse)
    v, *_ = self._products(x.flatten(1, 1 + self.space.ndim))
    rest, params = inside(self, x)
    logs = self.updates[0].forward(v, LinkContext(rest, params[: self.counts[0]]))[1]
    return y, logdet if inverse else logs.sum(0)


def same_order_both_ways(self, x, inverse):
    """Each update with its own parameters, the first one undone first."""
    if not inverse:
        return gauge_update(self, x, False)
    flat, total = x.flatten(1, 1 + self.space.ndim), 0.0
    v, *_ = self._products(flat)
    rest, params = inside(self, x)
    for update, own in zip(self.updates, torch.split(params, self.counts), strict=True):
        v, logdet = update.inverse(v, LinkContext(rest, own))
        total = total + logdet.sum(0)
    return flat.index_copy(1, self.active, v.transpose(0, 1)).view_as(x), total


def shifted_active(self, name, tensor, persistent=True):
    """The links next to those whose loops are read."""
    _register(self, name, tensor + 1 if name == "active" else tensor, persistent)


def every_plaquette(space, pattern):
    return {plane: torch.arange(space.volume) for plane in space.planes}


def no_signs(self, mu, ndim):
    return [(direction, offset, 1) for direction, offset, _ in _steps(self, mu, ndim)]


def no_inverse(space, U, mu, nu, r=1, t=1, wrap=True):
    G = space.group
    a, b = loops.line(space, U, mu, r), loops.line(space, U, nu, t)
    there = G.compose(a, torch.roll(b, -r, 2 + mu))
    return G.compose(there, G.compose(b, torch.roll(a, -t, 2 + nu)))


def qr_alone(self, shape, rng, dtype=None):
    z = torch.randn(*shape, self.n, self.n, generator=rng, dtype=self.field_dtype(dtype))
    return self.project(torch.linalg.qr(z)[0])


def without_two_pi(self, x):
    return _log_prob(self, x) + self.space.dof * 0.5


def half_of_one_slope(*args):
    g_x, g_params = _vjp(*args)
    return g_x, torch.cat([g_params[:-1], g_params[-1:] / 2])


def missing_corner(*args):
    """The bins left of the number forgotten: their corners move too."""
    g_x, g_params = _vjp(*args)
    return g_x, g_params + 1e-3 * g_params[:1]


def bias_once(self, inputs):
    out = self._read(inputs)
    return self._go_on(torch.cat([out, self.first[0].bias[:, None, None] - out], -1))


def minus_the_path(flow, action, n, rng):
    value, logw = _path(flow, action, n, rng)
    return Loss(2 * value.detach() - value, logw)


def explicit_part_too(flow, action, n, rng):
    """Through the density as well: reverse KL under another name."""
    return losses.reverse_kl(flow, action, n, rng)


def forward_order(self, y):
    total = 0.0
    for step in self:
        y, logdet = step.inverse(y)
        total = total + logdet
    return y, total


def mean_over_the_batch(self, x):
    y, logdet = _checker_forward(self, x)
    return y, logdet.mean().expand(len(x))


def density_without_logdet(self, n, rng):
    z, logr = self.prior.sample_and_log_prob(n, rng)
    return Sample(self.transform(z)[0], logr)


def density_with_the_other_sign(self, n, rng):
    z, logr = self.prior.sample_and_log_prob(n, rng)
    x, logdet = self.transform(z)
    return Sample(x, logr + logdet)


def fresh_weights(self, space):
    return self.rebuild(space).double()


def turned_stencil(sites, lattice, kernel):
    return _neighbours(sites, lattice, kernel).flip(0)


def squared_slope(self, x, params):
    y, logderiv = _circle(self, x, params)
    return y, 2 * logderiv


_tables, _multiply, _product, _mean = residual._tables, residual.multiply, SUN.product, SUN.mean
_move, _features = Residual._move, GaugeCoupling._features
_jacobian, _paths = Residual._jacobian, GaugeCoupling._products


def other_ad(n, dtype, device):
    pairs, structure = _tables(n, dtype, device)
    return pairs, -structure


def pairs_in_the_other_order(n, dtype, device):
    pairs, structure = _tables(n, dtype, device)
    m = n * n - 1
    return pairs.view(-1, m, m).mT.reshape(-1, m * m), structure


def no_adjoint(self, factors, signs, wrap=True):
    return _product(self, factors, [1] * len(signs), wrap)


def polar_factor(self, m):
    """Unitary, of any determinant."""
    u, _, vh = torch.linalg.svd(m)
    return u @ vh


def weights_alone(self, params):
    """Scaled by what Re(a t) needs: the other terms come on top."""
    real, imaginary, b, d = params.view(4, -1, *params.shape[1:])
    a = torch.complex(real, imaginary)
    size = (a.abs() / 2).sum(0) + 1e-6
    scale = self.bound * torch.tanh(size) / size
    return a * scale, b * scale, d * scale


def bound_without_n(self, params):
    real, imaginary, b, d = params.view(4, -1, *params.shape[1:])
    a = torch.complex(real, imaginary)
    size = (a.abs() / 2 + b.abs() + d.abs()).sum(0) + 1e-6
    scale = self.bound * torch.tanh(size) / size
    return a * scale, b * scale, d * scale


def without_second_derivatives(self, w, matrix, move, coefficients):
    """As if dM / dV were that of its W_i alone."""
    a, b, d = coefficients
    return _jacobian(self, w, matrix, move, (a, 0 * b, 0 * d))


def solution_alone(self, v, given):
    """The fixed point without the step that carries its gradients."""
    rest, coefficients = given.loops, self._coefficients(given.params)
    with torch.no_grad():
        x = self._solve(v, rest, coefficients)
    w = [residual.multiply(x, r) for r in rest]
    matrix = self._slope(w, coefficients)
    return x, -torch.linalg.slogdet(self._jacobian(w, matrix, self._move(matrix), coefficients))[1]


def first_of_the_loops(self, weights, elements):
    return _mean(self, weights[:1], elements[:1])


def open_paths(self, rest, frozen):
    """Traces of paths that do not close: as if they were loops."""
    inputs = _features(self, rest, frozen)
    return [inputs[0] + rest[0].diagonal(dim1=-2, dim2=-1).sum(-1).real[None], *inputs[1:]]


def active_loops_read(self, u):
    """The R_i with the active link: W_i R_j^dagger in the place of R_i R_j^dagger."""
    v, first, *others = _paths(self, u)
    return v, residual.multiply(v, first), *others


BUGS = {
    "wrong sign of a coupling's logdet": (
        checkerboard, AffineMap, "forward", lambda self, x, p: (_affine(self, x, p)[0], -p[0])),
    "a missing logdet of a coupling": (
        checkerboard, AffineMap, "forward", lambda self, x, p: (_affine(self, x, p)[0], 0 * p[0])),
    "logdet averaged over the batch": (checkerboard, CheckerboardCoupling, "forward", mean_over_the_batch),
    "logdet of the second update missing": (check_several_updates, GaugeCoupling, "_run", first_update_alone),
    "logdet of the second update missing, by autograd": (links, GaugeCoupling, "_run", first_update_alone),
    "updates undone in the wrong order": (links, GaugeCoupling, "_run", same_order_both_ways),
    "log slope of a circle spline doubled": (links, CircleSpline, "forward", squared_slope),
    "active sites off by one": (
        lambda: check_moves_one_parity(checker("affine")), coupling, "parity", lambda s: _parity(s).roll(1)),
    "parities swapped": (
        lambda: check_moves_one_parity(checker("affine")), coupling, "parity", lambda s: 1 - _parity(s)),
    "active links off by one": (links, GaugeCoupling, "register_buffer", shifted_active),
    "active links off by one, by those that move": (
        lambda: check_gauge_coupling_moves_its_links(gauge("local")), GaugeCoupling, "register_buffer", shifted_active),
    "conditioning on active loops": (
        lambda: check_context_is_frozen(gauge("both sides, all context")), gauges, "frozen_plaquettes",
        every_plaquette),
    "conditioning on active loops, by the round trip": (
        lambda: links("both sides, all context"), gauges, "frozen_plaquettes", every_plaquette),
    "missing wrap": (lambda: testing.check_group(U1()), U1, "wrap", lambda self, x: x),
    "missing wrap, by the charge": (check_charge_is_whole, U1, "wrap", lambda self, x: x),
    "signs forgotten in a loop": (gauge_equivariance, patterns.Loop, "steps", no_signs),
    "an inverse forgotten in a loop": (loops_are_invariant, paths, "rectangle", no_inverse),
    "a force without its 1/N": (loops_are_invariant, fk.Wilson, "force", lambda self, x: 2 * _wilson(self, x)),
    "Haar by QR without its phases, SU(2)": (lambda: check_haar(SUN(2)), SUN, "haar", qr_alone),
    "Haar by QR without its phases, SU(3)": (lambda: check_haar(SUN(3)), SUN, "haar", qr_alone),
    "kernel of the free field without its 2": (
        check_free_field_norm, FreeField, "kernel", lambda self: _kernel(self) / 2),
    "norm of the free field wrong": (
        lambda: testing.check_prior(example(FreeField)), FreeField, "log_prob", without_two_pi),
    "tails of the converter without their Jacobian": (converter, F, "logsigmoid", torch.zeros_like),
    "path gradient of the wrong sign": (check_path_gradient_mean, losses, "path_gradient", minus_the_path),
    "path gradient through the density too": (
        check_no_noise_at_the_target, losses, "path_gradient", explicit_part_too),
    "a spline's slope gradient halved": (check_spline_gradients, rqs, "_vjp", half_of_one_slope),
    "a spline's corners forgotten": (check_spline_gradients, rqs, "_vjp", missing_corner),
    "inverse order of a chain": (check_chain, Chain, "inverse", forward_order),
    "a kernel turned round": (check_convolution_4d, nets.convolution, "neighbours", turned_stencil),
    "a mirrored network with half its bias": (z2, nets.ConvNet, "mirrored", bias_once),
    "draws whose density lacks the logdet": (
        lambda: check_density("scalar"), fk.Flow, "sample_and_log_prob", density_without_logdet),
    "draws whose density has the wrong sign, by E[w] = Z": (
        lambda: check_weights("free", THEORIES["free"]), fk.Flow, "sample_and_log_prob", density_with_the_other_sign),
    "the sign of ad in the Jacobian series": (residual_update, residual, "_tables", other_ad),
    "T_a T_b in the other order": (residual_update, residual, "_tables", pairs_in_the_other_order),
    "the Jacobian series cut after its first term": (residual_update, residual, "_terms", lambda dtype: 1),
    "second derivatives of a potential forgotten": (residual_update, Residual, "_jacobian", without_second_derivatives),
    "a residual update down its potential": (
        check_residual_is_a_gradient, Residual, "_move", lambda self, matrix: -_move(self, matrix)),
    "a residual update down its potential, by autograd": (
        residual_update, Residual, "_move", lambda self, matrix: -_move(self, matrix)),
    "a bound on one term alone": (check_residual_bound, Residual, "_coefficients", weights_alone),
    "a bound without its N": (check_residual_bound, Residual, "_coefficients", bound_without_n),
    "no bound": (
        check_residual_bound, Residual, "_coefficients",
        lambda self, p: (torch.complex(*p.view(4, -1, *p.shape[1:])[:2]), *p.view(4, -1, *p.shape[1:])[2:])),
    "a fixed point without gradients": (check_residual_inverse_gradients, Residual, "inverse", solution_alone),
    "V' = W' F in the place of W' F^dagger": (matrices, SUN, "product", no_adjoint),
    "V' = W' F, by the Jacobian": (learned, SUN, "product", no_adjoint),
    "the Haar measure of eigenvalues forgotten": (learned, alcove, "_sines", torch.ones_like),
    "a projection that keeps the determinant": (learned, SUN, "project", polar_factor),
    "a learned loop of one staple": (check_learned_loop_of_su2, SUN, "mean", first_of_the_loops),
    "traces of open paths": (matrices, GaugeCoupling, "_features", open_paths),
    "updates of a matrix undone in the wrong order": (matrices, GaugeCoupling, "_run", same_order_both_ways),
    "matrices conditioned on active plaquettes": (
        lambda: check_context_of_matrices(lively(make(2, (2, 4, 2), context="both"))), gauges,
        "frozen_plaquettes", every_plaquette),
    "matrices conditioned on active loops": (
        lambda: check_context_of_matrices(lively(make(2))), GaugeCoupling, "_products", active_loops_read),
    "active links of a matrix coupling off by one": (
        lambda: testing.check_transform(make(2)), GaugeCoupling, "register_buffer", shifted_active),
    "weights forgotten on another lattice": (checkerboard, Transform, "on", fresh_weights),
}  # fmt: skip


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name, monkeypatch):
    check, place, attribute, bug = BUGS[name]
    check()
    if isinstance(place, dict):
        monkeypatch.setitem(place, attribute, bug)
    else:
        monkeypatch.setattr(place, attribute, bug)
    with pytest.raises(AssertionError):
        check()


def test_there_are_enough_bugs():
    assert len(BUGS) >= 12

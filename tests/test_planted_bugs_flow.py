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
)
from torch import nn

import flowkit as fk
from flowkit import nets, testing
from flowkit.bijections import updates
from flowkit.bijections.pointwise import CircleSpline
from flowkit.geometry import loops, patterns
from flowkit.groups import SUN, U1
from flowkit.kernels import rqs
from flowkit.priors import Draw, FreeField
from flowkit.testing import example
from flowkit.train import losses
from flowkit.train.losses import Loss
from flowkit.transforms import (
    AffineMap,
    Chain,
    CheckerboardCoupling,
    GaugeCoupling,
    MatrixCoupling,
    Residual,
    Spectral,
    Transform,
)
from flowkit.transforms.links import gauge as gauges, matrix_coupling, spectral
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
    testing.check_transform(fk.DistributionConverter(SITES, bins=5))


def z2():
    testing.check_equivariance(checker("z2"), lambda x: -x)


def matrices(**options):
    """A short contract: symmetry and round trip of an SU(3) coupling of all updates."""
    f = lively(make(3, (2, 4), **options))
    check_symmetry(f, testing.fields(f.space, 8, testing.seeded()), torch.float64)


def residual():
    check_update_jacobian(Residual(), 3)


def learned():
    check_update_jacobian(Spectral(bins=4), 3)


# ---------------------------------------------------------------- bugs

_affine, _frozen, _register = AffineMap.forward, gauges.frozen_plaquettes, nn.Module.register_buffer
_steps, _kernel, _log_prob = patterns.Loop.steps, FreeField.kernel, FreeField.log_prob
_vjp, _path, _checker_forward = rqs._vjp, losses.path_gradient, CheckerboardCoupling.forward
_parity, _neighbours = coupling.parity, nets.convolution.neighbours
_circle, _wilson = CircleSpline.forward, fk.Wilson.force


def first_update_alone(self, x, forward):
    """The logdet of the first of several updates, and the field of all."""
    y, logdet = gauge_update(self, x, forward)
    first = GaugeCoupling(self.space, self.pattern, self.loops[:1], self.map, context=self.context).double()
    angles = self._angles(x.flatten(1).T.contiguous())
    logs = first.map.forward(self.space.group.wrap(angles[0]), self._params(angles[len(self.loops) :])[0])[1]
    return y, logs.sum(0) if forward else logdet


gauge_update = GaugeCoupling._update


def updates_in_one_order(self, x, forward):
    """The inverse goes through the updates in the order of the forward map."""
    if forward:
        return gauge_update(self, x, forward)
    wrap, theta = U1().wrap, x.flatten(1).T.contiguous()
    angles = self._angles(theta)
    params, moved, logdet = self._params(angles[len(self.loops) :]), 0.0, 0.0
    for k in range(len(self.loops)):
        before = wrap(angles[k] + moved)
        after, logs = self.map.inverse(before, params[k])
        moved, logdet = moved + (after - before), logdet + logs.sum(0)
    link = wrap(theta.index_select(0, self.active) + moved)
    return x.flatten(1).index_copy(1, self.active, link.T).view_as(x), logdet


def shifted_active(self, name, tensor, persistent=True):
    """The links next to those whose loops are read."""
    _register(self, name, tensor + 1 if name == "active" else tensor, persistent)


def every_plaquette(space, pattern):
    return {plane: torch.arange(space.volume) for plane in space.planes}


def no_signs(self, mu, ndim):
    return [(direction, offset, 1) for direction, offset, _ in _steps(self, mu, ndim)]


def no_inverse(space, U, mu, nu, r=1, t=1):
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


def minus_the_path(flow, action, n, rng):
    value, logw = _path(flow, action, n, rng)
    return Loss(2 * value.detach() - value, logw)


def explicit_part_too(flow, action, n, rng):
    """Through the density as well: reverse KL under another name."""
    return losses.reverse_kl(flow, action, n, rng)


def forward_order(self, y):
    total = 0.0
    for i in range(len(self.steps)):
        y, logdet = self._step(i).inverse(y)
        total = total + logdet
    return y, total


def mean_over_the_batch(self, x):
    y, logdet = _checker_forward(self, x)
    return y, logdet.mean().expand(len(x))


def density_without_logdet(self, n, rng):
    z, logr = self.prior.draw(n, rng)
    return Draw(self.transform(z)[0], logr)


def density_with_the_other_sign(self, n, rng):
    z, logr = self.prior.draw(n, rng)
    x, logdet = self.transform(z)
    return Draw(x, logr + logdet)


def fresh_weights(self, space):
    return self.rebuild(space).double()


def turned_stencil(sites, lattice, kernel):
    return _neighbours(sites, lattice, kernel).flip(0)


def squared_slope(self, x, params):
    y, logderiv = _circle(self, x, params)
    return y, 2 * logderiv


_tables, _multiply, _weighted, _project = updates._tables, updates.multiply, updates._weighted, updates.project
_move, _features, _updates = Residual._move, MatrixCoupling._features, MatrixCoupling._update
_jacobian, _paths = Residual._jacobian, MatrixCoupling._products


def other_ad(n, dtype, device):
    pairs, structure = _tables(n, dtype, device)
    return pairs, -structure


def pairs_in_the_other_order(n, dtype, device):
    pairs, structure = _tables(n, dtype, device)
    m = n * n - 1
    return pairs.view(-1, m, m).mT.reshape(-1, m * m), structure


def no_adjoint(a, b, adjoint_a=False, adjoint_b=False):
    return _multiply(a, b)


def polar_factor(m):
    """Unitary, of any determinant."""
    u, _, vh = torch.linalg.svd(m)
    return u @ vh


def weights_alone(self, n, params):
    """Scaled by what Re(a t) needs: the other terms come on top."""
    real, imaginary, b, d = params.view(4, -1, *params.shape[1:])
    a = torch.complex(real, imaginary)
    size = (a.abs() / 2).sum(0) + 1e-6
    scale = self.bound * torch.tanh(size) / size
    return a * scale, b * scale, d * scale


def bound_without_n(self, n, params):
    real, imaginary, b, d = params.view(4, -1, *params.shape[1:])
    a = torch.complex(real, imaginary)
    size = (a.abs() / 2 + b.abs() + d.abs()).sum(0) + 1e-6
    scale = self.bound * torch.tanh(size) / size
    return a * scale, b * scale, d * scale


def without_second_derivatives(self, w, matrix, move, coefficients):
    """As if dM / dV were that of its W_i alone."""
    a, b, d = coefficients
    return _jacobian(self, w, matrix, move, (a, 0 * b, 0 * d))


def solution_alone(self, v, rest, params):
    """The fixed point without the step that carries its gradients."""
    coefficients = self._coefficients(v.shape[-1], params)
    with torch.no_grad():
        x = self._solve(v, rest, coefficients)
    w = [updates.multiply(x, r) for r in rest]
    matrix = self._slope(w, coefficients)
    return x, -torch.linalg.slogdet(self._jacobian(w, matrix, self._move(matrix), coefficients))[1]


def first_of_the_loops(weights, matrices):
    return _weighted(weights[:1], matrices[:1])


def open_paths(self, rest, frozen):
    """Traces of paths that do not close: as if they were loops."""
    inputs = _features(self, rest, frozen)
    return [inputs[0] + rest[0].diagonal(dim1=-2, dim2=-1).sum(-1).real[None], *inputs[1:]]


def active_loops_read(self, u):
    """The R_i with the active link: W_i R_j^dagger in the place of R_i R_j^dagger."""
    v, first, *others = _paths(self, u)
    return v, updates.multiply(v, first), *others


def same_order_both_ways(self, x, forward):
    """Each update with its own parameters, the first one undone first."""
    if forward:
        return _updates(self, x, True)
    (v, *rest), total = self._products(x.flatten(1, 1 + self.space.ndim)), 0.0
    for update, own in zip(self.updates, torch.split(self.net(self._features(rest, [])), self.counts), strict=True):
        v, logdet = update.inverse(v, rest, own)
        total = total + logdet.sum(0)
    return x.flatten(1, 3).index_copy(1, self.active, v.transpose(0, 1)).view_as(x), total


BUGS = {
    "wrong sign of a coupling's logdet": (
        checkerboard, AffineMap, "forward", lambda self, x, p: (_affine(self, x, p)[0], -p[0])),
    "a missing logdet of a coupling": (
        checkerboard, AffineMap, "forward", lambda self, x, p: (_affine(self, x, p)[0], 0 * p[0])),
    "logdet averaged over the batch": (checkerboard, CheckerboardCoupling, "forward", mean_over_the_batch),
    "logdet of the second update missing": (check_several_updates, GaugeCoupling, "_update", first_update_alone),
    "logdet of the second update missing, by autograd": (links, GaugeCoupling, "_update", first_update_alone),
    "updates undone in the wrong order": (links, GaugeCoupling, "_update", updates_in_one_order),
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
    "an inverse forgotten in a loop": (loops_are_invariant, loops, "rectangle", no_inverse),
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
    "an even activation in an odd network": (z2, nets.convolution.ACTIVATIONS, "tanh", nn.SiLU),
    "draws whose density lacks the logdet": (lambda: check_density("scalar"), fk.Flow, "draw", density_without_logdet),
    "draws whose density has the wrong sign, by E[w] = Z": (
        lambda: check_weights("free", THEORIES["free"]), fk.Flow, "draw", density_with_the_other_sign),
    "the sign of ad in the Jacobian series": (residual, updates, "_tables", other_ad),
    "T_a T_b in the other order": (residual, updates, "_tables", pairs_in_the_other_order),
    "the Jacobian series cut after its first term": (residual, updates, "_terms", lambda dtype: 1),
    "second derivatives of a potential forgotten": (residual, Residual, "_jacobian", without_second_derivatives),
    "a residual update down its potential": (
        check_residual_is_a_gradient, Residual, "_move", lambda self, matrix: -_move(self, matrix)),
    "a residual update down its potential, by autograd": (
        residual, Residual, "_move", lambda self, matrix: -_move(self, matrix)),
    "a bound on one term alone": (check_residual_bound, Residual, "_coefficients", weights_alone),
    "a bound without its N": (check_residual_bound, Residual, "_coefficients", bound_without_n),
    "no bound": (
        check_residual_bound, Residual, "_coefficients",
        lambda self, n, p: (torch.complex(*p.view(4, -1, *p.shape[1:])[:2]), *p.view(4, -1, *p.shape[1:])[2:])),
    "a fixed point without gradients": (check_residual_inverse_gradients, Residual, "inverse", solution_alone),
    "V' = W' F in the place of W' F^dagger": (matrices, updates, "multiply", no_adjoint),
    "V' = W' F, by the Jacobian": (learned, updates, "multiply", no_adjoint),
    "the Haar measure of eigenvalues forgotten": (learned, spectral, "_sines", torch.ones_like),
    "a projection that keeps the determinant": (learned, updates, "project", polar_factor),
    "a learned loop of one staple": (check_learned_loop_of_su2, updates, "_weighted", first_of_the_loops),
    "traces of open paths": (matrices, MatrixCoupling, "_features", open_paths),
    "updates of a matrix undone in the wrong order": (matrices, MatrixCoupling, "_update", same_order_both_ways),
    "matrices conditioned on active plaquettes": (
        lambda: check_context_of_matrices(lively(make(2, (2, 4, 2), context="both"))), matrix_coupling,
        "frozen_plaquettes", every_plaquette),
    "matrices conditioned on active loops": (
        lambda: check_context_of_matrices(lively(make(2))), MatrixCoupling, "_products", active_loops_read),
    "active links of a matrix coupling off by one": (
        lambda: testing.check_transform(make(2)), MatrixCoupling, "register_buffer", shifted_active),
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

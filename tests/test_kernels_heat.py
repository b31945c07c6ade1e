"""Heat angles: residuals of the inverse CDF, quadrature, Bessel functions, gradients, C against torch."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

from flowkit import kernels, testing
from flowkit.kernels import heat_torch
from flowkit.kernels.heat import heat_angle, heat_cdf, heat_log_norm
from flowkit.kernels.native import library

F64, F32 = torch.float64, torch.float32
POWERS = [0, 2, 4, 6, 12]


@pytest.fixture
def in_torch():
    before = kernels.set_compile("0")
    yield
    kernels.set_compile(before)


def grid(dtype=F64):
    """u from 1e-10 to 1 - 1e-10 (single precision: 1 - 1e-7) times kappa from 0 to 1000."""
    last = -10 if dtype == F64 else -7
    u = torch.cat(
        [
            torch.logspace(-10, -1, 28, dtype=F64),
            torch.linspace(0.12, 0.88, 39, dtype=F64),
            1 - torch.logspace(-1, last, 28, dtype=F64),
        ]
    )
    kappa = torch.cat([torch.zeros(1, dtype=F64), torch.logspace(-4, 3, 36, dtype=F64)])
    return torch.meshgrid(u.to(dtype), kappa.to(dtype), indexing="ij")


def quadrature_cdf(a, kappa, n):
    """F(a) by adaptive quadrature, the range split where the weight is largest and where it is small."""

    def weight(t):
        return math.sin(t) ** n * math.exp(-2 * kappa * math.sin(t / 2) ** 2)

    points = sorted({0.0, a, math.pi, *[min(math.pi, k / math.sqrt(kappa + 1)) for k in (1, 3, 6, 12)]})
    pieces = [
        (b, integrate.quad(weight, start, b, epsabs=0, epsrel=1e-13, limit=200)[0])
        for start, b in itertools.pairwise(points)
    ]
    return sum(part for b, part in pieces if b <= a) / sum(part for _, part in pieces)


def check_residual(angle=heat_angle):
    """F(a(u)) = u by another quadrature, in the middle and in both tails."""
    for n in (0, 2, 4, 6):
        for kappa in (0.0, 0.3, 8.0, 1000.0):
            u = torch.tensor([1e-10, 1e-4, 0.07, 0.5, 0.93, 1 - 1e-4, 1 - 1e-10], dtype=F64)
            a = angle(u, kappa, n)
            back = torch.tensor([quadrature_cdf(float(x), kappa, n) for x in a], dtype=F64)
            testing.require_close(back, u, f"F(a(u)) at kappa = {kappa}, n = {n}", 1e-12)
            testing.require_close(back[:3] / u[:3], torch.ones(3, dtype=F64), "F(a(u)) / u at small u", 1e-11)


def test_the_residual_of_the_inverse():
    check_residual()


def check_dense_grid(n):
    u, kappa = grid()
    assert (heat_cdf(heat_angle(u, kappa, n), kappa, n) - u).abs().max() < 1e-12
    single, kappa32 = grid(F32)
    a = heat_angle(single, kappa32, n)
    assert a.dtype == F32
    back = heat_cdf(a.double(), kappa32.double(), n)
    assert (back - single.double()).abs().max() < 2e-6
    assert (heat_cdf(a, kappa32, n) - single).abs().max() < 2e-6


@pytest.mark.parametrize("n", POWERS)
def test_residuals_on_a_dense_grid(n):
    check_dense_grid(n)


@pytest.mark.usefixtures("in_torch")
@pytest.mark.parametrize("n", [0, 2, 6])
def test_residuals_without_a_compiler(n):
    check_dense_grid(n)


def test_the_check_of_residuals_finds_a_newton_step_too_few():
    def early(u, kappa, n):
        return heat_torch.angle(u, torch.full_like(u, kappa), n, rounds=1)

    with pytest.raises(AssertionError, match=r"F\(a\(u\)\)"):
        check_residual(early)


@pytest.mark.parametrize("n", POWERS)
def test_the_log_norm_against_bessel_functions(n):
    kappa = np.concatenate([np.logspace(-2, 3, 41), [30.0, 700.0]])
    order = n / 2
    expected = special.gammaln(order + 1) + order * np.log(2 / kappa) + np.log(special.ive(order, kappa)) + kappa
    mean = special.ive(order + 1, kappa) / special.ive(order, kappa)
    k = torch.from_numpy(kappa).requires_grad_()
    value = heat_log_norm(k, n)
    (slope,) = torch.autograd.grad(value.sum(), k)
    assert (np.abs(value.detach().numpy() - expected) < 1e-13 * (1 + kappa)).all()
    assert np.abs(slope.numpy() - mean).max() < 1e-13
    scaled = heat_log_norm(k.detach().float(), n, scaled=True)
    assert (scaled.double() - (value.detach() - k.detach())).abs().max() < 1e-5


@pytest.mark.parametrize("n", POWERS)
def test_small_kappa(n):
    """log <exp(kappa cos a)> = kappa^2 / (2 (n + 2)) + O(kappa^4), and 0 at 0; its slope kappa / (n + 2)."""
    kappa = torch.tensor([0.0, 1e-8, 1e-4, 1e-3], dtype=F64, requires_grad=True)
    value = heat_log_norm(kappa, n)
    (slope,) = torch.autograd.grad(value.sum(), kappa)
    assert (value - kappa.square() / (2 * (n + 2))).abs().max() < 1e-13
    assert (slope - kappa / (n + 2)).abs().max() < 1e-9  # the next term is of order kappa^3


def test_haar_angles():
    """kappa = 0 in closed form: a = pi u for n = 0, and F = (2a - sin 2a) / 2 pi for n = 2."""
    u = torch.linspace(0, 1, 101, dtype=F64)
    assert (heat_angle(u, 0.0, 0) - math.pi * u).abs().max() < 1e-13
    a = heat_angle(u, 0.0, 2)
    assert ((2 * a - (2 * a).sin()) / (2 * math.pi) - u).abs().max() < 1e-14


@pytest.mark.parametrize("n", [0, 2, 4, 6])
def test_gradients(n):
    """Of all three functions against differences, in the middle and towards the ends."""
    u = torch.tensor([0.001, 0.2, 0.5, 0.501, 0.8, 0.999], dtype=F64).requires_grad_()
    for size in (0.1, 1.0, 20.0):
        kappa = (size * torch.tensor([0.3, 1.0, 2.0, 1.5, 0.7, 1.1], dtype=F64)).requires_grad_()
        angle = heat_angle(u.detach(), kappa.detach(), n).requires_grad_()
        assert torch.autograd.gradcheck(lambda u, k: heat_angle(u, k, n), (u, kappa), eps=1e-6, rtol=1e-5)
        assert torch.autograd.gradcheck(lambda a, k: heat_cdf(a, k, n), (angle, kappa), eps=1e-6, rtol=1e-5)
        assert torch.autograd.gradcheck(lambda k: heat_log_norm(k, n), (kappa,), rtol=1e-5)


@pytest.mark.parametrize("n", [0, 2, 4, 6])
def test_gradients_keep_their_digits_in_the_tails(n):
    """Those at the angle undo those of the CDF, and the change of a with kappa is that of neighbouring solutions."""
    u, kappa = (t.flatten() for t in grid())
    kappa = kappa.clamp(min=1e-2)
    step = 1e-4 * kappa
    change = (heat_angle(u, kappa + step, n) - heat_angle(u, kappa - step, n)) / (2 * step)
    k = kappa.clone().requires_grad_()
    v = u.clone().requires_grad_()
    a = heat_angle(v, k, n)
    by_u, by_kappa = torch.autograd.grad(a.sum(), (v, k))
    inner = (u > 1e-8) & (u < 1 - 1e-5)
    assert (by_kappa - change)[inner].abs().max() < 1e-4 * (1 + float(change[inner].abs().max()))
    (slope,) = torch.autograd.grad(heat_cdf(x := a.detach().requires_grad_(), kappa, n).sum(), x)
    assert (slope * by_u - 1).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", POWERS)
def test_the_edges_are_finite(n, dtype):
    u = torch.tensor([0.0, torch.finfo(dtype).tiny, 0.5, 1 - torch.finfo(dtype).eps / 2, 1.0], dtype=dtype)
    for kappa in (0.0, 1e-20, 1.0, 1e3, 1e6):
        v, k = u.clone().requires_grad_(), torch.full_like(u, kappa).requires_grad_()
        a = heat_angle(v, k, n)
        assert a[0] == 0
        assert abs(float(a[-1].detach()) - math.pi) < 1e-6
        assert (a.diff() >= 0).all()
        back = heat_cdf(a, k, n)
        for gradient in torch.autograd.grad((a + back).sum(), (v, k)):
            assert not gradient.isnan().any()
        assert (back - u).abs().max() < 100 * torch.finfo(dtype).eps
        assert heat_log_norm(k, n).isfinite().all()


@pytest.mark.skipif(library("heat") is None, reason="no C compiler is installed")
@pytest.mark.parametrize("count", [1, 7, 33])
@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (F32, 5e-6)])
def test_c_equals_torch(dtype, tolerance, count):
    rng = testing.seeded(3)
    u = (0.98 * torch.rand(count, generator=rng, dtype=F64) + 0.01).to(dtype)
    kappa = (10 * torch.rand(count, generator=rng, dtype=F64)).to(dtype)
    weights = torch.randn(3, count, generator=rng, dtype=F64).to(dtype)

    def results(n):
        v, k = u.clone().requires_grad_(), kappa.clone().requires_grad_()
        a = heat_angle(v, k, n)
        # The CDF is taken at angles that do not depend on the way.
        values = torch.stack([a, heat_cdf(3 * v, k, n), heat_log_norm(k, n)])
        return [values, *torch.autograd.grad((values * weights).sum(), (v, k))]

    for n in POWERS:
        ours = results(n)
        before = kernels.set_compile("0")
        theirs = results(n)
        kernels.set_compile(before)
        for one, other in zip(ours, theirs, strict=True):
            testing.require_close(one, other, f"C and torch, n = {n}", tolerance)


@pytest.mark.usefixtures("in_torch")
def test_many_numbers_without_a_compiler():
    u = torch.rand(2, 3000, generator=testing.seeded(), dtype=F64).requires_grad_()
    (slope,) = torch.autograd.grad(heat_angle(u, 3.0, 2).sum(), u)
    (alone,) = torch.autograd.grad(heat_angle(part := u.detach()[1, 2000:].requires_grad_(), 3.0, 2).sum(), part)
    testing.require_close(slope[1, 2000:], alone, "numbers in chunks", 1e-12)


def test_numbers_broadcast_and_keep_their_shape():
    u = torch.rand(3, 1, generator=testing.seeded(), dtype=F64).requires_grad_()
    kappa = torch.rand(4, generator=testing.seeded(2), dtype=F64).requires_grad_()
    a = heat_angle(u, kappa, 2)
    assert a.shape == (3, 4)
    by_u, by_kappa = torch.autograd.grad(a.sum(), (u, kappa))
    assert (by_u.shape, by_kappa.shape) == (u.shape, kappa.shape)
    assert heat_angle(u[:0], 1.0, 2).shape == (0, 1)


def test_what_cannot_be_taken():
    u = torch.rand(3, dtype=F64)
    for n in (1, -2, 66, 2.0):
        with pytest.raises(ValueError, match=rf"heat_angle needs a power of the sine that is even.*got {n}"):
            heat_angle(u, 1.0, n)
    with pytest.raises(ValueError, match=r"heat_cdf takes float32 or float64; got torch.float64, torch.float32"):
        heat_cdf(u, u.float(), 2)
    with pytest.raises(ValueError, match=r"heat_log_norm takes float32 or float64; got torch.int64"):
        heat_log_norm(torch.arange(3), 2)

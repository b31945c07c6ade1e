"""Kernels of SU(N): against LAPACK in double precision, gradients against finite differences, degenerate eigenvalues,
C against torch, odd sizes and layouts, and what is refused.
"""

import functools
import math

import pytest
import torch

from flowkit import kernels
from flowkit.groups import SUN
from flowkit.kernels import native, sun, sun_native, sun_torch

C64, C128, F64 = torch.complex64, torch.complex128, torch.float64
EYE, ANGLES = torch.eye(3, dtype=C128), torch.zeros(3, dtype=F64)
CLOSE = {C128: 1e-12, C64: 2e-5}
KINDS = pytest.mark.parametrize("dtype", [C128, C64], ids=["double", "single"])
SIZES = pytest.mark.parametrize("n", [2, 3, 4])
SMALL = pytest.mark.parametrize("n", [2, 3])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(7)


@pytest.fixture(params=["c", "0"], ids=["C", "torch"])
def level(request):
    """Both ways to run: C, and torch alone."""
    before = kernels.set_compile(request.param)
    yield request.param
    kernels.set_compile(before)


def matrices(n, count, dtype=C128):
    return torch.randn(count, n, n, dtype=C128).to(dtype)


def elements(n, count, scale=1.5):
    return torch.linalg.matrix_exp(1j * sun.algebra(scale * torch.randn(count, n * n - 1, dtype=F64)))


def centre(n):
    phases = torch.tensor([2j * math.pi * k / n for k in range(n)], dtype=C128).exp()
    return phases[:, None, None] * torch.eye(n, dtype=C128)


def hard_elements(n, count):
    """Elements with equal and nearly equal eigenvalues (apart by 1e-1 to 1e-12), some at the cut, and the centre."""
    angles = (torch.rand(count, n, dtype=F64) - 0.5) * 2 * math.pi
    apart = 10 ** (-1 - 11 * torch.rand(count, 1, dtype=F64))
    angles[:, :1] = angles[:, 1:2] + apart * torch.randn(count, 1, dtype=F64)
    angles[::3] = angles[::3, :1] + apart[::3] * torch.randn(len(angles[::3]), n, dtype=F64)
    angles[::5, 0] = angles[::5, -1]
    angles[::7, 0] = math.pi + apart[::7, 0]
    angles = angles - angles.mean(-1, keepdim=True)
    angles[::2] += 2 * math.pi / n * torch.randint(0, n, (len(angles[::2]), 1)).double()
    vectors = torch.linalg.qr(matrices(n, count))[0]
    near = vectors @ torch.diag_embed(torch.polar(torch.ones_like(angles), angles)) @ vectors.mH
    even = torch.diag(torch.tensor([1.0] * (n % 2) + [-1.0] * (n - n % 2), dtype=C128))
    return torch.cat([near, centre(n), even[None], elements(n, count, 3.0)])


def unit_error(u):
    return float((u.mH @ u - torch.eye(u.shape[-1], dtype=u.dtype)).abs().max())


def real_parts(z):
    return torch.view_as_real(z) if z.is_complex() else z


def gradcheck(function, *inputs):
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-6)


def derivative(function, w):
    """d function / dw of real and imaginary parts, all inputs after one another."""
    return torch.autograd.functional.jacobian(lambda w: real_parts(function(w)), w)


def test_c_is_used_here_where_there_is_a_compiler():
    """The tests below compare C with torch only if there is C."""
    if native.library("su3") is None:
        pytest.skip("no C compiler, or none wanted")
    assert sun_native.serves(2, torch.zeros(1))
    assert sun_native.serves(3, torch.zeros(1))
    assert not sun_native.serves(4, torch.zeros(1))


# ---------------------------------------------------------------- products


@SIZES
@KINDS
def test_products(n, dtype, level):
    a, b = matrices(n, 37, dtype), matrices(n, 37, dtype)
    for flip_a in (False, True):
        for flip_b in (False, True):
            expected = (a.mH if flip_a else a).to(C128) @ (b.mH if flip_b else b).to(C128)
            assert (sun.multiply(a, b, flip_a, flip_b) - expected).abs().max() < CLOSE[dtype]
            lazy = sun.multiply(a.mH if flip_a else a, b.mH if flip_b else b)
            assert torch.equal(lazy, sun.multiply(a, b, flip_a, flip_b))
    trace = (a.to(C128) @ b.mH.to(C128)).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert (sun.trace_product(a, b) - trace).abs().max() < CLOSE[dtype]


@SIZES
def test_gradients_of_products(n, level):
    a, b = matrices(n, 3).requires_grad_(), matrices(n, 3).requires_grad_()
    for flip_a in (False, True):
        for flip_b in (False, True):
            gradcheck(lambda a, b, x=flip_a, y=flip_b: sun.multiply(a, b, x, y), a, b)
    gradcheck(lambda a, b: sun.multiply(a[:, None], b.mH), a, b[:2])  # broadcast
    gradcheck(sun.trace_product, a, b)
    gradcheck(lambda a, b: sun.trace_product(a, b[:1]), a, b)
    assert torch.autograd.gradgradcheck(sun.multiply, (a, b), atol=1e-6)
    assert torch.autograd.gradgradcheck(sun.trace_product, (a, b), atol=1e-6)


@SMALL
@pytest.mark.parametrize("count", [0, 1, 7, 17, 4097])
def test_every_size_of_a_batch(n, count):
    """The last block of a batch holds fewer matrices; C against torch."""
    a, b, w = matrices(n, count), matrices(n, count), torch.randn(count, n * n - 1, dtype=F64)
    results = []
    for choice in ("c", "0"):
        before = kernels.set_compile(choice)
        u = sun.exp(w)
        values = sun.eigh(a + a.mH)[0]
        results.append([sun.multiply(a, b), sun.trace_product(a, b), u, sun.project(a), values, sun.log(u)])
        results[-1].append(sun.spectrum(u)[0])
        kernels.set_compile(before)
    for one, other in zip(*results, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-10)


@SMALL
def test_layouts(n):
    """Transposed, conjugated, strided and expanded inputs, no leading axes at all, several of them."""
    a, b = matrices(n, 24).view(2, 3, 4, n, n), matrices(n, 12).view(3, 4, n, n)
    same = functools.partial(torch.allclose, atol=1e-13, rtol=1e-13)
    assert same(sun.multiply(a, b), sun.multiply(a, b.expand(2, 3, 4, n, n).contiguous()))
    assert torch.allclose(sun.multiply(a.mT, b.conj()), a.mT @ b.conj())
    assert same(sun.multiply(a[:, ::2], b[::2]), sun.multiply(a, b)[:, ::2])
    assert same(sun.multiply(a[0, 0, 0], b[0, 0]), sun.multiply(a, b)[0, 0, 0])
    h = a + a.mH
    assert same(sun.eigh(h.transpose(0, 2))[0], sun.eigh(h)[0].transpose(0, 2))
    assert same(sun.eigh(h[..., ::1].mT)[0], sun.eigh(h.conj().resolve_conj())[0])
    assert same(sun.project(a.conj()), sun.project(a.conj().resolve_conj()))
    w = torch.randn(n * n - 1, 6, dtype=F64)
    assert same(sun.exp(w.T), sun.exp(w.T.contiguous()))
    assert sun.exp(w[:, 0]).shape == (n, n)


# ---------------------------------------------------------------- exp, log, projection


@SIZES
@KINDS
def test_exp(n, dtype, level):
    """From 0 to angles of several turns, against the series; the tolerance grows as |w| does."""
    for scale in (0.0, 1e-12, 1e-4, 0.3, 1.0, 3.0, 30.0):
        w = scale * torch.randn(200, n * n - 1, dtype=F64)
        w = w.to(dtype.to_real())
        expected = torch.linalg.matrix_exp(1j * sun.algebra(w.double()))
        u = sun.exp(w)
        assert u.dtype == dtype
        assert (u - expected).abs().max() < CLOSE[dtype] / 10 * (1 + scale), scale


@SIZES
def test_gradients_of_exp_and_log(n, level):
    w = torch.randn(4, n * n - 1, dtype=F64)
    w[1] *= 1e-3
    w[2] *= 3
    w[3] = 0
    w.requires_grad_()
    gradcheck(sun.exp, w)
    gradcheck(lambda w: sun.log(sun.exp(w)), w)
    slope = derivative(sun.exp, torch.zeros(n * n - 1, dtype=F64)).movedim(-1, 0)
    assert torch.allclose(torch.view_as_complex(slope.contiguous()), 1j * sun.generators(n, C128, w.device), atol=1e-14)


@SIZES
@KINDS
def test_log(n, dtype, level):
    """exp(log u) = u for all u, at the cut too; and log(exp w) = w inside it."""
    u = hard_elements(n, 500).to(dtype)
    assert (sun.exp(sun.log(u)) - u).abs().max() < 20 * CLOSE[dtype]
    w = 0.5 * torch.randn(100, n * n - 1, dtype=F64).to(dtype.to_real())
    assert (sun.log(sun.exp(w)) - w).abs().max() < 10 * CLOSE[dtype]
    assert (sun.log(centre(n)[:1]) == 0).all()
    u.requires_grad_()
    (g,) = torch.autograd.grad(sun.log(u).sum(), u)
    assert g.isfinite().all()


@SIZES
@KINDS
def test_projection(n, dtype, level):
    """The polar factor of U P is U, for P of condition numbers up to 1e4; then the determinant is 1."""
    U, V = elements(n, 300), elements(n, 300)
    sizes = torch.logspace(0, -4, n, dtype=F64) ** torch.rand(300, 1, dtype=F64)
    P = (V * sizes[:, None, :]) @ V.mH
    turn = torch.rand(300, dtype=F64) * 6 - 1.5  # of the determinant, off its cut at -pi/2
    phase = torch.polar(torch.ones(300, dtype=F64), turn / n)
    m = (3.7 * phase[:, None, None] * U @ P).to(dtype)
    x = sun.project(m)
    worst = 1 / float(sizes.amin())
    assert (x - U).abs().max() < CLOSE[dtype] * worst
    assert unit_error(x) < CLOSE[dtype] / 5
    assert (torch.linalg.det(x.to(C128)) - 1).abs().max() < CLOSE[dtype] / 5
    assert (sun.project(x) - x).abs().max() < CLOSE[dtype] / 5


@SIZES
def test_projection_of_singular_matrices(n, level):
    """Elements of the group come out, whatever the rank; the identity for 0."""
    m = matrices(n, 40)
    m[:10] = 0
    m[10:20, 0] = 0
    m[20:30] = m[20:30, :1] * m[20:30, :, :1]
    m[30:] = 0
    m[30:, 0, 0] = torch.randn(10)
    x = sun.project(m)
    assert unit_error(x) < 1e-12
    assert (torch.linalg.det(x) - 1).abs().max() < 1e-12
    assert (x[:10] - torch.eye(n)).abs().max() < 1e-15
    m = m.to(C64).requires_grad_()
    x = sun.project(m)
    assert unit_error(x.detach()) < 5e-6
    (g,) = torch.autograd.grad(x.abs().sum() + x.real.sum(), m)
    assert g.isfinite().all()


@SIZES
def test_gradient_of_projection(n, level):
    gradcheck(sun.project, matrices(n, 4).requires_grad_())
    gradcheck(sun.project, (2.5 * elements(n, 3)).requires_grad_())  # equal singular values


# ---------------------------------------------------------------- eigenvalues


@SIZES
@KINDS
def test_eigh(n, dtype, level):
    """Against LAPACK, with matrices that are diagonal, zero, degenerate, tiny and huge among them."""
    h = matrices(n, 600)
    h = h + h.mH
    h[:20] = torch.diag_embed(torch.randn(20, n)).to(C128)
    h[20:30] = 0
    h[30:40] = torch.eye(n)
    vectors = torch.linalg.qr(matrices(n, 60))[0]
    values = torch.randn(60, n, dtype=F64)
    values[:, 0] = values[:, 1]
    values[30:, 0] += 1e-9
    h[40:100] = (vectors * values[:, None, :]) @ vectors.mH
    h[100:110] *= 1e-25
    h[110:120] *= 1e25
    h[120:130, 0, 1] = h[120:130, 1, 0] = 1e-20
    h = h.to(dtype)
    values, vectors = sun.eigh(h)
    scale = h.abs().amax((-2, -1)).clamp(min=1e-30)
    expected = torch.linalg.eigvalsh(h.to(C128))
    assert ((values - expected).abs() / scale[:, None]).max() < CLOSE[dtype] / 2
    assert unit_error(vectors) < CLOSE[dtype] / 2
    residue = h @ vectors - vectors * values[:, None, :]
    assert (residue.abs() / scale[:, None, None]).max() < CLOSE[dtype] / 2
    assert (values.diff(dim=-1) >= 0).all()


@SIZES
def test_gradients_of_eigh(n, level):
    m = matrices(n, 3).requires_grad_()
    gradcheck(lambda m: sun.eigh(m + m.mH)[0], m)

    def cube(m):
        values, vectors = sun.eigh(m + m.mH)
        return (vectors * values[:, None, :] ** 3) @ vectors.mH

    gradcheck(cube, m)
    same = torch.eye(n, dtype=C128)[None].clone().requires_grad_()
    (g,) = torch.autograd.grad(cube(same).real.sum(), same)
    assert g.isfinite().all()


@SIZES
@KINDS
def test_spectrum(n, dtype, level):
    """Round trip, unitary vectors, and the alcove: ascending, within one turn, sum 0; near and at equal eigenvalues."""
    u = hard_elements(n, 2000).to(dtype)
    angles, vectors = sun.spectrum(u)
    assert (sun.recompose(u, angles, vectors, angles) - u).abs().max() < (1e-10 if dtype == C128 else 1e-5)
    assert unit_error(vectors) < CLOSE[dtype] / 4
    rounding = 8 * torch.finfo(dtype).eps
    assert angles.sum(-1).abs().max() < 3 * rounding
    gaps = torch.cat([angles.diff(dim=-1), 2 * math.pi - (angles[:, -1:] - angles[:, :1])], -1)
    assert gaps.min() > sun.SEPARATION[dtype] - 2 * rounding
    phases = torch.linalg.eigvals(u.to(C128))
    traces = torch.stack([(phases**k).sum(-1) for k in range(1, n)], -1)
    ours = torch.stack([torch.polar(torch.ones_like(angles), k * angles).sum(-1) for k in range(1, n)], -1)
    assert (ours - traces).abs().max() < (1e-9 if dtype == C128 else 1e-4)


@SIZES
def test_separation_leaves_other_angles_alone(n, level):
    angles = torch.linspace(-1, 1.2, n, dtype=F64)
    angles = angles - angles.mean()
    V = torch.linalg.qr(matrices(n, 1))[0]
    u = (V * torch.polar(torch.ones_like(angles), angles)) @ V.mH
    assert (sun.spectrum(u)[0] - angles).abs().max() < 4e-15


@SIZES
def test_gradients_of_spectrum(n, level):
    w = torch.randn(4, n * n - 1, dtype=F64).requires_grad_()
    gradcheck(lambda w: sun.spectrum(sun.exp(w))[0], w)

    def mixed(w):  # a map of the angles that respects their order and any permutation
        u = sun.exp(w)
        angles, vectors = sun.spectrum(u)
        pull = sum((angles.roll(k, -1) - angles).sin() for k in range(1, n))
        return sun.recompose(u, angles, vectors, angles + 0.2 * pull)

    gradcheck(mixed, w)


@SMALL
@KINDS
def test_gradient_at_equal_eigenvalues(n, dtype, level):
    """Of u -> u^2, whose derivative is known, where eigenvalues coincide. In single precision their distance is of the
    order of rounding, so that the ratio keeps its size and not its digits.
    """

    def squared(w):
        u = sun.exp(w)
        angles, vectors = sun.spectrum(u)
        return sun.recompose(u, angles, vectors, 2 * angles)

    generator = torch.zeros(n * n - 1, dtype=F64)
    generator[-1] = 1.3
    turn = torch.zeros(n * n - 1, dtype=F64)
    turn[-1] = 4 * math.pi / math.sqrt(3) if n == 3 else 2 * math.pi  # to the next element of the centre
    for w in (torch.zeros_like(generator), generator, turn, 1e-9 * torch.randn(n * n - 1, dtype=F64)):
        point = w.to(dtype.to_real())
        came = derivative(squared, point).double()
        expected = derivative(lambda w: sun.exp(2 * w), w)
        assert (came - expected).abs().max() < (1e-5 if dtype == C128 else 0.2), w


@SMALL
def test_gradients_without_nan(n, level):
    for dtype in (C64, C128):
        u = hard_elements(n, 300).to(dtype).requires_grad_()
        angles, vectors = sun.spectrum(u)
        x = sun.recompose(u, angles, vectors, angles + 0.1 * (3 * angles).sin())
        (g,) = torch.autograd.grad(x.real.sum() + x.imag.sum() + (angles**2).sum(), u)
        assert g.isfinite().all()


@SMALL
def test_recompose_takes_equal_angles(n, level):
    """Angles that the caller made equal: their ratio counts as 1, and nothing is NaN."""
    u = centre(n)[:1].clone().requires_grad_()
    angles = torch.zeros(1, n, dtype=F64)
    x = sun.recompose(u, angles, torch.eye(n, dtype=C128)[None], angles)
    (g,) = torch.autograd.grad(x.real.sum(), u)
    assert (g - (torch.ones(n, n) - torch.eye(n))).abs().max() < 1e-15


@SMALL
@KINDS
@pytest.mark.parametrize("count", [33, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_no_nan(n, dtype, count):
    """Random matrices, of the group and not, the identity and the centre: every kernel gives finite numbers."""
    m = torch.cat([matrices(n, count, dtype), centre(n).to(dtype)])
    u = sun.project(m)
    angles, vectors = sun.spectrum(u)
    back = sun.recompose(u, angles, vectors, angles)
    for t in (u, angles, vectors, back, sun.log(u), *sun.eigh(m + m.mH), sun.multiply(m, u), *sun.spectrum(m)):
        assert t.isfinite().all()
    assert (back - u).abs().max() < (1e-10 if dtype == C128 else 1e-5)
    assert (sun.exp(sun.log(u)) - u).abs().max() < (1e-10 if dtype == C128 else 1e-4)


# ---------------------------------------------------------------- C and torch


@SMALL
@KINDS
def test_c_and_torch_give_the_same(n, dtype):
    if native.library(f"su{n}") is None:
        pytest.skip("no C compiler, or none wanted")
    real, close = dtype.to_real(), 10 * CLOSE[dtype]
    m, g, w = matrices(n, 50, dtype), matrices(n, 50, dtype), torch.randn(50, n * n - 1, dtype=F64).to(real)
    m[:, 0] += 2 * torch.eye(n)[0]
    x, u, h = sun_torch.project(m), sun_torch.exp(w), m + m.mH
    angles, vectors = sun_torch.spectrum(u, 0.0)
    values, columns = sun_torch.eigh(h)
    new, r = angles + 0.3 * angles.sin(), torch.randn(50, n, dtype=F64).to(real)
    pairs = [
        ("restore", (u + 1e-2 * m,)),
        ("exp_gradient", (w, g)),
        ("log_gradient", (angles, vectors, w)),
        ("project_gradient", (m, x, g)),
        ("eigh_gradient", (values, columns, r, g)),
        ("spectrum_gradient", (angles, vectors, r)),
        ("recompose", (vectors, new)),
        ("recompose_gradient", (angles, vectors, new, g)),
    ]
    for name, inputs in pairs:
        came, expected = sun_native.run(name, n, inputs, ()), getattr(sun_torch, name)(*inputs)
        for one, other in zip(*((t if isinstance(t, tuple) else (t,)) for t in (came, expected)), strict=True):
            size = 1 + float(other.abs().max()) ** 2  # of matrices far from singular the largest gradient says how far
            assert (one - other).abs().max() < close * size, name


# ---------------------------------------------------------------- GPUs


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares GPU and CPU; this machine has no GPU")
@SIZES
@KINDS
def test_gpu_and_cpu_give_the_same(n, dtype):
    """Values and gradients of each kernel, without eigenvectors by themselves: their phases are free."""

    def squared(m):  # of the eigenvalues, through the spectrum
        u = sun.project(m)
        angles, vectors = sun.spectrum(u)
        return sun.recompose(u, angles, vectors, 2 * angles)

    def cube(m):
        values, vectors = sun.eigh(m + m.mH)
        return (vectors * values[..., None, :] ** 3) @ vectors.mH

    m, w = matrices(n, 20, dtype), torch.randn(20, n * n - 1, dtype=F64).to(dtype.to_real())
    m[:10] = elements(n, 10).to(dtype)
    cases = [
        (lambda m: sun.multiply(m, m.flip(0), False, True), m),
        (lambda m: sun.multiply(m.mH, m.flip(0)), m),
        (lambda m: sun.trace_product(m, m.roll(1, 0)), m),
        (sun.project, m),
        (lambda m: sun.spectrum(sun.project(m))[0], m),
        (squared, m),
        (cube, m),
        (sun.exp, w),
        (lambda w: sun.log(sun.exp(0.3 * w)), w),
    ]
    for k, (function, given) in enumerate(cases):
        results = []
        for device in ("cpu", "cuda"):
            x = given.to(device).requires_grad_()
            value = function(x)
            parts = real_parts(value)
            weights = torch.linspace(-1, 1, parts.numel(), dtype=parts.dtype, device=device).view(parts.shape)
            results.append((value.detach(), torch.autograd.grad((weights * parts).sum(), x)[0]))
            assert value.device.type == device, k
        for one, other in zip(*results, strict=True):
            size = 1 + float(one.abs().max()) ** 2  # near singular matrices the largest gradient says how far
            assert (one - other.cpu()).abs().max() < 10 * CLOSE[dtype] * size, k


# ---------------------------------------------------------------- what is not finite, and second derivatives


@SIZES
def test_nan_stays_where_it_is(n, level):
    """LAPACK may end the process at a NaN; here one matrix is NaN and its neighbours are not."""
    m = elements(n, 3)
    m[1, 0, 0] = math.nan
    for function in (sun.project, sun.log, lambda m: sun.spectrum(m)[0], lambda m: sun.eigh(m + m.mH)[0]):
        x = function(m).flatten(1).isfinite().all(1)
        assert x.tolist() == [True, False, True], function


@SIZES
def test_a_second_derivative_is_refused(n, level):
    """Rather than wrong: the gradients of these kernels are numbers to autograd."""
    w = torch.randn(2, n * n - 1, dtype=F64, requires_grad=True)
    (g,) = torch.autograd.grad(sun.exp(w).real.sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="gradients of first order"):
        torch.autograd.grad(g.square().sum(), w)


# ---------------------------------------------------------------- inference mode


def test_generators_made_in_inference_mode_serve_training():
    """The cache is filled there first; then gradients pass through it."""
    sun.generators.cache_clear()
    with torch.inference_mode():
        sun.algebra(torch.zeros(1, 8, dtype=F64))
        sun.coordinates(torch.zeros(1, 3, 3, dtype=C128))
    w = torch.randn(2, 8, dtype=F64, requires_grad=True)
    (g,) = torch.autograd.grad(sun.coordinates(sun.algebra(w)).sum(), w)
    assert torch.allclose(g, torch.ones_like(g))


def test_generators_of_a_group_are_the_callers_own():
    """What is done to them in place stays out of the cache."""
    own = SUN(3).generators(EYE)
    own.zero_()
    assert torch.allclose(SUN(3).generators(EYE), sun.generators(3, C128, EYE.device))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sun.multiply(torch.zeros(3, 3), torch.zeros(3, 3)), "multiply takes complex matrices"),
        (lambda: sun.multiply(torch.zeros(3, 2, dtype=C64), torch.zeros(2, 2, dtype=C64)), r"\[\.\.\., N, N\]; got"),
        (lambda: sun.multiply(torch.zeros(3, 3, dtype=C64), torch.zeros(3, 3, dtype=C128)), "one dtype and size"),
        (lambda: sun.multiply(torch.zeros(3, 3, dtype=C64), torch.zeros(2, 2, dtype=C64)), "one dtype and size"),
        (lambda: sun.trace_product(torch.zeros(3, dtype=C64), torch.zeros(3, dtype=C64)), "trace_product takes"),
        (lambda: sun.exp(torch.zeros(4)), r"exp takes real coordinates \[\.\.\., N\^2 - 1\]; got torch.float32 of .*4"),
        (lambda: sun.exp(torch.zeros(3, dtype=C64)), "exp takes real coordinates"),
        (lambda: sun.exp(torch.zeros(3, dtype=torch.int64)), "exp takes real coordinates"),
        (lambda: sun.exp(torch.tensor(1.0)), "exp takes real coordinates"),
        (lambda: sun.exp(torch.zeros(3, dtype=torch.float16)), "exp takes real coordinates"),
        (lambda: sun.log(torch.zeros(3)), "log takes complex matrices"),
        (lambda: sun.project(torch.zeros(3, 3)), "project takes complex matrices"),
        (lambda: sun.eigh(torch.zeros(2, 3, dtype=C64)), "eigh takes complex matrices"),
        (lambda: sun.spectrum(torch.zeros(1, 1, dtype=C64)), "spectrum takes complex matrices"),
        (lambda: sun.recompose(*[torch.eye(2, dtype=C64)] * 2, torch.zeros(2), torch.zeros(3)), "recompose takes"),
        (lambda: sun.recompose(torch.eye(2, dtype=C64), torch.zeros(2), torch.eye(2, dtype=C64), torch.zeros(3)),
         r"got \[2, 2\], \[2\], \[2, 2\], \[3\]"),
        (lambda: sun.recompose(EYE, ANGLES, EYE, ANGLES.float()),
         "takes angles torch.float64 on cpu for matrices torch.complex128; got .* and torch.float32 on cpu"),
        (lambda: sun.recompose(EYE, ANGLES.float(), EYE, ANGLES), "got torch.float32 on cpu and torch.float64"),
        (lambda: sun.recompose(EYE, ANGLES, EYE, ANGLES.to(C128)), "and torch.complex128 on cpu"),
        (lambda: sun.recompose(EYE, ANGLES, EYE, ANGLES.to("meta")), "and torch.float64 on meta"),
        (lambda: sun.recompose(EYE, ANGLES, EYE.to("meta"), ANGLES), "one device; got cpu and meta"),
        (lambda: sun.multiply(EYE, EYE.to("meta")), "multiply takes matrices on one device; got cpu and meta"),
        (lambda: sun.multiply(EYE.to("meta"), EYE), "multiply takes matrices on one device; got meta and cpu"),
        (lambda: sun.trace_product(EYE, EYE.to("meta")), "trace_product takes matrices on one device"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Groups: axioms in both precisions, Haar moments, logarithms at their branch, angles at their seam."""

import math

import pytest
import torch
from scipy import stats as scipy_stats

from flowkit import testing
from flowkit.groups import SUN, U1, Real, named
from flowkit.groups.sun import generators

GROUPS = [Real(), U1(), SUN(2), SUN(3), SUN(4)]
COMPACT = GROUPS[1:]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_contract(group, dtype):
    testing.check_group(group, dtype, nan=True)


def check_haar(group, n=20_000):
    """<Re Tr U> = 0, <|Tr U|^2> = 1 (one singlet in N x N*), <(Re Tr U)^2> = 1/2 for N > 2 and 1 for the real SU(2);
    and the measure does not change under a fixed rotation: entries are as uniform after it.
    """
    U = group.haar((n,), testing.seeded(3), torch.float64)
    trace = U.diagonal(dim1=-2, dim2=-1).sum(-1)
    expected = {"real": (trace.real, 0.0), "|Tr|^2": (trace.abs() ** 2, 1.0),
                "(Re Tr)^2": (trace.real**2, 1.0 if group.n == 2 else 0.5),
                "|U_00|^2": (U[:, 0, 0].abs() ** 2, 1 / group.n),
                "Re U_00": (U[:, 0, 0].real, 0.0), "Re U_01": (U[:, 0, 1].real, 0.0)}  # fmt: skip
    # |U_00|^4 has the mean 2 / N(N+1): Haar, and not any law that is symmetric under phases alone.
    expected["|U_00|^4"] = (U[:, 0, 0].abs() ** 4, 2 / (group.n * (group.n + 1)))
    expected["Re U_11"] = (U[:, 1, 1].real, 0.0)
    for what, (sample, mean) in expected.items():
        pull = float((sample.mean() - mean) / (sample.std() / math.sqrt(n)))
        assert abs(pull) < 4.5, f"{group}: <{what}> is {sample.mean():.4f}, {pull:.1f} errors from {mean}"


@pytest.mark.parametrize("group", [SUN(2), SUN(3), SUN(4)], ids=str)
def test_haar_moments(group):
    check_haar(group)


def test_haar_of_u1_is_uniform():
    """An arc of a thousandth of the circle that is left out shows in the means of cos k theta and sin k theta."""
    n = 4_000_000
    theta = U1().haar((n,), testing.seeded(3), torch.float64)
    for k in range(1, 9):
        wave = torch.polar(torch.ones_like(theta), k * theta).mean()
        assert abs(wave) < 4 / math.sqrt(n), f"<exp({k} i theta)> is {wave:.2g}"
    few = theta[:20_000].numpy()
    assert scipy_stats.kstest(few, scipy_stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3
    assert theta.min() >= -math.pi
    assert theta.max() < math.pi


def test_real_has_no_haar_measure_and_no_trace():
    with pytest.raises(ValueError, match="no normalised Haar measure; use a Normal or FreeField prior"):
        Real().haar((2,), testing.seeded())
    with pytest.raises(ValueError, match="Real fields have no trace"):
        Real().trace(torch.zeros(2))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_generators(n):
    """Hermitian, traceless, Tr T_a T_b = delta_ab / 2, complete: sum_a T_a T_a = (N^2 - 1) / 2N."""
    T = generators(n, torch.complex128, torch.device("cpu"))
    assert T.shape == (n * n - 1, n, n)
    assert torch.equal(T, T.mH)
    products = torch.einsum("aij,bji->ab", T, T)
    assert (products - torch.eye(n * n - 1) / 2).abs().max() < 1e-15
    casimir = torch.einsum("aij,ajk->ik", T, T)
    assert (casimir - (n * n - 1) / (2 * n) * torch.eye(n, dtype=T.dtype)).abs().max() < 1e-14


def test_generators_of_su2_and_su3_are_pauli_and_gell_mann():
    pauli = torch.tensor([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex128)
    assert torch.equal(generators(2, torch.complex128, torch.device("cpu")), pauli / 2)
    T = generators(3, torch.complex128, torch.device("cpu"))
    # f_123 = 1 and f_458 = sqrt(3)/2 in the usual order
    f = lambda a, b, c: float((-2j * torch.trace((T[a - 1] @ T[b - 1] - T[b - 1] @ T[a - 1]) @ T[c - 1])).real)  # noqa: E731
    assert f(1, 2, 3) == pytest.approx(1)
    assert f(4, 5, 8) == pytest.approx(math.sqrt(3) / 2)
    assert f(1, 4, 7) == pytest.approx(0.5)


@pytest.mark.parametrize("group", [SUN(2), SUN(3), SUN(4)], ids=str)
def test_exp_against_the_series(group):
    w = torch.randn(5, group.algebra_dim, generator=testing.seeded(), dtype=torch.float64)
    series = torch.linalg.matrix_exp(1j * group.algebra(w))
    assert (group.exp(w) - series).abs().max() < 1e-13
    assert (group.coordinates(group.algebra(w)) - w).abs().max() < 1e-14


def test_exp_of_su2_has_gradients_at_zero():
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda w: torch.view_as_real(SUN(2).exp(w)), w)
    assert jacobian.isfinite().all()
    assert jacobian[0, 1, 1, 0] == pytest.approx(0.5)  # d exp(i w.sigma/2) = i sigma / 2


@pytest.mark.parametrize("group", [SUN(2), SUN(3), SUN(4)], ids=str)
def test_log_on_the_whole_group(group):
    """exp(log(g)) = g for Haar elements and for the centre, where eigenvalues are degenerate."""
    g = group.haar((200,), testing.seeded(2), torch.float64)
    centre = torch.stack([torch.eye(group.n) * torch.tensor(2j * math.pi * k / group.n).exp() for k in range(group.n)])
    g = torch.cat([g, centre.to(g.dtype)])
    w = group.log(g)
    assert w.shape == (len(g), group.algebra_dim)
    assert (group.exp(w) - g).abs().max() < 1e-7


@pytest.mark.parametrize("group", [SUN(2), SUN(3)], ids=str)
def test_projection(group):
    """Idempotent, onto the group, and covariant: project(A M) = A project(M) for A in the group."""
    rng = testing.seeded()
    A, U = group.haar((2, 6), rng, torch.float64)
    M = U + 0.05 * torch.randn(U.shape, generator=rng, dtype=U.dtype)
    P = group.project(M)
    assert group.defect(M).min() > 1e-3
    assert group.defect(P).max() < 1e-13
    assert (group.project(P) - P).abs().max() < 1e-13
    assert (group.project(A @ M) - A @ P).abs().max() < 1e-12


def test_defect_sees_the_determinant():
    phase = torch.eye(3, dtype=torch.complex128) * torch.tensor(0.1j).exp()  # unitary, and not in SU(3)
    assert SUN(3).defect(phase) > 0.1


def test_trace():
    assert SUN(3).trace(torch.diag(torch.tensor([1j, -1j, 1.0]))) == pytest.approx(1 / 3)
    assert U1().trace(torch.tensor(math.pi / 3, dtype=torch.float64)) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_wrapped_angles_lie_in_their_range(dtype):
    """Also at the seam, beside it, and for angles of a million turns; and they are equal modulo 2 pi."""
    pi = torch.tensor(math.pi, dtype=dtype)
    beside = [torch.nextafter(s * k * pi, t * torch.tensor(9e9, dtype=dtype))
              for s in (-1, 1) for k in (1, 3, 5, 101) for t in (-1, 1)]  # fmt: skip
    seam = torch.stack([s * k * pi for s in (-1, 1) for k in (0, 1, 2, 3, 5, 101)] + beside)
    many = (torch.rand(20_000, generator=testing.seeded(), dtype=dtype) - 0.5) * 1e4
    huge = torch.tensor([1e6, -1e6, 6.2831855e6, 1e7, -3.3e7], dtype=dtype)
    for x in (seam, many, huge):
        y = U1().wrap(x)
        assert y.dtype == dtype
        rounding = torch.finfo(dtype).eps * (1 + x.double().abs())
        assert (y.double() >= -math.pi - rounding).all()
        assert (y < math.pi).all()
        turns = (x.double() - y.double()) / (2 * math.pi)
        assert ((turns - turns.round()).abs() <= rounding).all()
        inside = y[(y >= -math.pi)]
        assert torch.equal(U1().wrap(inside), inside), "wrapping twice differs from wrapping once"


def test_wrap_has_slope_one():
    x = torch.tensor([0.3, 4.0, -3.5, math.pi], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(U1().wrap(x).sum(), x)
    assert torch.equal(slope, torch.ones_like(x))


def test_names():
    for group in GROUPS:
        assert named(group.name) == group
        assert hash(named(group.name)) == hash(group)
    assert SUN(2) != SUN(3)
    assert repr(SUN(3)) == "SUN(3)"
    for bad in ("SU1", "SU", "O3", "SU999", ""):
        with pytest.raises(ValueError, match="A group is"):
            named(bad)
    for bad in (1, 2.0, "3"):
        with pytest.raises(ValueError, match=r"SUN needs n, a whole number in \[2, 64\]; got"):
            SUN(bad)


@pytest.mark.parametrize("group", [U1(), SUN(2), SUN(3)], ids=str)
@pytest.mark.parametrize("batch", [0, 3])
def test_products_along_paths_are_those_link_by_link(group, batch):
    """Two sets of paths, of which one meets a link twice; a batch of none gives none."""
    x = group.haar((batch, 5), torch.Generator().manual_seed(1), torch.float64)
    index = torch.tensor([[0, 4], [2, 2], [0, 1]]), torch.tensor([[3, 1, 4]])
    paths = (2, (1, -1, -1)), (3, (-1,))
    found = group.path_products(x, torch.cat([i.flatten() for i in index]), paths)
    for products, steps, (count, signs) in zip(found, index, paths, strict=True):
        assert products.shape == (count, batch, *group.matrix_shape)
        for k in range(count):
            expected = group.product([x[:, step[k]] for step in steps], signs, wrap=False)
            torch.testing.assert_close(products[k], expected)

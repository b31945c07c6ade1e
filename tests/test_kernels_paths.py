"""Products along paths: against matrix products written out, links met many times, and what is refused."""

import pytest
import torch

from flowkit.geometry.patterns import Loop, link_index
from flowkit.geometry.space import links
from flowkit.groups import SUN
from flowkit.kernels.paths import path_products, products, put_links

C64, C128 = torch.complex64, torch.complex128
CLOSE = {C128: 1e-13, C64: 1e-5}
KINDS = pytest.mark.parametrize("dtype", [C128, C64], ids=["double", "single"])
SIZES = pytest.mark.parametrize("n", [2, 3, 4])
BATCHES = pytest.mark.parametrize("batch", [1, 7])
SIGNS = pytest.mark.parametrize("signs", [(1,), (-1,), (1, 1), (-1, 1, -1), (1, 1, -1, -1, 1)], ids=str)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(5)


def fields(batch, count, n, dtype=C128):
    return (torch.randn(batch, count, n, n, dtype=C128) / n).to(dtype)


def written_out(x, index, signs):
    """The definition, one path after another."""
    out = []
    for path in index.T:
        product = torch.eye(x.shape[-1], dtype=x.dtype)
        for link, sign in zip(path, signs, strict=True):
            product = product @ (x[:, link] if sign > 0 else x[:, link].mH)
        out.append(product)
    return torch.stack(out)


def gradients(function, x, *others):
    """Value, and gradients of Re <weights, value>."""
    x = x.detach().requires_grad_()
    out = function(x, *others)
    weights = torch.randn(out.shape, dtype=C128, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return out.detach(), torch.autograd.grad((weights.conj() * out).real.sum(), x)[0]


def close(a, b, dtype):
    assert a.shape == b.shape
    assert a.dtype == b.dtype == dtype
    scale = b.abs().max().clamp(min=1)
    torch.testing.assert_close(a / scale, b / scale, atol=CLOSE[dtype], rtol=0)


@SIZES
@KINDS
@BATCHES
@SIGNS
def test_products_and_gradients_are_those_of_matrix_products(n, dtype, batch, signs):
    x = fields(batch, 6, n, dtype)
    index = torch.randint(0, 5, (len(signs), 4))  # links met twice and more; none meets the last
    want, want_gradient = gradients(written_out, x, index, signs)
    got, gradient = gradients(path_products, x, index, signs)
    close(got, want, dtype)
    close(gradient, want_gradient, dtype)
    assert not gradient[:, 5].any()


@SIZES
def test_gradcheck(n):
    x = fields(3, 4, n).requires_grad_()
    index = torch.tensor([[0, 1], [2, 1], [0, 3]])
    assert torch.autograd.gradcheck(lambda x: path_products(x, index, (1, -1, 1)), x)
    assert torch.autograd.gradcheck(lambda x: path_products(x, index[:1], (-1,)), x)
    v = fields(2, 3, n).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, v: put_links(x, torch.tensor([3, 1]), v), (x, v))


@SIZES
def test_one_link_met_by_many_paths(n):
    """d/dx of M products x x = M times that of one."""
    x = fields(17, 2, n)
    one = gradients(lambda x: path_products(x, torch.zeros(2, 1, dtype=torch.int64), (1, 1)).sum(0), x)[1]
    many = gradients(lambda x: path_products(x, torch.zeros(2, 50, dtype=torch.int64), (1, 1)).sum(0), x)[1]
    torch.testing.assert_close(many, 50 * one)


@SIZES
def test_single_is_double_rounded(n):
    x, index, signs = fields(33, 40, n), torch.randint(0, 40, (20, 2)), (1, -1) * 10
    double, single = gradients(path_products, x, index, signs), gradients(path_products, x.to(C64), index, signs)
    for a, b in zip(double, single, strict=True):
        torch.testing.assert_close(b.to(C128), a, atol=1e-5 * float(a.abs().max()), rtol=0)


@SIZES
def test_sets_of_paths_share_a_gradient(n):
    """Several sets at once are each by itself, also where one of them is not used or the field is not contiguous."""
    x = fields(9, 5, n).mH
    paths = [(torch.randint(0, 5, (len(s), 3)), s) for s in ((1, -1), (1,), (-1, -1, 1))]
    for used in ([0, 1, 2], [1], [0, 2]):
        want = gradients(lambda x, used=used: torch.cat([path_products(x, *paths[k]) for k in used]), x)
        got = gradients(lambda x, used=used: torch.cat([products(x, paths)[k] for k in used]), x)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("n", [2, 3])
def test_loops_of_a_gauge_field_are_gauge_covariant(n):
    """Under u_mu(x) -> g(x) u_mu(x) g(x + mu)^dagger a loop based at x turns to g(x) W g(x)^dagger."""
    space = links((4, 6), SUN(n))
    sites = torch.arange(space.volume)
    u, g = (torch.linalg.qr(fields(7, count, n))[0] for count in (2 * space.volume, space.volume))
    ahead = torch.cat([link_index(space, sites, [(0, shift, 1)])[0] for shift in ((1, 0), (0, 1))])
    turned = g.repeat(1, 2, 1, 1) @ u @ g[:, ahead].mH
    loops = [Loop(1), Loop(1, 2, 1, True), Loop(1, 1, 2)]
    paths = [loop.steps(0, 2) for loop in loops]
    sets = [(link_index(space, sites, steps), tuple(sign for *_, sign in steps)) for steps in paths]
    for before, after in zip(products(u, sets), products(turned, sets), strict=True):
        here = g.transpose(0, 1)
        torch.testing.assert_close(after, here @ before @ here.mH)


@SIZES
@KINDS
@BATCHES
def test_links_are_put_back(n, dtype, batch):
    x, v, active = fields(batch, 6, n, dtype), fields(3, batch, n, dtype), torch.tensor([4, 0, 3])
    y = put_links(x, active, v)
    assert torch.equal(y[:, active], v.transpose(0, 1))
    assert torch.equal(y[:, [1, 2, 5]], x[:, [1, 2, 5]])
    close(path_products(y, active[None], (1,)), v, dtype)
    x.requires_grad_(), v.requires_grad_()
    g = fields(batch, 6, n, dtype)
    to_x, to_v = torch.autograd.grad(put_links(x, active, v), (x, v), g)
    assert torch.equal(to_v, g[:, active].transpose(0, 1))
    assert not to_x[:, active].any()
    assert torch.equal(to_x[:, [1, 2, 5]], g[:, [1, 2, 5]])


def test_no_batch_and_no_paths():
    x = fields(0, 3, 3)
    assert path_products(x, torch.zeros(2, 4, dtype=torch.int64), (1, 1)).shape == (4, 0, 3, 3)
    none = gradients(path_products, fields(2, 3, 3), torch.zeros(2, 0, dtype=torch.int64), (1, 1))
    assert none[0].shape == (0, 2, 3, 3)
    assert not none[1].any()


def test_what_is_refused():
    x, index = fields(2, 3, 3), torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"complex links \[batch, links, N, N\]; got torch.float64"):
        path_products(x.real, index, (1, 1))
    with pytest.raises(ValueError, match=r"of shape \[2, 3, 3, 2\]"):
        path_products(x[..., :2], index, (1, 1))
    with pytest.raises(ValueError, match=r"index int64 \[steps, M\] on cpu; got torch.int32 of shape \[2, 4\]"):
        path_products(x, index.int(), (1, 1))
    with pytest.raises(ValueError, match=r"index int64 \[steps, M\]"):
        path_products(x, index[0], (1, 1))
    for signs in ((1,), (1, 2), ()):
        with pytest.raises(ValueError, match="a sign 1 or -1 for each of 2 steps"):
            path_products(x, index, signs)
    v = fields(4, 2, 3)
    for bad in (index - 4, index + 3):
        with pytest.raises((IndexError, RuntimeError)):
            path_products(x, bad, (1, 1))
        with pytest.raises((IndexError, RuntimeError)):
            put_links(x, bad[0], v)
    with pytest.raises(ValueError, match=r"new links torch.complex128 \[4, 2, 3, 3\] on cpu; got torch.complex64"):
        put_links(x, index[0], v.to(C64))
    with pytest.raises(ValueError, match=r"index int64 \[M\]"):
        put_links(x, index, v)

"""Convolutions of all sites and of some, dense and factorised, against sums that are written out."""

import itertools
import math

import pytest
import torch

import flowkit as fk
from flowkit import kernels, testing
from flowkit.nets import ConvNet, FactorisedConv, SiteConv
from flowkit.studies.conv4d import conv4d
from flowkit.transforms.links.gauge import GaugeCoupling

F64 = torch.float64
LATTICES = [(5,), (4, 3), (3, 2, 4), (3, 2, 4, 2)]


def random_sites(lattice, part, seed):
    order = torch.randperm(math.prod(lattice), generator=testing.seeded(seed))
    return order[: max(1, int(part * len(order)))].sort().values


def direct(lattice, weight, bias, x):
    """b + sum over taps of w u(x + t) on all sites, by shifts of the whole field."""
    side = round(weight.shape[2] ** (1 / len(lattice)))
    field = x.view(len(x), *lattice, -1)
    total = bias.view(-1, *[1] * (field.dim() - 1)).expand(-1, *field.shape[1:])
    reach = range(-(side // 2), side // 2 + 1)
    for t, shift in enumerate(itertools.product(reach, repeat=len(lattice))):
        moved = field.roll([-s for s in shift], tuple(range(1, 1 + len(lattice))))
        total = total + torch.einsum("oc,c...->o...", weight[:, :, t], moved)
    return total.flatten(1, -2)


@pytest.mark.parametrize("level", ["c", "0"])
@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_every_method_gives_the_direct_sum(level, lattice, dtype):
    """Also with kernels wider than the lattice, and their gradients."""
    before = kernels.set_compile(level)
    rng, rounding = testing.seeded(), 1e-12 if dtype == F64 else 1e-4
    try:
        for kernel in (3, 5):
            x = torch.randn(2, math.prod(lattice), 3, generator=rng, dtype=dtype, requires_grad=True)
            for method in (None, "listed", "product", "slices"):
                conv = SiteConv(lattice, (2, 3), kernel, method=method).to(dtype)
                out, expected = conv(x), direct(lattice, conv.weight, conv.bias, x)
                assert out.dtype == dtype
                assert (out - expected).abs().max() < rounding
                weight = torch.randn(out.shape, generator=rng, dtype=dtype)
                inputs = [x, *conv.parameters()]
                found, wanted = (torch.autograd.grad((y * weight).sum(), inputs) for y in (out, expected))
                for a, b in zip(found, wanted, strict=True):
                    assert (a - b).abs().max() < 30 * rounding
    finally:
        kernels.set_compile(before)


@pytest.mark.parametrize("factorised", ["cp", "tucker"])
@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_factorised_convolutions_equal_dense_ones_of_their_weight(factorised, lattice, dtype):
    inputs, outputs = random_sites(lattice, 0.6, 1), random_sites(lattice, 0.5, 2)
    for kernel in (3, 5):
        conv = FactorisedConv(lattice, (2, 3), kernel, inputs, outputs, True, factorised).to(dtype)
        dense = SiteConv(lattice, (2, 3), kernel, inputs, outputs).to(dtype)
        with torch.no_grad():
            dense.weight.copy_(conv.dense())
            dense.bias.copy_(conv.bias)
        x = torch.randn(2, len(inputs), 5, generator=testing.seeded(), dtype=dtype)
        assert (conv(x) - dense(x)).abs().max() < (1e-13 if dtype == F64 else 1e-5)


def test_the_weights_by_their_formulas():
    cp = FactorisedConv((4, 4), (2, 3), 3, rank=4).double()
    one, other = cp.along
    expected = torch.einsum("or,rs,rt,rc->ocst", cp.after, one, other, cp.before).flatten(2)
    assert (cp.dense() - expected).abs().max() < 1e-14
    tucker = FactorisedConv((4, 4), (2, 3), 3, factorised="tucker", rank=4).double()
    one, other = tucker.along
    core = tucker.core.unflatten(2, (2, 2))
    expected = torch.einsum("oa,abuv,us,vt,bc->ocst", tucker.after, core, one, other, tucker.before).flatten(2)
    assert (tucker.dense() - expected).abs().max() < 1e-14


@pytest.mark.parametrize("level", ["c", "0"])
@pytest.mark.parametrize("factorised", ["cp", "tucker"])
def test_gradients_of_factorised_convolutions(level, factorised):
    before = kernels.set_compile(level)
    try:
        inputs, outputs = random_sites((4, 2), 0.7, 1), random_sites((4, 2), 0.6, 2)
        conv = FactorisedConv((4, 2), (2, 2), 3, inputs, outputs, factorised=factorised, rank=2).double()
        x = torch.randn(2, len(inputs), 3, generator=testing.seeded(), dtype=F64, requires_grad=True)
        names = [name for name, _ in conv.named_parameters()]

        def out(x, *values):
            return torch.func.functional_call(conv, dict(zip(names, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(out, (x, *conv.parameters()))
        assert torch.autograd.gradgradcheck(out, (x, *conv.parameters()))
    finally:
        kernels.set_compile(before)


def test_costs_are_counted():
    """8 to 8 channels, 81 taps, two operations each; and R (in + out) and d k R for the factors."""
    dense, cp = (kind((4,) * 4, (8, 8), 3) for kind in (SiteConv, FactorisedConv))
    assert dense.operations == 2 * 64 * 81 * 256
    assert cp.operations == 2 * (64 + 64 + 4 * 3 * 8) * 256
    assert sum(p.numel() for p in cp.parameters()) == 2 * 64 + 4 * 3 * 8 + 8
    assert "232 parameters, 114,688 operations a field" in repr(cp)
    net = ConvNet((4, 4), [(1, torch.arange(16))], torch.arange(16), 2, (3,), (3, 1))
    assert net.operations == 2 * 16 * (9 * 3 + 3 * 2)
    assert f"{net.operations:,} operations" in repr(net)
    some = SiteConv((4,), (1, 1), 3, torch.tensor([0]), torch.tensor([1, 2]))
    assert some.operations == 2  # site 1 reads site 0, and nobody else does


@pytest.mark.parametrize("factorised", ["cp", "tucker"])
def test_couplings_with_factorised_networks(factorised):
    options = {"hidden": (4,), "kernel": (3, 1), "factorised": factorised, "rank": 2}
    for z2 in (False, True):
        for hidden in ((4,), ()):
            layers = {**options, "hidden": hidden, "kernel": (3, 1)[: len(hidden) + 1]}
            coupling = fk.CheckerboardCoupling(fk.sites((4, 4)), 0, z2=z2, **layers)
            testing.check_transform(coupling)
            assert sum(isinstance(m, FactorisedConv) for m in coupling.modules()) == (2 if z2 and not hidden else 1)
    space, loops = fk.links((4, 4), fk.U1()), fk.Loop.rectangle().through(0, 2)
    pattern = fk.Pattern.sparse(0, 2, 4, 0)
    gauge = GaugeCoupling(space, pattern, loops, frozen=[fk.Loop.rectangle()], **options)
    testing.check_transform(gauge)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: SiteConv((4, 4), (1, 1), 3, method="fft"), "computed by listed, product, slices or None; got 'fft'"),
    (lambda: SiteConv((4,), (1, 1), 3, torch.tensor([0]), method="slices"), "is one of all 4 sites; got some"),
    (lambda: SiteConv((2,) * 5, (1, 1), 3, method="slices"), "in up to four dimensions; got 5"),
    (lambda: FactorisedConv((4, 4), (1, 1), 2), "needs an odd kernel; got 2"),
    (lambda: FactorisedConv((4, 4), (1, 1), 3, factorised="svd"), "factorised by cp or tucker; got 'svd'"),
    (lambda: ConvNet((4,), [(1, torch.arange(4))], torch.arange(4), 1, (), 1, factorised="svd"), "cp or tucker"),
])  # fmt: skip
def test_bad_convolutions(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_quick_figure():
    """What does not depend on the machine: the exact sum, and the numbers of parameters."""
    rows = {row["label"]: row for row in conv4d(quick=True, side=2)}
    sure = [row for label, row in rows.items() if "difference" in label or "parameters" in label]
    assert len(sure) == 3
    assert all(row["reached"] for row in sure)

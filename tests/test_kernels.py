"""Hot arithmetic and the networks on it: splines, tangents, convolutions; their gradients; compiled equals eager."""

import itertools
import logging
import math
import os
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from flowkit import kernels, testing
from flowkit.groups import SUN
from flowkit.kernels import rqs, sun
from flowkit.kernels.convolution import site_convolution, site_weight_gradient
from flowkit.kernels.heat import heat_angle, heat_cdf
from flowkit.kernels.rqs import rqs_forward, rqs_inverse
from flowkit.kernels.scalar_action import scalar_action
from flowkit.kernels.tangent import mixture, tangent_forward
from flowkit.nets import ConvNet, SiteConv

F64 = torch.float64
SHAPES = {"own": (6, 4), "shared": ()}  # parameters for each number, or one set for all


@pytest.fixture
def compiler():
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        pytest.skip("no C++ compiler is installed")
    before = kernels.set_compile("1")
    yield
    kernels.set_compile(before)


def spline(bins, circular, shape=(6, 4), seed=1, scale=1.0, dtype=F64):
    """Random numbers in [0, 1], with both ends among them, and random parameters."""
    rng = testing.seeded(seed)
    x = torch.rand(6, 4, generator=rng, dtype=dtype)
    x[0, 0], x[1, 1] = 0, 1
    count = 3 * bins + (0 if circular else 1)
    return x, scale * torch.randn(count, *shape, generator=rng, dtype=dtype)


def check_spline_gradients(bins=3, circular=False, shape=(3, 2), function=rqs_forward):
    """Against central differences, for the value and the logarithm of the slope at once."""
    _, params = spline(bins, circular, shape)
    x = torch.rand(3, 2, generator=testing.seeded(2), dtype=F64) * 0.9 + 0.05
    inputs = x.requires_grad_(), params.requires_grad_()
    found = torch.autograd.gradcheck(lambda x, p: function(x, p, bins, circular), inputs, raise_exception=False)
    assert found, f"{function.__name__}, {bins} bins, circular {circular}: the gradients are wrong"


@pytest.mark.parametrize("function", [rqs_forward, rqs_inverse])
@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("shape", [(3, 2), ()], ids=SHAPES)
@pytest.mark.parametrize("bins", [2, 3, 5, 9])
def test_spline_gradients(bins, circular, shape, function):
    check_spline_gradients(bins, circular, shape, function)


@pytest.mark.parametrize("bins", range(2, 17))
@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_splines(bins, circular, shape):
    """Identity at zero parameters, ends fixed, monotone, log-slope, round trip."""
    x, params = spline(bins, circular, shape)
    for function in (rqs_forward, rqs_inverse):
        y, logs = function(x, torch.zeros_like(params), bins, circular)
        assert (y - x).abs().max() < 1e-14
        assert logs.abs().max() < 1e-13
    y, logs = rqs_forward(x.requires_grad_(), params, bins, circular)
    assert abs(float(y[0, 0].detach())) < 1e-15
    assert abs(float(y[1, 1].detach()) - 1) < 1e-12
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope > 0).all()
    assert (slope.log() - logs).abs().max() < 1e-9
    back, minus = rqs_inverse(y.detach(), params, bins, circular)
    assert (back - x).abs().max() < 1e-9
    assert (minus + logs).abs().max() < 1e-8


@pytest.mark.parametrize("circular", [False, True])
def test_a_spline_is_smooth_and_rising(circular):
    """On a fine grid: values rise, and neither they nor the slope jump at the knots."""
    x = torch.linspace(0, 1, 20_001, dtype=F64)
    _, params = spline(6, circular, ())
    for p in (params, params[:, None].expand(-1, len(x))):
        y, logs = rqs_forward(x, p, 6, circular)
        assert (y.diff() > 0).all()
        assert (y.diff() / x.diff() / logs.exp()[1:] - 1).abs().max() < 2e-2
        assert logs.diff().abs().max() < 5e-2
        if circular:
            assert logs[0] == pytest.approx(float(logs[-1]))


def test_shared_parameters_give_what_own_ones_give():
    for bins, circular, function in itertools.product((2, 5, 16), (False, True), (rqs_forward, rqs_inverse)):
        x, params = spline(bins, circular, ())
        one, own = function(x, params, bins, circular), function(
            x, params[:, None, None].expand(-1, 6, 4).contiguous(), bins, circular
        )  # fmt: skip
        assert (one[0] - own[0]).abs().max() < 1e-13
        assert (one[1] - own[1]).abs().max() < 1e-11


def test_splines_in_float32():
    for circular in (False, True):
        x, params = spline(8, circular, scale=0.7)
        y, logs = rqs_forward(x.float(), params.float(), 8, circular)
        exact, exact_logs = rqs_forward(x, params, 8, circular)
        assert y.dtype == logs.dtype == torch.float32
        assert (y - exact).abs().max() < 1e-5
        assert (logs - exact_logs).abs().max() < 1e-3
        back, _ = rqs_inverse(y, params.float(), 8, circular)
        assert (back - x).abs().max() < 1e-4


def test_extreme_parameters_stay_finite():
    """Bins and slopes have a floor, so that no parameter makes a bin empty or a spline flat."""
    x, params = spline(5, False)
    for scale in (30.0, -30.0, 1e4):
        y, logs = rqs_forward(x, scale * params, 5, False)
        assert y.isfinite().all()
        assert logs.isfinite().all()
        assert (y >= 0).all()
        assert (y <= 1 + 1e-12).all()


def test_the_tangent_map():
    """tan(y/2) = e^s tan(x/2) for one component; its log-slope and gradients."""
    rng = testing.seeded()
    x = (2 * torch.rand(5, 3, generator=rng, dtype=F64) - 1) * math.pi
    params = torch.randn(2, 5, 3, generator=rng, dtype=F64)
    params[1] = 0
    y, logs = tangent_forward(x, params)
    assert ((y / 2).tan() - params[0].exp() * (x / 2).tan()).abs().max() < 1e-10
    inputs = x.requires_grad_(), params.requires_grad_()
    assert torch.autograd.gradcheck(tangent_forward, inputs)
    (slope,) = torch.autograd.grad(tangent_forward(x, params)[0].sum(), x)
    assert (slope.log() - logs).abs().max() < 1e-10


def test_the_tangent_map_at_its_seam_in_float32():
    ends = torch.tensor([-math.pi, math.nextafter(math.pi, 0)], dtype=torch.float32)
    y, slope = mixture(ends, torch.randn(3, 2, generator=testing.seeded()))
    assert (y.abs() - math.pi).abs().max() < 1e-5
    assert slope.isfinite().all()


# ---------------------------------------------------------------- convolutions


def everywhere(lattice):
    return torch.arange(math.prod(lattice))


@pytest.mark.parametrize("lattice", [(5,), (4, 6), (3, 4, 5), (2, 4)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_on_all_sites_is_that_of_torch(lattice, kernel):
    ndim, all_sites = len(lattice), everywhere(lattice)
    ours = SiteConv(lattice, (2, 3), kernel, all_sites, all_sites).double()
    kind = [torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d][ndim - 1]
    theirs = kind(2, 3, kernel, padding=kernel // 2, padding_mode="circular").double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.view_as(theirs.weight))
        theirs.bias.copy_(ours.bias)
    x = torch.randn(7, 2, *lattice, generator=testing.seeded(), dtype=F64)
    came = ours(x.flatten(2).permute(1, 2, 0)).permute(2, 0, 1).view(7, 3, *lattice)
    assert (came - theirs(x)).abs().max() < 1e-13


def slow_convolution(x, weight, bias, lattice, kernel):
    """out[o](s) = b[o] + sum_{c,d} W[o, c, d] x[c](s + d), tap after tap, x [channels, *lattice, batch]."""
    offsets = itertools.product(range(-(kernel // 2), kernel // 2 + 1), repeat=len(lattice))
    axes = tuple(range(1, 1 + len(lattice)))
    rolled = [torch.roll(x, [-d for d in offset], axes) for offset in offsets]
    return sum(torch.einsum("oc,c...->o...", weight[:, :, t], r) for t, r in enumerate(rolled)) + bias.view(
        -1, *[1] * (len(lattice) + 1)
    )


def check_convolution_4d():
    lattice, kernel = (2, 3, 4, 3), 3
    ours = SiteConv(lattice, (2, 3), kernel, everywhere(lattice), everywhere(lattice)).double()
    x = torch.randn(2, *lattice, 2, generator=testing.seeded(), dtype=F64)
    slow = slow_convolution(x, ours.weight, ours.bias, lattice, kernel)
    assert (ours(x.flatten(1, 4)).view_as(slow) - slow).abs().max() < 1e-12


def test_convolution_in_four_dimensions():
    check_convolution_4d()


def some(lattice, part, seed):
    """Some sites of a lattice, in no order."""
    sites = torch.randperm(math.prod(lattice), generator=testing.seeded(seed))
    return sites[: int(part * len(sites))]


@pytest.mark.parametrize("lattice", [(4, 6), (3, 4, 5)])
def test_chosen_sites_give_what_all_sites_give(lattice):
    """Inputs that are not read count as zero, outputs that are not wanted are left out; gradients agree too."""
    inputs, outputs = some(lattice, 0.5, 1), some(lattice, 0.4, 2)
    chosen = SiteConv(lattice, (2, 3), 3, inputs, outputs).double()
    whole = SiteConv(lattice, (2, 3), 3, everywhere(lattice), everywhere(lattice)).double()
    whole.load_state_dict(chosen.state_dict())
    x = torch.randn(2, len(inputs), 5, generator=testing.seeded(), dtype=F64, requires_grad=True)
    padded = torch.zeros(2, math.prod(lattice), 5, dtype=F64).index_copy(1, inputs, x)
    a, b = chosen(x), whole(padded).index_select(1, outputs)
    assert (a - b).abs().max() < 1e-13
    weight = torch.randn(a.shape, generator=testing.seeded(3), dtype=F64)
    one = torch.autograd.grad((a * weight).sum(), [x, *chosen.parameters()])
    other = torch.autograd.grad((b * weight).sum(), [x, *whole.parameters()])
    for p, q in zip(one, other, strict=True):
        assert (p - q).abs().max() < 1e-12


def test_gradients_of_a_convolution():
    conv = SiteConv((4, 2), (2, 3), 3, some((4, 2), 0.7, 1), some((4, 2), 0.6, 2)).double()
    x = torch.randn(2, conv.inverse.shape[1], 3, generator=testing.seeded(), dtype=F64, requires_grad=True)

    def out(x, weight, bias):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(out, (x, conv.weight, conv.bias))


def network(lattice, hidden=(5, 4), kernel=3, part=0.5, **options):
    sources = [(2, some(lattice, part, 1)), (1, some(lattice, part, 3))]
    outputs = some(lattice, 0.3, 2)
    net = ConvNet(lattice, sources, outputs, 3, hidden, kernel, **options).double()
    inputs = [torch.randn(c, len(s), 4, generator=testing.seeded(c), dtype=F64) for c, s in sources]
    return net, inputs, sources, outputs


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4, 6)])
@pytest.mark.parametrize("kernel", [3, "own"])
def test_a_pruned_network_equals_the_full_one(hidden, kernel):
    """Hidden layers on the sites that are read downstream alone, against all sites at every layer."""
    lattice = (8, 6)
    kernel = [3, 5, 1, 3][: len(hidden) + 1] if kernel == "own" else kernel
    net, inputs, sources, outputs = network(lattice, hidden, kernel)
    full = ConvNet(lattice, sources, everywhere(lattice), 3, hidden, kernel).double()
    full.load_state_dict(net.state_dict())
    assert (net(inputs) - full(inputs).index_select(1, outputs)).abs().max() < 1e-13
    assert net(inputs).shape == (3, len(outputs), 4)


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_a_network_of_mirrored_inputs(hidden):
    net, inputs, *_ = network((6, 4), hidden)
    here, there = net.mirrored(inputs).chunk(2, -1)
    assert (here - net(inputs)).abs().max() < 1e-14
    assert (there - net([-x for x in inputs])).abs().max() < 1e-14
    assert (there + here).abs().max() > 1e-3


def test_a_network_sees_no_further_than_its_kernels():
    lattice, sites = (16, 2), everywhere((16, 2))
    net = ConvNet(lattice, [(1, sites)], torch.tensor([0]), 1, (4,), 3).double()
    x = torch.randn(1, 32, 1, generator=testing.seeded(), dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net([x]).sum(), x)
    rows = gradient.view(16, 2).abs().sum(1).nonzero()[:, 0].tolist()
    assert rows == [0, 1, 2, 14, 15]


def test_shrinking_scales_the_output_alone():
    net, inputs, *_ = network((6, 4))
    before = net(inputs)
    assert (net.shrink(0.5)(inputs) - before / 2).abs().max() < 1e-14
    assert (net.shrink(0.0)(inputs) == 0).all()


@pytest.mark.parametrize(("options", "message"), [
    ({"kernel": 2}, "A convolution needs an odd kernel; got 2"),
    ({"kernel": (3, 3)}, "A network of 2 hidden layers needs 3 kernels"),
    ({"activation": "relu6"}, "An activation is one of silu, tanh, .*; got 'relu6'"),
])  # fmt: skip
def test_bad_networks(options, message):
    with pytest.raises(ValueError, match=message):
        network((6, 4), **options)


# ---------------------------------------------------------------- compilation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_native_convolution_equals_the_gather(compiler, dtype):
    """Also where outputs, sites and batch fill no whole tile, where rows are not contiguous, and in groups."""
    eps = torch.finfo(dtype).eps
    shapes = [(1, 1), (2, 3), (3, 2), (5, 9), (3, 16)]
    batches = [1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64]
    for (channels, outputs), batch, groups in itertools.product(shapes, [*batches, 2500], (1, 2)):
        if batch > 64 and channels > 1:
            continue
        rng = testing.seeded(channels)
        index = torch.randint(0, 13, (5, 11), generator=rng)  # 12 sites, and 12 reads zero
        index[1], index[2] = 12, index[2].clamp(max=11)  # a tap that reads none, and one that reads all
        x = torch.randn(batch, groups * channels, 12, generator=rng, dtype=dtype).permute(1, 2, 0)
        weight = torch.randn(groups, outputs, channels, 5, generator=rng, dtype=dtype)
        bias = torch.randn(groups * outputs, generator=rng, dtype=dtype)
        grad = torch.randn(groups * outputs, 11, batch, generator=rng, dtype=dtype)
        found = []
        for level in ("c", "0"):
            kernels.set_compile(level)
            one = weight if groups > 1 else weight[0]
            found.append((site_convolution(x, one, bias, index), site_convolution(x, one, None, index),
                          site_weight_gradient(x, grad, index, groups)))  # fmt: skip
        for a, b in zip(*found, strict=True):
            assert (a - b).abs().max() <= 300 * eps * (1 + b.abs().max()), (channels, outputs, batch, groups)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_precisions_do_not_mix(compiler, dtypes):
    """A kernel in C takes addresses: weights of another precision would be read as other numbers."""
    index = torch.zeros(1, 3, dtype=torch.long)
    for level in ("0", "c"):
        kernels.set_compile(level)
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            site_convolution(torch.ones(1, 4, 5, dtype=dtypes[0]), torch.ones(2, 1, 1, dtype=dtypes[1]), None, index)
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            site_weight_gradient(torch.ones(1, 4, 5, dtype=dtypes[0]), torch.ones(2, 3, 5, dtype=dtypes[1]), index)


def splined(level, z, params, bins, circular, inverse):
    """Value, log-slope and both gradients at a level of compilation, all weights of the gradients different."""
    before = kernels.set_compile(level)
    z, params = (t.detach().requires_grad_() for t in (z, params))
    out = (rqs_inverse if inverse else rqs_forward)(z, params, bins, circular)
    weight = torch.arange(z.numel(), dtype=z.dtype, device=z.device).view(z.shape)
    loss = (weight.cos() * out[0] + weight.sin() * out[1]).sum()
    grads = torch.autograd.grad(loss, (z, params))
    kernels.set_compile(before)
    return [t.detach() for t in (*out, *grads)]


EXTREME = {"moderate": (0.5, 0.5), "extreme slopes": (0.5, 30), "extreme bins": (30, 0.5)}


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("case", EXTREME)
def test_native_splines_equal_those_of_torch(compiler, case, circular, inverse):
    """Values and gradients; in float32 as exact as torch. In extreme bins rounding grows at a few numbers."""
    scale, slopes = EXTREME[case]
    largest = torch.max if case == "moderate" else torch.nanmedian
    for bins in range(2, 33):
        x, params = spline(bins, circular)
        for part, size in ((params[: 2 * bins], scale), (params[2 * bins :], slopes)):
            part.copy_(30 * part.sign() if size == 30 else size * part)
        came, expected = (splined(level, x, params, bins, circular, inverse) for level in ("c", "0"))
        assert (came[0] - expected[0]).abs().max() < 1e-12
        for a, b in zip(came, expected, strict=True):
            assert largest((a - b).abs()) < 1e-12 * (1 + b.abs().max())
            assert (a - b).abs().max() < 1e-6 * (1 + b.abs().max())
        x, params = x.float(), params.float()
        came, expected = (splined(level, x, params, bins, circular, inverse) for level in ("c", "0"))
        exact = splined("0", x.double(), params.double(), bins, circular, inverse)
        for a, b, e, limit in zip(came, expected, exact, (1e-5, 1e-4, 1e-4, 1e-4), strict=True):
            assert a.dtype == torch.float32
            assert largest((a - e).abs()) <= limit * (1 + e.abs().max()) + 3 * largest((b - e).abs())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (1,), (7,), (8,), (15,), (16,), (17,), (1, 1), (2, 3, 5, 7), (5003,)])
def test_native_splines_of_any_shape(compiler, shape, dtype):
    """No whole vectors, several axes, none at all, and enough of them for threads."""
    rng = testing.seeded()
    x, params = torch.rand(shape, generator=rng, dtype=dtype), torch.randn(25, *shape, generator=rng, dtype=dtype) / 5
    for inverse in (False, True):
        for a, b in zip(*(splined(level, x, params, 8, False, inverse) for level in ("c", "0")), strict=True):
            assert a.shape == b.shape
            assert a.dtype == dtype
            assert ((a - b).abs() <= 2000 * torch.finfo(dtype).eps * (1 + b.abs())).all()


def test_native_splines_read_numbers_wherever_they_lie(compiler):
    """Rows apart, axes exchanged, every second number, numbers repeated, and a sign that torch has put off."""
    rng = testing.seeded()
    wide, base = torch.randn(40, 6, 8, generator=rng, dtype=F64), torch.rand(6, 8, generator=rng, dtype=F64)
    late = torch.complex(base, -base).conj().imag  # -(-base), the outer sign pending
    assert late.is_neg()
    for x, params in (
        (base, wide[3:28]),
        (base[:3], wide[5:30, :3]),
        (base[:, 4:], wide[5:30, :, 4:]),
        (base.T, wide[:25].transpose(1, 2)),
        (base.T, wide.permute(1, 2, 0)[..., :25].permute(2, 1, 0)),
        (base[:, ::2], wide[:25, :, ::2]),
        (base[:1].expand(6, 8), wide[:25, :, :1].expand(25, 6, 8)),
        (late, torch.complex(wide, -wide).conj().imag[:25]),
    ):
        assert rqs._native(x, params, 8, False)
        came, expected = (splined(level, x, params, 8, False, False) for level in ("c", "0"))
        assert all((a - b).abs().max() < 1e-12 * (1 + b.abs().max()) for a, b in zip(came, expected, strict=True))


@pytest.mark.parametrize("circular", [False, True])
def test_native_splines_at_knots_and_outside(compiler, circular):
    """A knot belongs to either side, up to rounding: the gradient of the value is continuous there. The outer bins go
    on past 0 and 1, to NaN where the slope is no longer positive; NaN stays NaN.
    """
    params = spline(4, circular, (9,))[1]
    params[:4] = 0  # knots at quarters
    x = torch.tensor([0, 0.25, 0.5, 0.75, 1, -0.05, 1.05, -40, math.nan], dtype=F64)
    g = torch.ones_like(x), torch.zeros_like(x)
    results = []
    for level in ("c", "0"):
        kernels.set_compile(level)
        y, logs = rqs_forward(x, params, 4, circular)
        back = rqs_inverse(y, params, 4, circular)
        outside = rqs_inverse(x, params, 4, circular)
        gradients = rqs._vjp(x, params, *g, 4, circular, False)
        results.append([y, logs, *(t[:5] for t in back), *outside, *(t[..., :7] for t in gradients)])
        assert (back[0] - x)[:5].abs().max() < 1e-12
        assert logs[:5].isfinite().all()
        assert y[8].isnan()
        assert logs[8].isnan()
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-12, equal_nan=True)


def test_splines_that_the_c_kernel_does_not_serve(compiler):
    """Numbers and parameters of two precisions, or of shapes that torch broadcasts: as without a compiler."""
    x, params = spline(5, False)
    for z, p in ((x.float(), params), (x, params.float()), (x[0], params), (x, params[:, :1])):
        results = []
        for level in ("c", "0"):
            kernels.set_compile(level)
            results.append([*rqs_forward(z, p, 5, False), *rqs_inverse(z, p, 5, False)])
        for a, b in zip(*results, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.compile serves splines on GPUs; this machine has none")
def test_compiled_splines_equal_eager_ones():
    """Values and gradients, forward and inverse, and a second shape without a second wait."""
    for size, inverse in itertools.product((64, 100), (False, True)):
        rng = testing.seeded()
        x = torch.rand(size, 3, generator=rng, dtype=F64).cuda()
        params = torch.randn(24, size, 3, generator=rng, dtype=F64).cuda()
        for a, b in zip(*(splined(level, x, params, 8, True, inverse) for level in ("1", "0")), strict=True):
            assert (a - b).abs().max() < 1e-9 * (1 + b.abs().max())


def test_levels_of_compilation():
    before = kernels.set_compile("c")
    assert kernels.compiling() == "c"
    assert kernels.set_compile(before) == "c"
    with pytest.raises(TypeError, match="set_compile needs level, a text; got True"):
        kernels.set_compile(True)


def test_splines_are_fused_on_gpus_alone():
    """Unrolled code of many bins takes minutes to compile, and the CPU has a kernel in C."""
    elsewhere = torch.empty(1, device="meta")
    assert rqs._fuses(elsewhere, rqs.MOST_COMPILED)
    assert not rqs._fuses(elsewhere, rqs.MOST_COMPILED + 1)
    assert not rqs._fuses(torch.empty(1), 2)


def test_without_a_compiler_the_same_code_runs(monkeypatch, caplog):
    """A compilation that fails is reported once, and physics goes on."""
    calls = []

    class BrokenError(Exception):
        __module__ = "torch._inductor.exc"

    def refuse(function, **options):
        def run(*args):
            calls.append(function)
            raise BrokenError("no toolchain")

        return run

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr("flowkit.kernels.compilation._compiler_found", lambda: True)
    before = kernels.set_compile("1")
    try:
        double = kernels.compiled(lambda x: 2 * x)
        with caplog.at_level(logging.WARNING):
            assert [double(3), double(4)] == [6, 8]
        assert len(calls) == 1
        assert "runs eagerly: compilation failed (BrokenError)" in caplog.text
    finally:
        kernels.set_compile(before)


def test_an_error_of_the_caller_is_not_swallowed():
    double = kernels.compiled(lambda x: x.no_such_method())
    with pytest.raises(AttributeError):
        double(torch.zeros(1))


def test_activations_against_torch():
    net, inputs, *_ = network((4, 4), hidden=(3,), activation="gelu")
    h = net.first[0](inputs[0]) + net.first[1](inputs[1])
    assert (net.rest[0](F.gelu(h)) - net(inputs)).abs().max() < 1e-14


def test_an_unknown_level_in_the_environment():
    run = subprocess.run(
        [sys.executable, "-c", "import flowkit.kernels"],
        env={**os.environ, "FLOWKIT_COMPILE": "7"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stderr.strip().endswith("ValueError: FLOWKIT_COMPILE is 0, c or 1; got '7'.")


# ---------------------------------------------------------------- second derivatives, and rounding


@pytest.mark.parametrize("level", ["c", "0"])
def test_second_derivatives(level):
    """Where autograd asks for a graph of a gradient, the eager twin gives it."""
    before = kernels.set_compile(level)
    try:
        x = (torch.rand(5, generator=testing.seeded(), dtype=F64) * 0.9 + 0.05).requires_grad_()
        params = spline(4, False, (5,))[1].requires_grad_()
        for function in (rqs_forward, rqs_inverse):
            assert torch.autograd.gradgradcheck(lambda x, p, f=function: f(x, p, 4, False), (x, params))
            # parameters that depend on the argument
            assert torch.autograd.gradgradcheck(lambda x, f=function: f(x, params.detach() * x, 4, False), (x,))
        net = ConvNet((4, 4), [(1, torch.arange(16))], torch.arange(16), 2, (3,), (3, 1)).to(F64)
        field = torch.randn(1, 16, 2, generator=testing.seeded(), dtype=F64, requires_grad=True)
        assert torch.autograd.gradgradcheck(lambda x, *p: net([x]), (field, *net.parameters()))
    finally:
        kernels.set_compile(before)


@pytest.mark.parametrize("level", ["c", "0"])
def test_steep_splines_in_single_precision(level):
    """Rounding puts a number a little behind its bin, where a steep bin that ends flat has a negative slope."""
    before = kernels.set_compile(level)
    try:
        rng = testing.seeded()
        x, params = torch.rand(200_000, generator=rng), 5 * torch.randn(24, 200_000, generator=rng)
        y, slopes = rqs_forward(x, params, 8, True)
        assert slopes.isfinite().all()
        assert rqs_inverse(y, params, 8, True)[1].isfinite().all()
    finally:
        kernels.set_compile(before)


META = {
    "exp": lambda m, w: sun.exp(w),
    "log": lambda m, w: sun.log(m),
    "project": lambda m, w: sun.project(m),
    "spectrum": lambda m, w: sun.recompose(m, *sun.spectrum(m), 2 * sun.spectrum(m)[0]),
    "paths": lambda m, w: SUN(3).path_products(
        m[None], torch.zeros(6, dtype=torch.long, device="meta"), [(3, (1, -1))]
    )[0],
    "splines": lambda m, w: rqs_forward(w, w.new_zeros(7, *w.shape) + w, 2, False)[0],
    "splines back": lambda m, w: rqs_inverse(w, w.new_zeros(7, *w.shape) + w, 2, False)[1],
    "heat": lambda m, w: heat_angle(w, w.square(), 2) + heat_cdf(w, w.square(), 2),
    "tangents": lambda m, w: tangent_forward(w, torch.stack([w, w, w]))[1],
    "scalars": lambda m, w: scalar_action(w[:, None], 0.5, 1.0, 1.0),
    "convolution": lambda m, w: site_convolution(
        w[None], w[:3, None, :1].expand(3, 1, 1), None, torch.zeros(1, 4, dtype=torch.long, device="meta")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", META)
def test_torch_never_waits_for_the_device(name):
    """Forward and backward on a device that holds no numbers: whatever asked for one would raise."""
    before = kernels.set_compile("0")
    try:
        m = torch.empty(5, 3, 3, dtype=torch.complex64, device="meta", requires_grad=True)
        w = torch.empty(5, 8, device="meta", requires_grad=True)
        out = META[name](m, w)
        torch.autograd.grad((out.real if out.is_complex() else out).sum(), [m, w], allow_unused=True)
        assert out.is_meta
    finally:
        kernels.set_compile(before)

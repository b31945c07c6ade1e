"""Derivatives of second order through every node of autograd that flowkit writes: right, or refused in a sentence."""

import itertools

import pytest
import torch
from torch import Tensor

import flowkit as fk
from flowkit import kernels, testing
from flowkit.groups import u1
from flowkit.kernels import (
    affine_coupling,
    class_link,
    heat,
    implicit,
    native,
    rqs,
    site,
    sun,
    sun_gradients,
)
from flowkit.multiscale.conditionals import frames
from flowkit.nets import convolution as nets
from flowkit.nets.convolution import SiteConv
from flowkit.testing.derivatives import nearby, require_second_derivatives
from flowkit.transforms import by_inversion
from flowkit.transforms.links import recomputed
from flowkit.transforms.sites import fourier

F64, C128 = torch.float64, torch.complex128


def real(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=testing.seeded(seed), dtype=F64)


def unit(*shape: int, seed: int = 1) -> Tensor:
    return 0.05 + 0.9 * torch.rand(*shape, generator=testing.seeded(seed), dtype=F64)


def near(n: int, seed: int = 1):
    """SU(N) matrices by algebra coordinates, with derivatives of every order."""
    return nearby(fk.SUN(n), fk.SUN(n).haar((2,), testing.seeded(seed), F64))


def w(n: int) -> Tensor:
    return torch.zeros(2, n * n - 1, dtype=F64)


def spun(n: int):
    u, new = near(n), real(2, n, seed=3)
    return lambda w: sun.recompose(u(w), *(s := sun.spectrum(u(w))), s[0] + 0.1 * new)


def vectors(w: Tensor) -> Tensor:
    u = near(3)(w)
    return frames._Vectors.apply(u, *sun.spectrum(u))


def linked(u: Tensor, w: Tensor):
    model = fk.multiscale.SmoothClassFunctionConditional(harmonics=2, cells=64).double()
    return class_link.class_link(u, w, *(t.detach() for t in model._table()), model.cells)


CONV = SiteConv((4, 4), (1, 2), 3, torch.arange(16), torch.arange(8)).double()
GEOMETRY = affine_coupling.geometry((4, 4), 3, 0)
FLOW = fk.transforms.TrivializingFlow(fk.links((2, 3), fk.U1()), order=1, steps=4).double()
FIELD = FLOW.space.haar(2, testing.seeded(), F64)
UNDONE = fk.Chain(fk.CheckerboardCoupling(fk.sites((4, 4)), 0), recompute=True).double()

# Every class, with functions that pass through it and their inputs; True where there are second derivatives.
CASES = {
    native._Twice: [(False, lambda x: native._Twice.apply(x, x), [real(3)])],
    implicit._Root: [
        (True, lambda a: implicit.root(lambda x, a: (x**3 - a, 3 * x * x), a.detach() ** (1 / 3), a), [unit(4)]),
    ],
    rqs._Spline: [
        (True, lambda x, p, f=f, c=c: f(x, p, 4, c), [unit(5), real(13 - c, 5)])
        for f, c in itertools.product((rqs.rqs_forward, rqs.rqs_inverse), (False, True))
    ],
    heat._Law: [(False, lambda u, k, f=f: f(u, k, 2), [unit(4), unit(4)]) for f in (heat.heat_angle, heat.heat_cdf)],
    heat._LogNorm: [(False, lambda k: heat.heat_log_norm(k, 2), [unit(4)])],
    affine_coupling._AffineCoupling: [
        (False, lambda x, p: affine_coupling.affine_coupling(x, p, GEOMETRY), [real(2, 1, 4, 4), 0.1 * real(2, 5)]),
    ],
    class_link._ClassLink: [(False, linked, [unit(4), unit(4, seed=2)])],
    site._Quantile: [(False, lambda z, J: site.site(0.3, 1.0, 0.5, 2).quantile(z, J), [real(4), real(4, seed=2)])],
    sun_gradients._Multiply: [
        (
            True,
            lambda a, b, k=k: sun.multiply(a, b, *k),
            [torch.complex(real(2, 3, 3, seed=i), real(2, 3, 3)) for i in (2, 3)],
        )
        for k in itertools.product((False, True), repeat=2)
    ],
    sun_gradients._TraceProduct: [
        (True, sun.trace_product, [torch.complex(real(2, n, n, seed=i), real(2, n, n)) for i in (2, 3)]) for n in (2, 4)
    ],
    sun_gradients.Kernel: [
        (False, f, [w(n)])
        for n in (2, 3, 4)
        for u in (near(n),)
        for f in (
            lambda w: sun.exp(w + 1),
            lambda w, u=u: sun.log(u(w)),
            lambda w, u=u: sun.project(u(w) + u(w).square()),
            lambda w, u=u: sun.eigh(u(w) + u(w).mH)[0],
            lambda w, u=u: sun.spectrum(u(w))[0],
        )
    ],
    sun_gradients.Recompose: [(False, spun(n), [w(n)]) for n in (2, 3, 4)],
    frames._Vectors: [(False, vectors, [w(3)])],
    nets._Gather: [(True, lambda x, *_: CONV(x), [real(1, 16, 2), *CONV.parameters()])],
    fourier._Modes: [(True, lambda x: fourier._Modes.apply(x, (4, 6)).square(), [real(2, 1, 4, 6)])],
    recomputed.Recomputed: [(True, lambda w, *_: FLOW(FIELD + w), [torch.zeros_like(FIELD), *FLOW.parameters()])],
    by_inversion._ByInversion: [(False, lambda x, *_: UNDONE(x), [real(2, 1, 4, 4), *UNDONE.parameters()])],
    u1._Wrap: [(True, lambda x: fk.U1().wrap(2 * x).sin(), [real(5)])],
}


def classes() -> set[type]:
    found, waiting = set(), [torch.autograd.Function]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            found |= {kind} if kind.__module__.startswith("flowkit.") else set()
    return found


def test_every_node_is_listed():
    testing.concrete(fk.transforms.Transform)  # imports every module
    assert classes() == set(CASES)


@pytest.mark.parametrize("level", ["c", "0"])
@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_right_or_refused(kind, level):
    before = kernels.set_compile(level)
    try:
        if kind in (affine_coupling._AffineCoupling, class_link._ClassLink) and native.library("rqs") is None:
            pytest.skip("C alone serves it")
        for k, (there, function, inputs) in enumerate(CASES[kind]):
            found = require_second_derivatives(function, inputs, f"{kind.__name__}, case {k}")
            assert found is there, (k, found)
    finally:
        kernels.set_compile(before)


def test_a_constant_instead_of_a_graph_is_found():
    """What `torch.autograd.function.once_differentiable` gives where the incoming gradient is a constant."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    with pytest.raises(AssertionError, match="Square: the second derivative in input 0: off by"):
        require_second_derivatives(Square.apply, [real(3)], "Square")


def test_weights_of_a_flow_by_its_forces():
    """A loss of forces, d log q / dx squared, against differences in a weight."""
    torch.manual_seed(1)
    flow = fk.scalar_flow(fk.sites((4, 4)), layers=2).double()
    x = flow.prior.sample(2, testing.seeded()).detach().requires_grad_()

    def loss(record: bool = False) -> Tensor:
        return torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=record)[0].square().sum()

    weight = next(p for name, p in flow.named_parameters() if name.endswith("log_m2"))
    (slope,) = torch.autograd.grad(loss(record=True), weight)
    with torch.no_grad():
        weight += 1e-5
    ahead = loss()
    with torch.no_grad():
        weight -= 2e-5
    assert slope.item() == pytest.approx(float((ahead - loss()) / 2e-5), rel=1e-6)

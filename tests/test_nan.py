"""NaN in, NaN out: through every kernel, in C and in torch, for the number that is NaN and for no other.

LAPACK ends the process at a NaN in some versions, and a comparison that is False for NaN puts a finite number in its
place. Classes are tried by their contracts.
"""

import math

import pytest
import torch

import flowkit as fk
from flowkit import kernels, testing
from flowkit.kernels import affine_coupling, heat, native, scalar_action, scalar_motion, site_conditional, sun, tangent
from flowkit.kernels.class_link import class_link
from flowkit.kernels.convolution import site_convolution
from flowkit.kernels.rqs import rqs_forward, rqs_inverse
from flowkit.kernels.site import site
from flowkit.samplers.integrators import INTEGRATORS, trajectory
from flowkit.testing.derivatives import require_nan_stays

BATCH = 5
SITE = site(0.3, 1.0, 0.5, 2)
GEOMETRY = affine_coupling.geometry((4, 4), 3, 0)


def real(*shape, seed=1):
    return torch.randn(*shape, generator=testing.seeded(seed), dtype=torch.float64)


def unit(seed=1):
    return 0.1 + 0.8 * torch.rand(BATCH, 7, generator=testing.seeded(seed), dtype=torch.float64)


def matrices(n):
    return fk.SUN(n).haar((BATCH,), testing.seeded(), torch.float64)


def linked(u, w):
    model = fk.multiscale.SmoothClassFunctionConditional(harmonics=2, cells=64).to(u.dtype)
    return class_link(u, w, *(t.detach() for t in model._table()), model.cells)


def convolved(x):
    index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    weight = torch.ones(2, 1, 2, dtype=x.dtype)
    return [site_convolution(x.T[None], weight, None, index).movedim(-1, 0)]


def moved(x):
    return scalar_motion.motion(x, torch.ones_like(x), [0.1, 0.1], [0.1], 1.0, (0.3, 1.0, 0.5))


def moved_links(x):
    return trajectory(fk.Wilson(on_links(fk.U1()), 2.0), x, torch.ones_like(x), INTEGRATORS["leapfrog"].plan(3, 0.1))


def on_links(group):
    return fk.links((4, 3), group)


def wilson_of(space, x):
    action = fk.Wilson(space, 2.0)
    return [action(x), action.force(x)]


def fields():
    return real(BATCH, 1, 4, 4)


def weights(x):
    return 0.1 * torch.ones(2, len(GEOMETRY.taps) + 1, dtype=x.dtype)


SUN_KERNELS = {
    "multiply": lambda m: [sun.multiply(m, m.flip(0).nan_to_num() * 0 + 1)],
    "trace_product": lambda m: [sun.trace_product(m, torch.ones_like(m))],
    "log": lambda m: [sun.log(m)],
    "project": lambda m: [sun.project(m)],
    "restore": lambda m: [sun.restore(m)],
    "eigh": lambda m: sun.eigh(m + m.mH),
    "spectrum": lambda m: sun.spectrum(m),
    "recompose": lambda m: [sun.recompose(m, *sun.spectrum(m), 2 * sun.spectrum(m)[0])],
}

# name -> what it is called with, as functions that give the inputs and the outputs [batch, ...], and its C source
KERNELS = {
    **{
        f"{name} of SU({n})": (lambda n=n: matrices(n), f, f"su{n}")
        for n in (2, 3, 4, 5)
        for name, f in SUN_KERNELS.items()
    },
    **{f"exp of SU({n})": (lambda n=n: real(BATCH, n * n - 1), lambda w: [sun.exp(w)], f"su{n}") for n in (2, 3, 4, 5)},
    "spline": (unit, lambda x: rqs_forward(x, real(13, BATCH, 7).to(x.dtype), 4, False), "rqs"),
    "spline back": (unit, lambda x: rqs_inverse(x, real(13, BATCH, 7).to(x.dtype), 4, False), "rqs"),
    "spline's parameters": (
        lambda: real(BATCH, 7, 13), lambda p: rqs_forward(unit().to(p.dtype), p.permute(2, 0, 1), 4, False), "rqs"),
    "one spline for all": (unit, lambda x: rqs_inverse(x, real(13).to(x.dtype), 4, False), "rqs"),
    "heat_angle": (unit, lambda u: [heat.heat_angle(u, 2.0, 2)], "heat"),
    "heat_angle's kappa": (unit, lambda k: [heat.heat_angle(torch.full_like(k, 0.3), k, 2)], "heat"),
    "heat_cdf": (unit, lambda a: [heat.heat_cdf(a, 2.0, 2)], "heat"),
    "heat_cdf's kappa": (unit, lambda k: [heat.heat_cdf(torch.ones_like(k), k, 2)], "heat"),
    "heat_log_norm": (unit, lambda k: [heat.heat_log_norm(k, 2)], "heat"),
    "class_link": (unit, lambda u: linked(u, unit(2).to(u.dtype)), "class_link"),
    "class_link's W": (unit, lambda w: linked(unit(2).to(w.dtype), w), "class_link"),
    "affine_coupling": (
        fields, lambda x: affine_coupling.affine_coupling(x, weights(x), GEOMETRY), "affine_coupling"),
    "site_convolution": (unit, convolved, "site_convolution"),
    "quantile": (unit, lambda z: [SITE.quantile(z, unit(2).to(z.dtype))], None),
    "quantile's J": (unit, lambda J: [SITE.quantile(unit(2).to(J.dtype), J)], None),
    "site_conditional.action": (fields, lambda z: [site_conditional.action(z, SITE, 0)], "site_conditional"),
    "site_conditional.quantile": (fields, lambda z: site_conditional.quantile(z, SITE, 0), "site_conditional"),
    "scalar_action": (fields, lambda x: [scalar_action.scalar_action(x, 0.3, 1.0, 0.5)], None),
    "scalar_force": (fields, lambda x: [scalar_action.scalar_force(x, 0.3, 1.0, 0.5)], None),
    "motion": (fields, moved, "scalar_motion"),
    **{
        f"Wilson's action of {G}": (lambda G=G: on_links(G).haar(BATCH, testing.seeded(), torch.float64),
                                    lambda x, G=G: wilson_of(on_links(G), x), G.wilson_kernel)
        for G in (fk.U1(), fk.SUN(2), fk.SUN(3))
    },
    "motion of links": (
        lambda: on_links(fk.U1()).haar(BATCH, testing.seeded(), torch.float64), moved_links, "wilson_u1"),
    "tangent mixture": (unit, lambda x: tangent.tangent_forward(x, real(3, BATCH, 7).to(x.dtype)), None),
}  # fmt: skip
C_ALONE = {"class_link", "affine_coupling", "scalar_motion"}
NO_TORCH = {"site_conditional.quantile"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("level", ["c", "0"])
@pytest.mark.parametrize("name", KERNELS)
def test_nan_in_nan_out(name, level, dtype):
    inputs, function, source = KERNELS[name]
    before = kernels.set_compile(level)
    try:
        if (source in C_ALONE or name in NO_TORCH) and native.library(source) is None:
            pytest.skip("C alone serves it")
        x = inputs()
        x = x.to(dtype.to_complex() if x.is_complex() else dtype)
        require_nan_stays(function, x, name)
        spoilt = x.clone()
        spoilt[1] = math.inf
        function(spoilt)  # nor does infinity read beside a table, or end the process
    finally:
        kernels.set_compile(before)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_nan_through_a_flow_of_links(n):
    """Where one NaN ended the process for N >= 4."""
    space = fk.links((2, 2), fk.SUN(n))
    flow, x = fk.gauge_flow(space), space.haar(3, testing.seeded())
    require_nan_stays(flow.transform, x, "transform")
    require_nan_stays(lambda x: [flow.log_prob(x)], x, "log_prob")

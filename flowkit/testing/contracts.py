"""Contract checks: what every group, action, prior, transform, map, sampler, schedule and panel must do.

Each check raises AssertionError with a sentence that says what was expected and what came. Tests import this module,
and so may anyone who writes a new piece: `check_transform(MyCoupling.example())`.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from flowkit.actions import Action
from flowkit.geometry.lattice import shift
from flowkit.geometry.loops import gauge_transform
from flowkit.geometry.space import Space
from flowkit.groups import Group
from flowkit.multiscale import LinkConditional
from flowkit.priors import Prior
from flowkit.samplers import Sampler
from flowkit.train.schedules import Schedule
from flowkit.transforms import PointwiseMap, Transform

if TYPE_CHECKING:
    from flowkit.panels import Panel

M = TypeVar("M", bound=nn.Module)
Symmetry = Callable[[Tensor], Tensor]

TIGHT, LOOSE = 1e-9, 2e-3  # tolerances in float64 and float32, relative to numbers of size 1


def seeded(seed: int = 1) -> torch.Generator:
    """A CPU generator with a fixed seed."""
    return torch.Generator().manual_seed(seed)


def require(condition: bool | Tensor, message: str) -> None:
    """Raise AssertionError with the message where the condition is false, under `python -O` too."""
    if not bool(condition):
        raise AssertionError(message)


def require_close(came: Tensor, expected: Tensor, what: str, tolerance: float = TIGHT) -> None:
    """Equal shapes, finite values, and |came - expected| <= tolerance * (1 + max |expected|)."""
    came, expected = came.detach(), expected.detach()
    require(came.shape == expected.shape, f"{what}: expected shape {list(expected.shape)}; got {list(came.shape)}.")
    require(came.isfinite().all(), f"{what}: got NaN or infinity.")
    if came.numel():
        off = float((came - expected).abs().max())
        allowed = tolerance * (1 + float(expected.abs().max()))
        require(off <= allowed, f"{what}: off by {off:.2g}; at most {allowed:.2g} was expected.")


def fields(space: Space, n: int, rng: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """n rough fields: Haar on links, standard normal on sites, [n, *space.shape]; `dtype` of the real numbers."""
    if space.kind == "links":
        return space.haar(n, rng, dtype)
    return torch.randn(n, *space.shape, generator=rng, dtype=dtype)


def randomised(module: M, rng: torch.Generator, scale: float = 0.3) -> M:
    """A copy in float64 whose parameters are moved by scale * N(0, 1), weights by that over the root of their number of
    inputs: a fresh one is often near the identity.
    """
    other = copy.deepcopy(module).double()
    with torch.no_grad():
        for parameter in other.parameters():
            inputs = parameter[0].numel() if parameter.dim() > 1 else 1
            noise = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            parameter.add_(scale / math.sqrt(inputs) * noise)
    return other


def difference(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """a b^-1 - 1 to first order in algebra coordinates: angles are compared modulo 2 pi."""
    return group.tangent(group.compose(a, group.inverse(b)))


def require_same_field(group: Group, came: Tensor, expected: Tensor, what: str, tolerance: float = TIGHT) -> None:
    """The two fields are equal as group elements."""
    require(came.shape == expected.shape, f"{what}: expected shape {list(expected.shape)}; got {list(came.shape)}.")
    came, expected = came.detach(), expected.detach()
    off = difference(group, came, expected)
    require_close(off, torch.zeros_like(off), what, tolerance * (1 + float(expected.abs().max())))


def require_independent_batch(function: Callable[[Tensor], Tensor], x: Tensor, who: str) -> None:
    """What a field gives does not depend on the other fields of its batch."""
    whole = function(x)
    alone = torch.cat([function(x[i : i + 1]) for i in range(len(x))])
    require_close(alone, whole, f"{who}: a field alone and in a batch")


def require_gradients(module: nn.Module, value: Tensor, who: str) -> None:
    """Every trainable parameter has a finite gradient that is not zero."""
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        return
    gradients = torch.autograd.grad(value, list(trainable.values()), allow_unused=True)
    for name, gradient in zip(trainable, gradients, strict=True):
        require(gradient is not None, f"{who}: the parameter {name} takes no part.")
        assert gradient is not None
        require(gradient.isfinite().all(), f"{who}: the gradient of {name} is not finite.")
        require((gradient != 0).any(), f"{who}: the gradient of {name} is zero.")


# ---------------------------------------------------------------- groups


def check_group(group: Group, dtype: torch.dtype = torch.float64) -> None:
    """Group axioms, exp and log, orthonormal generators, projection and defect, dtypes."""
    rng, tolerance = seeded(), (TIGHT if dtype == torch.float64 else LOOSE)
    eps = torch.finfo(dtype).eps
    w = 0.7 * torch.randn(2, 3, *group.algebra_axes, generator=rng, dtype=dtype)
    a, b, c = group.exp(w), group.exp(w.flip(0)), group.exp(0.5 - w)
    require(a.shape == (2, 3, *group.matrix_shape), f"{group}: exp gave the shape {list(a.shape)}.")
    require(a.dtype == group.field_dtype(dtype), f"{group}: exp of {dtype} gave {a.dtype}.")
    require(group.algebra_shape(a.shape) == tuple(w.shape), f"{group}: algebra_shape does not fit exp.")
    one = group.identity((2, 3), a)
    same = require_same_field
    same(group, group.compose(group.compose(a, b), c), group.compose(a, group.compose(b, c)), f"{group}: (ab)c", 9e-7)
    same(group, group.compose(a, group.inverse(a)), one, f"{group}: a a^-1", tolerance)
    same(group, group.compose(one, a), a, f"{group}: 1 a", tolerance)
    same(group, group.exp(torch.zeros_like(w)), one, f"{group}: exp(0)", tolerance)
    same(group, group.compose(group.exp(w), group.exp(w)), group.exp(2 * w), f"{group}: exp(w)^2", tolerance)
    require_close(group.log(a), w, f"{group}: log(exp(w)) near the identity", tolerance)
    small = 1e-3 * w
    require_close(group.tangent(group.exp(small)), small, f"{group}: tangent", 1e-6)
    f = torch.randn(w.shape, generator=seeded(6), dtype=dtype)
    again = group.coordinates_of_gradient(a, group.covector(a, f))
    require_close(again, f, f"{group}: a gradient from coordinates and back", tolerance)
    v, x = torch.zeros_like(w).requires_grad_(), a.clone().requires_grad_()
    (slope,) = torch.autograd.grad(group.compose(group.exp(v), a).sum().abs(), v)
    (ambient,) = torch.autograd.grad(x.sum().abs(), x)
    require_close(
        group.coordinates_of_gradient(a, ambient), slope, f"{group}: the coordinates of a gradient", tolerance
    )
    require((group.defect(a) <= 50 * eps).all(), f"{group}: exp leaves the group by {group.defect(a).max():.2g}.")
    same(group, group.project(a), a, f"{group}: project moves an element", tolerance)
    spoilt = torch.full_like(a, math.nan)
    require((group.defect(spoilt) == math.inf).all(), f"{group}: the defect of NaN is not infinite.")
    require(copy.deepcopy(group) == group, f"{group}: two equal groups differ.")
    if group.name == "Real":
        return
    h = group.haar((2, 3), rng, dtype)
    require(h.shape == a.shape and h.dtype == a.dtype, f"{group}: haar gave {list(h.shape)} of {h.dtype}.")
    require((group.defect(h) <= 50 * eps).all(), f"{group}: haar leaves the group by {group.defect(h).max():.2g}.")
    product = h
    for _ in range(5):
        product = group.compose(product, h)
    require((group.defect(product) <= 50 * eps).all(), f"{group}: products leave the group.")
    same(group, group.exp(group.log(h)), h, f"{group}: exp(log(g))", tolerance)
    require_close(group.trace(one), torch.ones(2, 3, dtype=dtype), f"{group}: trace of the identity", tolerance)
    again = group.haar((2, 3), seeded(5), dtype)
    require(torch.equal(again, group.haar((2, 3), seeded(5), dtype)), f"{group}: one seed, two draws.")


# ---------------------------------------------------------------- actions


def symmetry(space: Space, name: str, rng: torch.Generator) -> Symmetry:
    """A random transformation of fields: "gauge", "z2", or "translation" by one site in each direction."""
    if name == "gauge":
        g = space.group.haar((1, 1, *space.lattice), rng, torch.float64)
        return lambda x: gauge_transform(space, x, g.to(x.dtype).expand(len(x), *g.shape[1:]))
    if name == "z2":
        return lambda x: -x
    if name == "translation":
        return lambda x: translate(x, [1] * space.ndim)
    raise ValueError(f"A symmetry is 'gauge', 'z2' or 'translation'; got {name!r}.")


def translate(x: Tensor, steps: Sequence[int]) -> Tensor:
    """x(site) -> x(site + steps)."""
    for mu, n in enumerate(steps):
        x = shift(x, mu, n)
    return x


def check_action(action: Action, symmetries: Sequence[str] = (), moves: bool = True) -> None:
    """Shapes, the force against autograd and against differences, claimed symmetries, repr; and, where it `moves`,
    that a periodic field on twice the sides has 2^ndim times the action.
    """
    space, G, rng = action.space, action.space.group, seeded()
    x = fields(space, 3, rng)
    S = action(x)
    require(S.shape == (3,) and S.dtype == torch.float64, f"{action}: S is {list(S.shape)} of {S.dtype}.")
    require_independent_batch(action, x, repr(action))
    single = action(x.to(G.field_dtype(torch.float32)))
    require(single.dtype == torch.float32, f"{action}: S of a float32 field is {single.dtype}.")
    require_close(single.double(), S, f"{action}: float32 against float64", 1e-4)
    force = action.force(x)
    require_close(force, Action.force(action, x), f"{action}: its force against autograd")
    w, step = torch.randn(force.shape, generator=rng, dtype=torch.float64), 1e-4
    ahead, behind = (action(G.compose(G.exp(s * step * w), x)) for s in (1, -1))
    require_close(
        (force * w).flatten(1).sum(1), (behind - ahead) / (2 * step), f"{action}: its force against differences", 1e-5
    )
    for name in symmetries:
        require_close(action(symmetry(space, name, rng)(x)), S, f"{action}: S under {name}")
    if moves:
        bigger = action.on(space.on([2 * side for side in space.lattice]))
        require_close(bigger(tile(bigger.space, x)), 2**space.ndim * S, f"{action}: a field on twice the sides")
    require("\n" not in repr(action) and repr(action) == repr(copy.copy(action)), f"{action!r} is no stable line.")
    require_close(action.at()(x) if action.couplings else S, S, f"{action}: at() without changes")


def tile(space: Space, x: Tensor) -> Tensor:
    """Repeat a periodic field until it fills the lattice of `space`."""
    repeats = [new // old for new, old in zip(space.lattice, x.shape[2:], strict=False)]
    return x.repeat(1, 1, *repeats, *[1] * len(space.group.matrix_shape))


# ---------------------------------------------------------------- priors


def check_prior(prior: Prior, n: int = 20_000) -> None:
    """Draws with their density, its norm, dtypes, reproducible draws, gradients, another lattice."""
    who, space, group = type(prior).__name__, prior.space, prior.space.group
    prior = copy.deepcopy(prior).double()
    x, logq = prior.draw(5, seeded())
    require_close(prior.log_prob(x), logq, f"{who}: log_prob of a draw", 1e-7)
    require(x.dtype == group.field_dtype(torch.float64), f"{who} in float64 draws {x.dtype}.")
    space.check(x)
    require((group.defect(x) < 1e-12).all(), f"{who}: a draw leaves the group.")
    require(torch.equal(prior.draw(5, seeded()).x, x), f"{who}: one seed, two draws.")
    require(not torch.equal(prior.draw(5, seeded(2)).x, x), f"{who}: two seeds, one draw.")
    require_independent_batch(prior.log_prob, x, who)
    single = copy.deepcopy(prior).float()
    drawn = single.draw(5, seeded())
    require(drawn.x.dtype == group.field_dtype(torch.float32), f"{who} in float32 draws {drawn.x.dtype}.")
    require(drawn.logq.dtype == torch.float32, f"{who} in float32 gives log q in {drawn.logq.dtype}.")
    require_close(single.log_prob(drawn.x), drawn.logq, f"{who}: log_prob of a draw in float32", LOOSE)
    require_gradients(prior, prior.log_prob(fields(space, 5, seeded(3))).sum(), f"{who}.log_prob")
    loss, noise = prior.draw(5, seeded()), seeded(4)
    weight = torch.randn(loss.x.shape, generator=noise, dtype=torch.float64)
    require_gradients(prior, loss.logq.square().sum() + (loss.x.real * weight).sum(), f"{who}.draw")
    bigger = prior.on(space.on([2 * side for side in space.lattice]))
    require_close(bigger.log_prob((drawn := bigger.draw(3, seeded())).x), drawn.logq, f"{who}.on", 1e-7)
    require(bigger.dtype == prior.dtype, f"{who}.on changed the dtype to {bigger.dtype}.")
    if prior.normalised:
        check_normalised(prior, n)


@torch.no_grad()
def check_normalised(prior: Prior, n: int) -> None:
    """The density integrates to 1 and is that of the draws: E_r[g / r] = 1 within 5 standard errors.

    Sites: g is the normal law with 0.8 of the draws' covariance. Links: draws from Haar, and E[r] = 1.
    """
    space, who = prior.space, type(prior).__name__
    if space.kind == "links":
        weight = prior.log_prob(space.haar(n, seeded(), torch.float64)).exp()
    else:
        fit, (x, logq) = prior.sample(n, seeded(1)).flatten(1), prior.draw(n, seeded(2))
        mean, root = fit.mean(0), torch.linalg.cholesky(0.8 * fit.T.cov())
        z = torch.linalg.solve_triangular(root, (x.flatten(1) - mean).T, upper=False)
        log_norm = root.diagonal().log().sum() + space.dof * math.log(2 * math.pi) / 2
        weight = (-z.square().sum(0) / 2 - log_norm - logq).exp()
    norm, error = float(weight.mean()), float(weight.std()) / math.sqrt(n)
    require(error < 0.1, f"{who}: its norm is known to {error:.2g} alone; give an example that is easier to integrate.")
    require(abs(norm - 1) < 5 * error + 1e-6, f"{who}: the density integrates to {norm:.4f} +- {error:.4f}, not to 1.")


# ---------------------------------------------------------------- transforms


def jacobian(transform: Transform, x: Tensor) -> Tensor:
    """log|det df/dx| of each field by autograd in algebra coordinates, [batch]; dof backward passes."""
    G = transform.space.group
    w = torch.zeros(G.algebra_shape(x.shape), dtype=x.real.dtype, requires_grad=True)
    y, _ = transform(G.compose(G.exp(w), x))
    out = difference(G, y, y.detach()).flatten(1)
    rows = [torch.autograd.grad(out[:, i].sum(), w, retain_graph=True)[0].flatten(1) for i in range(out.shape[1])]
    logdet: Tensor = torch.linalg.slogdet(torch.stack(rows, 1))[1]
    return logdet


def check_transform(transform: Transform, x: Tensor | None = None, local: bool = True, periodic: bool = True) -> None:
    """Round trip, log-Jacobian, gradients, dtypes, independent fields; a periodic field on twice the sides is mapped to
    the periodic image.

    x         float64 fields to try it on, where rough ones do not fit its domain
    local     the logdet of that periodic field is 2^ndim times that of one period
    periodic  False for a map of other coordinates than sites, such as modes, whose periodic fields look different
    """
    who, space, group = type(transform).__name__, transform.space, transform.space.group
    f = randomised(transform, seeded(7))
    x = fields(space, 4, seeded()) if x is None else x
    y, logdet = (t.detach() for t in f(x))
    space.check(y)
    require(logdet.shape == (len(x),), f"{who}: logdet has the shape {list(logdet.shape)}; [{len(x)}] was expected.")
    require((y - x).abs().max() > 1e-3, f"{who} with random parameters moves nothing.")
    require((group.defect(y) < 1e-12).all(), f"{who} leaves the group by {float(group.defect(y).max()):.2g}.")
    if isinstance(f, Transform):  # a multiscale model is a map too, but has scales instead of layers
        *_, last = f.by_layer(x)
        require_same_field(group, last.x, y, f"{who}: its last layer against forward", 1e-10)
        require_close(last.logdet, logdet, f"{who}: logdet of its last layer against forward", 1e-10)
    back, minus = f.inverse(y)
    require_same_field(group, back, x, f"{who}: inverse(forward(x))", 1e-8)
    require_close(minus, -logdet, f"{who}: logdet of the inverse", 1e-7)
    there, plus = f(f.inverse(x)[0])
    require_same_field(group, there, x, f"{who}: forward(inverse(y))", 1e-8)
    require_close(plus, -f.inverse(x)[1], f"{who}: logdet of the forward map", 1e-7)
    require_close(jacobian(f, x), logdet, f"{who}: logdet against autograd", 1e-8)
    require_independent_batch(lambda t: f(t)[1], x, f"{who}: logdet")
    require_independent_batch(lambda t: f(t)[0].flatten(1), x, who)
    for name, (field, logs) in {"forward": f(x), "inverse": f.inverse(x)}.items():
        weight = torch.randn(field.shape, generator=seeded(3), dtype=torch.float64)
        require_gradients(f, (field.real * weight).sum() + logs.square().sum(), f"{who}.{name}")
    single, x32 = copy.deepcopy(f).float(), x.to(group.field_dtype(torch.float32))
    y32, logdet32 = single(x32)
    require(y32.dtype == x32.dtype, f"{who}: a field of {x32.dtype} became {y32.dtype}.")
    require(logdet32.dtype == torch.float32, f"{who}: logdet of a float32 field is {logdet32.dtype}.")
    require_close(logdet32.double(), logdet, f"{who}: logdet in float32", LOOSE)
    require_same_field(group, single.inverse(y32)[0], x32, f"{who}: round trip in float32", LOOSE)
    if isinstance(f, Transform) and f.linear:
        z, weight = x.clone().requires_grad_(), torch.randn(y.shape, generator=seeded(4), dtype=torch.float64)
        (expected,) = torch.autograd.grad((f(z)[0] * weight).sum(), z)
        require_close(f.transposed(weight).detach(), expected, f"{who}: its transposed against autograd", 1e-10)
    bigger = f.on(space.on([2 * side for side in space.lattice]))
    state = bigger.state_dict()
    same = all(torch.equal(value, state[name]) for name, value in f.state_dict().items())
    require(same, f"{who}.on changed the weights.")
    shared = {p.data_ptr() for p in f.parameters()} & {p.data_ptr() for p in bigger.parameters()}
    require(not shared, f"{who}.on shares its weights instead of copying them.")
    big, big_logdet = bigger(tile(bigger.space, x))
    if periodic:
        require_same_field(group, big, tile(bigger.space, y), f"{who}.on: a periodic field", 1e-8)
    if local:
        require_close(big_logdet, 2**space.ndim * logdet, f"{who}.on: logdet of a periodic field", 1e-7)


def check_equivariance(transform: Transform, act: Symmetry, x: Tensor | None = None) -> None:
    """f(g x) = g f(x) with the same log-Jacobian, for the transformation `act` of fields; see `symmetry`."""
    who, group = type(transform).__name__, transform.space.group
    f = randomised(transform, seeded(7))
    x = fields(transform.space, 4, seeded()) if x is None else x
    (y, logdet), (moved, moved_logdet) = f(x), f(act(x))
    require((act(x) - x).abs().max() > 1e-3, f"{who}: the transformation moves nothing, so that this shows nothing.")
    require_same_field(group, moved, act(y), f"{who}: f(g x) = g f(x)", 1e-8)
    require_close(moved_logdet, logdet, f"{who}: logdet of g x", 1e-8)


# ---------------------------------------------------------------- models of new links


def check_conditional(model: LinkConditional, loops: int = 2, n: int = 4000) -> None:
    """Base variables and back, log q against autograd, its norm, gauge transformations, gradients, the score, dtypes;
    equal and opposite loops, where staples add up or cancel.

    loops     number of loops through each link
    """
    who, group, rng = type(model).__name__, model.group, seeded()
    q = randomised(model, seeded(7))
    rest = tuple(group.haar((3, 5), rng, torch.float64) for _ in range(loops))
    u = group.haar((3, 5), rng, torch.float64)
    v, logq = q.from_base(u, rest)
    require(logq.shape == (3, 5), f"{who}: log q is {list(logq.shape)}; [3, 5] was expected.")
    require((group.defect(v.detach()) < 1e-10).all(), f"{who}: a link leaves the group.")
    back, again = q.to_base(v, rest)
    require_same_field(group, back, u, f"{who}: base variables and back", 1e-8)
    for name, value in {"to_base": again, "log_prob": q.log_prob(v, rest)}.items():
        require_close(value, logq, f"{who}: log q by {name}", 1e-8)
    w = torch.zeros(group.algebra_shape(u.shape), dtype=torch.float64, requires_grad=True)
    out = difference(group, q.from_base(group.compose(group.exp(w), u), rest)[0], v.detach()).view(3, 5, -1)
    rows = [torch.autograd.grad(out[..., i].sum(), w, retain_graph=True)[0] for i in range(out.shape[-1])]
    volume = torch.linalg.slogdet(torch.stack(rows, -1).view(3, 5, out.shape[-1], -1))[1]
    require_close(volume, -logq, f"{who}: log|det dV/du| against -log q", 1e-7)
    g, h = (group.haar((3, 5), rng, torch.float64) for _ in range(2))
    turned = tuple(group.compose(group.compose(h, r), group.inverse(g)) for r in rest)
    moved, moved_logq = q.from_base(group.compose(group.compose(g, u), group.inverse(h)), turned)
    expected = group.compose(group.compose(g, v), group.inverse(h))
    require_same_field(group, moved, expected, f"{who}: g V h^-1 of g u h^-1 and h R g^-1", 1e-9)
    require_close(moved_logq, logq, f"{who}: log q of g V h^-1", 1e-10)
    one = tuple(r[:1, :1].expand(n, 1, *group.matrix_shape) for r in rest)
    with torch.no_grad():
        means = {
            "E_Haar[q]": q.log_prob(group.haar((n, 1), rng, torch.float64), one).exp(),
            "E_q[1/q]": (-q.draw(one, rng)[1]).exp(),
        }
    for name, weight in means.items():
        mean, error = float(weight.mean()), float(weight.std()) / math.sqrt(n)
        require(error < 0.1, f"{who}: {name} is known to {error:.2g} alone; give an example nearer to Haar.")
        require(abs(mean - 1) < 5 * error + 1e-6, f"{who}: {name} is {mean:.4f} +- {error:.4f}, not 1.")
    weight = torch.randn(v.shape, generator=rng, dtype=torch.float64)
    require_gradients(q, logq.square().sum() + (v.real * weight).sum(), f"{who}.from_base")
    require_gradients(q, q.log_prob(u, rest).square().sum(), f"{who}.log_prob")
    if q.scored:
        sums = q.log_prob(v.detach(), rest).sum(1)
        lines = [torch.autograd.grad(one, list(q.parameters()), retain_graph=True) for one in sums]
        slopes = torch.stack([torch.cat([line.flatten() for line in row]) for row in lines])
        require_close(q.score(v.detach(), rest), slopes, f"{who}: its score against autograd", 1e-8)
    opposite = group.compose(rest[0], _centre(group, rest[0]))
    for name, twin in {"equal": rest[0], "opposite": opposite}.items():
        pair = (rest[0], twin, *rest[2:])[:loops]
        link, density = q.from_base(u, pair)
        require(link.isfinite().all() and density.isfinite().all(), f"{who}: {name} loops give NaN or infinity.")
        require_close(q.log_prob(link, pair), density, f"{who}: log q at {name} loops", 1e-7)
    single, small = copy.deepcopy(q).float(), tuple(r.to(group.field_dtype(torch.float32)) for r in rest)
    v32, logq32 = single.from_base(u.to(small[0].dtype), small)
    require(v32.dtype == small[0].dtype and logq32.dtype == torch.float32, f"{who}: float32 gave {v32.dtype}.")
    require_same_field(group, v32.to(v.dtype), v, f"{who} in float32", LOOSE)
    require_close(logq32.double(), logq, f"{who}: log q in float32", LOOSE)


def _centre(group: Group, like: Tensor) -> Tensor:
    """The element of the centre farthest from 1: e^{i pi} of U(1), or e^{2 pi i k / N} with k nearest to N/2."""
    if not group.matrix_shape:
        return torch.full_like(like, math.pi)
    n = group.dimension
    phase = torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(2 * math.pi * (n // 2) / n).double())
    return phase.to(like.dtype) * group.identity(like.shape[:-2], like)


def check_pointwise(pointwise: PointwiseMap) -> None:
    """Zero parameters give the identity; round trip, slope against autograd, monotone, smooth across +-pi."""
    who, rng = type(pointwise).__name__, seeded()
    reach = math.pi if pointwise.circular else 0.5
    unit = torch.rand(7, 11, generator=rng, dtype=torch.float64)
    # Interval maps live on [0, 1]; all others are tried there too, and real ones far outside in their own tests.
    x = (2 * unit - 1) * reach if pointwise.circular else unit
    zero = torch.zeros(pointwise.count, *x.shape, dtype=torch.float64)
    y, logs = pointwise.forward(x, zero)
    require_close(y, x, f"{who}: the identity at zero parameters", 1e-12)
    require_close(logs.expand_as(x), torch.zeros_like(x), f"{who}: slope 1 at zero parameters", 1e-12)
    for shape in (x.shape, ()):  # parameters for each number, and one set for all
        params = torch.randn(pointwise.count, *shape, generator=rng, dtype=torch.float64)
        x = x.detach().requires_grad_()
        y, logs = pointwise.forward(x, params)
        (slope,) = torch.autograd.grad(y.sum(), x)
        require((slope > 0).all(), f"{who} is not monotone.")
        require_close(logs.expand_as(x).detach(), slope.log(), f"{who}: log slope against autograd", 1e-8)
        back, minus = pointwise.inverse(y.detach(), params)
        require_close(back, x.detach(), f"{who}: round trip", 1e-8)
        require_close(minus.expand_as(x), -logs.detach().expand_as(x), f"{who}: slope of the inverse", 1e-7)
    if pointwise.circular:
        params = torch.randn(pointwise.count, 5, generator=rng, dtype=torch.float64)
        ends = [pointwise.forward(torch.full((5,), s * math.pi, dtype=torch.float64), params) for s in (-1, 1)]
        require_close((ends[0][0] - ends[1][0]).cos(), torch.ones(5, dtype=torch.float64), f"{who}: y across +-pi")
        require_close(ends[0][1], ends[1][1], f"{who}: slope across +-pi")


# ---------------------------------------------------------------- samplers, schedules, panels


def check_sampler(sampler: Sampler, chains: int = 6, steps: int = 4) -> None:
    """Shapes, a state that belongs to its fields, one seed one chain, info, provenance as plain data."""
    who, space = type(sampler).__name__, sampler.space

    def walk(seed: int) -> tuple[Tensor, Tensor]:
        rng = seeded(seed)
        x = sampler.start(chains, rng, dtype=torch.float64)
        state = sampler.init(x)
        for _ in range(steps):
            state, info = sampler.step(state, rng)
            space.check(state.x)
            require(state.x.shape == x.shape and state.x.dtype == x.dtype, f"{who}: a step changed shape or dtype.")
            for name in ("accept", "invalid"):
                value = info.get(name)
                require(
                    value is not None and value.shape == (chains,) and value.dtype == torch.bool,
                    f"{who}: info[{name!r}] is no bool for each chain.",
                )
            odd = [name for name, value in info.items() if value.shape[0] != chains]
            require(not odd, f"{who}: info of {', '.join(odd)} has no axis of chains.")
        return state.x, state.S

    # A prior or flow inside draws in its own dtype; the chain is followed in float64.
    flow: Any = getattr(sampler, "flow", None)
    if flow is not None:
        sampler = copy.copy(sampler)
        setattr(sampler, "flow", copy.deepcopy(flow).double())  # noqa: B010
    x, S = walk(3)
    require_close(S, sampler.action(x), f"{who}: S of the state")
    require((space.group.defect(x) < 1e-10).all(), f"{who} leaves the group.")
    require(torch.equal(walk(3)[0], x), f"{who}: one seed, two chains.")
    require(not torch.equal(walk(4)[0], x), f"{who}: two seeds, one chain.")
    json.dumps(sampler.describe(), allow_nan=False)


def check_schedule(schedule: Schedule, total: int = 40) -> None:
    """Factors in [0, 1], not all equal to zero, and the same ones after a state went through JSON."""
    who, losses = type(schedule).__name__, [1 / (1 + k) if k < 8 else 0.125 for k in range(total)]
    one, other = copy.deepcopy(schedule), copy.deepcopy(schedule)
    factors = [one.factor(k, total, losses[k]) for k in range(total)]
    require(all(0 <= f <= 1 for f in factors) and max(factors) > 0, f"{who}: factors leave [0, 1] or are all 0.")
    for k in range(total // 2):
        other.factor(k, total, losses[k])
    fresh = copy.deepcopy(schedule)
    fresh.load_state(json.loads(json.dumps(other.state())))
    rest = [fresh.factor(k, total, losses[k]) for k in range(total // 2, total)]
    require(rest == factors[total // 2 :], f"{who}: a schedule taken up in the middle goes another way.")


def check_panel(panel: Panel) -> None:
    """A stable repr, a figure, and a snapshot that is a PNG."""
    who, text = type(panel).__name__, repr(panel)
    require(text == repr(panel) and not re.search(r"0x[0-9a-f]+|\n", text), f"{who}: {text!r} is no stable line.")
    data = panel.snapshot().data
    require(isinstance(data, bytes) and data.startswith(b"\x89PNG\r\n"), f"{who}: its snapshot is no PNG.")
    require(len(panel.figure().to_json()) > 100, f"{who}: its figure is empty.")
    bundle = panel._repr_mimebundle_()
    shown = bundle[0] if isinstance(bundle, tuple) else bundle
    require(shown["text/plain"] == text, f"{who}: it shows other text than its repr.")
    panel.close()

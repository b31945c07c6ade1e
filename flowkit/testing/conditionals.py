"""The contract of a model of new links."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from flowkit.groups import Group
from flowkit.multiscale import LinkConditional
from flowkit.testing.common import LOOSE, difference, randomised, require, require_close, require_same_field, seeded
from flowkit.testing.dependence import require_gradients
from flowkit.testing.derivatives import nearby, require_nan_stays, require_second_derivatives


def check_conditional(model: LinkConditional, loops: int = 2, n: int = 4000) -> None:
    """Check a model of new links: round trip, density, norm, gauge transformations, gradients, score, dtypes.

    Loops that are equal or opposite are among those tried: there staples add up or cancel.

    Parameters
    ----------
    model : LinkConditional
        A copy with random parameters is checked.
    loops : int
        Number of loops through each link.
    n : int
        Samples for the norm of the density.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_conditional(testing.example(fk.multiscale.ClassFunctionConditional))
    """
    who, group, rng = type(model).__name__, model.group, seeded()
    q = randomised(model, seeded(7))
    rest = tuple(group.haar((3, 5), rng, torch.float64) for _ in range(loops))
    u = group.haar((3, 5), rng, torch.float64)
    v, logdet = q(u, rest)
    logq = -logdet
    require(logq.shape == (3, 5), f"{who}: log q is {list(logq.shape)}; [3, 5] was expected.")
    require((group.defect(v.detach()) < 1e-10).all(), f"{who}: a link leaves the group.")
    back, again = q.inverse(v, rest)
    require_same_field(group, back, u, f"{who}: base variables and back", 1e-8)
    for name, value in {"inverse": again, "log_prob": q.log_prob(v, rest)}.items():
        require_close(value, logq, f"{who}: log q by {name}", 1e-8)
    w = torch.zeros(group.algebra_shape(u.shape), dtype=torch.float64, requires_grad=True)
    out = difference(group, q(group.compose(group.exp(w), u), rest)[0], v.detach()).view(3, 5, -1)
    rows = [torch.autograd.grad(out[..., i].sum(), w, retain_graph=True)[0] for i in range(out.shape[-1])]
    volume = torch.linalg.slogdet(torch.stack(rows, -1).view(3, 5, out.shape[-1], -1))[1]
    require_close(volume, logdet, f"{who}: log|det dV/du| against -log q", 1e-7)
    g, h = (group.haar((3, 5), rng, torch.float64) for _ in range(2))
    turned = tuple(group.compose(group.compose(h, r), group.inverse(g)) for r in rest)
    moved, moved_logdet = q(group.compose(group.compose(g, u), group.inverse(h)), turned)
    expected = group.compose(group.compose(g, v), group.inverse(h))
    require_same_field(group, moved, expected, f"{who}: g V h^-1 of g u h^-1 and h R g^-1", 1e-9)
    require_close(-moved_logdet, logq, f"{who}: log q of g V h^-1", 1e-10)
    one = tuple(r[:1, :1].expand(n, 1, *group.matrix_shape) for r in rest)
    with torch.no_grad():
        means = {
            "E_Haar[q]": q.log_prob(group.haar((n, 1), rng, torch.float64), one).exp(),
            "E_q[1/q]": (-q.sample_and_log_prob(one, rng)[1]).exp(),
        }
    for name, weight in means.items():
        mean, error = float(weight.mean()), float(weight.std()) / math.sqrt(n)
        require(error < 0.1, f"{who}: {name} is known to {error:.2g} alone; give an example nearer to Haar.")
        require(abs(mean - 1) < 5 * error + 1e-6, f"{who}: {name} is {mean:.4f} +- {error:.4f}, not 1.")
    weight = torch.randn(v.shape, generator=rng, dtype=torch.float64)
    require_gradients(q, logq.square().sum() + (v.real * weight).sum(), f"{who}.forward")
    require_gradients(q, q.log_prob(u, rest).square().sum(), f"{who}.log_prob")
    if q.scored:
        sums = q.log_prob(v.detach(), rest).sum(1)
        lines = [torch.autograd.grad(one, list(q.parameters()), retain_graph=True) for one in sums]
        slopes = torch.stack([torch.cat([line.flatten() for line in row]) for row in lines])
        require_close(q.score(v.detach(), rest), slopes, f"{who}: its score against autograd", 1e-8)
    links, weights = (u, *rest), [p for p in q.parameters() if p.requires_grad]
    near = [nearby(group, t) for t in links]
    zeros = [torch.zeros(group.algebra_shape(t.shape), dtype=torch.float64) for t in links]
    for name, function in {"forward": q.forward, "inverse": q.inverse}.items():

        def moved_by(*w: Tensor, g: Any = function) -> Any:
            first, *others = (field(one) for field, one in zip(near, w, strict=False))
            return g(first, tuple(others))

        require_second_derivatives(moved_by, [*zeros, *weights], f"{who}.{name}")
        for i in range(len(links)):

            def spoilt(t: Tensor, i: int = i, g: Any = function) -> Any:
                tried = [*links]
                tried[i] = t
                return g(tried[0], tuple(tried[1:]))

            require_nan_stays(spoilt, links[i], f"{who}.{name}, link {i} of the loops and their own")
    opposite = group.compose(rest[0], _centre(group, rest[0]))
    for name, twin in {"equal": rest[0], "opposite": opposite}.items():
        pair = (rest[0], twin, *rest[2:])[:loops]
        link, minus = q(u, pair)
        require(link.isfinite().all() and minus.isfinite().all(), f"{who}: {name} loops give NaN or infinity.")
        require_close(q.log_prob(link, pair), -minus, f"{who}: log q at {name} loops", 1e-7)
    single, small = copy.deepcopy(q).float(), tuple(r.to(group.field_dtype(torch.float32)) for r in rest)
    v32, minus32 = single(u.to(small[0].dtype), small)
    require(v32.dtype == small[0].dtype and minus32.dtype == torch.float32, f"{who}: float32 gave {v32.dtype}.")
    require_same_field(group, v32.to(v.dtype), v, f"{who} in float32", LOOSE)
    require_close(-minus32.double(), logq, f"{who}: log q in float32", LOOSE)


def _centre(group: Group, like: Tensor) -> Tensor:
    """The element of the centre farthest from 1: e^{i pi} of U(1), or e^{2 pi i k / N} with k nearest to N/2."""
    if not group.matrix_shape:
        return torch.full_like(like, math.pi)
    n = group.dimension
    phase = torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(2 * math.pi * (n // 2) / n).double())
    return phase.to(like.dtype) * group.identity(like.shape[:-2], like)
